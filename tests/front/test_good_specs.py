"""Every construct of the language reads without a problem, and the shipped specs without a warning."""

from textwrap import dedent

import pytest

from lvspec.front import load
from lvspec.ir.bounds import Bound
from tests import ZOO
from tests.front.good_specs import CONSTRUCTS


def construct(name):
    return load("lvspec: 1\n" + dedent(CONSTRUCTS[name]).lstrip("\n"), f"{name}.yaml", allow_modules=("mine",))


@pytest.mark.parametrize("path", ZOO, ids=lambda p: p.stem)
def test_shipped_spec_has_no_problem(path):
    spec = load(path.read_text(encoding="utf-8"), path.name)
    assert spec.name == path.stem
    assert spec.warnings == ()
    assert spec.description.startswith(path.read_text(encoding="utf-8").split("\n")[0].lstrip("# "))


@pytest.mark.parametrize("name", CONSTRUCTS)
def test_construct_has_no_problem(name):
    assert construct(name).warnings == ()


def test_variables_come_after_what_they_read_at_their_site():
    names = [v.name for v in construct("soft_attention").variables]
    assert names == ["s", "memory", "h", "weights", "context", "x"]


def test_name_of_a_spec_without_one_is_that_of_its_file():
    assert construct("pcfg").name == "pcfg"
    assert construct("pcfg").class_name == "PCFG"


def test_global_variables_stand_outside_the_batch():
    spec = construct("bayesian_mixture")
    assert {v.name for v in spec.variables if v.outside_batch} == {"weights", "mu_Sigma"}


def test_what_is_drawn_together_is_one_latent_whose_parts_are_read():
    spec = construct("bayesian_mixture")
    pair = spec.variable("mu_Sigma")
    assert (pair.parts, pair.at(("k",))) == (("mu", "Sigma"), "(mu[k], Sigma[k])")
    assert [str(d) for d in pair.type.shape] == ["D", "D + 1"]
    read = spec.variable("x").general.body
    parts = [read.argument("loc"), read.argument("covariance_matrix")]
    assert [(p.name, p.part, p.base.name) for p in parts] == [("mu", 0, "mu_Sigma"), ("Sigma", 1, "mu_Sigma")]
    assert [[str(d) for d in p.type.shape] for p in parts] == [["D"], ["D", "D"]]


def test_strategy_and_weights_are_settings_of_a_latent():
    spec = construct("objective_views_and_phases")
    assert [(o.name, o.strategy, o.options) for o in spec.overrides] == [("z", "reparameterization", (("samples", 2),))]
    assert dict(spec.infer) == {"samples": 4, "budget_flops": 1e12, "bound": Bound("iwae"), "B": 128}
    assert [(n, w.kind, w.values) for n, w in spec.kl_weight] == [("z", "cyclical", (0.0, 1.0, 500.0))]
    assert [t.name for t in spec.terms] == ["small", "again"]
    assert [name for name, _ in spec.unread] == ["views"]
    assert [(p.name, p.moves, p.steps) for p in spec.phases] == [
        ("inference", ("encoder",), 5),
        ("model", ("decoder",), 1),
    ]
    assert dict(spec.train)["learning_rate"] == 1e-3


def test_distribution_arguments_are_named_and_filled_in():
    spec = construct("every_family_with_an_engine")
    shown = {v.name: [(n, getattr(e, "value", None)) for n, e in v.general.body.arguments] for v in spec.variables}
    assert [n for n, _ in shown["v7"]] == ["loc", "scale"] and shown["v7"][1] == ("scale", 1)
    assert shown["v10"] == [("df", 3), ("loc", 0), ("scale", 1)]
    assert shown["v15"] == [("low", 0), ("high", 1)]
    assert [str(d) for d in spec.variable("v16").type.shape] == ["K", "D"]
    assert [str(d) for d in spec.variable("v2").type.shape] == ["K"]
    assert spec.variable("v1").type.support.kind == "integer"


TAGGER = """
lvspec: 1
plates: {t: sequence}
given:
  s[t]: real[4]
params:
  styles: [2]
  mix: [2, 4]
latent:
  style: Categorical(logits=styles)
  tag[t]: Categorical(logits=mix[style] + s[t])
"""
LABELS = "data:\n  tag: {format: jsonl, field: tag}\n"
WORDS = "observed:\n  x: Normal(0, 1)\n"


def unused_latents(text):
    return [w.message.split("`")[1] for w in load(text, "tagger.yaml").warnings if w.code == "unused-latent"]


def test_latents_that_data_label_are_what_a_conditional_model_predicts():
    assert unused_latents(TAGGER + LABELS) == []  # nor is what they depend on unused
    assert unused_latents(TAGGER + LABELS + WORDS) == []


def test_latents_without_labels_have_to_be_read_by_something_observed():
    assert unused_latents(TAGGER) == ["style", "tag"]
    assert unused_latents(TAGGER + WORDS) == ["style", "tag"]
    assert unused_latents(TAGGER + LABELS.replace("tag:", "style:", 1)) == ["tag"]


def test_labelled_latents_are_not_predicted_where_nothing_is_given():
    generative = TAGGER.replace("given:\n  s[t]: real[4]\n", "").replace(" + s[t]", "")
    assert unused_latents(generative + LABELS + WORDS) == ["style", "tag"]
