"""Faults of earlier emitters, put back one at a time: random specs that hold the construct find each of them."""

import pytest

from lvspec.driver import compile_spec
from lvspec.verify.random_specs.generate import generate
from lvspec.verify.random_specs.judge import trial
from oracle.faults import FAULTS

TRIES = 14  # specs that are asked for the construct
SPECS = 2000  # of all random specs


def found(fault, texts):
    """The first of the specs that agrees as it is and disagrees with the fault in it."""
    for seed, text in enumerate(texts):
        if not fault.touches(compile_spec(text).source):
            continue
        with fault.planted(text) as changed:
            noticed = not passes(changed, seed)
        if noticed and passes(compile_spec(text), seed):
            return seed
    return None


def passes(compiled, seed):
    return all(c.passed for c in trial(compiled, seed).checks)


# what few of the specs that are asked for a mean hold: a mean over a ragged plate whose padding would show
RARE = {"padding in the mean of a plate"}


@pytest.mark.parametrize("name", [n for n in FAULTS if n not in RARE])
def test_specs_that_are_asked_for_its_construct_find_a_fault(name):
    assert found(FAULTS[name], (generate(seed, FAULTS[name].wish) for seed in range(TRIES))) is not None


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_random_specs_find_a_fault(name):
    assert found(FAULTS[name], map(generate, range(SPECS))) is not None


def test_twenty_faults_are_planted():
    assert len(FAULTS) >= 20
