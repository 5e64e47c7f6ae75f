"""The verifier's own parts: it shares no code with what it judges, and its verdicts are what they say."""

import ast
import math
from dataclasses import replace

import pytest
import torch

from lvspec.driver import compile_spec
from lvspec.front import load
from lvspec.verify import Check, Report, render, shrink, verify
from lvspec.verify.checks.chance import Estimates, critical_value
from lvspec.verify.checks.expectation import Truth
from lvspec.verify.oracle.memory import Memory, Shelf
from lvspec.verify.random_specs.generate import generate
from lvspec.verify.report import gradient_error, relative_error
from lvspec.verify.shrink import STATES, joint_states
from tests import ROOT, ZOO
from tests.verify import fault_models

ROOM = ROOT / "lvspec" / "verify"


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names)


ALLOWED = {
    "lvspec.emitted",  # what an emitted class offers, as types alone
    "lvspec.errors",
    "lvspec.runtime.core.batch",
    "lvspec.runtime.core.undefined",
    "lvspec.user_modules",
}  # how problems are told, and whose an error is
WRITERS = "random_specs"  # what reads the language's tables, and knows no right values
ORACLE = sorted(p for p in ROOM.rglob("*.py") if WRITERS not in p.parts)


@pytest.mark.parametrize("path", ORACLE, ids=lambda p: str(p.relative_to(ROOM)))
def test_the_oracle_shares_no_code_with_what_it_judges(path):
    own = [m for m in imported(path) if m.split(".")[0] == "lvspec" and m not in ALLOWED]
    assert all(m.split(".")[1] in ("ir", "verify") for m in own), own
    assert not {m.split(".")[2] for m in own if m.startswith("lvspec.verify.")} & {WRITERS}, own


def test_the_same_seed_gives_the_same_spec():
    assert generate(11) == generate(11) != generate(12)


def test_nan_and_infinity_fail_a_check():
    assert not Check("a", math.nan, 1e-9).passed
    assert not Check("a", math.inf, 1e-9).passed
    assert Check("a", 1e-10, 1e-9).passed


def test_a_report_in_which_nothing_was_compared_does_not_pass():
    assert not Report("m", {}, 0, (Check("a", None, 0.0, "too many"),)).passed
    text = render(Report("m", {"K": 3}, 0, (Check("a", 1.0, 0.5), Check("b", None, 0.0, "too many"))))
    assert "FAIL" in text and "too many" in text and text.endswith("DISAGREED")


def test_errors_are_relative_to_large_values_and_absolute_for_small_ones():
    found, expected = torch.tensor([1001.0, 0.01]), torch.tensor([1000.0, 0.0])
    assert relative_error(found, expected) == pytest.approx(0.01)
    assert relative_error(torch.zeros(2), torch.zeros(3)) == math.inf
    assert math.isnan(relative_error(torch.tensor([math.nan]), torch.zeros(1)))


def test_an_absent_gradient_is_zero_and_nan_is_never_lost():
    assert gradient_error([None, None], [torch.zeros(2), None]) == 0.0
    assert gradient_error([None], [torch.ones(2)]) == 1.0
    assert math.isnan(gradient_error([torch.tensor([math.nan]), torch.ones(1)], [torch.zeros(1), torch.zeros(1)]))


def test_critical_values_are_those_of_the_t_distribution():
    stats = pytest.importorskip("scipy.stats")
    for coordinates, groups in ((1, 200), (50, 200), (500, 100)):
        exact = stats.t.isf(1e-6 / (2 * coordinates), groups - 1)
        assert critical_value(coordinates, groups) == pytest.approx(exact, rel=2e-3)


def test_a_biased_mean_has_a_large_z_and_an_unbiased_one_a_small_one():
    means = torch.randn(200, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    bound = critical_value(5, 200)
    assert Estimates(means, 1).largest_z(Truth(torch.zeros(5), torch.zeros(5))) < bound
    assert Estimates(means + 0.6, 1).largest_z(Truth(torch.zeros(5), torch.zeros(5))) > bound


def test_a_memory_computes_once_for_equal_reads():
    memory, calls = Memory(), []

    def compute():
        calls.append(memory.read(("a", ())))
        return calls[-1]

    for a, b in ((0, 0), (0, 1), (1, 0), (1, 1)):
        memory.assignment = {("a", ()): a, ("b", ()): b}
        assert memory.recall("key", compute) == a
    assert calls == [0, 1]  # b was never looked at


def test_a_memory_knows_what_a_remembered_part_looked_at():
    memory = Memory()

    def inner():
        return memory.recall("inner", lambda: memory.read(("a", ())))

    for a in (0, 1, 0):
        memory.assignment = {("a", ()): a}
        assert memory.recall("outer", lambda: inner() + 10) == a + 10


def test_memories_of_two_batches_share_what_looked_at_equal_data():
    weight, calls, shelf = torch.zeros(2), [], Shelf()

    def value(data):
        memory = Memory({("x", (0,)): data, ("x", (1,)): data + 1}, shelf.roots([weight], "a model"))
        return memory.recall("key", lambda: calls.append(data) or 10 * memory.read(("x", (0,))) + float(weight.sum()))

    assert [value(1), value(2), value(1)] == [10, 20, 10] and calls == [1, 2]
    weight.add_(1)  # in place: what was computed with it is none of the new ones
    assert value(1) == 12 and calls == [1, 2, 1]


def test_a_memory_without_a_gradient_knows_what_was_computed_with_one_and_not_the_other_way_round():
    weight, roots = torch.ones(2, requires_grad=True), ({}, {})

    def value(key):
        return Memory({}, roots).recall(key, lambda: weight.sum())

    with torch.no_grad():
        assert not value("first").requires_grad
    assert value("first").requires_grad
    with torch.no_grad():
        assert value("first").requires_grad


@pytest.mark.parametrize("path", ZOO, ids=lambda p: p.stem)
def test_shrunken_specs_can_be_enumerated(path):
    spec = load(path.read_text(), path.name)
    sizes = shrink(spec)
    assert set(sizes) == {s.name for s in spec.sizes}
    assert joint_states(spec, sizes, 2) <= STATES and max(sizes.values()) <= 8


def test_samples_are_compared_given_what_has_no_end_of_values():
    """c ~ Categorical(z prior) is drawn beside a number z: the frequencies of c are those given z, whatever z is."""
    one = compile_spec(f"lvspec: 1\n{fault_models.BETWEEN}")
    (right,) = (c for c in frequencies(one) if c.name == "z of the frequencies of samples")
    assert right.passed and right.figure is not None, right
    wrong = one.source.replace(
        "Categorical(z[:, None] * self.prior).sample", "Categorical(-z[:, None] * self.prior).sample"
    )
    assert wrong != one.source
    assert any(not c.passed for c in frequencies(replace(one, source=wrong)))


def frequencies(one):
    return [c for c in verify(one.spec, one.plan, one.Model, draws=0, samples=4000).checks if "samples" in c.name]
