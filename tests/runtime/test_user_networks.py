"""A user's own network is given what the spec says that it reads, and is held to it."""

import pytest
import torch
from torch import nn

from lvspec.runtime import frozen, user_network
from lvspec.runtime.networks.user_networks import CALLS, UserNetworkError


class Function(nn.Module):
    """f as a network; it counts how often it is called, and how many sites it was given."""

    def __init__(self, f):
        super().__init__()
        self.f, self.seen = f, []

    def forward(self, x):
        self.seen.append(tuple(x.shape))
        return self.f(x)


class Masked(nn.Module):
    """The mean over the sites that count, or over all of them, beside each site."""

    def __init__(self, masks):
        super().__init__()
        self.masks = masks

    def forward(self, x, lengths):
        real = torch.arange(x.shape[1]) < lengths.unsqueeze(-1)
        kept = torch.where(real.unsqueeze(-1), x, 0.0) if self.masks else x
        return x + kept.sum(1, keepdim=True) / lengths.reshape(-1, 1, 1)


def values(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def given(network, x, reads, lengths=None):
    return user_network(network, (x,), (1 if reads == "site" else 2,), (x.shape[-1],), reads, lengths)


def plain_mean(x):
    return x + x.mean(1, keepdim=True)


def test_a_whole_is_read_without_its_padding():
    x, lengths = values(4, 5, 2), torch.tensor([3, 5, 0, 3])
    found = given(Function(plain_mean), x, "whole", lengths)
    for row, n in enumerate(lengths.tolist()):
        torch.testing.assert_close(found[row, :n], plain_mean(x[row : row + 1, :n])[0])
        assert not found[row, n:].any()


def test_examples_of_one_length_are_read_together():
    network = Function(plain_mean)
    given(network, values(4, 5, 2), "whole", torch.tensor([3, 5, 0, 3]))
    assert network.seen[-2:] == [(2, 3, 2), (1, 5, 2)]


def test_a_network_that_asks_for_lengths_is_told_them():
    x, lengths = values(3, 4, 2), torch.tensor([4, 2, 1])
    found = given(Masked(masks=True), x, "whole", lengths)
    torch.testing.assert_close(found, given(Function(plain_mean), x, "whole", lengths))


def test_a_network_that_reads_padding_although_it_is_told_is_refused():
    with pytest.raises(UserNetworkError, match="padding"):
        given(Masked(masks=False), values(3, 4, 2), "whole", torch.tensor([4, 4, 4]))


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x.flip(1),
        lambda x: x + x.mean(1, keepdim=True),
        lambda x: torch.cat([x[:, 3:], x[:, :3]], 1),  # three sites ahead
        lambda x: x.softmax(1),
    ],
)
def test_what_sees_the_future_is_not_causal(f):
    with pytest.raises(UserNetworkError, match="future"):
        given(Function(f), values(3, 5, 2), "causal")


@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize("reads", ["site", "causal", "whole"])
def test_what_mixes_examples_is_refused(rows, reads):
    x = values(rows, 2) if reads == "site" else values(rows, 3, 2)
    for f in (lambda x: x - x.mean(0), lambda x: x.cumsum(0), lambda x: x.flip(0).cumsum(0).flip(0)):
        with pytest.raises(UserNetworkError, match="examples"):
            given(Function(f), x, reads, torch.full((rows,), 3))


def test_recurrent_layers_without_batch_first_are_refused():
    class Forgot(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.GRU(2, 2)

        def forward(self, x):
            return self.body(x)[0]

    with pytest.raises(UserNetworkError, match="batch_first"):
        given(Forgot(), torch.randn(3, 4, 2), "causal")


def test_a_network_becomes_false_as_it_is_trained():
    """A last layer of zeros hides everything at first; the fourth call is the next that is looked at."""
    network = Function(lambda x: network.weight * x.flip(1))
    network.weight = nn.Parameter(torch.zeros((), dtype=torch.float64))
    given(network, values(3, 4, 2), "causal")
    network.weight.data.fill_(1.0)
    given(network, values(3, 4, 2), "causal")
    given(network, values(3, 4, 2), "causal")
    with pytest.raises(UserNetworkError, match="future"):
        given(network, values(3, 4, 2), "causal")


def test_averages_over_the_batch_are_refused_by_name_in_training_and_not():
    """In evaluation nn.BatchNorm1d reads what it has kept; in training it reads the batch."""
    for training in (True, False):
        network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).double().train(training)
        kept = {name: value.clone() for name, value in network.state_dict().items()}
        with pytest.raises(UserNetworkError, match="in training.* `1` is a BatchNorm1d, which averages .*LayerNorm"):
            given(network, values(4, 2), "site")
        assert all(torch.equal(kept[name], value) for name, value in network.state_dict().items())
        assert network.training == network[1].training == training


def test_what_a_network_keeps_from_call_to_call_is_no_other_example():
    """A spectral norm takes a step of its power iteration in each call of training."""
    network = nn.utils.parametrizations.spectral_norm(nn.Linear(2, 2)).double().train()
    kept = {name: value.clone() for name, value in network.state_dict().items()}
    network.eval()
    given(network, values(4, 2), "site")
    assert all(torch.equal(kept[name], value) for name, value in network.state_dict().items())


class Attends(nn.Module):
    """Self-attention; causal, where it is masked."""

    def __init__(self, masked):
        super().__init__()
        self.masked, self.layer = masked, nn.TransformerEncoderLayer(4, 2, 8, batch_first=True).double()

    def forward(self, x):
        ahead = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        return self.layer(x, src_mask=ahead if self.masked else None)


def test_a_mask_that_is_left_out_is_told():
    given(Attends(True), values(3, 5, 4), "causal")
    with pytest.raises(UserNetworkError, match="sees the future.*is_causal=True"):
        given(Attends(False), values(3, 5, 4), "causal")


def test_looking_becomes_rare_and_leaves_no_trace():
    """1,000 calls look five times, in training and not, at three examples twice or thrice; modes and random numbers stay what they were."""
    network = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)).double()
    x = values(8, 3, 2)
    torch.manual_seed(5)
    expected = network(x)
    torch.manual_seed(5)
    assert torch.equal(given(network, x, "causal"), expected)
    assert network.training and network[1].training
    counted = Function(lambda x: x.cumsum(1))
    for _ in range(1000):
        given(counted, x, "causal")
    assert CALLS[counted] == 1000
    assert len(counted.seen) - 1000 == 5 * 2 * 3


def test_dropout_in_training_is_no_fault():
    for reads in ("site", "causal", "whole"):
        x = values(4, 2) if reads == "site" else values(4, 3, 2)
        given(nn.Dropout(0.5).train(), x, reads, torch.tensor([3, 2, 3, 1]))


def test_backwards_reads_each_stretch_from_its_end():
    x, lengths = values(3, 4, 2), torch.tensor([4, 2, 0])
    found = given(Function(lambda x: x.cumsum(1)), x, "backwards", lengths)
    for row, n in enumerate(lengths.tolist()):
        torch.testing.assert_close(found[row, :n], x[row, :n].flip(0).cumsum(0).flip(0))


def test_numbers_of_symbols_stay_whole():
    table = nn.Embedding(5, 2)
    ids = torch.tensor([[0, 4, 2], [1, 1, 0]], dtype=torch.int32)
    found = user_network(table, (ids,), (1,), (2,), "causal")
    assert torch.equal(found, table(ids))


def test_what_is_the_same_at_all_sites_is_repeated():
    class Joined(nn.Module):
        def forward(self, x, z):
            return torch.cat([x.cumsum(1), z], -1)

    x, z = values(3, 4, 2), values(3, 1, 1)
    found = user_network(Joined(), (x, z), (2, 2), (3,), "causal")
    torch.testing.assert_close(found[..., 2:], z.expand(3, 4, 1))


def test_without_sites_or_examples_the_network_is_not_called():
    network = nn.Linear(2, 2)
    for shape in ((0, 3, 2), (3, 0, 2)):
        found = given(network, torch.zeros(shape), "whole", torch.zeros(shape[0], dtype=torch.int64))
        assert found.shape == shape and found.requires_grad


def test_gradients_pass_through_groups_of_one_length():
    network = nn.GRU(2, 2, batch_first=True).double()
    x, lengths = values(3, 4, 2).requires_grad_(), torch.tensor([1, 4, 3])
    whole = Function(lambda x: network(x)[0])
    found = given(whole, x, "whole", lengths).sum()
    alone = sum(network(x[r : r + 1, :n])[0].sum() for r, n in enumerate(lengths.tolist()))
    torch.testing.assert_close(*(torch.autograd.grad(v, x)[0] for v in (found, alone)))


def test_a_network_with_parameters_that_do_not_move_is_told_lengths_too():
    x, lengths = values(3, 4, 2), torch.tensor([4, 2, 1])
    found = given(frozen(Masked(masks=True)), x, "whole", lengths)
    torch.testing.assert_close(found, given(Masked(masks=True), x, "whole", lengths))


@pytest.mark.parametrize("f", [lambda x: x[..., :1], lambda x: (x, x), lambda x: x[:, -1]])
def test_what_comes_back_in_another_shape_is_refused(f):
    with pytest.raises(UserNetworkError, match="the spec says"):
        given(Function(f), values(3, 4, 2), "causal")
