"""Ancestral draws: shapes, supports, what is given stays, lengths and end symbols, and the model's own frequencies."""

import pytest
import torch

from lvspec.driver import compile_spec
from tests.emit.small import (
    LENGTH,
    NAMES,
    batch_of,
    compiled,
    conditions,
    given_in,
    model_of,
    own_rows,
    sizes_of,
    spec_of,
)


def lengths_of(name):
    """Sites of each ragged plate: as many as what is given has, where something on it is given."""
    spec = compiled(name).spec
    given = {p for v in conditions(name) for p in v.plates}
    return {p.name: LENGTH if p.name in given else 3 for p in spec.plates if p.ragged}


@pytest.mark.parametrize("name", NAMES)
def test_draws_are_a_batch_that_the_model_can_score(name):
    torch.manual_seed(0)
    model = model_of(name)
    spec, lengths = compiled(name).spec, lengths_of(name)
    given = given_in(name, batch_of(name), 5)
    drawn = model.sample(5, given=given, lengths=lengths)
    latent = {v.name for v in spec.of_role("latent")}
    assert drawn.keys() == {*latent, *(v.name for v in spec.of_role("observed")), *lengths}
    shared = {v.name for v in spec.of_role("latent") if v.outside_batch}
    assert all(len(v) == 5 for n, v in drawn.items() if n not in shared)
    observed = {k: v for k, v in {**given, **drawn}.items() if k not in latent}
    loss = model(observed | own_rows(name, 5)).loss
    assert loss.isfinite() or name == "ctc" and loss > 0  # symbols that are given there may not fit into their frames


@pytest.mark.parametrize("name", [n for n in NAMES if spec_of(n).of_role("latent")])
def test_what_is_given_is_kept(name):
    torch.manual_seed(0)
    model, lengths, given = model_of(name), lengths_of(name), given_in(name, batch_of(name), 4)
    before = model.sample(4, given=given, lengths=lengths)
    for key in (p.name for p in compiled(name).plan.latents):
        kept = model.sample(4, given={**given, key: before[key]}, lengths=lengths)
        assert torch.equal(kept[key], before[key])


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


LABELS_BETWEEN = """
lvspec: 1
name: labels_between
sizes: {K: 2}
plates: {t: sequence}
params: {start: [K], arrive: [K, K], pull: [K, K], pairs: [K, K], words: [K, K]}
latent:
  a[0]: Categorical(logits=start)
  a[t]: Categorical(logits=arrive[a[t-1]])
  z over t: LinearChain(unary=pull[a[t]], pairwise=pairs)
observed:
  x[t]: Categorical(logits=words[z[t]])
guide:
  a over t: LinearChain(unary=start, pairwise=arrive)
"""


def test_labels_that_read_a_chain_are_drawn_between_it_and_what_they_emit():
    """a site by site, then all labels at once, then x: joint frequencies of two sites against the model's own terms."""
    torch.manual_seed(0)
    model, n = compile_spec(LABELS_BETWEEN).Model().double(), 40_000
    drawn = model.sample(n, lengths={"t": 2})
    start, arrive, words = (p.log_softmax(-1) for p in (model.start, model.arrive, model.words))
    cells = torch.cartesian_prod(*[torch.arange(2)] * 6)
    a0, a1, z0, z1, x0, x1 = cells.t()
    scores = model.pull[a0, z0] + model.pull[a1, z1] + model.pairs[z0, z1]
    normaliser = scores.view(2, 2, 4, 4)[..., 0].logsumexp(-1).view(2, 2, 1).expand(2, 2, 16).flatten()
    expected = start[a0] + arrive[a0, a1] + scores - normaliser + words[z0, x0] + words[z1, x1]
    expected = expected.exp().detach()
    torch.testing.assert_close(expected.sum(), torch.ones((), dtype=torch.float64))
    columns = torch.cat([drawn["a"], drawn["z"], drawn["x"]], 1)
    found = torch.bincount(columns @ 2 ** torch.arange(5, -1, -1), minlength=64) / n
    # five standard deviations of a frequency, for each of 64 cells
    assert ((found - expected).abs() < 5 * (expected / n).sqrt() + 1e-4).all()
