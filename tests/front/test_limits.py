"""A spec at its limits is read; one just beyond them is told that it is too large."""

from math import inf

import pytest

from lvspec.driver import plan_spec
from lvspec.errors import SpecError
from lvspec.front import load
from lvspec.front.checks import MAX_ENTRIES
from lvspec.front.names import MAX_LENGTH as LONGEST_NAME
from lvspec.front.parser import MAX_DEPTH, MAX_LENGTH, MAX_NODES
from lvspec.front.reader import MAX_CHARACTERS


def stated(text):
    try:
        load(text, "m.yaml")
    except SpecError as error:
        return {d.code for d in error.diagnostics}
    return set()


def of(expression, name="a"):
    return f"lvspec: 1\nparams:\n  {name}: []\nlet:\n  h: '{expression}'\nobserved:\n  x: Normal(h, 1)\n"


def entries(n):
    """n lines in the sections."""
    return "lvspec: 1\nparams:\n  a: []\nobserved:\n" + "".join(f"  x{i}: Normal(a, 1)\n" for i in range(n - 1))


def parts(n):
    """A sum of sums: two for each name, and one for what adds it to the others."""
    names = ["a"] * (n // 3)
    return of(" + ".join(f"({' + '.join(names[i : i + 25])})" for i in range(0, len(names), 25)))


def characters(n):
    text = of("a")
    return text + "#" * (n - len(text))


LIMITS = {
    "entries": (entries, MAX_ENTRIES, "too-large"),
    "parts of an expression": (parts, MAX_NODES, "too-large"),
    "layers of an expression": (lambda n: of("-" * (n - 3) + "a"), MAX_DEPTH, "too-large"),
    "characters of an expression": (lambda n: of(f"exp({' ' * (n - 6)}a)"), MAX_LENGTH, "too-large"),
    "characters of a spec": (characters, MAX_CHARACTERS, "too-large"),
    "characters of a name": (lambda n: of("a" * n, "a" * n), LONGEST_NAME, "bad-name"),
}


@pytest.mark.parametrize("name", LIMITS)
def test_at_a_limit_and_just_beyond(name):
    text, limit, code = LIMITS[name]
    assert stated(text(limit)) == set()
    assert code in stated(text(limit + (3 if name.startswith("parts") else 1)))


@pytest.mark.parametrize("sites", [2**31 - 1, 10**60])
def test_sites_that_are_written_out_have_a_limit(sites):
    with pytest.raises(SpecError) as caught:
        plan_spec("specs/factorial_hmm.yaml", sizes={"L": sites})
    (problem,) = caught.value.diagnostics
    assert problem.code == "bad-size" and f"there are {sites:,}" in problem.message


@pytest.mark.parametrize("name", ["iaf_vae", "nvdm", "kalman", "hmm"])
def test_prices_of_sizes_beyond_all_floats_are_infinite(name):
    sizes = {s.name: 10**200 for s in plan_spec(f"specs/{name}.yaml").spec.sizes}
    step = plan_spec(f"specs/{name}.yaml", sizes=sizes).step
    assert inf in (step.flops, step.bytes, step.learned)
