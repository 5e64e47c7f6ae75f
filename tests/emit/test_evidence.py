"""Latents that a batch gives: everywhere, here and there, or not at all. Checked by adding up over their values."""

from itertools import product

import pytest
import torch

from lvspec.driver import compile_spec
from lvspec.verify.oracle.draw import randomize
from tests.emit.small import EXACT, batch_of, compiled, gradients, model_of

CHAINS = ("hmm", "deep_hmm", "softmax_mixture_lm")
MIXTURES = ("naive_bayes", "mixture_of_rnns")


def states(name):
    return compiled(name).spec.variable("z").type.support.cardinality.evaluate(dict(compiled(name).plan.sizes))


def log_prob(model, batch):
    return model.double()(batch).log_prob


@pytest.mark.parametrize("name", CHAINS)
def test_summing_over_given_paths_gives_the_marginal(name):
    model, K = model_of(name), states(name)
    batch = {"x": batch_of(name)["x"][:1], "t": torch.tensor([3])}
    paths = torch.tensor(list(product(range(K), repeat=3)))
    padded = torch.nn.functional.pad(paths, (0, 1), value=10**6)
    joint = log_prob(model, {"x": batch["x"].expand(len(paths), -1), "t": batch["t"].expand(len(paths)), "z": padded})
    torch.testing.assert_close(joint.logsumexp(0), log_prob(model, batch)[0])


@pytest.mark.parametrize("name", CHAINS)
def test_partly_given_paths_are_summed_over_the_rest(name):
    model, K = model_of(name), states(name)
    x = batch_of(name)["x"][:1].expand(K, -1)
    everywhere = {"x": x, "t": torch.full((K,), 3)}
    z = torch.full((K, 4), 10**6)
    z[:, 1] = torch.arange(K)
    observed = torch.zeros(K, 4, dtype=torch.bool)
    observed[:, 1] = True
    partly = log_prob(model, {**everywhere, "z": z, "z_observed": observed})
    torch.testing.assert_close(partly.logsumexp(0), log_prob(model, everywhere)[0])
    marginals = model.posterior(everywhere)["z"].marginals[0, 1]
    torch.testing.assert_close((partly - partly.logsumexp(0)).exp(), marginals)


@pytest.mark.parametrize("name", MIXTURES)
def test_labels_of_some_examples(name):
    model, K, batch = model_of(name), states(name), batch_of(name)
    free = log_prob(model, batch)
    labels = torch.tensor([1, 10**6, 0, 10**6])
    seen = torch.tensor([True, False, True, False])
    some = log_prob(model, {**batch, "z": labels, "z_observed": seen})
    torch.testing.assert_close(some[~seen], free[~seen])
    every = torch.stack([log_prob(model, {**batch, "z": torch.full((4,), k)}) for k in range(K)])
    torch.testing.assert_close(every.logsumexp(0), free)
    torch.testing.assert_close(some[seen], every[labels[seen], [0, 2]])


def test_given_chains_of_a_factorial_model():
    name = "factorial_hmm"
    model, K, L = model_of(name), states(name), dict(compiled(name).plan.sizes)["L"]
    batch = {"x": batch_of(name, dtype=torch.float64)["x"][:1, :2], "t": torch.tensor([2])}
    paths = torch.tensor(list(product(range(K), repeat=2 * L))).view(-1, 2, L)
    rows = len(paths)
    joint = log_prob(model, {"x": batch["x"].expand(rows, -1, -1), "t": batch["t"].expand(rows), "z": paths})
    torch.testing.assert_close(joint.logsumexp(0), log_prob(model, batch)[0])


@pytest.mark.parametrize("name", EXACT)
def test_nothing_observed_is_the_same_as_nothing_given(name):
    model, batch = model_of(name), batch_of(name)
    latent = compiled(name).spec.variable("z")
    shape = batch["x"].shape[: 1 + len([p for p in latent.plates if p == "t"])]
    shape = (*shape, dict(compiled(name).plan.sizes)["L"]) if "l" in latent.plates else shape
    hidden = {"z": torch.full(shape, 10**6), "z_observed": torch.zeros(shape, dtype=torch.bool)}
    objective, plain = model({**batch, **hidden}), model(batch)
    torch.testing.assert_close(objective.log_prob, plain.log_prob)
    mine, theirs = gradients(model, objective.loss), gradients(model, plain.loss)
    for key in theirs:
        torch.testing.assert_close(mine[key], theirs[key], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["hmm", "rnn_lm", "naive_bayes"])
def test_unobserved_sites_of_x_are_not_read(name):
    """A token that is missing contributes nothing; in an HMM its state is summed over all the same."""
    model, batch = model_of(name), batch_of(name)
    observed = torch.ones(batch["x"].shape, dtype=torch.bool)
    observed[0, 3] = False
    x = batch["x"].clone()
    x[0, 3] = 10**6
    found = model({**batch, "x": x, "x_observed": observed}).log_prob
    shorter = model({**batch, "t": torch.tensor([3, *batch["t"][1:].tolist()])}).log_prob
    torch.testing.assert_close(found, shorter)  # the last site is missing: the same as a shorter sequence


MOVES = """
lvspec: 1
name: moves
sizes: {K: 2, V: 3}
plates: {t: sequence}
params: {start: [K], transition: [K, K], first: [K, V], emission: [K, K, V]}
latent:
  z[0]: Categorical(logits=start)
  z[t]: Categorical(logits=transition[z[t-1]])
observed:
  x[0]: Categorical(logits=first[z[0]])
  x[t]: Categorical(logits=emission[z[t-1], z[t]])
"""


def test_a_missing_site_does_not_weigh_the_step_that_it_hangs_on():
    """log p of what is observed is log Σ over what is not, of log p with all sites observed."""
    model = compile_spec(MOVES).Model().double()
    randomize(model, torch.Generator().manual_seed(0))
    x, seen = torch.tensor([[1, 9, 0, 9]]), torch.tensor([[True, False, True, False]])
    filled = torch.tensor([[1, a, 0, b] for a, b in product(range(3), repeat=2)])
    found = model.log_prob({"x": x, "x_observed": seen})
    torch.testing.assert_close(found[0], model.log_prob({"x": filled}).logsumexp(0))


READERS = {
    "the next site": """
lvspec: 1
name: walk
plates: {t: sequence}
params: {a: [], b: []}
observed:
  x[0]: Normal(a, 1)
  x[t]: Normal(b * x[t-1], 1)
""",
    "every later site": """
lvspec: 1
name: words
sizes: {V: 3, H: 2}
plates: {t: sequence}
networks: {words: "Embedding(V, H)", writer: "GRU(H, H)", out: "Linear(H, V)"}
observed:
  x[t]: Categorical(logits=out(writer(words(x[<t]))))
""",
    "a latent": """
lvspec: 1
name: driven
sizes: {K: 2, V: 3}
plates: {t: sequence}
params: {start: [K], transition: [V, K, K], emission: [K, V]}
latent:
  z[0]: Categorical(logits=start)
  z[t]: Categorical(logits=transition[x[t-1], z[t-1]])
observed:
  x[t]: Categorical(logits=emission[z[t]])
""",
    "another variable": """
lvspec: 1
name: network
sizes: {V: 3}
plates: {t: sequence}
params: {a: [V], b: [V, V]}
observed:
  x[t]: Categorical(logits=a)
  y[t]: Categorical(logits=b[x[t]])
""",
    "a term": """
lvspec: 1
name: reward
sizes: {K: 2, V: 3}
plates: {t: sequence}
params: {a: [V], w: [K]}
latent:
  c: Categorical(logits=w)
observed:
  x[t]: Categorical(logits=a)
objective:
  likes[t]: equal(x[t], 1) * equal(c, 0)
""",
}


@pytest.mark.parametrize("reader", READERS)
def test_a_missing_value_that_a_factor_reads_is_refused_by_name(reader):
    model = compile_spec(READERS[reader]).Model()
    floats = model.batch_inputs()["x"].kind == "real"
    x = torch.tensor([[1, 2, 0], [2, 1, 1]])
    batch = {"x": x.float() if floats else x}
    batch |= {name: x for name in ("y",) if name in model.batch_inputs()}
    assert model(batch).loss.isfinite()
    seen = torch.tensor([[True, True, True], [True, False, True]])
    who = {"a latent": "z", "another variable": "y", "a term": "likes"}.get(reader, "x")
    with pytest.raises(ValueError, match=rf"`x` is not observed at \[1, 1\], and `{who}` reads it"):
        model({**batch, "x_observed": seen})


FAMILIES = {  # of x[t], which reads x[t-1]: whether a latent of it may be given for some sites
    "Categorical(logits=w[x[t-1]])": True,
    "Binomial(2, probs=(1 + x[t-1]) / 4)": True,
    "Poisson(exp(0.1 * x[t-1]))": False,
    "Normal(0.5 * x[t-1], 1)": False,
}


@pytest.mark.parametrize("family", FAMILIES)
def test_what_the_refusal_of_a_missing_value_advises_works(family):
    first = family.replace("x[t-1]", "0")
    story = f"  x[0]: {first}\n  x[t]: {family}\n"
    head = "lvspec: 1\nname: chain\nsizes: {K: 3}\nplates: {t: sequence}\nparams: {w: [K, K]}\n"
    reals = family.startswith("Normal")
    batch = {"x": torch.tensor([[0, 2, 1, 1]]).to(torch.float32 if reals else torch.int64)}
    batch["x_observed"] = torch.tensor([[True, False, True, True]])
    with pytest.raises(ValueError, match="`x` is not observed at") as caught:
        compile_spec(f"{head}observed:\n{story}").Model()(batch)
    assert ("Declare `x` under `latent:`" in str(caught.value)) == FAMILIES[family]
    assert ("fill the value in" in str(caught.value)) != FAMILIES[family]
    if FAMILIES[family]:
        latent = compile_spec(f"{head}latent:\n{story}observed:\n  y[t]: Normal(equal(x[t], 1), 1)\n").Model()
        assert latent({**batch, "y": torch.zeros(1, 4)}).log_prob.isfinite().all()


def test_what_is_missing_and_read_by_what_is_missing_is_summed():
    """Behind the last observed site, and where the child of a network is missing as well: log p of the others."""
    walk = compile_spec(READERS["the next site"]).Model().double()
    x = torch.tensor([[0.5, -1.0, 7.0]], dtype=torch.float64)
    some = walk({"x": x, "x_observed": torch.tensor([[True, True, False]])}).log_prob
    torch.testing.assert_close(some, walk({"x": x[:, :2]}).log_prob)
    network = compile_spec(READERS["another variable"]).Model().double()
    x, y, seen = torch.tensor([[1, 99]]), torch.tensor([[2, 99]]), torch.tensor([[True, False]])
    some = network({"x": x, "y": y, "x_observed": seen, "y_observed": seen}).log_prob
    torch.testing.assert_close(some, network({"x": x[:, :1], "y": y[:, :1]}).log_prob)
    childless = network({"x": x[:, :1].expand(3, 1), "y": torch.arange(3)[:, None]}).log_prob.logsumexp(0)
    unseen = {"y_observed": torch.zeros(1, 1, dtype=torch.bool)}
    torch.testing.assert_close(network({"x": x[:, :1], "y": y[:, :1], **unseen}).log_prob[0], childless)


def test_the_last_site_may_be_missing_where_a_latent_reads_earlier_ones():
    """No site is behind it whose factor would read it: of another length than the longest, too."""
    model = compile_spec(READERS["a latent"]).Model().double()
    x, lengths = torch.tensor([[1, 2, 0], [2, 1, 99]]), torch.tensor([3, 2])
    seen = torch.tensor([[True, True, False], [True, False, False]])
    found = model.log_prob({"x": x, "x_observed": seen, "t": lengths})
    for row, n in enumerate(lengths.tolist()):
        filled = x[row, :n].repeat(3, 1)
        filled[:, n - 1] = torch.arange(3)
        torch.testing.assert_close(found[row], model.log_prob({"x": filled}).logsumexp(0))


def test_a_grammar_s_words_are_observed_together_or_not_at_all():
    model, batch = model_of("pcfg"), batch_of("pcfg")
    none = torch.zeros(batch["x"].shape, dtype=torch.bool)
    assert (model({**batch, "x_observed": none}).log_prob == 0)[batch["t"] > 0].all()
    some = none.clone()
    some[0, 0] = True
    with pytest.raises(ValueError, match="`x` is observed in part in example 0"):
        model({**batch, "x_observed": some})


CONTINUOUS = """
lvspec: 1
name: continuous
sizes: {D: 3}
networks:
  encoder: Linear(D, D)
latent:
  g: Normal(0, 1)[D]
observed:
  x: Normal(g, 1)
"""


@pytest.mark.parametrize(
    "guide",
    ["", "guide:\n  g: Normal(encoder(x), 1)\n", "guide:\n  g: Delta(encoder(x))\n"],
    ids=["summed", "drawn", "point"],
)
def test_a_continuous_latent_that_the_batch_gives_is_refused(guide):
    """Nothing would be conditioned on it: the model says so instead of passing it over."""
    model = compile_spec(CONTINUOUS + guide).Model()
    batch = {"x": torch.zeros(2, 3)}
    assert model(batch).loss.isfinite()
    with pytest.raises(ValueError, match="`g` is a latent whose values cannot be given"):
        model({**batch, "g": torch.zeros(2, 3)})
