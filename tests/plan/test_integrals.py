"""Which continuous latents are integrated out in closed form, and what is said where one is not."""

import pytest

from lvspec.driver import plan_spec
from lvspec.errors import SpecError

HEAD = """lvspec: 1
name: model
sizes:
  D: 3
  N: 2
  K: 4
plates:
  t: sequence
params:
  A: [D, D]
  C: [N, D]
  a: [K]
  b: [K, K]
  M: [K, D, D]
networks:
  mlp: MLP(D, 5, N)
  bank[K]: Linear(D, N)
latent:
"""
START, WALK = "  z[0]: Normal(0, 1)[D]\n", "  z[t]: Normal(matmul(A, z[t-1]), 1)\n"
SEEN = "observed:\n  x[t]: Normal(matmul(C, z[t]), 1)\n"
SWITCH = "  c[0]: Categorical(logits=a)\n  c[t]: Categorical(logits=b[c[t-1]])\n"


def latent(body, name="z"):
    return plan_spec(HEAD + body).latent(name)


def test_linear_gaussian_chain_is_integrated_exactly():
    found = latent(START + WALK + SEEN)
    assert (found.strategy, found.treatment, found.exact) == ("linear_gaussian", "integrated", True)
    assert dict(found.declined)["reparameterization"] == "legal, but linear_gaussian comes first: exact"
    assert plan_spec(HEAD + START + WALK + SEEN).formula == "log ∫ p(x, z) dz"


DECLINED = {
    "network": (START + WALK + SEEN.replace("matmul(C, z[t])", "mlp(z[t])"), "mlp is MLP, not Linear"),
    "product": (START + "  z[t]: Normal(z[t-1] * z[t-1], 1)\n" + SEEN, "it is multiplied with itself"),
    "quotient": (START + "  z[t]: Normal(1 / z[t-1], 1)\n" + SEEN, "something is divided by it"),
    "function": (START + "  z[t]: Normal(tanh(z[t-1]), 1)\n" + SEEN, "location of z is not affine in z: `tanh` of it"),
    "entry": (
        START + WALK + SEEN.replace("matmul(C, z[t])", "max(z[t])"),
        "the location of x is not affine in z: `max` of it",
    ),
    "scale": (START + WALK + SEEN.replace(", 1)", ", exp(z[t, 0]))"), "the scale of x depends on z"),
    "family": (START + "  z[t]: Laplace(z[t-1], 1)\n" + SEEN, "its family is Laplace, Normal, not Normal"),
    "likelihood": (START + WALK + "observed:\n  x[t]: Laplace(z[t], 1)\n", "x is Laplace, not Normal"),
    "two back": (
        START + "  z[1]: Normal(0, 1)[D]\n  z[t]: Normal(z[t-2], 1)\n" + SEEN,
        "z reads back further than one site: write (z[t], z[t-1]) as one vector",
    ),
    "emission from before": (
        START + WALK + "observed:\n  x[0]: Normal(0, 1)[N]\n  x[t]: Normal(matmul(C, z[t-1]), 1)\n",
        "x reads z at other sites than its own",
    ),
    "whole": (START + WALK + "observed:\n  x: Normal(sum(z), 1)\n", "x reads z from other plates (none)"),
    "guide": (START + WALK + SEEN + "guide:\n  z[t]: Normal(x[t, 0], 1)[D]\n", "a guide factor q(z) is written"),
    "another latent": (
        START + WALK + "  w[t]: Normal(z[t], 1)\n" + SEEN,
        "the latent w reads z: only observed variables may",
    ),
    "nothing that is seen": (START + WALK + "observed:\n  x: Normal(0, 1)\n", "nothing observed reads z"),
    "no chain": ("  z[t]: Normal(0, 1)[D]\n" + SEEN, "no factor reads z at an earlier site"),
}


@pytest.mark.parametrize("name", DECLINED)
def test_failed_condition_is_named(name):
    body, reason = DECLINED[name]
    found = latent(body)
    assert found.strategy != "linear_gaussian"
    assert reason in dict(found.declined)["linear_gaussian"]


def test_switching_chain_is_declined_with_a_remedy():
    body = SWITCH + START + "  z[t]: Normal(matmul(M[c[t]], z[t-1]), 1)\n" + SEEN
    reason = dict(latent(body).declined)["linear_gaussian"]
    assert reason == (
        "its parent c is discrete: a switching linear-Gaussian chain has a posterior of K^T components, and no filter of "
        "fixed size; give z a guide, or c reinforce"
    )


def test_override_takes_another_strategy():
    assert latent(START + WALK + SEEN + "infer:\n  z: reparameterization\n").strategy == "reparameterization"


# ---------------------------------------------------------------- conjugate pairs
LINKS = """lvspec: 1
name: model
sizes:
  D: 3
  K: 4
plates:
  d: sequence
  l: 2
params:
  a: [D]
  alpha: [K]
  M: [K, K]
latent:
"""


def test_conjugate_latent_is_integrated_exactly():
    found = plan_spec(LINKS + "  z: Gamma(2, 1)\nobserved:\n  x[d]: Poisson(3 * z)\n").latent("z")
    assert (found.strategy, found.treatment, found.exact) == ("conjugacy", "integrated", True)
    assert found.why == "conjugate (Gamma-Poisson x): integrated out exactly through its sufficient statistics"


UNMATCHED = {
    "no prior of the table": (
        "  z: Laplace(0, 1)\nobserved:\n  x: Normal(z, 1)\n",
        "Laplace has no entry in the table",
    ),
    "no likelihood of it": (
        "  z: Gamma(2, 1)\nobserved:\n  x: StudentT(3, 0, z)\n",
        "Gamma is conjugate to Poisson, Exponential, Gamma, Normal, LogNormal, Laplace, and x is StudentT",
    ),
    "a location": ("  z: Gamma(2, 1)\nobserved:\n  x: Normal(z, 1)\n", "the loc of x depends on z"),
    "a deviation": (
        "  z: Gamma(2, 1)\nobserved:\n  x: Normal(0, z)\n",
        "the scale of x is not proportional to 1 / sqrt(z)",
    ),
    "another argument": (
        "  z: Beta(1, 1)\nobserved:\n  x: Bernoulli(logits=z)\n",
        "x is given by logits, not by probs",
    ),
    "not itself": ("  z: Beta(1, 1)\nobserved:\n  x: Bernoulli(probs=sigmoid(z))\n", "the probs of x is not z itself"),
    "shifted": ("  z: Gamma(2, 1)\nobserved:\n  x: Poisson(z + 1)\n", "the rate of x is not proportional to z"),
    "bent": (
        "  z: Gamma(2, 1)\nobserved:\n  x: Poisson(exp(z))\n",
        "the rate of x is not proportional to z: `exp` of it is no sum, product or linear network",
    ),
    "in the scale": ("  z: Normal(0, 1)\nobserved:\n  x: Normal(0, exp(z))\n", "the scale of x depends on z"),
    "not affine": ("  z: Normal(0, 1)\nobserved:\n  x: Normal(z * z, 1)\n", "the location of x is not affine in z"),
    "of the data set": (
        "  global z: Normal(0, 1)\nobserved:\n  x: Normal(z, 1)\nguide:\n  z: Normal(a[0], 1)\n",
        "z lies outside the batch plate",
    ),
    "sum over its plate": (
        "  z[l]: Normal(0, 1)\nobserved:\n  x: Normal(sum(z[l] over l), 1)\n",
        "x reads z at other sites than its own",
    ),
    "chosen by a discrete latent": (
        "  z[l]: Normal(0, 1)\n  c: Categorical(logits=a[0] * alpha)\nobserved:\n  x: Normal(alpha[c] + z[0], 1)\n",
        "its parent c is discrete: a mixture has a posterior of one component for each value",
    ),
    "unused": ("  z: Normal(0, 1)\nobserved:\n  x: Normal(0, 1)\n", "nothing observed reads z"),
}


@pytest.mark.parametrize("name", UNMATCHED)
def test_reason_against_conjugacy_is_named(name):
    body, reason = UNMATCHED[name]
    found = plan_spec(LINKS + body).latent("z")
    assert found.strategy != "conjugacy"
    assert reason in dict(found.declined)["conjugacy"], dict(found.declined)["conjugacy"]


PAIR = """lvspec: 1
name: model
sizes: {D: features(x)}
plates: {t: bag}
params: {m: [D], root: [D, D]}
latent:
  (mu, Sigma): NormalInverseWishart(m, 0.7, D + 4, scale_tril=root)
observed:
  x[t]: MultivariateNormal(mu, covariance_matrix=Sigma)
"""


def test_what_is_drawn_together_is_treated_as_one():
    found = plan_spec(PAIR)
    assert found.latents[0].name == "mu_Sigma" and found.formula == "log ∫ p(x, mu_Sigma) dmu_Sigma"
    for asked in (plan_spec(PAIR + "infer: {Sigma: mean_field}"), plan_spec(PAIR, overrides={"mu": "mean_field"})):
        assert asked.latent("mu_Sigma").strategy == "mean_field"


@pytest.mark.parametrize(
    "likelihood, reason",
    [
        ("MultivariateNormal(2 * mu, covariance_matrix=Sigma)", "are not mu and Sigma"),
        ("MultivariateNormal(mu, scale_tril=root)", "are not mu and Sigma"),
        ("Normal(mu, 1)", "NormalInverseWishart is conjugate to MultivariateNormal, and x is Normal"),
    ],
)
def test_a_mean_or_a_covariance_alone_is_declined(likelihood, reason):
    with pytest.raises(SpecError) as caught:
        plan_spec(PAIR.replace("MultivariateNormal(mu, covariance_matrix=Sigma)", likelihood))
    message = str(caught.value)
    assert reason in message and "reparameterization" in message and "are drawn together" in message


SECOND = SWITCH.replace("c[", "d[")


def test_latents_that_choose_coefficients_of_one_integral_are_summed_together():
    block = "  z[t]: Normal(a[c[t]], 1)\n"
    plan = plan_spec(HEAD + SWITCH + SECOND + block + "observed:\n  x[t]: Normal(z[t] + a[d[t]], 1)\n")
    (found,) = plan.eliminations
    assert (found.latents, found.chain, plan.integrations[0].parents) == (("c", "d"), "t", ("c", "d"))
    (alone,) = plan_spec(HEAD + SWITCH + block + "observed:\n  x[t]: Normal(z[t], 1)\n").eliminations
    assert (
        found.cost.flops > 4 * alone.cost.flops
    )  # a site has K times as many states; apart, the two cost twice as much
