"""What is known of a strategy, a structure, a network, a file format or a command stands in its row, and every consumer has it.

Each test walks a registry and what is made of it: a row that a consumer lacks fails, and so does a name that no row has.
"""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from importlib import import_module
from inspect import signature

import pytest
from torch import nn

import lvspec.runtime as runtime
from lvspec.cli.main import COMMANDS, QUICK
from lvspec.emit.factors.integrals import RULES
from lvspec.emit.guide.schemes import SCHEMES
from lvspec.emit.methods.written_structures import WRITTEN
from lvspec.front.schema import schema
from lvspec.graph.style import PLAIN, fill
from lvspec.ir.bounds import BOUNDS, PATHS
from lvspec.ir.distributions import FAMILIES
from lvspec.ir.estimators import BASELINES, BY_TURN, OPTIONS, STRATEGIES
from lvspec.ir.formats import FORMATS, SUFFIXES
from lvspec.ir.networks import ACTIVATIONS, NETWORKS
from lvspec.ir.structures import STRUCTURES
from lvspec.ir.treatments import TREATMENTS
from lvspec.plan.strategies import CONSIDER
from lvspec.settings import read_call
from lvspec.train.data.readers import reader_of
from lvspec.train.tune import METHODS
from lvspec.verify.oracle import flows, networks, structured
from lvspec.verify.oracle.densities import _DENSITIES
from lvspec.verify.oracle.schemes import TOGETHER
from lvspec.verify.random_specs.drafts import wishes
from tests import ROOT

PACKAGE = ROOT / "lvspec"
DRAWN = [row for row in BY_TURN if row.draws]


def modules(folder):
    return {p.stem for p in (PACKAGE / folder).glob("*.py") if p.stem != "__init__"}


def page(name):
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def cells(text, first):
    """The cells of the lines of tables that begin with something like this."""
    rows = [
        [c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in text.splitlines() if line.startswith("|")
    ]
    return [row for row in rows if re.search(first, row[0])]


# ---------------------------------------------------------------- strategies
def test_a_strategy_has_a_module_and_a_turn_of_its_own():
    assert set(CONSIDER) == set(STRATEGIES)
    assert modules("plan/strategies") == {row.name for row in BY_TURN if not row.family}
    assert [row.turn for row in BY_TURN] == list(range(1, len(STRATEGIES) + 1))


def test_options_are_those_of_the_rows():
    names = {k.name for k in OPTIONS}
    assert set().union(*(row.options for row in STRATEGIES.values())) == names
    assert next(k for k in OPTIONS if k.name == "baseline").choices == tuple(BASELINES)
    override = schema()["properties"]["infer"]["additionalProperties"]["anyOf"][-1]
    assert override["properties"]["strategy"]["enum"] == list(STRATEGIES) and names <= set(override["properties"])


def test_bounds_and_draws_go_together():
    assert all(set(row.bounds) <= set(BOUNDS) and set(row.gradients) <= set(PATHS) for row in STRATEGIES.values())
    assert all(bool(row.draws) == bool(row.bounds) for row in STRATEGIES.values())
    assert set().union(*(row.bounds for row in DRAWN)) == set(BOUNDS)
    for row in DRAWN:  # what a bound of all draws' weights does not take says why
        assert bool(row.uncoupled) == (not any(BOUNDS[b].coupled for b in row.bounds))


def test_emit_and_the_oracle_have_the_draws_that_are_made_together():
    made = {row.name for row in DRAWN if row.scored and not row.control and "baseline" not in row.options}
    assert set(SCHEMES) == set(TOGETHER) == made
    assert set(RULES) <= {row.name for row in BY_TURN if not row.draws}


def test_pictures_have_a_color_for_each():
    for row in BY_TURN:
        red, green, blue = (int(row.color[i : i + 2], 16) for i in (1, 3, 5))
        assert 0.3 * red + 0.6 * green + 0.1 * blue > 160  # dark text on it can be read
        assert fill("latent", row.name) == row.color != PLAIN


def test_tune_compares_what_the_elbo_takes():
    assert {read_call(m, STRATEGIES, "strategy")[0] for m in METHODS if "(" in m} <= set(STRATEGIES)
    assert {m.partition("(")[0] for m in METHODS} == {row.name for row in BY_TURN if "elbo" in row.bounds} | {
        "enumeration"
    }


def test_random_specs_know_what_each_needs():
    assert set(wishes.STRATEGY) <= set(STRATEGIES)


def test_pages_name_every_strategy_that_draws_with_its_options():
    text = page("estimators.md")
    table = cells(text.partition("| strategy |")[2].partition("\n\n")[0], r"^`\w+\(")
    listed = {call.partition("(")[0]: call for row in table for call in re.findall(r"`([^`]+)`", row[0])}
    assert set(listed) <= set(STRATEGIES)
    for name, call in listed.items():
        options = call.removeprefix(name).strip("()")
        assert options.split(", ") == list(STRATEGIES[name].options), call
    assert {row.name for row in DRAWN if row.draws_values} <= set(listed)


def strategies_table():
    """What stands in the page: made anew by `python -m tests.test_registries`."""
    rows = [f"| {row.turn} | `{row.name}` | {', '.join(row.options) or '–'} | {row.meaning} |" for row in BY_TURN]
    return "\n".join(["| turn | strategy | options | is |", "|---|---|---|---|", *rows]) + "\n"


def test_the_page_of_strategies_is_the_rows():
    assert strategies_table() in page("estimators.md")


def test_the_page_of_bounds_is_the_rows():
    table = cells(page("estimators.md").partition("## Which goes with which bound")[2], r"^`\w+`")
    found = {name: row[1:] for row in table for name in re.findall(r"`(\w+)`", row[0])}
    assert set(found) == {row.name for row in DRAWN}
    for row in DRAWN:
        elbo, sticking, several, weighted = ("declined" not in c and "no gradient" not in c for c in found[row.name])
        assert elbo == ("elbo" in row.bounds) and several == ("iwae" in row.bounds) == ("renyi" in row.bounds)
        assert sticking == (elbo and not row.uncoupled) and weighted == ("reweighted_wake_sleep" in row.bounds)


# words that mean something else as well: a treatment and a family of guides, an answer of a posterior, a function
ALSO = {"mean_field", "marginals", "relax"}
# its row, what shows that it is legal, one table each of emit, the oracle and the random specs
PLACES = re.compile(
    r"ir/estimators|plan/strategies/\w+|plan/joint_gaussian|emit/guide/schemes|emit/factors/integrals|"
    r"verify/oracle/schemes|verify/random_specs/drafts/wishes"
)


def literals(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def test_no_other_text_of_the_package_names_a_strategy():
    found = []
    named = re.compile(
        rf"[\"'](?:{'|'.join(set(STRATEGIES) - ALSO)})[\"'(]"
    )  # of other files there is nothing to be parsed
    for path in sorted(PACKAGE.rglob("*.py")):
        place, text = str(path.relative_to(PACKAGE).with_suffix("")), path.read_text(encoding="utf-8")
        if not PLACES.fullmatch(place) and named.search(text):
            names = [(n, re.fullmatch(r"(\w+)(\(.*\))?", literal)) for n, literal in literals(text)]
            found += [f"{place}:{n}: {m[1]}" for n, m in names if m and m[1] in set(STRATEGIES) - ALSO]
    assert found == []


# registries whose rows no consumer names; where their names stand: the rows, tables that say the same by definition or write
# it as text, what claims a treatment, and names that are an objective's, a structure's of files or a word as well
NAMED = {
    "control variates": (
        BASELINES,
        r"ir/estimators|emit/objective/baselines|emit/text/glosses|verify/random_specs/drafts/settings",
        {"none"},
    ),
    "bounds": (BOUNDS, r"ir/(bounds|estimators)|verify/(checks/coupled|random_specs/drafts/settings)", {"elbo"}),
    "gradients": (PATHS, r"ir/(bounds|estimators)|plan/strategies/reparameterization", set()),
    "structures": (
        STRUCTURES,
        r"ir/structures|emit/methods/written_structures|verify/oracle/structured|verify/random_specs/.*",
        set(),
    ),
}


@pytest.mark.parametrize("kind", NAMED)
def test_no_consumer_names_a_row(kind):
    rows, places, words = NAMED[kind]
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        place, text = str(path.relative_to(PACKAGE).with_suffix("")), path.read_text(encoding="utf-8")
        if not re.fullmatch(places, place) and not place.startswith("runtime/") and any(n in text for n in rows):
            found += [f"{place}:{n}: {literal}" for n, literal in literals(text) if literal in set(rows) - words]
    assert found == []


def test_no_decision_across_latents_names_a_treatment():
    for name in ("choose", "company", "claims", "components", "divergence", "free_bits", "memory", "without_effect"):
        text = (PACKAGE / f"plan/{name}.py").read_text(encoding="utf-8")
        compared = [ast.unparse(n) for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Compare)]
        assert not [c for c in compared if set(re.findall(r"'(\w+)'", c)) & set(TREATMENTS)], name


def test_every_treatment_is_claimed():
    claims = re.compile(r"Claim\(\s*\"(\w+)\"")
    assert set(claims.findall("".join(p.read_text() for p in (PACKAGE / "plan").rglob("*.py")))) == set(TREATMENTS)


# ---------------------------------------------------------------- distributions
def test_a_distribution_is_a_class_of_its_arguments_and_a_density_of_the_oracle():
    """Of arguments that stand for each other the class has one; a distribution without an engine has neither."""
    for name, row in FAMILIES.items():
        if row.event == "structure" or not row.engine:
            continue
        given = [a.name for a in row.arguments if a.name not in ("probs", "covariance_matrix", "dimension")]
        family = getattr(runtime, name)
        taken = list(signature(family).parameters)
        assert taken == [a for a in given if name != "NormalInverseWishart" or a != "scale_tril"], name
        if name != "ImproperUniform":
            assert ("draw" in vars(family)) == ("noise" in vars(family)) != ("sample" in vars(family)), name
        assert not row.reparameterized or "draw" in vars(family), name
        assert name in _DENSITIES, name
        assert (row.kl != "none") <= hasattr(family, "kl"), name
        for function in () if row.relaxed is None else fields(row.relaxed):
            value = getattr(row.relaxed, function.name)
            assert function.name in ("coordinates", "simplex") or hasattr(runtime, value), name


# ---------------------------------------------------------------- structures
def test_structures_are_families_with_runtime_and_oracle():
    assert set(STRUCTURES) == {f.name for f in FAMILIES.values() if f.event == "structure"}
    for name, row in STRUCTURES.items():
        wanted = ("log_prob", "draw", "sum") if row.value == "labels" else ("log_prob", "draw", "parts")
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
        assert all(hasattr(runtime, f"{words}_{w}") for w in wanted), name
        assert row.value in ("labels", "yield") and set(row.along) <= {a for a, _ in row.axes}
    assert set(structured.FAMILIES) | {"SemiMarkov"} == set(STRUCTURES)
    assert set(WRITTEN) <= set(STRUCTURES)


def test_pages_name_every_structure():
    text = page("structures.md") + page("language.md")
    assert not [name for name in STRUCTURES if f"`{name}" not in text]


# ---------------------------------------------------------------- networks
@pytest.mark.parametrize("name", [n for n in NETWORKS if n != "Module"])  # a class of the user's own
def test_a_network_has_its_class_and_its_oracle(name):
    kind = NETWORKS[name]
    if kind.flow:
        assert kind.reads == "draw" and (name in flows.MAPS or "." in name)
    elif kind.reads == "site":
        assert name in networks.AT_A_SITE
    else:
        assert name in networks.BY_THE_STRETCH or name.removeprefix("Bi") in networks.CELLS
    if "." not in name:
        assert hasattr(nn if kind.torch else runtime, name)
    assert not kind.bank or hasattr(runtime, kind.bank)
    assert f"`{name}" in page("language.md")


def test_activations_are_in_the_oracle_and_in_the_page():
    assert set(networks.ACTIVATIONS) == set(ACTIVATIONS) and all(f"{a}" in page("language.md") for a in ACTIVATIONS)


# ---------------------------------------------------------------- formats of data files
def test_a_format_has_its_reader():
    folder = modules("train/data/readers")
    assert {n for n in folder if hasattr(import_module(f"lvspec.train.data.readers.{n}"), "READER")} == set(FORMATS)
    assert all(callable(reader_of(name).records) for name in FORMATS)
    assert set(SUFFIXES.values()) == set(FORMATS)


def test_schema_and_pages_name_every_format():
    data = schema()["properties"]["data"]["additionalProperties"]["properties"]
    assert data["format"]["enum"] == list(FORMATS)
    table = page("training.md").partition("| format |")[2].partition("\n\n")[0]
    assert {n for row in cells("| format |" + table, r"^`") for n in re.findall(r"`(\w+)`", row[0])} == set(FORMATS)


# ---------------------------------------------------------------- commands
def test_a_command_has_a_module_and_a_line_of_the_page():
    parsed = {n for n in modules("cli/commands") if hasattr(import_module(f"lvspec.cli.commands.{n}"), "add_parser")}
    assert parsed == set(COMMANDS) >= set(QUICK)
    assert all(hasattr(import_module(m), "run") for m in COMMANDS.values())
    assert set(re.findall(r"^\| `lvspec (\w+)", page("commands.md"), flags=re.M)) == set(COMMANDS)


if __name__ == "__main__":
    written = ROOT / "docs" / "estimators.md"
    before, _, rest = written.read_text(encoding="utf-8").partition("| turn |")
    written.write_text(before + strategies_table() + "\n" + rest.partition("\n\n")[2], encoding="utf-8")
