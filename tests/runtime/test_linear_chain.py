"""Linear chains as distributions over labellings, against brute force."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from lvspec.runtime.structures.linear_chain import labelling_log_prob, linear_chain
from tests.runtime.enumerated.linear_chain import structures
from tests.runtime.structures import (
    Family,
    assert_differentiable_twice,
    assert_exact,
    assert_samples,
    close,
    forbidden,
)

K = 3
PAIRWISE = {"shared": "1KK", "by_example": "BKK", "by_step": "BSKK", "by_step_for_all": "1SKK"}


def family(form: str) -> Family:
    def potentials(lengths, generator):
        T = max(lengths)
        sizes = {"1": 1, "B": len(lengths), "S": max(T - 1, 0), "K": K}
        shape = [sizes[letter] for letter in PAIRWISE[form]]
        return {
            "unary": torch.randn(len(lengths), T, K, generator=generator, dtype=torch.float64),
            "pairwise": torch.randn(*shape, generator=generator, dtype=torch.float64),
        }

    def make(potentials, lengths):
        return linear_chain(potentials["unary"], potentials["pairwise"], torch.tensor(lengths))

    return Family(make, partial(structures, states=K, stepwise="S" in PAIRWISE[form]), potentials)


def drawn(form, lengths, seed=0):
    return family(form).potentials(lengths, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("lengths", [[4], [1], [0], [0, 1, 2, 5, 3], [0, 0]], ids=str)
@pytest.mark.parametrize("form", PAIRWISE)
def test_every_question_equals_enumeration(form, lengths):
    assert_exact(family(form), drawn(form, lengths), lengths)


@pytest.mark.parametrize("share", [0.3, 0.6])
@pytest.mark.parametrize("form", PAIRWISE)
def test_forbidden_parts(form, share):
    lengths = [4, 2, 1, 5, 4, 3, 0]
    assert_exact(family(form), forbidden(drawn(form, lengths), share), lengths)


@pytest.mark.parametrize("form", PAIRWISE)
def test_second_derivatives(form):
    lengths = [3, 0, 1, 4]
    assert_differentiable_twice(family(form), drawn(form, lengths), lengths)


@pytest.mark.parametrize("form", PAIRWISE)
def test_samples_fit(form):
    torch.manual_seed(0)
    assert_samples(family(form), drawn(form, [4]), 4)
    assert_samples(family(form), forbidden(drawn(form, [4]), 0.3), 4)


@pytest.mark.parametrize("form", PAIRWISE)
def test_labels_and_parts(form):
    lengths = [0, 1, 5, 3]
    potentials = drawn(form, lengths)
    p = family(form).make(potentials, lengths)
    labels = torch.randint(K, (4, 5), generator=torch.Generator().manual_seed(1))
    real = torch.arange(5) < torch.tensor(lengths).unsqueeze(1)
    parts = p.parts_of(labels)
    assert torch.equal(p.labels_of(parts), labels.masked_fill(~real, 0))
    assert close(p.score_of(labels), p.score(parts))
    junk = labels.masked_fill(~real, -1)
    by_mask = labelling_log_prob(potentials["unary"], potentials["pairwise"], junk, mask=real)
    assert close(by_mask, p.log_prob(parts))
    draws = p.sample(6)
    again = p.parts_of(p.labels_of(draws))
    assert all(torch.equal(again[n], draws[n]) for n in draws)


def test_padding_changes_nothing():
    lengths = torch.tensor([2, 4, 0])
    potentials = drawn("by_example", [5, 5, 5])
    junk = potentials["unary"].clone()
    junk[torch.arange(5) >= lengths.unsqueeze(1)] = 1e30
    for a, b in zip(*[every(x, potentials["pairwise"], lengths) for x in (potentials["unary"], junk)], strict=True):
        assert torch.equal(a, b)


def every(unary, pairwise, lengths):
    p = linear_chain(unary, pairwise, lengths)
    return p.log_partition, p.entropy, *p.marginals.values(), *p.mode.values(), *p.k_best(2)[1].values()


@pytest.mark.parametrize("scale", [30, 100, 300])
def test_sharp_potentials_in_float32(scale):
    generator = torch.Generator().manual_seed(scale)
    unary, pairwise = (scale * torch.randn(*s, generator=generator) for s in [(4, 20, 6), (1, 6, 6)])
    lengths = torch.tensor([20, 7, 1, 0])
    single, double = (linear_chain(u, p, lengths) for u, p in [(unary, pairwise), (unary.double(), pairwise.double())])
    assert close(single.log_partition, double.log_partition, 1e-6)
    for name, wanted in double.marginals.items():
        assert (single.marginals[name].double() - wanted).abs().max() < 1e-4
    rounding = 1e-6 * double.log_partition.abs().clamp(min=1.0)  # log Z's, which the entropy is a difference to
    assert ((single.entropy.double() - double.entropy).abs() < rounding).all()


def test_a_planted_error_is_found():
    """The helper itself: a sum that forgets the last step's table fails."""
    lengths = [4, 3]
    wrong = family("by_step")

    def make(potentials, lengths):
        steps = potentials["pairwise"].clone()
        steps[:, -1] = 0.0
        return linear_chain(potentials["unary"], steps, torch.tensor(lengths))

    with pytest.raises(AssertionError):
        assert_exact(Family(make, wrong.structures, wrong.potentials), drawn("by_step", lengths), lengths)
