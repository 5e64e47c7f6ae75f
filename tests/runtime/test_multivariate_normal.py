"""The multivariate normal against torch.distributions."""

import torch
from torch.autograd import gradcheck, gradgradcheck

from lvspec import runtime as R

F = torch.float64


def arguments(seed=0):
    """value (5, 3), loc (3,), scale_tril (5, 3, 3) with rubbish above the diagonal."""
    g = torch.Generator().manual_seed(seed)
    value, loc = torch.randn(5, 3, generator=g, dtype=F), torch.randn(3, generator=g, dtype=F)
    # a diagonal of either sign, away from 0
    scale_tril = 0.5 * torch.randn(5, 3, 3, generator=g, dtype=F) + torch.diag(torch.tensor([2.0, -2.0, 2.0], dtype=F))
    return value, loc, scale_tril


def test_density_is_that_of_torch_and_reads_the_lower_triangle_alone():
    value, loc, scale_tril = arguments()
    expected = torch.distributions.MultivariateNormal(loc, scale_tril.tril() @ scale_tril.tril().mT).log_prob(value)
    assert torch.allclose(R.MultivariateNormal(loc, scale_tril).log_prob(value), expected, rtol=0, atol=1e-11)
    assert torch.equal(R.tril_covariance(scale_tril), scale_tril.tril() @ scale_tril.tril().mT)


def test_density_is_differentiable_twice():
    inputs = tuple(a.clone().requires_grad_() for a in arguments())

    def log_prob(value, loc, scale_tril):
        return R.MultivariateNormal(loc, scale_tril).log_prob(value)

    assert gradcheck(log_prob, inputs)
    assert gradgradcheck(log_prob, inputs)


def test_draws_are_an_affine_image_of_their_noise():
    _, loc, scale_tril = arguments()
    noise = R.MultivariateNormal(loc, scale_tril).noise((7,))
    assert noise.shape == (7, 5, 3)
    expected = torch.distributions.MultivariateNormal(loc, scale_tril.tril() @ scale_tril.tril().mT)
    drawn = R.MultivariateNormal(loc, scale_tril).draw(noise)
    assert torch.allclose(R.MultivariateNormal(loc, scale_tril).log_prob(drawn), expected.log_prob(drawn), atol=1e-9)
    assert R.MultivariateNormal(loc, scale_tril).draw().shape == (5, 3)


def test_a_matrix_that_is_not_positive_definite_gives_nan():
    assert R.cholesky(torch.tensor([[1.0, 2.0], [2.0, 1.0]], dtype=F)).isnan().all()
    matrix = R.diagonal_covariance(torch.tensor(2.0, dtype=F), 3)
    assert torch.equal(matrix, 4 * torch.eye(3, dtype=F)) and torch.equal(R.cholesky(matrix), 2 * torch.eye(3, dtype=F))
