"""Long chains of few states, whose blocks go side by side, against the log-domain scan."""

import pytest
import torch

from lvspec.runtime import chain
from lvspec.runtime.chains.backward import chain_forward
from lvspec.runtime.chains.blocked import Blocks, blocks_for
from lvspec.runtime.chains.scaled import program_for
from lvspec.runtime.chains.steps import read_steps
from tests.runtime.test_chain import assert_alike, gradients, plain

STEPS = ("i,ij->j",)


def problem(B, T, K, dtype, scale=1.0, normalized=True):
    generator = torch.Generator().manual_seed(T)
    start, arc = torch.randn(K, generator=generator), scale * torch.randn(K, K, generator=generator)
    if normalized:
        start, arc = start.log_softmax(-1), arc.log_softmax(-1)
    potentials = 3 * torch.randn(B, T, K, generator=generator)
    return [x.to(dtype).requires_grad_() for x in (start, arc, potentials)]


@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize(("B", "T", "K"), [(1, 600, 4), (2, 601, 3), (3, 633, 5), (1, 900, 1), (2, 520, 2)])
def test_blocks_side_by_side_give_the_same(B, T, K, normalized):
    assert blocks_for(T, B, K) is not None
    leaves = problem(B, T, K, torch.float64, normalized=normalized)
    value = chain(leaves[0], (leaves[1],), leaves[2], STEPS, normalized=normalized)
    expected = plain(leaves[0], (leaves[1],), leaves[2], STEPS)
    assert_alike([value], [expected], 1e-9)
    assert_alike(gradients(value, leaves), gradients(expected, leaves), 1e-9)
    start, arc, potentials = (x.detach() for x in leaves)
    program = program_for(read_steps(STEPS), 0, normalized, potentials, [arc])
    scan = chain_forward(program, start.unsqueeze(0), potentials, None, [arc], differentiated=True)[1]
    assert scan.blocks is not None


@pytest.mark.parametrize("scale", [1.0, 3.0, 30.0])
def test_single_precision_and_sharp_arcs(scale):
    leaves = problem(2, 600, 4, torch.float32, scale)
    exact = [x.detach().double().requires_grad_() for x in leaves]
    value = chain(leaves[0], (leaves[1],), leaves[2], STEPS, normalized=True)
    truth = plain(exact[0], (exact[1],), exact[2], STEPS)
    assert_alike([value.double()], [truth], 1e-6)
    assert_alike([g.double() for g in gradients(value, leaves)], gradients(truth, exact), 1e-4)


def test_gradient_of_a_row_that_is_not_asked_for():
    leaves = problem(2, 600, 3, torch.float64)
    value = chain(leaves[0], (leaves[1],), leaves[2], STEPS, normalized=True)
    (found,) = torch.autograd.grad(value[1], [leaves[2]])
    assert found[0].abs().sum() == 0
    torch.testing.assert_close(found[1].sum(-1), torch.ones(600, dtype=torch.float64))


def test_forbidden_arcs_and_impossible_rows_go_one_after_the_other():
    start, arc, potentials = (x.detach() for x in problem(2, 600, 3, torch.float64))
    arc.fill_diagonal_(-torch.inf)
    potentials[0, 200] = -torch.inf
    leaves = [x.clone().requires_grad_() for x in (start, arc, potentials)]
    value = chain(leaves[0], (leaves[1],), leaves[2], STEPS)
    assert value[0] == -torch.inf
    assert_alike([value[1:]], [plain(start, (arc,), potentials, STEPS)[1:]], 1e-9)


def test_blocks_cover_the_sites_once():
    for T in range(520, 3000, 37):
        blocks = blocks_for(T, 1, 3)
        assert blocks.head + 1 + blocks.size * blocks.count == T
    values = torch.arange(2 * 13, dtype=torch.float64).view(13, 2, 1)
    blocks, out = Blocks(2, 5, 2), torch.zeros(13, 2, 1, dtype=torch.float64)
    blocks.in_order(blocks.side_by_side(values), out)
    assert torch.equal(out[3:], values[3:]) and out[:3].abs().sum() == 0


def test_short_chains_and_many_states_and_rows_go_one_after_the_other():
    for T, B, K in ((40, 32, 16), (400, 1, 4), (40, 32, 64), (100, 16, 256), (1000, 64, 4), (1000, 8, 64)):
        assert blocks_for(T, B, K) is None
