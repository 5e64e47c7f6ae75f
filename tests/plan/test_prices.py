"""Prices beside what a step takes: `python -m benchmarks.prices` shows all of it."""

from pathlib import Path

import pytest

from benchmarks.prices import peak_of, prepared
from lvspec.driver import plan_spec

SPECS = sorted(Path("specs").glob("*.yaml"))


@pytest.mark.parametrize("name", [p.stem for p in SPECS])
def test_memory_of_a_step_is_within_a_factor_of_two_of_its_price(name):
    found = prepared(name, {})
    if found is None:
        pytest.skip("nothing is summed or drawn, or it is too large to be measured here")
    price, model, batch = found
    assert 0.5 < peak_of(model, batch) / price.bytes < 2


def test_a_step_pays_once_for_what_latents_share():
    """Two latents that one factor reads: each alone pays for the factor, the step pays for it once."""
    plan = plan_spec("specs/gm_vae.yaml", overrides={"c": "reinforce", "z": "reinforce"})
    alone = [p.cost for p in plan.latents]
    assert max(c.flops for c in alone) < plan.step.flops < sum(c.flops for c in alone)


def test_a_step_of_many_dispatches_takes_its_time():
    """Fifty rounds of small operations: more time than many more multiply-adds in few operations."""
    lda, vae = plan_spec("specs/lda.yaml").step, plan_spec("specs/vae.yaml").step
    assert lda.flops < vae.flops and lda.seconds > 5 * vae.seconds
