"""Every spec of the zoo, with the strategies of its real sizes, against brute force at small ones; samples included."""

import pytest

from lvspec.driver import plan_spec, recompile
from lvspec.verify import pins, render, shrink, verify
from tests import ZOO


@pytest.mark.parametrize("path", ZOO, ids=lambda p: p.stem)
def test_spec_agrees_with_brute_force(path):
    plan = plan_spec(path)
    compiled = recompile(plan.spec, shrink(plan.spec), pins(plan))
    assert [p.strategy for p in compiled.plan.latents] == [p.strategy for p in plan.latents]
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=1, draws=20_000)
    assert report.passed, render(report)
