"""Docstrings of emitted methods: densities by the model's own names, with all that they are conditioned on."""

import ast
from functools import cache

import pytest

import lvspec.runtime
from lvspec.driver import compile_spec
from lvspec.emit.text.glosses import GLOSSES
from lvspec.ir.structured import structure_of
from lvspec.ir.structures import STRUCTURES
from tests import SPECS
from tests.emit.small import NAMES


@cache
def docstrings(name: str) -> dict[str, str]:
    tree = ast.parse(compile_spec(SPECS / f"{name}.yaml").source)
    methods = (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef))
    return {m.name: " ".join((ast.get_docstring(m) or "").split()) for m in methods}


@pytest.mark.parametrize(
    ("name", "method", "wanted"),
    [
        ("hmm", "log_prob", "log p(x), (B,), exact. Where the batch holds values of z, it is log p(x, known z)."),
        ("latent_attention_elbo", "log_prob", "log p(x | s), (B,), exact. Where the batch holds values of a, it is log p(x, known a | s)."),
        ("latent_attention", "posterior", "p(a | x, s), exact"),
        ("hmm", "log_marginal", "log Σ_z p(x, z) exp(Σ_t θ[t, z[t]]), whose gradient in θ[t, k] at θ = 0 is p(z[t] = k | x)"),
        ("gm_vae", "posterior", "p(z | x), by draws of q with self-normalised importance weights. p(c | x): p(c | x, z), exact, averaged over the weighted draws."),
        ("gm_vae", "encode", "The guide's q(c | x), q(z | x), by latent: arguments, draws and log-density. Values of c that the batch holds are not looked at."),
        ("neural_topic_model", "posterior", "p(z | x, g), exact, averaged over the weighted draws."),
        ("bayesian_mixture", "log_weights", "log p(x | weights, mu_Sigma)"),
        ("bilstm_tagger", "log_prob", "log p(known z | x), (B,), exact."),
        ("dmv", "sample", "drawn given its length"),
    ],
)  # fmt: skip
def test_densities_are_named_with_their_conditions(name, method, wanted):
    assert wanted in docstrings(name)[method]


@pytest.mark.parametrize("name", NAMES)
def test_estimates_by_draws_say_that_they_keep_a_graph(name):
    found = docstrings(name)
    if "importance" in found:
        assert "torch.no_grad()" in found["log_prob"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("gm_vae", "with x given, c, z are drawn from the prior all the same, and not from p(c, z | x), which is what `posterior` answers."),
        ("latent_attention", "with x given, a is drawn from the prior all the same, and not from p(a | x, s), which is what `posterior` answers."),
        ("rnn_lm", "`given`: values in place of draws, which condition what depends on them and nothing else."),
        ("linear_chain_crf", "`given`: values in place of draws, which condition what depends on them and nothing else."),
    ],
)  # fmt: skip
def test_sampling_says_that_what_is_given_conditions_nothing_above_it(name, told):
    assert told in docstrings(name)["sample"]


@pytest.mark.parametrize("name", NAMES)
def test_sampling_names_end_symbols_where_there_are_any(name):
    assert ("end symbols" in docstrings(name)["sample"]) is ("until_end" in compile_spec(SPECS / f"{name}.yaml").source)


def test_a_class_with_a_schedule_says_who_advances_the_step():
    source = compile_spec(SPECS / "gm_vae.yaml").source
    told = (
        "The weight of the KL of c and z, linear(0, 1, steps=2000), follows `model.step`. Without the last line of an update it "
        "stays 0: optimizer.zero_grad() model(batch).loss.backward() optimizer.step() model.step += 1"
    )
    assert told in " ".join(source.split("class GMVAE")[1].split("def __init__")[0].split())
    step = "follows `model.step`, which `model.step += 1` advances after each update."
    assert step in docstrings("gm_vae")["forward"] and "`model.step`" in source.split('"""')[1]
    assert "model.step" not in compile_spec(SPECS / "vae.yaml").source


@pytest.mark.parametrize("name", NAMES)
def test_the_table_of_latents_has_every_hidden_structure_and_no_default_size(name):
    compiled = compile_spec(SPECS / f"{name}.yaml")
    head = compiled.source.split("\nBatch\n")[0]
    hidden = [p.name for p in compiled.plan.latents] + [s.part for s in compiled.plan.structures if s.part]
    if hidden:
        table = head.split("\nLatent | treatment\n")[1]
        assert [row.split(" | ")[0].strip() for row in table.split("\n") if " | " in row] == hidden
        assert not any(row.endswith(("states", "values")) and row.split()[-2].isdigit() for row in table.split("\n"))


@pytest.mark.parametrize("name", NAMES)
def test_what_a_structure_sums_stands_above_its_call(name):
    compiled = compile_spec(SPECS / f"{name}.yaml")
    families = {v.general.body.family for v in compiled.spec.variables if structure_of(v)}
    for row in (STRUCTURES[f] for f in families):
        assert len(row.notes) > 1 and "\n".join(f"        #     {note}" for note in row.notes) in compiled.source


def test_glosses_are_of_names_of_the_runtime_and_stand_behind_their_import():
    assert not {n for n in GLOSSES if not hasattr(lvspec.runtime, n)}
    assert "\n    real_sites,  # 0 where a site is padding or missing\n" in compile_spec(SPECS / "hmm.yaml").source
