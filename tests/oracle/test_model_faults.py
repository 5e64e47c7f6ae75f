"""Faults that were there once are told by `lvspec verify` on a small model that shows them."""

from functools import cache

import pytest

from lvspec.driver import plan_spec, recompile
from lvspec.load import load_module
from lvspec.verify import pins, render, shrink, verify
from tests.oracle.model_faults import FAULTS


@cache
def compiled(text):
    plan = plan_spec(f"lvspec: 1\n{text}")
    return recompile(plan.spec, shrink(plan.spec), pins(plan))


def report_of(text, source):
    one = compiled(text)
    return verify(one.spec, one.plan, load_module(source, one.spec).Model, draws=0, samples=4000)


@pytest.mark.parametrize("text", dict.fromkeys(f.spec for f in FAULTS.values()))
def test_the_module_as_emitted_agrees(text):
    report = report_of(text, compiled(text).source)
    assert report.passed, render(report)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_that_is_put_back_is_told(name):
    fault = FAULTS[name]
    source = fault.put_back(compiled(fault.spec).source)
    assert source is not None, compiled(fault.spec).source
    report = report_of(fault.spec, source)
    assert report.disagrees, render(report)
    assert any(c.figure != float("inf") for c in report.failures), "the changed module must run, and be wrong"
