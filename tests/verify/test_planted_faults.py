"""Faults of earlier emitters, put back one at a time: the verifier tells each on a small model, and random specs find it."""

import pytest

from lvspec.driver import compile_spec
from lvspec.verify import render, verify
from lvspec.verify.random_specs.generate import generate
from lvspec.verify.random_specs.judge import trial
from tests.verify.faults import FAULTS

TRIES = 48  # specs that are asked for the construct; few hold the very line that a fault changes
SPECS = 2000  # of all random specs


def report_of(one):
    return verify(one.spec, one.plan, one.Model, draws=0, samples=4000)


@pytest.mark.parametrize("text", dict.fromkeys(f.spec for f in FAULTS.values()))
def test_a_small_model_without_a_fault_agrees(text):
    report = report_of(compile_spec(f"lvspec: 1\n{text}"))
    assert report.passed, render(report)


@pytest.mark.parametrize("name", FAULTS)
def test_the_verifier_tells_a_fault_on_a_small_model(name):
    fault, text = FAULTS[name], f"lvspec: 1\n{FAULTS[name].spec}"
    assert fault.touches(compile_spec(text).source), compile_spec(text).source
    with fault.planted(text) as changed:
        report = report_of(changed)
    assert report.disagrees, render(report)


def first_found(faults, specs):
    """The seed of the first spec that agrees as it is and disagrees with a fault in it, for each of the faults."""
    seeds = dict.fromkeys(faults)
    for seed, text in specs:
        source, agrees = compile_spec(text).source, None
        for name, fault in faults.items():
            if seeds[name] is not None or agrees is False or not fault.touches(source):
                continue
            with fault.planted(text) as changed:
                noticed = not passes(changed, seed)
            agrees = passes(compile_spec(text), seed) if noticed and agrees is None else agrees
            if noticed and agrees:
                seeds[name] = seed
        if None not in seeds.values():
            break
    return seeds


def passes(compiled, seed):
    return all(c.passed for c in trial(compiled, seed).checks)


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.wish])
def test_specs_that_are_asked_for_its_construct_find_a_fault(name):
    fault = FAULTS[name]
    seeds = first_found({name: fault}, ((seed, generate(seed, fault.wish)) for seed in range(TRIES)))
    assert seeds[name] is not None


@pytest.mark.slow
def test_random_specs_find_every_fault():
    """Whatever they are asked for: `pytest -s` shows which spec found what."""
    seeds = first_found(FAULTS, ((seed, generate(seed)) for seed in range(SPECS)))
    print("", *(f"{seed!s:>5} {name}" for name, seed in seeds.items()), sep="\n")
    assert None not in seeds.values()


def test_forty_faults_are_planted():
    assert len(FAULTS) >= 40
