"""Bounds of several draws: their values, their gradients on average, and what a missing term does to them."""

import re

import pytest
import torch

from lvspec.driver import compile_spec
from lvspec.errors import SpecError
from lvspec.verify.checks.chance import z_check
from lvspec.verify.checks.compare import averages, verify
from lvspec.verify.checks.gradients import GRADIENT, scored
from tests.emit.guide.test_estimators import (
    BESIDE_CHAIN,
    BESIDE_GAUSSIAN,
    FEWER,
    HIERARCHY,
    ROWS,
    exact_error,
    subject_of,
)

ONE = """
lvspec: 1
name: one
sizes: {P: 3, D: 2, H: 4}
networks:
  encoder: MLP(P, H, 2*D)
  decoder: MLP(D, H, P)
latent:
  g: Normal(0, 1)[D]
observed:
  x: Bernoulli(logits=decoder(g))
guide:
  g: Normal(loc, softplus(scale)) where loc, scale = split(encoder(x))
infer:
  bound: elbo
"""

# q(h | x, g) has parameters of its own and reads a draw; the model reads the guide's network too
TWO = """
lvspec: 1
name: two
sizes: {P: 3, D: 1, H: 4}
networks:
  shared: Linear(D, H)
  encoder: MLP(P, H, 2*D)
  second: MLP(P + H, H, 2*D)
  decoder: MLP(D + H, H, P)
latent:
  g: Normal(0, 1)[D]
  h: Normal(g, 1)
observed:
  x: Bernoulli(logits=decoder(concat(h, shared(g))))
guide:
  inner: shared(g)
  g: Normal(loc, softplus(scale)) where loc, scale = split(encoder(x))
  h: Normal(loc, softplus(scale)) where loc, scale = split(second(concat(x, inner)))
infer:
  bound: elbo
"""

PATHWISE = {"one": ONE, "two": TWO}
DRAWN = {"hierarchy": HIERARCHY, "beside_gaussian": BESIDE_GAUSSIAN, "beside_chain": BESIDE_CHAIN}
COUPLED = ("iwae(samples=2)", "renyi(samples=2, alpha=0.4)")
DOUBLY = "gradient=doubly_reparameterized"
STICKING = "gradient=sticking_the_landing"
UNBIASED = (
    *COUPLED,
    f"iwae(samples=2, {DOUBLY})",
    f"renyi(samples=2, alpha=0.4, {DOUBLY})",
    f"elbo(samples=2, {STICKING})",
)


def under(text, bound):
    """The spec under a bound; strategies stay."""
    text = re.sub(r"\n  samples: \d+\n", "\n", text)
    return re.sub(r"\n  bound: elbo\n", "\n", text).replace("\ninfer:\n", f"\ninfer:\n  bound: {bound}\n")


@pytest.mark.parametrize("bound", COUPLED)
@pytest.mark.parametrize("name", DRAWN)
def test_average_over_all_draws_of_all_samples_is_the_exact_gradient(name, bound):
    checks = averages(subject_of(under(DRAWN[name], bound)))
    assert all(c.passed for c in checks), checks
    assert any(c.figure is not None for c in checks)


@pytest.mark.parametrize("bound", COUPLED)
def test_mean_gradient_of_many_draws_where_some_are_scored(bound):
    subject = subject_of(under(BESIDE_GAUSSIAN, bound))
    check = z_check(subject, scored(subject), 0, ROWS, seed=1)
    assert check.passed and check.figure is not None, check


@pytest.mark.parametrize("bound", UNBIASED)
@pytest.mark.parametrize("name", PATHWISE)
def test_mean_gradient_of_many_draws_is_that_of_the_bound(name, bound):
    check = z_check(subject_of(under(PATHWISE[name], bound)), [], 0, ROWS, seed=1)
    assert check.passed and check.figure is not None, check


@pytest.mark.parametrize("name", PATHWISE)
def test_what_is_biased_says_so_and_by_how_much(name):
    check = z_check(subject_of(under(PATHWISE[name], f"iwae(samples=3, {STICKING})")), [], 0, ROWS, seed=1)
    assert check.figure is None and float(re.search(r"off by ([\d.e-]+)", check.note)[1]) > 0.01


def without_weight(source):
    """What the draws pass on is not weighted again."""
    found, n = re.subn(r"again\.weight = .*", "again.weight = torch.ones_like(drawn.log_weight)", source)
    assert n == 1
    return found


def with_moving_guide(source):
    """log q keeps the gradient of its own parameters."""
    found = source.replace("frozen(self.second)", "self.second")
    assert found != source
    return found


@pytest.mark.parametrize(
    ("name", "mend"), [("one", without_weight), ("two", without_weight), ("two", with_moving_guide)]
)
def test_a_wrong_doubly_reparameterized_gradient_fails(name, mend):
    subject = subject_of(under(PATHWISE[name], f"iwae(samples=2, {DOUBLY})"), mend)
    assert not z_check(subject, [], 0, FEWER, seed=1).passed


def without_score(source):
    found = source.replace(" + (score - score.detach())", "")
    assert found != source
    return found


def without_one_latent(source):
    """The score terms without the last of the scored latents."""
    found, n = re.subn(r"log_q = (.+?) \+ [^\n#]+?(  #|\n)", r"log_q = \1\2", source, count=1)
    assert n == 1, source
    return found


def without_control_variate(source):
    found, n = re.subn(r"advantage = vimco\((\w+), (\w+)\)", r"advantage = \2(\1.detach()).expand_as(\1)", source)
    assert n == 1, source
    return found


@pytest.mark.parametrize(("name", "mend"), [(n, without_score) for n in DRAWN] + [("hierarchy", without_one_latent)])
def test_a_dropped_score_term_fails(name, mend):
    assert exact_error(subject_of(under(DRAWN[name], "iwae(samples=2)"), mend)) > 1000 * GRADIENT


@pytest.mark.parametrize("name", DRAWN)
def test_a_dropped_control_variate_passes(name):
    assert exact_error(subject_of(under(DRAWN[name], "iwae(samples=2)"), without_control_variate)) <= GRADIENT


@pytest.mark.parametrize("name", [*PATHWISE, *DRAWN])
def test_reweighted_wake_sleep_follows_the_weighted_draws(name):
    compiled = compile_spec(
        re.sub(r"\n  [cz]: reinforce", "", under((PATHWISE | DRAWN)[name], "reweighted_wake_sleep"))
    )
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=3, draws=0)
    assert report.passed, report
    assert any(c.name.startswith("gradient") and c.figure is not None for c in report.checks)


# ---------------------------------------------------------------- order
def test_bounds_rise_with_the_number_of_draws_and_stay_below_log_p():
    """E F_1 <= E F_2 <= E F_8 <= log p(x); Rényi bounds lie between the ELBO's and the importance-weighted one's."""
    text = HIERARCHY.replace("  samples: 2\n", "")
    exact = compile_spec(re.sub(r"guide:.*", "", text, flags=re.S))
    found = {}
    for bound in ("elbo(samples=2)", "renyi(samples=8, alpha=0.5)", "iwae(samples=2)", "iwae(samples=8)"):
        subject = subject_of(under(text, bound))
        torch.manual_seed(0)
        batch = {n: v.repeat(4000, *[1] * (v.dim() - 1)) for n, v in subject.batch.items()}
        objective = subject.objective(batch, draws={})
        value = objective.extras.get(bound.partition("(")[0], objective.elbo).reshape(4000, -1)
        found[bound] = value.mean(0), value.std(0) / 4000**0.5
    model = exact.Model(**{k: v for k, v in subject.sizes.items() if k in {s.name for s in exact.spec.sizes}}).double()
    model.load_state_dict({k: v for k, v in subject.model.state_dict().items() if k in model.state_dict()})
    truth = model.log_prob(subject.batch)
    order = [found[b] for b in found if "renyi" not in b] + [(truth, torch.zeros_like(truth))]
    for (low, e), (high, f) in zip(order, order[1:], strict=False):
        assert (low - high <= 5 * torch.hypot(e, f)).all()
        assert (high - low).max() > 0.001
    (low, e), (middle, m), (high, f) = (
        found["elbo(samples=2)"],
        found["renyi(samples=8, alpha=0.5)"],
        found["iwae(samples=8)"],
    )
    assert (low - middle <= 5 * torch.hypot(e, m)).all() and (middle - high <= 5 * torch.hypot(m, f)).all()


def test_every_bound_is_log_p_where_q_is_the_posterior():
    """With one value of c, q(c | x) = p(c | x) = 1."""
    for bound in ("elbo(samples=3)", "iwae(samples=3)", "renyi(samples=3, alpha=0.5)"):
        compiled = compile_spec(under(HIERARCHY.replace("C: 2", "C: 1").replace("K: 3", "K: 1"), bound))
        model = compiled.Model(V=4).double()
        batch = {"x": torch.randint(4, (5, 6)), "t": torch.tensor([6, 3, 0, 1, 6])}
        objective = model(batch)
        truth = model.emission.log_softmax(-1)[0][batch["x"]]
        real = torch.arange(6) < batch["t"][:, None]
        expected = (truth * real).sum(1)
        torch.testing.assert_close(objective.extras.get(bound.partition("(")[0], objective.elbo), expected)


# ---------------------------------------------------------------- what a bound cannot go with
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (under(ONE, "iwae") + "train:\n  kl_weight: 0.5\n", "`kl_weight` weighs"),
        (under(BESIDE_GAUSSIAN, f"iwae({DOUBLY})"), "doubly reparameterized"),
        (
            under(ONE, "reweighted_wake_sleep").replace("\ninfer:\n", "\ninfer:\n  g: reparameterization\n"),
            "wake_sleep",
        ),
        (under(ONE, "iwae").replace("\ninfer:\n", "\ninfer:\n  g: wake_sleep\n"), "takes draws by"),
    ],
)
def test_refused_with_the_reason(text, message):
    with pytest.raises(SpecError) as caught:
        compile_spec(text)
    assert message in str(caught.value.diagnostics)


ALONG = """
lvspec: 1
name: along
sizes: {D: 1}
plates: {t: sequence}
networks:
  move: Linear(D, D)
  look: Linear(D, D)
  back: Linear(2*D, 2*D)
latent:
  z[0]: Normal(0, 1)[D]
  z[t]: Normal(move(z[t-1]), 1)
observed:
  x[t]: Normal(look(z[t]), 1)
guide:
  z[0]: Normal(look(x[0]), 1)
  z[t]: Normal(loc, softplus(scale)) where loc, scale = split(back(concat(x[t], z[t-1])))
infer:
  bound: elbo
"""
BACKWARDS = ALONG.replace("  z[0]: Normal(look(x[0]), 1)\n", "").replace("concat(x[t], z[t-1])", "concat(x[t], z[t+1])")


@pytest.mark.parametrize("gradient", [DOUBLY, STICKING])
def test_guides_that_run_backwards_are_refused_with_such_gradients(gradient):
    with pytest.raises(SpecError) as caught:
        compile_spec(under(BACKWARDS, f"iwae(samples=2, {gradient})"))
    assert "runs backwards" in str(caught.value.diagnostics)


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        (ALONG, "iwae(samples=2)"),
        (BACKWARDS, "iwae(samples=2)"),
        (ALONG, f"iwae(samples=2, {DOUBLY})"),
        (ALONG, f"elbo(samples=1, {STICKING})"),
    ],
)
def test_guides_along_a_plate_stand_under_bounds(text, bound):
    compiled = compile_spec(under(text, bound))
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=2, draws=0)
    assert report.passed, report
