"""Ragged batches: nothing beyond a length is ever read."""

from __future__ import annotations

import pytest
import torch

from lvspec.runtime import first, last, masked_max, masked_mean, masked_sum, prepare_plate, previous, weighted_mean
from lvspec.runtime.core.batch import BadBatch


def test_what_lies_beyond_a_length_is_replaced():
    x = torch.tensor([[1, 2, -9], [3, 99, 99], [77, 77, 77]])
    y = torch.randn(3, 3, 2)
    y[0, 2] = y[1, 1:] = y[2] = torch.nan
    seen = torch.ones(3, 3, dtype=torch.bool)
    batch = {"x": x, "y": y, "x_observed": seen, "t": torch.tensor([2, 1, 0]), "other": torch.ones(1)}
    found = prepare_plate(batch, "t", {"x": 1, "y": 1})
    assert found["t.mask"].tolist() == [[True, True, False], [True, False, False], [False] * 3]
    assert found["t.sites"].tolist() == [0, 1, 3]
    assert found["x"].tolist() == [[1, 2, 0], [3, 0, 0], [0, 0, 0]]
    assert found["y"].isfinite().all() and torch.equal(found["y"][0, :2], y[0, :2])
    assert found["x_observed"].tolist() == found["t.mask"].tolist()
    assert batch["x"] is x and "t.mask" not in batch and found["other"] is batch["other"]


def test_lengths_may_be_absent_and_extents_may_exceed_them():
    found = prepare_plate({"x": torch.ones(2, 4)}, "t", {"x": 1})
    assert found["t"].tolist() == [4, 4] and found["t.mask"].all()
    found = prepare_plate({"x": torch.ones(2, 4), "t": torch.tensor([1, 2])}, "t", {"x": 1})
    assert found["x"].shape == (2, 4)
    assert prepare_plate({"x": torch.ones(0, 4), "t": torch.zeros(0).long()}, "t", {"x": 1})["t.sites"].shape == (0,)
    assert prepare_plate({"x": torch.ones(2, 0), "t": torch.zeros(2).long()}, "t", {"x": 1})["t.mask"].shape == (2, 0)


def test_wrong_lengths_are_refused_in_words():
    with pytest.raises(ValueError, match="from 1 to 5, but the padded extent is 4"):
        prepare_plate({"x": torch.ones(2, 4), "t": torch.tensor([1, 5])}, "t", {"x": 1})
    with pytest.raises(ValueError, match="disagree"):
        prepare_plate({"x": torch.ones(2, 4), "y": torch.ones(2, 5)}, "t", {"x": 1, "y": 1})
    with pytest.raises(ValueError, match="have shape"):
        prepare_plate({"x": torch.ones(2, 4), "t": torch.tensor([1, 2, 3])}, "t", {"x": 1})


def test_a_plate_within_a_plate():
    x = torch.ones(2, 3, 4)
    batch = prepare_plate({"x": x, "d": torch.tensor([2, 1])}, "d", {"x": 1})
    batch["t"] = torch.tensor([[4, 1, 3], [2, 0, 0]])
    batch = prepare_plate(batch, "t", {"x": 2}, within="d")
    assert batch["t.mask"].shape == (2, 3, 4)
    assert batch["t.mask"].sum(-1).tolist() == [[4, 1, 0], [2, 0, 0]]
    assert batch["x"].sum(-1).tolist() == [[4, 1, 0], [2, 0, 0]]


def test_previous_shifts_and_fills():
    x = torch.tensor([[1, 2, 3], [4, 5, 6]])
    assert previous(x, 1, 9).tolist() == [[9, 1, 2], [9, 4, 5]]
    assert previous(x, 1, 9, k=2).tolist() == [[9, 9, 1], [9, 9, 4]]
    assert previous(x, 1, 9, k=5).tolist() == [[9] * 3] * 2
    assert previous(x, 1, 9, k=-1).tolist() == [[2, 3, 9], [5, 6, 9]]
    assert previous(x, 0, 9).tolist() == [[9] * 3, [1, 2, 3]]
    assert previous(x, -1, 0, k=0) is x
    assert previous(x[:, :0], 1, 9).shape == (2, 0)


def test_first_and_last_real_sites():
    h = torch.arange(24.0).view(2, 3, 4).requires_grad_()
    lengths = torch.tensor([2, 0])
    assert last(h, lengths, 1).tolist() == [h[0, 1].tolist(), [0.0] * 4]
    assert first(h, lengths, 1).tolist() == [h[0, 0].tolist(), [0.0] * 4]
    last(h, lengths, 1).sum().backward()
    assert h.grad.sum() == 4 and h.grad[0, 1].sum() == 4
    assert last(h[:, :0], lengths * 0, 1).shape == (2, 4)
    drawn = torch.stack([h, h + 1])  # draws come before the batch
    assert torch.equal(last(drawn, lengths, 2)[1, 0], h[0, 1] + 1)
    nested = torch.randn(2, 3, 5, 4)
    inner = torch.tensor([[5, 1, 0], [2, 2, 2]])
    assert torch.equal(last(nested, inner, 2)[0, 0], nested[0, 0, 4])


def test_reductions_over_a_stretch():
    x = torch.tensor([[[1.0, -2.0], [3.0, -5.0], [torch.nan, torch.nan]], [[torch.nan] * 2] * 3], requires_grad=True)
    mask = torch.tensor([[True, True, False], [False] * 3])
    assert masked_sum(x, mask, 1).tolist() == [[4.0, -7.0], [0.0, 0.0]]
    assert masked_mean(x, mask, 1).tolist() == [[2.0, -3.5], [0.0, 0.0]]
    assert masked_max(x, mask, 1).tolist() == [[3.0, -2.0], [0.0, 0.0]]
    (masked_sum(x, mask, 1) + masked_mean(x, mask, 1) + masked_max(x, mask, 1)).sum().backward()
    assert x.grad.isfinite().all() and (x.grad[1] == 0).all()


def test_means_by_weight():
    values = torch.tensor([1.0, 2.0, 4.0], requires_grad=True)
    assert weighted_mean(values).item() == pytest.approx(7 / 3)
    assert weighted_mean(values, torch.tensor([1.0, 0.0, 1.0])).item() == 2.5
    empty = values[:0]
    assert weighted_mean(empty).item() == 0 and weighted_mean(empty, torch.zeros(0)).item() == 0
    weighted_mean(empty, torch.zeros(0)).backward()
    assert values.grad.isfinite().all()


def test_lengths_of_nested_plates_that_stand_alone_end_with_the_outer_plate():
    """d: 1 site at most, of two that `t` was padded to: what stands in the second column are no sites."""
    lengths = {"d": torch.tensor([1, 0]), "t": torch.tensor([[2, 1], [3, 3]])}
    found = prepare_plate(prepare_plate(lengths, "d", {}), "t", {}, within="d")
    assert found["t.mask"].sum((1, 2)).tolist() == [2, 0]
    assert found["t.mask"].shape[:2] == found["d.mask"].shape
    with pytest.raises(BadBatch, match="`d` has"):
        prepare_plate(prepare_plate({**lengths, "d": torch.tensor([3, 0])}, "d", {}), "t", {}, within="d")
