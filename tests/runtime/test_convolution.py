"""One convolution that looks back, and a residual block, from their definitions."""

import pytest
import torch

from lvspec.runtime import Convolution, Residual, restarted


def stretches(*shape):
    return torch.randn(*shape, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (2, 3), (3, 2)])
def test_a_convolution_is_a_sum_over_taps(kernel, dilation):
    torch.manual_seed(0)
    network, x = Convolution(2, 3, kernel, dilation).double(), stretches(2, 4, 7)
    weight, bias = network.taps.weight, network.taps.bias
    for t in range(7):
        reached = [(k, t - k * dilation) for k in range(kernel) if t - k * dilation >= 0]
        expected = bias + sum(x[:, :, s] @ weight[:, :, -1 - k].T for k, s in reached)
        torch.testing.assert_close(network(x)[:, :, t], expected)
    lengths = torch.tensor([[7, 4, 0, 1]] * 2)
    back = network.backwards(x, lengths)
    for n, t in enumerate(lengths[0].tolist()):
        torch.testing.assert_close(back[:, n, :t], network(x[:, n, :t].flip(1)).flip(1))


@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (2, 3), (3, 2)])
def test_it_goes_on_site_by_site_and_begins_anew(kernel, dilation):
    torch.manual_seed(0)
    network, x, state, found = Convolution(2, 3, kernel, dilation).double(), stretches(3, 8), None, []
    for t in range(8):
        y, state = network.step(x[:, t], restarted(state, torch.tensor([False, t == 3, False])))
        found.append(y)
    found = torch.stack(found, 1)
    torch.testing.assert_close(found[::2], network(x[::2]))
    torch.testing.assert_close(found[1], torch.cat([network(x[1:2, :3]), network(x[1:2, 3:])], 1)[0])
    for empty in (x[:0], x[:, :0]):
        network(empty).sum().backward()
        assert network(empty).shape == (*empty.shape[:-1], 3)
    assert network.step(x[:0, 0], None)[0].shape == (0, 3)


def test_a_residual_block_adds_what_its_perceptron_gives():
    torch.manual_seed(0)
    network, x = Residual(2, 5, activation="tanh").double(), stretches(3, 4)
    first, last = network.added[0], network.added[-1]
    expected = x + torch.tanh(x @ first.weight.T + first.bias) @ last.weight.T + last.bias
    torch.testing.assert_close(network(x), expected)
    linear = Residual(2, bias=False).double()
    torch.testing.assert_close(linear(x), x + x @ linear.added[0].weight.T)
