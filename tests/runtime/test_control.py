"""RELAX: unbiased for any control variate, which learns to make the gradient vary little."""

import sys

import pytest
import torch
from torch import nn

from lvspec.runtime import as_categorical, relax
from lvspec.runtime.estimators.relax import given_draw

F = torch.float64
ROWS = 100_000
LOGITS = torch.tensor([0.5, -0.3, 1.0], dtype=F)
WORTH = torch.tensor([1.0, -2.0, 0.7], dtype=F)


def network(seed=0, sites=1):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3 * sites, 8), nn.Tanh(), nn.Linear(8, 1)).double()


def exact(logits, worth):
    leaf = logits.clone().requires_grad_()
    return torch.autograd.grad((leaf.softmax(-1) * worth).sum(), leaf)[0]


def estimates(control, logits=LOGITS, rows=ROWS, seed=1, temperature=0.5):
    """The gradient of each row, (rows, K), at draws of its own."""
    torch.manual_seed(seed)
    leaf = logits.expand(rows, -1).clone().requires_grad_()
    z = torch.distributions.Categorical(logits=leaf.detach()).sample()[None]
    moved, fit = relax(leaf, z, WORTH[z], temperature, lambda point: control(point)[..., 0])
    return torch.autograd.grad(moved.sum(), leaf)[0], fit


def largest_z(found, truth):
    return ((found.mean(0) - truth).abs() / (found.std(0) / len(found) ** 0.5)).max().item()


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("temperature", [0.3, 2.0])
def test_the_mean_is_the_gradient_of_the_expectation_for_any_control(seed, temperature):
    control = network(seed)
    for weight in control.parameters():
        weight.data *= 3.0
    assert largest_z(estimates(control, temperature=temperature)[0], exact(LOGITS, WORTH)) < 5


def test_a_relaxed_draw_that_does_not_move_is_biased(monkeypatch):
    def still(log_alpha, chosen):
        return given_draw(log_alpha.detach(), chosen) + 0.0 * log_alpha

    monkeypatch.setattr(
        sys.modules["lvspec.runtime.estimators.relax"], "given_draw", still
    )  # the package has a function so named
    control = network()
    for weight in control.parameters():
        weight.data *= 3.0
    assert largest_z(estimates(control)[0], exact(LOGITS, WORTH)) > 10


def test_a_draw_given_its_largest_entry():
    """The chosen entry is the largest; averaged over the choice it is Gumbel noise on the logits."""
    torch.manual_seed(0)
    log_alpha = LOGITS.log_softmax(-1).expand(ROWS, -1)
    z = torch.distributions.Categorical(logits=log_alpha).sample()
    zeta = given_draw(log_alpha, torch.nn.functional.one_hot(z, 3).to(F))
    assert torch.equal(zeta.argmax(-1), z)
    noise = zeta - log_alpha
    euler = 0.5772156649015329
    assert ((noise.mean(0) - euler).abs() < 5 * (torch.pi**2 / 6 / ROWS) ** 0.5).all()
    assert ((noise.var(0) - torch.pi**2 / 6).abs() < 0.05).all()


def test_the_control_learns_to_make_the_gradient_vary_less_and_moves_nothing_else():
    control = network()
    before = estimates(control)[0].var(0).sum()
    optimizer = torch.optim.Adam(control.parameters(), 0.02)
    for step in range(300):
        leaf = LOGITS.expand(256, -1).clone().requires_grad_()
        torch.manual_seed(step)
        z = torch.distributions.Categorical(logits=leaf.detach()).sample()[None]
        moved, fit = relax(leaf, z, WORTH[z], 0.5, lambda point: control(point)[..., 0])
        assert torch.autograd.grad(fit.sum(), leaf, retain_graph=True, allow_unused=True)[0] is None
        found = torch.autograd.grad(moved.sum(), list(control.parameters()), retain_graph=True, allow_unused=True)
        assert all(g is None for g in found)
        optimizer.zero_grad()
        (-fit.mean()).backward()
        optimizer.step()
    after = estimates(control)[0].var(0).sum()
    torch.manual_seed(1)
    z = torch.distributions.Categorical(logits=LOGITS).sample((ROWS,))
    plain = WORTH[z][:, None] * (torch.nn.functional.one_hot(z, 3) - LOGITS.softmax(-1))
    assert after < 0.8 * before and after < 0.8 * plain.var(0).sum(), (before, after, plain.var(0).sum())


def test_impossible_values_and_no_gradient_mode():
    logits = torch.tensor([[0.3, -torch.inf, 0.1]], dtype=F, requires_grad=True)
    control = network()
    moved, fit = relax(logits, torch.tensor([[0], [2]]), torch.ones(2, 1, dtype=F), 0.5, lambda p: control(p)[..., 0])
    slope = torch.autograd.grad(moved.sum() + fit.sum(), logits)[0]
    assert slope.isfinite().all() and moved.isfinite().all() and fit.isfinite().all()
    with torch.no_grad():
        relax(logits, torch.tensor([[0]]), torch.ones(1, 1, dtype=F), 0.5, lambda p: control(p)[..., 0])


def test_truth_values_are_two_values():
    logits = torch.tensor([-1.0, 2.0], dtype=F)
    torch.testing.assert_close(as_categorical(logits).softmax(-1)[..., 1], logits.sigmoid())
