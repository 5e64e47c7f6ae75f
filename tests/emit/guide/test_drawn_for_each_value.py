"""A latent whose q reads an averaged one is drawn once for each of its values: as long as nothing reads its sites together, since each
would need a value of its own; there the averaged one is drawn."""

import pytest

from lvspec.driver import compile_spec, plan_spec
from lvspec.verify import render, verify

HEAD = """
lvspec: 1
sizes: {K: 2, V: 3}
plates: {t: sequence}
params: {a: [K], b: [K], e: [K, V], u: [K], v: [V], w: [K, K]}
networks:
  read: Embedding(V, K)
latent:
  g[t]: Categorical(logits=a)
  h[t]: Normal(u[g[t]], 1)
"""
OBSERVED = "observed:\n  x[t]: Categorical(logits=v * h[t])\n"
GUIDE = "guide:\n  g[t]: Categorical(logits=read(x[t]))\n  h[t]: Normal(b[g[t]], 1)\n"
SECOND = GUIDE + "  k[t]: Normal(h[t], 1)\n"
NORMAL = "  k[t]: Normal(0, 1)\n"
LABELS = "  k[t]: Categorical(logits=a * h[t])\n"
TOGETHER = {
    "an observed structure": HEAD + OBSERVED + "  y over t: LinearChain(unary=b * h[t], pairwise=w)\n" + GUIDE,
    "a summed structure": HEAD
    + "  y over t: LinearChain(unary=b * h[t], pairwise=w)\nobserved:\n  x[t]: Categorical(logits=e[y[t]])\n"
    + GUIDE,
    "what is summed for an example": HEAD
    + "  c: Categorical(logits=a)\nobserved:\n  x[t]: Categorical(logits=e[c] * h[t])\n"
    + GUIDE,
    "a summed chain": HEAD
    + "  c[0]: Categorical(logits=a)\n  c[t]: Categorical(logits=w[c[t-1]] * h[t])\nobserved:\n  x[t]: Categorical(logits=e[c[t]])\n"
    + GUIDE,
    "a mean": HEAD + OBSERVED + "  y: Normal(mean(h[t] over t), 1)\n" + GUIDE,
    "a term": HEAD + OBSERVED + GUIDE + "objective:\n  far: square(sum(h[t] over t))\n",
    "one further": HEAD
    + NORMAL
    + "observed:\n  x[t]: Categorical(logits=v)\n  y: Normal(mean(k[t] over t), 1)\n"
    + SECOND,
    "one further, summed": HEAD
    + NORMAL
    + "  c: Categorical(logits=a)\nobserved:\n  x[t]: Categorical(logits=e[c] * k[t])\n"
    + SECOND,
    "a CRF guide": HEAD
    + LABELS
    + "observed:\n  x[t]: Categorical(logits=e[k[t]])\n"
    + GUIDE
    + "  k over t: LinearChain(unary=read(x[t]) * h[t], pairwise=w)\n",
    "such a guide reads it itself": HEAD
    + LABELS
    + "observed:\n  x[t]: Categorical(logits=e[k[t]])\n"
    + GUIDE
    + "  k over t: LinearChain(unary=read(x[t]) + w[g[t]], pairwise=w)\n",
}


@pytest.mark.parametrize("name", TOGETHER)
def test_where_its_sites_are_read_together_the_other_one_is_drawn(name):
    compiled = compile_spec(TOGETHER[name])
    assert compiled.plan.latent("g").treatment == "sampled"
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=1, draws=0, few=2)
    assert report.passed, render(report)


def test_site_by_site_it_is_averaged():
    compiled = compile_spec(HEAD + OBSERVED + GUIDE)
    assert compiled.plan.latent("g").treatment == "enumerated"
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=1, draws=0, few=2)
    assert report.passed, render(report)


def test_one_value_for_all_sites_is_averaged():
    """Given g the draws of all sites stand together, whatever reads them."""
    text = TOGETHER["an observed structure"].replace("g[t]: Categorical(logits=a)", "g: Categorical(logits=a)")
    text = text.replace("g[t]: Categorical(logits=read(x[t]))", "g: Categorical(logits=sum(read(x[t]) over t))")
    compiled = compile_spec(text.replace("[g[t]]", "[g]"))
    assert compiled.plan.latent("g").treatment == "enumerated"
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=1, draws=0, few=2)
    assert report.passed, render(report)


def test_the_reason_is_told():
    plan = plan_spec(TOGETHER["an observed structure"])
    said = [str(r) for r in plan.latent("g").declined]
    assert any("y joins all sites of h, which is drawn for each value of g" in r for r in said)
