"""Concrete draws and their densities, against torch.distributions and by quadrature."""

import pytest
import torch
from torch.distributions.relaxed_bernoulli import LogitRelaxedBernoulli
from torch.distributions.relaxed_categorical import ExpRelaxedCategorical

from lvspec.runtime import (
    bernoulli_corner,
    bernoulli_point,
    bernoulli_relaxed,
    bernoulli_relaxed_log_prob,
    bernoulli_relaxed_noise,
    categorical_corner,
    categorical_point,
    categorical_relaxed,
    categorical_relaxed_log_prob,
    categorical_relaxed_noise,
    mixed_rows,
)

F = torch.float64


def normal(*shape, seed=0):
    return torch.randn(shape, dtype=F, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("temperature", [0.2, 1.0, 3.0])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_density_of_a_relaxed_categorical(size, temperature):
    logits = normal(4, size)
    y = categorical_relaxed(logits, temperature, normal(3, 4, size, seed=1))
    expected = ExpRelaxedCategorical(torch.tensor(temperature, dtype=F), logits=logits).log_prob(y)
    torch.testing.assert_close(categorical_relaxed_log_prob(y, logits, temperature), expected)


@pytest.mark.parametrize("temperature", [0.2, 1.0, 3.0])
def test_density_of_a_relaxed_bernoulli(temperature):
    logits, y = normal(4), normal(3, 4, seed=1)
    expected = LogitRelaxedBernoulli(torch.tensor(temperature, dtype=F), logits=logits).log_prob(y)
    torch.testing.assert_close(bernoulli_relaxed_log_prob(y, logits, temperature), expected)


def test_what_is_impossible_is_no_coordinate():
    """A value with logit -inf: the draw and its density are those without it, and so are the gradients."""
    logits = normal(2, 3).requires_grad_()
    noise = normal(2, 4, seed=1)
    wide = torch.cat([logits[:, :2], torch.full((2, 1), -torch.inf, dtype=F), logits[:, 2:]], 1)
    y = categorical_relaxed(wide, 0.5, noise)
    small = categorical_relaxed(logits, 0.5, noise[:, [0, 1, 3]])
    torch.testing.assert_close(y[:, [0, 1, 3]], small)
    assert (categorical_point(y)[:, 2] == 0).all()
    densities = [categorical_relaxed_log_prob(a, b, 0.5).sum() for a, b in ((y, wide), (small, logits))]
    torch.testing.assert_close(*densities)
    torch.testing.assert_close(*(torch.autograd.grad(d, logits, retain_graph=True)[0] for d in densities))


def test_corners_have_the_frequencies_of_the_distribution_whatever_the_temperature():
    torch.manual_seed(0)
    logits, n = normal(4), 200_000
    corner = categorical_corner(categorical_relaxed(logits, 7.0, categorical_relaxed_noise(logits, (n,))))
    p = logits.softmax(-1)
    assert ((corner.mean(0) - p).abs() <= 5 * (p * (1 - p) / n).sqrt()).all()
    bits = bernoulli_corner(bernoulli_relaxed(logits, 7.0, bernoulli_relaxed_noise(logits, (n,))))
    p = logits.sigmoid()
    assert ((bits.mean(0) - p).abs() <= 5 * (p * (1 - p) / n).sqrt()).all()


@pytest.mark.parametrize(
    ("point", "corner"), [(categorical_point, categorical_corner), (bernoulli_point, bernoulli_corner)]
)
def test_a_corner_has_the_gradient_of_its_point(point, corner):
    y = normal(5, 3).log_softmax(-1).requires_grad_()
    weights = normal(5, 3, seed=2)
    found, expected = (torch.autograd.grad((f(y) * weights).sum(), y)[0] for f in (corner, point))
    torch.testing.assert_close(found, expected)
    assert set(corner(y).detach().unique().tolist()) <= {0.0, 1.0}


def test_draws_can_be_differentiated_twice():
    logits, noise = normal(2, 3).requires_grad_(), normal(2, 3, seed=1)
    for function in (categorical_relaxed, bernoulli_relaxed):
        assert torch.autograd.gradcheck(lambda x, f=function: f(x, 0.5, noise).exp(), logits)
    y = normal(2, 3, seed=3).requires_grad_()
    for function in (categorical_relaxed_log_prob, bernoulli_relaxed_log_prob):
        assert torch.autograd.gradgradcheck(lambda a, b, f=function: f(a, b, 0.7), (y, logits))


@pytest.mark.parametrize("event", [(), (4,), (4, 2)])
def test_mixed_rows_of_a_corner_are_a_row(event):
    base, index = normal(2, 3, *event), torch.tensor([2, 0])
    corner = torch.nn.functional.one_hot(index, 3).to(F)
    torch.testing.assert_close(mixed_rows(base, corner, len(event)), base[torch.arange(2), index])
