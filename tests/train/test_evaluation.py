"""Figures against an independent implementation, closed forms or counting by hand."""

import math
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lvspec.cli.commands.sample import _show
from lvspec.driver import compile_spec, read_spec
from lvspec.errors import UsageError
from lvspec.ir.spec import Plate
from lvspec.train.data.batches import collate
from lvspec.train.data.dataset import encoded
from lvspec.train.data.encoders import Symbols
from lvspec.train.data.fitting import fitted
from lvspec.train.data.layout import BatchLayout, Field, layout_of
from lvspec.train.data.word_dropout import add_word_dropout
from lvspec.train.evaluation.agreement import agreement
from lvspec.train.evaluation.baselines import baselines
from lvspec.train.evaluation.draws import Conditions, Draw, conditions, draws, words
from lvspec.train.evaluation.evaluate import Likelihood, evaluate
from lvspec.train.evaluation.gold import GoldLabels, compare
from lvspec.train.evaluation.pictures import beside, drawn, png, side
from lvspec.train.evaluation.posteriors import latents_of, posteriors
from lvspec.train.evaluation.words import expected_counts, top_words
from lvspec.train.scoring.score import score
from lvspec.train.settings import DataSettings, TrainSettings
from tests.train.toy import HMM, BagVAE, token_spec

CPU = torch.device("cpu")


@pytest.mark.parametrize("seed", range(5))
def test_agreement_equals_scikit_learn(seed):
    from sklearn import metrics

    random = np.random.default_rng(seed)
    clusters, labels = random.integers(0, 6, 200), random.integers(0, 4, 200)
    labels[:100] = clusters[:100] % 4
    found = agreement(clusters.tolist(), labels.tolist())
    assert found.homogeneity == pytest.approx(metrics.homogeneity_score(labels, clusters), abs=1e-12)
    assert found.completeness == pytest.approx(metrics.completeness_score(labels, clusters), abs=1e-12)
    assert found.v_measure == pytest.approx(metrics.v_measure_score(labels, clusters), abs=1e-12)
    table = metrics.cluster.contingency_matrix(labels, clusters)
    assert found.many_to_one == pytest.approx(table.max(0).sum() / 200)


@pytest.mark.parametrize(("clusters", "labels"), [([0, 0], ["a", "a"]), ([0, 1], ["a", "a"]), ([0, 0], ["a", "b"])])
def test_agreement_of_single_classes_is_defined_as_scikit_learn_does(clusters, labels):
    from sklearn import metrics

    found = agreement(clusters, labels)
    assert found.v_measure == pytest.approx(metrics.v_measure_score(labels, clusters))


def data(texts, end=None):
    layout = layout_of(token_spec(end=end))
    records = [{"x": t} for t in texts]
    settings = {"x": DataSettings()}
    encoders = fitted(records, layout, settings)
    return layout, encoders, encoded(records, layout, encoders, settings)


def test_unigram_perplexity_is_counted_as_by_hand():
    _, encoders, dataset = data(["a a b", "a"])  # V = <unk>, a, b
    base = baselines(dataset, encoders, training=2)["x"]
    assert base.entries == 4
    assert base.log_likelihood == pytest.approx(3 * math.log(4 / 7) + math.log(2 / 7))


def test_perplexity_counts_end_symbols():
    _, encoders, dataset = data(["a a b", "a"], end="EOS")
    figures = evaluate(HMM(V=4), dataset, encoders, TrainSettings(), CPU, training=2)
    assert figures.tokens == 6


def test_independent_pixels_and_gaussians_have_their_closed_forms():
    pixels = BatchLayout((Field("x", "binary", (), (2,)),), (), ())
    records = [{"x": [0, 1]}, {"x": [0, 1]}, {"x": [1, 1]}]
    encoders = fitted(records, pixels, {})
    base = baselines(encoded(records, pixels, encoders, {}), encoders, training=3)["x"]
    p = 2 / 5
    assert base.log_likelihood == pytest.approx(math.log(p) + 2 * math.log(1 - p) + 3 * math.log(4 / 5))
    plates = (Plate("t", "sequence"),)
    real = BatchLayout((Field("x", "real", ("t",), ()),), plates, ())
    encoders = fitted([{"x": [1.0, 3.0]}], real, {})
    base = baselines(encoded([{"x": [1.0, 3.0]}], real, encoders, {}), encoders, training=1)["x"]
    assert base.log_likelihood == pytest.approx(
        2 * torch.distributions.Normal(2.0, 1.0).log_prob(torch.tensor(1.0)).item()
    )


def test_exact_figures_say_so_and_bounds_are_labelled():
    _, encoders, dataset = data(["a a b", "a", "b a"])
    model = HMM(V=3)
    rows = evaluate(model, dataset, encoders, TrainSettings(batch_size=2), CPU, training=3).rows()
    batch = model.prepare(collate(dataset, range(len(dataset))))
    expected = model(batch).log_prob.mean().item()
    assert rows[0]["how"] == "exact" and rows[0]["value"] == pytest.approx(expected, rel=1e-6)
    perplexity = next(r for r in rows if r["quantity"] == "perplexity")
    assert perplexity["value"] == pytest.approx(math.exp(-expected * 3 / 6), rel=1e-6)


class WithImportance(BagVAE):
    """BagVAE with log p(x) by self-normalised draws, as emitted modules offer it."""

    def importance(self, batch, samples):
        log_weights = torch.stack([self.log_weight(batch) for _ in range(samples)])
        weights = log_weights.softmax(0)
        log_prob = log_weights.logsumexp(0) - math.log(samples)
        effective = 1 / (weights**2).sum(0)
        return SimpleNamespace(
            log_prob=log_prob, effective_sample_size=effective, standard_error=(1 / effective - 1 / samples) ** 0.5
        )

    def log_weight(self, batch):
        z = torch.randn(len(batch["x"]), self.words.in_features)
        return (self.words(z).log_softmax(-1).gather(1, batch["x"]) * batch["t.mask"]).sum(1)


def test_sampled_model_has_bound_parts_and_importance_sampled_likelihood():
    _, encoders, dataset = data(["a a b", "a", "b a"])
    torch.manual_seed(0)
    rows = evaluate(WithImportance(V=3), dataset, encoders, TrainSettings(), CPU, training=3, samples=50).rows()
    by_how = {(r["quantity"], r["how"]): r for r in rows}
    sampled = by_how["log-likelihood", "importance-sampled (S = 50)"]
    bound = by_how["ELBO", "bound (ELBO)"]["value"]
    parts = by_how["reconstruction", "part of the ELBO"]["value"] - by_how["kl.z", "part of the ELBO"]["value"]
    assert bound == pytest.approx(parts, rel=1e-6)
    assert sampled["value"] > bound - 3 * sampled["standard_error"]
    assert 1 <= sampled["effective"] <= 50
    again = evaluate(WithImportance(V=3), dataset, encoders, TrainSettings(), CPU, training=3, samples=50)
    assert again.tokens == 6


def sharp_hmm():
    """State 0 emits a, state 1 emits b, each nearly always."""
    model = HMM(V=3, K=2)
    with torch.no_grad():
        model.start.zero_(), model.transition.zero_()
        model.emission.copy_(torch.tensor([[-20.0, 0.0, -20.0], [-20.0, -20.0, 0.0]]))
    return model


def gold(*labels):
    return [GoldLabels(one, f"record {i}") for i, one in enumerate(labels, 1)]


def test_modes_marginals_top_words_and_gold_labels():
    layout, encoders, dataset = data(["a b a", "b"])
    spec = token_spec()
    (latent,) = latents_of(spec, {**spec.nominal(), "K": 2})
    inferred = sorted(posteriors(sharp_hmm(), dataset, (latent,), TrainSettings(), CPU), key=lambda one: one.row)
    assert [one.mode["z"].tolist() for one in inferred] == [[0, 1, 0], [1]]
    assert inferred[1].marginals["z"].shape == (1, 2)
    counts = expected_counts(inferred, latent, dataset, layout.fields[0], encoders["x"])
    np.testing.assert_allclose(counts, [[0, 2, 0], [0, 0, 2]], atol=1e-6)
    assert {k: found for k, _, found in top_words(counts, encoders["x"])} == {0: ["a"], 1: ["b"]}
    found = compare(inferred, latent, dataset, gold(["DET", "NOUN", None], ["NOUN"]))
    assert (found.items, found.v_measure, found.many_to_one) == (3, 1.0, 1.0)
    with pytest.raises(UsageError, match="record 1: 1 gold labels for"):
        compare(inferred, latent, dataset, gold(["DET"], ["NOUN"]))
    with pytest.raises(UsageError, match="one an example, but z is one a site"):
        compare(inferred, latent, dataset, gold("DET", "NOUN"))


def test_prefixes_are_thinned_and_nothing_else():
    model = torch.nn.Sequential(torch.nn.Embedding(11, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.arange(11.0)[:, None])
    add_word_dropout(model, 0.5, {10})
    torch.manual_seed(0)
    prefix = torch.cat([torch.full((200, 1), 10), torch.full((200, 20), 7)], 1)
    seen = model(prefix)[..., 0]
    assert (seen[:, 0] == 10).all() and set(seen.unique().tolist()) == {0.0, 7.0, 10.0}
    assert 0.45 < (seen[:, 1:] == 0).float().mean() < 0.55
    assert (model(prefix[:, 1:])[..., 0] == 7).all()
    model.eval()
    assert (model(prefix)[:, 1:, 0] == 7).all()
    with pytest.raises(UsageError, match="reads a prefix"):
        add_word_dropout(model, 0.5, {11})


def test_samples_are_words_up_to_the_end_or_pictures():
    table = Symbols(("<unk>", "EOS", "a", "cat"), (0, 1, 1, 1), True, "EOS")
    assert words(np.array([2, 3, 1, 2]), table) == "a cat"
    letters = Symbols(("<unk>", "a", "b"), (0, 1, 1), True)
    assert words(np.array([2, 1]), letters) == "b a"  # words may have one letter each
    layout = BatchLayout((Field("x", "symbol", ("t",)),), (Plate("t", "sequence"),), ())
    model = SimpleNamespace(sample=lambda n, **_: {"x": torch.tensor([[2, 1]])})
    start = Conditions({}, {"t": torch.tensor([2])})
    for tokenize, text in (("characters", "ba"), ("whitespace", "b a"), ("none", "b a")):
        data = {"x": DataSettings(tokenize=tokenize)}
        assert draws(model, layout, {"x": letters}, 1, start, 0, data)[0].text == {"x": text}
    layout = BatchLayout((Field("x", "binary", (), (16,)),), (), (), (Field("z", "real", (), (2,)),))
    encoders = fitted([{"x": [0, 1] * 8}], layout, {})

    def sample(n, given=None):
        return {"x": torch.eye(16)[:n].long(), "z": torch.zeros(n, 2)}

    model = SimpleNamespace(sample=sample)
    first = draws(model, layout, encoders, 2, conditions(layout, None, 2, None, 0), seed=0)[0]
    assert first.pictures["x"].shape == (4, 4) and first.pictures["x"][0, 0] == 1
    assert first.numbers == {"z": [0.0, 0.0]}


def test_samples_show_the_sites_that_count():
    """Of labels and of latents alike, on nested plates, and where a variable says how many; never what all examples share."""
    plates = (
        Plate("d", "sequence"),
        Plate("w", "sequence", within="d"),
        Plate("i", "latent_length", options=(("length", "k"), ("more", 1))),
    )
    hidden = (
        Field("z", "symbol", ("d",)),
        Field("u", "symbol", ("d", "w")),
        Field("k", "symbol", ()),
        Field("v", "real", ("i",)),
        Field("b", "real", (), batched=False),
    )
    layout = BatchLayout((Field("y", "real", ("d", "w")),), plates, (), hidden)
    found = {
        "y": torch.arange(12.0).reshape(2, 2, 3),
        "z": torch.tensor([[1, 2], [3, 4]]),
        "u": torch.arange(12).reshape(2, 2, 3),
        "k": torch.tensor([0, 1]),
        "v": torch.tensor([[0.5, 1.5, 2.5], [3.5, 4.5, 5.5]]),
        "b": torch.tensor([7.0, 8.0]),
        "d": torch.tensor([2, 1]),
        "w": torch.tensor([[3, 1], [2, 0]]),
    }
    encoders = fitted([{"y": [[0.0, 1.0]]}], layout, {})
    start = Conditions({}, {"d": found["d"], "w": found["w"]})
    model = SimpleNamespace(sample=lambda n, given=None, lengths=None: found)
    first, second = draws(model, layout, encoders, 2, start, seed=0)
    assert first.numbers == {
        "y": [[0.0, 1.0, 2.0], [3.0]],
        "z": [1, 2],
        "u": [[0, 1, 2], [3]],
        "k": 0,
        "v": [0.5],
    }
    assert second.numbers == {"y": [[6.0, 7.0]], "z": [3], "u": [[6, 7]], "k": 1, "v": [3.5, 4.5]}


def test_samples_of_a_model_that_observes_numbers_show_them_beside_the_words_that_it_is_given(capsys):
    both = Draw({"item": "a b"}, {}, {"c": 1, "r": [0.5, 0.25]})
    _show([both], {"r"})
    _show([both], {"item"})
    assert capsys.readouterr().out == "item: a b  c: 1  r: [0.5, 0.25]\na b\n"


def test_pictures_as_text_and_png():
    picture = np.eye(4)
    assert drawn(picture).split("\n")[:2] == ["██", "  ██"]
    assert beside([drawn(picture)] * 2, 8).split("\n")[0] == "██" + " " * 9 + "██"
    assert (side(64), side(65), side(9)) == (8, None, None)
    content = png(picture, zoom=2)
    assert content[:8] == b"\x89PNG\r\n\x1a\n" and content[16:24] == b"\0\0\0\x08\0\0\0\x08"
    start = content.index(b"IDAT") + 4
    rows = zlib.decompress(content[start : content.index(b"IEND") - 8])
    assert rows[0:9] == b"\0" + bytes([0, 0, 255, 255, 255, 255, 255, 255])


def test_given_values_and_their_lengths_come_from_real_examples():
    plates = (Plate("m", "sequence"), Plate("t", "sequence", end="EOS"), Plate("u", "bag"))
    source = Field("s", "symbol", ("m",), vocabulary="s", modelled=False)
    target = Field("x", "symbol", ("t",), vocabulary="x")
    loose = Field("w", "symbol", ("u",), vocabulary="w")
    layout = BatchLayout((source, target, loose), plates, ())
    records = [{"s": "a b", "x": "c", "w": "d d d"}, {"s": "a b", "x": "c c", "w": "d d d"}]
    encoders = fitted(records, layout, {})
    dataset = encoded(records, layout, encoders, {})
    start = conditions(layout, dataset, 3, None, seed=0)
    assert start.given["s"].tolist() == [[1, 2]] * 3
    assert {name: n.tolist() for name, n in start.lengths.items()} == {"m": [2] * 3, "u": [3] * 3}
    limited = conditions(layout, dataset, 2, 7, seed=0)
    assert {name: n.tolist() for name, n in limited.lengths.items()} == {"m": [2, 2], "t": [7, 7], "u": [7, 7]}


def test_a_length_that_nothing_takes_is_refused():
    given = BatchLayout((Field("s", "symbol", ("m",), vocabulary="s", modelled=False),), (Plate("m", "sequence"),), ())
    with pytest.raises(UsageError, match="--length: s is given along m, and tells how many sites"):
        conditions(given, None, 2, 7, seed=0)
    with pytest.raises(UsageError, match="--length: no plate here asks how many sites"):
        conditions(BatchLayout((Field("x", "real", ()),), (), ()), None, 2, 7, seed=0)


# ---------------------------------------------------------------- how far figures are to be trusted
@pytest.mark.parametrize(
    ("samples", "uneven", "said"), [(100, 0.0, False), (100, 0.1, False), (100, 0.3, True), (6, 0.5, True)]
)
def test_uneven_weights_are_warned_of(samples, uneven, said):
    found = Likelihood(-1.0, "importance-sampled", 0.1, 5.0, samples, uneven)
    assert bool(found.warning) == said
    assert not said or f"fewer than {min(10, samples / 2):g} count in {uneven:.0%}" in found.warning


def test_the_share_of_uneven_examples_is_counted():
    """The effective sample size of one example in two is 2 of 100."""

    class Uneven(BagVAE):
        def importance(self, batch, samples):
            size = torch.where(torch.arange(len(batch["x"])) % 2 == 0, 2.0, 90.0)
            return SimpleNamespace(log_prob=0 * size, standard_error=0 * size, effective_sample_size=size)

    layout, encoders, dataset = data(["a b", "b a", "a a", "b b"])
    found = evaluate(Uneven(V=3), dataset, encoders, TrainSettings(batch_size=4), CPU, training=4)
    assert found.likelihoods[0].uneven == 0.5 and found.likelihoods[0].warning


def test_a_point_estimate_has_no_likelihood_per_token():
    class Point(BagVAE):
        def forward(self, batch, draws=None, phase=None):
            objective = super().forward(batch)
            return SimpleNamespace(loss=objective.loss, log_joint=objective.elbo)

    layout, encoders, dataset = data(["a b", "b a"])
    rows = evaluate(Point(V=3), dataset, encoders, TrainSettings(), CPU, training=2).rows()
    own = [r for r in rows if r["how"] == "log p(x, z) at the point estimate"]
    assert [r["quantity"] for r in own] == ["log-density"]
    assert any(r["quantity"] == "perplexity" for r in rows)  # the baseline's


LOCATION = """
lvspec: 1
name: location
params: {m: [], s: []}
latent:
  global b: Normal(0, 2)
observed:
  y: Normal(b, 1)
guide:
  b: Normal(m, softplus(s))
"""


def real_data(values):
    """Numbers y without plates, as a data set."""
    layout = BatchLayout((Field("y", "real", (), ()),), (), ())
    records = [{"y": v} for v in values]
    encoders = fitted(records, layout, {})
    return encoders, encoded(records, layout, encoders, {})


def test_a_bound_under_shared_draws_has_an_honest_error():
    """E_q log p(y | b) - KL / N in closed form: each seed's mean lies within its own standard errors; seeds differ."""
    values = [0.5, 1.2, -0.3, 0.7]
    _, dataset = real_data(values)
    compiled = compile_spec(LOCATION)
    model = compiled.Model(dataset_size=4)
    with torch.no_grad():
        model.m.fill_(0.3)
        model.s.fill_(math.log(math.expm1(0.8)))
    kl = torch.distributions.kl_divergence(torch.distributions.Normal(0.3, 0.8), torch.distributions.Normal(0.0, 2.0))
    expected = -0.5 * math.log(2 * math.pi) - 0.5 * (0.8**2 + sum((v - 0.3) ** 2 for v in values) / 4) - kl.item() / 4
    off = []
    for seed in range(60):
        found = score(model, dataset, TrainSettings(), CPU, compiled, seed)
        assert found.draws >= 64
        off.append((found.value - expected) / found.standard_error)
    assert len(set(off)) == 60
    # t with three degrees of freedom: |t| exceeds 12.9 once in a thousand, and the median of |t| is 0.76
    assert max(map(abs, off)) < 25 and 0.4 < sorted(map(abs, off))[30] < 1.4
    assert model.samples == 1
    many = score(model, dataset, TrainSettings(), CPU, compiled, draws=4000)
    assert many.draws == 4000 and abs(many.value - expected) < 0.05


def test_eval_predicts_held_out_examples_by_what_q_has_learned():
    values = [0.5, 1.2, -0.3, 0.7]
    encoders, dataset = real_data(values)
    compiled = compile_spec(LOCATION)
    model = compiled.Model(dataset_size=4)
    with torch.no_grad():
        model.m.fill_(0.3)
        model.s.fill_(math.log(math.expm1(0.8)))
    figures = evaluate(model, dataset, encoders, TrainSettings(), CPU, training=4, samples=4000, compiled=compiled)
    exact = torch.distributions.Normal(0.3, math.sqrt(1.64)).log_prob(torch.tensor(values)).mean().item()
    first, second = figures.likelihoods
    assert first.how == "predicted by q of what examples share (S = 4000)"
    assert abs(first.value - exact) < 4 * first.standard_error < 0.1
    assert second.how == "bound (ELBO)" and second.samples == 4000 and second.value < first.value


LABELLED = """
lvspec: 1
name: labelled
sizes: {K: 2, V: 3}
params: {prior: [K], emission: [K, V]}
latent:
  y: Categorical(logits=prior)
observed:
  x: Categorical(logits=emission[y])
data:
  x: {field: x}
  y: {field: y}
"""


def test_a_perplexity_beside_a_unigrams_counts_no_labels():
    layout = layout_of(read_spec(LABELLED))
    records = [{"x": "a", "y": "0"}, {"x": "b", "y": "1"}, {"x": "c", "y": "1"}]
    encoders = fitted(records, layout, {})
    dataset = encoded(records, layout, encoders, {})
    model = compile_spec(LABELLED).Model().double()
    figures = evaluate(model, dataset, encoders, TrainSettings(), CPU, training=3)
    counted, hidden = figures.likelihoods
    assert counted.wording == "exact, labels of y counted" and hidden.wording == "exact, labels of y hidden"
    joint = model.prior.log_softmax(0)[:, None] + model.emission.log_softmax(1)
    assert counted.value == pytest.approx((joint[0, 0] + joint[1, 1] + joint[1, 2]).item() / 3)
    assert hidden.value == pytest.approx(joint.logsumexp(0).mean().item())
    rows = figures.rows()
    (perplexity,) = [r for r in rows if r["quantity"] == "perplexity" and "unigram" not in r["how"]]
    assert perplexity["value"] == pytest.approx(math.exp(-hidden.value)) and "hidden" in perplexity["how"]


def test_a_likelihood_of_several_variables_says_whether_labels_count():
    both = LABELLED.replace("data:", "  w: Categorical(logits=emission[y])\ndata:\n  w: {field: w}")
    layout = layout_of(read_spec(both))
    records = [{"x": "a", "w": "b", "y": "0"}, {"x": "b", "w": "a", "y": "1"}, {"x": "c", "w": "c", "y": None}]
    encoders = fitted(records, layout, {})
    model = compile_spec(both).Model().double()
    figures = evaluate(model, encoded(records, layout, encoders, {}), encoders, TrainSettings(), CPU, training=3)
    prior, table = model.prior.log_softmax(0), model.emission.log_softmax(1)
    joint = prior[:, None] + table[:, [0, 1, 2]] + table[:, [1, 0, 2]]
    counted, hidden = figures.likelihoods
    assert (counted.wording, hidden.wording) == ("exact, labels of y counted", "exact, labels of y hidden")
    assert counted.value == pytest.approx((joint[0, 0] + joint[1, 1] + joint[:, 2].logsumexp(0)).item() / 3)
    assert hidden.value == pytest.approx(joint.logsumexp(0).mean().item())
