"""Latents with conjugate priors: emitted modules against quadrature, Pólya's urn and the dense Gaussian."""

import pytest
import torch

from lvspec.driver import plan_spec, recompile
from lvspec.load import load_module
from lvspec.verify import pins, render, shrink, verify
from lvspec.verify.oracle.conjugates import positive_nodes, unit_nodes

HEAD = """lvspec: 1
name: model
sizes:
  D: 3
  K: 4
  N: 2
plates:
PLATES
params:
  a: [D]
  b: []
  alpha: [K]
  W: [N, D]
  R: [N, N]
  mean: [K]
  T: [D, K]
"""

# pair -> what follows the parameters; the latent is called z
PAIRS = {
    "Beta-Bernoulli, Beta-Binomial, Beta-Geometric": """latent:
  z[d]: Beta(softplus(b), 0.5)
observed:
  x[d]: Bernoulli(probs=z[d])
  y[d]: Binomial(7, probs=z[d])
  w[d]: Geometric(probs=z[d])
""",
    "Beta-Bernoulli of vectors": """latent:
  z: Beta(softplus(a), 2)
observed:
  x[d]: Bernoulli(probs=z)
""",
    "Dirichlet-Categorical over nested plates": """latent:
  z: Dirichlet(softplus(alpha))
observed:
  x[d, t]: Categorical(probs=z)
  y: Categorical(probs=z)
""",
    "Dirichlet-Categorical of each document": """latent:
  z[d]: Dirichlet(softplus(alpha))
observed:
  x[d, t]: Categorical(probs=z[d])
""",
    "Gamma-Poisson with exposure": """given:
  e[d, t]: positive
latent:
  z[d]: Gamma(softplus(a), 2)
observed:
  x[d, t]: Poisson(e[d, t] * z[d])
""",
    "Gamma-Exponential, Gamma-Gamma": """latent:
  z: Gamma(2, softplus(b))
observed:
  x[d]: Exponential(z / 3)
  y[d]: Gamma(1.5, 2 * z)
""",
    "Gamma-Normal, the precision": """given:
  s[d]: positive
latent:
  z[d]: Gamma(softplus(b) + 1, 2)
let:
  r[d]: 1 / sqrt(z[d])
observed:
  x[d]: Normal(b, s[d] * r[d])
  y[d]: LogNormal(1, z[d] ** -0.5)
  w[d]: Normal(a, sqrt(0.5 / z[d]))
""",
    "Gamma-Normal of vectors, Gamma-Laplace": """latent:
  z: Gamma(softplus(a) + 1, 2)
observed:
  x[d]: Normal(a, 2 / sqrt(z) / 3)
  y: Laplace(b, 0.5 * z ** -1)
""",
    "Gamma-Normal, the precision within the root": """given:
  s[d]: positive
latent:
  z: Gamma(softplus(b) + 1, 2)
let:
  v[d]: s[d] / (3 * z)
observed:
  x[d]: Normal(b, 1 / sqrt(2 * z))
  y[d]: LogNormal(1, (s[d] * z / 2) ** -0.5)
  w[d]: Normal(a, sqrt(v[d]))
  r[d]: Laplace(b, 1 / square(0.5 * sqrt(z)))
""",
    "one rate for all of a vector": """latent:
  z: Gamma(2, softplus(b))
observed:
  x[d]: Poisson(softplus(a) * z)
  y: Laplace(a, 2 / z)
""",
    "a Dirichlet that a number chooses": """given:
  g[d]: category(K)
latent:
  z[k]: Dirichlet(softplus(alpha))
observed:
  x[d]: Categorical(probs=z[g[d]])
  y: Categorical(probs=z[0])
""",
    "a Dirichlet that a label chooses": """latent:
  z[k]: Dirichlet(softplus(alpha))
observed:
  g[d]: Categorical(logits=alpha)
  x[d]: Categorical(probs=z[g[d]])
""",
    "a Gamma that a number chooses": """given:
  g[d]: category(K)
  s[d]: positive
latent:
  z[k]: Gamma(2, softplus(b))
observed:
  x[d]: Poisson(s[d] * z[g[d]])
  y[k]: Poisson(z[k])
""",
    "Normal-Normal": """latent:
  z: Normal(b, 2)
observed:
  x[d]: Normal(z, softplus(b))
  y: Normal(1 - 0.5 * z, 3)
""",
    "Normal-Normal on a fixed plate": """latent:
  z[k]: Normal(mean[k], 2)
observed:
  x[d, k]: Normal(z[k], softplus(b))
""",
    "factor analysis": """latent:
  z: Normal(0, 1)[D]
observed:
  x: Normal(matmul(W, z), softplus(b))
""",
    "linear-Gaussian with full covariances": """latent:
  z[d]: MultivariateNormal(matmul(W, a), scale_tril=R)
observed:
  x[d, t]: MultivariateNormal(z[d], scale_tril=R)
""",
    "Normal-inverse-Wishart of each plate": """latent:
  (m[k], S[k]): NormalInverseWishart(matmul(W, a), softplus(b), D + softplus(b), scale_tril=R)
observed:
  x[d, k]: MultivariateNormal(m[k], covariance_matrix=S[k])
  y[k]: MultivariateNormal(m[k], covariance_matrix=S[k])
""",
}


PLATES = {"d": "sequence", "t": "sequence(within=d)", "k": "K"}


def compiled(body):
    """The spec with the plates that it uses, at small sizes."""
    used = [
        f"  {p}: {kind}" for p, kind in PLATES.items() if f"[{p}]" in body or f", {p}]" in body or f"[{p}, " in body
    ]
    head = HEAD.replace("plates:\nPLATES\n", "plates:\n" + "\n".join(used) + "\n" if used else "")
    plan = plan_spec(head + body)
    return recompile(plan.spec, shrink(plan.spec), pins(plan))


@pytest.mark.parametrize("name", PAIRS)
def test_conjugate_latent_equals_its_integral(name):
    c = compiled(PAIRS[name])
    (z,) = c.plan.latents
    assert (z.strategy, z.treatment) == ("conjugacy", "integrated")
    report = verify(c.spec, c.plan, c.Model, seed=1, draws=4_000)
    assert report.passed, render(report)
    judged = {check.name for check in report.checks if check.figure is not None}
    assert {
        "log_prob",
        f"mean of {z.name}",
        f"spread of {z.name}",
        f"entropy of {z.name}",
        f"z of the moments of posterior draws of {z.name}",
    } <= judged


MIXTURES = {
    "of negative binomials": """latent:
  c: Bernoulli(logits=b)
  z: Gamma(1 + 2 * c, softplus(b))
observed:
  x[d]: Poisson(z)
""",
    "of beta-binomials, site by site": """latent:
  c[d]: Bernoulli(logits=b)
  z[d]: Beta(1 + c[d], 2)
observed:
  x[d]: Binomial(10, probs=z[d])
""",
    "of Dirichlet-multinomials": """latent:
  c: Categorical(logits=a)
  z: Dirichlet(softplus(T[c]))
observed:
  x[d]: Categorical(probs=z)
  y: Normal(a[c], 1)
""",
}


@pytest.mark.parametrize("name", MIXTURES)
def test_conjugate_latent_that_a_summed_one_chooses_equals_its_integral(name):
    c = compiled(MIXTURES[name])
    assert c.plan.latent("z").strategy == "conjugacy" and c.plan.objective == "log_marginal"
    report = verify(c.spec, c.plan, c.Model, seed=1, draws=500)
    assert report.passed, render(report)
    judged = {check.name for check in report.checks if check.figure is not None}
    assert {"log_prob", "mean of z", "spread of z", "z of the moments of posterior draws of z"} <= judged


PLANTED = {
    "Gamma-Poisson with exposure": (", e[:, :, :, None])", ")"),
    "Dirichlet-Categorical over nested plates": (
        'batch["x.mask"], 1)',
        'batch["d.mask"][:, :, None] & batch["t.mask"], 1)',
    ),
    "Normal-Normal": (
        "diagonal_covariance(torch.full_like(self.zero, 3)",
        "diagonal_covariance(torch.full_like(self.zero, 2)",
    ),
    "Beta-Bernoulli, Beta-Binomial, Beta-Geometric": ("geometric_statistics", "bernoulli_statistics"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_error_in_a_pair_is_caught(name):
    c = compiled(PAIRS[name])
    right, wrong = PLANTED[name]
    assert right in c.source, c.source
    broken = load_module(c.source.replace(right, wrong), c.spec).Model
    assert not verify(c.spec, c.plan, broken, seed=1, draws=0).passed


def test_a_link_that_is_no_scale_is_noticed_by_the_oracle(monkeypatch):
    """Were the planner to take z + 1 for z, quadrature would say so."""
    from lvspec.ir import conjugate
    from lvspec.ir.affine import Affine

    def careless(found):
        return scale_of(Affine(found.matrices, None))

    scale_of = conjugate.scale_of
    monkeypatch.setattr(conjugate, "scale_of", careless)
    c = compiled(PAIRS["Gamma-Exponential, Gamma-Gamma"].replace("2 * z", "2 * z + 1"))
    assert c.plan.latent("z").strategy == "conjugacy"
    assert not verify(c.spec, c.plan, c.Model, seed=1, draws=0).passed


def test_posterior_names_the_parameters_of_its_family():
    c = compiled(PAIRS["Gamma-Exponential, Gamma-Gamma"])
    model = c.Model(**{s.name: dict(c.plan.sizes)[s.name] for s in c.plan.spec.sizes})
    x = torch.tensor([[1.0, 2.0, 3.0]])
    answer = model.posterior({"x": x, "y": x, "d": torch.tensor([2])})["z"]
    assert torch.allclose(answer.parameters["concentration"], torch.tensor([2 + 2 + 2 * 1.5]))
    rate = torch.nn.functional.softplus(model.b) + 3.0 / 3 + 2 * 3.0
    assert torch.allclose(answer.parameters["rate"], rate)
    assert answer.sample(5).shape == (5, 1) and answer.entropy.shape == (1,)


@pytest.mark.parametrize("a, b", [(0.5, 0.5), (0.2, 3.0), (8.0, 0.3)])
def test_quadrature_on_the_unit_interval_keeps_what_lies_within_a_rounding_of_one(a, b):
    rule = unit_nodes()
    arguments = {"concentration1": torch.tensor(a).double(), "concentration0": torch.tensor(b).double()}
    total = torch.logsumexp(rule.log_prior(arguments, 1)[:, 0] + rule.log_w, 0)
    assert abs(total) < 1e-10


@pytest.mark.parametrize("a, rate", [(0.5, 1.0), (3.0, 0.05), (20.0, 2.0), (1.0, 40.0)])
def test_quadrature_on_the_positive_numbers(a, rate):
    rule = positive_nodes()
    density = torch.distributions.Gamma(torch.tensor(a).double(), torch.tensor(rate).double(), validate_args=False)
    inside = rule.values > 0
    total = torch.logsumexp(density.log_prob(rule.values[inside]) + rule.log_w[inside], 0)
    assert abs(total) < 1e-9
