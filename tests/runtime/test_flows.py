"""Flows by themselves: determinants by differentiation, inverses, masks, total mass."""

import math

import pytest
import torch

from lvspec.runtime import Coupling, InverseAutoregressive, MaskedAutoregressive, Planar, Radial, frozen

F = torch.float64
FLOWS = {
    "planar": lambda D, C=None: Planar(D, C, steps=3),
    "radial": lambda D, C=None: Radial(D, C, steps=3),
    "coupling": lambda D, C=None: Coupling(D, 5, C, steps=3, activation="tanh"),
    "inverse_autoregressive": lambda D, C=None: InverseAutoregressive(D, 5, C, steps=3, activation="tanh"),
    "masked_autoregressive": lambda D, C=None: MaskedAutoregressive(D, 5, C, steps=3, activation="tanh"),
}
WITH_INVERSE = [n for n in FLOWS if n not in ("planar", "radial")]


def flow_of(name, D, C=None, seed=0, spread=1.0):
    """A flow with numbers of unit size, so that it is far from the identity."""
    torch.manual_seed(seed)
    flow = FLOWS[name](D, C).to(F)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.copy_(spread * torch.randn_like(parameter))
    return flow


@pytest.mark.parametrize("C", [None, 2])
@pytest.mark.parametrize("D", [1, 2, 3, 7])
@pytest.mark.parametrize("name", FLOWS)
def test_determinant_is_that_of_the_jacobian(name, D, C):
    flow = flow_of(name, D, C)
    z = torch.randn(4, D, dtype=F)
    context = None if C is None else torch.randn(4, C, dtype=F)
    value, log_det = flow(z, context)
    for i in range(4):
        own = None if context is None else context[i]
        jacobian = torch.autograd.functional.jacobian(lambda one, c=own: flow(one, c)[0], z[i])
        assert torch.allclose(log_det[i], torch.linalg.slogdet(jacobian).logabsdet, atol=1e-10)
        assert torch.allclose(value[i], flow(z[i], own)[0])


@pytest.mark.parametrize("C", [None, 2])
@pytest.mark.parametrize("D", [1, 2, 5])
@pytest.mark.parametrize("name", WITH_INVERSE)
def test_inverse_undoes_the_flow(name, D, C):
    flow = flow_of(name, D, C)
    z = torch.randn(3, 4, D, dtype=F)
    context = None if C is None else torch.randn(4, C, dtype=F)  # the same for the three
    value, log_det = flow(z, context)
    base, again = flow.inverse(value, context)
    assert torch.allclose(base, z, atol=1e-9)
    assert torch.allclose(again, log_det, atol=1e-9)
    assert log_det.shape == (3, 4)


@pytest.mark.parametrize("name", ["inverse_autoregressive", "masked_autoregressive"])
def test_an_entry_reads_those_before_it_and_the_next_step_those_behind(name):
    flow = flow_of(name, 4)
    z = torch.randn(4, dtype=F)
    for k, step in enumerate(flow.steps):
        jacobian = torch.autograd.functional.jacobian(lambda one, s=step: s(one, None)[0], z)
        read = jacobian.abs() > 1e-12
        wanted = torch.ones(4, 4, dtype=torch.bool)
        assert torch.equal(read, wanted.triu() if k % 2 else wanted.tril())


def test_coupling_keeps_every_other_entry_and_then_the_others():
    flow, z = flow_of("coupling", 5), torch.randn(5, dtype=F)
    for k, step in enumerate(flow.steps):
        moved = step(z, None)[0] != z
        assert moved.tolist() == [(d + k) % 2 == 1 for d in range(5)]


@pytest.mark.parametrize("name", ["planar", "radial"])
def test_maps_are_one_to_one_whatever_their_numbers(name):
    """On a line, where that means that they rise: also where w·u is far below -1, or b far below a."""
    z = torch.linspace(-6, 6, 4001, dtype=F)[:, None]
    for seed in range(20):
        value, _ = flow_of(name, 1, seed=seed, spread=3.0)(z)
        assert (value[1:] > value[:-1]).all()


@pytest.mark.parametrize("dtype", [torch.float32, F])
@pytest.mark.parametrize("name", ["inverse_autoregressive", "masked_autoregressive"])
def test_a_scale_too_small_for_a_number_has_a_logarithm(name, dtype):
    """z σ + μ with log σ = raw = -2000 in every entry: log|det| = D raw one way, and no density but at μ the other."""
    step = flow_of(name, 2).steps[0].to(dtype)
    with torch.no_grad():
        step.network.leave.weight.zero_()
        step.network.leave.bias.copy_(torch.tensor([0.3, -0.2, -2000.0, -2000.0], dtype=dtype))
    narrow, wide = (step.inverse, step.forward) if name.startswith("masked") else (step.forward, step.inverse)
    value, log_det = narrow(torch.tensor([[1.5, -3.0]], dtype=dtype), None)
    assert value[0].tolist() == pytest.approx([0.3, -0.2]) and log_det.abs().tolist() == [4000]
    (slope,) = torch.autograd.grad(log_det.sum(), step.network.leave.bias)
    assert slope.abs().tolist() == [0, 0, 1, 1]
    for z, density in (([0.3, -0.2], 0.0), ([0.4, -0.2], -torch.inf)):
        z = torch.tensor([z], dtype=dtype).requires_grad_()
        found, log_det = wide(z, None)
        log_p = -0.5 * (found**2).sum()
        assert log_p.item() == density and log_det.abs().tolist() == [4000]
        assert torch.autograd.grad(log_det.sum() + found.sum(), z)[0].isfinite().all()


@pytest.mark.parametrize("D", [1, 2])
@pytest.mark.parametrize("name", ["planar", "radial"])
def test_maps_that_nearly_fold_have_a_finite_determinant(name, D):
    """At the point where a planar map stands still, w·û = -1 + softplus(-100), and at a radial one's centre, β = -α + softplus(-100)."""
    flow = flow_of(name, D).steps[0]
    numbers = torch.zeros(flow.numbers.shape, dtype=F)
    if name == "planar":
        numbers[0], numbers[D] = -100.0, 1.0
    else:
        numbers[-1] = -100.0
    with torch.no_grad():
        flow.numbers.copy_(numbers)
    z = torch.zeros(1, D, dtype=F)
    small = -100.0 if name == "planar" else D * (-100.0 - math.log(math.log(2.0)))  # softplus(0) = log 2
    assert float(flow(z, None)[1].detach()) == pytest.approx(small, rel=1e-12)


@pytest.mark.parametrize("D", [1, 2])
@pytest.mark.parametrize("name", WITH_INVERSE)
def test_density_has_the_mass_of_one(name, D):
    flow = flow_of(name, D, spread=0.4)
    line = torch.linspace(-30, 30, 12_001 if D == 1 else 1201, dtype=F)
    x = line[:, None] if D == 1 else torch.cartesian_prod(line, line)
    with torch.no_grad():
        base, log_det = flow.inverse(x)
    log_p = torch.distributions.Normal(0, 1).log_prob(base).sum(-1) - log_det
    mass = log_p.exp().sum() * (line[1] - line[0]) ** D
    assert abs(mass - 1) < 1e-6


@pytest.mark.parametrize("name", WITH_INVERSE)
def test_frozen_flow_moves_its_input_alone(name):
    flow = flow_of(name, 3)
    x = torch.randn(2, 3, dtype=F, requires_grad=True)
    base, log_det = frozen(flow).inverse(x)
    assert torch.equal(base, flow.inverse(x)[0])
    found = torch.autograd.grad(base.sum() + log_det.sum(), [x, *flow.parameters()], allow_unused=True)
    assert found[0].abs().sum() > 0
    assert all(g is None for g in found[1:])


@pytest.mark.parametrize("name", FLOWS)
def test_first_values_are_near_the_identity_and_empty_batches_pass(name):
    torch.manual_seed(0)
    flow = FLOWS[name](6)
    z = torch.randn(200, 6)
    value, _ = flow(z)
    assert (value - z).square().mean() < 0.5
    assert flow(z[:0])[1].shape == (0,)
    wide = flow(1e4 * z)
    assert torch.isfinite(wide[0]).all() and torch.isfinite(wide[1]).all()
