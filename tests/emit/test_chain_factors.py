"""Factorial chains in a structured mean field: below the exact sum, never lowered by a round, chosen by the price."""

from pathlib import Path

import pytest
import torch

from lvspec.driver import compile_spec, plan_spec
from lvspec.errors import SpecError
from lvspec.shipped import shipped
from lvspec.verify import pins, shrink, verify

SPEC = str(shipped("specs") / "factorial_hmm.yaml")
SIZES = {"L": 3, "K": 3, "D": 2}


def made(strategy, seed, **sizes):
    compiled = compile_spec(SPEC, sizes=SIZES | sizes, overrides={"z": strategy} if strategy else {})
    torch.manual_seed(seed)
    return compiled.Model(**(SIZES | sizes)).double()


def observed(seed, D=2):
    generator = torch.Generator().manual_seed(seed)
    return {"x": 2 * torch.randn(4, 7, D, dtype=torch.float64, generator=generator), "t": torch.tensor([7, 1, 0, 5])}


@pytest.mark.parametrize("seed", range(5))
def test_the_bound_rises_with_every_round_and_stays_below_the_exact_sum(seed):
    exact = made(None, seed).log_prob(observed(seed)).detach()
    before = torch.full_like(exact, -torch.inf)
    for steps in (1, 2, 3, 5, 10, 40):
        found = made(f"structured_mean_field(steps={steps}, tolerance=1e-14)", seed)(observed(seed)).elbo.detach()
        assert (found >= before - 1e-9).all()
        assert (found <= exact + 1e-9).all()
        before = found
    assert abs(before[2]) < 1e-12 and (exact - before)[[0, 1, 3]].max() > 1e-6  # no site, no gap; else there is one


def test_one_chain_is_exact():
    exact, bound = made(None, 0, L=1), made("structured_mean_field", 0, L=1)
    batch = observed(0)
    torch.testing.assert_close(bound(batch).elbo, exact(batch).log_prob, rtol=1e-12, atol=1e-12)
    marginals = [m.posterior(batch)["z"].marginals for m in (exact, bound)]
    torch.testing.assert_close(marginals[0][0], marginals[1][0], rtol=1e-9, atol=1e-9)


def test_importance_weights_average_to_the_likelihood():
    """Within 5 standard errors: a false alarm of 1e-6 an example. Noise is large, so that no mode is missed."""
    model, other = made("structured_mean_field", 1), made(None, 1)
    torch.nn.init.constant_(model.noise, 3.0)
    torch.nn.init.constant_(other.noise, 3.0)
    batch = model.prepare(observed(1))
    exact = other.log_prob(observed(1)).detach()
    torch.manual_seed(0)
    with torch.no_grad():
        weight = (model.log_weights(batch, 1000)[0] - exact).exp()
    error = (weight.std(0) / 1000**0.5).clamp_min(1e-9)
    assert ((weight.mean(0) - 1).abs() < 5 * error).all()


@pytest.mark.parametrize("other", ["Normal(count, 1)", "Poisson(exp(count))"])
def test_another_observation_is_not_left_out(other):
    """Its log p is no part of what the rounds over the chains compute."""
    text = Path(SPEC).read_text(encoding="utf-8").replace("params:", "params:\n  count: []", 1)
    text = text.replace("observed:", f"observed:\n  y[t]: {other}", 1)
    with pytest.raises(SpecError, match="beside other observations it has no engine yet"):
        plan_spec(text, overrides={"z": "structured_mean_field"})


def test_the_price_decides():
    few, many = plan_spec(SPEC), plan_spec(SPEC, sizes={"L": 12})
    assert few.latent("z").strategy == "dynamic_programming" and few.objective == "log_marginal"
    assert many.latent("z").strategy == "structured_mean_field" and many.objective == "elbo"
    assert "over the budget" in dict(many.latent("z").declined)["dynamic_programming"]


def test_the_verifier_agrees():
    plan = plan_spec(SPEC, sizes={"L": 12})
    compiled = compile_spec(SPEC, sizes=shrink(plan.spec), overrides=pins(plan))
    assert compiled.plan.structured == ("z",)
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=2, draws=0)
    assert report.passed, [c for c in report.checks if not c.passed]


def test_a_wrong_sign_of_the_variance_is_found_by_the_verifier():
    from lvspec.load import load_module

    plan = plan_spec(SPEC, sizes={"L": 12})
    # the wrong density has no optimum to arrive at
    few = pins(plan) | {"z": "structured_mean_field(steps=500, tolerance=1e-13)"}
    compiled = compile_spec(SPEC, sizes=shrink(plan.spec), overrides=few, standalone=True)
    right = load_module(compiled.source, compiled.spec).Model
    assert verify(compiled.spec, compiled.plan, right, seed=2, draws=0, thorough=False).passed
    source = compiled.source.replace("- 0.5 * variance / scale**2", "+ 0.5 * variance / scale**2")
    assert source != compiled.source
    wrong = load_module(source, compiled.spec).Model
    assert not verify(compiled.spec, compiled.plan, wrong, seed=2, draws=0, thorough=False).passed


# ---------------------------------------------------------------- words and truth values: a bound of the normaliser as well
WORDS = str(shipped("specs") / "factorial_hmm_words.yaml")
NOTES = """
lvspec: 1
name: notes
sizes: {L: 2, K: 2, D: features(x)}
plates:
  t: sequence
  l: L
params:
  start: [L, K]
  transition: [L, K, K]
  score: [L, K, D]
latent:
  z[0, l]: Categorical(logits=start[l])
  z[t, l]: Categorical(logits=transition[l, z[t-1, l]])
observed:
  x[t]: Bernoulli(logits=sum(score[l, z[t, l]] over l))
"""
BOUNDED = {"words": (WORDS, {"V": 5}), "notes": (NOTES, {"D": 3})}


def bounded(name, strategy, seed, spread=1.0):
    text, own = BOUNDED[name]
    sizes = {"L": 3, "K": 3, **own}
    compiled = compile_spec(text, sizes=sizes, overrides={"z": strategy})
    torch.manual_seed(seed)
    model = compiled.Model(**sizes).double()
    torch.nn.init.normal_(model.score, 0, spread)
    generator = torch.Generator().manual_seed(seed)
    shape = (4, 7) if name == "words" else (4, 7, 3)
    x = torch.randint(5 if name == "words" else 2, shape, generator=generator)
    return model, {"x": x, "t": torch.tensor([7, 1, 0, 5])}


@pytest.mark.parametrize("name", BOUNDED)
@pytest.mark.parametrize("seed", range(3))
def test_the_bound_of_scores_rises_with_every_round_and_stays_below_the_exact_sum(name, seed):
    """The tangent of a convex term lies below it: no update lowers the bound, though none is an optimum by itself."""
    model, batch = bounded(name, "dynamic_programming", seed)
    exact = model.log_prob(batch).detach()
    before = torch.full_like(exact, -torch.inf)
    for steps in (1, 2, 3, 5, 10, 40):
        model, batch = bounded(name, f"structured_mean_field(steps={steps}, tolerance=1e-14)", seed)
        found = model(batch).elbo.detach()
        assert (found >= before - 1e-9).all()
        assert (found <= exact + 1e-9).all()
        before = found
    assert abs(before[2]) < 1e-12 and (exact - before)[[0, 1, 3]].max() > 1e-6


@pytest.mark.parametrize("name", BOUNDED)
def test_importance_weights_of_scores_average_to_the_likelihood(name):
    """At a draw the bound of the normaliser is the normaliser: weights are unbiased. Within 5 standard errors; scores are
    small, so that q misses no mode."""
    model, batch = bounded(name, "structured_mean_field", 1, 0.3)
    other, _ = bounded(name, "dynamic_programming", 1, 0.3)
    exact = other.log_prob(batch).detach()
    torch.manual_seed(0)
    with torch.no_grad():
        weight = (model.log_weights(model.prepare(batch), 2000)[0] - exact).exp()
    error = (weight.std(0) / 2000**0.5).clamp_min(1e-9)
    assert ((weight.mean(0) - 1).abs() < 5 * error).all()


@pytest.mark.parametrize("strategy", ["structured_mean_field", "dynamic_programming"])
@pytest.mark.parametrize("rows, sites", [(0, 3), (3, 0), (0, 0), (2, 1)])
def test_without_rows_or_sites(strategy, rows, sites):
    model, _ = bounded("words", strategy, 0)
    batch = {"x": torch.zeros(rows, sites, dtype=torch.int64), "t": torch.full((rows,), sites)}
    found, posterior = model(batch), model.posterior(batch)["z"]
    value = found.log_prob if strategy == "dynamic_programming" else found.elbo
    assert value.shape == posterior.entropy.shape == (rows,)
    assert sites > 0 or (value == 0).all() and (posterior.entropy == 0).all()
    assert posterior.marginals.shape == (rows, sites, 3, 3)


@pytest.mark.parametrize("name", BOUNDED)
def test_the_verifier_agrees_about_scores(name):
    text, own = BOUNDED[name]
    plan = plan_spec(text, sizes={"L": 2, "K": 2, **own}, overrides={"z": "structured_mean_field"})
    compiled = compile_spec(text, sizes=shrink(plan.spec), overrides=pins(plan))
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=3, draws=0)
    assert report.passed, [c for c in report.checks if not c.passed]


def test_words_of_many_chains_cost_a_table_a_chain():
    plan = plan_spec(WORDS)
    z = plan.latent("z")
    assert (z.strategy, plan.objective, z.exact) == ("structured_mean_field", "elbo", False)
    assert "E log Σ is replaced by log Σ E in x" in z.why
    assert "over the budget" in dict(z.declined)["dynamic_programming"]
    flops = [
        plan_spec(WORDS, sizes={"V": V, "L": L}).latent("z").cost.flops
        for V, L in ((5000, 6), (10_000, 6), (10_000, 12))
    ]
    assert 1.9 < flops[1] / flops[0] < 2.1 and flops[2] == 2 * flops[1]


def test_a_missing_normaliser_is_found_by_the_verifier():
    from lvspec.load import load_module

    plan = plan_spec(NOTES, overrides={"z": "structured_mean_field"})
    compiled = compile_spec(NOTES, sizes=shrink(plan.spec), overrides=pins(plan), standalone=True)
    source = compiled.source.replace("- softplus(log_mean)", "- softplus(mean)")
    assert source != compiled.source
    wrong = load_module(source, compiled.spec).Model
    assert not verify(compiled.spec, compiled.plan, wrong, seed=2, draws=0, thorough=False).passed


@pytest.mark.parametrize("size", [1.0, 60.0, 400.0])
def test_means_of_exponentials_neither_overflow_nor_vanish(size):
    """In float32 against float64, and a certain state far below the best one keeps a finite gradient."""
    from lvspec.runtime import cumulants

    torch.manual_seed(0)
    q, table = torch.randn(4, 3).softmax(-1), size * torch.randn(3, 7)
    found = cumulants(q, table)[1]
    exact = (q.double().log().unsqueeze(-1) + table.double()).logsumexp(-2)
    assert torch.allclose(found.double(), exact, rtol=1e-5, atol=1e-4)
    sure = torch.eye(3).requires_grad_()
    cumulants(sure, table)[1].sum().backward()
    assert sure.grad.isfinite().all()


def test_other_likelihoods_are_refused_with_the_reason():
    text = NOTES.replace(
        "Bernoulli(logits=sum(score[l, z[t, l]] over l))", "Poisson(exp(sum(score[l, z[t, l]] over l)))"
    )
    with pytest.raises(SpecError) as caught:
        plan_spec(text, overrides={"z": "structured_mean_field"})
    assert "is known of Normal, Categorical, Bernoulli" in str(caught.value)
