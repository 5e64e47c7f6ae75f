"""Semi-Markov chains as distributions over segmentations, against brute force."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from lvspec.runtime.core.semiring import LOG, MAX
from lvspec.runtime.segments.scaled import scaled_segments, scaled_tokens
from lvspec.runtime.segments.segments import segmentation, token_segmentation_sum
from lvspec.runtime.segments.windows import token_segments, windows
from tests.runtime.enumerated.segments import structures
from tests.runtime.structures import (
    Family,
    assert_differentiable_twice,
    assert_exact,
    assert_samples,
    close,
    forbidden,
)

L, K = 3, 2
FORMS = {"shared": False, "by_example": True}


def family(form: str, L: int = L, K: int = K) -> Family:
    def potentials(lengths, generator):
        B, T = len(lengths), max(lengths)
        rows = B if FORMS[form] else 1

        def normal(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        return {"segment": normal(B, T, L, K), "start": normal(rows, K), "transition": normal(rows, K, K)}

    def make(potentials, lengths):
        return segmentation(**potentials, lengths=torch.tensor(lengths))

    return Family(make, partial(structures, longest=L, states=K), potentials)


def drawn(form, lengths, seed=0, **sizes):
    return family(form, **sizes).potentials(lengths, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("lengths", [[4], [1], [0], [0, 1, 2, 5, 3], [0, 0]], ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_every_question_equals_enumeration(form, lengths):
    assert_exact(family(form), drawn(form, lengths), lengths)


@pytest.mark.parametrize("sizes", [(1, 3), (6, 1), (1, 1), (2, 3)], ids=str)
def test_sizes(sizes):
    L, K = sizes
    lengths = [4, 2, 0, 3]
    assert_exact(family("shared", L, K), drawn("shared", lengths, L=L, K=K), lengths)


@pytest.mark.parametrize("share", [0.3, 0.6])
@pytest.mark.parametrize("form", FORMS)
def test_forbidden_parts(form, share):
    lengths = [4, 2, 1, 5, 4, 3, 0]
    assert_exact(family(form), forbidden(drawn(form, lengths), share), lengths)


def test_equal_neighbours_forbidden():
    lengths = [5, 2, 1, 4]
    potentials = drawn("shared", lengths, K=3)
    potentials["transition"].diagonal(dim1=1, dim2=2).fill_(-torch.inf)
    assert_exact(family("shared", K=3), potentials, lengths)


@pytest.mark.parametrize("form", FORMS)
def test_second_derivatives(form):
    lengths = [3, 0, 1, 4]
    assert_differentiable_twice(family(form), drawn(form, lengths), lengths)


@pytest.mark.parametrize("form", FORMS)
def test_samples_fit(form):
    torch.manual_seed(0)
    assert_samples(family(form), drawn(form, [4]), 4)
    assert_samples(family(form), forbidden(drawn(form, [4]), 0.3), 4)


def test_segments_and_parts():
    lengths = [0, 1, 5, 3]
    p = family("shared").make(drawn("shared", lengths), lengths)
    draws = p.sample(20)
    states, begins = p.segments_of(draws)
    again = p.parts_of(states, begins)
    assert all(torch.equal(again[n], draws[n]) for n in draws)
    real = torch.arange(5) < torch.tensor(lengths).unsqueeze(1)
    junk = p.parts_of(states.masked_fill(~real, -7), begins | ~real)
    assert all(torch.equal(junk[n], draws[n]) for n in draws)


def test_padding_changes_nothing():
    lengths = torch.tensor([2, 4, 0, 5])
    potentials = drawn("shared", [5] * 4)
    ends = torch.arange(5).unsqueeze(1) + torch.arange(L) + 1
    junk = torch.where(ends > lengths.view(-1, 1, 1), 1e30, 0.0).unsqueeze(-1)
    for a, b in zip(every(potentials, lengths), every(potentials, lengths, junk), strict=True):
        assert torch.equal(a, b)


def every(potentials, lengths, junk=0.0):
    p = segmentation(potentials["segment"] + junk, potentials["start"], potentials["transition"], lengths)
    return p.log_partition, p.entropy, *p.marginals.values(), *p.mode.values(), *p.k_best(2)[1].values()


# ------------------------------------------------------------ the scaled program
def large(scale, B=4, T=24, L=5, K=6, tokens=True, seed=0, rows=1):
    """Potentials whose segments grow with their length, or not."""
    generator = torch.Generator().manual_seed(seed)
    start, transition = (scale * torch.randn(rows, *s, generator=generator) for s in [(K,), (K, K)])
    if not tokens:
        return scale * torch.randn(B, T, L, K, generator=generator), start, transition
    token = scale * (torch.randn(B, T, K, generator=generator) - 2.0)
    return token_segments(token, torch.randn(K, L, generator=generator)), start, transition


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("tokens", [True, False])
@pytest.mark.parametrize("ragged", [True, False])
@pytest.mark.parametrize("scale", [0.1, 1, 5, 30, 100, 300])
def test_float32_equals_float64(scale, ragged, tokens, rows):
    inputs = large(scale, tokens=tokens, rows=rows)
    lengths = torch.tensor([24, 7, 1, 0]) if ragged else None
    single = segmentation(*inputs, lengths)
    double = segmentation(*(x.double() for x in inputs), lengths)
    plain = double.program(LOG, double.potentials)
    assert close(double.log_partition, plain, 1e-9)
    assert close(single.log_partition, plain, 1e-6)
    for name, wanted in double.marginals.items():
        assert (single.marginals[name].double() - wanted).abs().max() < 1e-4


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("scale", [1, 30])
def test_four_arcs_in_five_forbidden(scale, seed):
    segment, start, transition = large(scale, K=10, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    transition = transition.masked_fill(torch.rand(transition.shape, generator=generator) < 0.8, -torch.inf)
    single = segmentation(segment, start, transition, torch.tensor([24, 7, 1, 0]))
    double = segmentation(segment.double(), start.double(), transition.double(), torch.tensor([24, 7, 1, 0]))
    plain = double.program(LOG, double.potentials)
    assert close(single.log_partition, plain, 1e-6)
    leaves = {n: x.clone().requires_grad_() for n, x in double.potentials.items()}
    double.program(LOG, leaves).masked_fill(plain == -torch.inf, 0.0).sum().backward()
    for name, found in single.expected_counts.items():
        assert (found.double() - leaves[name].grad).abs().max() < 1e-4


def test_ordinary_potentials_take_the_scaled_program_in_float32():
    for rows in (1, 4):
        segment, start, transition = large(1.0, rows=rows)
        lengths = torch.tensor([24, 7, 1, 0])
        scan = scaled_segments(segment.permute(1, 2, 0, 3), start, transition, lengths, torch.float32)
        assert scan is not None and scan.ends.dtype == torch.float32


def test_long_sequences_keep_their_precision():
    segment, start, transition = large(1.0, B=2, T=3000, L=4, K=5)
    single = segmentation(segment, start, transition)
    double = segmentation(segment.double(), start.double(), transition.double())
    assert scaled_segments(segment.permute(1, 2, 0, 3), start, transition, torch.tensor([3000, 3000]), torch.float32)
    assert close(single.log_partition, double.log_partition, 1e-6)
    for name, wanted in double.marginals.items():
        assert (single.marginals[name] - wanted).detach().abs().max() < 1e-4 * max(1.0, float(wanted.detach().max()))


# ------------------------------------------------------------ scores of tokens
def tokens_and(scale, rows, dtype=torch.float64, B=4, T=24, L=5, K=6, seed=0):
    """token, length, start, transition, the last three with `rows` rows."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(B, T, K), (rows, K, L), (rows, K), (rows, K, K)]
    token, *others = (scale * torch.randn(*s, generator=generator) for s in shapes)
    return [x.to(dtype) for x in (token - 2.0 * scale, *others)]


def by_table(token, length, start, transition, lengths=None):
    p = segmentation(token_segments(token, length), start, transition, lengths)
    return p.program(LOG, p.potentials)


def gradients(function, inputs, lengths):
    leaves = [x.clone().requires_grad_() for x in inputs]
    value = function(*leaves, lengths)
    weights = torch.linspace(0.5, 2.0, len(value), dtype=value.dtype)
    return torch.autograd.grad((value.masked_fill(value == -torch.inf, 0.0) * weights).sum(), leaves)


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("ragged", [True, False])
@pytest.mark.parametrize("scale", [0.1, 1, 5, 30, 100, 300])
def test_scores_of_tokens_equal_the_table(scale, ragged, rows):
    double, single = tokens_and(scale, rows), tokens_and(scale, rows, torch.float32)
    double = [x.double() for x in single]
    lengths = torch.tensor([24, 7, 1, 0]) if ragged else None
    wanted = by_table(*double, lengths)
    assert close(token_segmentation_sum(*double, lengths), wanted)
    assert close(token_segmentation_sum(*single, lengths), wanted, 1e-6)
    exact = gradients(by_table, double, lengths)
    for tolerance, inputs in [(1e-9, double), (1e-4, single)]:
        for got, right in zip(gradients(token_segmentation_sum, inputs, lengths), exact, strict=True):
            assert got.shape == right.shape
            assert (got.double() - right).abs().max() <= tolerance * max(1.0, float(right.abs().max()))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("which", range(4))
def test_forbidden_tokens_lengths_starts_and_arcs(which, seed):
    inputs = tokens_and(1.0, 1, torch.float32, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    share = 0.2 if which == 0 else 0.6
    gone = torch.rand(inputs[which].shape, generator=generator) < share
    inputs[which] = inputs[which].masked_fill(gone, -torch.inf)
    double = [x.double() for x in inputs]
    lengths = torch.tensor([24, 7, 1, 0])
    assert close(token_segmentation_sum(*inputs, lengths), by_table(*double, lengths), 1e-6)
    pairs = zip(gradients(token_segmentation_sum, inputs, lengths), gradients(by_table, double, lengths), strict=True)
    for got, right in pairs:
        assert (got.double() - right).abs().max() <= 1e-4 * max(1.0, float(right.abs().max()))


@pytest.mark.parametrize("rows", [1, 3])
def test_scores_of_tokens_twice_differentiable(rows):
    inputs = [x.requires_grad_() for x in tokens_and(1.0, rows, B=3, T=4, L=3, K=2)]
    lengths = torch.tensor([4, 0, 2])
    assert torch.autograd.gradcheck(lambda *x: token_segmentation_sum(*x, lengths), inputs)
    assert torch.autograd.gradgradcheck(lambda *x: token_segmentation_sum(*x, lengths), inputs)


def test_scores_of_tokens_padding():
    token, *others = tokens_and(1.0, 1, torch.float32)
    lengths = torch.tensor([24, 7, 1, 0])
    past = (torch.arange(24) >= lengths.unsqueeze(1)).unsqueeze(-1)
    for junk in (1e30, -torch.inf, torch.nan):
        other = token.masked_fill(past, junk)
        assert torch.equal(
            token_segmentation_sum(other, *others, lengths), token_segmentation_sum(token, *others, lengths)
        )
        for a, b in zip(
            *(gradients(token_segmentation_sum, [t, *others], lengths) for t in (token, other)), strict=True
        ):
            assert torch.equal(a, b)


def test_best_segmentation_from_scores_of_tokens():
    inputs = tokens_and(1.0, 1, T=6)
    best = segmentation(token_segments(*inputs[:2]), *inputs[2:])
    assert close(token_segmentation_sum(*inputs, semiring=MAX), best.score(best.mode))


def test_ordinary_scores_of_tokens_take_the_scaled_program_in_float32():
    token, length, start, transition = tokens_and(1.0, 1, torch.float32)
    lengths = torch.tensor([24, 7, 1, 0])
    args = (token.transpose(0, 1), length.permute(2, 0, 1), start, transition, lengths)
    assert scaled_tokens(*args, torch.float32) is not None
    transition = transition.masked_fill(torch.eye(6, dtype=torch.bool), -torch.inf)
    start = start.masked_fill(torch.arange(6) > 2, -torch.inf)
    scan = scaled_tokens(*args[:2], start, transition, lengths, torch.float32)
    assert scan is not None and scan.zeros  # what cannot be reached is told from what was lost


def scan_in_float32(token, length, start, transition):
    by_site = (token.transpose(0, 1), length.T.unsqueeze(1))
    lengths = torch.full((len(token),), token.shape[1])
    return scaled_tokens(*by_site, start[None], transition[None], lengths, torch.float32)


def only_self(K):
    return torch.zeros(K, K).masked_fill(~torch.eye(K, dtype=torch.bool), -torch.inf)


def late_winner(first, falls, sites):
    """Two states that never change: state 1 begins badly, and state 0 falls behind it little by little."""
    token = torch.zeros(1, sites, 2)
    token[0, : len(first), 1] = torch.tensor(first)
    token[0, len(first) :, 0] = falls
    return token, torch.zeros(2, 1), torch.zeros(2), only_self(2)


def hidden_behind_a_level():
    """Segments of 16 sites. State 2, which nothing reaches, raises the level; beside it state 1 all but underflows, state
    0 does not, and when both are scaled up again they look alike. In the second half it is the other way round."""
    token = torch.zeros(1, 32, 3)
    token[0, :16, 0], token[0, :16, 1] = -85 / 16, -100 / 16
    token[0, 16:, 0], token[0, 16:, 1] = -100 / 16, -85 / 16
    length = torch.full((3, 16), -torch.inf)
    length[:, -1] = 0.0
    return token, length, torch.tensor([0.0, 0.0, -torch.inf]), only_self(3)


@pytest.mark.parametrize(
    "inputs",
    [late_winner([-20.0] * 6, -1.0, 200), late_winner([-200.0], -1.0, 250), hidden_behind_a_level()],
    ids=["bit by bit", "at once", "before a division"],
)
def test_lost_mass_is_noticed(inputs):
    assert scan_in_float32(*inputs) is None
    assert close(token_segmentation_sum(*inputs), by_table(*(x.double() for x in inputs)), 1e-6)


def test_what_cannot_be_reached_sends_nothing_back():
    """However likely what would follow: e^300 in all, which overflows on the way back in float32."""
    token = torch.zeros(1, 200, 2)
    token[..., 1] = 1.5
    inputs = [token, torch.zeros(2, 3), torch.tensor([0.0, -torch.inf]), only_self(2)]
    assert scan_in_float32(*inputs).zeros
    assert close(token_segmentation_sum(*inputs), by_table(*(x.double() for x in inputs)), 1e-6)
    exact = gradients(by_table, [x.double() for x in inputs], None)
    for got, right in zip(gradients(token_segmentation_sum, inputs, None), exact, strict=True):
        assert (got.double() - right).abs().max() <= 1e-4 * max(1.0, float(right.abs().max()))


@pytest.mark.parametrize("form", FORMS)
def test_compiled_graphs(form):
    lengths = torch.tensor([4, 0, 2])
    inputs = [x.requires_grad_() for x in drawn(form, [4, 0, 2]).values()]
    plain = segmentation(*inputs, lengths)
    total = torch.compile(lambda *x: segmentation(*x, lengths).log_partition, fullgraph=True, backend="aot_eager")
    assert close(total(*inputs), plain.log_partition)
    found = torch.autograd.grad(total(*inputs).sum(), inputs)
    for got, right in zip(found, torch.autograd.grad(plain.log_partition.sum(), inputs), strict=True):
        assert close(got, right.detach())
    entropy = torch.compile(lambda *x: segmentation(*x, lengths).entropy, backend="aot_eager")
    assert close(entropy(*inputs), plain.entropy.detach())


def test_potentials_that_all_examples_share():
    """One row of potentials, as many examples as there are lengths."""
    one = drawn("shared", [4])
    lengths = [0, 4, 2, 4]
    p = segmentation(**one, lengths=torch.tensor(lengths))
    apart = segmentation(**{n: x.expand(4, *x.shape[1:]) for n, x in one.items()}, lengths=torch.tensor(lengths))
    assert close(p.log_partition, apart.log_partition.detach()) and close(p.entropy, apart.entropy.detach())
    for name, wanted in apart.marginals.items():
        assert close(p.marginals[name], wanted.detach())
        assert close(p.expected_counts[name], wanted.detach().sum(0, keepdim=True))


def test_token_segments():
    token, length = torch.randn(2, 5, 3, dtype=torch.float64), torch.randn(3, 8, dtype=torch.float64)
    for size in (1, 3, 8):
        got = token_segments(token, length[:, :size])
        assert got.shape == (2, 5, size, 3)
        for t in range(5):
            for i in range(size):
                assert close(got[:, t, i], token[:, t : t + i + 1].sum(1) + length[:, i])
    leaves = (token.requires_grad_(), length.requires_grad_())
    assert torch.autograd.gradcheck(token_segments, leaves)
    assert torch.autograd.gradgradcheck(lambda *x: token_segments(*x).sin(), leaves)


def test_windows():
    x = torch.randn(2, 4, 3)
    got = windows(x, 1, 3)
    assert got.shape == (2, 4, 3, 3)
    assert (
        torch.equal(got[:, 1], x[:, 1:4]) and torch.equal(got[:, 3, 0], x[:, 3]) and (got[:, 3, 1:] == x[:, 3:]).all()
    )


def test_a_planted_error_is_found():
    """A sum that lets segments be one site longer than they may fails."""
    lengths = [4, 3]
    right = family("shared")
    wrong = Family(right.make, partial(structures, longest=L - 1, states=K), right.potentials)
    with pytest.raises(AssertionError):
        assert_exact(wrong, drawn("shared", lengths), lengths)
