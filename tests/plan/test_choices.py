"""Which strategy the planner takes, and what it says of the others."""

import pytest

from lvspec.driver import plan_spec
from lvspec.errors import SpecError

ZOO = {
    "rnn_lm": {},
    "naive_bayes": {"z": ("enumeration", "collapsed")},
    "naive_bayes_amortized": {"z": ("enumeration", "enumerated")},
    "mixture_of_rnns": {"z": ("enumeration", "collapsed")},
    "softmax_mixture_lm": {"z": ("enumeration", "collapsed")},
    "hmm": {"z": ("dynamic_programming", "collapsed")},
    "deep_hmm": {"z": ("dynamic_programming", "collapsed")},
    "kalman": {"z": ("linear_gaussian", "integrated")},
    "ibm1": {"a": ("enumeration", "collapsed")},
    "hmm_alignment": {"a": ("dynamic_programming", "collapsed")},
    "monotone_alignment": {"a": ("dynamic_programming", "collapsed")},
    "factorial_hmm": {"z": ("dynamic_programming", "collapsed")},
    "gaussian_softmax": {"z": ("reparameterization", "sampled")},
    "vae": {"z": ("reparameterization", "sampled")},
    "sentence_vae": {"z": ("reparameterization", "sampled")},
    "gm_vae": {"c": ("enumeration", "enumerated"), "z": ("reparameterization", "sampled")},
    "discrete_vae": {"z": ("reinforce", "sampled")},
    "beta_vae": {"z": ("reparameterization", "sampled")},
    "iwae": {"z": ("reparameterization", "sampled")},
    "iwae_discrete": {"z": ("reinforce", "sampled")},
    "semi_supervised_vae": {"y": ("enumeration", "enumerated"), "z": ("reparameterization", "sampled")},
    "dem_vae": {"c": ("enumeration", "enumerated"), "z": ("reparameterization", "sampled")},
    "neural_topic_model": {"g": ("reparameterization", "sampled"), "z": ("enumeration", "collapsed")},
    "nvdm": {"h": ("reparameterization", "sampled")},
    "soft_attention": {},
    "latent_attention": {"a": ("enumeration", "collapsed")},
    "latent_attention_elbo": {"a": ("enumeration", "enumerated")},
}


@pytest.mark.parametrize("name", ZOO)
def test_zoo_strategies_are_chosen_without_an_override(name):
    plan = plan_spec(f"specs/{name}.yaml")
    assert {p.name: (p.strategy, p.treatment) for p in plan.latents} == ZOO[name]
    assert plan.objective == (
        "elbo" if any(t not in ("collapsed", "integrated") for _, t in ZOO[name].values()) else "log_marginal"
    )


@pytest.mark.parametrize("name", ZOO)
def test_every_strategy_is_chosen_or_declined_with_a_reason(name):
    for latent in plan_spec(f"specs/{name}.yaml").latents:
        told = {latent.strategy, *(n for n, _ in latent.declined)}
        assert {"enumeration", "dynamic_programming", "conjugacy", "reparameterization", "reinforce"} <= told
        assert all(len(reason) > 10 for _, reason in latent.declined)
        assert latent.cost.flops > 0 and latent.cost.bytes > 0


def text(latent, observed, guide="", params="  a: [K]\n  b: [K, K]\n  e: [K, V]", plates="  t: sequence", infer=""):
    return f"""lvspec: 1
name: model
sizes:
  K: 5
  V: 7
plates:
{plates}
params:
{params}
latent:
{latent}
observed:
{observed}
{guide}
{infer}
"""


CHAIN = "  z[0]: Categorical(logits=a)\n  z[t]: Categorical(logits=b[z[t-1]])"
EMISSION = "  x[t]: Categorical(logits=e[z[t]])"


def test_a_chain_over_budget_is_drawn_and_says_so():
    plan = plan_spec(text(CHAIN, EMISSION, infer="infer:\n  budget_flops: 1000"))
    latent = plan.latent("z")
    assert latent.strategy == "reinforce" and latent.guide == "derived"
    assert "budget" in dict(latent.declined)["dynamic_programming"]


def test_a_legal_override_is_taken():
    plan = plan_spec(text(CHAIN, EMISSION, infer="infer:\n  z: reinforce(samples=7)"))
    assert plan.latent("z").strategy == "reinforce" and plan.samples == 7


@pytest.mark.parametrize("strategy", ["reparameterization", "enumeration", "conjugacy", "gumbel_softmax"])
def test_an_illegal_override_is_refused_with_the_reason(strategy):
    with pytest.raises(SpecError) as caught:
        plan_spec(text(CHAIN, EMISSION, infer=f"infer:\n  z: {strategy}"))
    (problem,) = caught.value.diagnostics
    assert problem.code == "override-refused" and problem.span.line > 0
    assert "legal here" in problem.help and "dynamic_programming" in problem.help


def test_second_order_chain_is_one_dynamic_program():
    latent = "  z[0]: Categorical(logits=a)\n  z[1]: Categorical(logits=b[z[0]])\n  z[t]: Categorical(logits=c[z[t-2], z[t-1]])"
    plan = plan_spec(text(latent, EMISSION, params="  a: [K]\n  b: [K, K]\n  c: [K, K, K]\n  e: [K, V]"))
    assert plan.latent("z").strategy == "dynamic_programming"
    assert [e.order for e in plan.eliminations] == [2]


def test_factorial_chain_costs_a_state_more_than_its_message():
    plan = plan_spec("specs/factorial_hmm.yaml", sizes={"L": 3, "K": 8})
    bigger = plan_spec("specs/factorial_hmm.yaml", sizes={"L": 4, "K": 8})
    ratio = bigger.eliminations[0].cost.flops / plan.eliminations[0].cost.flops
    assert 4 < ratio < 24  # K^(L+1) grows by K = 8 (emissions and another chain beside it), not by K² = 64


def test_a_latent_read_as_a_whole_is_not_summed():
    latent = "  z[t]: Categorical(logits=a)"
    observed = "  y: Categorical(logits=sum(e[z[t]] over t))"
    plan = plan_spec(text(latent, observed, params="  a: [K]\n  e: [K, V]"))
    assert plan.latent("z").strategy == "reinforce"
    assert "stretch" in dict(plan.latent("z").declined)["enumeration"]


def test_collapsed_parent_takes_the_closed_form_of_the_divergence_away():
    source = """lvspec: 1
name: model
sizes:
  K: 3
  D: 2
params:
  a: [K]
  m: [K, D]
latent:
  c: Categorical(logits=a)
  z: Normal(m[c], 1)
observed:
  x: Normal(z, 1)
"""
    plan = plan_spec(source)
    assert plan.latent("c").treatment == "collapsed"
    assert plan.latent("z").kl == "sampled" and "summed out" in plan.latent("z").kl_why


@pytest.mark.parametrize(
    "latent, observed, words",
    [
        ("  z: Categorical(logits=a)", "  x[t]: Delta(a[z])", "no engine"),
        ("  z: VonMisesFisher(a, 1)", "  x[t]: Categorical(logits=a)", "no engine"),
    ],
)
def test_what_has_no_engine_yet_is_declined_in_plain_words(latent, observed, words):
    with pytest.raises(SpecError) as caught:
        plan_spec(text(latent, observed))
    assert any(words in d.message for d in caught.value.diagnostics)


def test_an_average_is_not_taken_inside_a_sum_across_its_sites():
    """E_q(w_1..w_D) log Σ_c Π_d f(c, w_d) does not split over d: w is drawn."""
    source = """lvspec: 1
name: model
sizes:
  K: 3
  V: 4
plates:
  d: sequence
params:
  a: [K]
  b: [K, K]
  e: [K, K, V]
  q: [V, K]
latent:
  w[d]: Categorical(logits=a)
  z[d]: Categorical(logits=b[w[d]])
  c: Categorical(logits=a)
observed:
  x[d]: Categorical(logits=e[z[d], c])
guide:
  w[d]: Categorical(logits=q[x[d]])
"""
    plan = plan_spec(source)
    assert plan.latent("w").strategy == "reinforce"
    assert "across sites" in dict(plan.latent("w").declined)["enumeration"]
    assert plan.latent("z").treatment == plan.latent("c").treatment == "collapsed"
