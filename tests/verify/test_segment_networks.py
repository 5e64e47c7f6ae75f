"""Networks that begin anew in each segment, in the forms that a spec may give them."""

import pytest
import torch

from lvspec.driver import compile_spec
from lvspec.errors import SpecError
from lvspec.runtime import Undefined
from lvspec.verify import render, verify

HEAD = """
lvspec: 1
name: within
sizes: {K: 2, L: 2, C: 2, V: 3, E: 2, S: 3, H: 2, D: 2}
plates: {d: sequence, t: sequence(within=d), s: sequence}
params:
  a: [K]
  b: [K, K]
  c: [C]
  e: [C, K]
  g: [K, L]
  one: [1]
  once: [1, 1]
  short: [1, L]
  state: [K, S]
  kind: [C, S]
networks:
  words: Embedding(V, E)
  writer: GRU(E, H)
  told: LSTM(E + S, H)
  plain: RNN(D, H)
  each[K]: GRU(E, H)
  twice: LSTM(E, H, layers=2)
  output: Linear(H, V)
  extra: Linear(E, V)
  place: Linear(H, D)
  states: Linear(S, V)
"""
SEGMENTS = "  z over s: SemiMarkov(start=a, transition=b, length=g)\n"
WORDS = "observed:\n  x[s]: Categorical(logits=output(h[s]))"

FORMS = {
    "told its state": f"latent:\n{SEGMENTS}let:\n  h[s]: told(concat(words(x[<s in z]), state[z[s]]))\n{WORDS}",
    "one for each state": f"latent:\n{SEGMENTS}let:\n  h[s]: each[z[s]](words(x[<s in z]))\n{WORDS}",
    "two layers": f"latent:\n{SEGMENTS}let:\n  h[s]: twice(words(x[<s in z]))\n{WORDS}",
    "states that add to the logits": f"latent:\n{SEGMENTS}let:\n  h[s]: writer(words(x[<s in z]))\n"
    "observed:\n  x[s]: Categorical(logits=output(h[s]) + states(state[z[s]]))",
    "borders alone": "latent:\n  z over s: SemiMarkov(start=one, transition=once, length=short)\n"
    f"let:\n  h[s]: writer(words(x[<s in z]))\n{WORDS}",
    "without a name": f"latent:\n{SEGMENTS}observed:\n  x[s]: Categorical(logits=output(writer(words(x[<s in z]))))",
    "real numbers": f"latent:\n{SEGMENTS}let:\n  h[s]: plain(y[<s in z])\nobserved:\n  y[s]: Normal(place(h[s]) * (1 + z[s]), 1)",
    "beside what is not": f"latent:\n{SEGMENTS}let:\n  h[s]: writer(words(x[<s in z]))\n  whole[s]: twice(words(x[<s]))\n"
    "observed:\n  x[s]: Categorical(logits=output(h[s] + whole[s]))\n  w[s]: Categorical(logits=states(state[z[s]]))",
    "of what is given": f"given:\n  v[s]: token(V)\nlatent:\n{SEGMENTS}let:\n  h[s]: writer(words(v[<=s in z]))\n"
    "observed:\n  x[s]: Categorical(logits=output(h[s]) + extra(words(v[s])))",
    "under a mixture": f"latent:\n  k: Categorical(logits=c)\n{SEGMENTS}let:\n"
    "  h[s]: told(concat(words(x[<s in z]), state[z[s]] + kind[k]))\n" + WORDS,
    "under a mixture of lengths": "latent:\n  k: Categorical(logits=c)\n"
    "  z over s: SemiMarkov(start=a + e[k], transition=b, length=g)\n"
    f"let:\n  h[s]: writer(words(x[<s in z]))\n{WORDS}",
    "two that read within": f"latent:\n{SEGMENTS}let:\n  h[s]: writer(words(x[<s in z]))\n{WORDS}\n"
    "  w[s]: Categorical(logits=output(twice(words(w[<s in z]))))",
    "one that reads the other": f"latent:\n{SEGMENTS}let:\n  h[s]: writer(words(x[<s in z]))\n{WORDS}\n"
    "  w[s]: Categorical(logits=output(twice(words(x[<=s in z]))))",
    "beside a latent of each site": f"latent:\n{SEGMENTS}  k[s]: Categorical(logits=b[z[s]])\nlet:\n"
    "  h[s]: writer(words(x[<s in z]))\nobserved:\n  x[s]: Categorical(logits=output(h[s]))\n"
    "  w[s]: Categorical(logits=states(state[k[s]]))",
    "bound by where": f"latent:\n{SEGMENTS}observed:\n"
    "  x[s]: Categorical(logits=output(h) + states(state[z[s]])) where h = writer(words(x[<s in z]))",
    "documents of sentences": "latent:\n  z[d] over t: SemiMarkov(start=a, transition=b, length=g)\n"
    "let:\n  h[d, t]: writer(words(x[d, <t in z]))\nobserved:\n  x[d, t]: Categorical(logits=output(h[d, t]))",
    "a drawn vector beside": f"latent:\n  v: Normal(0, 1)[S]\n{SEGMENTS}let:\n"
    f"  h[s]: told(concat(words(x[<s in z]), v + state[z[s]]))\n{WORDS}",
    "a guided vector beside": f"latent:\n  v: Normal(0, 1)[S]\n{SEGMENTS}let:\n"
    f"  h[s]: told(concat(words(x[<s in z]), v))\n{WORDS}",
}


@pytest.mark.parametrize("name", FORMS)
def test_networks_that_begin_anew_agree_with_brute_force(name):
    compiled = compile_spec(HEAD + FORMS[name] + "\n")
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=0, draws=4000)
    assert report.passed, render(report)


@pytest.mark.parametrize("longest", [1, 6])
def test_segments_of_one_site_and_longer_than_the_text(longest):
    compiled = compile_spec(HEAD + FORMS["told its state"] + "\n", sizes={"L": longest})
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=1, draws=0)
    assert report.passed, render(report)


@pytest.mark.parametrize("lengths", [[], [0], [0, 2, 1]], ids=str)
def test_questions_about_rows_with_few_sites(lengths):
    model = compile_spec(HEAD + FORMS["told its state"] + "\n").Model().double()
    x = torch.zeros(len(lengths), max(lengths, default=0), dtype=torch.int64)
    batch = {"x": x, "s": torch.tensor(lengths, dtype=torch.int64)}
    loss = model(dict(batch)).loss
    if lengths:
        loss.backward()
    found = model.posterior(dict(batch))["z"]
    begins, states = found.begins.mode, found.mode
    assert states.shape == begins.shape == x.shape
    assert begins.sum(1).tolist() <= lengths and (not lengths or found.sample(3).shape == (3, *x.shape))
    assert all(bool(b[0]) for b, n in zip(begins, lengths, strict=True) if n)
    scores, ways = found.k_best(3)
    assert scores.shape == (3, len(lengths)) and ways.shape == (3, *x.shape)


def test_the_k_best_segmentations_are_those_of_highest_probability():
    torch.manual_seed(0)
    model = compile_spec(HEAD + FORMS["told its state"] + "\n").Model().double()
    batch = {"x": torch.tensor([[0, 2, 1]])}
    answer = model.posterior(dict(batch))["z"]
    scores, states = answer.k_best(100)
    begins = answer.begins.k_best(100)[1]
    possible = scores[:, 0] > -torch.inf
    assert int(possible.sum()) == round(float(answer.log_count.exp()[0]))
    torch.testing.assert_close(torch.logsumexp(scores[possible, 0], 0), model.log_prob(dict(batch))[0])
    assert bool((scores[1:][possible[1:]] <= scores[:-1][possible[1:]]).all())
    told = {
        (tuple(z[0].tolist()), tuple(b[0].tolist())) for z, b in zip(states[possible], begins[possible], strict=True)
    }
    assert len(told) == int(possible.sum())
    assert torch.equal(states[0], answer.mode) and torch.equal(begins[0], answer.begins.mode)


def test_filtered_states_are_refused():
    model = compile_spec(HEAD + FORMS["told its state"] + "\n").Model()
    with pytest.raises(Undefined, match="filtered"):
        model.posterior({"x": torch.tensor([[0, 2, 1]])})["z"].filtered  # noqa: B018


def test_the_plan_says_how_often_networks_run():
    plan = compile_spec(HEAD + FORMS["told its state"] + "\n").plan
    assert plan.latents[0].why.endswith("what x reads within segments is run once from each site, L sites far")


def test_borders_beside_draws_are_averages_over_the_weighted_draws():
    torch.manual_seed(0)
    model = compile_spec(HEAD + FORMS["a drawn vector beside"] + "\n").Model().double()
    batch = {"x": torch.tensor([[0, 2, 1], [1, 1, 0]]), "s": torch.tensor([3, 2])}
    found = model.posterior(dict(batch), samples=5)
    assert set(found) == {"v", "z"}
    begins = found["z"].begins.marginals
    real = torch.tensor([[True, True, True], [True, True, False]])
    torch.testing.assert_close(begins.sum(-1), real.double())
    torch.testing.assert_close(begins[:, 0, 1], torch.ones(2).double())
    assert 0 < begins[0, 1, 1] < 1
    # a segment has two sites at most
    assert bool((begins[0, 1, 1] + begins[0, 2, 1] >= 1 - 1e-9).all())


REFUSED = {
    "with a latent of each site": f"latent:\n{SEGMENTS}  k[s]: Categorical(logits=b[z[s]])\nlet:\n"
    "  h[s]: writer(words(x[<s in z]))\nobserved:\n  x[s]: Categorical(logits=output(h[s]) + states(state[k[s]]))",
    "a latent that reads within": "latent:\n"
    + SEGMENTS
    + "  k[s]: Categorical(logits=output(writer(words(v[<s in z]))))\n"
    "given:\n  v[s]: token(V)\nobserved:\n  x[s]: Categorical(logits=terminal[k[s]])",
    "two segmentations": "latent:\n" + SEGMENTS + "  u over s: SemiMarkov(start=a, transition=b, length=g)\n"
    "observed:\n  x[s]: Categorical(logits=output(writer(words(x[<s in z])) + twice(words(x[<s in u]))))",
    "no network": "latent:\n" + SEGMENTS + "given:\n  v[s]: real[D]\nobserved:\n  y[s]: Normal(sum(v[<s in z]), 1)",
    "the last of a segment": "latent:\n"
    + SEGMENTS
    + "given:\n  v[s]: real[D]\nobserved:\n  y[s]: Normal(last(v[<s in z]), 1)",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_engine_is_declined_in_words(name):
    text = HEAD.replace("  kind: [C, S]", "  kind: [C, S]\n  terminal: [V, V]") + REFUSED[name] + "\n"
    with pytest.raises(SpecError) as error:
        compile_spec(text)
    assert {d.code for d in error.value.diagnostics} == {"no-strategy"}
    assert "no engine yet" in str(error.value)
