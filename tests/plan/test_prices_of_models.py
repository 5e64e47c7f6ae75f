"""Prices of models that no spec of the zoo shows: memory and operations of a step within a factor of two of what is counted."""

import pytest
import torch

from benchmarks.prices import Alive, batch_of, peak_of, step
from lvspec.driver import compile_spec, plan_spec
from lvspec.plan.memory import no_room
from tests.emit.networks_of_latents import grid, path, spec_text, tree

EIGHT_SCHOOLS = """\
plates: {j: J}
sizes: {J: 20}
params: {r: []}
latent:
  mu: Normal(0, 1)
  effect[j]: Normal(mu, 1)
observed:
  y[j]: Normal(effect[j], exp(r))
"""
REGRESSION = """\
sizes: {D: 20}
plates: {n: 100}
given:
  g[n]: real[D]
params: {r: []}
latent:
  w: Normal(0, 1)[D]
  b: Normal(0, 1)
observed:
  y[n]: Normal(dot(w, g[n]) + b, exp(r))
"""
FACTOR_ANALYSIS = """\
sizes: {D: 10, N: 30}
params: {W: [N, D], r: [N]}
latent:
  z: Normal(0, 1)[D]
observed:
  y: Normal(matmul(W, z), exp(r))
"""
TRIPLE = """\
sizes: {K: 60}
params: {p: [K], a: [K, K], b: [K, K, K], m: [K]}
latent:
  u: Categorical(logits=p)
  v: Categorical(logits=a[u])
  w: Categorical(logits=b[u, v])
observed:
  x: Normal(m[w], 1)
"""
MANY_VALUES = """\
sizes: {K: 32768}
params: {p: [K], m: [K]}
latent:
  c: Categorical(logits=p)
observed:
  x: Normal(m[c], 1)
"""
GAUSSIANS = (
    "params: {r: []}\nlatent:\n  z0: Normal(0, 1)\n"
    + "".join(f"  z{i}: Normal(0.9 * z{i - 1}, 1)\n" for i in range(1, 30))
    + "observed:\n"
    + "".join(f"  x{i}: Normal(z{i}, exp(r))\n" for i in range(30))
)


def spec(body: str) -> str:
    return f"lvspec: 1\nname: priced\n{body}"


MODELS = {
    "path": (spec_text(path(40)), 32),
    "path of many rows": (spec_text(path(40)), 10_000),
    "tree": (spec_text(tree(40)), 32),
    "grid": (spec_text(grid(8, 5)), 32),
    "grid of many rows": (spec_text(grid(8, 5)), 3000),
    "eight schools": (spec(EIGHT_SCHOOLS), 32),
    "regression": (spec(REGRESSION), 16),
    "factor analysis": (spec(FACTOR_ANALYSIS), 256),
    "table of three": (spec(TRIPLE), 32),
    "32,768 values": (spec(MANY_VALUES), 32),
    "thirty Gaussians": (spec(GAUSSIANS), 32),
}


@pytest.mark.parametrize("name", MODELS)
def test_memory_and_operations_of_a_step_are_within_a_factor_of_two_of_their_price(name):
    text, rows = MODELS[name]
    compiled = compile_spec(text, sizes={"B": rows})
    price, sizes = compiled.plan.step, dict(compiled.plan.sizes)
    torch.manual_seed(0)
    model = compiled.Model()
    batch = model.prepare(batch_of(compiled.plan, sizes))
    assert 0.5 < peak_of(model, batch) / price.bytes < 2
    with Alive() as alive:
        step(model, batch)
    assert 0.5 < len(alive.totals) / price.dispatches < 2


def test_a_latent_of_many_values_is_summed_where_that_is_cheap():
    (latent,) = plan_spec(spec(MANY_VALUES)).latents
    assert (latent.strategy, latent.treatment) == ("enumeration", "collapsed")
    assert not plan_spec(spec(MANY_VALUES)).spec.warnings


def test_what_is_learned_has_to_find_room():
    assert no_room(plan_spec(spec(MANY_VALUES)).step) is None
    assert "not enough memory" in no_room(plan_spec(spec(MANY_VALUES), sizes={"K": 2**50}).step)
