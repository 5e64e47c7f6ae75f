"""Chains in little memory, against the same chains as a whole."""

import subprocess
import sys

import pytest
import torch

from lvspec.runtime import SiteBlocks, chain
from tests.runtime.test_chain import PROGRAMS, assert_alike, draw, gradients


@pytest.mark.parametrize("scale", [1.0, 30.0, 300.0])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", PROGRAMS)
def test_blocks_of_sites_make_the_whole(name, masked, scale):
    for T in (1, 2, 3, 7, 12):
        for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 1e-4)):
            start, factors, potentials, steps = draw(name, T=T, scale=scale, dtype=dtype)
            mask = torch.arange(T) < torch.tensor([T, min(2, T), 0]).unsqueeze(1) if masked else None
            here = torch.ones(3, T, dtype=torch.bool) if mask is None else mask
            zeroed = torch.where(here.reshape(3, T, *[1] * (potentials.dim() - 2)), potentials, 0.0)
            leaves = [start, potentials, *factors]
            value, expected = (chain(start, factors, zeroed, steps, mask, memory=m) for m in ("lean", "fast"))
            assert_alike([value], [expected], 1e-6 if dtype is torch.float32 else tolerance)
            assert_alike(gradients(value, leaves), gradients(expected, leaves), tolerance)


@pytest.mark.parametrize("T", [4, 9, 20])
def test_openings_stay_in_the_first_block(T):
    start, factors, potentials, steps = draw("second_order", T=T)
    openings = tuple(draw("second_order", T=T, seed=s)[1] for s in (1, 2))
    leaves = [start, potentials, *factors, *openings[0], *openings[1]]
    value, expected = (chain(start, factors, potentials, steps, openings=openings, memory=m) for m in ("lean", "fast"))
    assert_alike([value], [expected], 1e-9)
    assert_alike(gradients(value, leaves), gradients(expected, leaves), 1e-9)


def test_forbidden_arcs_between_blocks():
    """A message that only one state carries, and likelihoods that a single precision loses at the border."""
    K, T = 4, 16
    arc = torch.full((K, K), -torch.inf).fill_diagonal_(-1.0) + 0.0
    arc[torch.arange(K - 1), torch.arange(1, K)] = -0.5
    start = torch.tensor([0.0, -torch.inf, -torch.inf, -torch.inf])
    generator = torch.Generator().manual_seed(0)
    potentials = 60 * torch.randn(3, T, K, generator=generator)
    exact = [x.double().requires_grad_() for x in (start, arc, potentials)]
    leaves = [x.clone().requires_grad_() for x in (start, arc, potentials)]
    value = chain(leaves[0], (leaves[1],), leaves[2], ("i,ij->j",), memory="lean")
    truth = chain(exact[0], (exact[1],), exact[2], ("i,ij->j",))
    assert_alike([value.double()], [truth], 1e-6)
    assert_alike([g.double() for g in gradients(value, leaves)], gradients(truth, exact), 1e-4)


def test_impossible_rows_stay_impossible():
    start, (arc,), potentials, steps = draw("hmm", T=9)
    blocked = potentials.detach().clone()
    blocked[1, 2] = -torch.inf
    blocked.requires_grad_()
    value = chain(start, (arc,), blocked, steps, memory="lean")
    assert value[1] == -torch.inf and value[[0, 2]].isfinite().all()
    found = torch.autograd.grad(value[[0, 2]].sum() + value[1], [start, arc, blocked])
    assert all(g.isfinite().all() for g in found)


def computed(table, symbols, tilt):
    return SiteBlocks(
        lambda batch, tilt: table.t()[batch["x"]] + tilt["z"],
        {"x": symbols, "w": symbols},
        {"z": tilt},
        ("x",),
        (table,),
    )


def test_potentials_computed_for_some_sites_at_a_time():
    start, (arc,), tilt, steps = draw("hmm", T=11)
    table = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    symbols = torch.randint(6, (3, 11))
    leaves = [start, arc, tilt, table]
    value = chain(start, (arc,), computed(table, symbols, tilt), steps, memory="lean")
    expected = chain(start, (arc,), table.t()[symbols] + tilt, steps)
    assert_alike([value], [expected], 1e-9)
    assert_alike(gradients(value, leaves), gradients(expected, leaves), 1e-9)


def test_second_derivatives():
    start, (arc,), potentials, steps = draw("hmm", B=2, T=4)
    table = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    symbols = torch.randint(6, (2, 4))

    def given(start, arc, potentials):
        return chain(start, (arc,), potentials, steps, memory="lean")

    def in_blocks(start, arc, tilt, table):
        return chain(start, (arc,), computed(table, symbols, tilt), steps, memory="lean")

    for f, leaves in ((given, (start, arc, potentials)), (in_blocks, (start, arc, potentials, table))):
        assert torch.autograd.gradcheck(f, leaves)
        assert torch.autograd.gradgradcheck(f, leaves)


MEMORY = """
import torch
from lvspec.runtime import SiteBlocks, chain
torch.set_num_threads(1)

def peak(key):
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith(key))

def step(T):
    leaves = [torch.randn(64).requires_grad_(), torch.randn(64, 64).requires_grad_(), torch.randn(64, 50).requires_grad_()]
    x = torch.randint(50, (4, T))
    start, arc, table = (p.log_softmax(-1) for p in leaves)
    blocks = SiteBlocks(lambda batch, tilt: leaves[2].log_softmax(-1).t()[batch["x"]], {"x": x}, {}, ("x",), (leaves[2],))
    chain(start, (arc,), blocks, ("i,ij->j",), normalized=True, memory="lean").sum().backward()

step(400)
before = peak("VmRSS")
step(20_000)
print(peak("VmHWM") - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_of_twenty_thousand_sites():
    """The potentials alone would be 20 MB, the messages of a plain chain four times that."""
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 12
