"""log p of latents whose parents are summed: what their divergences are held against.

    log Σ_c p(c) p(z | c) p(x | z, c)  =  log p(x | z)  +  log p(z),      log p(z) = log Σ_c p(c) p(z | c)

The sum over c alone would leave log q(z) by itself: a weight on KL(z) would weigh half of it. Where several latents read what is
summed, the first in the order of the spec has log p(z), the next log p(w | z), and so on. What the batch gives of c is given
here as well: log p(z | c).
"""

from __future__ import annotations

from collections.abc import Iterator

from lvspec.emit.factors.eliminate import EliminationCode
from lvspec.emit.factors.factors import Factor
from lvspec.emit.factors.structures import is_structured
from lvspec.emit.lowering.lower import Lowering
from lvspec.emit.lowering.scope import short
from lvspec.emit.lowering.value import ATOM, Value, negated
from lvspec.ir.axes import latent_of
from lvspec.ir.components import connected


class MarginalPriors:
    """Sums over the collapsed latents, one for each set of factors that they connect."""

    def __init__(self, low: Lowering, summing: EliminationCode, axes: list[str]):
        self.low, self.summing, self.axes = low, summing, axes

    def parts(self, factors: list[Factor]) -> list[tuple[list[Factor], list[str]]]:
        """Factors, and the axes of the summed latents that connect them, or that a structure's own scores do, which are no factor."""
        touched = [self.summing.touched(f) for f in factors]
        groups = connected(self.axes, [*touched, *map(self.scores, self.axes)])
        parts = [([i for i, t in enumerate(touched) if not t.isdisjoint(group)], list(group)) for group in groups]
        parts.sort(key=lambda part: part[0][-1:])  # by the last factor of each
        return [([factors[i] for i in own], group) for own, group in parts]

    def scores(self, axis: str) -> set[str]:
        """The axis, and where it is of a structure those of what its scores read."""
        if not is_structured(self.low, axis):
            return {axis}
        read = {r.name for r in self.low.windows.reader.of_variable(self.low.spec.variable(latent_of(axis)))}
        return {axis, *(a for a in self.axes if latent_of(a) in read)}

    def apart(self, factors: list[Factor]) -> Iterator[tuple[Value, str]]:
        """The sums one by one, each with the names of its latents."""
        for part, axes in self.parts(factors):
            yield self.summing.run(part, axes), _node(axes)

    def total(self, factors: list[Factor], axes: list[str]) -> Value:
        """log Σ of their product, over the axes that they speak of."""
        spoken = [a for a in axes if is_structured(self.low, a) or any(self.summing.touches(f, [a]) for f in factors)]
        return self.low.scope.named("log_sum", self.summing.run(factors, spoken))

    def costs(self, factors: list[Factor], guided: list[str]) -> Iterator[tuple[str | None, Value, str]]:
        """(latent, value, node): what counts for log Σ where it is of no latent, and against it where it is a divergence's."""
        for part, axes in self.parts(factors):
            for name, added, value in self.split(part, axes, guided):
                counts = value if added == (name is None) else negated(value)
                yield name, counts, "" if name else _node(axes)

    def split(
        self, factors: list[Factor], axes: list[str], guided: list[str]
    ) -> Iterator[tuple[str | None, bool, Value]]:
        """(latent, whether it is added, value): log p of each guided latent given those before it, as two sums; and the rest of
        log Σ, of no latent. Sums keep other plates, so that their differences are taken when all plates have been added up."""
        summed = {latent_of(a) for a in axes}
        prior = [f for f in factors if f.name in summed]
        given = before = self.of_given(prior, axes)
        for name in (n for n in guided if any(f.name == n for f in factors)):
            prior = [f for f in factors if f in prior or f.name == name]
            after = self.total(prior, axes)
            yield from ((name, True, after), (name, False, self.taken_off(before)))
            before = after
        if len(prior) < len(factors):
            yield from ((None, True, self.total(factors, axes)), (None, False, self.taken_off(before)))
        yield None, True, given

    def taken_off(self, before: Value) -> Value:
        """A sum that is subtracted from one of more factors: where it is -inf, so is the other, and their difference."""
        return before.with_(code=f"{self.low.scope.use('finite_part')}({before.code})", binds=ATOM)

    def of_given(self, own: list[Factor], axes: list[str]) -> Value:
        """log p of what the batch gives of summed latents; 0 where it gives nothing."""
        low, scope = self.low, self.low.scope
        names = dict.fromkeys(map(latent_of, axes))
        name = scope.names.fresh(f"log_p_given_{short('_'.join(names))}")
        scope.line(f"if {' or '.join(f'{chr(34)}{n}{chr(34)} in tilt' for n in names)}:")
        scope.indent += 1
        lets = dict(low.lets)
        value = self.total(own, axes)
        scope.line(f"{name} = {value.code}")
        scope.indent -= 1
        low.lets = lets
        scope.line("else:")
        extents = ("samples" if axis == "S" else "1" for axis in value.axes)  # each draw's, for what compares draws
        scope.line(f"    {name} = self.zero.expand({', '.join(extents)})")
        return value.with_(code=name, binds=ATOM)


def _node(axes: list[str]) -> str:
    """What a sum over latents is called: by them."""
    return "_".join(dict.fromkeys(map(latent_of, axes)))
