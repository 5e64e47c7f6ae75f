"""CRF guides: draws, log-probabilities, marginals and entropy, given the labels that are known."""

import itertools
import math

import pytest
import torch

from lvspec.runtime import Undefined
from lvspec.runtime.structures.crf_guides import (
    dependency_crf_guide,
    linear_chain_guide,
    non_projective_crf_guide,
    semi_markov_guide,
    tree_crf_guide,
)
from lvspec.verify.oracle.structured import scored_labellings, structure_score

K, L, T = 2, 2, 3
LENGTHS = (3, 1, 0)
KNOWN = {0: {}, 1: {1: 1}}  # by case: what is known of the first row's labels, site -> label


def arguments_of(family, generator):
    """One set of arguments for each of two classes beside the rows: leading axes (B, C)."""

    def drawn(*shape):
        return torch.randn(len(LENGTHS), 2, *shape, generator=generator, dtype=torch.float64)

    return {
        "LinearChain": lambda: (drawn(T, K), drawn(K, K)),
        "SemiMarkov": lambda: (drawn(K), drawn(K, K), drawn(K, L)),
    }.get(family, lambda: (drawn(T, T),))()


GUIDES = {
    "LinearChain": (linear_chain_guide, ("unary", "pairwise")),
    "SemiMarkov": (semi_markov_guide, ("start", "transition", "length")),
    "DependencyCRF": (dependency_crf_guide, ("arcs",)),
    "NonProjectiveCRF": (non_projective_crf_guide, ("arcs",)),
    "TreeCRF": (tree_crf_guide, ("spans",)),
}
ALONG = ("unary", "arcs", "spans")
TOLD = [f for f in GUIDES if f != "SemiMarkov"]


def case(family, known):
    generator = torch.Generator().manual_seed(3)
    arguments = arguments_of(family, generator)
    mask = torch.arange(T) < torch.tensor(LENGTHS)[:, None]
    size = K if family in ("LinearChain", "SemiMarkov") else T
    factors = torch.zeros(len(LENGTHS), T, size, dtype=torch.float64)
    for site, label in KNOWN[known].items():
        factors[0, site] = -math.inf
        factors[0, site, label] = 0.0
    return arguments, mask[:, None], factors[:, None], size


def truth(family, arguments, row, c, known):
    """q of every labelling of one row and class."""
    names, length = GUIDES[family][1], LENGTHS[row]
    size = K if family in ("LinearChain", "SemiMarkov") else length
    given = [KNOWN[known].get(t) if row == 0 else None for t in range(length)]
    rows = [
        {
            n: a[row, c][t][: length if size == length else None] if n in ALONG else a[row, c]
            for n, a in zip(names, arguments, strict=True)
        }
        for t in range(length)
    ]
    if not length:
        return {(): 1.0}
    scores = torch.stack(scored_labellings(family, rows, given))
    every = [
        z
        for z in itertools.product(range(size), repeat=length)
        if all(k in (None, v) for k, v in zip(given, z, strict=True))
    ]
    found = {z: float((structure_score(family, list(z), rows, None) - scores.logsumexp(0)).exp()) for z in every}
    return {z: p for z, p in found.items() if p > 0}


@pytest.mark.parametrize("family", GUIDES)
@pytest.mark.parametrize("known", KNOWN)
def test_answers_are_those_of_enumeration(family, known):
    torch.manual_seed(0)
    arguments, mask, factors, size = case(family, known)
    q = GUIDES[family][0](mask, *arguments, factors)
    n = 2000
    drawn = q.sample(n)
    assert drawn.shape == (n, len(LENGTHS), 2, T)
    log_q = q.log_prob(drawn)
    for row, c in itertools.product(range(len(LENGTHS)), range(2)):
        expected, length = truth(family, arguments, row, c, known), LENGTHS[row]
        assert sum(expected.values()) == pytest.approx(1.0)
        counted = dict.fromkeys(expected, 0)
        for labels, log_p in zip(drawn[:, row, c, :length].tolist(), log_q[:, row, c].tolist(), strict=True):
            counted[tuple(labels)] += 1  # a KeyError has no probability
            assert math.exp(log_p) == pytest.approx(expected[tuple(labels)], abs=1e-9)
        for labels, p in expected.items():  # 5.2 standard deviations: 1e-6 for the cells of one case together
            assert abs(counted[labels] - n * p) <= 5.2 * math.sqrt(n * p * (1 - p)) + 1e-9
        sites = torch.zeros(T, size, dtype=torch.float64)
        for labels, p in expected.items():
            sites[torch.arange(length), torch.tensor(labels, dtype=torch.int64)] += p
        torch.testing.assert_close(q.sites[row, c], sites, rtol=1e-9, atol=1e-9)
        if family in TOLD:
            entropy = -sum(p * math.log(p) for p in expected.values())
            assert float(q.entropy[row, c].detach()) == pytest.approx(entropy, abs=1e-9)
        if family == "LinearChain":
            steps = torch.zeros(T, K, K, dtype=torch.float64)
            for labels, p in expected.items():
                for t, (a, b) in enumerate(itertools.pairwise(labels), 1):
                    steps[t, a, b] += p
            torch.testing.assert_close(q.steps[row, c], steps, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("family", GUIDES)
@pytest.mark.parametrize("known", KNOWN)
def test_answers_have_the_gradients_of_their_differences(family, known):
    arguments, mask, factors, _ = case(family, known)
    drawn = GUIDES[family][0](mask, *arguments, factors).sample(2)
    inputs = tuple(a.requires_grad_() for a in arguments)

    def answers(*given):
        q = GUIDES[family][0](mask, *given, factors)
        found = [q.sites, q.log_prob(drawn)] + ([q.entropy] if family in TOLD else [])
        return (*found, *([q.steps] if family == "LinearChain" else []))

    assert torch.autograd.gradcheck(answers, inputs)


@pytest.mark.parametrize("family", ["DependencyCRF", "TreeCRF", "SemiMarkov"])
def test_neighbouring_labels_are_joined_by_chains_alone(family):
    arguments, mask, factors, _ = case(family, 0)
    with pytest.raises(Undefined, match="neighbouring"):
        GUIDES[family][0](mask, *arguments, factors).steps  # noqa: B018


@pytest.mark.parametrize("family", GUIDES)
@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
def test_no_example_and_no_site(family, shape):
    B, sites = shape
    size = K if family in ("LinearChain", "SemiMarkov") else sites
    zeros = {"unary": (B, sites, size), "arcs": (B, sites, sites), "spans": (B, sites, sites), "pairwise": (K, K)}
    zeros |= {"start": (K,), "transition": (K, K), "length": (K, L)}
    arguments = [torch.zeros(zeros[n]).requires_grad_() for n in GUIDES[family][1]]
    q = GUIDES[family][0](torch.ones(shape, dtype=torch.bool), *arguments, torch.zeros(B, sites, size))
    assert q.sample(3).shape == (3, *shape)
    assert q.log_prob(torch.zeros(3, *shape, dtype=torch.int64)).tolist() == [[0.0] * B] * 3
    assert q.sites.shape == (B, sites, size)
    if family in TOLD:
        assert q.entropy.tolist() == [0.0] * B
