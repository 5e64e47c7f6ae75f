"""Sites of a fixed plate that are written as numbers, `z[0, t]`: latents that are read so are summed, site by site."""

from itertools import product

import numpy as np
import pytest
import torch

import lvspec
from lvspec.driver import plan_spec, recompile
from lvspec.verify import pins, render, shrink, verify

HEAD = """lvspec: 1
name: model
sizes: {K: 2, V: 3}
plates: {m: 2, t: sequence, i: bag}
params:
  begin: [2, K]
  link: [2, K, K]
  cross: [2, K, K, K]
  e: [K, K, V]
  f: [K, V]
  g: [2, K, V]
  mu: [K, K]
  w: []
latent:
"""
CHAINS = "  z[m, 0]: Categorical(logits=begin[m])\n  z[m, t]: Categorical(logits=link[m, z[m, t-1]])\n"
MODELS = {
    "both": CHAINS + "observed:\n  x[t]: Categorical(logits=e[z[0, t], z[1, t]])\n",
    "one alone": CHAINS + "observed:\n  x[t]: Categorical(logits=f[z[1, t]])\n",
    "beside a site of its own": CHAINS + "observed:\n  x[m, t]: Categorical(logits=e[z[0, t], z[m, t]])\n",
    "through a let": CHAINS + "let:\n  h[t]: mu[z[0, t], z[1, t]]\nobserved:\n  x[t]: Normal(h[t], 1)\n",
    "one site back": CHAINS
    + "observed:\n  x[0]: Categorical(logits=f[z[0, 0]])\n  x[t]: Categorical(logits=e[z[0, t], z[1, t-1]])\n",
    "no chain": "  z[m]: Categorical(logits=begin[m])\nobserved:\n  x[i]: Categorical(logits=e[z[0], z[1]])\n",
    "site by site": "  z[m, i]: Categorical(logits=begin[m])\nobserved:\n  x[i]: Categorical(logits=e[z[0, i], z[1, i]])\n"
    "  y[m, i]: Categorical(logits=g[m, z[m, i]])\n",
    "truth values as numbers": "  z[m, i]: Bernoulli(logits=w)\nobserved:\n  x[i]: Normal(z[0, i] - w * z[1, i], 1)\n",
    "coupled": "  z[m, 0]: Categorical(logits=begin[m])\n  z[m, t]: Categorical(logits=cross[m, z[0, t-1], z[1, t-1]])\n"
    "observed:\n  x[t]: Categorical(logits=e[z[0, t], z[1, t]])\n",
    "under a guide": "  z[m]: Categorical(logits=begin[m])\nobserved:\n  x: Categorical(logits=e[z[0], z[1]])\n"
    "guide:\n  z[m]: Categorical(logits=link[m, 0] * w)\n",
}


@pytest.mark.parametrize("name", MODELS)
def test_sites_that_are_named_are_summed(name):
    plan = plan_spec(HEAD + MODELS[name])
    c = recompile(plan.spec, shrink(plan.spec), pins(plan))
    assert c.plan.latent("z").strategy in ("dynamic_programming", "enumeration") and not c.plan.sampled
    report = verify(c.spec, c.plan, c.Model, seed=1, draws=1_000)
    assert report.passed, render(report)


def test_two_chains_read_by_number_against_every_path():
    model = lvspec.compile_spec(HEAD + MODELS["both"]).Model().double()
    rng = np.random.default_rng(0)
    shapes = {n: tuple(p.shape) for n, p in model.named_parameters()}
    weights = {n: rng.normal(size=s) for n, s in shapes.items()}
    for name, parameter in model.named_parameters():
        parameter.data = torch.from_numpy(np.asarray(weights[name]))

    def log_softmax(u):
        return u - np.log(np.exp(u).sum(-1, keepdims=True))

    begin, link, e = (log_softmax(weights[n]) for n in ("begin", "link", "e"))
    x = [0, 2, 1, 1]
    total = []
    for a in product(range(2), repeat=4):
        for b in product(range(2), repeat=4):
            log_p = sum(e[i, j, k] for i, j, k in zip(a, b, x, strict=True))
            for m, path in enumerate((a, b)):
                log_p += begin[m, path[0]] + sum(link[m, i, j] for i, j in zip(path, path[1:], strict=False))
            total.append(log_p)
    expected = np.logaddexp.reduce(total)
    assert float(model.log_prob({"x": torch.tensor([x])}).detach()) == pytest.approx(expected, abs=1e-9)
