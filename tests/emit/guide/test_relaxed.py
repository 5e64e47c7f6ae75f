"""Relaxed draws: at fixed noise they are the oracle's, on average they are biased, and say so and by how much."""

import re

import pytest
import torch

from lvspec import explain
from lvspec.driver import compile_spec
from lvspec.errors import SpecError
from lvspec.verify.checks.chance import z_check
from lvspec.verify.checks.compare import deterministic, verify
from tests.emit.guide.test_estimators import BESIDE_CHAIN, BESIDE_GAUSSIAN, CHAIN, HIERARCHY, PLATED, subject_of

BITS = """
lvspec: 1
name: bits
sizes: {P: 3, D: 2, H: 4}
networks:
  encoder: MLP(P, H, D)
  decoder: MLP(D, H, P)
latent:
  z: Bernoulli(logits=0.3)[D]
observed:
  x: Bernoulli(logits=decoder(z))
guide:
  z: Bernoulli(logits=encoder(x))
infer:
  z: reinforce
"""

VECTOR = """
lvspec: 1
name: vector
sizes: {P: 3, K: 3, H: 4}
params: {prior: [K]}
networks:
  encoder: MLP(P, H, K)
  decoder: MLP(K, H, P)
latent:
  z: OneHotCategorical(logits=prior)
observed:
  x: Bernoulli(logits=decoder(z))
guide:
  z: OneHotCategorical(logits=encoder(x))
infer:
  z: reinforce
"""

POINTS = {"plated": PLATED, "bits": BITS, "vector": VECTOR}  # whose model reads points of the simplex
ROWS_OF_TABLES = {
    "hierarchy": HIERARCHY,
    "chain": CHAIN,
    "beside_gaussian": BESIDE_GAUSSIAN,
    "beside_chain": BESIDE_CHAIN,
}
GUMBEL = (
    "gumbel_softmax",
    "gumbel_softmax(temperature=linear(1, 0.3, steps=100), samples=2)",
    "gumbel_softmax(temperature=0.8, density=relaxed)",
)


def relaxed(text, strategy, latents="cz"):
    return re.sub(rf"  ([{latents}]): reinforce", rf"  \1: {strategy}", text)


CASES = [(n, t, s) for n, t in POINTS.items() for s in (*GUMBEL, "straight_through")]
CASES += [(n, t, "straight_through(temperature=0.7)") for n, t in ROWS_OF_TABLES.items()]


@pytest.mark.parametrize(("name", "text", "strategy"), CASES)
def test_values_gradients_and_weights_are_the_oracles_at_fixed_noise(name, text, strategy):
    compiled = compile_spec(relaxed(text, strategy))
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=3, draws=0)
    assert report.passed, report
    assert {"gradient of the loss", "log importance weights"} <= {c.name for c in report.checks}


def test_beside_scored_latents():
    """c is scored, and what it is worth moves with the relaxed draw of z."""
    compiled = compile_spec(relaxed(HIERARCHY, "straight_through", "z"))
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=3, draws=0)
    assert report.passed and compiled.plan.biased, report


def without_gradient(source):
    """The model sees a point that does not move."""
    found, n = re.subn(r"(z = \w+_(?:point|corner)\(y_z)\)", r"\1.detach())", source)
    assert n == 1
    return found


@pytest.mark.parametrize(("name", "strategy"), [("plated", GUMBEL[0]), ("bits", "straight_through")])
def test_a_point_that_does_not_move_fails(name, strategy):
    checks = deterministic(subject_of(relaxed(POINTS[name], strategy), without_gradient), 3, False)
    assert [c.name for c in checks if not c.passed] == ["gradient of the loss"]


@pytest.mark.parametrize(("name", "text", "strategy"), [c for c in CASES if c[0] in ("plated", "bits", "hierarchy")])
def test_the_bias_is_stated_and_measured(name, text, strategy):
    subject = subject_of(relaxed(text, strategy))
    assert subject.plan.biased and all(subject.plan.latent(n).biased for n in subject.plan.relaxed)
    check = z_check(subject, [*subject.plan.scored, *subject.plan.relaxed], 0, 20_000, seed=1)
    assert check.figure is None and float(re.search(r"off by ([\d.e-]+)", check.note)[1]) > 0.001


def test_the_colder_the_less_biased():
    """A bias, not noise: at temperature 2 it is many times that at 0.1."""
    off = []
    for temperature in (2.0, 0.1):
        subject = subject_of(relaxed(PLATED, f"gumbel_softmax(temperature={temperature})"))
        check = z_check(subject, list(subject.plan.relaxed), 0, 200_000, seed=1)
        off.append(float(re.search(r"off by ([\d.e-]+)", check.note)[1]))
    assert off[0] > 3 * off[1]


def test_the_temperature_follows_the_step():
    subject = subject_of(relaxed(PLATED, "gumbel_softmax(temperature=linear(1, 0.1, steps=1000))"))
    seen = []
    subject.model.decoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    for step in (0, 500, 1000, 5000):
        subject.model.step.fill_(step)
        subject.model(dict(subject.batch), draws=dict(subject.draws))
    sharp = [s.unflatten(-1, (2, 3)).amax(-1).mean() for s in seen]
    assert sharp[0] < sharp[1] < sharp[2] == sharp[3]
    logits = subject.model.encoder(subject.batch["x"].double()).unflatten(-1, (2, 3))
    expected = ((logits + subject.draws["z"]) / 0.55).softmax(-1).flatten(-2)
    torch.testing.assert_close(seen[1], expected.detach())


def test_only_on_request():
    compiled = compile_spec(PLATED.replace("  z: reinforce\n", ""))
    assert not compiled.plan.relaxed and "gumbel_softmax" in dict(compiled.plan.latents[0].declined)


COLLAPSED_PARENT = """
lvspec: 1
name: below
sizes: {C: 2, K: 3, P: 3, H: 4}
params: {top: [C], middle: [C, K]}
networks:
  encoder: MLP(P, H, K)
  decoder: MLP(K, H, P)
latent:
  c: Categorical(logits=top)
  z: Categorical(logits=middle[c])
observed:
  x: Bernoulli(logits=decoder(onehot(z)))
guide:
  z: Categorical(logits=encoder(x))
infer:
  z: reinforce
"""

NUMBER = COLLAPSED_PARENT.replace("decoder(onehot(z))", "decoder(z * place)").replace(
    "params: {", "params: {place: [K], "
)
BIT_AS_A_ROW = BITS.replace("decoder(z)", "bias[z[0]]").replace("  decoder: MLP(D, H, P)\n", "")
BIT_AS_A_ROW = BIT_AS_A_ROW.replace("networks:", "params: {bias: [2, P]}\nnetworks:")

LENGTH = COLLAPSED_PARENT.replace("params:", "plates:\n  i: {length: z, max: K - 1}\nparams:")
LENGTH = LENGTH.replace("decoder(onehot(z))", "decoder(onehot(z)) + sum(e[i] over i)").replace(
    "observed:", "  e[i]: Normal(0, 1)\nobserved:"
)


@pytest.mark.parametrize(
    ("text", "strategy", "message"),
    [
        (LENGTH, "straight_through", "plate i is as long as z says, and a relaxed value is no number"),
        (HIERARCHY, "gumbel_softmax", "number of a row, and a relaxed value is none: straight_through"),
        (NUMBER, "gumbel_softmax", "read onehot(z)"),
        (NUMBER, "straight_through", "read onehot(z)"),
        (BIT_AS_A_ROW, "gumbel_softmax", "such as a + z * (b - a)"),
        (BIT_AS_A_ROW, "straight_through", "such as a + z * (b - a)"),
        (HIERARCHY.replace("  samples: 2", "  bound: iwae"), "straight_through", "the bound is iwae"),
        (
            HIERARCHY.replace("  samples: 2", "  bound: elbo(gradient=sticking_the_landing)"),
            "straight_through",
            "drawn by reinforce",
        ),
        (
            CHAIN.replace(
                "guide:\n  z[t]: Categorical(logits=",
                "guide:\n  z[0]: Categorical(logits=start)\n  z[t]: Categorical(logits=transition[z[t-1]] + ",
            ),
            "straight_through",
            "one after the other",
        ),
        (PLATED, "gumbel_softmax(temperature=0)", "cannot have this value"),
        (PLATED, "gumbel_softmax(temperature=linear(1, 0, steps=10))", "cannot have this value"),
        (PLATED, "gumbel_softmax(temperature=linear(1, 0.1))", "cannot have this value"),
        (PLATED, "straight_through(density=relaxed)", "has no option `density`"),
    ],
)
def test_declined_with_the_reason_and_the_remedy(text, strategy, message):
    with pytest.raises(SpecError) as caught:
        compile_spec(relaxed(text, strategy))
    assert message in str(caught.value)


def test_a_prior_inside_a_sum_has_relaxed_densities_or_none():
    with pytest.raises(SpecError) as caught:
        compile_spec(relaxed(COLLAPSED_PARENT, "gumbel_softmax"))
    assert "density=relaxed" in caught.value.diagnostics[0].help
    compiled = compile_spec(relaxed(COLLAPSED_PARENT, "gumbel_softmax(density=relaxed)"))
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=3, draws=0)
    assert report.passed, report


def test_options_are_the_same_in_a_call_a_block_and_from_python():
    call = compile_spec(relaxed(PLATED, "gumbel_softmax(temperature=linear(1, 0.1, steps=50), samples=3)"))
    block = "\n    strategy: gumbel_softmax\n    temperature: linear(1, 0.1, steps=50)\n    samples: 3"
    python = compile_spec(PLATED, overrides={"z": "gumbel_softmax(temperature=linear(1, 0.1, steps=50), samples=3)"})
    assert call.plan.latents[0].options == compile_spec(relaxed(PLATED, block)).plan.latents[0].options
    assert call.plan.latents[0].options == python.plan.latents[0].options
    assert "z: gumbel_softmax(temperature=linear(1, 0.1, steps=50)). biased" in " ".join(
        explain.as_text(call.plan).split()
    )
