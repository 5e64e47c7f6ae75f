"""The oracle's own rules for a mean and a covariance that are drawn together, and the module against quadrature."""

import math

import pytest
import torch

from lvspec.driver import compile_spec
from lvspec.verify.oracle.densities import log_density
from lvspec.verify.oracle.divergences import divergence, normal_inverse_wishart_points
from lvspec.verify.oracle.together import pair_draws_check, pair_posterior
from lvspec.verify.oracle.world import Instance, World

F = torch.float64
FAMILY = "NormalInverseWishart"
SPEC = """lvspec: 1
name: gaussian
sizes: {D: features(x)}
plates: {t: bag}
params: {centre: [D], width: [D, D], strength: [], freedom: []}
latent:
  (mu, Sigma): NormalInverseWishart(centre, softplus(strength), D + softplus(freedom), scale_tril=width)
observed:
  x[t]: MultivariateNormal(mu, covariance_matrix=Sigma)
"""


def parameters(D, seed=0):
    g = torch.Generator().manual_seed(seed)
    root = torch.randn(D, D, dtype=F, generator=g)
    kappa, df = torch.rand(2, dtype=F, generator=g) + 0.5
    scale = root @ root.T + 0.3 * torch.eye(D, dtype=F)
    return {"loc": torch.randn(D, dtype=F, generator=g), "kappa": kappa, "df": df + D, "scale": scale}


def value(D, seed=0):
    p = parameters(D, seed + 100)
    return torch.cat([p["loc"][:, None], p["scale"]], 1)


@pytest.mark.parametrize("D", [1, 2, 3])
def test_density_is_that_of_scipy(D):
    p, v = parameters(D), value(D)
    mu, sigma = v[:, 0].numpy(), v[:, 1:].numpy()
    from scipy import stats

    expected = stats.invwishart(float(p["df"]), p["scale"].numpy()).logpdf(sigma)
    expected += stats.multivariate_normal(p["loc"].numpy(), sigma / float(p["kappa"])).logpdf(mu)
    assert abs(log_density(FAMILY, p, v, (D, D + 1)) - expected) < 1e-10
    tril = {**{k: p[k] for k in ("loc", "kappa", "df")}, "scale_tril": torch.linalg.cholesky(p["scale"])}
    assert abs(log_density(FAMILY, tril, v, (D, D + 1)) - expected) < 1e-10


@pytest.mark.parametrize("D", [1, 2, 4])
def test_two_values_average_to_the_expected_statistics(D):
    """E P = df scale^-1, E P mu, E mu' P mu = loc' E P loc + D / kappa, E log |P| by digammas (Bishop 2006, B.81)."""
    p = parameters(D)
    a, b = normal_inverse_wishart_points(p)
    precision = [torch.linalg.inv(v[:, 1:]) for v in (a, b)]
    expected = p["df"] * torch.linalg.inv(p["scale"])
    assert torch.allclose(sum(precision) / 2, expected, rtol=1e-10)
    weighted = [q @ v[:, 0] for q, v in zip(precision, (a, b), strict=True)]
    assert torch.allclose(sum(weighted) / 2, expected @ p["loc"], rtol=1e-10)
    square = sum(v[:, 0] @ w for w, v in zip(weighted, (a, b), strict=True)) / 2
    assert torch.allclose(square, p["loc"] @ expected @ p["loc"] + D / p["kappa"], rtol=1e-10)
    log_det = sum(torch.digamma((p["df"] - i) / 2) for i in range(D)) + D * math.log(2) - torch.logdet(p["scale"])
    assert torch.allclose(sum(map(torch.logdet, precision)) / 2, log_det, rtol=1e-10)


def grid(p):
    """Values (mu, sigma²) of a double-exponential rule in each direction, as rows, and the log of their weights."""
    s = torch.linspace(-5, 5, 401, dtype=F)
    step = math.log(float(s[1] - s[0]))
    u = torch.sinh(s)  # log variance
    log_w = torch.log(torch.cosh(s)) + step
    variance = torch.exp(u)
    z = torch.sinh(s)  # mean, in deviations
    mu = p["loc"] + (variance / p["kappa"]).sqrt()[:, None] * z
    weight = log_w[:, None] + u[:, None] + log_w + 0.5 * (u - p["kappa"].log())[:, None]
    both = torch.stack([mu, variance[:, None].expand_as(mu)], -1).reshape(-1, 1, 2)
    return both, weight.reshape(-1)


def log_densities(p, values):
    """In one dimension: a normal and an inverse gamma."""
    mu, variance = values[:, 0, 0], values[:, 0, 1]
    a, b = p["df"] / 2, p["scale"][0, 0] / 2
    log_p = a * b.log() - torch.lgamma(a) - (a + 1) * variance.log() - b / variance
    gap = (mu - p["loc"]) ** 2 * p["kappa"] / variance
    return log_p - 0.5 * (gap + torch.log(2 * math.pi * variance / p["kappa"]))


def test_density_and_divergence_in_one_dimension_are_those_of_quadrature():
    p, q = parameters(1), parameters(1, 7)
    v = value(1)
    assert abs(log_density(FAMILY, p, v, (1, 2)) - log_densities(p, v[None])[0]) < 1e-10
    values, log_w = grid(q)
    log_q, log_p = log_densities(q, values), log_densities(p, values)
    assert abs(torch.logsumexp(log_q + log_w, 0)) < 1e-9
    expected = ((log_q + log_w).exp() * (log_q - log_p)).nan_to_num(0.0).sum()
    assert abs(divergence(FAMILY, q, p, (1, 2)) - expected) < 1e-8


def made(D, lengths=(4, 1, 0)):
    compiled = compile_spec(SPEC)
    torch.manual_seed(D)
    model = compiled.Model(D=D).double()
    x = torch.randn(len(lengths), max(lengths), D, dtype=F)
    batch = {"x": x, "t": torch.tensor(lengths)}
    return compiled, model, batch


def test_evidence_and_moments_in_one_dimension_are_those_of_quadrature():
    compiled, model, batch = made(1)
    answer = model.posterior(batch)["mu_Sigma"]
    found = model.log_prob(batch)
    for row, n in enumerate(batch["t"].tolist()):
        instance = Instance.of(compiled.plan, {"D": 1}, dict(model.named_parameters()), batch)
        p = {k: v.detach() for k, v in World(instance, row).density(compiled.spec.variable("mu_Sigma"), ())[1].items()}
        p["scale"] = p.pop("scale_tril") ** 2
        after = {k: v[row].detach() for k, v in answer.parameters.items()}
        values, log_w = grid(after)  # where the mass is
        log_p = log_densities(p, values) + log_w
        for x in batch["x"][row, :n, 0]:
            log_p = log_p - 0.5 * ((x - values[:, 0, 0]) ** 2 / values[:, 0, 1] + (2 * math.pi * values[:, 0, 1]).log())
        total = torch.logsumexp(log_p, 0)
        assert abs(found[row] - total) < 1e-8
        oracle = pair_posterior(World(instance, row), compiled.plan.integrations[0])
        assert abs(oracle.log_prob - total) < 1e-8
        mean = ((log_p - total).exp() * values[:, 0, 0]).sum()
        assert abs(mean - answer.mean[row, 0, 0]) < 1e-8
        entropy = -((log_p - total).exp() * (log_p - total - log_w)).nan_to_num(0.0).sum()
        assert abs(entropy - answer.entropy[row]) < 1e-8


@pytest.mark.parametrize("plate", ["", "[k]"])
def test_prior_draws_are_draws_of_the_prior(plate):
    """Several plates' values at once too: each has a covariance of its own."""
    text = SPEC.replace("(mu, Sigma)", f"(mu{plate}, Sigma{plate})").replace("x[t]", f"x[t{', k' * bool(plate)}]")
    text = text.replace("(mu, cov", f"(mu{plate}, cov").replace("=Sigma)", f"=Sigma{plate})")
    compiled = compile_spec(text.replace("{t: bag}", "{t: bag, k: 2}"))
    torch.manual_seed(0)
    model = compiled.Model(D=2).double()
    model.width.data += torch.eye(2)
    found = model.sample(20_000, lengths={"t": 1})["mu_Sigma"].detach()
    batch = {"x": torch.zeros(1, 0, *([2] * bool(plate)), 2, dtype=F), "t": torch.tensor([0])}
    instance = Instance.of(compiled.plan, {"D": 2}, dict(model.named_parameters()), batch)
    truth = pair_posterior(World(instance, 0), compiled.plan.integrations[0])
    drawn = found if plate else found[:, None]
    assert pair_draws_check("draws", drawn, truth, 1e-6).passed
    if plate:  # and are independent of each other
        a, b = (torch.linalg.slogdet(drawn[:, i, :, 1:]).logabsdet for i in (0, 1))
        assert abs(torch.corrcoef(torch.stack([a, b]))[0, 1]) < 5 / math.sqrt(20_000)


def test_a_covariance_that_is_not_the_latents_is_noticed():
    compiled, model, batch = made(2)
    instance = Instance.of(compiled.plan, {"D": 2}, dict(model.named_parameters()), batch)
    world = World(instance, 0)
    seen = world.density
    world.density = lambda v, at: (
        seen(v, at)[0],
        {k: a if v.name != "x" else 2 * a for k, a in seen(v, at)[1].items()},
    )
    with pytest.raises(ValueError, match="are not mu_Sigma"):
        pair_posterior(world, compiled.plan.integrations[0])
