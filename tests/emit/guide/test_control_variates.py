"""Control variates of score terms: what a draw is held against changes the variance, never the mean."""

import re

import pytest
import torch

from lvspec import explain
from lvspec.driver import compile_spec
from lvspec.errors import SpecError
from lvspec.runtime import MovingAverage
from lvspec.verify.checks.chance import z_check
from lvspec.verify.checks.compare import averages
from lvspec.verify.checks.gradients import GRADIENT, scored
from tests.emit.guide.test_estimators import (
    BESIDE_GAUSSIAN,
    HIERARCHY,
    ROWS,
    SCORED,
    exact_error,
    subject_of,
    without_last_cost,
)


def with_options(text, options, samples=1):
    """The spec with these options for what is scored."""
    return text.replace(": reinforce", f": reinforce({options})").replace("samples: 2", f"samples: {samples}")


def after_steps(subject):
    """As after some training: moving averages are not zero."""
    for module in subject.model.modules():
        if isinstance(module, MovingAverage):
            module.total.fill_(-2.0)
            module.weight.fill_(0.8)
    return subject


ASKED = [name for name, text in SCORED.items() if ": reinforce" in text]  # of the others the planner chooses it
BASELINES = ("moving_average", "learned", "none")


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("name", ASKED)
def test_every_control_variate_leaves_the_exact_gradient_on_average(name, baseline):
    subject = after_steps(subject_of(with_options(SCORED[name], f"baseline={baseline}")))
    assert subject.plan.samples == 1
    checks = averages(subject)
    assert all(c.passed for c in checks) and any(c.figure is not None for c in checks), checks


@pytest.mark.parametrize("baseline", BASELINES)
def test_mean_gradient_under_every_control_variate(baseline):
    subject = after_steps(subject_of(with_options(BESIDE_GAUSSIAN, f"baseline={baseline}")))
    assert z_check(subject, scored(subject), 0, ROWS, seed=1).passed


@pytest.mark.parametrize("name", ["hierarchy", "chain", "beside_gaussian"])
@pytest.mark.parametrize("baseline", BASELINES)
def test_a_dropped_cost_fails_under_every_control_variate(name, baseline):
    subject = subject_of(with_options(SCORED[name], f"baseline={baseline}"), without_last_cost)
    assert exact_error(after_steps(subject)) > 1000 * GRADIENT


def test_a_learned_baseline_follows_the_centred_signal_and_nothing_else_does():
    """d loss / d psi = d mean_b (B(x; psi) - centred signal)^2 / d psi, and no other parameter reads psi."""
    subject = after_steps(subject_of(with_options(HIERARCHY, "baseline=learned")))
    model, batch = subject.model, subject.model.prepare(dict(subject.batch))
    own = {n: w for n, w in model.named_parameters() if n.startswith("baseline_z_")}
    assert own and not set(own) & set(subject.weights)
    objective = subject.objective()
    found = torch.autograd.grad(objective.loss, list(own.values()))
    real = batch["t.mask"][..., None]
    words = model.baseline_z_read_x(batch["x"]).masked_fill(~real, 0.0).sum(1) / real.sum(1).clamp(min=1)
    guess = model.baseline_z_guess(words)[:, 0]
    centred = objective.reconstruction.detach() + 2.0 / 0.8
    expected = torch.autograd.grad((guess - centred).square().mean(), list(own.values()))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


def test_a_scaled_score_term_is_labelled_biased_and_by_how_much():
    subject = subject_of(with_options(HIERARCHY, "balance=0.5", 2))
    assert subject.plan.biased
    checks = [*averages(subject), z_check(subject, scored(subject), 0, ROWS, seed=1)]
    for check in checks:
        assert check.figure is None and float(re.search(r"off by ([\d.e-]+)", check.note)[1]) > 0.01
    assert not subject_of(with_options(HIERARCHY, "balance=1", 2)).plan.biased


@pytest.mark.parametrize(
    ("options", "bound", "message"),
    [
        ("samples=1", "elbo", "moving_average"),
        ("baseline=learned", "iwae", "VIMCO"),
        ("baseline=moving_average", "renyi(alpha=0.5)", "VIMCO"),
    ],
)
def test_a_control_variate_that_does_not_go_with_the_bound_is_refused(options, bound, message):
    text = with_options(HIERARCHY, options).replace("  samples: 1\n", f"  bound: {bound}\n")
    with pytest.raises(SpecError) as caught:
        compile_spec(text)
    assert message in str(caught.value.diagnostics)


def test_latents_under_one_bound_may_have_different_control_variates():
    text = HIERARCHY.replace("  c: reinforce", "  c: reinforce(baseline=none)")
    text = text.replace("  samples: 2", "  bound: iwae(samples=2)")
    assert all(c.passed for c in averages(subject_of(text)))


def test_explain_says_the_options():
    plan = compile_spec(with_options(HIERARCHY, "baseline=moving_average, balance=0.5")).plan
    assert "reinforce(baseline=moving_average, balance=0.5)" in explain.as_text(plan)
    assert explain.as_data(plan)["latents"]["c"]["options"] == {"baseline": "moving_average", "balance": 0.5}
