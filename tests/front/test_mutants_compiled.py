"""No spec, however odd, is an internal error, takes seconds or half a gigabyte: check, explain, graph, compile."""

import os

import pytest

from tests.front import mutants
from tests.front.mutator import parts


def test_parts_of_an_expression():
    text = "f(a[t-1], 2 * g(b))[0]"
    assert {text[i:j] for i, j in parts(text)} >= {
        "f",
        "f(a[t-1], 2 * g(b))",
        text,
        "a[t-1]",
        "t",
        "1",
        " 2 * g(b)",
        "g(b)",
        "b",
        "2",
    }


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (lambda plan: {}["z"], "KeyError"),
        (lambda plan: "class None: pass", "SyntaxError"),
        (lambda plan: bytearray(2 * mutants.LARGEST), "MemoryError"),
        (lambda plan: sum(i for i in range(10**12)), "Slow"),
        (lambda plan: os._exit(1), "ended"),
    ],
)
def test_faults_are_seen(monkeypatch, fault, kind):
    calls = []

    def spoiled(plan):
        calls.append(plan)
        return "" if len(calls) == 1 else fault(plan)  # the first call is the parent's own

    monkeypatch.setattr(mutants, "LONGEST", 0.3)
    monkeypatch.setattr(mutants, "emit", spoiled)
    monkeypatch.setattr(mutants, "mutant", lambda *_: "lvspec: 1\nobserved:\n  x: Normal(0, 1)\n")
    outcomes, faults = mutants.run(1, seed=0, drawn=0)
    assert dict(outcomes) == {kind: 1}
    assert [what for what, _ in faults] == [kind]


def test_mutants_of_the_zoo_have_no_fault():
    outcomes, faults = mutants.run(150, seed=1, drawn=0)
    assert not faults, faults
    assert outcomes["declined"] and outcomes["compiled"]


@pytest.mark.slow
def test_twenty_thousand_mutants_have_no_fault():
    outcomes, faults = mutants.run(20_000, seed=2)
    assert not faults, "\n\n".join(f"{what} at {where}\n{text}" for (what, _), (where, text) in faults.items())
