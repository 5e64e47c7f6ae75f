"""The moving average of a score term: what it is before a step, and when it moves."""

import pytest
import torch

from lvspec.runtime import MovingAverage


def test_a_step_is_held_against_earlier_steps_alone():
    average = MovingAverage()
    signals = torch.randn(20, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    average = average.double()
    for i, signal in enumerate(signals):
        weights = 0.9 ** torch.arange(i - 1, -1, -1, dtype=torch.float64)
        means = signals[:i].mean((1, 2))
        before = (weights * means).sum() / weights.sum() if i else 0.0
        torch.testing.assert_close(average(signal), signal - before)


def test_it_stands_still_in_evaluation_mode():
    average = MovingAverage().double()
    signal = torch.tensor([3.0, 5.0], dtype=torch.float64)
    average(signal)
    average.eval()
    for _ in range(3):
        torch.testing.assert_close(average(signal), signal - 4.0)


@pytest.mark.parametrize("left_out", [-torch.inf, torch.inf, torch.nan])
def test_signals_that_are_not_finite_and_padding_are_left_out(left_out):
    average = MovingAverage().double()
    average(torch.tensor([2.0, left_out, 4.0, 1000.0], dtype=torch.float64), torch.tensor([True, True, True, False]))
    torch.testing.assert_close(average.total / average.weight, torch.tensor(3.0, dtype=torch.float64))


def test_a_step_without_signals_is_none():
    average = MovingAverage().double()
    average(torch.tensor([2.0], dtype=torch.float64))
    before = {n: b.clone() for n, b in average.named_buffers()}
    average(torch.full((2,), -torch.inf, dtype=torch.float64))
    average(torch.empty(0, dtype=torch.float64))
    assert all(torch.equal(b, before[n]) for n, b in average.named_buffers())
