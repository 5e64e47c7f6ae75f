"""Specs that go wrong are made short: what goes wrong stays, the rest goes."""

import pytest

from lvspec.driver import compile_spec
from lvspec.errors import SpecError
from lvspec.verify.random_specs.generate import generate
from lvspec.verify.random_specs.judge import trial
from lvspec.verify.random_specs.shorten import read, shortened, written
from tests.verify.faults import FAULTS

LINES = 12


def refuses(text):
    try:
        compile_spec(text)
    except SpecError:
        return True
    return False


def test_a_spec_is_written_as_it_was_read():
    text = generate(0)
    assert read(written(read(text))) == read(text)
    assert compile_spec(written(read(text))).plan.latents == compile_spec(text).plan.latents


def test_what_goes_wrong_stays_and_the_rest_goes():
    text = max((generate(seed, "observed Laplace") for seed in range(5)), key=len)  # one that has enough to lose
    found = shortened(text, lambda t: "Laplace" if "Laplace" in t and not refuses(t) else "", tries=200)
    assert "Laplace" in found
    assert len(found) < len(text) / 2
    assert found.count("\n") <= LINES


@pytest.mark.slow
def test_a_planted_fault_is_shown_by_a_short_spec():
    fault = FAULTS["the begin symbol is symbol 0"]

    def wrong(text):
        if refuses(text) or not fault.touches(compile_spec(text).source):
            return ""
        with fault.planted(text) as changed:
            return "" if all(c.passed for c in trial(changed, 1).checks) else "differs"

    found = shortened(next(t for t in (generate(s, fault.wish) for s in range(14)) if wrong(t)), wrong)
    assert found.count("\n") <= LINES
    assert "[<t]" in found or "[>t]" in found  # where the begin symbol stands
