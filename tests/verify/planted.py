"""A compiled spec against the oracle, as it is and with an error planted in its text."""

import re

from lvspec.driver import compile_spec
from lvspec.load import load_module
from lvspec.verify import render, verify


def assert_agrees(text):
    """Everything that fixed draws show."""
    one = compile_spec(text)
    report = verify(one.spec, one.plan, one.Model, seed=2, draws=0)
    assert report.passed, render(report)


def assert_agrees_on_average(text):
    """The mean gradient of many draws as well."""
    one = compile_spec(text)
    report = verify(one.spec, one.plan, one.Model, seed=2, draws=20_000, thorough=False)
    z = next(c for c in report.checks if c.name == "z of the mean gradient")
    assert z.figure is not None, z.note
    assert report.passed, render(report)


def assert_noticed(text, pattern, replacement, draws=0):
    """Another module text, with at least one place changed, fails; with draws, by the mean gradient."""
    one = compile_spec(text)
    source, places = re.subn(pattern, replacement, one.source)
    assert places, one.source
    changed = load_module(source, one.spec, ()).Model
    assert not verify(one.spec, one.plan, changed, seed=2, draws=draws, thorough=not draws).passed
