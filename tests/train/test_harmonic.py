"""First values from trees with short arcs, against a count over all trees written down by hand."""

from itertools import product

import numpy as np
import pytest
import torch

from lvspec.driver import compile_spec
from lvspec.errors import UsageError
from lvspec.train.data.dataset import Dataset, Example
from lvspec.train.data.layout import layout_of
from lvspec.train.loop.harmonic import HarmonicTrees
from lvspec.train.loop.initialise import initialise
from lvspec.train.settings import train_settings

SENTENCES = [[0, 1, 2], [1, 0], [2]]


@pytest.fixture
def compiled():
    return compile_spec("specs/dmv.yaml", sizes={"C": 3})


@pytest.fixture
def trees(compiled):
    rows = [Example({"x": np.array(s)}, {"t": np.array(len(s))}, {}, i) for i, s in enumerate(SENTENCES)]
    return HarmonicTrees(
        compiled.spec, Dataset(tuple(rows), layout_of(compiled.spec)), train_settings({"batch_size": 2})
    )


def projective_trees(words):
    """Heads from 1, 0 for the root, of every projective tree with one root."""
    for heads in product(range(words + 1), repeat=words):
        arcs = [(h, m) for m, h in enumerate(heads, 1)]
        rooted = heads.count(0) == 1 and all(_reaches_root(heads, m) for m in range(1, words + 1))
        if rooted and not any(_cross(a, b) for a in arcs for b in arcs):
            yield heads


def _reaches_root(heads, word):
    seen = set()
    while word and word not in seen:
        seen.add(word)
        word = heads[word - 1]
    return word == 0


def _cross(a, b):
    (i, j), (k, m) = sorted(a), sorted(b)
    return i < k < j < m


def test_counts_are_those_of_trees_weighed_by_distance(trees):
    c, wanted = 0.5, torch.zeros(3, 2, 3, dtype=torch.float64)
    for tags in SENTENCES:
        weighed = []
        for heads in projective_trees(len(tags)):
            arcs = [(h - 1, m) for m, h in enumerate(heads) if h]
            weighed.append((torch.tensor([1 / (abs(h - m) + c) for h, m in arcs]).prod(), arcs))
        total = sum(w for w, _ in weighed)
        for weight, arcs in weighed:
            for h, m in arcs:
                wanted[tags[h], int(m > h), tags[m]] += weight / total
    found = trees.counts("attach", torch.zeros(3), c)
    assert torch.allclose(found, wanted, atol=1e-6)
    assert found.sum() == pytest.approx(sum(len(s) - 1 for s in SENTENCES))
    assert trees.counts("root", torch.zeros(3), c).sum() == pytest.approx(len(SENTENCES))


def test_parameters_start_at_the_log_of_their_counts(compiled, trees):
    model = compiled.Model(C=3)
    initialise(model, {"attach": "harmonic(0.5, 2)"}, {}, trees)
    wanted = (trees.counts("attach", model.attach, 0.5) + 2.0).log()
    assert torch.allclose(model.attach.double(), wanted, atol=1e-6)


def test_rule_is_refused_where_there_is_no_dependency_model(trees):
    hmm = compile_spec("specs/hmm.yaml", sizes={"K": 3, "V": 3})
    with pytest.raises(UsageError, match="argument of a DMV"):
        initialise(hmm.Model(V=3), {"start": "harmonic"}, {}, HarmonicTrees(hmm.spec, trees.data, trees.settings))
