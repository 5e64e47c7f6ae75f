"""Mean field: the bound and its optimum against textbook formulas in NumPy, which share no code with the module."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from scipy.special import digamma, gammaln

from lvspec.driver import compile_spec, plan_spec
from lvspec.errors import SpecError
from lvspec.load import load_module
from lvspec.shipped import shipped
from lvspec.verify import pins, shrink, verify
from tests.emit.mean_field_models import MODELS

ONLINE_LDA = str(shipped("specs") / "lda.yaml")
MIXTURE = str(shipped("specs") / "bayesian_mixture.yaml")
DIAGONAL = """
lvspec: 1
name: diagonal_mixture
sizes: {K: 6, D: features(x)}
plates:
  k: K
params:
  sparsity: {shape: [K], init: "constant(-1)", frozen: true}
latent:
  global weights: Dirichlet(softplus(sparsity))
  global mu[k]: Normal(0, 10)[D]
  global tau[k]: Gamma(2, 2)[D]
  c: Categorical(probs=weights)
observed:
  x: Normal(mu[c], 1 / sqrt(tau[c]))
"""
CONVERGED = "mean_field(steps=20000, tolerance=1e-13)"

LDA = """
lvspec: 1
name: lda
sizes: {K: 20, V: vocabulary(x)}
plates:
  t: bag
params:
  alpha: [K]
  topics: [K, V]
latent:
  theta: Dirichlet(softplus(alpha))
  z[t]: Categorical(probs=theta)
observed:
  x[t]: Categorical(logits=topics[z[t]])
"""
BAYESIAN_HMM = """
lvspec: 1
name: bayesian_hmm
sizes: {K: 3, D: features(x)}
plates:
  t: sequence
  k: K
params:
  prior: [K]
latent:
  global first: Dirichlet(softplus(prior))
  global next[k]: Dirichlet(softplus(prior))
  global mu[k]: Normal(0, 2)[D]
  z[0]: Categorical(probs=first)
  z[t]: Categorical(probs=next[z[t-1]])
observed:
  x[t]: Normal(mu[z[t]], 0.7)
"""
# one latent, all of whose children are conjugate to it: q is the posterior and the bound is log p(x) itself
TIGHT = """
lvspec: 1
name: tight
plates:
  t: bag
latent:
  theta: %s
observed:
  x[t]: %s
infer:
  theta: mean_field
"""


def made(text, seed=0, overrides=None, **sizes):
    compiled = compile_spec(text, overrides=overrides or {})
    torch.manual_seed(seed)
    return compiled.Model(**sizes).double()


def softplus(x):
    return np.log1p(np.exp(x.detach().numpy()))


def documents(seed, V=5, rows=5, length=4):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([length, 1, length - 1, 0, 2])[:rows]
    return {"x": torch.randint(V, (rows, length), generator=generator), "t": lengths}


# ---------------------------------------------------------------- lda
def exact_lda(alpha, beta, words):
    """log Σ_z p(x | z) ∫ p(theta) Π theta_z: every assignment of topics, the integral in closed form."""
    K, terms = len(alpha), []
    for z in product(range(K), repeat=len(words)):
        counts = np.bincount(np.array(z, dtype=int), minlength=K)
        polya = gammaln(alpha.sum()) - gammaln(alpha.sum() + len(words))
        polya += (gammaln(alpha + counts) - gammaln(alpha)).sum()
        terms.append(polya + sum(math.log(beta[k, v]) for k, v in zip(z, words, strict=True)))
    return np.logaddexp.reduce(terms)


def variational_lda(alpha, beta, words, rounds=20_000):
    """Blei, Ng & Jordan 2003, figure 6 and equation 15: (gamma, the bound). From the prior on: there is more than one optimum."""
    K = len(alpha)
    gamma = alpha
    for _ in range(rounds):
        phi = np.array([beta[:, v] * np.exp(digamma(gamma)) for v in words]).reshape(-1, K)
        phi /= phi.sum(1, keepdims=True)
        gamma = alpha + phi.sum(0)
    log_theta = digamma(gamma) - digamma(gamma.sum())
    bound = gammaln(alpha.sum()) - gammaln(alpha).sum() + ((alpha - 1) * log_theta).sum()
    bound += (phi * log_theta).sum() - (phi * np.log(phi)).sum()
    bound += sum((phi[i] * np.log(beta[:, v])).sum() for i, v in enumerate(words))
    return gamma, bound - (gammaln(gamma.sum()) - gammaln(gamma).sum() + ((gamma - 1) * log_theta).sum())


@pytest.mark.parametrize("seed", range(5))
def test_lda_is_the_textbooks_and_below_the_likelihood(seed):
    model = made(LDA, seed, {"theta": CONVERGED}, K=3, V=5)
    with torch.no_grad():
        model.alpha.normal_()
        model.topics.mul_(2)
    batch = model.prepare(documents(seed))
    alpha, beta = softplus(model.alpha), model.topics.detach().softmax(-1).numpy()
    gamma = model.optimum(batch)["theta"].parameters[0].numpy()
    elbo = model(batch).elbo.detach().numpy()
    for row, n in enumerate(batch["t"].tolist()):
        words = batch["x"][row, :n].tolist()
        expected_gamma, expected = variational_lda(alpha, beta, words)
        np.testing.assert_allclose(gamma[row], expected_gamma, atol=1e-8)
        assert abs(elbo[row] - expected) < 1e-9 * max(1, abs(expected))
        assert elbo[row] <= exact_lda(alpha, beta, words) + 1e-9


def test_importance_weights_of_lda_average_to_the_likelihood():
    """The mean weight within 5 standard errors of p(x): a false alarm of 1e-6 a document. (With small concentrations q is
    narrower than the posterior and weights have no variance.)"""
    model = made(LDA, 1, K=3, V=5)
    torch.nn.init.constant_(model.alpha, 2.0)
    batch = model.prepare(documents(1))
    alpha, beta = softplus(model.alpha), model.topics.detach().softmax(-1).numpy()
    torch.manual_seed(0)
    with torch.no_grad():
        log_weight, _ = model.log_weights(batch, 20_000)
    for row, n in enumerate(batch["t"].tolist()):
        weight = (log_weight[:, row] - exact_lda(alpha, beta, batch["x"][row, :n].tolist())).exp()
        error = (weight.std() / len(weight) ** 0.5).clamp_min(1e-9)
        assert abs(weight.mean() - 1) < 5 * error


def test_a_tolerance_below_the_rounding_of_its_numbers_is_met(monkeypatch):
    """In single precision natural parameters stand still but for their last places: they have arrived."""
    from lvspec.runtime.conjugate import mean_field

    rounds, best = [], mean_field.best_natural
    monkeypatch.setattr(mean_field, "best_natural", lambda *given: rounds.append(1) or best(*given))
    spec = MODELS["pair"] + f"infer:\n  mu: {CONVERGED}\n  tau: {CONVERGED}\n"
    torch.manual_seed(2)
    model, x = compile_spec(spec).Model(D=2), torch.randn(3, 4, 2)
    found = model({"x": x}).elbo
    assert len(rounds) < 1000  # two a round, 20,000 rounds at most
    assert torch.allclose(found.double(), model.double()({"x": x.double()}).elbo, rtol=1e-4)


def test_no_gradient_flows_through_the_iterations():
    """The envelope theorem: at the optimum the slope of the bound is the partial one, found here by differences."""
    model = made(LDA, 2, {"theta": CONVERGED}, K=3, V=5)
    batch = model.prepare(documents(2))
    model(batch).loss.backward()
    for parameter, entry in ((model.topics, (1, 2)), (model.alpha, (0,))):
        found, h = parameter.grad[entry].item(), 1e-5
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter[entry] += sign * h
                ends.append(model(batch).loss.item())
                parameter[entry] -= sign * h
        assert abs((ends[0] - ends[1]) / (2 * h) - found) < 1e-7


# ---------------------------------------------------------------- mixture with independent means and precisions
def mixture_step(x, alpha, q, prior=(0.0, 10.0, 2.0, 2.0)):
    """One round of coordinate ascent (Bishop 2006, section 10.2, with independent means and precisions): weights, means,
    precisions, each after responsibilities of its own."""
    m0, s0, a0, b0 = prior

    def responsibilities():
        conc, m, s, a, b = q
        score = digamma(conc) - digamma(conc.sum())
        tau, log_tau = a / b, digamma(a) - np.log(b)
        square = (x[:, None] - m) ** 2 + s**2
        score = score + 0.5 * (log_tau - math.log(2 * math.pi) - tau * square).sum(-1)
        return np.exp(score - np.logaddexp.reduce(score, axis=1, keepdims=True)), np.logaddexp.reduce(score, axis=1)

    r, _ = responsibilities()
    q = (alpha + r.sum(0), *q[1:])
    r, _ = responsibilities()
    tau = q[3] / q[4]
    precision = 1 / s0**2 + tau * r.sum(0)[:, None]
    m = (m0 / s0**2 + tau * np.einsum("nk,nd->kd", r, x)) / precision
    q = (q[0], m, precision**-0.5, *q[3:])
    r, _ = responsibilities()
    square = (x[:, None] - q[1]) ** 2 + q[2] ** 2
    q = (*q[:3], a0 + 0.5 * r.sum(0)[:, None] + 0 * q[4], b0 + 0.5 * np.einsum("nk,nkd->kd", r, square))
    _, local = responsibilities()
    return q, local.sum() - mixture_kl(q, alpha, prior)


def mixture_kl(q, alpha, prior):
    conc, m, s, a, b = q
    m0, s0, a0, b0 = prior
    log_w = digamma(conc) - digamma(conc.sum())
    weights = gammaln(conc.sum()) - gammaln(conc).sum() - gammaln(alpha.sum()) + gammaln(alpha).sum()
    weights += ((conc - alpha) * log_w).sum()
    means = (np.log(s0 / s) + (s**2 + (m - m0) ** 2) / (2 * s0**2) - 0.5).sum()
    taus = a0 * np.log(b / b0) - gammaln(a) + gammaln(a0) + (a - a0) * digamma(a) - (b - b0) * a / b
    return weights + means + taus.sum()


def mixture(seed, rows=30, D=2, K=4, text=DIAGONAL):
    model = made(text, seed, D=D, K=K, dataset_size=rows)
    random = np.random.default_rng(seed)
    x = random.normal(0, 3, (3, D))[random.integers(3, size=rows)] + random.normal(0, 0.6, (rows, D))
    return model, x


@pytest.mark.parametrize("seed", range(20))
def test_full_batch_coordinate_ascent_never_lowers_the_bound(seed):
    """And every round is the textbook's, its bound included."""
    model, x = mixture(seed)
    batch, alpha = model.prepare({"x": torch.tensor(x)}), softplus(model.sparsity)
    factors = model.shared_factors.factors()
    q = tuple(p.numpy().copy() for n in ("weights", "mu", "tau") for p in factors[n].parameters)
    before = -math.inf
    for step in range(25):
        model.ascend(batch)
        found = model(batch).elbo.sum().item()
        assert found >= before - 1e-9 * max(1, abs(found))
        before = found
        if step < 5:
            q, expected = mixture_step(x, alpha, q)
            assert abs(found - expected) < 1e-8 * max(1, abs(expected))
            shared = model.shared_factors.factors()
            mine = [p.numpy() for n in ("weights", "mu", "tau") for p in shared[n].parameters]
            for a, b in zip(mine, q, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-12)


def test_stochastic_steps_approach_the_full_batchs_bound():
    """Robbins-Monro steps on tenths of the data end within one per cent of coordinate ascent from the same start."""
    model, x = mixture(3, rows=200)
    other, _ = mixture(3, rows=200)
    whole = model.prepare({"x": torch.tensor(x)})
    for _ in range(200):
        model.ascend(whole)
    random = np.random.default_rng(0)
    for step in range(800):
        other.ascend({"x": torch.tensor(x[random.permutation(200)[:20]])}, (step + 1) ** -0.7)
    best, found = model(whole).elbo.mean().item(), other(whole).elbo.mean().item()
    assert abs(found - best) < 0.01 * abs(best)


# ---------------------------------------------------------------- mixture with a prior on mean and covariance together
def wishart_expectations(q):
    """E log weights, E log |precision|, and the parts that both share, of (concentration, loc, kappa, df, scale)."""
    conc, _, _, df, scale = q
    D = scale.shape[-1]
    halves = (df[:, None] - np.arange(D)) / 2
    log_det = digamma(halves).sum(1) + D * math.log(2) - np.linalg.slogdet(scale)[1]
    return digamma(conc) - digamma(conc.sum()), log_det


def wishart_responsibilities(x, q):
    """Bishop 2006, 10.46 and 10.64-10.67: r, and the log of what each row sums to."""
    _, m, kappa, df, scale = q
    log_w, log_det = wishart_expectations(q)
    gap = x[:, None] - m
    square = x.shape[1] / kappa + df * np.einsum("nki,kij,nkj->nk", gap, np.linalg.inv(scale), gap)
    score = log_w + 0.5 * (log_det - x.shape[1] * math.log(2 * math.pi) - square)
    total = np.logaddexp.reduce(score, axis=1)
    return np.exp(score - total[:, None]), total


def wishart_round(x, q, prior):
    """One round: the weights, then means and covariances, each after responsibilities of its own; and the bound."""
    alpha, m0, kappa0, df0, scale0 = prior
    r, _ = wishart_responsibilities(x, q)
    q = (alpha + r.sum(0), *q[1:])
    r, _ = wishart_responsibilities(x, q)
    n = r.sum(0)
    kappa, df = kappa0 + n, df0 + n  # 10.60-10.63
    m = (kappa0[:, None] * m0 + r.T @ x) / kappa[:, None]
    outer = np.einsum("nk,ni,nj->kij", r, x, x) + np.einsum("k,i,j->kij", kappa0, m0[0], m0[0])
    scale = scale0 + outer - np.einsum("k,ki,kj->kij", kappa, m, m)
    q = (q[0], m, kappa, df, scale)
    return q, wishart_responsibilities(x, q)[1].sum() - wishart_kl(q, prior)


def wishart_kl(q, p):
    """E_q log q - E_q log p, written out: Bishop 2006, 10.74 and 10.77 against 10.73 and 10.76."""
    return wishart_expected(q, q) - wishart_expected(q, p)


def wishart_expected(q, p):
    """E_q log p(weights, mu, precision), p = (concentration, loc, kappa, df, scale) of a Dirichlet and Gaussian-Wisharts."""
    alpha, m0, kappa0, df0, scale0 = p
    _, m, kappa, df, scale = q
    log_w, log_det = wishart_expectations(q)
    D, precision = m.shape[1], df[:, None, None] * np.linalg.inv(scale)
    total = gammaln(alpha.sum()) - gammaln(alpha).sum() + ((alpha - 1) * log_w).sum()
    square = D * kappa0 / kappa + kappa0 * np.einsum("ki,kij,kj->k", m - m0, precision, m - m0)
    total += 0.5 * (D * np.log(kappa0 / (2 * math.pi)) + log_det - square).sum()
    normaliser = df0 * D / 2 * math.log(2) - df0 / 2 * np.linalg.slogdet(scale0)[1]
    normaliser += D * (D - 1) / 4 * math.log(math.pi) + gammaln((df0[:, None] - np.arange(D)) / 2).sum(1)
    return total + (0.5 * (df0 - D - 1) * log_det - 0.5 * np.einsum("kij,kji->k", scale0, precision) - normaliser).sum()


def parameters(factors, names):
    return tuple(p.detach().numpy().copy() for n in names for p in factors[n].parameters)


@pytest.mark.parametrize("seed", range(20))
def test_full_batch_ascent_of_means_and_covariances_never_lowers_the_bound(seed):
    """And every round is the textbook's, its bound included."""
    model, x = mixture(seed, text=MIXTURE, D=1 + seed % 3)
    batch = model.prepare({"x": torch.tensor(x)})
    names = ("weights", "mu_Sigma")
    prior = parameters(model.shared_prior(), names)
    q, before = parameters(model.shared_factors.factors(), names), -math.inf
    for step in range(25):
        model.ascend(batch)
        found = model(batch).elbo.sum().item()
        assert found >= before - 1e-9 * max(1, abs(found))
        before = found
        if step < 5:
            q, expected = wishart_round(x, q, prior)
            assert abs(found - expected) < 1e-8 * max(1, abs(expected))
            for a, b in zip(parameters(model.shared_factors.factors(), names), q, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)


def test_random_batches_approach_the_full_batchs_bound():
    """Robbins-Monro steps on tenths of the data end within one per cent of coordinate ascent from the same start."""
    (model, x), (other, _) = (mixture(3, rows=200, text=MIXTURE) for _ in range(2))
    whole = model.prepare({"x": torch.tensor(x)})
    for _ in range(200):
        model.ascend(whole)
    random = np.random.default_rng(0)
    for step in range(800):
        other.ascend({"x": torch.tensor(x[random.permutation(200)[:20]])}, (step + 1) ** -0.7)
    best, found = model(whole).elbo.mean().item(), other(whole).elbo.mean().item()
    assert abs(found - best) < 0.01 * abs(best)


def test_the_fixed_point_is_that_of_scikit_learn():
    """The same priors, the same data, from its optimum on: nothing moves, and between two of its optima the bound changes by
    as much as its own, which leaves out constants."""
    from sklearn.mixture import BayesianGaussianMixture

    random = np.random.default_rng(0)
    x = random.normal(0, 3, (6, 2))[random.integers(6, size=80)] + random.normal(0, 0.6, (80, 2))
    model = made(MIXTURE, 0, D=2, K=6, dataset_size=80)
    prior = parameters(model.shared_prior(), ("weights", "mu_Sigma"))
    bounds = []
    for seed in range(6):
        theirs = BayesianGaussianMixture(
            n_components=6,
            covariance_type="full",
            weight_concentration_prior_type="dirichlet_distribution",
            weight_concentration_prior=prior[0][0],
            mean_prior=prior[1][0],
            mean_precision_prior=prior[2][0],
            degrees_of_freedom_prior=prior[3][0],
            covariance_prior=prior[4][0],
            reg_covar=0.0,
            init_params="random_from_data",
            random_state=seed,
            tol=1e-14,
            max_iter=20_000,
        ).fit(x)
        df = theirs.degrees_of_freedom_
        scale = theirs.covariances_ * df[:, None, None]
        found = (theirs.weight_concentration_, theirs.means_, theirs.mean_precision_, df, scale)
        for buffer, value in zip(model.shared_factors.buffers(), found, strict=True):
            buffer.copy_(torch.tensor(value))
        batch = model.prepare({"x": torch.tensor(x)})
        mine = model(batch).elbo.sum().item()
        model.ascend(batch)
        for a, b in zip(parameters(model.shared_factors.factors(), ("weights", "mu_Sigma")), found, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
        bounds.append((mine, theirs.lower_bound_))
    mine, other = np.array(bounds).T
    assert np.ptp(mine) > 1  # more than one optimum
    np.testing.assert_allclose(mine - mine[0], other - other[0], atol=1e-6)


# ---------------------------------------------------------------- others
@pytest.mark.parametrize("text", [ONLINE_LDA, BAYESIAN_HMM])
@pytest.mark.parametrize("seed", range(3))
def test_shared_factors_of_topics_and_chains_never_lower_the_bound(text, seed):
    overrides = {"theta": CONVERGED} if text is ONLINE_LDA else {}
    sizes = {"V": 5, "K": 3, "dataset_size": 5} if text is ONLINE_LDA else {"D": 2, "dataset_size": 5}
    model = made(text, seed, overrides, **sizes)
    if text is ONLINE_LDA:  # with sparse mixtures the rounds, which begin at the prior, may end in another optimum
        torch.nn.init.constant_(model.mixing, 1.0)
    batch = documents(seed)
    if text is BAYESIAN_HMM:
        generator = torch.Generator().manual_seed(seed)
        batch["x"] = torch.randn(5, 4, 2, dtype=torch.float64, generator=generator)
    batch = model.prepare(batch)
    found = []
    for _ in range(15):
        model.ascend(batch)
        found.append(model(batch).elbo.sum().item())
    assert all(b >= a - 1e-9 * max(1, abs(a)) for a, b in zip(found, found[1:], strict=False))
    assert found[-1] > found[0] + 1e-6


def log_beta(a, b):
    return gammaln(a) + gammaln(b) - gammaln(a + b)


CONJUGATE = {
    "bernoulli": (
        ("Beta(2, 3)", "Bernoulli(probs=theta)"),
        lambda x: log_beta(2 + x.sum(), 3 + (1 - x).sum()) - log_beta(2, 3),
    ),
    "poisson": (
        ("Gamma(2, 1.5)", "Poisson(theta)"),
        lambda x: (
            2 * math.log(1.5)
            - gammaln(2)
            + gammaln(2 + x.sum())
            - (2 + x.sum()) * math.log(1.5 + len(x))
            - gammaln(x + 1).sum()
        ),
    ),
    "exponential": (
        ("Gamma(2, 1.5)", "Exponential(theta)"),
        lambda x: 2 * math.log(1.5) - gammaln(2) + gammaln(2 + len(x)) - (2 + len(x)) * math.log(1.5 + x.sum()),
    ),
    "normal": (
        ("Normal(0.5, 2)", "Normal(theta, 0.7)"),
        lambda x: _gaussian(x - 0.5, 0.49 * np.eye(len(x)) + 4.0),
    ),
    "precision": (
        ("Gamma(2, 1.5)", "Normal(0.5, theta ** -0.5)"),
        lambda x: (
            2 * math.log(1.5)
            - gammaln(2)
            + gammaln(2 + len(x) / 2)
            - (2 + len(x) / 2) * math.log(1.5 + ((x - 0.5) ** 2).sum() / 2)
            - len(x) / 2 * math.log(2 * math.pi)
        ),
    ),
}


def _gaussian(x, covariance):
    if not len(x):
        return 0.0
    return -0.5 * (x @ np.linalg.solve(covariance, x) + np.linalg.slogdet(2 * math.pi * covariance)[1])


@pytest.mark.parametrize("name", CONJUGATE)
def test_the_bound_of_one_conjugate_latent_is_the_likelihood(name):
    families, exact = CONJUGATE[name]
    model = made(TIGHT % families)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    x = {"bernoulli": (x > 0).double(), "poisson": x.abs().round(), "exponential": x.abs()}.get(name, x)
    lengths = torch.tensor([4, 2, 0])
    values = x.long() if name in ("bernoulli", "poisson") else x
    found = model({"x": values, "t": lengths}).elbo.detach()
    for row, n in enumerate(lengths.tolist()):
        expected = float(exact(x[row, :n].numpy()))
        assert abs(found[row] - expected) < 1e-9 * max(1, abs(expected))


VERIFIED = [
    LDA,
    DIAGONAL,
    MIXTURE,
    ONLINE_LDA,
    BAYESIAN_HMM,
    *(TIGHT % f for f, _ in CONJUGATE.values()),
    *MODELS.values(),
]


@pytest.mark.parametrize("text", VERIFIED)
def test_the_verifier_agrees(text):
    plan = plan_spec(text)
    compiled = compile_spec(text, sizes=shrink(plan.spec), overrides=pins(plan))
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=1, draws=0)
    assert report.passed, [c for c in report.checks if not c.passed]


@pytest.mark.parametrize("wrong", ["torch.digamma(a)", "torch.digamma(a + 0.01) - torch.digamma("])
def test_a_planted_error_is_found_by_the_verifier(wrong):
    """Expected logarithms without their normaliser, or slightly off."""
    plan = plan_spec(LDA)
    compiled = compile_spec(LDA, sizes=shrink(plan.spec), overrides=pins(plan), standalone=True)
    right = "torch.digamma(a) - torch.digamma(a.sum(-1, keepdim=True))"
    assert right in compiled.source
    source = compiled.source.replace(right, wrong if not wrong.endswith("(") else wrong + "a.sum(-1, keepdim=True))")
    report = verify(compiled.spec, compiled.plan, load_module(source, compiled.spec).Model, seed=1, draws=0)
    assert not report.passed


def test_one_file_gives_the_same_bound():
    a, b = compile_spec(LDA), compile_spec(LDA, standalone=True)
    found = []
    for compiled in (a, b):
        torch.manual_seed(0)
        found.append(compiled.Model(V=5)(documents(0)).elbo)
    assert "lvspec.runtime" not in b.source.split('"""', 2)[2]
    assert torch.equal(*found)


DECLINED = {
    ("Normal(0, 1)", "Normal(tanh(theta), 1)"): "is not theta as it is",
    ("Gamma(1, 1)", "Normal(0, theta)"): "is not theta as it is",
    ("Normal(0, 1)", "Poisson(exp(theta))"): "is not theta as it is",
    ("Gamma(1, 1)", "Normal(theta, 1)"): "Gamma is not conjugate to `loc` of Normal",
    ("Laplace(0, 1)", "Normal(theta, 1)"): "Laplace is no prior",
    ("Normal(0, 1)", "Normal(theta, exp(theta))"): "x reads theta in 2 places",
}


@pytest.mark.parametrize("families", DECLINED)
def test_without_a_conjugate_pair_it_is_refused_with_the_reason(families):
    with pytest.raises(SpecError) as caught:
        plan_spec(TIGHT % families)
    assert DECLINED[families] in str(caught.value)


def test_the_planner_takes_it_before_it_samples():
    plan = plan_spec(LDA)
    assert plan.latent("theta").strategy == "mean_field" and plan.objective == "elbo"
    assert dict(plan.latent("theta").declined)["reparameterization"].startswith("legal")
