"""log p of latents whose parents are summed: what their divergences are held against.

    log Σ_c p(c) p(z | c) p(x | z, c)  =  log p(x | z)  +  log p(z),      log p(z) = log Σ_c p(c) p(z | c)

The sum over c alone would leave log q(z) by itself: a weight on KL(z) would weigh half of it. Where several latents read what is
summed, the first in the order of the spec has log p(z), the next log p(w | z), and so on. What the batch gives of c is given
here as well: log p(z | c).
"""

from __future__ import annotations

from lvspec.emit.eliminate import Elimination
from lvspec.emit.factors import Factor
from lvspec.emit.lower import Lowering
from lvspec.emit.value import ATOM, PRODUCT, SUM, Value, join_draws, latent_of


class MarginalPriors:
    """Sums over the collapsed latents, one for each set of factors that they connect."""

    def __init__(self, low: Lowering, summing: Elimination, axes: list[str]):
        self.low, self.summing, self.axes = low, summing, axes

    def parts(self, factors: list[Factor]) -> list[list[Factor]]:
        """Factors by the summed latents that connect them."""
        parts: list[tuple[list[Factor], set[str]]] = []
        for factor in factors:
            touched = self.summing.touched(factor) & set(self.axes)
            joined = [p for p in parts if p[1] & touched]
            inside = [f for p in joined for f in p[0]]
            parts = [p for p in parts if p not in joined]
            parts.append(([*inside, factor], touched.union(*(p[1] for p in joined))))
        place = {id(f): i for i, f in enumerate(factors)}
        return [sorted(p, key=lambda f: place[id(f)]) for p, _ in parts]

    def total(self, factors: list[Factor]) -> Value:
        """log Σ of their product."""
        axes = [a for a in self.axes if any(self.summing.touches(f, [a]) for f in factors)]
        value = self.summing.run(factors, axes)
        return value if value.code.isidentifier() else self.low.scope.assign("log_sum", value)

    def split(self, factors: list[Factor], guided: list[str]) -> tuple[dict[str, Value], Value]:
        """log p of each guided latent given those before it; and the rest of log Σ."""
        own = [f for f in factors if f.name in {latent_of(a) for a in self.axes}]
        given = before = self.of_given(own)
        found, prior = {}, own
        for name in (n for n in guided if any(f.name == n for f in factors)):
            prior = [f for f in factors if f in prior or f.name == name]
            after = self.total(prior)
            found[name], before = self.minus(after, before, f"log_p_{name}_alone"), after
        if len(prior) == len(factors):
            return found, given
        return found, self.low.plus([self.minus(self.total(factors), before, "log_p_given"), given])

    def of_given(self, own: list[Factor]) -> Value:
        """log p of what the batch gives of summed latents; 0 where it gives nothing."""
        low, scope = self.low, self.low.scope
        names = dict.fromkeys(f.name for f in own)
        name = scope.names.fresh(f"log_p_given_{'_'.join(names)}")
        scope.line(f"if {' or '.join(f'{chr(34)}{n}{chr(34)} in tilt' for n in names)}:")
        scope.indent += 1
        lets = dict(low.lets)
        value = self.total(own)
        scope.line(f"{name} = {value.code}")
        scope.indent -= 1
        low.lets = lets
        scope.line("else:")
        scope.line(f"    {name} = self.zero.expand({', '.join('1' for _ in value.axes)})")
        return value.with_(code=name, binds=ATOM)

    def minus(self, a: Value, b: Value, name: str) -> Value:
        axes, _, (x, y) = self.low.broadcast(a, b)
        code = f"{x.at(SUM)} - {y.at(PRODUCT)}"
        return self.low.scope.assign(name, Value(code, axes, binds=SUM, draws=join_draws(a, b)))
