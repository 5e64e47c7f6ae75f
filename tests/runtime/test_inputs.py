"""What a batch may hold: everything else is refused by name, and nothing that is not read is looked at."""

import pytest
import torch

from lvspec.driver import compile_spec
from lvspec.runtime import BadBatch

MODEL = """
lvspec: 1
name: everything
sizes: {V: 4, K: 3, D: 2}
plates: {t: sequence}
params: {w: [V], e: [K, D], prior: [K], a: [D]}
given:
  g[t]: token(V)
  u: positive
latent:
  y: Categorical(logits=prior)
  h: Normal(0, 1)
observed:
  x[t]: Normal(e[y] * u + h + w[g[t]], 1)
  n: Poisson(exp(h))
  b: Bernoulli(logits=a)
  p: Beta(2, 2)
  d: Dirichlet(exp(a))
"""


def batch_of():
    """Two examples, the second one without its last two sites."""
    return {
        "g": torch.tensor([[0, 1, 3], [2, 0, 0]]),
        "u": torch.tensor([1.0, 2.0]),
        "x": torch.randn(2, 3, 2, generator=torch.Generator().manual_seed(0)),
        "n": torch.tensor([3, 0]),
        "b": torch.tensor([[0.0, 1.0], [1.0, 1.0]]),
        "p": torch.tensor([0.2, 0.8]),
        "d": torch.tensor([[0.5, 0.5], [0.1, 0.9]]),
        "t": torch.tensor([3, 1]),
    }


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return compile_spec(MODEL, overrides={"h": "reparameterization"}).Model()


WRONG = {
    "a symbol below zero": ({"g": torch.tensor([[0, -1, 3], [2, 0, 0]])}, r"`g` holds -1 at \[0, 1\].*0 to 3"),
    "a symbol that no row has": ({"g": torch.tensor([[0, 4, 3], [2, 0, 0]])}, r"`g` holds 4 at \[0, 1\]"),
    "symbols as fractions": ({"g": torch.zeros(2, 3)}, "`g` has numbers of torch.float32, expected whole ones"),
    "a label of no class": ({"y": torch.tensor([1, 3])}, r"`y` holds 3 at \[1\].*0 to 2"),
    "a width of one": ({"x": torch.zeros(2, 3, 1)}, r"`x` has shape \(2, 3, 1\), expected \(B, t, 2\)"),
    "an axis too few": ({"b": torch.zeros(2)}, r"`b` has shape \(2,\), expected \(B, 2\)"),
    "no number": ({"x": torch.full((2, 3, 2), torch.nan)}, "`x` holds nan"),
    "an infinite number": ({"x": torch.full((2, 3, 2), torch.inf)}, "`x` holds inf"),
    "a fraction among counts": ({"n": torch.tensor([0.5, 1.0])}, r"`n` holds 0.5 at \[0\].*a count"),
    "a count below zero": ({"n": torch.tensor([-1, 1])}, r"`n` holds -1 at \[0\]"),
    "a truth value of two": ({"b": torch.tensor([[0.0, 2.0], [1.0, 1.0]])}, r"`b` holds 2 at \[0, 1\].*0 or 1"),
    "half a truth": ({"b": torch.tensor([[0.0, 0.5], [1.0, 1.0]])}, r"`b` holds 0.5 at \[0, 1\]"),
    "no truth value": ({"b": torch.tensor([[0.0, torch.nan], [1.0, torch.inf]])}, r"`b` holds nan at \[0, 1\]"),
    "a share above one": ({"p": torch.tensor([0.2, 1.8])}, r"`p` holds 1.8 at \[1\]"),
    "no distribution": ({"d": torch.tensor([[0.5, 0.6], [0.1, 0.9]])}, r"`d` holds \[0.5, 0.6\] at \[0\].*add up to 1"),
    "a positive number of zero": ({"u": torch.tensor([0.0, 1.0])}, r"`u` holds 0 at \[0\].*above 0"),
    "an unknown name": ({"lengths": torch.tensor([3, 1])}, "nothing reads `lengths`"),
    "a misspelt name": ({"x_observd": torch.ones(2, 3, dtype=torch.bool)}, "did you mean `x_observed`"),
    "a name in capitals": ({"Y": torch.tensor([1, 2])}, "did you mean `y`"),
    "complex numbers": ({"p": torch.tensor([0.2 + 0j, 0.8])}, "`p` is torch.complex64, expected a tensor"),
    "lengths as a number": ({"t": 2}, "lengths `t` are no tensor of whole numbers"),
    "lengths as a list": ({"t": [3, 1]}, "lengths `t` are no tensor of whole numbers"),
    "marks of what is given": (
        {"u_observed": torch.ones(2, dtype=torch.bool)},
        "nothing reads `u_observed`: what is given cannot be missing",
    ),
    "marks of nothing": (
        {"y_observed": torch.ones(2, dtype=torch.bool)},
        "`y_observed` is in the batch, and `y` is not",
    ),
    "marks of another shape": ({"x_observed": torch.ones(2, 1, dtype=torch.bool)}, r"`x_observed`.*of shape \(2, 3\)"),
    "marks that are fractions": ({"x_observed": torch.ones(2, 3)}, "`x_observed` is torch.float32"),
    "a list": ({"n": [3, 0]}, "`n` is list"),
    "another number of examples": ({"u": torch.ones(3)}, "disagree on how many examples"),
    "weights of other examples": ({"weight": torch.ones(1)}, "disagree on how many examples"),
    "a weight below zero": ({"weight": torch.tensor([1.0, -1.0])}, "`weight` holds -1"),
    "lengths that are fractions": ({"t": torch.tensor([3.0, 1.0])}, "lengths `t`"),
    "lengths beyond the padding": ({"t": torch.tensor([4, 1])}, "lengths `t` run from 1 to 4"),
    "plates of two extents": ({"g": torch.zeros(2, 4, dtype=torch.int64)}, "disagree on one plate's extent"),
    "a latent that cannot be given": ({"h": torch.zeros(2)}, "`h` is a latent whose values cannot be given"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_fit_is_refused_by_name(model, what):
    changed, message = WRONG[what]
    with pytest.raises(BadBatch, match=message):
        model({**batch_of(), **changed})


def test_what_is_absent_is_named(model):
    with pytest.raises(BadBatch, match=r"`n` is not in the batch, and is observed: give \(B,\)"):
        model({k: v for k, v in batch_of().items() if k != "n"})


@pytest.mark.parametrize("method", ["forward", "log_prob", "importance", "posterior", "encode", "prepare"])
def test_every_way_in_is_watched(model, method):
    with pytest.raises(BadBatch, match="`g` holds 4"):
        getattr(model, method)({**batch_of(), "g": torch.full((2, 3), 4)})


def test_what_is_not_read_is_not_looked_at(model):
    batch, seen = batch_of(), torch.tensor([[True, False, True], [True, True, True]])
    batch |= {"x_observed": seen, "y": torch.tensor([1, 99]), "y_observed": torch.tensor([True, False])}
    draws = {"h": torch.zeros(1, 2)}
    found = model(batch, draws=draws)
    x, g = batch["x"].clone(), batch["g"].clone()
    x[0, 1] = x[1, 1:] = torch.nan
    g[1, 1:] = -100
    again = model({**batch, "x": x, "g": g}, draws=draws)
    assert torch.equal(found.elbo, again.elbo)


def test_whole_numbers_and_truth_values_of_every_dtype_are_the_same(model):
    batch, draws = batch_of(), {"h": torch.zeros(1, 2)}
    changed = {
        "g": batch["g"].to(torch.uint8),
        "n": batch["n"].double(),
        "b": batch["b"].bool(),
        "u": batch["u"].double(),
    }
    torch.testing.assert_close(model({**batch, **changed}, draws=draws).elbo, model(batch, draws=draws).elbo)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"z": torch.zeros(2)}, "nothing is drawn or read that is called `z`"),
        ({"y": torch.tensor([0, 3])}, "`y` holds 3"),
        ({"y": torch.tensor([0])}, "disagree on how many examples"),
        ({"u": torch.zeros(2)}, "`u` holds 0"),
        ({"t": torch.tensor([4, 1])}, "lengths `t` reach 4, but `g`, which is given, has 3 sites"),
    ],
)
def test_what_sample_is_given_is_watched_too(model, given, message):
    batch = batch_of()
    with pytest.raises(BadBatch, match=message):
        model.sample(2, given={"g": batch["g"], "u": batch["u"], **given})


def test_lengths_may_stand_among_what_sample_is_given(model):
    batch = batch_of()
    batch["g"][1, 1:] = -100  # beyond the length
    fixed = {name: batch[name] for name in ("g", "u", "t")}
    drawn = model.sample(2, given=fixed)
    assert drawn["t"].tolist() == [3, 1] and drawn["x"].shape == (2, 3, 2)


def test_a_batch_is_watched_in_a_compiled_graph(model):
    """One graph, in which a value is asserted and not looked at."""
    small = compile_spec("lvspec: 1\nname: flips\nparams: {w: [2]}\nobserved:\n  x: Bernoulli(logits=w)\n").Model()
    step = torch.compile(small, fullgraph=True, backend="aot_eager")
    x = torch.tensor([[0.0, 1.0]])
    torch.testing.assert_close(step({"x": x}).loss, small({"x": x}).loss)
    with pytest.raises(RuntimeError, match="outside its support"):
        step({"x": x + 1})


def test_numbers_of_examples_lie_in_the_data_set():
    """-1 would be the last one."""
    own = "lvspec: 1\nname: own\nparams: {m: {shape: [], per_example: true}}\nlatent:\n  z: Normal(0, 1)\n"
    own += "observed:\n  x: Normal(z, 1)\nguide:\n  z: Normal(m, 1)\n"
    model, x = compile_spec(own).Model(dataset_size=5), torch.zeros(2)
    assert model({"x": x, "index": torch.tensor([0, 4])}).loss.isfinite()
    with pytest.raises(BadBatch, match="`index` holds -1"):
        model({"x": x, "index": torch.tensor([-1, 0])})
    with pytest.raises(IndexError):
        model({"x": x, "index": torch.tensor([0, 5])})
    with pytest.raises(BadBatch, match="`index` is not in the batch.*each of which has a `m` of its own"):
        model({"x": x})
    assert model.fit_rows({"x": x, "index": torch.tensor([7, 8])}, steps=1)["m"].shape == (2,)


ONE_HOT = "lvspec: 1\nname: votes\nplates: {t: sequence}\nparams: {w: [3], e: [3]}\nlatent:\n  c[t]: OneHotCategorical(logits=w)\n"
ONE_HOT += "observed:\n  x[t]: Normal(dot(e, c[t]), 1)\n"


def test_one_hot_vectors_are_looked_at_where_they_count():
    model, x = compile_spec(ONE_HOT).Model(), torch.zeros(1, 3)
    c = torch.tensor([[[0.0, 1.0, 0.0], [torch.nan, 7.0, 0.0], [2.0, 0.0, 0.0]]])
    batch = {"x": x, "t": torch.tensor([2]), "c": c, "c_observed": torch.tensor([[True, False, True]])}
    given = {"x": x[:, :2], "c": torch.tensor([[1, 0]]), "c_observed": torch.tensor([[True, False]])}
    torch.testing.assert_close(model(batch).log_prob, model(given).log_prob)
    with pytest.raises(BadBatch, match=r"`c` holds -1 at \[0, 1\].*a single 1"):
        model({**batch, "c_observed": torch.tensor([[True, True, True]])})


def test_whole_counts_have_no_fractions_where_they_are_numbers_of_a_table():
    tries = "lvspec: 1\nname: tries\nlatent:\n  k: Binomial(3, probs=0.5)\nobserved:\n  x: Normal(k, 1)\n"
    model = compile_spec(tries).Model()
    for k in (torch.tensor([0.5]), torch.tensor([4]), torch.tensor([-1])):
        with pytest.raises(BadBatch, match="`k` h"):
            model({"x": torch.zeros(1), "k": k})


def test_a_model_that_observes_nothing_is_told_how_many_examples_there_are():
    model = compile_spec("lvspec: 1\nparams: {a: []}\nlatent:\n  p: Normal(a, 1)\n").Model()
    with pytest.raises(BadBatch, match="nothing in the batch says how many examples there are"):
        model({})
    assert model({"weight": torch.ones(3)}).log_prob.tolist() == [0.0, 0.0, 0.0]


def test_latents_that_are_given_say_how_many_examples_there_are():
    spec = "lvspec: 1\nsizes: {K: 3}\nparams: {a: [K], b: [K, K]}\nlatent:\n  z: Categorical(logits=a)\n  y: Categorical(logits=b[z])\n"
    model = compile_spec(spec).Model()
    log_z, log_y = model.a.log_softmax(-1), model.b.log_softmax(-1)
    found = model({"z": torch.tensor([2, 0])}).log_prob
    assert torch.allclose(found, log_z[[2, 0]])
    found = model({"y": torch.tensor([1])}).log_prob
    assert torch.allclose(found, (log_z[:, None] + log_y).exp().sum(0).log()[[1]])
