"""Draws that are made together: their chances, shares and control variates, against brute force over orders."""

from itertools import permutations, product

import pytest
import torch

from lvspec.runtime import (
    against_opposite,
    against_others,
    against_top,
    bernoulli_antithetic_draw,
    categorical_distinct_draw,
    categorical_top_draw,
    disarm_score,
    distinct_weights,
    subset_shares,
    top_shares,
)

F = torch.float64


def normal(*shape, seed=0):
    return torch.randn(shape, dtype=F, generator=torch.Generator().manual_seed(seed))


def set_chance(p, values, gone=()):
    """p(these are drawn first), where those in `gone` cannot be."""
    total = 0.0
    for order in permutations(values):
        left, chance = 1 - sum(p[v] for v in gone), 1.0
        for v in order:
            chance, left = chance * p[v] / left, left - p[v]
        total += chance
    return total


@pytest.mark.parametrize("samples", [1, 2, 3, 5])
def test_shares_and_what_others_say_of_different_values(samples):
    logits = 1.5 * normal(3, 5)
    z = torch.stack([torch.randperm(5, generator=torch.Generator().manual_seed(b))[:samples] for b in range(3)], 1)
    share, others = distinct_weights(logits, z)
    for b in range(3):
        p, values = logits[b].softmax(-1).tolist(), z[:, b].tolist()
        for i, s in enumerate(values):
            rest = [v for v in values if v != s]
            first = set_chance(p, rest, [s])
            assert abs(share[i, b] - p[s] * first / set_chance(p, values)) < 1e-12
            for j, r in enumerate(values):
                two = set_chance(p, [v for v in rest if v != r], [s, r]) / first if r != s else 1.0
                assert abs(others[i, j, b] - p[r] * two) < 1e-12
    torch.testing.assert_close(share.sum(0), torch.ones(3, dtype=F))


def test_average_over_all_sets_is_the_expectation():
    logits, f = normal(1, 4), normal(4, seed=1)
    p = logits[0].softmax(-1).tolist()
    for samples in (2, 3):
        mean = 0.0
        for values in permutations(range(4), samples):
            chance, left = 1.0, 1.0
            for v in values:
                chance, left = chance * p[v] / left, left - p[v]
            z = torch.tensor(values)[:, None]
            mean = mean + chance * (distinct_weights(logits, z)[0][:, 0] * f[z[:, 0]]).sum()
        torch.testing.assert_close(mean, (logits[0].softmax(-1) * f).sum())


@pytest.mark.parametrize("logits", [[40.0, 0.0, -40.0, -700.0], [0.0, 0.0, -torch.inf, -torch.inf]])
def test_sharp_and_impossible_values_have_finite_shares(logits):
    logits = torch.tensor([logits], dtype=F)
    for z in ([0, 1], [0, 1, 2], [0, 1, 2, 3]):
        share, others = distinct_weights(logits, torch.tensor(z)[:, None])
        assert share.isfinite().all() and others.isfinite().all()
        torch.testing.assert_close(share[:2, 0], logits[0].softmax(-1)[:2])


def test_different_values_are_drawn_in_proportion():
    torch.manual_seed(0)
    logits, n = normal(3), 100_000
    z = categorical_distinct_draw(logits.expand(n, 3), 2)
    p = logits.softmax(-1).tolist()
    for first, second in permutations(range(3), 2):
        chance = p[first] * p[second] / (1 - p[first])
        found = ((z[0] == first) & (z[1] == second)).double().mean().item()
        assert abs(found - chance) <= 5 * (chance * (1 - chance) / n) ** 0.5


def test_the_most_probable_values_come_first_and_are_not_drawn_again():
    torch.manual_seed(0)
    logits = normal(50, 6)
    z = categorical_top_draw(logits, 5, 2)
    best = logits.topk(2).indices.T
    assert torch.equal(z[:2], best)
    assert not (z[2:, None] == best[None]).any()
    share = top_shares(logits, z, 2)
    torch.testing.assert_close(share.sum(0), torch.ones(50, dtype=F))
    torch.testing.assert_close(share[:2], logits.softmax(-1).gather(-1, best.T).T)


@pytest.mark.parametrize(("samples", "top"), [(2, 1), (3, 1), (4, 2)])
def test_the_control_variate_of_sum_and_sample_has_mean_zero(samples, top):
    """Σ_s w_s b_s ∇ log q(z_s) = 0 on average over all draws, b = signal - advantage, for any signal."""
    logits, f = normal(1, 4), normal(4, seed=1)
    q = logits[0].softmax(-1)
    best = logits[0].topk(top).indices.tolist()
    others = [v for v in range(4) if v not in best]
    mean = torch.zeros(4, dtype=F)
    for values in product(others, repeat=samples - top):
        z = torch.tensor([*best, *values])[:, None]
        share, signal = top_shares(logits, z, top), f[z]
        held = signal - against_top(signal, share, top)
        chance = torch.stack([q[v] for v in values]).prod() / (1 - q[best].sum()) ** len(values)
        score = torch.nn.functional.one_hot(z[:, 0], 4) - q
        mean += chance * ((share * held)[:, 0, None] * score).sum(0)
    torch.testing.assert_close(mean, torch.zeros(4, dtype=F))


def test_opposite_draws_are_pairs_of_the_distribution():
    torch.manual_seed(0)
    logits, n = normal(4), 100_000
    b = bernoulli_antithetic_draw(logits.expand(n, 4), (2,))
    p = logits.sigmoid()
    spread = 5 * (p * (1 - p) / n).sqrt()
    assert ((b.double().mean(1) - p).abs() <= spread).all()
    both = (b[0] & b[1]).double().mean(0)
    assert ((both - (2 * p - 1).clamp(min=0)).abs() <= spread).all()
    with pytest.raises(ValueError, match="pairs"):
        bernoulli_antithetic_draw(logits, (3,))
    assert torch.equal(against_opposite(torch.tensor([1.0, 2.0, 5.0, 7.0])), torch.tensor([-2.0, -2.5, 2.0, 2.5]))


def test_pairs_have_the_gradient_of_the_expectation_on_average():
    """Σ p(b, b') (f(b) - f(b'))/2 · score over all pairs of two sites, against Σ_b ∇ p(b) f(b)."""
    logits, f = normal(2).requires_grad_(), normal(2, 2, seed=1)
    p = logits.sigmoid()
    pairs = [torch.stack([torch.stack([1 - p[i] - torch.minimum(p[i], 1 - p[i]), torch.minimum(p[i], 1 - p[i])]),
                          torch.stack([torch.minimum(p[i], 1 - p[i]), p[i] - torch.minimum(p[i], 1 - p[i])])]) for i in range(2)]  # fmt: skip
    mean = 0.0
    for a, b, c, d in product(range(2), repeat=4):
        z = torch.tensor([[a, b], [c, d]])
        chance = (pairs[0][a, c] * pairs[1][b, d]).detach()
        signal = torch.stack([f[a, b], f[c, d]])
        mean = mean + chance * (against_opposite(signal) * disarm_score(z, logits).sum(-1)).mean()
    exact = sum((p[0] if a else 1 - p[0]) * (p[1] if b else 1 - p[1]) * f[a, b] for a, b in product(range(2), repeat=2))
    torch.testing.assert_close(*(torch.autograd.grad(v, logits, retain_graph=True)[0] for v in (mean, exact)))


def test_what_others_say_is_subtracted():
    signal, others = normal(3, 2), normal(3, 3, 2, seed=1)
    torch.testing.assert_close(against_others(signal, others), signal - torch.einsum("srb,rb->sb", others, signal))


def test_shares_of_no_example_are_none():
    for z in (
        torch.zeros(2, 0, dtype=torch.int64),
        torch.zeros(2, 0, 3, dtype=torch.int64),
        torch.zeros(2, 1, 0, dtype=torch.int64),
    ):
        assert subset_shares(torch.zeros(2, z.shape[1]), z).shape == (2, z.shape[1])
