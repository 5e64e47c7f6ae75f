"""Latents of which nothing that is observed depends: whatever is observed, they are distributed as the model says, q = p.

    y[t]: Categorical(logits=score(h[t]))          E_p(y) [reward(y)], a term of `objective:` that reads y
Their factors of the model are their guide, and KL(q ‖ p) is zero: of the objective only the terms are left (expected risk,
Shen et al. 2016). The average is exact, or drawn, like that of any latent under a written guide.
"""

from __future__ import annotations

from dataclasses import replace

from lvspec.ir.reads import reader_of
from lvspec.ir.spec import Spec, Variable


def with_own(spec: Spec) -> Spec:
    """The spec with guide factors q = p for the latents that terms of the objective read and nothing observed depends on."""
    written = {v.name for v in spec.guide if v.role == "guide"}
    own = [v for v in _own(spec) if v.name not in written]
    return replace(spec, guide=(*spec.guide, *(replace(v, role="guide") for v in own))) if own else spec


def follows_model(latent: Variable, factor: Variable | None) -> bool:
    """Whether a guide factor says the same as the model."""
    return factor is not None and factor.clauses == latent.clauses


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
