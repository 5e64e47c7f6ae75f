"""`w[c] over m`: what does not vary along a plate is as long as the plate, and the same at each site."""

import pytest

from lvspec.driver import plan_spec, recompile
from lvspec.verify import pins, render, shrink, verify

SPECS = {
    "positions": """
plates: {m: sequence, t: sequence}
params: {w: [C], e: [C], b: []}
given:
  u[m]: real
latent:
  c: Categorical(logits=w)
  a[t]: Categorical(logits=e[c] over m)
observed:
  y[t]: Normal(u[a[t]], exp(b))
""",
    "fixed plate": """
plates: {m: 3, t: sequence}
params: {w: [C], e: [C], b: [], v: [3]}
latent:
  c: Categorical(logits=w)
observed:
  y[t]: Normal(dot(e[c] over m, v[m] over m), exp(b))
""",
    "blank of frames": """
plates: {f: sequence, m: sequence}
params: {w: [C], e: [C]}
given:
  u[f]: real[C]
latent:
  c: Categorical(logits=w)
observed:
  y over m: CTC(logits=u[f] over f, blank=e[c] over f)
""",
}


@pytest.mark.parametrize("name", SPECS)
def test_what_does_not_vary_along_a_plate(name):
    plan = plan_spec("lvspec: 1\nsizes: {C: 2}" + SPECS[name])
    one = recompile(plan.spec, shrink(plan.spec), pins(plan))
    report = verify(one.spec, one.plan, one.Model, draws=0, few=2)
    assert report.passed, render(report)
