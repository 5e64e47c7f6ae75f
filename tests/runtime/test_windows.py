"""What a network says within segments: scores of windows summed over segmentations, and values taken back to their sites."""

import pytest
import torch

from lvspec.runtime.core.semiring import COUNT, LOG, MAX, BestSemiring
from lvspec.runtime.segments.segments import windowed_segmentation_sum
from lvspec.runtime.segments.windows import border_windows, own_sites, windows
from lvspec.runtime.structures.labels import semi_markov_borders, semi_markov_sum
from tests.runtime.enumerated.segments import structures

T, L, K = 4, 3, 2


def potentials(B=1, T=T, L=L, K=K, seed=0):
    """token, windows, length, start, transition; the windows end with the sequence."""
    generator = torch.Generator().manual_seed(seed)
    token, start, transition = ((B, T, K), (K,), (K, K))
    shapes = (token, (B, T, L, K), (K, L), start, transition)
    found = [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]
    past = torch.arange(T).unsqueeze(1) + torch.arange(L) >= T
    found[1] = found[1].masked_fill(past.unsqueeze(-1), 0.0)
    return found


def scores(length, token, window, extent, start, transition, begins=None):
    """The score of every segmentation of the first `length` sites of the first example, named one by one."""
    found = []
    for parts in structures(length, extent.shape[1], extent.shape[0]):
        total = token.new_zeros(())
        for name, place in parts:
            if name == "segment":
                t, last, k = place
                total = total + extent[k, last]
                for i in range(last + 1):
                    total = total + token[0, t + i, k] + window[0, t, i, k]
                    if begins is not None:
                        total = total + begins[0, t + i, int(i == 0)]
            else:
                total = total + {"start": start, "transition": transition}[name][place]
        found.append(total)
    return torch.stack(found)


@pytest.mark.parametrize("sizes", [(1, 3, 2), (4, 3, 2), (3, 6, 2), (4, 2, 1), (4, 1, 3)], ids=str)
def test_windows_are_summed_over_segmentations(sizes):
    T, L, K = sizes
    inputs = [x.requires_grad_() for x in potentials(1, T, L, K)]
    expected = torch.logsumexp(scores(T, *inputs), 0)
    token, window, extent, start, transition = inputs
    value = windowed_segmentation_sum(token, window, extent, start, transition)
    torch.testing.assert_close(value[0], expected, rtol=0, atol=1e-12)
    found, wanted = (torch.autograd.grad(v.sum(), inputs, materialize_grads=True) for v in (value, expected))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_answers_about_where_segments_begin():
    token, window, extent, start, transition = potentials()
    generator = torch.Generator().manual_seed(1)
    begins = torch.randn(1, T, 2, generator=generator, dtype=torch.float64)
    every = scores(T, token, window, extent, start, transition, begins)
    mask, unasked = (
        torch.ones(1, T, dtype=torch.bool),
        scores(T, *(torch.zeros_like(x) for x in (token, window)), extent, start, transition),
    )

    def total(semiring):
        return semi_markov_sum(token, mask, start, transition, extent, window, begins, semiring)

    constant = torch.logsumexp(unasked, 0)
    torch.testing.assert_close(total(LOG)[0], torch.logsumexp(every, 0) - constant)
    torch.testing.assert_close(total(MAX)[0], every.max() - constant)
    torch.testing.assert_close(total(COUNT)[0], torch.tensor(len(every)).log().double())
    torch.testing.assert_close(total(BestSemiring(5))[:, 0], every.topk(5).values - constant)


def test_differentiable_twice():
    inputs = [x.requires_grad_() for x in potentials(2, 3, 2, 2)]
    lengths = torch.tensor([3, 1])
    assert torch.autograd.gradgradcheck(lambda *x: windowed_segmentation_sum(*x, lengths).sin(), inputs)


@pytest.mark.parametrize("lengths", [[3, 0, 1], [0], [0, 0], []], ids=str)
def test_ragged_and_empty_rows(lengths):
    B = len(lengths)
    token, window, extent, start, transition = potentials(B, max(lengths, default=0), 5, 2)
    mask = torch.arange(token.shape[1]) < torch.tensor(lengths, dtype=torch.int64).unsqueeze(1)
    value = semi_markov_sum(token, mask, start, transition, extent, window.requires_grad_())
    assert value.shape == (B,)
    for row, length in enumerate(lengths):
        if length:
            alone = [x[row : row + 1, :length] for x in (token, window)]
            past = (torch.arange(length).unsqueeze(1) + torch.arange(5) >= length).unsqueeze(-1)
            one = (alone[0], alone[1].masked_fill(past, 0.0), extent, start, transition)
            none = [torch.zeros_like(x) for x in one[:2]]
            wanted = torch.logsumexp(scores(length, *one), 0) - torch.logsumexp(scores(length, *none, *one[2:]), 0)
            torch.testing.assert_close(value[row], wanted)
        else:
            assert value[row] == 0


def test_borders_fit_the_states():
    torch.manual_seed(0)
    _, _, extent, start, transition = potentials()
    states = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])
    mask = torch.tensor([[True] * 4, [True] * 3 + [False]])
    for _ in range(20):
        begins = semi_markov_borders(states, mask, start, transition, extent[:, :2])
        assert begins[0, 0] and begins[0, 2] and begins[1, 0]  # where the state changes, and first of all
        assert begins[1, 1] or begins[1, 2]  # two sites at most
        assert not begins[1, 3]  # beyond the length


def test_windows_and_own_sites():
    x = torch.arange(10.0).view(2, 5)
    seen = windows(x, 1, 3)
    assert seen[0].tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 4], [4, 4, 4]]
    assert windows(x > 0, 1, 3)[1].tolist()[-2:] == [[True, True, False], [True, False, False]]
    begins = torch.tensor([[1, 0, 0, 1, 0], [1, 1, 1, 0, 1]])
    assert torch.equal(own_sites(seen, begins, 0), x)
    assert torch.equal(own_sites(seen.unsqueeze(-1) * torch.ones(4), begins, 1), x.unsqueeze(-1).expand(2, 5, 4))
    offset = torch.arange(3).expand(2, 5, 3)
    assert own_sites(offset, begins, 0).tolist() == [[0, 1, 2, 0, 1], [0, 0, 0, 1, 0]]
    assert windows(x[:, :0], 1, 3).shape == (2, 0, 3)
    assert border_windows(torch.tensor([[[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]]), 2).tolist() == [
        [[[1.0], [2.0]], [[3.0], [4.0]], [[5.0], [0.0]]]
    ]
