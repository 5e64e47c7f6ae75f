"""Expressions of a spec as expressions over tensors with named axes.

    emission[z[t]]     z enumerated:  self.emission                      axes (z,)       nothing is gathered
                       z sampled:     self.emission[z]                   axes (S, B, t)
    writer(words(x[<t]))              self.writer(self.words(previous(x, ...)))          axes (B, t)

Each subexpression carries the axes that it varies over and no others, so it is computed once at that extent.
Lagged sites are read by shifting the whole tensor; what a shift fills in at the first sites belongs to the
initial clauses and is never used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from lvspec.emit.lowering.calls import CALLS, compare, spread_along
from lvspec.emit.lowering.edges import Edges
from lvspec.emit.lowering.indexing import index_expression
from lvspec.emit.lowering.networks import apply_network
from lvspec.emit.lowering.relaxed import RelaxedDraw
from lvspec.emit.lowering.scope import Scope
from lvspec.emit.lowering.site_reads import again, at_all_sites, following, site_at
from lvspec.emit.lowering.sizes import size_code
from lvspec.emit.lowering.value import (
    ALL,
    ATOM,
    FROM,
    PRODUCT,
    SUM,
    UNARY,
    AxisOrder,
    Value,
    align,
    as_tensor,
    axis_to_event,
    dim,
    join_draws,
    widen_draws,
)
from lvspec.emit.lowering.windows import Windows
from lvspec.emit.lowering.written_out import WrittenOut
from lvspec.ir.axes import SiteNumber, axis_of, latent_of, shift_axis
from lvspec.ir.dims import Dim, ragged_plate
from lvspec.ir.expr import (
    Again,
    Apply,
    At,
    Binding,
    Call,
    Expr,
    Index,
    Lag,
    LocalRef,
    NetworkPart,
    Number,
    ParamRef,
    Part,
    PlateIndex,
    SiteOf,
    SizeRef,
    Stretch,
    VariableRef,
    Zeros,
)
from lvspec.ir.lengths import counting
from lvspec.ir.mixtures import meaning_of
from lvspec.ir.plan import Plan
from lvspec.ir.repeated import repeated
from lvspec.ir.spec import Clause, Variable

T = TypeVar("T")


class Lowering:
    """Lowers the expressions of one program (a method of the module).

    known: tensors by variable name (observed, given, sampled so far). summed: latents that are axes here.
    relaxed: latents whose draws are relaxed. statistics: expected statistics of latents of the mean field, which have no value here.
    bound: the sites of unrolled plates that are being written now. frozen: parameters are read without gradient.
    special: what only terms of the objective say, by the function's or the node's name.
    meanings: what names of the clause's `where` stand for. repeated: what is computed once, and under which name.
    begins: whether a segment begins at each site, of latents that are drawn. windows: what is computed wherever a segment
    might begin.
    """

    def __init__(self, plan: Plan, scope: Scope, order: AxisOrder, summed: set[str]):
        self.plan = plan
        self.spec = plan.spec
        self.scope = scope
        self.order = order
        self.summed = summed
        self.unrolled = plan.unrolled
        self.known: dict[str, Value] = {}
        self.statistics: dict[str, tuple[Value, ...]] = {}
        self.relaxed: dict[str, RelaxedDraw] = {}
        self.bound: dict[str, SiteNumber] = {}
        self.frozen = False
        self.special: dict[str, Callable[[Any], Value]] = {}
        self.locals: dict[str, Value] = {}
        self.lets: dict[tuple, Value] = {}
        self.meanings: dict[str, Expr] = {}
        self.repeated = repeated(plan.spec, plan.guide)
        self.networks = {n.name: n for n in plan.networks}
        self.definitions = {v.name: v for v in (*self.spec.variables, *plan.guide) if v.role == "let"}
        self.sizes = dict(plan.sizes)
        self.begins: dict[str, Value] = {}
        self.windows = Windows(self, self.spec)
        self.edges = Edges(self)
        self.written_out = WrittenOut(self)
        self.counting = {counting(p): p.name for p in self.spec.plates if p.length}
        self.rows_of_their_own = {p.name for p in self.spec.params if p.per_example}

    # ------------------------------------------------------------ sizes and small helpers
    def size(self, size: Dim) -> str:
        """A symbolic size as Python: `2 * self.D`."""
        return size_code(size)

    def extent(self, plate: str) -> Dim:
        """How many sites a plate has, as a symbolic size."""
        found = self.spec.plate(plate)
        return Dim.of(f"|{found.sites}|") if found.size is None else found.size

    def extent_code(self, plate: str) -> str:
        """How many sites a plate has, as Python."""
        size = self.spec.plate(plate).size
        return f"{self.mask(plate)}.shape[-1]" if size is None else self.size(size)

    def plate_axes(self, plate: str) -> tuple[str, ...]:
        """The axes of a ragged plate's mask."""
        within = self.spec.plate(plate).within
        return ("B", within, plate) if within else ("B", plate)

    def mask(self, plate: str) -> str:
        return f'batch["{self.spec.plate(plate).sites}.mask"]'

    def lengths(self, plate: str, lead: tuple[str, ...]) -> str:
        within = self.spec.plate(plate).within
        axes = ("B", within) if within else ("B",)
        return align(Value(f'batch["{self.spec.plate(plate).sites}"]', axes), lead).code

    def mask_along(self, value: Value, plate: str) -> str:
        """The mask of `plate`, broadcastable against the axes of value up to the plate's."""
        axes = self.plate_axes(plate)
        slots = [":" if a in axes else "None" for a in value.axes[: value.axes.index(plate) + 1]]
        while slots and slots[-1] == ":":
            slots.pop()
        return self.mask(plate) + (f"[{', '.join(slots)}]" if slots else "")

    # ------------------------------------------------------------ expressions
    def lower(self, expr: Expr) -> Value:
        special = self.special.get(expr.function if isinstance(expr, Call) else type(expr).__name__)
        if special is not None:
            return special(expr)
        if isinstance(expr, Call) and expr in self.counting:
            return self.counts(expr)
        within = self.windows.lower(expr)
        if within is not None:
            return within
        if self.repeated and expr in self.repeated:
            return self.once(expr, self.repeated[expr])
        return self._lowered(expr)

    def once(self, expr: Expr, name: str) -> Value:
        """An expression that is read several times, under a name."""
        key = ("once", expr, tuple(self.bound.items()), self.frozen, self.windows.current)
        if key not in self.lets:
            self.lets[key] = self.scope.named(name, self.concrete(self._lowered(expr)))
        return self.lets[key]

    def _lowered(self, expr: Expr) -> Value:
        return getattr(self, f"_{type(expr).__name__}")(expr)

    def counts(self, expr: Call) -> Value:
        """Which sites of a plate count whose length is a variable: written once."""
        plate, bound = self.counting[expr], tuple(self.bound.items())
        key = ("counts", plate, bound)
        if key not in self.lets:
            value = compare(self, expr, real=True)
            self.lets[key] = self.scope.assign(f"counts_{plate}", value, "1 where a site is below the length")
        return self.lets[key]

    def _Number(self, expr: Number) -> Value:
        integer = isinstance(expr.value, int)
        return Value(repr(expr.value), binds=UNARY if expr.value < 0 else ATOM, integer=integer, number=True)

    def _SizeRef(self, expr: SizeRef) -> Value:
        binds = ATOM if expr.dim.terms[:1] == expr.dim.terms else SUM
        return Value(size_code(expr.dim), binds=binds, integer=True, number=True)

    def _ParamRef(self, expr: ParamRef) -> Value:
        if expr.name in self.rows_of_their_own:
            return self.still(self.own_row(expr))
        return self.still(Value(f"self.{expr.name}", shape=expr.type.shape))

    def own_row(self, expr: ParamRef) -> Value:
        """A free parameter of each example: what the batch brings along, else the training example's row."""
        key = ("row", expr.name)
        if key not in self.lets:
            code = f'{self.scope.use("own_row")}(batch, "{expr.name}", self.{expr.name})'
            self.lets[key] = self.scope.assign(expr.name, Value(code, ("B",), expr.type.shape))
        return self.lets[key]

    def still(self, value: Value) -> Value:
        """The value, where nothing is frozen; else detached."""
        return self.detached(value) if self.frozen else value

    def detached(self, value: Value) -> Value:
        """The same numbers without gradient; plain numbers have none."""
        return value if value.number else value.with_(code=f"{value.at(ATOM)}.detach()", binds=ATOM)

    def module(self, network) -> str:
        """A network, or the same one with parameters that do not move."""
        return f"{self.scope.use('frozen')}(self.{network.name})" if self.frozen else f"self.{network.name}"

    def _LocalRef(self, expr: LocalRef) -> Value:
        return self.locals[expr.name]

    def _NetworkPart(self, expr: NetworkPart) -> Value:
        return self.still(Value(f"self.{expr.network}.{expr.part}", shape=expr.type.shape))

    def _Zeros(self, expr: Zeros) -> Value:
        sizes = ", ".join(self.size(d) for d in expr.type.shape)
        return Value(f"self.zero.expand({sizes})", shape=expr.type.shape)

    def _Part(self, expr: Part) -> Value:
        whole = self.lower(expr.base)
        return whole.with_(
            code=f"{whole.at(ATOM)}[..., {'1:' if expr.part else '0'}]", shape=expr.type.shape, binds=ATOM
        )

    def _PlateIndex(self, expr: PlateIndex) -> Value:
        if expr.plate in self.bound:
            return Value(str(self.bound[expr.plate]), integer=True, number=True)
        code = self.numbers(self.extent(expr.plate))
        return Value(code, axes=(expr.plate,), integer=True)

    def numbers(self, size: Dim) -> str:
        """The integers 0 .. size-1; those of a ragged plate's sites have a name of their own."""
        code = f"torch.arange({size_code(size)}, device=self.zero.device)"
        plate = ragged_plate(size)
        if plate is None:
            return code
        key = ("sites", plate)
        if key not in self.lets:
            self.lets[key] = self.scope.assign(f"sites_{plate}", Value(code, axes=(plate,), integer=True))
        return self.lets[key].code

    def _SiteOf(self, expr: SiteOf) -> Value:
        plate, value = self.spec.plate(expr.plate), self.lower(expr.base)
        return value if plate.like is None else again(value, plate.like, plate.name)

    def _VariableRef(self, expr: VariableRef) -> Value:
        return self.variable(expr, begin="0")

    def variable(self, expr: VariableRef, begin: str) -> Value:
        """A variable at the sites that the reference names; `begin` fills what precedes the first site."""
        sites = list(zip(self.plates_of(expr.name), expr.at, strict=True))
        apart = self.written_out.whole(expr, begin) or self.written_out.named(expr, begin)
        if apart is not None:
            return apart
        with self.written_out.at_no_site({p for p, site in sites if isinstance(site, At | Stretch)}):
            definition = self.definitions.get(expr.name)
            value = self.let(definition) if definition is not None else self.root(expr.name)
        begin = "0" if value.relaxed else begin
        if expr.beyond and value.enumerated is None:  # what is the same at every site is not so beyond them
            for plate in (s.plate for s in expr.at if isinstance(s, Lag | Stretch) and s.plate not in value.axes):
                value = spread_along(self, value, plate)
        for plate, site in reversed(sites):  # the first plate that is read as a whole becomes the first axis
            if isinstance(site, Lag):
                value = self.shifted(value, plate, site.k, self.edges.before(site, begin))
            elif isinstance(site, Stretch):
                value = self.stretch(value, site, begin)
            elif isinstance(site, Again):
                value = again(value, plate, site.copy)
            elif isinstance(site, At):
                value = site_at(self, value, plate, self.lower(site.index))
        return value

    def plates_of(self, name: str) -> tuple[str, ...]:
        return (self.definitions.get(name) or self.spec.variable(name)).plates

    def root(self, name: str) -> Value:
        """A random or given variable at this site: a tensor, or an axis of its own where it is summed."""
        if name in self.summed:
            axis = axis_of(name, self.written_out.sites_of(name))
            return Value("", axes=(axis,), integer=True, enumerated=axis)
        return self.here(self.known[name])

    def here(self, value: Value) -> Value:
        """What belongs to this site of a value of all of them."""
        value = self.written_out.at_bound(value)
        return value if self.windows.current is None else self.windows.windowed(value, self.windows.current)

    def let(self, variable: Variable) -> Value:
        """A deterministic variable, computed once, behind those that it reads."""
        names: Iterable[str] = [variable.name]
        if not self.windows.known:  # there it depends on where it is read whether a segment's sites are meant
            names = self.windows.reader.lets_below(variable.name, lambda n: self._written(n) is not None)
        for name in names if self._written(variable.name) is None else ():
            self._write(self.definitions[name])
        written = self._written(variable.name)
        assert written is not None
        return written

    def _let_key(self, name: str) -> tuple:
        return name, self.written_out.sites_of(name), self.frozen, self.windows.current

    def _written(self, name: str) -> Value | None:
        """A let variable that has been computed in this context, or None."""
        key = self._let_key(name)
        moving = self.lets.get((*key[:2], False, key[3])) if self.frozen else None
        return self.detached(moving) if moving is not None and not moving.draws else self.lets.get(key)

    def _write(self, variable: Variable) -> None:
        key = self._let_key(variable.name)
        saved, self.locals = self.locals, {}
        meanings, self.meanings = self.meanings, {}
        with self.scope.about(variable.name, "let"), self.edges.clause_on(variable.plates):
            value = self.clauses(variable, lambda clause: self.lower(clause.body))
            name = "_".join([variable.name, *map(str, key[1]), *(["fixed"] if self.frozen else [])])
            self.lets[key] = self.scope.assign(name, self.concrete(value), own=not self.frozen)
        self.locals, self.meanings = saved, meanings

    def clauses(self, variable: Variable, lower) -> Value:
        """The general clause, with the initial ones in place of its first sites."""
        value = self.with_bindings(variable.general, lower)
        for clause in reversed(variable.initial):
            first = self.with_bindings(clause, lower)
            value = self.replace_site(value, first, variable.along, clause.initial)
        return value

    def replace_site(self, value: Value, first: Value, plate: str | None, index: int | None) -> Value:
        """`value` with site `index` taken from `first`: of a clause for a first site, which says along which plate."""
        assert plate is not None and index is not None
        axes = self.order.union(value, first, Value("", axes=(plate,)))
        rank = max(len(value.shape), len(first.shape))
        here = axes.index(plate) - len(axes) - rank
        value, first = as_tensor(value), as_tensor(first)
        arguments = [align(value, axes, rank).code, align(first, axes, rank).code, f"dim={here}", f"site={index}"]
        if plate not in {*value.axes, *first.axes}:  # the same at every site: how many there are, neither knows
            arguments.append(f"sites={self.extent_code(plate)}")
        code = f"{self.scope.use('replace_site')}({', '.join(arguments)})"
        return Value(code, axes, value.shape or first.shape, draws=join_draws(value, first))

    def with_bindings(self, clause: Clause, lower: Callable[[Clause], T]) -> T:
        saved, meanings, outside = dict(self.locals), dict(self.meanings), self.scope.at_first
        self.scope.at_first = "" if clause.initial is None else f"_at_{clause.initial}"
        for binding in clause.bindings:
            self.bind(binding)
        result = lower(clause)
        self.locals, self.meanings, self.scope.at_first = saved, meanings, outside
        return result

    def meaning(self, expr: Expr) -> Expr:
        """What a let variable at this site, or a name of `where`, stands for; any other expression itself."""
        return expr if self.windows.known else meaning_of(expr, self.definitions, self.meanings)

    def bind(self, binding: Binding) -> None:
        value = self.lower(binding.value)
        if len(binding.names) == 1:
            self.meanings[binding.names[0]] = binding.value
            self.locals[binding.names[0]] = self.scope.assign(binding.names[0], self.concrete(value))
            return
        names = [self.scope.fresh(n) for n in binding.names]
        # a split gives its argument here: the parts get their names at once
        shape = (*value.shape[:-1], value.shape[-1].divided(len(names)))
        comment = f"{self.scope.shape_comment(value.with_(shape=shape))} each"
        self.scope.line(f"{', '.join(names)} = {value.at(ATOM)}.chunk({len(names)}, -1)", comment)
        for source, name in zip(binding.names, names, strict=True):
            self.scope.stands(name, value.axes)
            self.locals[source] = value.with_(code=name, shape=shape, binds=ATOM)

    def concrete(self, value: Value) -> Value:
        """The integers 0 .. K-1 along its axis, where a summed latent is used as a number."""
        if value.enumerated is None:
            return value
        if value.enumerated in self.order.plates:
            return value.with_(code=self.numbers(self.extent(value.enumerated)), enumerated=None)
        size = self.spec.variable(latent_of(value.enumerated)).type.support.values
        return value.with_(code=self.numbers(size), enumerated=None)

    def real(self, value: Value) -> Value:
        """Integers in the module's floating-point type, where a network or a mean takes them."""
        if not value.integer or value.number:
            return value
        value = self.concrete(value)
        return value.with_(code=f"{value.at(ATOM)}.to(self.zero.dtype)", integer=False, binds=ATOM)

    # ------------------------------------------------------------ sites
    def shifted(self, value: Value, plate: str, k: int, begin: str) -> Value:
        def earlier(axis: str) -> str:
            """The axis of the site k back; a latent that does not live on the plate is the same one there."""
            moves = self.order.is_enumerated(axis) and plate in self.spec.variable(latent_of(axis)).plates
            return shift_axis(axis, k) if moves else axis

        value = value.with_(
            axes=tuple(map(earlier, value.axes)), enumerated=earlier(value.enumerated) if value.enumerated else None
        )
        if plate not in value.axes:
            return value
        value = widen_draws(value, plate, FROM if k > 0 else ALL)
        if k < 0 and plate in self.order.plates and self.spec.plate(plate).ragged:
            return following(self, value, plate, -k, begin)
        extra = f", k={k}" if k != 1 else ""
        code = f"{self.scope.use('previous')}({value.code}, dim={dim(value, plate)}, begin={begin}{extra})"
        return value.with_(code=code, binds=ATOM)

    def stretch(self, value: Value, site: Stretch, begin: str) -> Value:
        plate, reach = self.windows.axis_along(site), site.reach
        if site.inside is None and not self.spec.plate(plate).ragged:
            size, value = self.spec.plate(plate).extent, self.concrete(value)
            return axis_to_event(value if plate in value.axes else at_all_sites(self, value, plate), plate, size)
        if reach in ("before", "after"):
            return self.shifted(value, plate, 1 if reach == "before" else -1, begin)
        return widen_draws(value, plate, FROM if reach == "through" else ALL)

    # ------------------------------------------------------------ functions and networks
    def _Index(self, expr: Index) -> Value:
        return index_expression(self, expr)

    def _Call(self, expr: Call) -> Value:
        return CALLS[expr.function](self, expr)

    def broadcast(self, *values: Value) -> tuple[tuple[str, ...], int, list[Value]]:
        """Common axes, the largest event rank, and the values aligned to them."""
        found = [self.concrete(v) for v in values]
        axes = self.order.union(*found)
        rank = max(len(v.shape) for v in found)
        return axes, rank, [align(v, axes, rank) for v in found]

    def plus(self, values: list[Value]) -> Value:
        """Σ of the values over their common axes."""
        axes, _, aligned = self.broadcast(*values)
        if len(aligned) == 1:
            return aligned[0].with_(axes=axes)
        code = " + ".join(v.at(PRODUCT) for v in aligned)
        shape = max((v.shape for v in values), key=len)  # a number stands beside a vector for all of its entries
        return Value(code, axes, shape, SUM, draws=join_draws(*values))

    def _Apply(self, expr: Apply) -> Value:
        return apply_network(self, expr)
