"""Buffers that chains keep between steps hold nothing that anybody still reads."""

import torch

from lvspec.runtime import chain
from lvspec.runtime.core.workspace import KEPT_BUFFERS, KEPT_BYTES, borrowed, give_back, kept_buffers
from tests.runtime.test_chain import assert_alike, draw, gradients, plain


def test_interleaved_steps_of_one_shape_do_not_share_buffers():
    problems = [draw("hmm", seed=s) for s in range(4)]
    values = [chain(*p) for p in problems]  # all forward passes before any backward pass, of which one comes twice
    for i in (2, 0, 2, 3, 1):
        start, factors, potentials, steps = problems[i]
        leaves = [start, potentials, *factors]
        assert_alike(gradients(values[i], leaves), gradients(plain(*problems[i]), leaves), 1e-9)


def test_gradients_outlive_the_next_step():
    start, factors, potentials, steps = draw("hmm")
    leaves = [start, potentials, *factors]
    first = gradients(chain(start, factors, potentials, steps), leaves)
    copies = [g.clone() for g in first]
    gradients(chain(start, factors, 3 * potentials, steps), leaves)
    assert all(torch.equal(a, b) for a, b in zip(first, copies, strict=True))


def test_shorter_chains_take_a_part_of_a_longer_buffer():
    give_back(borrowed(9, 2, 3, dtype=torch.float64, device=torch.device("cpu")))
    part = borrowed(5, 2, 3, dtype=torch.float64, device=torch.device("cpu"))
    assert part.values.shape == (5, 2, 3) and len(part.rows) == 5
    part.rows[4].fill_(7.0)
    assert (part.values[4] == 7.0).all()
    give_back(part)
    assert len(borrowed(9, 2, 3, dtype=torch.float64, device=torch.device("cpu")).rows) == 9


def test_large_buffers_and_those_of_inference_mode_are_not_kept():
    kept_buffers.clear()
    give_back(borrowed(2, 1, KEPT_BYTES, dtype=torch.float32, device=torch.device("cpu")))
    with torch.inference_mode():
        inside = borrowed(2, 2, 2, dtype=torch.float32, device=torch.device("cpu"))
    give_back(inside)
    assert not kept_buffers
    for n in range(2 * KEPT_BUFFERS):
        give_back(borrowed(1, 1, n + 1, dtype=torch.float32, device=torch.device("cpu")))
    assert sum(map(len, kept_buffers.values())) <= KEPT_BUFFERS
