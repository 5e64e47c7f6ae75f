"""A checked model: names resolved, shapes known, everything with its place in the source.

Frozen data only. The front end builds a `Spec`; the planner reads it and never changes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from lvspec.errors import NOWHERE, Diagnostic, Source, Span
from lvspec.ir.dims import Dim, Shape
from lvspec.ir.distributions import FAMILIES
from lvspec.ir.expr import Binding, Choice, Dist, Expr
from lvspec.ir.priors import OF_PROBABILITIES
from lvspec.ir.types import Type

Options = tuple[tuple[str, Any], ...]  # names and checked values: numbers, words, flags, tuples of them


@dataclass(frozen=True)
class Size:
    """`K: 45`, or `V: vocabulary(x)`: known only from data (then `of` names the variable).

    source: number | vocabulary | categories | features.  value: the number; for sizes from data the
    nominal one that prices use (overridable, printed by explain).
    """

    name: str
    source: str
    value: int
    of: str | None = None
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True)
class Plate:
    """A set of sites. The batch plate is implied and never listed.

    kind: sequence (ordered, ragged) | bag (unordered, ragged) | fixed (size) | segments | latent_length (ordered; `size` sites,
        of which as many count as a variable says: ir/lengths.py).
    within: the ragged plate it is nested in. end: the symbol that stops a sequence (a site like any other).
    like: the plate whose sites it runs over a second time, `j: copy(t)`; no variable stands on such a plate.
    options: what a kind was written with besides: max=..., of segments; length=..., more=..., of a latent length.
    """

    name: str
    kind: str
    size: Dim | None = None
    within: str | None = None
    end: str | None = None
    options: Options = ()
    span: Span = field(default=NOWHERE, compare=False)
    like: str | None = None

    @property
    def sites(self) -> str:
        """The plate whose sites these are: its own name, or that of the plate it copies."""
        return self.like or self.name

    @property
    def extent(self) -> Dim:
        """How many sites, of a plate whose size the spec says."""
        assert self.size is not None
        return self.size

    @property
    def null(self) -> bool:
        """Whether site 0 is there in every example and stands for nothing."""
        return bool(dict(self.options).get("null"))

    @property
    def ordered(self) -> bool:
        return self.kind in ("sequence", "segments", "latent_length")

    @property
    def ragged(self) -> bool:
        return self.kind not in ("fixed", "latent_length")

    @property
    def length(self) -> str | None:
        """The variable that says how many of its sites count."""
        return dict(self.options).get("length")


@dataclass(frozen=True)
class ParameterPrior:
    """log p of a parameter's entries, once a data set: of a real family of the entries themselves, of Beta of their sigmoids, of
    Dirichlet of the softmax of the last axis, which a table of logits stands for (ir/priors.py). span: its text's place."""

    family: str
    numbers: tuple[float, ...]
    span: Span = field(default=NOWHERE, compare=False)

    def text(self, name: str) -> str:
        """`softmax(name) ~ Dirichlet(2)`"""
        function = OF_PROBABILITIES.get(self.family)
        return f"{f'{function}({name})' if function else name} ~ {self.family}({', '.join(f'{n:g}' for n in self.numbers)})"


@dataclass(frozen=True)
class Param:
    """A free tensor. init: (function, numbers), e.g. ("normal", (0.0, 0.1)); None is the default
    normal(0, 1) (it breaks the symmetry between states). options: per_example, and what has no engine yet (tied). derived: made
    by the planner for a guide that nobody wrote."""

    name: str
    shape: Shape
    init: tuple[str, tuple[float, ...]] | None = None
    frozen: bool = False
    options: Options = ()
    prior: ParameterPrior | None = None
    derived: bool = False
    span: Span = field(default=NOWHERE, compare=False)

    @property
    def per_example(self) -> bool:
        """Whether each example of the training data has its own."""
        return bool(dict(self.options).get("per_example"))


@dataclass(frozen=True)
class Network:
    """A declared network. arguments: sizes in the order of ir/networks.py; options: activation, layers, ...

    bank: leading sizes for a bank of K alike networks, `expert[K]: Linear(H, E)`.
    path: for `Module`, the dotted path of a user's own class; the option `made` is what it is made with, (keyword or "", size, number or
    truth value), where that is not its sizes in order.
    derived: made by the planner for a guide that nobody wrote.
    """

    name: str
    kind: str
    arguments: tuple[Dim, ...]
    options: Options = ()
    bank: tuple[Dim, ...] = ()
    path: str | None = None
    derived: bool = False
    span: Span = field(default=NOWHERE, compare=False)

    def option(self, name: str, default: Any = None) -> Any:
        return dict(self.options).get(name, default)

    @property
    def sizes(self) -> tuple[Dim, ...]:
        """All that it is made with and that is a size."""
        return (*self.arguments, *(v for _, v in self.option("made", ()) if isinstance(v, Dim)))


@dataclass(frozen=True)
class Phase:
    """Steps in a row that move these networks and parameters, and those that no phase names."""

    name: str
    moves: tuple[str, ...]
    steps: int = 1


@dataclass(frozen=True)
class Clause:
    """One line of a variable's story: `z[0]: ...` has initial = 0, `z[t]: ...` has initial = None.

    body: a Dist or Choice for random variables, an Expr for let variables, None for given ones.
    """

    body: Dist | Choice | Expr | None
    initial: int | None = None
    bindings: tuple[Binding, ...] = ()
    span: Span = field(default=NOWHERE, compare=False)

    @property
    def dist(self) -> Dist:
        """The body of a clause that draws from one distribution."""
        assert isinstance(self.body, Dist)
        return self.body

    @property
    def value(self) -> Expr:
        """The body of a clause that computes."""
        assert isinstance(self.body, Expr)
        return self.body


@dataclass(frozen=True)
class Variable:
    """A node. role: latent | let | observed | given | guide (the q-factor of the latent of that name) | term (of the objective).

    plates: in the order of the index `z[t, l]`. outside_batch: a global variable, one for the data set.
    type: of one site (its `plates` repeat `plates`). clauses: initial ones by number, then the general one.
    along: the plate whose first sites the initial clauses are for, `d` of `z[0, t]`; None where there are none.
    parts: names of the values that a latent draws together, `(mu, Sigma)`; what reads one reads an `expr.Part`.
    one_hot: whether a latent's number is a one-hot vector outside of the module. classes: given as `category(K)`: K classes, not words.
    """

    name: str
    role: str
    plates: tuple[str, ...]
    type: Type
    clauses: tuple[Clause, ...]
    outside_batch: bool = False
    span: Span = field(default=NOWHERE, compare=False)
    parts: tuple[str, ...] = ()
    one_hot: bool = False
    along: str | None = None
    classes: bool = False

    def at(self, indices: tuple[str, ...]) -> str:
        """As the spec writes it: `z[t, l]`, `(mu[k], Sigma[k])`."""
        index = f"[{', '.join(indices)}]" if indices else ""
        return f"({', '.join(p + index for p in self.parts)})" if self.parts else self.name + index

    @property
    def general(self) -> Clause:
        return next(c for c in self.clauses if c.initial is None)

    @property
    def initial(self) -> tuple[Clause, ...]:
        return tuple(c for c in self.clauses if c.initial is not None)


@dataclass(frozen=True)
class Override:
    """`infer: {z: reinforce(samples=8)}`."""

    name: str
    strategy: str
    options: Options = ()
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True)
class Schedule:
    """A number that depends on the step: ("constant", (v,)), ("linear", (from, to, steps)), ("cyclical", (from, to, period))."""

    kind: str
    values: tuple[float, ...]

    @property
    def end(self) -> float:
        """The number that it arrives at."""
        return self.values[0] if self.kind == "constant" else self.values[1]

    @property
    def text(self) -> str:
        """As a spec writes it."""
        if self.kind == "constant":
            return f"{self.values[0]:g}"
        first, last, extent = (f"{v:g}" for v in self.values)
        return f"{self.kind}({first}, {last}, {'period' if self.kind == 'cyclical' else 'steps'}={extent})"


@dataclass(frozen=True)
class FreeBits:
    """`node(3)`, `dimension(0.25)`: nats of KL, of the whole latent or of each of its entries, that cost nothing."""

    unit: str
    nats: float


@dataclass(frozen=True)
class Spec:
    """A model that passed every check.

    infer: general settings of the `infer:` section (samples, budget_flops, budget_bytes, bound, nominal sizes).
    kl_weight, free_bits: schedule, or what is free, by latent name; "" is the default for all.
    data, train: the sections as plain, checked values (see front/sections.py for their keys).
    """

    source: Source
    name: str
    class_name: str
    description: str
    sizes: tuple[Size, ...]
    plates: tuple[Plate, ...]
    params: tuple[Param, ...]
    networks: tuple[Network, ...]
    variables: tuple[Variable, ...]  # given, latent, let, observed, in an order that respects dependence
    guide: tuple[Variable, ...]  # q-factors, and let variables that only the guide reads (role "let")
    overrides: tuple[Override, ...] = ()
    infer: Options = ()
    kl_weight: tuple[tuple[str, Schedule], ...] = ()
    free_bits: tuple[tuple[str, FreeBits], ...] = ()
    terms: tuple[Variable, ...] = ()  # role "term": added to the objective, summed over their plates
    unread: Options = ()  # `views:`, which has no engine yet
    phases: tuple[Phase, ...] = ()
    data: Options = ()
    train: Options = ()
    warnings: tuple[Diagnostic, ...] = ()
    derived: str = ""  # the lines of `networks:` and `guide:` that nobody wrote, as a person would write them
    copies: tuple[Plate, ...] = ()  # plates that run over the sites of another one again

    @cached_property
    def derived_factors(self) -> frozenset[str]:
        """The latents whose factors stand in `derived`."""
        return frozenset(re.findall(r"^  (\w+)[\[:]", self.derived.partition("guide:\n")[2], re.MULTILINE))

    @cached_property
    def priors(self) -> dict[str, ParameterPrior]:
        """By parameter."""
        return {p.name: p.prior for p in self.params if p.prior is not None}

    @cached_property
    def counts_examples(self) -> bool:
        """Whether a module has to know how many examples the data set has: they share something, or own parameters."""
        shared = any(v.outside_batch for v in self.of_role("latent"))
        return shared or bool(self.priors) or any(p.per_example for p in self.params)

    @cached_property
    def named(self) -> dict[str, Variable]:
        return {v.name: v for v in self.variables}

    @cached_property
    def _plates(self) -> dict[str, Plate]:
        return {p.name: p for p in (*self.plates, *self.copies)}

    def variable(self, name: str) -> Variable:
        return self.named[name]

    def plate(self, name: str) -> Plate:
        return self._plates[name]

    @cached_property
    def names(self) -> frozenset[str]:
        """Of variables, networks, parameters and sizes."""
        taken: Iterable[Variable | Network | Param | Size]
        taken = (*self.variables, *self.guide, *self.networks, *self.params, *self.sizes)
        return frozenset(v.name for v in taken)

    @property
    def plate_names(self) -> tuple[str, ...]:
        return tuple(p.name for p in (*self.plates, *self.copies))

    @cached_property
    def _roles(self) -> dict[str, tuple[Variable, ...]]:
        found: dict[str, list[Variable]] = {}
        for variable in self.variables:
            found.setdefault(variable.role, []).append(variable)
        return {role: tuple(variables) for role, variables in found.items()}

    def of_role(self, role: str) -> tuple[Variable, ...]:
        return self._roles.get(role, ())

    @cached_property
    def lets(self) -> dict[str, Variable]:
        return {v.name: v for v in self.of_role("let")}

    @cached_property
    def kept(self) -> dict[str, Any]:
        """What others have found of this spec and keep for all who ask."""
        return {}

    @cached_property
    def own_rows(self) -> frozenset[str]:
        """The parameters of which each example has its own."""
        return frozenset(p.name for p in self.params if p.per_example)

    @cached_property
    def bounded(self) -> tuple[tuple[Variable, Clause, Dist], ...]:
        """Where values lie between arguments: `Binomial(n, ...)`."""
        found = ((v, c, c.body) for v in self.variables for c in v.clauses if isinstance(c.body, Dist))
        return tuple((v, c, b) for v, c, b in found if b.family in FAMILIES and any(FAMILIES[b.family].between))

    def nominal(self) -> dict[str, int]:
        """Numbers for every size: declared ones, and nominal ones where only data know."""
        return {s.name: s.value for s in self.sizes}
