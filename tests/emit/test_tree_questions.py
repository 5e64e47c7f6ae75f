"""Questions about trees of a spec, asked of emitted modules, against enumeration of every tree."""

import math

import pytest
import torch

from lvspec.driver import compile_spec
from lvspec.runtime import Undefined
from lvspec.runtime.structures.tree_labels import BINARY, NON_PROJECTIVE, PROJECTIVE, constituents
from lvspec.runtime.trees.spans import tree_crf
from lvspec.train.data.tree_labels import ends_of, spans_of_ends
from lvspec.verify.oracle.structured import labelled_trees

LENGTHS = (4, 2, 1, 0)
KINDS = {
    "DependencyCRF": ("arcs", PROJECTIVE),
    "NonProjectiveCRF": ("arcs", NON_PROJECTIVE),
    "TreeCRF": ("spans", BINARY),
}
SPEC = """
lvspec: 1
name: trees
sizes: {{V: 5}}
plates: {{t: sequence, j: copy(t)}}
given:
  x[t]: token(V)
params:
  score: [V, V]
latent:
  tree over t: {family}({argument}=score[x[t], x[j]] over j)
"""


def case(family, forbidden=False):
    model = compile_spec(SPEC.format(family=family, argument=KINDS[family][0])).Model(V=5).double()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        model.score.copy_(torch.randn(5, 5, generator=generator))
        if forbidden:
            model.score[1, 2] = model.score[3, 0] = -torch.inf
    x = torch.stack([torch.randperm(5, generator=generator)[:4] for _ in LENGTHS])
    return model, {"x": x, "t": torch.tensor(LENGTHS)}


def scored(family, model, x):
    """log p of every tree of one example, by its labels."""
    score = model.score.detach()[x][:, x]
    found = {
        tuple(labels): sum(float(score[t, k]) for t, k in parts) for labels, parts in labelled_trees(family, len(x))
    }
    found = found if len(x) else {(): 0.0}
    total = torch.tensor(list(found.values()), dtype=torch.float64).logsumexp(0)
    return {labels: value - float(total) for labels, value in found.items()}


def rows(family, model, batch):
    return [scored(family, model, x[:n]) for x, n in zip(batch["x"], LENGTHS, strict=True)]


@pytest.mark.parametrize("family", ["DependencyCRF", "TreeCRF"])
@pytest.mark.parametrize("forbidden", [False, True])
@pytest.mark.parametrize("k", [1, 3, 40])
def test_k_best_trees_are_in_order_and_complete(family, forbidden, k):
    model, batch = case(family, forbidden)
    scores, values = model.posterior(batch)["tree"].k_best(k)
    assert scores.shape == (k, 4) and values.shape == (k, 4, 4)
    for row, (truth, length) in enumerate(zip(rows(family, model, batch), LENGTHS, strict=True)):
        best = sorted((s for s in truth.values() if s > -math.inf), reverse=True)[:k]
        expected = torch.tensor(best + [-math.inf] * (k - len(best)), dtype=torch.float64)
        torch.testing.assert_close(scores[:, row], expected, rtol=1e-9, atol=1e-9)
        trees = [tuple(z[:length]) for z in values[: len(best), row].tolist()]
        assert len(set(trees)) == len(best)
        torch.testing.assert_close(torch.tensor([truth[z] for z in trees]), torch.tensor(best), rtol=1e-9, atol=1e-9)


def test_labellings_of_a_linear_chain_are_ranked_and_counted():
    source = "lvspec: 1\nsizes: {K: 2}\nplates: {t: sequence}\ngiven:\n  x[t]: real[K]\nparams: {pairwise: [K, K]}\n"
    model = (
        compile_spec(source + "latent:\n  z over t: LinearChain(unary=x[t], pairwise=pairwise)\n").Model(K=2).double()
    )
    with torch.no_grad():
        model.pairwise[0, 1] = -torch.inf
    answer = model.posterior({"x": torch.randn(2, 3, 2).double(), "t": torch.tensor([3, 1])})["z"]
    torch.testing.assert_close(answer.log_count.exp(), torch.tensor([4.0, 2.0]).double())
    scores, values = answer.k_best(5)
    torch.testing.assert_close(scores.exp().sum(0), torch.ones(2).double())
    assert torch.equal(values[0], answer.mode) and (scores[4] == -torch.inf).all()


@pytest.mark.parametrize("family", KINDS)
def test_trees_are_counted(family):
    model, batch = case(family, forbidden=True)
    truth = [sum(s > -math.inf for s in row.values()) for row in rows(family, model, batch)]
    assert min(truth) < max(truth)
    torch.testing.assert_close(
        model.posterior(batch)["tree"].log_count.exp(), torch.tensor(truth, dtype=torch.float64), rtol=1e-9, atol=1e-9
    )


def test_trees_of_a_determinant_have_no_next_best():
    model, batch = case("NonProjectiveCRF")
    with pytest.raises(Undefined, match="determinant"):
        model.posterior(batch)["tree"].k_best(2)


@pytest.mark.parametrize("family", KINDS)
def test_draws_are_trees_and_each_is_as_frequent_as_it_is_probable(family):
    torch.manual_seed(0)
    model, batch = case(family, forbidden=True)
    n = 600 if family == "NonProjectiveCRF" else 1500  # whose trees are drawn arc by arc
    drawn = model.posterior(batch)["tree"].sample(n)
    for row, (truth, length) in enumerate(zip(rows(family, model, batch), LENGTHS, strict=True)):
        counted = dict.fromkeys(truth, 0)
        for labels in drawn[:, row, :length].tolist():
            counted[tuple(labels)] += 1  # a KeyError is no tree
        for labels, count in counted.items():
            p = math.exp(truth[labels])  # 4.9 standard deviations: 1e-6 for each of the 40 cells
            assert abs(count - n * p) <= 4.9 * math.sqrt(n * p * (1 - p)) + 1e-9


@pytest.mark.parametrize("family", KINDS)
def test_sums_over_trees_can_be_differentiated_twice(family):
    generator = torch.Generator().manual_seed(2)
    factors, scores = (torch.randn(2, 3, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    mask = torch.tensor([[True, True, True], [True, True, False]])
    inputs = (factors.requires_grad_(), scores.requires_grad_())
    assert torch.autograd.gradgradcheck(lambda f, s: KINDS[family][1].sum(f, mask, s), inputs)


@pytest.mark.parametrize("family", KINDS)
def test_trees_of_no_example_and_of_no_word(family):
    kind = KINDS[family][1]
    for shape in ((0, 3), (2, 0)):
        mask = torch.ones(shape, dtype=torch.bool)
        scores = torch.zeros(*shape, shape[-1])
        assert kind.sum(scores, mask, scores).tolist() == [0.0] * shape[0]
        assert kind.draw(mask, scores).shape == shape


@pytest.mark.parametrize("family", KINDS)
def test_labels_that_are_no_tree_have_no_mass(family):
    scores, mask = torch.zeros(1, 3, 3), torch.ones(1, 3, dtype=torch.bool)
    wrong = {"TreeCRF": [1, 2, 2]}.get(family, [1, 0, 2])  # crossing constituents; two words that head each other
    assert KINDS[family][1].log_prob(torch.tensor([wrong]), mask, scores).tolist() == [-torch.inf]


def test_constituents_and_the_ends_of_the_largest_ones_are_one_tree():
    for length in range(6):
        mask = torch.arange(6) < length
        for labels, spans in labelled_trees("TreeCRF", length) if length else [([], [])]:
            ends = torch.tensor(labels + [0] * (6 - length), dtype=torch.int64)
            assert set(map(tuple, constituents(ends, mask).nonzero().tolist())) == set(spans)
            wide = {(i, j + 1) for i, j in spans if j > i}
            assert set(spans_of_ends(ends[:length].numpy())) == wide and ends_of(wide, length) == labels


def test_marginals_of_the_largest_constituents_are_those_of_the_program():
    spans = torch.randn(1, 4, 4, dtype=torch.float64)
    found = tree_crf(spans, torch.tensor([4]), torch.zeros_like(spans)).marginals["largest"]
    model_free = torch.zeros(4, 4, dtype=torch.float64)
    scored_trees = [(labels, sum(spans[0, t, k] for t, k in parts)) for labels, parts in labelled_trees("TreeCRF", 4)]
    weights = torch.stack([s for _, s in scored_trees]).softmax(0)
    for (labels, _), weight in zip(scored_trees, weights, strict=True):
        model_free[torch.arange(4), torch.tensor(labels)] += weight
    torch.testing.assert_close(found[0], model_free, rtol=1e-9, atol=1e-9)
