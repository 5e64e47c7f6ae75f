"""Hidden trees whose grammar reads latents that are drawn: Σ_s w_s p(tree | x, draw s), against every derivation under each of
three draws."""

import pytest
import torch

from lvspec.driver import compile_spec
from lvspec.runtime import Undefined
from lvspec.shipped import shipped
from lvspec.train.evaluation.structures import spans

GRAMMAR = """
lvspec: 1
name: bent_grammar
sizes: {N: 2, P: 2, D: 2, V: 4}
plates: {t: sequence, n: N}
params:
  root: [N]
  symbols: [N, D]
  words: [P, V]
  middle: {shape: [D], init: zeros}
networks:
  rules: Linear(2*D, (N + P)*(N + P))
let:
  rule[n]: reshape(rules(concat(symbols[n], RULES)), N + P, N + P)
latent:
  LATENTS
observed:
  x over t: PCFG(root=ROOT, rules=rule, terminals=words) with tree
guide:
  GUIDE
"""
OWN = {"RULES": "z", "LATENTS": "z: Normal(0, 1)[D]", "ROOT": "root", "GUIDE": "z: Normal(middle, 1)"}
SHARED = {
    "RULES": "z",
    "LATENTS": "z: Normal(0, 1)[D]\n  global b: Normal(0, 1)[N]",
    "ROOT": "root + b",
    "GUIDE": "z: Normal(middle, 1)\n  b: Normal(0, 1)[N]",
}
SHARED_ALONE = {**SHARED, "RULES": "middle", "LATENTS": "global b: Normal(0, 1)[N]", "GUIDE": "b: Normal(0, 1)[N]"}
LENGTHS = (4, 2, 3)


def case(kind):
    text = GRAMMAR
    for word, code in kind.items():
        text = text.replace(word, code)
    torch.manual_seed(2)
    compiled = compile_spec(text)
    model = compiled.Model(**({"dataset_size": 3} if "global" in text else {})).double()
    batch = {"x": torch.randint(4, (3, 4)), "t": torch.tensor(LENGTHS)}
    with torch.no_grad():
        return model, batch, model.posterior(batch, samples=3)


def derivations(rules, leaf, symbol, first, last):
    """log p and the spans and rules of each derivation of words first .. last from a symbol."""
    nonterminals, symbols = rules.shape[:2]
    if symbol >= nonterminals:
        return [(leaf[first, symbol - nonterminals], [])] if first == last else []
    return [
        (rules[symbol, b, c] + left + right, [(first, last, symbol, b, c), *of_left, *of_right])
        for k in range(first, last)
        for b in range(symbols)
        for c in range(symbols)
        for left, of_left in derivations(rules, leaf, b, first, k)
        for right, of_right in derivations(rules, leaf, c, k + 1, last)
    ]


def trees(model, batch, found, s, row):
    """p(tree | x, draw s) of every tree of one example, with its rules."""
    z = found["z"].values[s, row] if "z" in found else model.middle
    root = model.root + found["b"].values[s] if "b" in found else model.root
    both = torch.cat([model.symbols, z.expand(2, 2)], -1)
    rules = model.rules(both).log_softmax(-1).view(2, 4, 4)
    n = LENGTHS[row]
    leaf = model.words.log_softmax(-1)[:, batch["x"][row, :n]].mT
    each = [(root.log_softmax(-1)[a] + p, uses) for a in range(2) for p, uses in derivations(rules, leaf, a, 0, n - 1)]
    return torch.stack([p for p, _ in each]).softmax(0), [uses for _, uses in each]


def weight(found, s, row):
    q = found["b"] if "b" in found else found["z"]
    return q.weights[s] if q.weights.dim() == 1 else q.weights[s, row]


@pytest.mark.parametrize("kind", [OWN, SHARED, SHARED_ALONE])
@torch.no_grad()
def test_marginals_are_averaged_over_the_draws_by_their_weights(kind):
    model, batch, found = case(kind)
    rules, brackets = torch.zeros(3, 2, 4, 4).double(), torch.zeros(3, 4, 4).double()
    for row in range(3):
        for s in range(3):
            assert weight(found, s, row) > 0.01  # each draw counts
            for p, uses in zip(*trees(model, batch, found, s, row), strict=True):
                for i, j, a, b, c in uses:
                    rules[row, a, b, c] += weight(found, s, row) * p
                    brackets[row, i, j] += weight(found, s, row) * p
    torch.testing.assert_close(found["tree"].marginals["rules"], rules, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(spans(found["tree"], True)["marginals"], brackets, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", [OWN, SHARED, SHARED_ALONE])
@torch.no_grad()
def test_the_best_tree_is_that_of_the_draw_of_highest_weight(kind):
    model, batch, found = case(kind)
    mode, (scores, ranked) = found["tree"].mode, found["tree"].k_best(2)
    for row in range(3):
        s = int(torch.stack([weight(found, s, row) for s in range(3)]).argmax())
        p, every = trees(model, batch, found, s, row)
        expected = torch.zeros(2, 4, 4).double()
        for _, _, a, b, c in every[int(p.argmax())]:
            expected[a, b, c] += 1
        torch.testing.assert_close(mode["rules"][row], expected)
        torch.testing.assert_close(ranked["rules"][0, row], expected)
        best = p.sort(descending=True).values[:2].log()
        torch.testing.assert_close(scores[1, row] - scores[0, row], best[1] - best[0], rtol=1e-9, atol=1e-9)
        assert round(float(found["tree"].log_count[row].exp())) == len(every)
    with pytest.raises(Undefined, match="mixture over draws"):
        _ = found["tree"].entropy


@pytest.mark.parametrize("kind", [OWN, SHARED])
@torch.no_grad()
def test_draws_of_trees_are_as_frequent_as_they_are_probable(kind):
    n = 4000
    _, _, found = case(kind)
    drawn = found["tree"].sample(n)["rules"]
    p = found["tree"].marginals["rules"][1]  # two words: one rule
    assert (drawn[:, 1].sum((1, 2, 3)) == 1).all()
    share = drawn[:, 1].double().mean(0)
    assert ((share - p).abs() <= 4.9 * (p * (1 - p) / n).sqrt() + 1e-9).all()  # 1e-6 for each of 32 cells
    assert (drawn.sum((2, 3, 4)) == torch.tensor(LENGTHS) - 1).all()


@torch.no_grad()
def test_an_impossible_sentence_has_no_tree():
    model, _, _ = case(OWN)
    tree = model.posterior({"x": torch.tensor([[1, 2], [3, 0]]), "t": torch.tensor([1, 2])}, samples=3)["tree"]
    assert (tree.marginals["rules"][0] == 0).all()
    torch.testing.assert_close(tree.marginals["rules"][1].sum(), torch.tensor(1.0).double())


def test_a_method_of_a_hidden_tree_gives_way_to_a_name_of_the_spec():
    text = shipped("specs").joinpath("compound_pcfg.yaml").read_text()
    source = compile_spec(text.replace("symbols", "tree_at_draws")).source
    assert "def tree_at_draws_2(self" in source and "self.tree_at_draws_2(batch, draws)" in source
