"""What an expression is read against: the declarations, the variables as far as they are known, and the clause it stands in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from lvspec.errors import Span
from lvspec.front import syntax as S
from lvspec.front.problems import Problems
from lvspec.ir.dims import Dim, Shape
from lvspec.ir.expr import Dist, Expr, Number
from lvspec.ir.spec import Network, Param, Plate, Size
from lvspec.ir.types import Reach, Support, Type

UNKNOWN = Type(support=Support("unknown"))  # of what cannot be known, or was wrong: silences all that follows from it


def unknown(thing: Expr | Type) -> bool:
    kind = thing.type if isinstance(thing, Expr) else thing
    return kind.support.kind == "unknown"


def broken(span: Span) -> Expr:
    """Stands where an expression had a problem that has been noted."""
    return Number(0, type=UNKNOWN, span=span)


@dataclass(frozen=True)
class Declarations:
    """The sections that hold no random variable, by name."""

    sizes: dict[str, Size] = field(default_factory=dict)
    plates: dict[str, Plate] = field(default_factory=dict)
    params: dict[str, Param] = field(default_factory=dict)
    networks: dict[str, Network] = field(default_factory=dict)

    def detached(self, name: str, taken: Iterable[str]) -> Network:
        """The network of this name with parameters that stand still, under a name that nothing else has."""
        network, taken = self.networks[name], frozenset(taken)
        number = 1
        while True:
            other = f"{name}_detached" + (f"_{number}" if number > 1 else "")
            there = self.networks.get(other)
            if there is not None and there.option("detached") == name:
                return there
            if other not in taken:
                break
            number += 1
        options = (*(o for o in network.options if o[0] != "tied"), ("detached", name))
        self.networks[other] = replace(network, name=other, options=options)
        return self.networks[other]

    def number(self, size: Dim) -> int | None:
        """A size as the spec declares it; None where only data know."""
        known = {n: self.sizes[n].value for n in size.names if n in self.sizes and self.sizes[n].source == "number"}
        return size.evaluate(known) if len(known) == len(size.names) else None


@dataclass(frozen=True)
class Seen:
    """What is known of a variable before its clauses are read for good. type: of one site."""

    name: str
    role: str
    plates: tuple[str, ...]
    type: Type
    outside_batch: bool = False


@dataclass(frozen=True)
class Context:
    """One clause's surroundings.

    bound: plates whose index stands for a site here (the clause's own, and those after `over`).
    initial: (plate, number) in a clause such as `z[0]`.  locals: names bound by `where`.
    guide: whether the clause is the guide's: it may look at later sites of what is observed.
    wrong: names of variables whose mistakes have been told already.
    hidden: let variables of the guide, while the model is read.
    guessing: whether types of variables are still being found; then nothing that is noted counts.
    density: in a term of the objective, what reads the distribution of `log_prob(y, Normal(0, 1))`.
    """

    declared: Declarations
    variables: dict[str, Seen]
    problems: Problems
    bound: tuple[str, ...] = ()
    initial: tuple[str, int] | None = None
    locals: dict[str, Type] = field(default_factory=dict)
    guide: bool = False
    wrong: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()
    guessing: bool = False
    density: Callable[[S.RightSide, Context], Dist | None] | None = None

    def with_(self, **changes) -> Context:
        return Context(**vars(self) | changes)

    def binding(self, plate: str) -> Context:
        return self if plate in self.bound else self.with_(bound=(*self.bound, plate))

    def extent(self, plate: str) -> Dim:
        """The size of a plate; of a ragged one the opaque `|t|`."""
        found = self.declared.plates[plate]
        return found.size if found.size is not None else Dim.of(f"|{found.sites}|")

    def in_order(self, plates) -> tuple[str, ...]:
        """Plates in the spec's order, each once."""
        wanted = set(plates)
        return tuple(p for p in self.declared.plates if p in wanted)

    def names(self) -> tuple[str, ...]:
        d = self.declared
        return (*self.locals, *self.variables, *d.params, *d.networks, *d.sizes, *d.plates)

    # ------------------------------------------------ what several values vary over together
    def join(self, values: tuple[Expr, ...], span: Span) -> tuple[tuple[str, ...], Reach | None] | None:
        """The plates and the stretch of an expression made of `values`; None where they do not go together."""
        plates = self.in_order(p for v in values for p in v.type.plates)
        reaches = tuple(dict.fromkeys(v.type.reach for v in values if v.type.reach is not None))
        if len(reaches) > 1:
            shown = " and ".join(f"`{show_reach(r)}`" for r in reaches)
            self.problems.error(
                "mixed-stretch",
                span,
                f"stretches of two kinds meet in one expression: {shown}",
                help="reduce one of them first, e.g. with `last(...)`",
            )
            return None
        if reaches and reaches[0].plate in plates and reaches[0].inside is None:  # else see front/segments.py
            t = reaches[0].plate
            self.problems.error(
                "mixed-stretch",
                span,
                f"a stretch along `{t}` meets a value of the single site `{t}`",
                help=f"use the same stretch of both, e.g. `[<{t}]`, or reduce one with `last(...)`",
            )
            return None
        return plates, (reaches[0] if reaches else None)

    def broadcast(self, values: tuple[Expr, ...], span: Span, what: str = "these values") -> Shape | None:
        """The common shape, aligned from the right; None where two axes differ."""
        shape: Shape = ()
        for value in values:
            longer, shorter = (
                (shape, value.type.shape) if len(shape) >= len(value.type.shape) else (value.type.shape, shape)
            )
            head, merged = longer[: len(longer) - len(shorter)], []
            for a, b in zip(longer[len(head) :], shorter, strict=False):
                if a != b and a.constant != 1 and b.constant != 1:
                    shown = " and ".join(f"[{', '.join(map(str, v.type.shape))}]" for v in values)
                    self.problems.error(
                        "shape-mismatch", span, f"the shapes of {what} do not fit: {shown}", label=f"{a} against {b}"
                    )
                    return None
                merged.append(b if a.constant == 1 else a)
            shape = (*head, *merged)
        return shape


def show_reach(reach: Reach) -> str:
    mark = {"before": "<", "through": "<=", "after": ">", "from": ">=", "whole": "all of "}[reach.reach]
    inside = f" in {reach.inside}" if reach.inside else ""
    return f"[{mark}{reach.plate}{inside}]" if reach.reach != "whole" else f"all of {reach.plate}"
