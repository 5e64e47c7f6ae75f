"""Scores of trees: by hand, against all trees enumerated, and against definitions written another way."""

import random
from fractions import Fraction

import pytest

from lvspec.errors import UsageError
from lvspec.train.data import brackets
from lvspec.train.data.brackets import F1, bracketing, gold_tree, left_out, nontrivial, share_of_trees, shown
from lvspec.train.evaluation import attachment as heads
from lvspec.train.evaluation.attachment import attachment

CAT = "(S (NP-SBJ (DT the) (JJ big) (NN cat)) (VP (VBD sat) (PP (-NONE- *T*)) (ADVP (RB there))) (. .))"


def binary_trees(first, after):
    """Every binary tree over the words first .. after - 1, as its set of spans."""
    if after - first == 1:
        return [frozenset([(first, after)])]
    return [
        left | right | {(first, after)}
        for split in range(first + 1, after)
        for left in binary_trees(first, split)
        for right in binary_trees(split, after)
    ]


def test_a_bracketed_tree_is_its_spans():
    found = gold_tree(CAT)
    assert found.words == 6 and found.tags == ("DT", "JJ", "NN", "VBD", "RB", ".")
    assert found.spans == {(0, 3), (3, 5)}  # neither (RB there), a word, nor S, the sentence; the trace is no word


@pytest.mark.parametrize("text", ["(S (A a)", "(A a))", "a b"])
def test_text_that_is_no_tree_is_refused(text):
    with pytest.raises(UsageError, match="no bracketed tree"):
        gold_tree(text)


def test_unary_chains_are_one_span():
    assert gold_tree("(ROOT (S (NP (NP (A a) (B b))) (VP (C c))))").spans == {(0, 2)}


def test_words_that_are_left_out_take_their_spans_along():
    found = gold_tree(CAT)
    assert left_out(found.spans, [True, True, True, True, True, False]) == ({(0, 3), (3, 5)}, 5)
    assert left_out(found.spans, [True, False, False, True, True, False]) == ({(1, 3)}, 3)  # (the) is a word now
    assert left_out(found.spans, [False, False, False, True, True, False]) == (frozenset(), 2)


@pytest.mark.parametrize("words", range(1, 8))
def test_random_trees_are_the_mean_over_all_of_them(words):
    trees = [nontrivial(t, words) for t in binary_trees(0, words)]
    assert all(len(t) == max(0, words - 2) for t in trees)
    for span in nontrivial(((i, j) for j in range(words + 1) for i in range(j)), words):
        assert share_of_trees(span, words) == pytest.approx(sum(span in t for t in trees) / len(trees), rel=1e-12)
    gold = nontrivial({(0, 2), (3, 5), (2, 6), (1, 4)}, words)
    gold = frozenset(s for s in gold if s[1] <= words)
    each = [bracketing([(t, gold, words)])["found"].sentence for t in trees]
    assert bracketing([(trees[0], gold, words)])[brackets.RANDOM].sentence == pytest.approx(
        sum(each) / len(each), rel=1e-12
    )


def test_branching_trees_are_binary_and_branch_as_they_say():
    for words in range(1, 6):
        every = [nontrivial(t, words) for t in binary_trees(0, words)]
        assert brackets.right_branching(words) in every and brackets.left_branching(words) in every
    assert brackets.right_branching(4) == {(1, 4), (2, 4)} and brackets.left_branching(4) == {(0, 2), (0, 3)}


def test_f1_of_sentences_and_of_the_corpus():
    pairs = [
        (frozenset({(0, 2), (0, 3)}), frozenset({(0, 2)}), 4),  # precision 1/2, recall 1: 2/3
        (frozenset({(0, 2), (0, 3), (0, 4)}), frozenset({(3, 5), (2, 5), (0, 2)}), 5),  # 1/3, 1/3: 1/3
        (frozenset(), frozenset(), 2),  # nothing that counts, nothing wrong: 1
        (frozenset({(0, 2)}), frozenset(), 3),  # a flat gold tree: 0
        (frozenset(), frozenset(), 1),  # one word: passed over
    ]
    found = bracketing(pairs)["found"]
    assert found.sentences == 4
    assert found.sentence == pytest.approx(float((Fraction(2, 3) + Fraction(1, 3) + 1 + 0) / 4))
    precision, recall = Fraction(2, 6), Fraction(2, 4)
    assert found.corpus == pytest.approx(float(2 * precision * recall / (precision + recall)))
    assert (F1().sentence, F1().corpus) == (0, 0)


def test_a_tree_is_shown_by_its_brackets():
    words = ["the", "cat", "sat", "down"]
    assert shown(words, {(0, 2), (2, 4), (0, 4), (0, 1)}) == "((the cat) (sat down))"
    assert shown(words, brackets.right_branching(4)) == "(the (cat (sat down)))"
    assert shown(["one"], set()) == "(one)"


@pytest.mark.parametrize("seed", range(5))
def test_shown_brackets_read_back_as_the_tree(seed):
    words = random.Random(seed).randint(2, 9)
    tree = random.Random(seed).choice(binary_trees(0, words))
    text = shown([f"(W w{i})" for i in range(words)], tree)
    assert gold_tree(text).spans == nontrivial(tree, words)


def test_attachment_counts_arcs_either_way():
    #      the -> cat -> sat <- down, sat at the root
    gold, everywhere = [2, 3, 0, 3], [True] * 4
    found = attachment([([2, 0, 2, 3], gold, everywhere)])["found"]
    assert (found.words, found.directed, found.undirected) == (4, 2, 3)  # cat at the root is wrong both ways
    found = attachment([([2, 0, 2, 3], gold, [True, False, True, False])])["found"]
    assert (found.words, found.directed, found.undirected) == (2, 1, 2)


def test_branching_heads():
    assert heads.right_branching(3) == [0, 1, 2] and heads.left_branching(3) == [2, 3, 0]
    assert heads.right_branching(0) == heads.left_branching(0) == []
    found = attachment([([2, 3, 0, 3], [2, 3, 0, 3], [True] * 4)])
    assert (found["found"].directed, found["right-branching"].directed, found["left-branching"].directed) == (4, 1, 2)
    assert (found["right-branching"].undirected, found["left-branching"].undirected) == (3, 3)


@pytest.mark.parametrize("seed", range(5))
def test_undirected_arcs_are_sets_of_two_words(seed):
    draw = random.Random(seed)
    gold, found = ([draw.choice([h for h in range(9) if h != w]) for w in range(1, 9)] for _ in range(2))
    arcs = {frozenset((head, word)) for word, head in enumerate(gold, 1)}
    joined = sum(frozenset((head, word)) in arcs for word, head in enumerate(found, 1))
    assert attachment([(found, gold, [True] * 8)])["found"].undirected == joined
