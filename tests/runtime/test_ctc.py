"""CTC against torch's own, and every question against brute force over all labellings of the frames."""

from __future__ import annotations

import math
from itertools import groupby, product

import pytest
import torch

from lvspec.runtime.structures.ctc import ctc, ctc_log_prob
from tests.runtime.structures import Family, assert_differentiable_twice, assert_exact, assert_samples, close, forbidden

C = 3
F64 = torch.float64


def spells(frames):
    """What an alignment spells: repeats merged, then blanks (0) left out."""
    return tuple(label for label, _ in groupby(frames) if label)


def structures(example):
    """Every alignment of an example (frames, target), as its parts."""
    frames, target = example
    for labels in product(range(C), repeat=frames):
        if spells(labels) == target:
            yield [("log_probs", (t, label)) for t, label in enumerate(labels)]


def make(potentials, examples):
    longest = max((len(target) for _, target in examples), default=0)
    targets = torch.full((len(examples), longest), 99)  # beyond a length there may be anything
    for row, (_, target) in enumerate(examples):
        targets[row, : len(target)] = torch.tensor(target, dtype=torch.int64)
    lengths = [torch.tensor(n) for n in zip(*[(frames, len(target)) for frames, target in examples], strict=True)]
    return ctc(potentials["log_probs"], targets, *lengths)


def potentials(examples, generator):
    frames = max(frames for frames, _ in examples)
    return {"log_probs": torch.randn(len(examples), frames, C, generator=generator, dtype=F64)}


FAMILY = Family(make, structures, potentials)
BATCHES = [
    [(3, (1,))],
    [(5, (1, 1))],
    [(5, (1, 2)), (5, (2, 2)), (3, ()), (4, (1,)), (1, (2,)), (0, ()), (5, (1, 2, 1))],
    [(2, (1, 1)), (0, (1,)), (4, (2, 1)), (2, (1, 2, 1))],  # no alignment fits the first two, nor the last
    [(0, ()), (0, ())],
]


def drawn(examples, seed=0):
    return potentials(examples, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("examples", BATCHES, ids=range(len(BATCHES)))
def test_every_question_equals_enumeration(examples):
    assert_exact(FAMILY, drawn(examples), examples)


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_forbidden_labels(share):
    examples = BATCHES[2]
    assert_exact(FAMILY, forbidden(drawn(examples), share), examples)


def test_second_derivatives():
    examples = [(4, (1, 1)), (0, ()), (3, (2,)), (2, (1, 2))]
    assert_differentiable_twice(FAMILY, drawn(examples), examples)


def test_samples_fit():
    torch.manual_seed(0)
    assert_samples(FAMILY, drawn([(5, (1, 2))]), (5, (1, 2)))
    assert_samples(FAMILY, forbidden(drawn([(5, (2, 2))]), 0.2), (5, (2, 2)))


def test_the_best_alignment_need_not_spell_the_best_target():
    # `-` and `1` at each of two frames: the best alignment is `--`, but `1` is spelled by three
    log_probs = torch.tensor([[[0.6, 0.4], [0.6, 0.4]]], dtype=F64).log()
    nothing = ctc(log_probs, torch.zeros(1, 0, dtype=torch.int64))
    one = ctc(log_probs, torch.tensor([[1]]))
    best = [p.score(p.mode).item() for p in (nothing, one)]
    assert best[0] > best[1] and nothing.log_partition.item() < one.log_partition.item()


def batch(B=7, T=30, M=9, classes=6, dtype=F64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(B, T, classes, dtype=dtype, generator=generator) * 2
    targets = torch.randint(1, classes, (B, M), generator=generator)
    frames = torch.tensor([T, 1, T // 2, T - 1, 12, T, 20][:B])
    lengths = torch.tensor([M, 1, M // 2, 0, 3, M, 2][:B])
    return logits, targets, frames, lengths


@pytest.mark.parametrize("blank", [0, 3])
@pytest.mark.parametrize("dtype,tolerance", [(F64, 1e-10), (torch.float32, 2e-5)])
def test_values_and_gradients_are_torchs(blank, dtype, tolerance):
    logits, targets, frames, lengths = batch(dtype=dtype)
    targets = torch.where(targets == blank, 5, targets)
    found, expected = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    value = ctc(found.log_softmax(-1), targets, frames, lengths, blank=blank).log_partition
    time_first = expected.log_softmax(-1).transpose(0, 1)
    loss = torch.nn.functional.ctc_loss(time_first, targets, frames, lengths, blank=blank, reduction="none")
    torch.testing.assert_close(value, -loss, rtol=tolerance, atol=tolerance)
    weights = torch.linspace(-1, 2, len(logits), dtype=dtype)
    (value * weights).sum().backward()
    (-loss * weights).sum().backward()
    torch.testing.assert_close(found.grad, expected.grad, rtol=tolerance, atol=tolerance)


def test_the_quick_way_is_the_program():
    logits, targets, frames, lengths = batch(seed=1)
    p = ctc(logits, targets, frames, lengths)
    slow = type(p)(p.program, p.potentials, p.rows)
    assert close(p.log_partition, slow.log_partition)
    assert close(p.marginals["log_probs"], slow.marginals["log_probs"])


def test_what_lies_beyond_the_lengths_is_never_read():
    logits, targets, frames, lengths = batch()
    real = torch.arange(logits.shape[1]) < frames[:, None]
    spoiled = torch.where(real[..., None], logits, 1e4).requires_grad_()
    p, q = ctc(logits, targets, frames, lengths), ctc(spoiled, targets, frames, lengths)
    assert torch.equal(p.log_partition, q.log_partition)
    q.log_partition.sum().backward()
    assert not spoiled.grad[~real].any()


def test_a_planted_error_is_caught(monkeypatch):
    import lvspec.runtime.structures.ctc as module

    kept = module.positions_of

    def always_skipping(*arguments):
        places = kept(*arguments)
        places.skips[:, 2:] = True
        return places

    monkeypatch.setattr(module, "positions_of", always_skipping)
    with pytest.raises(AssertionError):
        assert_exact(FAMILY, drawn(BATCHES[1]), BATCHES[1])


def test_meta_tensors_and_autocast():
    logits, targets, frames, lengths = batch(dtype=torch.float32)
    places = [x.to("meta") for x in (logits, targets, frames, lengths)]
    assert ctc(*places).log_partition.shape == (len(logits),)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = ctc(logits, targets, frames, lengths).log_partition
    assert torch.equal(found, ctc(logits, targets, frames, lengths).log_partition)


def test_nothing_is_spelled_by_blanks_alone():
    logits, blank = torch.randn(3, 4, 2, dtype=F64), torch.randn(3, 4, dtype=F64)
    frames = torch.arange(4) < torch.tensor([4, 2, 0])[:, None]
    none = torch.zeros(3, 2, dtype=torch.bool)
    found = ctc_log_prob(torch.zeros(3, 2, dtype=torch.int64), none, logits, blank, frames)
    each = torch.cat([logits, blank.unsqueeze(-1)], -1).log_softmax(-1)[..., -1]
    torch.testing.assert_close(found, torch.where(frames, each, 0.0).sum(1))


def test_no_frames_and_no_examples():
    """Without a frame nothing is spelt but nothing."""

    def found(rows, symbols, frames):
        x, logits = torch.zeros(rows, symbols, dtype=torch.int64), torch.zeros(rows, frames, 3, dtype=torch.float64)
        full = (torch.ones(rows, symbols, dtype=torch.bool), torch.ones(rows, frames, dtype=torch.bool))
        return ctc_log_prob(x, full[0], logits, logits[..., 0], full[1]).tolist()

    assert found(2, 0, 0) == [0.0, 0.0] and found(2, 1, 0) == [-math.inf, -math.inf]
    assert found(0, 1, 2) == []
