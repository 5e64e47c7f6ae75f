"""Sites read by their number, `h[0]`, from where an example may have none of it: such an example is refused by name."""

import pytest
import torch

from lvspec.driver import compile_spec
from lvspec.runtime.core.batch import BadBatch
from lvspec.verify import render, verify

HEAD = "lvspec: 1\nsizes: {U: 3, D: 2, K: 2}\nplates: {t: sequence}\n"
GIVEN = HEAD + "given: {'u[t]': 'token(U)'}\nparams: {w: [U]}\nobserved:\n  y: Normal(w[u[0]], 1)\n"
LET = HEAD + "given: {'u[t]': 'real[D]'}\nlet:\n  h[t]: 1 + u[t]\n  c: h[1]\nobserved:\n  y: Normal(c, 1)\n"
LATENT = HEAD + (
    "params: {a: [K], v: [K]}\nlatent:\n  z[t]: Categorical(logits=a)\n"
    "observed:\n  x[t]: Normal(v[z[t]], 1)\n  y: Normal(v[z[0]], 1)\n"
)
GUIDE = HEAD + (
    "params: {w: []}\nlatent:\n  z: Normal(w, 1)\nobserved:\n  x[t]: Normal(tanh(z), 1)\nguide:\n  z: Normal(x[0], 1)\n"
)
ALONG = HEAD + ("given: {'u[t]': real}\nobserved:\n  x[0]: Normal(0, 1)\n  x[t]: Normal(x[t-1] + u[NUMBER], 1)\n")
INSIDE = HEAD + "given: {'u[t]': 'real[D]'}\nlet:\n  c: u[0]\nobserved:\n  y[t]: Normal(c, 1)\n"
NESTED = HEAD.replace("{t: sequence}", "{d: bag, t: sequence(within=d)}") + (
    "given: {'u[d, t]': 'real[D]'}\nobserved:\n  y[d]: Normal(u[d, 0], 1)\n"
)


def model_of(text):
    return compile_spec(text).Model()


@pytest.mark.parametrize(
    "text", [GIVEN, LET, LATENT, GUIDE, INSIDE, NESTED, ALONG.replace("NUMBER", "1"), ALONG.replace("NUMBER", "2")]
)
def test_examples_that_have_the_site_agree_with_brute_force(text):
    compiled = compile_spec(text)
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=1, draws=0, few=2)
    assert report.passed, render(report)


@pytest.mark.parametrize(
    ("text", "batch", "said"),
    [
        (GIVEN, {"u": torch.zeros(2, 3, dtype=torch.int64), "y": torch.zeros(2)}, "`y` reads site 0 of `u`"),
        (LET, {"u": torch.zeros(2, 3, 2), "y": torch.zeros(2, 2)}, "`y` reads site 1 of `h`"),
        (LATENT, {"x": torch.zeros(2, 3), "y": torch.zeros(2)}, "`y` reads site 0 of `z`"),
        (GUIDE, {"x": torch.zeros(2, 3)}, "`z` reads site 0 of `x`"),
    ],
)
def test_an_example_without_the_site_is_refused(text, batch, said):
    model = model_of(text)
    with pytest.raises(BadBatch, match=f"{said} along `t`, and example 1 has 0 of them"):
        model({**batch, "t": torch.tensor([2, 0])})
    empty = {n: x if n == "y" else x[:, :0] for n, x in batch.items()}
    with pytest.raises(BadBatch, match="example 0 has 0 of them"):
        model(empty)


def test_where_nothing_counts_nothing_is_read():
    """y is not observed in the example without a site; h is computed at sites alone."""
    batch = {"u": torch.zeros(2, 3, dtype=torch.int64), "y": torch.zeros(2), "t": torch.tensor([2, 0])}
    assert model_of(GIVEN)({**batch, "y_observed": torch.tensor([True, False])}).log_prob[1] == 0
    inside = {"u": torch.zeros(2, 3, 2), "y": torch.zeros(2, 3, 2), "t": torch.tensor([2, 0])}
    assert model_of(INSIDE)(inside).log_prob[1] == 0
    nested = {"u": torch.zeros(2, 2, 3, 2), "y": torch.zeros(2, 2, 2), "d": torch.tensor([2, 1])}
    model_of(NESTED)({**nested, "t": torch.tensor([[1, 2], [3, 0]])})
    with pytest.raises(BadBatch, match="example 0 at 1 has 0 of them"):
        model_of(NESTED)({**nested, "t": torch.tensor([[1, 0], [3, 0]])})


def test_along_its_own_plate_a_clause_is_read_where_it_counts():
    """The first site has a clause of its own: u[1] is there wherever the other one counts, u[2] is not in an example of two."""
    for number, lengths in ((1, (0, 1, 2, 3)), (2, (0, 1, 3))):
        model = model_of(ALONG.replace("NUMBER", str(number)))
        for length in lengths:
            model({"x": torch.zeros(1, 4), "u": torch.zeros(1, 4), "t": torch.tensor([length])})
    with pytest.raises(BadBatch, match="`x` reads site 2 of `u` along `t`, and example 0 has 2 of them"):
        model({"x": torch.zeros(1, 4), "u": torch.zeros(1, 4), "t": torch.tensor([2])})


POSITION = HEAD.replace("sequence}", "sequence, n: bag}") + (
    "given: {'w[n]': 'real[D]'}\nparams: {u: [D], v: [D]}\nlatent:\n  a: Categorical(logits=dot(u, w[n]) over n)\n"
    "observed:\n  x: Normal(dot(v, w[a]), 1)\n"
)
GUIDED = POSITION + "guide:\n  a: Categorical(logits=dot(v, w[n]) + x over n)\ninfer: {a: %s}\n"
OF_EACH = (
    GUIDED.replace("a: Cat", "a[t]: Cat")
    .replace("x: Normal", "x[t]: Normal")
    .replace("w[a]", "w[a[t]]")
    .replace("+ x", "+ x[t]")
)


@pytest.mark.parametrize("strategy", ["enumeration", "reinforce(samples=2)"])
def test_a_position_in_an_empty_plate_is_refused_where_q_speaks_of_it(strategy):
    """There is no value that q could give it: log p(x) is -inf, and an ELBO of 0 no bound of it."""
    w, n = torch.zeros(2, 3, 2), torch.tensor([2, 0])
    for text, x in ((GUIDED, torch.zeros(2)), (OF_EACH, torch.zeros(2, 3))):
        model = model_of(text % strategy)
        with pytest.raises(BadBatch, match="`a` is one of the sites along `n`, and example 1 has 0 of them"):
            model({"w": w, "n": n, "x": x})
    found = model({"w": w, "n": n, "x": x, "t": torch.tensor([2, 0])})  # nothing of which it is one
    assert found.elbo.isfinite().all() and found.elbo[1] == 0
    assert model_of(POSITION)({"w": w, "n": n, "x": torch.zeros(2)}).log_prob[1] == -torch.inf
    with pytest.raises(BadBatch, match="`a` is one of the sites along `n`"):
        model_of(POSITION).sample(2, given={"w": w}, lengths={"n": n})


def test_samples_are_drawn_where_the_site_is():
    model = model_of(LATENT)
    assert model.sample(2, lengths={"t": 1})["y"].shape == (2,)
    with pytest.raises(BadBatch, match="`y` reads site 0 of `z`"):
        model.sample(2, lengths={"t": torch.tensor([1, 0])})
