"""Attention over stretches: against torch's own attention, under padding, site by site, compiled, and differentiated twice."""

import copy

import pytest
import torch
from torch import nn

from lvspec.runtime import Bank, BiTransformer, Transformer, restarted
from lvspec.runtime.core.batch import BadBatch

KINDS = ("rotary", 9)


def network(kind=Transformer, positions="rotary", heads=2, layers=2, **options):
    """in 3, out 10: heads of an odd number of entries."""
    torch.manual_seed(0)
    made = kind(3, 10, heads=heads, layers=layers, positions=positions, **options).double()
    for parameter in made.parameters():  # what is 0 or 1 at the start hides nothing
        nn.init.normal_(parameter, 0.1, 0.5)
    return made


def stretches(*shape):
    torch.manual_seed(1)
    return torch.randn(*shape, 3, dtype=torch.float64)


@pytest.mark.parametrize("kind", [Transformer, BiTransformer])
def test_a_block_is_torchs_own_layer(kind):
    """With learned positions, nn.TransformerEncoderLayer(norm_first=True) with the same numbers."""
    ours = network(kind, positions=9)
    layers = []
    for block in ours.layers:
        layer = nn.TransformerEncoderLayer(10, 2, 40, 0.0, "gelu", batch_first=True, norm_first=True).double()
        layer.self_attn.in_proj_weight, layer.self_attn.in_proj_bias = block.project.weight, block.project.bias
        layer.self_attn.out_proj, layer.norm1, layer.norm2 = block.join, block.before, block.between
        layer.linear1, layer.linear2 = block.widen, block.narrow
        layers.append(layer)
    x, lengths = stretches(4, 6), torch.tensor([6, 3, 1, 0])
    y = ours.enter(x) + ours.positions[:6]
    causal = torch.ones(6, 6, dtype=torch.bool).triu(1)
    for n, t in enumerate(lengths.tolist()):
        row = y[n : n + 1, :t]
        for layer in layers if t else ():
            row = layer(row, src_mask=causal[:t, :t] if kind is Transformer else None)
        found = ours(x) if kind is Transformer else ours(x, lengths)
        torch.testing.assert_close(found[n, :t], ours.leave(row)[0], rtol=1e-10, atol=1e-10)
        assert kind is Transformer or not found[n, t:].any()


def test_turns_tell_distances_and_no_places():
    """Attention that knows q · k by t − s alone: behind sites that nothing reads, the same comes out."""
    ours = network()
    x = stretches(2, 5)
    _, state = ours.step(stretches(2), None)
    state = restarted(state, torch.tensor([True, True]))
    found = []
    for t in range(5):
        y, state = ours.step(x[:, t], state)
        found.append(y)
    torch.testing.assert_close(torch.stack(found, 1), ours(x), rtol=1e-9, atol=1e-9)
    assert not torch.allclose(ours(x)[:, -1], ours(x[:, [1, 0, 2, 3, 4]])[:, -1])  # the order counts


@pytest.mark.parametrize("positions", KINDS)
@pytest.mark.parametrize("layers", [1, 3])
def test_kept_keys_and_values_give_what_a_whole_pass_gives(positions, layers):
    ours = network(positions=positions, layers=layers)
    x, state, found = stretches(2, 4, 9), None, []
    for t in range(9):
        y, state = ours.step(x[:, :, t], state)
        found.append(y)
    assert all(part.shape[0] == 8 for part in state)  # rows first
    torch.testing.assert_close(torch.stack(found, 2), ours(x), rtol=1e-9, atol=1e-9)
    assert ours.step(x[:0, :, 0], None)[0].shape == (0, 4, 10)


@pytest.mark.parametrize("positions", KINDS)
def test_rows_that_begin_anew_read_nothing_of_before(positions):
    ours = network(positions=positions)
    x, begins = stretches(3, 8), torch.rand(3, 8, generator=torch.Generator().manual_seed(2)) < 0.4
    state, found = None, []
    for t in range(8):
        y, state = ours.step(x[:, t], restarted(state, begins[:, t]))
        found.append(y)
    for n in range(3):
        first = [t for t in range(8) if t == 0 or begins[n, t]]
        for a, b in zip(first, [*first[1:], 8], strict=True):
            own = torch.stack(found, 1)[n, a:b]
            torch.testing.assert_close(own, ours(x[n : n + 1, a:b])[0], rtol=1e-9, atol=1e-9)


def test_what_lies_beyond_a_length_is_not_read():
    both, x, lengths = network(BiTransformer), stretches(2, 5, 6), torch.tensor([6, 4, 1, 0, 2])
    other = x.clone()
    for n, t in enumerate(lengths.tolist()):
        other[:, n, t:] = 1e3
    torch.testing.assert_close(both(x, lengths), both(other, lengths))
    for n, t in enumerate(lengths.tolist()):
        alone = both(x[0, n, :t].unsqueeze(0), torch.tensor([t]))[0]
        torch.testing.assert_close(both(x, lengths)[0, n, :t], alone)
    x.requires_grad_()
    both(x, lengths).square().sum().backward()
    assert x.grad.isfinite().all() and not x.grad[:, 3].any()
    back = network().backwards(x.detach()[0], lengths)
    for n, t in enumerate(lengths.tolist()):
        torch.testing.assert_close(back[n, :t], network()(x.detach()[0, n, :t].flip(0)).flip(0))


def test_no_sites_and_no_examples():
    for empty in (stretches(0, 4), stretches(2, 0)):
        for found in (network()(empty), network(BiTransformer)(empty, torch.zeros(len(empty)))):
            assert found.shape == (*empty.shape[:-1], 10) and found.dtype == torch.float64
            found.sum().backward()


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="10 numbers are no equal parts of 2 or more for 4 heads"):
        Transformer(3, 10, heads=4)
    with pytest.raises(ValueError, match="no equal parts of 2 or more"):
        BiTransformer(3, 4, heads=4)
    with pytest.raises(BadBatch, match="positions=9.* is given 10 sites"):
        network(positions=9)(stretches(1, 10))
    state = None
    for _ in range(9):
        _, state = network(positions=9).step(stretches(1), state)
    with pytest.raises(BadBatch, match="positions=9.* is given 10 sites"):
        network(positions=9).step(stretches(1), state)


def test_a_bank_of_them_goes_on_site_by_site():
    bank = Bank([network(layers=1) for _ in range(3)])
    for parameter in bank.parameters():
        nn.init.normal_(parameter, 0.0, 0.5)
    x, at, state, found = stretches(5, 6), torch.arange(30).reshape(5, 6) % 3, None, []
    for t in range(6):
        y, state = bank.step(at[:, t], x[:, t], state)
        found.append(y)
    torch.testing.assert_close(torch.stack(found, 1), bank.at_sites(at, x))


def test_copies_and_saved_numbers_are_the_same_network():
    ours, other = network(positions=9), Transformer(3, 10, heads=2, layers=2, positions=9).double()
    other.load_state_dict(ours.state_dict())
    x = stretches(2, 5)
    assert torch.equal(ours(x), other(x)) and torch.equal(ours(x), copy.deepcopy(ours)(x))


def test_one_graph_when_compiled_and_half_precision_under_autocast():
    for kind, told in ((Transformer, ()), (BiTransformer, (torch.tensor([5, 2]),))):
        ours, x = network(kind).float(), stretches(2, 5).float()
        whole = torch.compile(ours, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(whole(x, *told), ours(x, *told))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = ours(x, *told)
        assert half.isfinite().all() and 0 < (half - ours(x, *told)).abs().max() < 0.2


def test_dropout_is_drawn_in_training_alone():
    ours, x = network(dropout=0.5), stretches(2, 5)
    assert not torch.equal(ours(x), ours(x))
    ours.eval()
    assert torch.equal(ours(x), ours(x))
