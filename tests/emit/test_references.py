"""Emitted modules against programs written by hand: the same loss, the same gradients."""

import importlib

import pytest


@pytest.fixture
def benchmarks():
    """The modules of benchmarks/, which is no part of the package."""
    return {n: importlib.import_module(f"benchmarks.{n}") for n in ("contenders", "measure", "workloads")}


@pytest.mark.parametrize("name", ["W1-small", "W2", "W3", "W6-shared", "W7", "W8"])
def test_emitted_step_agrees_with_the_hand_written_one(benchmarks, name):
    workload = benchmarks["workloads"].make(name)
    candidate = benchmarks["contenders"].contenders(workload)["lvspec"]
    reference = benchmarks["measure"].reference_step(workload.loss, workload.params)
    loss, gradient = benchmarks["measure"].disagreement(candidate, reference)
    # float32: a rounding of the loss, and sums of some thousand terms in another order
    assert loss < 1e-6 and gradient < 2e-4
