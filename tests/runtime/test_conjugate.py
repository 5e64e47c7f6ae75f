"""Conjugate pairs against numerical quadrature, and Gaussian ones against a dense Gaussian."""

import math

import pytest
import torch
from torch import distributions as D
from torch.autograd import gradcheck, gradgradcheck

from lvspec import runtime as R

F = torch.float64
LIKE = torch.zeros((), dtype=F)


def t(*values):
    return torch.tensor(values, dtype=F)


# pair -> (prior parameters, x of one row, statistics(x), prior distribution, likelihood given the latent, its support)
PAIRS = {
    "Beta-Bernoulli": (
        (t(1.3), t(0.7)),
        torch.tensor([1, 0, 0, 1, 1, 0, 0]),
        lambda x: R.bernoulli_statistics(x, LIKE),
        lambda z: D.Bernoulli(probs=z, validate_args=False),
    ),
    "Beta-Binomial": (
        (t(0.8), t(2.1)),
        torch.tensor([3, 0, 5, 1]),
        lambda x: R.binomial_statistics(x, LIKE, 5),
        lambda z: D.Binomial(5, probs=z, validate_args=False),
    ),
    "Beta-Geometric": (
        (t(2.3), t(1.7)),
        torch.tensor([4, 0, 1, 2, 9]),
        lambda x: R.geometric_statistics(x, LIKE),
        lambda z: D.Geometric(probs=z, validate_args=False),
    ),
    "Gamma-Poisson": (
        (t(1.3), t(0.7)),
        torch.tensor([1, 0, 4, 2]),
        lambda x: R.poisson_statistics(x, LIKE),
        lambda z: D.Poisson(z, validate_args=False),
    ),
    "Gamma-Poisson with exposure": (
        (t(0.6), t(1.9)),
        torch.tensor([1, 0, 4, 2]),
        lambda x: R.poisson_statistics(x, LIKE, 1 / 3),
        lambda z: D.Poisson(z / 3, validate_args=False),
    ),
    "Gamma-Exponential": (
        (t(2.2), t(1.4)),
        t(0.3, 2.0, 0.7),
        lambda x: R.exponential_statistics(x, LIKE, 0.5),
        lambda z: D.Exponential(0.5 * z, validate_args=False),
    ),
    "Gamma-Gamma": (
        (t(2.2), t(1.4)),
        t(0.3, 2.0, 0.7),
        lambda x: R.gamma_statistics(x, LIKE, 3.0, 0.5),
        lambda z: D.Gamma(3.0, 0.5 * z, validate_args=False),
    ),
}
PRIORS = {"Beta": D.Beta, "Gamma": D.Gamma}


def grid(family):
    """Nodes of the latent and log-weights: the trapezoidal rule after a change of variable, which converges
    geometrically for integrands that fade at both ends."""
    u = torch.linspace(-60, 60, 24_001, dtype=F)
    step = (u[1] - u[0]).log()
    if family == "Beta":
        return torch.sigmoid(u), step + torch.nn.functional.logsigmoid(u) + torch.nn.functional.logsigmoid(-u)
    return u.exp(), step + u


def integral(name):
    """log p(x), E[z | x] and E[z² | x] by quadrature."""
    prior, x, _, likelihood = PAIRS[name]
    family = name.split("-")[0]
    z, log_w = grid(family)
    keep = (z > 0) & (z < (1 if family == "Beta" else math.inf))
    z, log_w = z[keep], log_w[keep]
    log_p = PRIORS[family](*prior).log_prob(z) + likelihood(z[:, None]).log_prob(x.to(F)).sum(-1) + log_w
    total = torch.logsumexp(log_p, 0)
    p = (log_p - total).exp()
    return total, (p * z).sum(), (p * z**2).sum()


def conjugate(name):
    prior, x, statistics, _ = PAIRS[name]
    mask = torch.ones(1, len(x), dtype=torch.bool)
    return R.Conjugate(getattr(R, name.split("-")[0])(*prior), (R.site_sums(statistics(x[None]), mask, 1),), mask[:, 0])


@pytest.mark.parametrize("name", PAIRS)
def test_pair_equals_quadrature(name):
    total, mean, square = integral(name)
    found = conjugate(name)
    assert abs(found.log_prob()[0] - total) < 1e-9
    assert abs(found.mean[0] - mean) < 1e-9 and abs(found.variance[0] - (square - mean**2)) < 1e-8
    parameters = tuple(p[0] for p in found.parameters.values())
    posterior = PRIORS[type(found.prior).__name__](*parameters)
    assert abs(found.entropy[0] - posterior.entropy()) < 1e-9


@pytest.mark.parametrize("name", PAIRS)
def test_draws_follow_the_posterior(name):
    """Kolmogorov-Smirnov against the posterior's distribution function by quadrature, at a false-alarm rate of 1e-6."""
    torch.manual_seed(0)
    n, found = 20_000, conjugate(name)
    draws = found.sample(n)[:, 0].sort().values
    z, log_w = grid(type(found.prior).__name__)
    posterior = PRIORS[type(found.prior).__name__](*(p[0] for p in found.parameters.values()), validate_args=False)
    inside = (z > 0) & (z < (1 if isinstance(found.prior, R.Beta) else math.inf))
    z, mass = z[inside], (posterior.log_prob(z[inside]) + log_w[inside]).exp()
    below = mass.cumsum(0) - mass / 2
    at = torch.searchsorted(z, draws).clamp(1, len(z) - 1)
    share = (draws - z[at - 1]) / (z[at] - z[at - 1])
    cdf = below[at - 1] + share * (below[at] - below[at - 1])
    rank = torch.arange(1, n + 1, dtype=F) / n
    gap = torch.maximum((rank - cdf).abs(), (rank - 1 / n - cdf).abs()).max()
    assert gap < math.sqrt(math.log(2 / 1e-6) / (2 * n))


def test_a_planted_error_is_far_from_quadrature():
    prior, x, _, _ = PAIRS["Gamma-Poisson"]
    mask = torch.ones(1, len(x), dtype=torch.bool)
    statistics = R.poisson_statistics(x[None], LIKE, 1.1)
    wrong = R.Conjugate(R.Gamma(*prior), (R.site_sums(statistics, mask, 1),), mask[:, 0])
    assert abs(wrong.log_prob()[0] - integral("Gamma-Poisson")[0]) > 1e-2


def test_dirichlet_categorical_is_the_urn_and_the_integral():
    """Pólya's urn: the next symbol is k with probability (alpha_k + count_k) / (alpha_0 + count); and, over the simplex
    of three symbols, quadrature of theta_1 = s, theta_2 = (1 - s) r."""
    alpha, x = t(0.7, 1.9, 1.2), torch.tensor([2, 0, 1, 1, 2, 1])
    mask = torch.ones(1, 6, dtype=torch.bool)
    found = R.Conjugate(
        R.Dirichlet(alpha), (R.site_sums(R.categorical_statistics(x[None], LIKE, 3), mask, 1),), mask[:, 0]
    )
    counts, urn = alpha.clone(), 0.0
    for k in x:
        urn += float((counts[k] / counts.sum()).log())
        counts[k] += 1
    assert abs(found.log_prob()[0] - urn) < 1e-12
    assert torch.equal(found.parameters["concentration"][0], counts)
    u = torch.linspace(-60, 60, 1201, dtype=F)
    w = torch.nn.functional.logsigmoid(u) + torch.nn.functional.logsigmoid(-u) + (u[1] - u[0]).log()
    log_s, log_not = torch.nn.functional.logsigmoid(u), torch.nn.functional.logsigmoid(-u)
    log_theta = torch.stack(
        torch.broadcast_tensors(log_s[:, None], log_not[:, None] + log_s[None], log_not[:, None] + log_not[None]), -1
    )
    log_p = (log_theta * (counts - 1)).sum(-1) + torch.lgamma(alpha.sum()) - torch.lgamma(alpha).sum()
    total = torch.logsumexp((log_p + log_not[:, None] + w[:, None] + w[None]).flatten(), 0)
    assert abs(found.log_prob()[0] - total) < 1e-9
    assert torch.allclose(found.mean[0], counts / counts.sum()) and found.sample(5).shape == (5, 1, 3)
    assert torch.allclose(found.variance[0], D.Dirichlet(counts).variance)
    assert abs(found.entropy[0] - D.Dirichlet(counts).entropy()) < 1e-9


def test_sites_that_do_not_count_are_never_read():
    x = t(0.3, math.nan, 0.7, -5.0)[None].repeat(3, 1)
    mask = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0]]).bool()
    a = t(2.2).requires_grad_()
    seen = (R.site_sums(R.exponential_statistics(x, LIKE), mask, 1),)
    found = R.Conjugate(R.Gamma(a, t(1.4)), seen, torch.tensor([True, True, False]))
    both = R.Conjugate(
        R.Gamma(a, t(1.4)),
        (R.site_sums(R.exponential_statistics(t(0.3, 0.7)[None], LIKE), mask[:1, :1].expand(1, 2), 1),),
        mask[:1, 0],
    )
    assert abs(found.log_prob()[0] - both.log_prob()[0]) < 1e-12
    assert found.log_prob()[1] == 0 and found.log_prob()[2] == 0
    assert torch.autograd.grad(found.log_prob().sum(), a)[0].isfinite()


def test_log_evidence_is_differentiable_twice():
    x = t(0.3, 2.0, 0.7)[None]
    mask = torch.ones(1, 3, dtype=torch.bool)

    def value(a, b, c, e):
        seen = R.site_sums(R.gamma_statistics(x, LIKE, c, e), mask, 1)
        return R.Conjugate(R.Gamma(a, b), (seen,), mask[:, 0]).log_prob()

    inputs = tuple(t(v).requires_grad_() for v in (2.2, 1.4, 3.0, 0.5))
    inputs = tuple(v.squeeze(0).detach().requires_grad_() for v in inputs)
    assert gradcheck(value, inputs) and gradgradcheck(value, inputs)


# ---------------------------------------------------------------- Gaussian
def gaussian_model(B=3, T=5, K=3, N=2, seed=0, scalar=False):
    g = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, dtype=F, generator=g)  # noqa: E731
    spd = lambda *shape: (lambda x: x @ x.mT + 0.3 * torch.eye(shape[-1], dtype=F))(normal(*shape, shape[-1]))  # noqa: E731
    mask = torch.arange(T) < torch.tensor([T, 1, 0])[:B, None]
    one = (normal(T, N, K), normal(B, T, N), spd(T, N), torch.where(mask[..., None], normal(B, T, N), math.nan), mask)
    other = (normal(1, K), normal(1), spd(1), normal(B, 1), torch.tensor([True, False, True]))
    return R.GaussianFactors((normal(B, K), spd(K)), (one, other), torch.ones(B, dtype=torch.bool))


def dense(f, row):
    """Mean and covariance of z given x, and log p(x), from the joint Gaussian of all that is observed."""
    m, S = f.start[0][row], f.start[1]
    rows, offset, noise, x = [], [], [], []
    for C, d, Rn, value, mask in f.emissions:
        full = lambda a, e, shape=mask.shape: a.expand(*shape, *a.shape[a.dim() - e :])[row]  # noqa: E731
        C, d, Rn = full(C, 2), full(d, 1), full(Rn, 2)
        for i in mask[row].nonzero() if mask.dim() > 1 else [()] * int(mask[row]):
            i = tuple(int(j) for j in i)
            rows.append(C[i]), offset.append(d[i]), noise.append(Rn[i]), x.append(value[row][i])
    if not rows:
        return m, S, torch.zeros((), dtype=F)
    H, d, x, noise = torch.cat(rows), torch.cat(offset), torch.cat(x), torch.block_diag(*noise)
    total = H @ S @ H.T + noise
    gain = S @ H.T @ torch.linalg.inv(total)
    log_p = D.MultivariateNormal(H @ m + d, total).log_prob(x)
    return m + gain @ (x - H @ m - d), S - gain @ H @ S, log_p


def test_gaussian_factors_equal_a_dense_gaussian():
    f = gaussian_model()
    for row in range(3):
        mean, covariance, log_p = dense(f, row)
        assert abs(f.log_prob()[row] - log_p) < 1e-9 * max(1, abs(log_p))
        assert (f.mean[row] - mean).abs().max() < 1e-9 and (f.covariance[row] - covariance).abs().max() < 1e-9
        assert abs(f.entropy[row] - D.MultivariateNormal(mean, covariance).entropy()) < 1e-9
    draws = f.sample(40_000)[:, 0]
    mean, covariance, _ = dense(f, 0)
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(covariance), (draws - mean).T, upper=False)
    gap = (white @ white.T / 40_000 - torch.eye(3, dtype=F)).abs() * 200
    # nine products and three means by a z-test at a family-wise false-alarm rate of 1e-6
    assert gap.max() / math.sqrt(2) < 5.5 and (white.mean(1).abs() * 200).max() < 5.5


def test_gaussian_factors_are_differentiable_twice():
    f = gaussian_model(T=2, K=2, N=1)
    C, d, Rn, x, mask = f.emissions[0]

    def value(m, root, C, d):
        emissions = ((C, d, Rn, x, mask), f.emissions[1])
        return R.GaussianFactors((m, root @ root.mT), emissions, f.mask).log_prob()

    inputs = tuple(a.detach().clone().requires_grad_() for a in (f.start[0], torch.linalg.cholesky(f.start[1]), C, d))
    assert gradcheck(value, inputs) and gradgradcheck(value, inputs)


# ---------------------------------------------------------------- Normal-inverse-Wishart
def niw(D_, seed=0):
    g = torch.Generator().manual_seed(seed)
    root = torch.randn(D_, D_, dtype=F, generator=g)
    x = torch.randn(6, D_, dtype=F, generator=g) * 1.4 + 0.5
    loc = torch.randn(D_, dtype=F, generator=g)
    return (loc, t(1.3)[0], t(D_ + 1.5)[0], root @ root.T + torch.eye(D_, dtype=F)), x


def pairs(prior, *seen):
    """Each of `seen` is x (B, n, D) and its mask (B, n)."""
    known = tuple(
        R.site_scatter(R.multivariate_normal_statistics(x, prior[0]), mask, mask.dim() - 1) for x, mask in seen
    )
    lead = seen[0][1].shape[:-1]
    return R.Conjugate(R.NormalInverseWishart(*prior), known, torch.ones(lead, dtype=torch.bool))


def whole(prior, x):
    return pairs(prior, (x[None], torch.ones(1, len(x), dtype=torch.bool)))


@pytest.mark.parametrize("size", [1, 2, 4])
def test_normal_inverse_wishart_is_the_chain_of_its_predictive_student_distributions(size):
    """p(x_1..x_n) = prod_i p(x_i | x_1..x_{i-1}), each a multivariate Student t (Murphy 2007, equation 232)."""
    prior, x = niw(size)
    total, (loc, kappa, df, scale) = 0.0, prior
    for v in x:
        dof = df - size + 1
        spread = scale * (kappa + 1) / (kappa * dof)
        quadratic = (v - loc) @ torch.linalg.inv(spread) @ (v - loc)
        total += torch.lgamma((dof + size) / 2) - torch.lgamma(dof / 2) - 0.5 * torch.logdet(dof * math.pi * spread)
        total -= (dof + size) / 2 * torch.log1p(quadratic / dof)
        scale = scale + kappa / (kappa + 1) * torch.outer(v - loc, v - loc)
        loc, kappa, df = (kappa * loc + v) / (kappa + 1), kappa + 1, df + 1
    assert abs(whole(prior, x).log_prob() - total) < 1e-9
    after = whole(prior, x).parameters
    for name, expected in zip(("loc", "kappa", "df", "scale"), (loc, kappa, df, scale), strict=True):
        assert torch.allclose(after[name][0], expected)
    some = torch.tensor([[True, True, False, True, False, False]])
    rubbish = torch.where(some[..., None], x, math.nan)
    assert abs(pairs(prior, (rubbish, some)).log_prob() - whole(prior, x[some[0]]).log_prob()) < 1e-9
    assert whole(prior, x[:0]).log_prob().abs() < 1e-12
    # by two likelihoods, of two and of four of them
    parts = [(p[None], torch.ones(1, len(p), dtype=torch.bool)) for p in (x[:2], x[2:])]
    assert abs(pairs(prior, *parts).log_prob() - total) < 1e-9


def test_scatter_far_from_zero_does_not_cancel():
    prior, x = niw(2)
    far = (prior[0] + 1e6, *prior[1:])
    assert abs(whole(far, x + 1e6).log_prob() - whole(prior, x).log_prob()) < 1e-6


def test_evidence_of_a_mean_and_covariance_is_differentiable_twice():
    prior, x = niw(2)

    def value(loc, kappa, df, root):
        known = whole((loc, kappa, df, root @ root.mT), x)
        return known.log_prob(), known.entropy

    inputs = (*prior[:3], torch.linalg.cholesky(prior[3]))
    inputs = tuple(p.detach().clone().requires_grad_() for p in inputs)
    assert gradcheck(value, inputs) and gradgradcheck(value, inputs)


def test_draws_of_normal_inverse_wishart_have_its_moments():
    """E mu = loc, E Sigma = scale / (df - D - 1), E Sigma^-1 = df scale^-1: z-tests by the draws' own deviations at a
    family-wise false-alarm rate of 1e-6."""
    torch.manual_seed(0)
    prior, x = niw(2)
    after, n = whole(prior, x), 40_000
    drawn = after.sample(n)[:, 0]
    found = torch.cat([drawn.flatten(1), torch.linalg.inv(drawn[..., 1:]).flatten(1)], 1)
    inverse = after.parameters["df"][0] * torch.linalg.inv(after.parameters["scale"][0])
    expected = torch.cat([after.mean[0].flatten(), inverse.flatten()])
    z = (found.mean(0) - expected) / (found.std(0) / math.sqrt(n))
    assert z.abs().max() < D.Normal(0.0, 1.0).icdf(torch.tensor(1 - 1e-6 / 20, dtype=F))


def test_factor_of_a_mean_and_covariance_goes_to_natural_parameters_and_back():
    prior, _ = niw(3)
    again = R.NormalInverseWishart.from_natural(*R.NormalInverseWishart(*prior).natural())
    assert all(torch.allclose(a, b) for a, b in zip(again.parameters, prior, strict=True))


def test_evidence_is_one_graph():
    for known in (gaussian_model(), conjugate("Gamma-Poisson"), whole(*niw(2))):
        compiled = torch.compile(lambda known: known.log_prob(), fullgraph=True, backend="eager")
        assert torch.allclose(compiled(known), known.log_prob(), rtol=0, atol=1e-12)


def test_more_successes_than_trials_are_impossible_and_add_nothing():
    n = torch.tensor([0.0, 1.0, 2.0, 3.0])
    (hits, misses), term = R.binomial_statistics(torch.tensor(2), torch.zeros(()), n)
    assert hits.tolist() == [0, 0, 2, 2] and misses.tolist() == [0, 0, 0, 1]
    assert torch.allclose(term, torch.tensor([-torch.inf, -torch.inf, 0.0, math.log(3)]))
