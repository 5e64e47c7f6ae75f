"""Collapsed latents: log Σ over their joint values, plate by plate (tensor variable elimination).

    factors  log p(z_t | z_{t-1}), log p(x_t | z_t)      →  one number per example

The innermost plates go first: latents that live there are summed out of the factors that touch them, and the
result is multiplied over the plate's sites (added, in logs), because the sites are independent given what is
left. Along an ordered plate whose sites reach back, the sum is a chain (emit/factors/chains.py). Latents of one place that factors
connect are summed one by one, in an order that lets few of them meet (ir/elimination.py).
Obermeyer et al. 2019, "Tensor variable elimination for plated factor graphs".
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from string import ascii_lowercase, ascii_uppercase

from lvspec.emit.factors.chains import chain_plate, chain_sum, without_local_latents
from lvspec.emit.factors.factors import Factor, bindings, masked, reduce_plates
from lvspec.emit.factors.structures import is_structured, structure_sum
from lvspec.emit.lowering.lower import Lowering
from lvspec.emit.lowering.value import ATOM, Value, align, join_draws
from lvspec.errors import InternalError
from lvspec.ir.axes import at_present, axis_of, lag_of, latent_of, sites_of
from lvspec.ir.components import connected
from lvspec.ir.elimination import elimination_steps, meeting_order
from lvspec.ir.structured import window_of

LETTERS = ascii_lowercase + ascii_uppercase
MEETING = 6  # factors that are contracted in one call
NAMED = 4  # latents whose names a sum over them bears


class EliminationCode:
    """Sums the given axes out of the factors, under the semiring of that name. A dictionary `tilt` is in scope:
    what is known of a latent, or asked about it, is added to its log-factors.

    blocks: the plate of a chain whose potentials a method of their own computes, some sites at a time; potentials: they,
    where that method is being written. told: whether the recursion stands above a chain's sum.
    """

    def __init__(self, low: Lowering, semiring: str = "semiring", blocks: str | None = None, told: bool = True):
        self.low = low
        self.semiring = semiring
        self.blocks = blocks
        self.potentials: Value | None = None
        self.told = told

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
            for component in map(list, connected(group, map(self.touched, factors))):
                touched = [f for f in factors if self.touches(f, component)]
                rest = [f for f in factors if not self.touches(f, component)]
                factors = [*rest, self.sum_out(component, touched)]
            remaining = later
        low = self.low
        values = [reduce_plates(low, self.settled(f), self.held(f.axes, []), f.mask) for f in factors]
        return low.plus(values)

    def touches(self, factor: Factor, axes: list[str]) -> bool:
        return not self.touched(factor).isdisjoint(axes)

    def touched(self, factor: Factor) -> set[str]:
        """The latents' axes that a factor speaks of, at any lag."""
        enumerated = {at_present(a) for a in factor.axes if self.low.order.is_enumerated(a)}
        return enumerated | {w for w in map(window_of, factor.axes) if w is not None}

    def sum_out(self, component: list[str], factors: list[Factor]) -> Factor:
        """One connected component summed out; what is left is a single factor."""
        low = self.low
        own_plates = set(self.plates(component[0]))
        keep = own_plates | {p for f in factors for p in self.held(f.axes, component)}
        factors = [self.within(f, keep) for f in factors]
        structured = next((a for a in component if is_structured(low, a)), None)
        if structured is not None:
            plate = chain_plate(low, [structured])
            factors = without_local_latents(self, component, [self.along(f, plate) for f in factors], {structured})
            value = structure_sum(self, structured, factors)
        elif any(lag_of(a) and at_present(a) in component for f in factors for a in f.axes):
            value = chain_sum(self, component, factors)
        else:
            value = self.contraction(component, [masked(self.low, self.settled(f), f.observed_mask) for f in factors])
        value = reduce_plates(low, value, self.held(value.axes, component))
        name = self.sum_name(component)
        return Factor(name, low.scope.named(name, value))

    def held(self, axes: tuple[str, ...], component: list[str]) -> set[str]:
        """Plates that must stay: enumerated latents that are not summed here live on them."""
        others = [a for a in axes if self.low.order.is_enumerated(a) and at_present(a) not in component]
        return {p for a in others for p in self.plates(a)}

    def within(self, factor: Factor, keep: set[str]) -> Factor:
        """The factor with the plates multiplied out that none of the summed latents lives on."""
        extra = {a for a in factor.value.axes if a in self.low.order.plates} - keep
        if not extra:
            return factor
        value = self.settled(factor)
        if any(self.low.spec.plate(p).ragged for p in self.low.order.plates if p in keep and p in value.axes):
            # the sum over some plates forgets which sites of others count
            value = masked(self.low, value, factor.observed_mask)
        value = reduce_plates(self.low, value, keep, factor.mask)
        kept = "_".join(["by", *(p for p in value.axes if p in keep)]) if set(value.axes) & keep else "total"
        value = self.low.scope.assign(f"log_p_{factor.name}_sites", value, other=f"log_p_{factor.name}_{kept}")
        return Factor(factor.name, value, (), None, factor.own)

    def settled(self, factor: Factor) -> Value:
        """The factor as one tensor: initial clauses in place of the first sites."""
        value = factor.value
        if factor.initial and factor.along:
            for site, first in reversed(list(enumerate(factor.initial))):
                value = self.low.replace_site(value, first, factor.along, site)
            value = self.low.scope.assign(f"log_p_{factor.name}", value, other=f"log_p_{factor.name}_from_0")
        return value

    @staticmethod
    def sum_name(component: list[str]) -> str:
        """What a sum over latents is called: by their names, where these are few."""
        names = list(dict.fromkeys(latent_of(a) for a in component))
        return "log_sum_" + "_".join(names if len(names) <= NAMED else [names[0], "to", names[-1]])

    def along(self, factor: Factor, plate: str) -> Factor:
        """The factor with no other first sites than those of the plate set apart."""
        if factor.along in (None, plate):
            return factor
        return replace(factor, value=self.settled(factor), initial=(), along=None)

    # ------------------------------------------------------------ plain sums
    def contraction(self, component: list[str], values: list[Value]) -> Value:
        """log Σ of a product without lags: one latent by a sum, several one by one."""
        return self.summed(component, self.tilt(component, [self.named(v) for v in values]))

    def named(self, value: Value) -> Value:
        return self.low.scope.named("log_factor", value)

    def summed(self, component: list[str], values: list[Value]) -> Value:
        """The sum, of factors that carry their tilts already."""
        low = self.low
        if len(component) == 1:
            total = low.plus(values)
            axes = total.axes
            if len(values) > 1:
                total = low.scope.assign(f"log_joint_{latent_of(component[0])}", total)
            at = axes.index(component[0]) - len(axes)
            summing = low.scope.use("log_sum_exp") if self.semiring == "LOG" else f"{self.semiring}.sum"
            code = f"{summing}({total.code}, {at})"
            return total.with_(code=code, axes=tuple(a for a in axes if a != component[0]), binds=ATOM)
        return self.one_by_one(component, values)

    def tilt(self, component: list[str], values: list[Value]) -> list[Value]:
        """Adds what a question (or a given value) adds to each latent's log-factor."""
        values = list(values)
        hosts: dict[str, list[int]] = {axis: [] for axis in component}
        for i, axis in ((i, a) for i, v in enumerate(values) for a in v.axes if a in hosts):
            hosts[axis].append(i)
        tilts: list[tuple[str, Value, int]] = []
        for axis in component:
            full = ("B", *(p for p in self.low.order.sort(self.plates(axis))), axis)
            host = next((i for i in hosts[axis] if set(full) <= set(values[i].axes)), None)
            if host is None:
                host = hosts[axis][0]
                values[host] = self.spread(values[host], full)
            tilts.append((latent_of(axis), self.tilt_of(axis, full), host))
        read_elsewhere = {v.code for found in self.low.statistics.values() for v in found}
        for name, tilt, host in tilts:
            if values[host].code in read_elsewhere:
                values[host] = self.low.scope.assign("log_factor", values[host])
            value = values[host]
            with self.low.scope.when(f'"{name}" in tilt'):
                self.low.scope.line(f"{value.code} = {value.code} + {align(tilt, value.axes).code}")
        return values

    def tilt_of(self, axis: str, full: tuple[str, ...]) -> Value:
        """`tilt["z"]`, at the bound site of unrolled plates."""
        latent = self.low.spec.variable(latent_of(axis))
        sites = iter(map(str, sites_of(axis)))
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
        return low.size(low.spec.variable(latent_of(axis)).type.support.values)

    def nominal(self, axis: str) -> int:
        low = self.low
        if axis in ("S", "B"):
            return {"S": max(low.plan.samples, 1), "B": low.sizes["B"]}[axis]
        if axis in low.order.plates:
            size = low.spec.plate(axis).size
            return low.sizes[f"|{axis}|"] if size is None else size.evaluate(low.sizes)
        return low.spec.variable(latent_of(axis)).type.support.values.evaluate(low.sizes)

    def one_by_one(self, component: list[str], values: list[Value]) -> Value:
        """Several latents: each is summed out of the factors that speak of it, which leave one factor in their place."""
        steps = elimination_steps([v.axes for v in values], component, self.nominal)
        left = dict(enumerate(values))
        speaking: dict[str, list[int]] = {axis: [] for axis in component}
        for number in range(len(values) + len(steps)):
            if number >= len(values):
                axis = steps[number - len(values)].axis
                met = speaking[axis]
                left[number] = self.multiplied([left[n] for n in met], axis)
                for other in (a for n in met for a in left[n].axes if a in speaking):
                    speaking[other] = [n for n in speaking[other] if n not in met]
            for axis in left[number].axes:
                if axis in speaking:
                    speaking[axis].append(number)
        return left[number]

    def multiplied(self, met: list[Value], summed: str) -> Value:
        """log Σ over one axis of a product, from the left."""
        order = meeting_order([frozenset(v.axes) for v in met], lambda axes: prod(map(self.nominal, axes)))
        row = [met[i] for i in order]
        while len(row) > MEETING:
            row[:MEETING] = [self.contract(row[:MEETING], summed, self.low.order.union(*row[:MEETING]))]
        return self.contract(row, summed, tuple(a for a in self.low.order.union(*row) if a != summed))

    def contract(self, met: list[Value], summed: str, out: tuple[str, ...]) -> Value:
        """log Σ of a product over the axes that are not kept: each letter is an axis that meets there."""
        low = self.low
        axes = low.order.union(*met)
        if len(axes) > len(LETTERS):
            raise InternalError(f"a sum over {len(axes)} axes at once")  # of two values each, far over any budget
        letter = dict(zip(axes, LETTERS, strict=False))
        inputs = ",".join("".join(letter[a] for a in v.axes) for v in met)
        equation = f"{inputs}->{''.join(letter[a] for a in out)}"
        arguments = ", ".join(v.code for v in met)
        code = f'{low.scope.use("contract")}("{equation}", {arguments}, semiring={self.semiring})'
        return low.scope.assign(f"log_sum_{latent_of(summed)}", Value(code, out, draws=join_draws(*met)))


def collapsed_axes(low: Lowering, latents: list[str]) -> list[str]:
    """The axes of collapsed latents: one each, or one per site of unrolled plates."""
    return [axis_of(name, sites) for name in latents for sites in bindings(low, low.spec.variable(name))]
