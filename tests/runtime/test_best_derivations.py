"""The best derivations, found from the root down, beside the generic program's, and a hypergraph's beside all of them."""

import itertools
import random

import pytest
import torch

from lvspec.runtime.core.semiring import MAX
from lvspec.runtime.core.structured import Structured
from lvspec.runtime.trees.hypergraph import Forest
from lvspec.runtime.trees.pcfg import bracketings, pcfg

LENGTHS = torch.tensor([5, 4, 2, 1, 0])


def grammar(seed: int, shared: bool, forbidden: float, lengths: torch.Tensor = LENGTHS):
    torch.manual_seed(seed)
    B, T, N, P = len(lengths), int(lengths.max()), 2, 3
    rules = torch.randn(1 if shared else B, N, N + P, N + P, dtype=torch.float64)
    rules = rules.masked_fill(torch.rand(rules.shape) < forbidden, -torch.inf)
    root = torch.randn(1 if shared else B, N, dtype=torch.float64)
    return pcfg(root, rules, torch.randn(B, T, P, dtype=torch.float64), lengths)


@pytest.mark.parametrize("forbidden", [0.0, 0.7])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("seed", range(2))
def test_mode_and_k_best_are_the_generic_programs(seed, shared, forbidden):
    derivations = grammar(seed, shared, forbidden)
    generic = Structured.mode.fget(derivations)
    assert all(torch.equal(found, generic[name]) for name, found in derivations.mode.items())
    (scores, parts), (wanted, others) = derivations.k_best(5), Structured.k_best(derivations, 5)
    torch.testing.assert_close(scores, wanted, rtol=1e-12, atol=1e-12)
    assert all(torch.equal(parts[name], others[name]) for name in parts)


@pytest.mark.parametrize("seed", range(3))
def test_best_spans_admit_the_best_score(seed):
    """Other spans may score the same with the same rules, so spans are not compared themselves."""
    derivations = grammar(seed, shared=True, forbidden=0.5)
    trees = bracketings(derivations)
    spans = trees.mode["spans"]
    best = derivations.under(MAX)
    assert spans.sum((1, 2)).tolist() == torch.where(best > -torch.inf, LENGTHS - 1, 0).clamp(min=0).tolist()
    allowed = torch.where(spans > 0, 0.0, -torch.inf).masked_fill((best == -torch.inf)[:, None, None], 0.0)
    torch.testing.assert_close(trees.program(MAX, {"spans": allowed}), best)


def test_equal_scores_are_given_by_different_derivations():
    """All derivations of four words with two nonterminals and one preterminal score 0: trees 5, symbols 2^3."""
    lengths = torch.tensor([4])
    zeros = torch.zeros(1, 2), torch.zeros(1, 2, 3, 3), torch.zeros(1, 4, 1)
    scores, parts = pcfg(*zeros, lengths).k_best(50)
    assert (scores == 0).sum() == 5 * 2**3
    # rules alone do not tell derivations apart: each of the different ones is used, and none scores otherwise
    assert parts["rules"].sum((2, 3, 4)).flatten().tolist() == [3.0] * 40 + [0.0] * 10


def test_deep_derivations_need_no_recursion():
    """A line of 3,000 nodes with one edge each to the next, and a second one at two of them, at a loss of 1 and 2."""
    losses = {0: 1.0, 7: 2.0}

    def edges(node: int) -> list:
        ways = [0.0, *([-losses[node]] if node in losses else [])] if node < 3000 else []
        return [(weight, (node + 1,)) for weight in ways]

    found = Forest(edges, lambda node: 0.0).derivations(0, 9)
    assert [d.loss for d in found] == [0.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize("seed", range(5))
def test_hypergraph_lists_all_derivations_in_order(seed):
    chance = random.Random(seed)
    edges = {0: [], 1: []}
    for node in range(2, 6):
        edges[node] = [
            (chance.uniform(-1, 1), tuple(chance.randrange(node) for _ in range(chance.randint(1, 2))))
            for _ in range(chance.randint(0, 3))
        ]

    def scores(node: int) -> list[float]:
        if node < 2:
            return [float(node)]
        ways = ((w, itertools.product(*map(scores, parts))) for w, parts in edges[node])
        return sorted((w + sum(s) for w, several in ways for s in several), reverse=True)

    def best(node: int) -> float:
        return max(scores(node), default=-float("inf"))

    def possible(node: int) -> list:
        return [(w, parts) for w, parts in edges[node] if all(scores(p) for p in parts)]

    for node in range(2, 6):
        wanted = scores(node)
        for k in (1, 3, len(wanted) + 2):
            found = [-d.loss for d in Forest(possible, best).derivations(node, k)]
            assert found == pytest.approx(wanted[:k])
