"""Faults that no comparison of values shows, put back one at a time: each is told by a test that stands elsewhere."""

import subprocess
import sys
from dataclasses import dataclass

import pytest

from tests import ROOT


@dataclass(frozen=True)
class Fault:
    """kind: what was wrong. at: where the function is looked up that had it; instead: made of the `true` one, as text.
    told: the test that tells."""

    kind: str
    at: str
    instead: str
    told: str


FAULTS = {
    "what lies outside of a support is scored": Fault(
        "supports",
        "lvspec.runtime.core.observed.check_values",
        "lambda batch, inputs: batch",
        "tests/runtime/test_inputs.py::test_what_does_not_fit_is_refused_by_name",
    ),
    "a key that nothing reads is ignored": Fault(
        "inputs",
        "lvspec.runtime.core.inputs._no_strangers",
        "lambda *args: None",
        "tests/runtime/test_inputs.py::test_what_does_not_fit_is_refused_by_name",
    ),
    "what is computed from its own earlier site passes": Fault(
        "recursion",
        "lvspec.front.dependence.check_recursion",
        "lambda *args: None",
        "tests/front/test_bad_specs.py::test_transcript",
    ),
    "q of a site of a bag reads the mean alone": Fault(
        "derived guides",
        "lvspec.plan.guides.derive.DerivedGuide._whole",
        "lambda *args: true(*args)[-1:]",
        "tests/plan/test_inverse.py::test_a_site_of_a_bag_reads_its_own_data_and_the_mean",
    ),
    "an evaluation takes one draw": Fault(
        "evaluation",
        "lvspec.train.scoring.score.draws_of",
        "lambda *args: type(true(*args))(1, None, 1)",
        "tests/train/test_evaluation.py::test_a_bound_under_shared_draws_has_an_honest_error",
    ),
    "what all examples share is weighed by each example": Fault(
        "globals",
        "lvspec.runtime.of_whole_batch",
        "lambda log_weight, drawn, log_ratio: (log_weight[:, :1].sum(1), drawn)",
        "tests/emit/methods/test_shared_latents.py::test_the_posterior_weighs_a_draw_by_all_examples",
    ),
    "a forecast adds up to more than 1": Fault(
        "other meanings",
        "lvspec.runtime.model.forecast",
        "lambda *args, **named: true(*args, **named) + 0.09",
        "tests/emit/test_chain_questions.py::test_forecast_of_what_is_normalised_given_its_length_is_a_distribution",
    ),
    "a network that reads the whole reads padding": Fault(
        "own modules",
        "lvspec.runtime.networks.user_networks.by_length",
        "lambda module, inputs, *args: module(*inputs)",
        "tests/runtime/test_user_networks.py::test_a_whole_is_read_without_its_padding",
    ),
    "the verifier multiplies zeros by infinity": Fault(
        "false alarms",
        "lvspec.verify.oracle.divergences._where_mass",
        "lambda log_q, log_p: log_q.exp() * (log_q - log_p)",
        "tests/verify/test_false_alarms.py",
    ),
    "a damaged file of a run is read": Fault(
        "runs",
        "lvspec.train.run.manifest.Folder.path",
        "lambda self, name: self.root / name",
        "tests/train/test_killed_runs.py::test_a_flipped_bit_is_told",
    ),
    "a picture is written over a spec": Fault(
        "runs",
        "lvspec.cli.product.refuse_foreign",
        "lambda path: None",
        "tests/cli/test_files.py::test_graph_leaves_a_file_of_somebody_else_alone",
    ),
}

PUT_BACK = """
import pkgutil, sys, pytest
place, _, name = {at!r}.rpartition(".")
home = pkgutil.resolve_name(place)
true = getattr(home, name)
setattr(home, name, {instead})
sys.exit(pytest.main(["-q", "-x", "-p", "no:cacheprovider", {told!r}]))
"""


def outcome(at, instead, told):
    code = PUT_BACK.format(at=at, instead=instead, told=told)
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    return run.returncode, run.stdout[-3000:] + run.stderr[-1000:]


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told_by_its_test(name):
    fault = FAULTS[name]
    code, said = outcome(fault.at, fault.instead, fault.told)
    assert code == pytest.ExitCode.TESTS_FAILED, said
