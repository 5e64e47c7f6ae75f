"""Sums of products along a plate: no tensor has the axes of all factors, and what is beyond an example's sites is not read."""

import pytest
import torch

from lvspec.driver import compile_spec
from lvspec.verify.checks.compare import verify
from tests.emit.lowering.largest import largest_of_a_step

ATTENTION = """
lvspec: 1
name: attention
sizes: {H: 3, K: 2}
plates: {m: sequence, t: sequence, k: K}
given:
  v[m]: real[H]
  w[m]: real
  h[t]: real[H]
params: {scale: [K], r: [H]}
observed:
  y[t]: Normal(loc + r, 1) where loc = READ
"""
READS = {
    "softmax": ("sum(softmax(dot(h[t], v[m]) over m) * v[m] over m)", ".mT @ real_sites("),
    "weights": ("sum(v[m] * dot(h[t], v[m]) * w[m] over m)", " @ "),
    "numbers alone": ("r * sum(w[m] * dot(h[t], v[m]) over m)", ""),
    "three ways": ("sum(dot(h[t], v[m]) * v[m] * h[t, 0] over m)", " @ "),
    "of a fixed plate": ("sum(dot(h[t], r) * scale[k] * mean(w[m] * v[m] over m) over k)", "torch.einsum("),
}


@pytest.mark.parametrize("name", READS)
def test_sums_of_products_are_right(name):
    read, written = READS[name]
    compiled = compile_spec(ATTENTION.replace("READ", read))
    assert written in compiled.source
    report = verify(compiled.spec, compiled.plan, compiled.Model)
    assert report.passed, report


@pytest.mark.parametrize("name", ["softmax", "weights"])
def test_no_tensor_has_both_plates_and_the_entries(name):
    B, T, M, H = 3, 11, 13, 50
    model = compile_spec(ATTENTION.replace("READ", READS[name][0]), sizes={"H": H}).Model(H=H)
    batch = {"v": torch.randn(B, M, H), "w": torch.randn(B, M), "h": torch.randn(B, T, H), "y": torch.randn(B, T, H)}
    assert largest_of_a_step(model, batch) <= B * max(T * M, M * H)


def test_what_is_beyond_an_example_s_sites_is_not_read():
    model = compile_spec(ATTENTION.replace("READ", READS["weights"][0])).Model()
    batch = {
        "v": torch.randn(2, 4, 3),
        "w": torch.randn(2, 4),
        "h": torch.randn(2, 5, 3),
        "y": torch.randn(2, 5, 3),
        "m": torch.tensor([4, 2]),
    }
    prepared = model.prepare(batch)
    spoilt = {**prepared, "w": prepared["w"].clone(), "v": prepared["v"].clone()}
    spoilt["w"][1, 2:], spoilt["v"][1, 2:] = torch.nan, torch.inf
    torch.testing.assert_close(model.log_marginal(spoilt), model.log_marginal(prepared))
