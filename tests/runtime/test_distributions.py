"""Densities, entropies, divergences and draws against torch.distributions."""

from __future__ import annotations

import math

import pytest
import torch
import torch.distributions as D

from lvspec import runtime as R

torch_of = {
    "bernoulli": lambda a: D.Bernoulli(logits=a[0]),
    "binomial": lambda a: D.Binomial(a[0], logits=a[1]),
    "geometric": lambda a: D.Geometric(logits=a[0]),
    "poisson": lambda a: D.Poisson(a[0]),
    "normal": lambda a: D.Normal(*a),
    "laplace": lambda a: D.Laplace(*a),
    "log_normal": lambda a: D.LogNormal(*a),
    "student_t": lambda a: D.StudentT(*a),
    "exponential": lambda a: D.Exponential(*a),
    "gamma": lambda a: D.Gamma(*a),
    "beta": lambda a: D.Beta(*a),
    "dirichlet": lambda a: D.Dirichlet(*a),
    "uniform": lambda a: D.Uniform(*a),
    "one_hot_categorical": lambda a: D.OneHotCategorical(logits=a[0]),
    "categorical": lambda a: D.Categorical(logits=a[0]),
}


def real(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def positive(*shape, seed=0):
    return real(*shape, seed=seed).exp() + 0.1


ARGUMENTS = {
    "bernoulli": lambda s: (real(4, seed=s),),
    "binomial": lambda s: (torch.tensor([1.0, 3.0, 5.0, 9.0], dtype=torch.float64), real(4, seed=s)),
    "geometric": lambda s: (real(4, seed=s),),
    "poisson": lambda s: (positive(4, seed=s),),
    "normal": lambda s: (real(4, seed=s), positive(4, seed=s + 9)),
    "laplace": lambda s: (real(4, seed=s), positive(4, seed=s + 9)),
    "log_normal": lambda s: (real(4, seed=s), positive(4, seed=s + 9)),
    "student_t": lambda s: (positive(4, seed=s) + 1, real(4, seed=s + 1), positive(4, seed=s + 9)),
    "exponential": lambda s: (positive(4, seed=s),),
    "gamma": lambda s: (positive(4, seed=s), positive(4, seed=s + 9)),
    "beta": lambda s: (positive(4, seed=s), positive(4, seed=s + 9)),
    "dirichlet": lambda s: (positive(4, 3, seed=s),),
    "uniform": lambda s: (real(4, seed=s), real(4, seed=s) + positive(4, seed=s + 9)),
    "one_hot_categorical": lambda s: (real(4, 3, seed=s),),
    "categorical": lambda s: (real(4, 3, seed=s),),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_log_density_and_its_gradient(name):
    arguments = tuple(a.requires_grad_(name != "binomial" or i > 0) for i, a in enumerate(ARGUMENTS[name](0)))
    peer = torch_of[name](arguments)
    torch.manual_seed(0)
    value = peer.sample((5,))
    found = getattr(R, f"{name}_log_prob")(value, *arguments)
    assert torch.allclose(found, peer.log_prob(value), rtol=1e-9, atol=1e-9)
    leaves = [a for a in arguments if a.requires_grad]
    for g, e in zip(
        torch.autograd.grad(found.sum(), leaves), torch.autograd.grad(peer.log_prob(value).sum(), leaves), strict=True
    ):
        assert torch.allclose(g, e, rtol=1e-8, atol=1e-8)


def test_borders_are_finite_or_minus_infinity_and_never_nan():
    one = torch.ones((), dtype=torch.float64)
    half = one / 2
    borders = [
        (R.bernoulli_log_prob, [0.0, 1.0], (half * 2000,)),
        (R.binomial_log_prob, [-1.0, 0.0, 3.0, 4.0], (3 * one, half)),
        (R.geometric_log_prob, [-1.0, 0.0], (half,)),
        (R.poisson_log_prob, [-1.0, 0.0], (half,)),
        (R.poisson_log_prob, [0.0, 1.0], (0 * one,)),
        (R.log_normal_log_prob, [-1.0, 0.0], (half, one)),
        (R.exponential_log_prob, [-1.0, 0.0], (half,)),
        (R.gamma_log_prob, [-1.0, 0.0], (one, one)),
        (R.gamma_log_prob, [0.0], (2 * one, one)),
        (R.beta_log_prob, [-0.1, 0.0, 1.0, 1.1], (one, one)),
        (R.beta_log_prob, [0.0, 1.0], (2 * one, 3 * one)),
        (R.uniform_log_prob, [-0.1, 0.0, 1.0, 1.1], (0 * one, one)),
        (R.student_t_log_prob, [1e8], (one, one, one)),
        (R.normal_log_prob, [1e8], (one, one)),
    ]
    for function, values, arguments in borders:
        for value in values:
            leaves = [a.clone().requires_grad_() for a in arguments]
            found = function(torch.tensor(value, dtype=torch.float64), *leaves)
            assert not found.isnan() and found != torch.inf, (function.__name__, value)
            if found.isfinite():
                for g in torch.autograd.grad(found, leaves, allow_unused=True):
                    assert g is None or not g.isnan(), (function.__name__, value)


@pytest.mark.parametrize("logits_of", [R.bernoulli_logits_from_probs, R.certain_logits_from_probs])
def test_probabilities_become_logits_that_are_safe_at_the_borders(logits_of):
    probs = torch.tensor([0.0, 0.25, 0.75, 1.0], dtype=torch.float64, requires_grad=True)
    logits = logits_of(probs)
    assert logits.isfinite().all() and torch.allclose(logits.sigmoid(), probs)
    assert R.bernoulli_log_prob(torch.ones(4, dtype=torch.float64), logits)[3] > -1e-12
    (g,) = torch.autograd.grad(logits.sum(), probs, retain_graph=True)
    assert g.isfinite().all()
    small = torch.tensor([1e-30], dtype=torch.float32)  # far below the distance of 1 to the number before it
    assert R.bernoulli_log_prob(torch.ones(1), logits_of(small)).item() == pytest.approx(-69.07755)
    row = R.logits_from_probs(probs)
    assert row[0] == -torch.inf and torch.allclose(row[1:].exp(), probs[1:])
    (g,) = torch.autograd.grad(row[1:].sum(), probs)
    assert g.isfinite().all()


def test_forbidden_categories_count_only_where_they_are_taken():
    logits = torch.tensor([0.0, -torch.inf, 1.0], requires_grad=True)
    value = R.one_hot_categorical_log_prob(torch.eye(3), logits)
    assert value[1] == -torch.inf and value[[0, 2]].isfinite().all()
    (g,) = torch.autograd.grad(value[[0, 2]].sum(), logits)
    assert g.isfinite().all()
    entropy = R.categorical_entropy(logits)
    assert entropy.item() == pytest.approx(D.Categorical(logits=torch.tensor([0.0, 1.0])).entropy().item())
    (g,) = torch.autograd.grad(entropy, logits)
    assert g.isfinite().all()
    other = torch.tensor([0.0, -torch.inf, 0.0], requires_grad=True)
    divergence = R.categorical_kl(logits, other)
    assert divergence.isfinite() and all(g.isfinite().all() for g in torch.autograd.grad(divergence, [logits, other]))
    assert R.categorical_kl(torch.zeros(3), other) == torch.inf


KL = [
    "normal",
    "categorical",
    "bernoulli",
    "log_normal",
    "laplace",
    "gamma",
    "exponential",
    "beta",
    "dirichlet",
    "poisson",
]


@pytest.mark.parametrize("name", [*KL, "one_hot_categorical"])
def test_divergences(name):
    q, p = ([a.requires_grad_() for a in ARGUMENTS[name](s)] for s in (0, 5))
    found = getattr(R, f"{name}_kl")(*q, *p)
    expected = D.kl_divergence(torch_of[name](q), torch_of[name](p))
    assert torch.allclose(found, expected, rtol=1e-9, atol=1e-9) and (found >= 0).all()
    leaves = [*q, *p]
    for g, e in zip(torch.autograd.grad(found.sum(), leaves), torch.autograd.grad(expected.sum(), leaves), strict=True):
        assert torch.allclose(g, e, rtol=1e-8, atol=1e-8)
    assert torch.allclose(getattr(R, f"{name}_kl")(*q, *q), torch.zeros(()).double(), atol=1e-12)


ENTROPY = [
    "categorical",
    "one_hot_categorical",
    "bernoulli",
    "normal",
    "laplace",
    "log_normal",
    "exponential",
    "gamma",
    "beta",
    "dirichlet",
]


@pytest.mark.parametrize("name", ENTROPY)
def test_entropies(name):
    arguments = ARGUMENTS[name](0)
    assert torch.allclose(getattr(R, f"{name}_entropy")(*arguments), torch_of[name](arguments).entropy(), rtol=1e-9)


REPARAMETERIZED = [
    "normal",
    "laplace",
    "log_normal",
    "student_t",
    "exponential",
    "gamma",
    "beta",
    "dirichlet",
    "uniform",
]


@pytest.mark.parametrize("name", REPARAMETERIZED)
def test_draws_have_the_right_moments_and_are_functions_of_the_noise(name):
    torch.manual_seed(0)
    arguments = ARGUMENTS[name](0)
    if name == "student_t":
        arguments = (arguments[0] + 5, *arguments[1:])
    if name == "log_normal":
        arguments = (arguments[0], arguments[1].clamp_max(0.5))  # a heavy tail has no variance to be seen
    noise = getattr(R, f"{name}_noise")(*arguments, samples_shape=(100_000,))
    value = getattr(R, f"{name}_draw")(*arguments, noise)
    peer = torch_of[name](arguments)
    error = (peer.variance / 100_000).sqrt()
    # 5.2 standard errors: a family-wise false-alarm rate below 1e-6 over a handful of coordinates
    assert ((value.mean(0) - peer.mean).abs() < 5.2 * error).all()
    assert torch.allclose(value.var(0), peer.variance, rtol=0.1)
    assert torch.equal(value, getattr(R, f"{name}_draw")(*arguments, noise))
    assert getattr(R, f"{name}_draw")(*arguments).shape == peer.sample().shape


@pytest.mark.parametrize("name", REPARAMETERIZED)
def test_pathwise_gradients_differentiate_the_mean(name):
    """The gradient of E f(value), averaged over draws, against the one that torch's own rsample gives."""
    torch.manual_seed(0)
    arguments = [a.requires_grad_() for a in ARGUMENTS[name](0)]
    if name == "student_t":
        arguments[0] = (arguments[0].detach() + 5).requires_grad_()
    if name == "log_normal":
        arguments[1] = (0.3 * arguments[1].detach()).requires_grad_()
    n = 200_000
    noise = getattr(R, f"{name}_noise")(*arguments, samples_shape=(n,))
    assert not noise.requires_grad
    slopes = []
    for value in (getattr(R, f"{name}_draw")(*arguments, noise), torch_of[name](arguments).rsample((n,))):
        weights = torch.linspace(0.5, 1.5, value[0].numel(), dtype=torch.float64).reshape(value[0].shape)
        found = torch.autograd.grad((torch.tanh(value) * weights).mean(0).sum(), arguments)
        slopes.append(torch.cat([g.flatten() for g in found]))
    assert torch.allclose(slopes[0], slopes[1], rtol=0.05, atol=0.01)


def test_implicit_gradients_equal_torchs_at_the_same_value():
    a, b = (x.requires_grad_() for x in ARGUMENTS["gamma"](0))
    torch.manual_seed(1)
    peer = D.Gamma(a, b).rsample()
    want = torch.autograd.grad(peer.sum(), [a, b])
    got = torch.autograd.grad(R.gamma_draw(a, b, peer.detach()).sum(), [a, b])
    assert all(torch.allclose(g, e, rtol=1e-6) for g, e in zip(got, want, strict=True))
    (c,) = (x.requires_grad_() for x in ARGUMENTS["dirichlet"](0))
    peer = D.Dirichlet(c).rsample()
    weights = real(*peer.shape, seed=3)
    want = torch.autograd.grad((peer * weights).sum(), c)[0]
    got = torch.autograd.grad((R.dirichlet_draw(c, peer.detach()) * weights).sum(), c)[0]
    assert torch.allclose(got, want, rtol=1e-6)
    a, b = (x.requires_grad_() for x in ARGUMENTS["beta"](0))
    peer = D.Beta(a, b).rsample()
    want = torch.autograd.grad(peer.sum(), [a, b])
    got = torch.autograd.grad(R.beta_draw(a, b, peer.detach()).sum(), [a, b])
    assert all(torch.allclose(g, e, rtol=1e-5) for g, e in zip(got, want, strict=True))


@pytest.mark.parametrize("name", ["bernoulli", "binomial", "geometric", "poisson"])
def test_counts_have_the_right_moments(name):
    torch.manual_seed(0)
    arguments = ARGUMENTS[name](0)
    value = getattr(R, f"{name}_draw")(*arguments, samples_shape=(100_000,))
    peer = torch_of[name](arguments)
    assert value.dtype == torch.int64
    assert ((value.double().mean(0) - peer.mean).abs() < 5.2 * (peer.variance / 100_000).sqrt()).all()


def test_categories_are_drawn_in_proportion_and_forbidden_ones_never():
    torch.manual_seed(0)
    logits = torch.tensor([[0.0, 1.0, -torch.inf], [3.0, -torch.inf, 3.0]])
    drawn = R.categorical_draw(logits, (100_000,))
    frequency = torch.nn.functional.one_hot(drawn, 3).double().mean(0)
    assert drawn.dtype == torch.int64 and drawn.shape == (100_000, 2)
    assert (frequency - logits.softmax(-1)).abs().max() < 5.2 * 0.5 / math.sqrt(100_000)
    assert (frequency[logits == -torch.inf] == 0).all()
    hot = R.one_hot_categorical_draw(logits)
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
    assert torch.allclose(R.normal_log_prob(value, 0.0, 1.0), D.Normal(0.0, 1.0).log_prob(value))
    assert torch.allclose(R.laplace_log_prob(value, 0.0, 2.0), D.Laplace(0.0, 2.0).log_prob(value))
    assert torch.allclose(R.gamma_log_prob(value.exp(), 2.0, 1.0), D.Gamma(2 * one, one).log_prob(value.exp()))
    assert torch.allclose(R.student_t_log_prob(value, 3.0, 0.0, 1.0), D.StudentT(3.0).log_prob(value))
