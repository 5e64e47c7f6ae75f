"""Latents of which nothing that is observed depends: whatever is observed, they are distributed as the model says, q = p.

    y[t]: Categorical(logits=score(h[t]))          E_p(y) [reward(y)], a term of `objective:` that reads y
Their factors of the model are their guide, and KL(q ‖ p) is zero: of the objective only the terms are left (expected risk,
Shen et al. 2016). The average is exact, or drawn, like that of any latent under a written guide.
"""

from __future__ import annotations

from dataclasses import replace

from lvspec.ir.components import strongly_connected
from lvspec.ir.reads import reader_of
from lvspec.ir.spec import Spec, Variable


def with_own(spec: Spec) -> Spec:
    """The spec with guide factors q = p for the latents that terms of the objective read and nothing observed depends on."""
    written = {v.name for v in spec.guide if v.role == "guide"}
    own = _drawable(spec, [v for v in _own(spec) if v.name not in written])
    return replace(spec, guide=(*spec.guide, *(replace(v, role="guide") for v in own))) if own else spec


def follows_model(latent: Variable, factor: Variable | None) -> bool:
    """Whether a guide factor says the same as the model."""
    return factor is not None and factor.clauses == latent.clauses


def _drawable(spec: Spec, own: list[Variable]) -> list[Variable]:
    """Those that can be drawn before or after the written factors: where q(z | x) reads x, x is not drawn given z."""
    factors = {v.name: v for v in (*own, *(v for v in spec.guide if v.role == "guide"))}
    reader = reader_of(spec, spec.guide)
    sources = {n: [r.name for r in reader.of_variable(v) if r.name in factors] for n, v in factors.items()}
    part = {n: names for names in strongly_connected(sources) for n in names}
    return [v for v in own if all(any(o.name == n for o in own) for n in part[v.name])]


def _own(spec: Spec) -> tuple[Variable, ...]:
    reader = reader_of(spec, spec.guide)
    random = {v.name: v for v in spec.variables if v.role in ("latent", "observed")}
    sources = {n: {r.name for r in reader.of_variable(v)} & set(random) for n, v in random.items()}
    decided = {n for n, v in random.items() if v.role == "observed"}  # what is observed, and all that it depends on
    wanted = {r.name for term in spec.terms for r in reader.of_variable(term)}
    for name in reversed(list(random)):  # sources come before their readers
        if name in decided:
            decided |= sources[name]
        elif name in wanted:
            wanted |= sources[name]
    return tuple(v for n, v in random.items() if n in wanted - decided)
