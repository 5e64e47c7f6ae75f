"""Densities as text, with all that they are conditioned on: `log p(x | s)`, `q(a | x, s)`, `KL(q(a | x, s) ‖ p(a | x[<t], s))`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lvspec.ir.reads import LAG, WIDE, Read, Reader, reader_of
from lvspec.ir.spec import Spec, Variable
from lvspec.ir.words import listed


def may_be_known(variable: Variable) -> bool:
    """Whether a batch may hold values of the variable, a latent."""
    return variable.role == "latent" and variable.type.support.finite and not variable.outside_batch


@dataclass(frozen=True)
class Notation:
    """What the densities of a spec are called, under such a guide."""

    spec: Spec
    guide: tuple[Variable, ...] = ()

    def names(self, role: str) -> list[str]:
        return [v.name for v in self.spec.of_role(role)]

    @property
    def known(self) -> list[str]:
        """The latents whose values a batch may hold."""
        return [v.name for v in self.spec.of_role("latent") if may_be_known(v)]

    # ------------------------------------------------------------ densities
    def p(self, names: Iterable[str], on: Iterable[str] = ()) -> str:
        """`p(x, z | s)`, of all examples' given variables."""
        return density("p", names, [*on, *self.names("given")])

    def q(self, names: Iterable[str], refined: bool = False) -> str:
        """`q(z | x)`: what the factors of these latents read, but for one another. refined: after steps up the ELBO."""
        names = list(names)
        read = {n for name in names for n in self._read_by_q(name)} - {*names}
        read |= {*self.names("observed"), *self.names("given")} if refined else set()
        return density("q", names, [v.name for role in ROLES for v in self.spec.of_role(role) if v.name in read])

    def parents_of_q(self, name: str) -> list[str]:
        """The latents that q of this one reads, itself left out."""
        return [n for n in self._read_by_q(name) if n != name and self.spec.variable(n).role == "latent"]

    def _read_by_q(self, name: str) -> list[str]:
        """Of a latent without a factor in the guide q is the model's own."""
        factor = next((v for v in self.guide if v.role == "guide" and v.name == name), self.spec.variable(name))
        return list(dict.fromkeys(r.name for r in reader_of(self.spec, self.guide).of_variable(factor)))

    def prior(self, name: str) -> str:
        """`p(z)`, `p(z | c)`, `p(a | x[<t], s)`: what a latent's factor reads; of variables that follow it, which sites."""
        reader = reader_of(self.spec)
        reads = [r for r in reader.of_variable(self.spec.variable(name)) if r.name != name]
        later = {r.name for r in reads if r.name in self.names("observed") and self._reaches(reader, r.name, name)}
        rank = {v.name: (ROLES.index(v.role), i) for i, v in enumerate(self.spec.variables) if v.role in ROLES}
        reads = sorted((r for r in reads if r.name in rank), key=lambda r: rank[r.name])
        return density("p", [name], dict.fromkeys(earlier(r) if r.name in later else r.name for r in reads))

    def above(self, names: Iterable[str]) -> list[str]:
        """The latents that these variables stand on, over however many."""
        reader, found = reader_of(self.spec), dict.fromkeys(names)
        waiting = [*found]
        while waiting:
            read = {r.name: None for r in reader.of_variable(self.spec.variable(waiting.pop()))}
            waiting += [n for n in read if n not in found]
            found |= read
        return [n for n in self.names("latent") if n in found]

    def _reaches(self, reader: Reader, name: str, wanted: str) -> bool:
        """Whether a variable's factor stands on another one, over however many."""
        found = [name]
        for n in found:  # grows while it is gone through
            found += dict.fromkeys(r.name for r in reader.of_variable(self.spec.variable(n)) if r.name not in found)
        return wanted in found[1:]

    # ------------------------------------------------------------ what is asked of a batch
    @property
    def evidence(self) -> str:
        """`log p(x | s)`; where nothing is observed, of the values of latents that the batch holds."""
        observed = self.names("observed")
        return f"log {self.p(observed or [f'known {listed(self.known)}'])}"

    @property
    def evidence_with_known(self) -> str:
        """`log p(x, known z | s)`, or nothing where a batch holds no latent beside what is observed."""
        observed = self.names("observed")
        return f"log {self.p([*observed, f'known {listed(self.known)}'])}" if observed and self.known else ""

    def posterior(self, names: Iterable[str]) -> str:
        """`p(z | x, s)`."""
        return self.p(names, self.names("observed"))


ROLES = ("latent", "observed", "given")  # in the order in which conditions are listed


def density(letter: str, names: Iterable[str], on: Iterable[str]) -> str:
    """`p(x, z | s)`."""
    condition = listed(list(on))
    return f"{letter}({listed(list(names))}{f' | {condition}' if condition else ''})"


def earlier(read: Read) -> str:
    """`x[<t]`, `x[t-1]`: which sites of a variable are read, of one that is drawn along with its reader."""
    sites = [f"<{p}" if way == WIDE else f"{p}-{k}" if way == LAG and k > 0 else p for p, way, k in read.ways]
    return f"{read.name}[{', '.join(sites)}]" if sites else read.name
