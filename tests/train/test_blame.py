"""A number that is none is traced to the node, the spec's line, the quantity and the example; what was trained stays."""

import numpy as np
import pytest

from lvspec.cli.main import main
from lvspec.driver import compile_spec
from lvspec.train.diagnosis.blame import REMEDIES

SPEC = """lvspec: 1
name: broken
sizes: {P: features(x), D: 2, H: 4}
params:
  w: {shape: [P], init: zeros}
networks:
  encoder: MLP(P, H, 2*D)
  decoder: MLP(D, H, P)
latent:
  z: Normal(0, 1)[D]
let:
  h: decoder(z)
observed:
  x: Normal(h, 1.0)
guide:
  z: Normal(loc, softplus(scale)) where loc, scale = split(encoder(x))
train:
  batch_size: 10
"""
HMM = """lvspec: 1
name: broken
sizes: {K: 2}
plates: {t: sequence}
params:
  start: [K]
  transition: [K, K]
  low: {shape: [K], init: zeros}
latent:
  z[0]: Categorical(logits=start)
  z[t]: Categorical(logits=transition[z[t-1]])
observed:
  x[t]: Uniform(low[z[t]], low[z[t]] + 1)
train:
  batch_size: 10
"""
EMBEDDED = SPEC.replace("  h: decoder(z)", "  g: decoder(z)\n  h: g")

# what is written instead of what, and what the error says: place, quantity, what is underlined, help
CASES = {
    "an argument of a density that is 0": (
        ("Normal(h, 1.0)", "Normal(h, exp(w - 1000))"),
        ("14:16", "the log-density of x", "`scale` of p(x), Normal, is 0.0", "^^^^^^^^^^^^^ scale: 0.0", "zero"),
    ),
    "an argument of a density that is infinite": (
        ("Normal(h, 1.0)", "Normal(exp(1000 * square(h) + 100), 1.0)"),
        ("14:13", "the log-density of x is -inf", "`loc` of p(x), Normal, is inf", "loc: inf", "argument"),
    ),
    "an argument of a guide factor": (
        ("softplus(scale)", "exp(exp(exp(100 + scale)))"),
        ("16:18", "`scale` of q(z), Normal, is inf", "", "scale: inf", "argument"),
    ),
    "a deterministic node": (
        ("h: decoder(z)", "h: exp(exp(1000 + decoder(z)))"),
        ("12:6", "`h` is inf", "", "h: inf", "value"),
    ),
    "data outside the support": (
        ("Normal(h, 1.0)", "Uniform(h * 0 - 3, h * 0 - 2)"),
        ("14:6", "the log-density of x is -inf", "", "log p(x): -inf", "impossible"),
    ),
    "a gradient with respect to a node": (
        ("h: decoder(z)", "g: decoder(z) * w\n  h: sqrt(g)"),
        (
            "12:6",
            "the gradient with respect to `g` is",
            "so is that of the networks encoder, decoder",
            "g: ",
            "gradient",
        ),
    ),
    "a gradient of a parameter": (
        ("h: decoder(z)", "h: decoder(z) + sqrt(square(w))"),
        ("5:3", "the gradient of w is not finite", "", "w: not finite", "gradient"),
    ),
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    np.savez("x.npz", x=x)
    return tmp_path


def trained(spec, *options):
    with open("broken.yaml", "w") as file:
        file.write(spec)
    return main(
        ["train", "broken.yaml", "--data", "x.npz", "--format", "npz", "--set", "data.x.array=x", "--quiet", *options]
    )


@pytest.mark.parametrize("name", CASES)
def test_the_place_the_quantity_and_the_remedy(here, capsys, name):
    (before, after), (place, quantity, more, label, cause) = CASES[name]
    assert before in SPEC
    assert trained(SPEC.replace(before, after)) == 3
    said = capsys.readouterr().err
    assert said.startswith(f"broken.yaml:{place}: error[non-finite]: step 1: "), said
    assert quantity in said and more in said and label in said, said
    assert f"help: {REMEDIES[cause]}" in said
    if cause not in ("gradient",):
        assert "of the batch (example " in said


def test_the_example_is_named(here, capsys):
    """One record alone lies outside of the support; the number counts the examples of the part."""
    x = np.full((40, 2), 0.5, dtype=np.float32)
    x[23, 1] = 7.0
    np.savez("x.npz", x_train=x, x_dev=x[:2])
    assert trained(HMM) == 3
    said = capsys.readouterr().err
    assert "broken.yaml:13:9: error[non-finite]" in said and "(example 24 of the training data)" in said, said


def test_a_parameter_that_was_moved_too_far_and_the_checkpoint_before_it(here, capsys):
    options = (
        "--set",
        "train.validate_every=1",
        "--set",
        "train.optimizer=sgd",
        "--set",
        "train.learning_rate=1.0e+30",
    )
    assert trained(SPEC, *options) == 3
    said = capsys.readouterr().err
    assert "error[non-finite]" in said, said
    assert list((here / "runs/broken/checkpoints").glob("step-*.safetensors")) or "step 1" in said


def test_a_validation_score_that_is_none(here, capsys):
    x = np.full((20, 2), 0.5, dtype=np.float32)
    bad = x[:4].copy()
    bad[2, 1] = 3.0
    np.savez("x.npz", x_train=x, x_dev=bad)
    assert trained(HMM, "--set", "train.init.low=zeros", "--set", "train.learning_rate=0.0") == 3
    said = capsys.readouterr().err
    assert (
        "validation at step 2: the log-density of x is -inf" in said and "example 3 of the validation data" in said
    ), said
    assert list((here / "runs/broken/checkpoints").glob("step-00000002*"))


GRAMMARS = {
    "PCFG": "  root: [2]\n  rules: [2, 4, 4]\n  terminals: [2, V]\n",
    "LowRankPCFG": "  root: [2]\n  head: [2, 3]\n  left: [3, 4]\n  right: [3, 4]\n  terminals: [2, V]\n",
}


@pytest.mark.parametrize("family", GRAMMARS)
def test_a_sentence_of_one_word_of_a_grammar(here, capsys, family):
    """The record, the cause, and a mend that works."""
    arguments = ", ".join(f"{n}={n}" for n in (line.split(":")[0].strip() for line in GRAMMARS[family].splitlines()))
    (here / "d.txt").write_text("a b\nb a a\na\nb b\n" * 3)
    story = f"observed:\n  x over t: {family}({arguments}) with tree\n"
    head = "lvspec: 1\nname: broken\nsizes: {V: vocabulary(x)}\nplates: {t: sequence}\nparams:\n"
    (here / "broken.yaml").write_text(head + GRAMMARS[family] + story)
    command = ["train", "broken.yaml", "--data", "d.txt", "--valid", "d.txt", "--quiet", "--steps", "1", "--no-verify"]
    assert main(command) == 3
    said = capsys.readouterr().err
    assert "error[non-finite]: step 1: the log-density of x is -inf at row " in said, said
    assert f"of the training data): a {family} yields 2 sites or more, and it has 1" in said
    assert int(said.split("(example ")[1].split()[0]) % 4 == 3
    assert f"help: {REMEDIES['short']}" in said
    assert main([*command, "--set", "data.x.lengths=2-40", "--overwrite"]) == 0


EM = """lvspec: 1
name: broken
sizes: {P: features(x), K: 2}
params:
  classes: [K]
  mu: [K, P]
  s: {shape: [K, P], init: "constant(-1000)"}
latent:
  z: Categorical(logits=classes)
observed:
  x: Normal(mu[z], exp(s[z]))
train:
  method: em
"""


def test_a_likelihood_of_em_that_is_none(here, capsys):
    assert trained(EM) == 3
    said = capsys.readouterr().err
    assert said.startswith("broken.yaml:11:20: error[non-finite]: step 1: the log-density of x is "), said
    assert "`scale` of p(x), Normal, is 0.0" in said and "of the training data)" in said, said


def test_locals_are_known_by_what_they_are():
    symbols = compile_spec(SPEC).symbols
    assert (symbols["h"].node, symbols["h"].part) == ("h", "let")
    assert (symbols["log_p_x"].node, symbols["log_p_x"].part, symbols["log_p_x"].axes) == ("x", "p", ("S", "B"))
    assert {s.argument for s in symbols.values() if s.node == "z" and s.part == "q"} >= {"loc", "scale"}
