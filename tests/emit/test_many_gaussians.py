"""Many jointly Gaussian latents, integrated out one by one: log p(x), gradients and posteriors beside a joint covariance."""

import random

import pytest
import torch
from torch.distributions import MultivariateNormal

import lvspec
from benchmarks.price_models import learned_gaussians
from lvspec.ir.gaussian_order import FEW
from lvspec.runtime.gaussian.joint_gaussian import GaussianBlock
from tests.emit.networks_of_latents import grid, path, star, tree

SHAPES = {"path": path(30), "tree": tree(30), "star": star(30), "grid": grid(6, 5)}
# each node reads two that no other reads: the further they go the more are left to meet
SHAPES["to the root"] = {f"z{i}": tuple(f"z{k}" for k in (2 * i + 1, 2 * i + 2) if k < 31) for i in reversed(range(31))}


def covariance(parents, deviation: torch.Tensor) -> torch.Tensor:
    """Of the latents, in the order of the story: z = A z + e."""
    names = list(parents)
    A = torch.zeros(len(names), len(names), dtype=torch.float64)
    for z, above in parents.items():
        for a in above:
            A[names.index(z), names.index(a)] = 0.5
    spread = torch.linalg.inv(torch.eye(len(names), dtype=torch.float64) - A)
    return deviation**2 * spread @ spread.mT


@pytest.fixture(params=SHAPES, scope="module")
def network(request):
    parents = SHAPES[request.param]
    compiled = lvspec.compile_spec(learned_gaussians(parents))
    torch.manual_seed(0)
    model = compiled.Model().double()
    batch = {f"x_{z}": torch.randn(3, dtype=torch.float64) for z in parents}
    return request.param, parents, compiled, model, batch


def test_log_p_and_its_gradient_are_those_of_one_gaussian(network):
    _, parents, compiled, model, batch = network
    assert "order=" in compiled.source
    s = model.s.detach().clone().requires_grad_()
    joint = covariance(parents, s.exp()) + s.exp() ** 2 * torch.eye(len(parents), dtype=torch.float64)
    x = torch.stack([batch[f"x_{z}"] for z in parents], -1)
    expected = MultivariateNormal(torch.zeros(len(parents), dtype=torch.float64), joint).log_prob(x)
    found = model.log_prob(batch)
    assert found.tolist() == pytest.approx(expected.tolist(), abs=1e-10)
    gradients = [torch.autograd.grad(v.sum(), w)[0].item() for v, w in ((found, model.s), (expected, s))]
    assert gradients[0] == pytest.approx(gradients[1], abs=1e-9)


def test_values_that_are_missing_say_nothing(network):
    _, parents, _, model, batch = network
    missing = list(parents)[::3]
    flags = {f"x_{z}_observed": torch.tensor([True, False, True]) for z in missing}
    names = [z for z in parents if z not in missing]
    at = [list(parents).index(z) for z in names]
    joint = covariance(parents, model.s.detach().exp()) + model.s.detach().exp() ** 2 * torch.eye(
        len(parents), dtype=torch.float64
    )
    x = torch.stack([batch[f"x_{z}"][1] for z in names])
    expected = MultivariateNormal(torch.zeros(len(at), dtype=torch.float64), joint[at][:, at]).log_prob(x)
    assert model.log_prob(batch | flags)[1].item() == pytest.approx(expected.item(), abs=1e-10)


def test_posterior_means_are_those_of_one_gaussian(network):
    _, parents, _, model, batch = network
    joint, noise = covariance(parents, model.s.detach().exp()), model.s.detach().exp() ** 2
    x = torch.stack([batch[f"x_{z}"] for z in parents], -1)
    gain = joint @ torch.linalg.inv(joint + noise * torch.eye(len(parents), dtype=torch.float64))
    found = model.posterior(batch)
    means = torch.stack([found[z].mean for z in parents], -1)
    assert means.detach().numpy() == pytest.approx((x @ gain.mT).numpy(), abs=1e-10)


def test_vectors_that_read_each_other_go_one_by_one_as_they_go_together():
    """Numbers and vectors, several parents and children, observations of two of them: the two ways agree."""
    rng = random.Random(5)
    lines, vector = ["lvspec: 1", "name: mixed", "sizes: {D: 2}", "params: {W: [D, D], w: [D], s: []}", "latent:"], {}
    for i in range(FEW + 8):
        above = [i - 1, *rng.sample(range(max(0, i - 4), i - 1), rng.choice([0, 1]) if i > 1 else 0)] if i else []
        vector[i] = rng.random() < 0.4 and i > 0
        ways = {(0, 0): "0.7 * z{}", (0, 1): "dot(w, z{})", (1, 0): "w * z{}", (1, 1): "matmul(W, z{})"}
        terms = [ways[vector[i], vector[j]].format(j) for j in above]
        lines.append(f"  z{i}: Normal({' + '.join([*terms, '0.3'])}, exp(s))")
    values = [f"sum(z{i})" if vector[i] else f"z{i}" for i in vector]
    lines += ["observed:", *(f"  x{i}: Normal({values[i]} - {values[i // 2]}, 1)" for i in range(1, len(vector), 2))]
    model = lvspec.compile_spec("\n".join(lines)).Model().double()
    batch = model.prepare({f"x{i}": torch.randn(2, dtype=torch.float64) for i in range(1, len(vector), 2)})
    (method,) = (m for m in dir(model) if m.startswith("gaussian_block"))
    found = []
    for log_prob in (type(getattr(model, method)(batch)).log_prob, GaussianBlock.log_prob):
        value = log_prob(getattr(model, method)(batch))
        found.append((value, *torch.autograd.grad(value.sum(), list(model.parameters()))))
    assert type(getattr(model, method)(batch)) is not GaussianBlock
    for one, other in zip(*found, strict=True):
        assert one.detach().numpy() == pytest.approx(other.detach().numpy(), abs=1e-9)
