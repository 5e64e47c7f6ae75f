"""Random models of jointly Gaussian latents: a tree of plates, chains along it, affine locations of every form, a discrete
latent that chooses coefficients. A seed is a spec."""

from __future__ import annotations

import random

HEAD = "lvspec: 1\nname: model\nsizes: {D: 2, N: 3, K: 2, J: 2}\nplates: {j: J, t: sequence, i: bag}\n"
BRANCHES = ((), ("j",), ("t",), ("t",), ("i",), ("j", "t"), ("j", "i"))


class Draft:
    """A spec under construction. params: by name, as a spec writes their shapes. latents: name -> (plates, size), where
    the size of a number is "". choosing: the discrete latent."""

    def __init__(self, seed: int):
        self.pick = random.Random(seed)
        self.params: dict[str, str] = {}
        self.latents: dict[str, tuple[tuple[str, ...], str]] = {}
        self.choosing = "c" if self.pick.random() < 0.3 else None

    def param(self, *shape: str) -> str:
        """A parameter, one for each value of the discrete latent now and then."""
        chosen = self.choosing if self.choosing and self.pick.random() < 0.5 else None
        name = f"p{len(self.params)}"
        self.params[name] = f"[{', '.join(s for s in ('K' if chosen else '', *shape) if s)}]"
        return f"{name}[{chosen}]" if chosen else name

    def clause(self, head: str, size: str, reads: list[str]) -> str:
        """Normal, about what is read, each in some affine form, and a constant."""
        forms = [self.form(size, read) for read in reads]
        terms, wide = [text for text, _ in forms], any(vector for _, vector in forms)
        if size and not wide or self.pick.random() < 0.5 or not terms:
            terms.append(self.param(size))
        noise = self.pick.choice(("1", "0.5", f"softplus({self.param()})", f"softplus({self.param(size)})"))
        return f"  {head}: Normal({' + '.join(terms)}, {noise})"

    def form(self, size: str, read: str) -> tuple[str, bool]:
        """An affine form of a latent, as its site is written, and whether it is a vector."""
        own, number = self.latents[read.split("[")[0]][1], self.pick.choice(("0.3", "0.5", "-0.7", "2"))
        if not own:
            return self.pick.choice((read, f"{number} * {read}", f"{read} / 2", f"-{read}")), False
        if size == own and self.pick.random() < 0.4:
            return self.pick.choice((read, f"{number} * {read}", f"({read} - 1) / 2")), True
        if size:
            return f"matmul({self.param(size, own)}, {read})", True
        entry = f"{read[:-1]}, 1]" if "[" in read else f"{read}[1]"
        forms = (f"dot({self.param(own)}, {read})", f"sum({read})", f"mean(1 - {read})", f"{number} * {entry}")
        return self.pick.choice(forms), False

    def latent(self, name: str, plates: tuple[str, ...]) -> list[str]:
        """Its clauses: along t perhaps a chain of first or second order, which may read others one site back."""
        size, pick = self.pick.choice(("", "D", "N")), self.pick
        order = pick.choice((0, 1, 1, 2)) if "t" in plates else 0
        parents = [n for n in self.latents if pick.random() < 0.5]
        reads = [site(n, self.latents[n][0]) for n in parents]
        self.latents[name] = plates, size
        first = [
            self.clause(at_first(site(name, plates), k), size, [at_first(r, k) for r in reads]) for k in range(order)
        ]
        back = [site(name, plates, lag) for lag in range(1, order + 1)]
        others = [n for n in parents if order and "t" in self.latents[n][0] and pick.random() < 0.3]
        back += [site(n, self.latents[n][0], 1) for n in others]
        return [*first, self.clause(site(name, plates), size, reads + back)]


def random_model(seed: int) -> str:
    """One to four latents on a branch of plates, and one or two observed variables."""
    d = Draft(seed)
    branch, rows = d.pick.choice(BRANCHES), []
    if d.choosing:
        rows.append("  c: Categorical(logits=weights)")
        d.params["weights"] = "[K]"
    for k, depth in enumerate(sorted(d.pick.randrange(len(branch) + 1) for _ in range(d.pick.randrange(1, 5)))):
        rows += d.latent(f"z{k}", branch[:depth])
    rows.append("observed:")
    deepest = max((plates for plates, _ in d.latents.values()), key=len)
    for k in range(d.pick.randrange(1, 3)):
        read = [n for n in d.latents if d.pick.random() < 0.6] or list(d.latents)[-1:]
        plates, size = d.pick.choice((deepest, branch)), d.pick.choice(("", "D", "N"))
        rows.append(d.clause(site(f"x{k}", plates), size, [site(n, d.latents[n][0]) for n in read]))
    params = "".join(f"  {name}: {shape}\n" for name, shape in d.params.items())
    return f"{HEAD}params:\n{params}latent:\n" + "\n".join(rows) + "\n"


def site(name: str, plates: tuple[str, ...], lag: int = 0) -> str:
    """`z[j, t-1]`"""
    at = [f"{p}-{lag}" if lag and p == "t" else p for p in plates]
    return f"{name}[{', '.join(at)}]" if at else name


def at_first(text: str, number: int) -> str:
    """A site as the clause of a first site writes it."""
    name, _, rest = text.partition("[")
    at = [str(number) if p == "t" else p for p in rest.removesuffix("]").split(", ")]
    return f"{name}[{', '.join(at)}]" if rest else text
