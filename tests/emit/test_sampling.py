"""Ancestral draws: shapes, supports, what is given stays, lengths and end symbols, and the model's own frequencies."""

import pytest
import torch
from small import NAMES, compiled, model_of, sequences, sizes_of

from lvspec.driver import compile_spec


@pytest.mark.parametrize("name", NAMES)
def test_draws_are_a_batch_that_the_model_can_score(name):
    torch.manual_seed(0)
    model = model_of(name)
    drawn = model.sample(5, lengths={"t": 3} if sequences(name) else None)
    latent = {v.name for v in compiled(name).spec.of_role("latent")}
    assert drawn.keys() == {*latent, "x", *(["t"] if sequences(name) else [])}
    assert all(len(v) == 5 for v in drawn.values())
    observed = {k: v for k, v in drawn.items() if k not in latent}
    assert model(observed).loss.isfinite()


@pytest.mark.parametrize("name", [n for n in NAMES if compiled(n).plan.latents])
def test_what_is_given_is_kept(name):
    torch.manual_seed(0)
    model, lengths = model_of(name), {"t": 3} if sequences(name) else None
    before = model.sample(4, lengths=lengths)
    for key in (p.name for p in compiled(name).plan.latents):
        assert torch.equal(model.sample(4, given={key: before[key]}, lengths=lengths)[key], before[key])


def test_frequencies_of_an_hmm_are_its_probabilities():
    torch.manual_seed(0)
    model, n = model_of("hmm"), 40_000
    x = model.sample(n, lengths={"t": 2})["x"]
    V = sizes_of("hmm")["V"]
    pairs = torch.cartesian_prod(torch.arange(V), torch.arange(V))
    expected = model.log_prob({"x": pairs}).exp().detach()
    found = torch.bincount(x[:, 0] * V + x[:, 1], minlength=V * V) / n
    # five standard deviations of a frequency, for each of V² cells
    assert ((found - expected).abs() < 5 * (expected / n).sqrt() + 1e-4).all()


@pytest.mark.parametrize("name", ["hmm", "naive_bayes"])
def test_a_model_may_be_called_as_the_runtime_calls_something(name):
    text = (compiled(name).spec.source.text).replace(f"name: {name}", "name: LOG")
    sizes = sizes_of(name)
    model = compile_spec(text, sizes=sizes).Model(**sizes)
    assert model({"x": torch.zeros(2, 3, dtype=torch.int64)}).loss.isfinite()


def test_a_latent_may_be_called_n():
    text = compiled("hmm").spec.source.text.replace("z[", "n[")
    sizes = sizes_of("hmm")
    assert compile_spec(text, sizes=sizes).Model(**sizes).sample(3, lengths={"t": 2})["n"].shape == (3, 2)
