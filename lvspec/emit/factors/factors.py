"""The log-factors of a model over tensors with named axes: one for each random variable, and what masks it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from lvspec.emit.lowering.densities import Term, log_density, lower_term
from lvspec.emit.lowering.expected import expected_density
from lvspec.emit.lowering.lower import Lowering
from lvspec.emit.lowering.value import ATOM, Value, align, dim, select
from lvspec.ir.axes import SiteNumber, latent_of
from lvspec.ir.spec import Clause, Variable


@dataclass(frozen=True)
class Mask:
    """Which sites count: those of a ragged plate that an example has, or those of a variable that are observed."""

    owner: str
    axes: tuple[str, ...]
    observed: bool

    @property
    def code(self) -> str:
        return f'batch["{self.owner}.mask"]'

    def value(self, low: Lowering) -> Value:
        """The mask at the bound sites of unrolled plates."""
        value = Value(self.code, self.axes)
        for plate in value.axes:
            if plate in low.bound:
                value = select(value, plate, str(low.bound[plate]))
        return value if low.windows.current is None else low.windows.windowed(value, low.windows.current)


def observed_mask(variable: Variable) -> Mask:
    return Mask(variable.name, ("B", *variable.plates), True)


def plate_mask(low: Lowering, plate: str) -> Mask:
    return Mask(plate, low.plate_axes(plate), False)


@dataclass(frozen=True)
class Factor:
    """log p(name | parents) at every site: `value` by the general clause, `initial` by those of the first sites.

    mask: which of its ragged sites count, None without ragged plates.
    own: the axis of the latent whose own factor this is, where that latent is summed.
    along: the plate whose first sites `initial` is of.
    """

    name: str
    value: Value
    initial: tuple[Value, ...] = ()
    mask: Mask | None = None
    own: str | None = None
    along: str | None = None

    @property
    def observed_mask(self) -> Mask | None:
        """The mask, for what is observed; a summed latent's own factor sums to one where there is no site."""
        return self.mask if self.own is None else None

    @property
    def axes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(a for v in (self.value, *self.initial) for a in v.axes))


def bindings(low: Lowering, variable: Variable):
    """The sites of unrolled plates that a variable lives on, each as a context of the lowering."""
    plates = [p for p in variable.plates if p in low.unrolled]
    for sites in product(*(range(low.spec.plate(p).extent.evaluate(low.sizes)) for p in plates)):
        low.bound.update(zip(plates, sites, strict=True))
        yield sites
        for plate in plates:
            del low.bound[plate]


def mask_of(low: Lowering, variable: Variable) -> Mask | None:
    ragged = [p for p in variable.plates if low.spec.plate(p).ragged]
    if variable.role == "observed":
        return observed_mask(variable)
    return plate_mask(low, ragged[-1]) if ragged else None


def first_sites_along(variable) -> str | None:
    """The plate whose first sites have factors of their own: by their clauses, or as the first labels of a structure."""
    return variable.along or variable.general.dist.plate


def factors_of(low: Lowering, variable: Variable, fuse: bool = True) -> list[Factor]:
    """The factors of one random variable: one, or one for each site of its unrolled plates."""
    return [factor_at(low, variable, sites, fuse) for sites in bindings(low, variable)]


def factor_at(
    low: Lowering, variable: Variable, sites: tuple[SiteNumber, ...], fuse: bool = True, target: Value | None = None
) -> Factor:
    """The factor at the bound sites, at another value of the variable than its own where `target` is given; of what is
    read within segments, at the sites of every window."""
    window = low.windows.read_by(variable) if low.windows.current is None else None
    with low.scope.about(variable.name, "p"), low.edges.clause_on(variable.plates):
        if window is None or window.latent not in low.summed:
            return _factor_at(low, variable, sites, fuse, target)
        with low.windows.within(window):
            return _factor_at(low, variable, sites, fuse, target)


def _factor_at(
    low: Lowering, variable: Variable, sites: tuple[SiteNumber, ...], fuse: bool, target: Value | None
) -> Factor:
    target = low.root(variable.name) if target is None else target
    label = "log_p_" + "_".join([variable.name, *map(str, sites)])
    ragged = [p for p in variable.plates if low.spec.plate(p).ragged]
    alone = len(ragged) == len(variable.plates) == 1
    bag = ragged[0] if alone and variable.role == "observed" and not variable.initial else None
    bag = None if low.windows.current is not None else bag

    def density(clause: Clause, name: str) -> Value:
        def lower(c: Clause) -> Value:
            expected = expected_density(low, c.body, target)
            if expected is not None:
                return expected
            term = lower_term(low, c.dist, variable.name, fuse)
            return log_density(low, term, target, variable.name, _bag(low, term, bag))

        return low.scope.named(name, low.with_bindings(clause, lower))

    initial = tuple(density(c, f"{label}_at_{c.initial}") for c in variable.initial)
    value = density(variable.general, label)
    within = low.windows.current is not None
    if variable.role == "observed" and (within or len(variable.plates) > 1 or not ragged):
        value = low.scope.assign(f"{label}_sites", masked(low, value, observed_mask(variable)))
        initial = tuple(masked(low, v, observed_mask(variable)) for v in initial)
        return Factor(variable.name, value, initial, along=variable.along)
    if bag is not None and bag not in value.axes:
        return Factor(variable.name, value)
    return Factor(variable.name, value, initial, mask_of(low, variable), target.enumerated, variable.along)


def _bag(low: Lowering, term: Term, bag: str | None) -> str | None:
    """The plate whose tokens may be added up at once: no summed latent lives on it."""
    if bag is None:
        return None
    summed = [latent_of(a) for v in term.arguments for a in v.axes if low.order.is_enumerated(a)]
    return None if any(bag in low.spec.variable(name).plates for name in summed) else bag


def masked(low: Lowering, value: Value, mask: Mask | None) -> Value:
    """The value with 0 at the sites that do not count: of a plate's mask, those of the value's other plates as well."""
    for each in [] if mask is None else [mask, *_further_masks(low, value, mask)]:
        real = each.value(low)
        axes = low.order.union(value, real)
        code = f"{low.scope.use('real_sites')}({align(value, axes).code}, {align(real, axes, 0).code})"
        value = value.with_(code=code, axes=axes, binds=ATOM)
    return value


def _further_masks(low: Lowering, value: Value, mask: Mask) -> list[Mask]:
    """The masks of ragged plates of a value that the mask of one plate says nothing of."""
    if mask.observed:
        return []
    said, ragged = set(mask.axes), [p for p in low.spec.plates if p.ragged and p.name in value.axes]
    left = [p for p in ragged if p.name not in said]
    return [plate_mask(low, p.name) for p in left if p.name not in {q.within for q in left}]


def reduce_plates(low: Lowering, value: Value, keep: set[str], mask: Mask | None = None) -> Value:
    """Σ over the sites of every plate that is not kept (log-factors of independent sites add up)."""
    plates = [p.name for p in low.spec.plates]
    for plate in sorted((a for a in value.axes if a in plates and a not in keep), key=plates.index, reverse=True):
        if low.spec.plate(plate).ragged:
            own = mask is not None and mask.observed and plate in mask.axes
            value = _ragged_sum(low, value, plate, mask if mask and own else plate_mask(low, plate))
            mask = None
        else:
            value = value.with_(
                code=f"{value.at(ATOM)}.sum({dim(value, plate)})", axes=_without(value.axes, plate), binds=ATOM
            )
    return value


def _ragged_sum(low: Lowering, value: Value, plate: str, mask: Mask) -> Value:
    axes = tuple(a for a in mask.axes if a not in low.bound)
    if set(axes) - set(value.axes):  # the mask varies over more than the value does
        value = masked(low, value, mask)
        return value.with_(
            code=f"{value.at(ATOM)}.sum({dim(value, plate)})", axes=_without(value.axes, plate), binds=ATOM
        )
    at = dim(value, plate)
    slots = [":" if a in axes else "None" for a in value.axes[: at + 1]]
    while slots and slots[-1] == ":":
        slots.pop()
    real = mask.code + (f"[{', '.join(slots)}]" if slots else "")
    code = f"{low.scope.use('masked_sum')}({value.code}, {real}, {at})"
    return value.with_(code=code, axes=_without(value.axes, plate), binds=ATOM)


def _without(axes: tuple[str, ...], plate: str) -> tuple[str, ...]:
    return tuple(a for a in axes if a != plate)
