"""Derivations of a grammar by their spans: every question against all derivations, written down one by one."""

import math
from itertools import product

import pytest
import torch

from lvspec.runtime.core.semiring import LOG
from lvspec.runtime.trees.pcfg import bracketings, inside_program, pcfg

N, P, T = 2, 2, 4
LENGTHS = [4, 2, 0, 3, 1]


@pytest.fixture
def grammar():
    draw = torch.Generator().manual_seed(3)
    shapes = {"root": (len(LENGTHS), N), "rules": (1, N, N + P, N + P), "terminals": (len(LENGTHS), T, P)}
    return {name: torch.randn(shape, generator=draw, dtype=torch.float64) for name, shape in shapes.items()}


def derivations(grammar, row, length):
    """(score, spans of two words or more) of every derivation of a sentence."""
    rules, words = grammar["rules"][0], grammar["terminals"][row]

    def below(symbol, i, j):
        if i == j:
            return [(words[i, symbol - N].item(), frozenset())] if symbol >= N else []
        if symbol >= N:
            return []
        return [
            (rules[symbol, l, r].item() + a + b, left | right | {(i, j)})
            for k in range(i, j)
            for l, r in product(range(N + P), repeat=2)
            for a, left in below(l, i, k)
            for b, right in below(r, k + 1, j)
        ]

    return [(grammar["root"][row, a].item() + s, spans) for a in range(N) for s, spans in below(a, 0, length - 1)]


def test_marginals_and_mode_of_spans_are_those_of_all_derivations(grammar):
    trees = bracketings(pcfg(**grammar, lengths=torch.tensor(LENGTHS)))
    marginals, mode, value = trees.marginals["spans"], trees.mode["spans"], trees.log_partition
    for row, length in enumerate(LENGTHS):
        every = derivations(grammar, row, length)
        expected, best = torch.zeros(T, T, dtype=torch.float64), torch.zeros(T, T, dtype=torch.float64)
        if every:
            total = math.log(sum(math.exp(s) for s, _ in every))
            assert value[row].item() == pytest.approx(total, rel=1e-9, abs=1e-9)
            for score, spans in every:
                for span in spans:
                    expected[span] += math.exp(score - total)
            for span in max(every, key=lambda d: d[0])[1]:
                best[span] = 1
        torch.testing.assert_close(marginals[row], expected, rtol=0, atol=1e-9)
        assert torch.equal(mode[row], best)


def test_scores_of_spans_weigh_derivations(grammar):
    scores = torch.randn(len(LENGTHS), T, T, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    scores.requires_grad_()
    lengths = torch.tensor(LENGTHS)

    def total(spans):
        return inside_program(LOG, {**grammar, "spans": spans}, lengths)[lengths != 1]  # one word: no derivation

    for row, length in ((0, 4), (3, 3)):
        weighed = [
            s + sum(scores[row, i, j].item() for i, j in spans) for s, spans in derivations(grammar, row, length)
        ]
        expected = math.log(sum(map(math.exp, weighed)))
        assert total(scores)[[0, 1, 2, 3].index(row)].item() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert torch.autograd.gradcheck(total, scores) and torch.autograd.gradgradcheck(total, scores)


def test_draws_of_spans_have_their_probabilities(grammar):
    """Chi-squared over the five trees of the first sentence: above 33.4 in one case of a million."""
    torch.manual_seed(0)
    draws = bracketings(pcfg(**grammar, lengths=torch.tensor(LENGTHS))).sample(2000)["spans"][:, 0].bool()
    weights = {}
    for score, spans in derivations(grammar, 0, LENGTHS[0]):
        weights[spans] = weights.get(spans, 0.0) + math.exp(score)
    counts = dict.fromkeys(weights, 0)
    for table in draws:
        counts[frozenset((int(i), int(j)) for i, j in table.nonzero())] += 1
    expected = {spans: 2000 * w / sum(weights.values()) for spans, w in weights.items()}
    assert len(counts) == 5
    assert sum((counts[spans] - n) ** 2 / n for spans, n in expected.items()) < 33.4
