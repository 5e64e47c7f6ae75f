"""Collapsed latents: log Σ over their joint values, plate by plate (tensor variable elimination).

    factors  log p(z_t | z_{t-1}), log p(x_t | z_t)      →  one number per example

The innermost plates go first: latents that live there are summed out of the factors that touch them, and the
result is multiplied over the plate's sites (added, in logs), because the sites are independent given what is
left. Along an ordered plate whose sites reach back, the sum is a chain (emit/chains.py).
Obermeyer et al. 2019, "Tensor variable elimination for plated factor graphs".
"""

from __future__ import annotations

from lvspec.emit.chains import chain_sum, without_local_latents
from lvspec.emit.factors import Factor, bindings, masked, reduce_plates
from lvspec.emit.lower import Lowering
from lvspec.emit.structures import is_structured, structure_sum
from lvspec.emit.value import ATOM, Value, align, axis_of, join_draws, lag_of, latent_of, shift_axis
from lvspec.errors import InternalError
from lvspec.ir.structures import window_of

LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Elimination:
    """Sums the given axes out of the factors, under the semiring of that name. A dictionary `tilt` is in scope:
    what is known of a latent, or asked about it, is added to its log-factors.

    blocks: the plate of a chain whose potentials a method of their own computes, some sites at a time; potentials: they,
    where that method is being written.
    """

    def __init__(self, low: Lowering, semiring: str = "semiring", blocks: str | None = None):
        self.low = low
        self.semiring = semiring
        self.blocks = blocks
        self.potentials: Value | None = None

    def plates(self, axis: str) -> frozenset[str]:
        latent = self.low.spec.variable(latent_of(axis))
        return frozenset(p for p in latent.plates if p not in self.low.unrolled)

    def run(self, factors: list[Factor], axes: list[str]) -> Value:
        """log Σ over `axes` of the product of the factors; other enumerated axes, S and B stay."""
        remaining = list(axes)
        while remaining:
            deepest = max(remaining, key=lambda a: (len(self.plates(a)), -remaining.index(a)))
            group = [a for a in remaining if self.plates(a) == self.plates(deepest)]
            later = [a for a in remaining if a not in group]
            for component in self.components(group, factors):
                touched = [f for f in factors if self.touches(f, component)]
                rest = [f for f in factors if not self.touches(f, component)]
                factors = [*rest, self.sum_out(component, touched)]
            remaining = later
        low = self.low
        values = [reduce_plates(low, f.value, self.held(f.value.axes, []), f.mask) for f in factors]
        return low.plus(values)

    def touches(self, factor: Factor, axes: list[str]) -> bool:
        enumerated = (shift_axis(a, -lag_of(a)) for a in factor.axes if self.low.order.is_enumerated(a))
        return any(a in axes for a in (*enumerated, *map(window_of, factor.axes)))

    def components(self, group: list[str], factors: list[Factor]) -> list[list[str]]:
        """Axes of the group that factors connect, in the order of the spec."""
        left, found = list(group), []
        while left:
            component = [left.pop(0)]
            grew = True
            while grew:
                linked = [f for f in factors if self.touches(f, component)]
                more = [a for a in left if any(self.touches(f, [a]) for f in linked)]
                component += more
                left = [a for a in left if a not in more]
                grew = bool(more)
            found.append([a for a in group if a in component])
        return found

    def sum_out(self, component: list[str], factors: list[Factor]) -> Factor:
        """One connected component summed out; what is left is a single factor."""
        low = self.low
        own_plates = set(self.plates(component[0]))
        keep = own_plates | {p for f in factors for p in self.held(f.axes, component)}
        factors = [self.within(f, keep) for f in factors]
        structured = next((a for a in component if is_structured(low, a)), None)
        if structured is not None:
            factors = without_local_latents(self, component, factors, {structured})
            value = structure_sum(self, structured, factors)
        elif any(lag_of(a) and shift_axis(a, -lag_of(a)) in component for f in factors for a in f.axes):
            value = chain_sum(self, component, factors)
            if low.statistics:  # where there is no site, no start either, and an expected one does not sum to one
                value = self.of_sites(value, component)
        else:
            value = self.contraction(component, [masked(self.low, self.settled(f), f.observed_mask) for f in factors])
        value = reduce_plates(low, value, self.held(value.axes, component))
        name = "log_sum_" + "_".join(dict.fromkeys(latent_of(a) for a in component))
        return Factor(name, low.scope.assign(name, value))

    def of_sites(self, value: Value, component: list[str]) -> Value:
        """The value, 0 of a sequence without sites."""
        plates = next(self.low.spec.variable(latent_of(a)).plates for a in component)
        plate = next(p for p in plates if self.low.spec.plate(p).ordered)
        within = self.low.spec.plate(plate).within
        mask = Value(f"{self.low.mask(plate)}.any(-1)", ("B", within) if within else ("B",))
        value = self.low.scope.assign("log_sum", value)
        code = f"{self.low.scope.use('real_sites')}({value.code}, {align(mask, value.axes, 0).code})"
        return value.with_(code=code, binds=ATOM)

    def held(self, axes: tuple[str, ...], component: list[str]) -> set[str]:
        """Plates that must stay: enumerated latents that are not summed here live on them."""
        others = [a for a in axes if self.low.order.is_enumerated(a) and shift_axis(a, -lag_of(a)) not in component]
        return {p for a in others for p in self.plates(a)}

    def within(self, factor: Factor, keep: set[str]) -> Factor:
        """The factor with the plates multiplied out that none of the summed latents lives on."""
        extra = {a for a in factor.value.axes if a in self.low.order.plates} - keep
        if not extra:
            return factor
        value = reduce_plates(self.low, self.settled(factor), keep, factor.mask)
        return Factor(factor.name, self.low.scope.assign(f"log_p_{factor.name}_sites", value), (), None, factor.own)

    def settled(self, factor: Factor) -> Value:
        """The factor as one tensor: initial clauses in place of the first sites."""
        value = factor.value
        if factor.initial:
            own = next((v.plates for v in self.low.spec.variables if v.name == factor.name), factor.axes)
            plate = next(p.name for p in self.low.spec.plates if p.ordered and p.name in own)
            for site, first in reversed(list(enumerate(factor.initial))):
                value = self.low.replace_site(value, first, plate, site)
            value = self.low.scope.assign(f"log_p_{factor.name}", value)
        return value

    # ------------------------------------------------------------ plain sums
    def contraction(self, component: list[str], values: list[Value]) -> Value:
        """log Σ of a product without lags: one latent by a sum, several by pairwise contractions."""
        return self.summed(component, self.tilt(component, [self.named(v) for v in values]))

    def named(self, value: Value) -> Value:
        return value if value.code.isidentifier() else self.low.scope.assign("log_factor", value)

    def summed(self, component: list[str], values: list[Value]) -> Value:
        """The sum, of factors that carry their tilts already."""
        low = self.low
        if len(component) == 1:
            total = low.plus(values)
            axes = total.axes
            if len(values) > 1:
                total = low.scope.assign(f"log_joint_{latent_of(component[0])}", total)
            at = axes.index(component[0]) - len(axes)
            code = f"{self.semiring}.sum({total.code}, {at})"
            return total.with_(code=code, axes=tuple(a for a in axes if a != component[0]), binds=ATOM)
        return self.pairwise(component, values)

    def tilt(self, component: list[str], values: list[Value]) -> list[Value]:
        """Adds what a question (or a given value) adds to each latent's log-factor."""
        values = list(values)
        for axis in component:
            full = ("B", *(p for p in self.low.order.sort(self.plates(axis))), axis)
            tilt = self.tilt_of(axis, full)
            host = next((i for i, v in enumerate(values) if set(full) <= set(v.axes)), None)
            if host is None:
                host = next(i for i, v in enumerate(values) if axis in v.axes)
                values[host] = self.spread(values[host], full)
            value = values[host]
            name = latent_of(axis)
            self.low.scope.line(f'if "{name}" in tilt:')
            self.low.scope.line(f"    {value.code} = {value.code} + {align(tilt, value.axes).code}")
        return values

    def tilt_of(self, axis: str, full: tuple[str, ...]) -> Value:
        """`tilt["z"]`, at the bound site of unrolled plates."""
        latent = self.low.spec.variable(latent_of(axis))
        sites = iter(axis.split("@")[0].split(".")[1:])
        slots = [":"] + [next(sites) if p in self.low.unrolled else ":" for p in latent.plates]
        while slots and slots[-1] == ":":
            slots.pop()
        code = f'tilt["{latent.name}"]' + (f"[{', '.join(slots)}]" if slots else "")
        return Value(code, full)

    def spread(self, value: Value, full: tuple[str, ...]) -> Value:
        """A factor repeated over the batch and the latent's plates, so that a tilt can differ over them."""
        low = self.low
        axes = low.order.sort({*value.axes, *full})
        extents = [self.extent(a) if a not in value.axes else "-1" for a in axes]
        aligned = align(value, axes)
        name = low.scope.names.fresh(f"{value.code}_all")
        low.scope.line(f"{name} = {aligned.at(ATOM)}.expand({', '.join(extents)})")
        return value.with_(code=name, axes=axes)

    def extent(self, axis: str) -> str:
        """The length of an axis as Python."""
        low = self.low
        if axis == "B":
            return "batch_rows(batch)" if low.scope.use("batch_rows") else ""
        if axis == "S":
            return "samples"
        if axis in low.order.plates:
            size = low.spec.plate(axis).size
            return f"{low.mask(axis)}.shape[-1]" if size is None else low.size(size)
        return low.size(low.spec.variable(latent_of(axis)).type.support.cardinality)

    def nominal(self, axis: str) -> int:
        low = self.low
        if axis in ("S", "B"):
            return {"S": max(low.plan.samples, 1), "B": low.sizes["B"]}[axis]
        if axis in low.order.plates:
            size = low.spec.plate(axis).size
            return low.sizes[f"|{axis}|"] if size is None else size.evaluate(low.sizes)
        return low.spec.variable(latent_of(axis)).type.support.cardinality.evaluate(low.sizes)

    def pairwise(self, component: list[str], values: list[Value]) -> Value:
        """Several latents: the order of pairwise contractions that opt_einsum finds."""
        import opt_einsum

        low = self.low
        axes = low.order.union(*values)
        if len(axes) > len(LETTERS):
            raise InternalError(f"a sum over {len(axes)} axes at once")
        letter = dict(zip(axes, LETTERS, strict=False))
        kept = [a for a in axes if a not in component]
        subscripts = ",".join("".join(letter[a] for a in v.axes) for v in values)
        output = "".join(letter[a] for a in kept)
        shapes = [tuple(self.nominal(a) for a in v.axes) for v in values]
        path, _ = opt_einsum.contract_path(f"{subscripts}->{output}", *shapes, shapes=True, optimize="auto-hq")
        values = list(values)
        for step in path:
            pair = [values[i] for i in step]
            values = [v for i, v in enumerate(values) if i not in step]
            needed = {a for v in values for a in v.axes} | set(kept)
            out = low.order.sort(a for v in pair for a in v.axes if a in needed)
            values.append(self.contract(pair, out, letter))
        return values[0]

    def contract(self, pair: list[Value], out: tuple[str, ...], letter: dict[str, str]) -> Value:
        low = self.low
        inputs = ",".join("".join(letter[a] for a in v.axes) for v in pair)
        equation = f"{inputs}->{''.join(letter[a] for a in out)}"
        arguments = ", ".join(v.code for v in pair)
        code = f'{low.scope.use("contract")}("{equation}", {arguments}, semiring={self.semiring})'
        return low.scope.assign("log_sum", Value(code, out, draws=join_draws(*pair)))


def collapsed_axes(low: Lowering, latents: list[str]) -> list[str]:
    """The axes of collapsed latents: one each, or one per site of unrolled plates."""
    return [axis_of(name, sites) for name in latents for sites in bindings(low, low.spec.variable(name))]
