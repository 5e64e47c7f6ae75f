"""Typed expressions: what the front end produces and every later room reads.

transition[z[t-1]]             Index(ParamRef("transition"), (VariableRef("z", (Lag("t", 1),)),))
writer[z](words(x[<t]))        Apply("writer", (VariableRef("z"),), (Apply("words", (), (VariableRef("x", (Stretch("t", "before"),)),)),))
sum(mean[l, z[t, l]] over l)   Call("sum", (Index(ParamRef("mean"), (PlateIndex("l"), VariableRef(...))),), over="l")
a + 2*b                        Call("add", (a, Call("multiply", (Number(2), b))))
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from lvspec.errors import NOWHERE, Span
from lvspec.ir.dims import Dim
from lvspec.ir.types import Type


# ---------------------------------------------------------------- how a site is reached
@dataclass(frozen=True)
class Here:
    """`z[t]`: the site that the clause speaks of."""

    plate: str


@dataclass(frozen=True)
class Again:
    """`h[j]` of a variable on plate t, where j runs over the sites of t again."""

    plate: str
    copy: str


@dataclass(frozen=True)
class Lag:
    """`z[t-k]`, k ≥ 1; `z[t+1]` is k = -1 (guides that run backwards)."""

    plate: str
    k: int


@dataclass(frozen=True)
class Stretch:
    """`x[<t]` before, `x[<=t]` through, `x[>t]` after, `x[>=t]` from, `x` whole. inside: `x[<t in z]`, the latent z in
    whose segment around t the stretch begins."""

    plate: str
    reach: str
    inside: str | None = None


@dataclass(frozen=True)
class At:
    """`memory[a[t]]`: the site whose index is the value of an integer expression, or a literal."""

    plate: str
    index: Expr


Site = Here | Again | Lag | Stretch | At


_OUTSIDE = ("before", "after")


# ---------------------------------------------------------------- expressions
@dataclass(frozen=True)
class Expr:
    type: Type = field(kw_only=True, default=Type(), compare=False)
    span: Span = field(kw_only=True, default=NOWHERE, compare=False, repr=False)

    def children(self) -> tuple[Expr, ...]:
        return ()


@dataclass(frozen=True)
class Number(Expr):
    value: float | int


@dataclass(frozen=True)
class SizeRef(Expr):
    """A size used as a number, e.g. `1 / K`."""

    dim: Dim


@dataclass(frozen=True)
class ParamRef(Expr):
    name: str


@dataclass(frozen=True)
class VariableRef(Expr):
    """A latent, observed, given or let variable; one `Site` per plate of the variable, in its order."""

    name: str
    at: tuple[Site, ...] = ()

    def children(self) -> tuple[Expr, ...]:
        return tuple(s.index for s in self.at if isinstance(s, At))

    @property
    def beyond(self) -> bool:
        """Whether it reads what precedes the first site or follows the last one, where no clause of its own says what
        stands there: `x[<t]`, `x[>t]`, `g[t+1]`."""
        return any(isinstance(s, Lag) and s.k < 0 or isinstance(s, Stretch) and s.reach in _OUTSIDE for s in self.at)


@dataclass(frozen=True)
class Part(Expr):
    """One of the values that a latent draws together: made by front/together.py of a reference to it, never written.

    name: as the spec calls it. base: the whole, a matrix [D, 1 + D]. part: 0 is its first column, 1 all others.
    """

    name: str
    base: VariableRef | LocalRef
    part: int

    def children(self) -> tuple[Expr, ...]:
        return (self.base,)


@dataclass(frozen=True)
class LocalRef(Expr):
    """A name bound by the clause's own `where`."""

    name: str


@dataclass(frozen=True)
class PlateIndex(Expr):
    """A plate's own index as an integer: `l` in `mean[l, z[t, l]]`."""

    plate: str


@dataclass(frozen=True)
class Index(Expr):
    """`base[i, j]` over the leading event axes of base; each index is an integer expression."""

    base: Expr
    indices: tuple[Expr, ...]

    def children(self) -> tuple[Expr, ...]:
        return (self.base, *self.indices)


@dataclass(frozen=True)
class SiteOf(Expr):
    """`reader(words(x))[t]`: one site of an expression that reaches along plate t."""

    base: Expr
    plate: str

    def children(self) -> tuple[Expr, ...]:
        return (self.base,)


@dataclass(frozen=True)
class Call(Expr):
    """A function of ir/functions.py. `over`: the plate that it reduces, normalises or stacks."""

    function: str
    args: tuple[Expr, ...]
    over: str | None = None

    def children(self) -> tuple[Expr, ...]:
        return self.args


@dataclass(frozen=True)
class Apply(Expr):
    """A declared network, from a bank where `bank` is not empty: `expert[z[t]](h[t])`."""

    network: str
    bank: tuple[Expr, ...]
    args: tuple[Expr, ...]

    def children(self) -> tuple[Expr, ...]:
        return (*self.bank, *self.args)


@dataclass(frozen=True)
class LogProb(Expr):
    """`log_prob(y, Categorical(logits=score))`: a log-density at a value, in a term of the objective."""

    value: Expr
    dist: Dist

    def children(self) -> tuple[Expr, ...]:
        return (self.value, *self.dist.children())


@dataclass(frozen=True)
class NetworkPart(Expr):
    """`weight` or `bias` of a linear network: made by ir/affine.py, never written in a spec."""

    network: str
    part: str


@dataclass(frozen=True)
class Zeros(Expr):
    """A vector of zeros, of the shape that its type says: made by ir/affine.py, never written in a spec."""


# ---------------------------------------------------------------- distributions
@dataclass(frozen=True)
class Dist:
    """`Family(arguments)[copies] over plate with part`. `type` is the variate's, one site of it.

    arguments: (name, expression) in the order of ir/distributions.py, defaults filled in.
    base, through: of the family Flow, which has no arguments of its own: `base through flow(context) through ...`,
    each flow by its network's name.
    """

    family: str
    arguments: tuple[tuple[str, Expr], ...]
    copies: tuple[Dim, ...] = ()
    over: str | None = None
    through: tuple[tuple[str, tuple[Expr, ...]], ...] = ()
    parts: tuple[str, ...] = ()
    type: Type = Type()
    span: Span = field(default=NOWHERE, compare=False, repr=False)
    base: Dist | None = None

    def children(self) -> tuple[Expr, ...]:
        own = tuple(e for _, e in self.arguments) + (self.base.children() if self.base else ())
        return own + tuple(e for _, args in self.through for e in args)

    @property
    def plate(self) -> str:
        """Over whose sites it is one distribution, of those that are over a plate."""
        assert self.over is not None
        return self.over

    @property
    def source(self) -> Dist:
        """What is drawn first: the base of a flow, else the distribution itself."""
        return self.base or self

    @property
    def shown(self) -> str:
        """`Normal`, or `Normal through flow`."""
        return self.source.family + "".join(f" through {name}" for name, _ in self.through)

    def argument(self, name: str) -> Expr:
        return dict(self.arguments)[name]

    def find(self, name: str) -> Expr | None:
        """An argument that may not be given."""
        return dict(self.arguments).get(name)


@dataclass(frozen=True)
class Choice:
    """if / then / else in a likelihood: a mixture of two distributions."""

    condition: Expr
    then: Dist
    otherwise: Dist
    type: Type = Type()
    span: Span = field(default=NOWHERE, compare=False, repr=False)

    def children(self) -> tuple[Expr, ...]:
        return (self.condition, *self.then.children(), *self.otherwise.children())


@dataclass(frozen=True)
class Binding:
    """`where loc, scale = split(e)`: one name for the value, or one per part."""

    names: tuple[str, ...]
    value: Expr


def walk(node: Expr | Dist | Choice) -> Iterator[Expr]:
    """Every expression below and including `node`, outermost first, left to right."""
    waiting: list[Expr | Dist | Choice] = [node]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Expr):
            yield node
        waiting += reversed(node.children())
