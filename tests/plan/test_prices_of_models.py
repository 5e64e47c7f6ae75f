"""Prices of models that no spec of the zoo shows: memory and operations of a step within a factor of two of what is counted."""

import pytest

from benchmarks.price_models import MANY_VALUES, MODELS, counted, prepared, spec
from benchmarks.prices import peak_of
from lvspec.driver import plan_spec
from lvspec.plan.memory import no_room


# every second one in the normal run, all with `make slow`
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if i % 2 else ()) for i, n in enumerate(MODELS)]
)
def test_memory_and_operations_of_a_step_are_within_a_factor_of_two_of_their_price(name):
    compiled, model, batch = prepared(name)
    price = compiled.plan.step
    assert 0.5 < peak_of(model, batch) / price.bytes < 2
    assert 0.5 < counted(model, batch) / price.dispatches < 2


def test_a_latent_of_many_values_is_summed_where_that_is_cheap():
    (latent,) = plan_spec(spec(MANY_VALUES)).latents
    assert (latent.strategy, latent.treatment) == ("enumeration", "collapsed")
    assert not plan_spec(spec(MANY_VALUES)).spec.warnings


def test_what_is_learned_has_to_find_room():
    assert no_room(plan_spec(spec(MANY_VALUES)).step) is None
    assert "not enough memory" in no_room(plan_spec(spec(MANY_VALUES), sizes={"K": 2**50}).step)
