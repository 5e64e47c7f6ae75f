"""log p of truth values: the definition, its gradients twice, extreme logits, fractions and broadcasting."""

import torch
from torch.nn.functional import logsigmoid

from lvspec.runtime import Bernoulli


def test_the_definition_and_its_gradients():
    logits = torch.linspace(-40, 40, 24, dtype=torch.float64).reshape(2, 3, 4).requires_grad_()
    value = torch.tensor([0.0, 1.0, 0.25, 1.0], dtype=torch.float64)
    exact = value * logsigmoid(logits) + (1 - value) * logsigmoid(-logits)
    for x in (value, value.expand(3, 4), value[None].expand(5, 1, 1, 4)):
        assert torch.allclose(
            Bernoulli(logits).log_prob(x),
            exact.expand(torch.broadcast_shapes(x.shape, exact.shape)),
            rtol=1e-12,
            atol=1e-13,
        )
    assert torch.autograd.gradcheck(lambda l: Bernoulli(l).log_prob(value), logits)
    assert torch.autograd.gradgradcheck(lambda l: Bernoulli(l).log_prob(value).square(), logits)


def test_a_relaxed_value_has_a_gradient():
    value = torch.tensor([0.2, 0.7], dtype=torch.float64, requires_grad=True)
    logits = torch.tensor([1.5, -3.0], dtype=torch.float64)
    (found,) = torch.autograd.grad(Bernoulli(logits).log_prob(value).sum(), value)
    assert torch.allclose(found, logits)


def test_far_out_and_in_half_precision():
    logits = torch.tensor([-1e4, 1e4, -1e4, 1e4], requires_grad=True)
    found = Bernoulli(logits).log_prob(torch.tensor([0.0, 1.0, 1.0, 0.0]))
    assert found.tolist() == [0.0, 0.0, -1e4, -1e4]
    found.sum().backward()
    assert logits.grad.tolist() == [0.0, 0.0, 1.0, -1.0]
    assert Bernoulli(torch.zeros(1, dtype=torch.bfloat16)).log_prob(torch.tensor([True])).dtype == torch.float32
