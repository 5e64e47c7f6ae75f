"""Networks over any leading axes, reversal by index, and banks of alike networks."""

from __future__ import annotations

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from lvspec.runtime import (
    GRU,
    LSTM,
    MLP,
    RNN,
    Bank,
    BiGRU,
    BiLSTM,
    DilatedConvolution,
    Embedding,
    EmbeddingBank,
    LinearBank,
    MLPBank,
    Objective,
    cyclical,
    linear,
)


def test_mlp_has_activations_between_its_layers():
    network = MLP(3, 5, 4, 2, activation="tanh", dropout=0.1)
    kinds = [type(layer).__name__ for layer in network]
    assert kinds == ["Linear", "Tanh", "Dropout", "Linear", "Tanh", "Dropout", "Linear"]
    assert [type(layer).__name__ for layer in MLP(3, 2, bias=False)] == ["Linear"]
    assert MLP(3, 2, bias=False)[0].bias is None


def test_embedding_has_a_row_for_the_begin_symbol():
    assert Embedding(5, 2).weight.shape == (5, 2)
    assert Embedding(5, 2, begin=True)(torch.tensor([5])).shape == (1, 2)


@pytest.mark.parametrize("kind", [LSTM, GRU, RNN])
def test_recurrent_networks_take_any_leading_axes(kind):
    torch.manual_seed(0)
    network, x = kind(3, 4, layers=2), torch.randn(2, 5, 6, 3)
    parent = getattr(torch.nn, kind.__name__)
    expected = parent.forward(network, x.flatten(0, 1))[0].view(2, 5, 6, 4)
    assert torch.allclose(network(x), expected)
    assert network(x[0, 0]).shape == (6, 4) and torch.allclose(network(x[0, 0]), expected[0, 0], atol=1e-6)
    for empty in (x[:0], x[:, :, :0]):
        out = network(empty)
        out.sum().backward()
        assert out.shape == (*empty.shape[:-1], 4)
    assert len(network.state_dict()) == 8


def test_reading_from_the_end_equals_packing():
    torch.manual_seed(0)
    network, x, lengths = LSTM(3, 4), torch.randn(3, 5, 3), torch.tensor([5, 2, 3])
    out = network.backwards(x, lengths)
    for row, n in enumerate(lengths.tolist()):
        assert torch.allclose(out[row, :n], network(x[row, :n].flip(0)).flip(0), atol=1e-6)


@pytest.mark.parametrize(("kind", "peer"), [(BiLSTM, torch.nn.LSTM), (BiGRU, torch.nn.GRU)])
def test_both_directions_equal_the_packed_network(kind, peer):
    torch.manual_seed(0)
    network, other = kind(3, 4, layers=2), peer(3, 4, 2, batch_first=True, bidirectional=True)
    with torch.no_grad():
        for level in range(2):
            for part, suffix in ((network.forth[level], ""), (network.back[level], "_reverse")):
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                    getattr(other, f"{name}_l{level}{suffix}").copy_(getattr(part, f"{name}_l0"))
    x, lengths = torch.randn(3, 5, 3), torch.tensor([5, 2, 3])
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    expected, _ = pad_packed_sequence(other(packed)[0], batch_first=True, total_length=5)
    assert torch.allclose(network(x, lengths), expected, atol=1e-6)
    drawn = network(x.expand(2, 3, 5, 3), lengths)  # draws come before the batch
    assert torch.allclose(drawn[1], expected, atol=1e-6)
    zero = network(x, torch.tensor([0, 0, 0]))
    assert (zero == 0).all() and network(x[:0], lengths[:0]).shape == (0, 5, 8)


@pytest.mark.parametrize(
    "make", [lambda: LinearBank(4, 3, 2), lambda: LinearBank(4, 3, 2, bias=False), lambda: MLPBank(4, 3, 5, 2)]
)
def test_banks_of_linear_maps(make):
    torch.manual_seed(0)
    bank, x = make(), torch.randn(2, 6, 3)
    every = bank.each(x)
    assert every.shape == (2, 6, 4, 2)
    apart = torch.randn(2, 6, 4, 3)
    for k in range(4):
        index = torch.full((2, 6), k)
        assert torch.allclose(bank.at(index, x), every[:, :, k], atol=1e-6)
        assert torch.allclose(bank.paired(apart)[:, :, k], bank.at(index, apart[:, :, k]), atol=1e-6)
    assert torch.allclose(bank.at(torch.tensor([[1], [3]]), x)[1], every[1, :, 3], atol=1e-6)


def test_bank_of_embeddings():
    bank, x = EmbeddingBank(4, 7, 2, begin=True), torch.tensor([[1, 7], [0, 3]])
    assert bank.weight.shape == (4, 8, 2)
    assert torch.equal(bank.each(x)[:, :, 2], bank.weight[2][x])
    assert torch.equal(bank.at(torch.tensor([[1, 0], [3, 3]]), x)[0, 1], bank.weight[0, 7])
    apart = torch.randint(7, (2, 4))
    assert torch.equal(bank.paired(apart)[1, 3], bank.weight[3, apart[1, 3]])


def test_bank_of_recurrent_networks():
    torch.manual_seed(0)
    bank, x = Bank([LSTM(3, 2) for _ in range(4)]), torch.randn(2, 6, 3)
    every = bank.each(x)
    assert every.shape == (2, 4, 6, 2) and torch.equal(every[:, 1], bank.networks[1](x))
    assert torch.equal(bank.at(torch.tensor([3, 0]), x)[0], every[0, 3])
    assert torch.allclose(bank.paired(x.unsqueeze(1).expand(2, 4, 6, 3)), every)
    both = Bank([BiGRU(3, 2) for _ in range(4)])
    lengths = torch.tensor([6, 3])
    assert both.each(x, lengths).shape == (2, 4, 6, 4)
    draws = bank.at(torch.tensor([[3, 0], [1, 1], [2, 2]]), x)  # draws of the index, one input
    assert draws.shape == (3, 2, 6, 2) and torch.equal(draws[1, 0], every[0, 1])


def test_schedules():
    step = torch.tensor([0, 5, 10, 20])
    assert linear(step, 0.0, 1.0, 10).tolist() == [0.0, 0.5, 1.0, 1.0]
    assert cyclical(torch.tensor([0, 2, 4, 5, 8, 10]), 0.0, 1.0, 8).tolist() == [0.0, 0.5, 1.0, 1.0, 0.0, 0.5]
    assert linear(torch.tensor(3), 1.0, 0.0, 0).item() == 0.0


def test_an_objective_is_data():
    objective = Objective(torch.tensor(1.0), log_prob=torch.zeros(2))
    assert objective.elbo is None and objective.kl == {} and objective.extras == {}


def plain_convolution(network, x):
    """DilatedConvolution of one stretch (T, in), site by site and tap by tap."""
    y = x @ network.enter.weight.T + network.enter.bias
    for n, layer in enumerate(network.layers):
        new = []
        for t in range(len(y)):
            total = layer.bias
            for k in range(layer.weight.shape[-1]):
                if t - k * 2**n >= 0:
                    total = total + layer.weight[:, :, -1 - k] @ y[t - k * 2**n]
            new.append(y[t] + total.clamp(min=0))
        y = torch.stack(new)
    return y


def test_dilated_convolution_is_a_sum_over_taps():
    torch.manual_seed(0)
    network = DilatedConvolution(3, 4, layers=3, kernel=2).double()
    x = torch.randn(2, 5, 9, 3, dtype=torch.float64)
    out = network(x)
    for row in range(2):
        for column in range(5):
            assert torch.allclose(out[row, column], plain_convolution(network, x[row, column]), atol=1e-12)
    for empty in (x[:0], x[:, :, :0]):
        found = network(empty)
        found.sum().backward()
        assert found.shape == (*empty.shape[:-1], 4)
    lengths = torch.tensor([[9, 4, 0, 1, 7]] * 2)
    back = network.backwards(x, lengths)
    for column, n in enumerate(lengths[0].tolist()):
        assert torch.allclose(back[0, column, :n], network(x[0, column, :n].flip(0)).flip(0), atol=1e-12)


@pytest.mark.parametrize("layers, kernel", [(1, 2), (2, 3), (3, 2)])
def test_dilated_convolution_sees_what_lies_behind_and_as_far_as_it_says(layers, kernel):
    torch.manual_seed(1)
    network = DilatedConvolution(2, 3, layers=layers, kernel=kernel).double()
    for layer in network.layers:  # no unit is off, so that whatever is seen counts
        torch.nn.init.uniform_(layer.weight, 0.1, 1.0)
        torch.nn.init.constant_(layer.bias, 50.0)
    x = torch.randn(1, 12, 2, dtype=torch.float64, requires_grad=True)
    far = (kernel - 1) * (2**layers - 1)
    for t in range(12):
        (seen,) = torch.autograd.grad(network(x)[0, t].sum(), x)
        sites = seen.abs().sum(-1)[0].nonzero().flatten().tolist()
        assert sites == list(range(max(0, t - far), t + 1))


@pytest.mark.parametrize("layers, kernel", [(1, 1), (3, 2), (2, 3)])
def test_a_dilated_convolution_goes_on_site_by_site(layers, kernel):
    torch.manual_seed(0)
    network = DilatedConvolution(2, 3, layers=layers, kernel=kernel).double()
    x, state, found = torch.randn(2, 4, 9, 2, dtype=torch.float64), None, []
    for t in range(9):
        y, state = network.step(x[:, :, t], state)
        found.append(y)
    torch.testing.assert_close(torch.stack(found, 2), network(x))
    assert network.step(x[:0, :, 0], None)[0].shape == (0, 4, 3)


def test_a_bank_goes_on_site_by_site():
    torch.manual_seed(0)
    bank = Bank([GRU(2, 3).double() for _ in range(4)])
    x, at = torch.randn(5, 6, 2, dtype=torch.float64), torch.randint(4, (5, 6))
    state, found = None, []
    for t in range(6):
        y, state = bank.step(at[:, t], x[:, t], state)
        found.append(y)
    torch.testing.assert_close(torch.stack(found, 1), bank.at_sites(at, x))
