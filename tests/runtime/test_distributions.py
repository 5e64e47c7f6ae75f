"""Densities, entropies, divergences and draws against torch.distributions."""

from __future__ import annotations

import math

import pytest
import torch
import torch.distributions as D

from lvspec import runtime as R

torch_of = {
    "Bernoulli": lambda a: D.Bernoulli(logits=a[0]),
    "Binomial": lambda a: D.Binomial(a[0], logits=a[1]),
    "Geometric": lambda a: D.Geometric(logits=a[0]),
    "Poisson": lambda a: D.Poisson(a[0]),
    "NegativeBinomial": lambda a: D.NegativeBinomial(a[0], logits=a[1]),
    "HalfNormal": lambda a: D.HalfNormal(*a),
    "HalfCauchy": lambda a: D.HalfCauchy(*a),
    "Cauchy": lambda a: D.Cauchy(*a),
    "Weibull": lambda a: D.Weibull(*a),
    "Normal": lambda a: D.Normal(*a),
    "Laplace": lambda a: D.Laplace(*a),
    "LogNormal": lambda a: D.LogNormal(*a),
    "StudentT": lambda a: D.StudentT(*a),
    "Exponential": lambda a: D.Exponential(*a),
    "Gamma": lambda a: D.Gamma(*a),
    "Beta": lambda a: D.Beta(*a),
    "Dirichlet": lambda a: D.Dirichlet(*a),
    "Uniform": lambda a: D.Uniform(*a),
    "OneHotCategorical": lambda a: D.OneHotCategorical(logits=a[0]),
    "Categorical": lambda a: D.Categorical(logits=a[0]),
}


def real(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def positive(*shape, seed=0):
    return real(*shape, seed=seed).exp() + 0.1


ARGUMENTS = {
    "Bernoulli": lambda s: (real(4, seed=s),),
    "Binomial": lambda s: (torch.tensor([1.0, 3.0, 5.0, 9.0], dtype=torch.float64), real(4, seed=s)),
    "Geometric": lambda s: (real(4, seed=s),),
    "Poisson": lambda s: (positive(4, seed=s),),
    "NegativeBinomial": lambda s: (positive(4, seed=s), real(4, seed=s + 9)),
    "HalfNormal": lambda s: (positive(4, seed=s),),
    "HalfCauchy": lambda s: (positive(4, seed=s),),
    "Cauchy": lambda s: (real(4, seed=s), positive(4, seed=s + 9)),
    "Weibull": lambda s: (positive(4, seed=s), positive(4, seed=s + 9)),
    "Normal": lambda s: (real(4, seed=s), positive(4, seed=s + 9)),
    "Laplace": lambda s: (real(4, seed=s), positive(4, seed=s + 9)),
    "LogNormal": lambda s: (real(4, seed=s), positive(4, seed=s + 9)),
    "StudentT": lambda s: (positive(4, seed=s) + 1, real(4, seed=s + 1), positive(4, seed=s + 9)),
    "Exponential": lambda s: (positive(4, seed=s),),
    "Gamma": lambda s: (positive(4, seed=s), positive(4, seed=s + 9)),
    "Beta": lambda s: (positive(4, seed=s), positive(4, seed=s + 9)),
    "Dirichlet": lambda s: (positive(4, 3, seed=s),),
    "Uniform": lambda s: (real(4, seed=s), real(4, seed=s) + positive(4, seed=s + 9)),
    "OneHotCategorical": lambda s: (real(4, 3, seed=s),),
    "Categorical": lambda s: (real(4, 3, seed=s),),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_log_density_and_its_gradient(name):
    arguments = tuple(a.requires_grad_(name != "Binomial" or i > 0) for i, a in enumerate(ARGUMENTS[name](0)))
    peer = torch_of[name](arguments)
    torch.manual_seed(0)
    value = peer.sample((5,))
    found = getattr(R, name)(*arguments).log_prob(value)
    assert torch.allclose(found, peer.log_prob(value), rtol=1e-9, atol=1e-9)
    leaves = [a for a in arguments if a.requires_grad]
    for g, e in zip(
        torch.autograd.grad(found.sum(), leaves), torch.autograd.grad(peer.log_prob(value).sum(), leaves), strict=True
    ):
        assert torch.allclose(g, e, rtol=1e-8, atol=1e-8)


def test_densities_are_those_of_scipy():
    """Also far from the middle."""
    stats = pytest.importorskip("scipy.stats")
    x = torch.logspace(-2, 2, 9, dtype=torch.float64)[:, None, None]
    scale = x[:, 0]
    count = torch.arange(40, dtype=torch.float64)
    probs = torch.tensor([2**-20, 0.25, 1 - 2**-20], dtype=torch.float64)  # which have 1 - probs among the numbers
    pairs = [
        (R.HalfNormal(scale).log_prob(x), stats.halfnorm.logpdf(x, scale=scale)),
        (R.Weibull(scale, 0.2 + 2 * probs).log_prob(x), stats.weibull_min.logpdf(x, 0.2 + 2 * probs, scale=scale)),
        (
            R.NegativeBinomial(x, torch.logit(probs)[:, None]).log_prob(count),
            stats.nbinom.logpmf(count, x, 1 - probs[:, None]),
        ),
    ]
    for found, expected in pairs:
        torch.testing.assert_close(found, torch.as_tensor(expected), rtol=1e-12, atol=1e-12)


def test_a_gate_adds_to_the_zeros_alone():
    gate, rate = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.3, 2.5))
    count = torch.arange(40, dtype=torch.float64)
    found = R.ZeroInflatedPoisson(gate, rate).log_prob(count)
    expected = ((1 - gate) * D.Poisson(rate).log_prob(count).exp() + gate * (count == 0)).log()
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for f, e in zip(*(torch.autograd.grad(v.sum(), [gate, rate]) for v in (found, expected)), strict=True):
        torch.testing.assert_close(f, e, rtol=1e-12, atol=1e-12)
    sure = R.ZeroInflatedPoisson(torch.tensor([0.0, 1.0]).double(), rate.detach()).log_prob(count[:, None])
    torch.testing.assert_close(sure[:, 0], D.Poisson(rate.detach()).log_prob(count))
    assert sure[0, 1] == 0
    assert (sure[1:, 1] == -torch.inf).all()
    torch.manual_seed(0)
    drawn = R.ZeroInflatedPoisson(gate, rate).sample((100_000,))
    frequency = torch.bincount(drawn, minlength=40).double() / 100_000
    assert drawn.dtype == torch.int64
    assert ((frequency - found.exp()).abs() < 5.2 * 0.5 / math.sqrt(100_000)).all()


GATED = {
    "HurdlePoisson": (0.3, 2.5),
    "HurdlePoisson that is hardly above 0": (0.3, 0.01),
    "ZeroInflatedNegativeBinomial": (0.3, 2.5, 0.4),
}


@pytest.mark.parametrize("case", GATED)
def test_counts_behind_a_gate(case):
    gate, *others = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in GATED[case])
    count = torch.arange(150, dtype=torch.float64)
    family = case.partition(" ")[0]
    found = getattr(R, family)(gate, *others).log_prob(count)
    if family == "HurdlePoisson":
        above = (1 - gate) * D.Poisson(others[0]).log_prob(count).exp() / (1 - (-others[0]).exp())
        expected = torch.where(count == 0, gate, above)
    else:
        counted = D.NegativeBinomial(others[0], logits=others[1]).log_prob(count).exp()
        expected = (1 - gate) * counted + gate * (count == 0)
    torch.testing.assert_close(found.exp(), expected, rtol=1e-12, atol=1e-14)
    assert float(found.exp().sum().detach()) == pytest.approx(1, abs=1e-9)
    first, wanted = found[:4], expected[:4].log()
    slopes = [torch.autograd.grad(v.sum(), [gate, *others], retain_graph=True) for v in (first, wanted)]
    for f, e in zip(*slopes, strict=True):
        torch.testing.assert_close(f, e, rtol=1e-9, atol=1e-9)
    torch.manual_seed(0)
    drawn = getattr(R, family)(gate, *others).sample((100_000,))
    frequency = torch.bincount(drawn, minlength=150).double()[:150] / 100_000
    assert drawn.dtype == torch.int64
    assert ((frequency - found.exp()).abs() < 5.2 * 0.5 / math.sqrt(100_000)).all()


def test_borders_are_finite_or_minus_infinity_and_never_nan():
    one = torch.ones((), dtype=torch.float64)
    half = one / 2
    borders = [
        (R.Bernoulli, [0.0, 1.0], (half * 2000,)),
        (R.Binomial, [-1.0, 0.0, 3.0, 4.0], (3 * one, half)),
        (R.Geometric, [-1.0, 0.0], (half,)),
        (R.Poisson, [-1.0, 0.0], (half,)),
        (R.Poisson, [0.0, 1.0], (0 * one,)),
        (R.NegativeBinomial, [-1.0, 0.0, 3.0], (half, half)),
        (R.NegativeBinomial, [0.0, 3.0], (half, -1e30 * one)),
        (R.NegativeBinomial, [0.0, 3.0], (half, 1e30 * one)),
        (R.ZeroInflatedPoisson, [-1.0, 0.0, 3.0], (half, half)),
        (R.ZeroInflatedPoisson, [0.0, 3.0], (0 * one, 800 * one)),
        (R.ZeroInflatedPoisson, [0.0, 3.0], (one, half)),
        (R.HurdlePoisson, [-1.0, 0.0, 1.0, 3.0], (half, half)),
        (R.HurdlePoisson, [0.0, 1.0, 3.0], (0 * one, 1e-300 * one)),
        (R.HurdlePoisson, [0.0, 800.0], (half, 800 * one)),
        (R.HurdlePoisson, [0.0, 3.0], (one, half)),
        (R.ZeroInflatedNegativeBinomial, [-1.0, 0.0, 3.0], (half, half, half)),
        (R.ZeroInflatedNegativeBinomial, [0.0, 3.0], (0 * one, 800 * one, half)),
        (R.ZeroInflatedNegativeBinomial, [0.0, 3.0], (one, half, -half)),
        (R.HalfNormal, [-1.0, 0.0], (half,)),
        (R.HalfCauchy, [-1.0, 0.0, 1e-300, 1e200], (half,)),
        (R.Cauchy, [-1e200, 0.5, 1e-300, 1e200], (half, one)),
        (R.TruncatedNormal, [-1.1, -1.0, 0.5, 1.0, 1.1], (0 * one, one, -one, one)),
        (R.TruncatedNormal, [29.9, 30.0, 31.0], (0 * one, one, 30 * one, 31 * one)),
        (R.TruncatedNormal, [0.0, 1e-9], (0 * one, 1e9 * one, 0 * one, 1e-9 * one)),
        (R.Weibull, [-1.0, 0.0], (half, one)),
        (R.Weibull, [0.0], (half, 2 * one)),
        (R.LogNormal, [-1.0, 0.0], (half, one)),
        (R.Exponential, [-1.0, 0.0], (half,)),
        (R.Gamma, [-1.0, 0.0], (one, one)),
        (R.Gamma, [0.0], (2 * one, one)),
        (R.Beta, [-0.1, 0.0, 1.0, 1.1], (one, one)),
        (R.Beta, [0.0, 1.0], (2 * one, 3 * one)),
        (R.Uniform, [-0.1, 0.0, 1.0, 1.1], (0 * one, one)),
        (R.StudentT, [1e8], (one, one, one)),
        (R.Normal, [1e8], (one, one)),
    ]
    for family, values, arguments in borders:
        for value in values:
            leaves = [a.clone().requires_grad_() for a in arguments]
            found = family(*leaves).log_prob(torch.tensor(value, dtype=torch.float64))
            assert not found.isnan() and found != torch.inf, (family.__name__, value)
            if found.isfinite():
                for g in torch.autograd.grad(found, leaves, allow_unused=True):
                    assert g is None or not g.isnan(), (family.__name__, value)


@pytest.mark.parametrize("logits_of", [R.bernoulli_logits_from_probs, R.certain_logits_from_probs])
def test_probabilities_become_logits_that_are_safe_at_the_borders(logits_of):
    probs = torch.tensor([0.0, 0.25, 0.75, 1.0], dtype=torch.float64, requires_grad=True)
    logits = logits_of(probs)
    assert logits.isfinite().all() and torch.allclose(logits.sigmoid(), probs)
    assert R.Bernoulli(logits).log_prob(torch.ones(4, dtype=torch.float64))[3] > -1e-12
    (g,) = torch.autograd.grad(logits.sum(), probs, retain_graph=True)
    assert g.isfinite().all()
    small = torch.tensor([1e-30], dtype=torch.float32)  # far below the distance of 1 to the number before it
    assert R.Bernoulli(logits_of(small)).log_prob(torch.ones(1)).item() == pytest.approx(-69.07755)
    row = R.logits_from_probs(probs)
    assert row[0] == -torch.inf and torch.allclose(row[1:].exp(), probs[1:])
    (g,) = torch.autograd.grad(row[1:].sum(), probs)
    assert g.isfinite().all()


def test_forbidden_categories_count_only_where_they_are_taken():
    logits = torch.tensor([0.0, -torch.inf, 1.0], requires_grad=True)
    value = R.OneHotCategorical(logits).log_prob(torch.eye(3))
    assert value[1] == -torch.inf and value[[0, 2]].isfinite().all()
    (g,) = torch.autograd.grad(value[[0, 2]].sum(), logits)
    assert g.isfinite().all()
    entropy = R.Categorical(logits).entropy()
    assert entropy.item() == pytest.approx(D.Categorical(logits=torch.tensor([0.0, 1.0])).entropy().item())
    (g,) = torch.autograd.grad(entropy, logits)
    assert g.isfinite().all()
    other = torch.tensor([0.0, -torch.inf, 0.0], requires_grad=True)
    divergence = R.Categorical(logits).kl(R.Categorical(other))
    assert divergence.isfinite() and all(g.isfinite().all() for g in torch.autograd.grad(divergence, [logits, other]))
    assert R.Categorical(torch.zeros(3)).kl(R.Categorical(other)) == torch.inf


KL = [
    "Cauchy",
    "Normal",
    "Categorical",
    "Bernoulli",
    "LogNormal",
    "Laplace",
    "Gamma",
    "Exponential",
    "Beta",
    "Dirichlet",
    "Poisson",
]


@pytest.mark.parametrize("name", [*KL, "OneHotCategorical"])
def test_divergences(name):
    q, p = ([a.requires_grad_() for a in ARGUMENTS[name](s)] for s in (0, 5))
    found = getattr(R, name)(*q).kl(getattr(R, name)(*p))
    expected = D.kl_divergence(torch_of[name](q), torch_of[name](p))
    assert torch.allclose(found, expected, rtol=1e-9, atol=1e-9) and (found >= 0).all()
    leaves = [*q, *p]
    for g, e in zip(torch.autograd.grad(found.sum(), leaves), torch.autograd.grad(expected.sum(), leaves), strict=True):
        assert torch.allclose(g, e, rtol=1e-8, atol=1e-8)
    assert torch.allclose(getattr(R, name)(*q).kl(getattr(R, name)(*q)), torch.zeros(()).double(), atol=1e-12)


def test_rates_of_zero_have_divergences():
    q = torch.tensor([0.0, 0.0, 1.5], dtype=torch.float64, requires_grad=True)
    p = torch.tensor([0.0, 0.7, 0.0], dtype=torch.float64, requires_grad=True)
    found = R.Poisson(q).kl(R.Poisson(p))
    assert found.tolist() == [0, 0.7, torch.inf]
    assert all(g[:2].isfinite().all() for g in torch.autograd.grad(found[:2].sum(), [q, p]))


ENTROPY = [
    "Cauchy",
    "HalfCauchy",
    "HalfNormal",
    "Categorical",
    "OneHotCategorical",
    "Bernoulli",
    "Normal",
    "Laplace",
    "LogNormal",
    "Exponential",
    "Gamma",
    "Beta",
    "Dirichlet",
]


@pytest.mark.parametrize("name", ENTROPY)
def test_entropies(name):
    arguments = ARGUMENTS[name](0)
    assert torch.allclose(getattr(R, name)(*arguments).entropy(), torch_of[name](arguments).entropy(), rtol=1e-9)


REPARAMETERIZED = [
    "HalfNormal",
    "Weibull",
    "Normal",
    "Laplace",
    "LogNormal",
    "StudentT",
    "Exponential",
    "Gamma",
    "Beta",
    "Dirichlet",
    "Uniform",
]


@pytest.mark.parametrize("name", REPARAMETERIZED)
def test_draws_have_the_right_moments_and_are_functions_of_the_noise(name):
    torch.manual_seed(0)
    arguments = ARGUMENTS[name](0)
    if name == "StudentT":
        arguments = (arguments[0] + 5, *arguments[1:])
    if name == "LogNormal":
        arguments = (arguments[0], arguments[1].clamp_max(0.5))  # a heavy tail has no variance to be seen
    noise = getattr(R, name)(*arguments).noise((100_000,))
    value = getattr(R, name)(*arguments).draw(noise)
    peer = torch_of[name](arguments)
    error = (peer.variance / 100_000).sqrt()
    # 5.2 standard errors: a family-wise false-alarm rate below 1e-6 over a handful of coordinates
    assert ((value.mean(0) - peer.mean).abs() < 5.2 * error).all()
    assert torch.allclose(value.var(0), peer.variance, rtol=0.1)
    assert torch.equal(value, getattr(R, name)(*arguments).draw(noise))
    assert getattr(R, name)(*arguments).draw().shape == peer.sample().shape


@pytest.mark.parametrize("name", [*REPARAMETERIZED, "Cauchy", "HalfCauchy"])
def test_pathwise_gradients_differentiate_the_mean(name):
    """The gradient of E f(value), averaged over draws, against the one that torch's own rsample gives."""
    torch.manual_seed(0)
    arguments = [a.requires_grad_() for a in ARGUMENTS[name](0)]
    if name == "StudentT":
        arguments[0] = (arguments[0].detach() + 5).requires_grad_()
    if name == "LogNormal":
        arguments[1] = (0.3 * arguments[1].detach()).requires_grad_()
    n = 200_000
    noise = getattr(R, name)(*arguments).noise((n,))
    assert not noise.requires_grad
    slopes = []
    for value in (getattr(R, name)(*arguments).draw(noise), torch_of[name](arguments).rsample((n,))):
        weights = torch.linspace(0.5, 1.5, value[0].numel(), dtype=torch.float64).reshape(value[0].shape)
        found = torch.autograd.grad((torch.tanh(value) * weights).mean(0).sum(), arguments)
        slopes.append(torch.cat([g.flatten() for g in found]))
    assert torch.allclose(slopes[0], slopes[1], rtol=0.05, atol=0.01)


ENDS = {  # loc, scale, low, high
    "around the middle": (0.3, 1.2, -1.0, 2.0),
    "a tail": (0.0, 1.0, 5.0, 6.0),
    "a far tail": (0.0, 1.0, -31.0, -30.0),
    "one end": (-0.5, 2.0, 0.0, 1e9),
    "a far tail with one end": (-200.0, 1.0, 0.0, 1e9),
    "hardly cut": (0.0, 1.0, -1e100, 1e100),
}


@pytest.mark.parametrize("case", ENDS)
def test_a_normal_between_two_ends_is_that_of_scipy(case):
    """Values, and gradients against differences of what scipy gives."""
    truncnorm = pytest.importorskip("scipy.stats").truncnorm
    given = ENDS[case]

    def peer(loc, scale, low, high):
        return truncnorm((low - loc) / scale, (high - loc) / scale, loc, scale)

    leaves = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in given]
    q = R.TruncatedNormal(*leaves)
    u = torch.tensor([1e-9, 0.1, 0.5, 0.9, 1 - 1e-9], dtype=torch.float64)
    x = q.draw(u)
    torch.testing.assert_close(x.detach(), torch.as_tensor(peer(*given).ppf(u)), rtol=1e-9, atol=1e-9)
    log_p = q.log_prob(x.detach()[1:4])
    torch.testing.assert_close(
        log_p.detach(), torch.as_tensor(peer(*given).logpdf(x.detach()[1:4])), rtol=1e-9, atol=1e-9
    )
    assert float(q.mean.detach()) == pytest.approx(peer(*given).mean(), rel=1e-9, abs=1e-12)
    slopes = [torch.autograd.grad(v.sum(), leaves) for v in (x[1:4], log_p)]
    for i, value in enumerate(given):
        step = 1e-6 * max(1.0, abs(value))
        above, below = (peer(*given[:i], value + s, *given[i + 1 :]) for s in (step, -step))
        of_draws = (above.ppf(u[1:4]) - below.ppf(u[1:4])).sum() / (2 * step)
        of_density = (above.logpdf(x.detach()[1:4]) - below.logpdf(x.detach()[1:4])).sum() / (2 * step)
        assert float(slopes[0][i]) == pytest.approx(of_draws, rel=1e-5, abs=1e-6)
        assert float(slopes[1][i]) == pytest.approx(of_density, rel=1e-5, abs=1e-4)


def test_a_normal_between_two_close_ends_is_uniform():
    one = torch.ones((), dtype=torch.float64)
    q = R.TruncatedNormal(0 * one, 1e9 * one, 3 * one, 4 * one)
    assert float(q.mean) == pytest.approx(3.5, abs=1e-12)
    assert float(q.entropy()) == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(q.log_prob(torch.tensor([3.0, 3.7, 4.0]).double()), torch.zeros(3).double())
    torch.testing.assert_close(
        q.draw(torch.tensor([0.1, 0.9]).double()), torch.tensor([3.1, 3.9]).double(), atol=1e-6, rtol=0
    )


def test_the_entropy_between_two_ends_is_the_mean_of_the_log_density():
    u = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    for loc, scale, low, high in ENDS.values():
        q = R.TruncatedNormal(*(torch.tensor(v, dtype=torch.float64) for v in (loc, scale, low, high)))
        assert float(q.entropy()) == pytest.approx(-float(q.log_prob(q.draw(u)).mean()), abs=1e-4)


def test_implicit_gradients_equal_torchs_at_the_same_value():
    a, b = (x.requires_grad_() for x in ARGUMENTS["Gamma"](0))
    torch.manual_seed(1)
    peer = D.Gamma(a, b).rsample()
    want = torch.autograd.grad(peer.sum(), [a, b])
    got = torch.autograd.grad(R.Gamma(a, b).draw(peer.detach()).sum(), [a, b])
    assert all(torch.allclose(g, e, rtol=1e-6) for g, e in zip(got, want, strict=True))
    (c,) = (x.requires_grad_() for x in ARGUMENTS["Dirichlet"](0))
    peer = D.Dirichlet(c).rsample()
    weights = real(*peer.shape, seed=3)
    want = torch.autograd.grad((peer * weights).sum(), c)[0]
    got = torch.autograd.grad((R.Dirichlet(c).draw(peer.detach()) * weights).sum(), c)[0]
    assert torch.allclose(got, want, rtol=1e-6)
    a, b = (x.requires_grad_() for x in ARGUMENTS["Beta"](0))
    peer = D.Beta(a, b).rsample()
    want = torch.autograd.grad(peer.sum(), [a, b])
    got = torch.autograd.grad(R.Beta(a, b).draw(peer.detach()).sum(), [a, b])
    assert all(torch.allclose(g, e, rtol=1e-5) for g, e in zip(got, want, strict=True))


@pytest.mark.parametrize("name", ["Bernoulli", "Binomial", "Geometric", "Poisson", "NegativeBinomial"])
def test_counts_have_the_right_moments(name):
    torch.manual_seed(0)
    arguments = ARGUMENTS[name](0)
    value = getattr(R, name)(*arguments).sample((100_000,))
    peer = torch_of[name](arguments)
    assert value.dtype == torch.int64
    assert ((value.double().mean(0) - peer.mean).abs() < 5.2 * (peer.variance / 100_000).sqrt()).all()


def test_categories_are_drawn_in_proportion_and_forbidden_ones_never():
    torch.manual_seed(0)
    logits = torch.tensor([[0.0, 1.0, -torch.inf], [3.0, -torch.inf, 3.0]])
    drawn = R.Categorical(logits).sample((100_000,))
    frequency = torch.nn.functional.one_hot(drawn, 3).double().mean(0)
    assert drawn.dtype == torch.int64 and drawn.shape == (100_000, 2)
    assert (frequency - logits.softmax(-1)).abs().max() < 5.2 * 0.5 / math.sqrt(100_000)
    assert (frequency[logits == -torch.inf] == 0).all()
    hot = R.OneHotCategorical(logits).sample()
    assert hot.shape == (2, 3) and hot.dtype == logits.dtype and (hot.sum(-1) == 1).all()


def test_leave_one_out_subtracts_the_mean_of_the_others():
    cost = real(4, 3)
    found = R.leave_one_out(cost)
    for s in range(4):
        others = torch.cat([cost[:s], cost[s + 1 :]]).mean(0)
        assert torch.allclose(found[s], cost[s] - others)
    with pytest.raises(ValueError, match="two samples"):
        R.leave_one_out(cost[:1])


def test_numbers_may_stand_for_tensors():
    value, one = real(3), torch.ones((), dtype=torch.float64)
    assert torch.allclose(R.Normal(0.0, 1.0).log_prob(value), D.Normal(0.0, 1.0).log_prob(value))
    assert torch.allclose(R.Laplace(0.0, 2.0).log_prob(value), D.Laplace(0.0, 2.0).log_prob(value))
    assert torch.allclose(R.Gamma(2.0, 1.0).log_prob(value.exp()), D.Gamma(2 * one, one).log_prob(value.exp()))
    assert torch.allclose(R.StudentT(3.0, 0.0, 1.0).log_prob(value), D.StudentT(3.0).log_prob(value))


def test_a_value_far_from_all_components_is_drawn_where_it_is():
    loc = torch.tensor([[-13.0, 0.0], [-12.0, 0.0]], requires_grad=True)
    q = R.NormalMixture(torch.zeros(2), loc, 0.5 * torch.ones(2, 2))
    value = torch.tensor([0.3, -0.2])
    found = q.draw(value)
    torch.testing.assert_close(found, value)
    (slope,) = torch.autograd.grad(found.sum(), loc)
    assert slope.isfinite().all()
