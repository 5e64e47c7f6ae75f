"""EM: one step is the textbook's, written here state by state in NumPy; in full batch log p(x) never falls."""

import math
from itertools import pairwise, product

import numpy as np
import pytest
import torch

from lvspec.cli.main import main
from lvspec.driver import compile_spec
from lvspec.errors import UsageError
from lvspec.shipped import shipped
from lvspec.train.em.closed_forms import closed_forms
from lvspec.train.em.expectation_maximisation import ExpectationMaximisation

GAUSSIAN_HMM = """
lvspec: 1
name: gaussian_hmm
sizes: {K: 3, D: features(x)}
plates:
  t: sequence
params:
  start: [K]
  transition: [K, K]
  mean: [K, D]
  noise: %s
latent:
  z[0]: Categorical(logits=start)
  z[t]: Categorical(logits=transition[z[t-1]])
observed:
  x[t]: Normal(mean[z[t]], %s)
"""
COUNTS = """
lvspec: 1
name: counts
sizes: {K: 3, L: 4}
plates:
  l: L
params:
  prior: [K]
  rate: [L, K]
  on: [K]
  wait: [K]
latent:
  z: Categorical(probs=softmax(prior))
observed:
  n[l]: Poisson(softplus(rate[l, z]))
  b: Bernoulli(logits=on[z])
  w: Exponential(exp(wait[z]))
"""


def made(text, seed=0, **sizes):
    compiled = compile_spec(text)
    torch.manual_seed(seed)
    return compiled.Model(**sizes).double(), closed_forms(compiled.plan)


def spec(name):
    return str(shipped("specs") / f"{name}.yaml")


def softmax(x):
    return torch.softmax(x.detach(), -1).numpy()


def posterior_paths(log_joint, states, length, hard):
    """(path, weight) for every path of hidden states, by brute force."""
    paths = list(product(range(states), repeat=length))
    scores = np.array([log_joint(path) for path in paths])
    if hard:
        return [(paths[scores.argmax()], 1.0)]
    weights = np.exp(scores - scores.max())
    return list(zip(paths, weights / weights.sum(), strict=True))


@pytest.mark.parametrize("hard", [False, True])
def test_one_step_on_hmm_is_baum_welch(hard):
    K, V, T = 3, 5, 4
    model, forms = made(spec("hmm"), K=K, V=V)
    start, A, E = (softmax(p) for p in (model.start, model.transition, model.emission))
    x = torch.randint(V, (6, T), generator=torch.Generator().manual_seed(1))
    lengths = torch.tensor([4, 1, 3, 2, 4, 0])
    counts = np.zeros(K), np.zeros((K, K)), np.zeros((K, V))
    for row, n in zip(x.numpy(), lengths.tolist(), strict=True):

        def log_joint(path, row=row):
            steps = sum(math.log(A[a, b]) for a, b in zip(path, path[1:], strict=False))
            return steps + sum(math.log(E[z, v]) for z, v in zip(path, row, strict=False)) + math.log(start[path[0]])

        for path, weight in posterior_paths(log_joint, K, n, hard) if n else []:
            counts[0][path[0]] += weight
            for a, b in zip(path, path[1:], strict=False):
                counts[1][a, b] += weight
            for z, v in zip(path, row, strict=False):
                counts[2][z, v] += weight
    em = ExpectationMaximisation(model, forms, "hard_em" if hard else "em")
    em.step([model.prepare({"x": x[:4], "t": lengths[:4]}), model.prepare({"x": x[4:], "t": lengths[4:]})])
    for found, old, n in zip((model.start, model.transition, model.emission), (start, A, E), counts, strict=True):
        total = n.sum(-1, keepdims=True)
        expected = np.where(total > 0, n / np.where(total > 0, total, 1), old)
        np.testing.assert_allclose(softmax(found), expected, atol=1e-12)


@pytest.mark.parametrize("pseudo_count", [0.0, 0.5])
def test_one_step_on_naive_bayes_is_the_textbooks(pseudo_count):
    K, V = 3, 6
    model, forms = made(spec("naive_bayes"), K=K, V=V)
    prior, words = softmax(model.prior), softmax(model.words)
    x = torch.randint(V, (5, 7), generator=torch.Generator().manual_seed(2))
    lengths = torch.tensor([7, 2, 5, 1, 6])
    n_prior, n_words = np.full(K, pseudo_count), np.full((K, V), pseudo_count)
    for row, n in zip(x.numpy(), lengths.tolist(), strict=True):
        joint = prior * np.prod([words[:, v] for v in row[:n]], axis=0)
        n_prior += joint / joint.sum()
        for v in row[:n]:
            n_words[:, v] += joint / joint.sum()
    ExpectationMaximisation(model, forms, "em", pseudo_count).step([model.prepare({"x": x, "t": lengths})])
    np.testing.assert_allclose(softmax(model.prior), n_prior / n_prior.sum(), atol=1e-12)
    np.testing.assert_allclose(softmax(model.words), n_words / n_words.sum(-1, keepdims=True), atol=1e-12)


MIXTURE = """
lvspec: 1
name: mixture
sizes: {K: 2, V: 4}
plates: {t: sequence}
params:
  weights: {shape: [K], prior: "Dirichlet(3)"}
  words: {shape: [K, V], prior: "Dirichlet(1.5)"}
  b: {shape: [K], prior: "Beta(2, 4)"}
latent:
  c: Categorical(logits=weights)
observed:
  x[t]: Categorical(logits=words[c])
  y: Bernoulli(logits=b[c])
"""


def test_steps_end_where_the_gradient_of_log_p_and_log_prior_is_zero():
    compiled = compile_spec(MIXTURE)
    torch.manual_seed(0)
    model = compiled.Model(dataset_size=6).double()
    batch = {
        "x": torch.randint(4, (6, 5), generator=torch.Generator().manual_seed(1)),
        "t": torch.tensor([5, 3, 1, 2, 5, 4]),
        "y": torch.tensor([1, 0, 1, 1, 0, 0]),
    }
    em = ExpectationMaximisation(model, closed_forms(compiled.plan))
    reached = []
    for _ in range(300):
        reached.append(float((model.log_prob(batch).sum() + model.log_prior()).detach()))
        em.step([model.prepare(batch)])
    assert all(after >= before - 1e-9 for before, after in pairwise(reached))
    loss = model(batch).loss
    torch.testing.assert_close(6 * loss, -(model.log_prob(batch).sum() + model.log_prior()))
    for g in torch.autograd.grad(loss, list(model.parameters())):
        assert g.abs().max() < 1e-9


def test_a_prior_that_is_not_conjugate_is_refused():
    with pytest.raises(UsageError, match="Normal, the prior of words, is not conjugate"):
        closed_forms(compile_spec(MIXTURE.replace("Dirichlet(1.5)", "Normal(0, 1)")).plan)


NOISES = {"[K, D]": "softplus(noise[z[t]])", "[D]": "exp(noise)", "[]": "softplus(noise)"}


@pytest.mark.parametrize("shape", NOISES)
def test_one_step_on_a_gaussian_hmm_is_the_textbooks(shape):
    """Scales of each state and feature, of each feature, and one for all."""
    K, D, T = 3, 2, 4
    model, forms = made(GAUSSIAN_HMM % (shape, NOISES[shape]), D=D)
    start, A, mean = softmax(model.start), softmax(model.transition), model.mean.detach().numpy()
    link = torch.exp if "exp" in NOISES[shape] else torch.nn.functional.softplus
    sigma = np.broadcast_to(link(model.noise.detach()).numpy(), (K, D))
    x = torch.randn(4, T, D, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    lengths = [4, 2, 1, 3]
    weight, total = np.zeros((K, 1)), np.zeros((K, D))
    found = []
    for row, n in zip(x.numpy(), lengths, strict=True):

        def log_joint(path, row=row):
            score = math.log(start[path[0]]) + sum(math.log(A[a, b]) for a, b in zip(path, path[1:], strict=False))
            for z, v in zip(path, row, strict=False):
                score += (-0.5 * ((v - mean[z]) / sigma[z]) ** 2 - np.log(sigma[z])).sum()
            return score

        for path, w in posterior_paths(log_joint, K, n, hard=False):
            for z, v in zip(path, row, strict=False):
                found.append((z, v, w))
                weight[z] += w
                total[z] += w * v
    new_mean = total / weight
    squares = np.zeros((K, D))
    for z, v, w in found:
        squares[z] += w * (v - new_mean[z]) ** 2
    expected = {
        "[K, D]": lambda: squares / weight,
        "[D]": lambda: squares.sum(0) / weight.sum(),
        "[]": lambda: squares.sum() / (D * weight.sum()),
    }[shape]()
    ExpectationMaximisation(model, forms).step([model.prepare({"x": x, "t": torch.tensor(lengths)})])
    np.testing.assert_allclose(model.mean.detach().numpy(), new_mean, atol=1e-10)
    np.testing.assert_allclose(link(model.noise.detach()).numpy(), np.sqrt(expected), atol=1e-10)


def counted_batch(rows=20):
    random = np.random.default_rng(4)
    return {
        "n": torch.tensor(random.poisson(2.0, (rows, 4))),
        "b": torch.tensor(random.integers(2, size=rows)),
        "w": torch.tensor(random.exponential(1.5, rows)),
    }


def test_one_step_on_counts_switches_and_waits_is_the_textbooks():
    model, forms = made(COUNTS)
    prior, batch = softmax(model.prior), counted_batch()
    rate = torch.nn.functional.softplus(model.rate.detach()).numpy()
    on, wait = model.on.detach().sigmoid().numpy(), model.wait.detach().exp().numpy()
    n, b, w = (batch[k].numpy().astype(float) for k in ("n", "b", "w"))
    joint = prior * np.exp((n[:, :, None] * np.log(rate) - rate).sum(1))
    joint = joint * np.where(b[:, None] == 1, on, 1 - on) * wait * np.exp(-wait * w[:, None])
    r = joint / joint.sum(1, keepdims=True)
    ExpectationMaximisation(model, forms).step([model.prepare(batch)])
    np.testing.assert_allclose(softmax(model.prior), r.mean(0), atol=1e-10)
    found = torch.nn.functional.softplus(model.rate.detach()).numpy()
    np.testing.assert_allclose(found, np.einsum("bk,bl->lk", r, n) / r.sum(0), atol=1e-10)
    np.testing.assert_allclose(model.on.detach().sigmoid().numpy(), r.T @ b / r.sum(0), atol=1e-10)
    np.testing.assert_allclose(model.wait.detach().exp().numpy(), r.sum(0) / (r.T @ w), atol=1e-10)


def batch_for(name, seed):
    generator = torch.Generator().manual_seed(seed)
    if name == "counts":
        return counted_batch()
    lengths = torch.randint(0, 8, (12,), generator=generator)
    if name in ("hmm", "naive_bayes"):
        return {"x": torch.randint(7, (12, 7), generator=generator), "t": lengths}
    return {"x": torch.randn(12, 7, 2, generator=generator, dtype=torch.float64), "t": lengths}


MODELS = {
    "hmm": (spec("hmm"), {"K": 4, "V": 7}),
    "naive_bayes": (spec("naive_bayes"), {"K": 3, "V": 7}),
    "counts": (COUNTS, {}),
    "gaussian_hmm": (GAUSSIAN_HMM % ("[K, D]", "softplus(noise[z[t]])"), {"D": 2}),
}


@pytest.mark.parametrize("method", ["em", "hard_em"])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", MODELS)
def test_full_batch_em_never_lowers_its_objective(name, seed, method):
    """log p(x), or the log-probability of the best assignment."""
    text, sizes = MODELS[name]
    model, forms = made(text, seed, **sizes)
    batch = model.prepare(batch_for(name, seed))
    em = ExpectationMaximisation(model, forms, method)
    found = [em.step([batch]).log_prob for _ in range(30)]
    assert all(after >= before - 1e-9 * max(1, abs(before)) for before, after in zip(found, found[1:], strict=False))
    assert found[-1] > found[0] + 0.1


def test_em_ends_where_the_gradient_is_zero():
    model, forms = made(spec("naive_bayes"), K=2, V=4)
    batch = model.prepare({"x": torch.randint(4, (9, 6), generator=torch.Generator().manual_seed(5))})
    em = ExpectationMaximisation(model, forms, "em", 0.0)
    for _ in range(2000):
        em.step([batch])
    model.zero_grad()
    model(batch).loss.backward()
    assert max(p.grad.abs().max().item() for p in model.parameters()) < 1e-6


def test_a_wrong_count_of_rows_is_caught(monkeypatch):
    """Were every row thought to be used once more often, one step would differ from the textbook's."""
    right = ExpectationMaximisation.row_weights
    monkeypatch.setattr(ExpectationMaximisation, "row_weights", lambda *a: right(*a) + 1.0)
    with pytest.raises(AssertionError):
        test_one_step_on_hmm_is_baum_welch(False)


REFUSED = {
    "deep_hmm": "network",
    "vae": "not summed out exactly",
    "factorial_hmm": "`loc` of x is neither a table nor a number",
    "rnn_lm": "nothing is latent",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_without_closed_forms_is_refused_with_the_reason(name):
    with pytest.raises(UsageError, match=REFUSED[name]):
        closed_forms(compile_spec(spec(name)).plan)


def test_the_command_trains_by_em_and_refuses_a_network(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = "".join(f"{a} {b}\n" for a in ("cats", "dogs", "birds") * 9 for b in ("sing", "see fish", "like grass"))
    (tmp_path / "train.txt").write_text(text)
    options = ["--data", "train.txt", "--format", "text", "--set", "data.x.min_count=1", "--quiet", "--json"]
    assert (
        main(["train", spec("hmm"), *options, "--set", "sizes.K=3", "--set", "train.method=em", "--epochs", "6"]) == 0
    )
    assert '"steps": 6, "epochs": 6' in capsys.readouterr().out
    assert main(["train", spec("deep_hmm"), *options, "--set", "train.method=em"]) != 0
    assert "closed-form" in capsys.readouterr().err


NESTED = """
lvspec: 1
name: paragraphs
sizes: {K: 2, V: 3, L: 2}
plates: {l: L, s: sequence, w: sequence(within=s)}
params: {start: [L, K], transition: [K, K], emission: [K, V]}
latent:
  z[l, s, 0]: Categorical(logits=start[l])
  z[l, s, w]: Categorical(logits=transition[z[l, s, w-1]])
observed:
  x[l, s, w]: Categorical(logits=emission[z[l, s, w]])
"""


def test_chains_of_nested_plates_are_updated_as_the_same_chains_apart():
    """The sentences of two texts side by side, against each sentence as an example of its own."""
    nested, forms = made(NESTED)
    plain = NESTED.replace("s: sequence, w: sequence(within=s)", "w: sequence").replace("l, s, ", "")
    plain = plain.replace("start[l]", "start[k]").replace("latent:", "given:\n  k: category(L)\nlatent:")
    apart, apart_forms = made(plain.replace("l: L, ", ""))
    apart.load_state_dict(nested.state_dict())
    texts, sentences, words = torch.tensor([2, 1]), torch.tensor([[3, 1], [2, 2]]), torch.randint(3, (2, 2, 2, 3))
    rows = [(words[n, k, s], sentences[n, s], k) for n in range(2) for k in range(2) for s in range(int(texts[n]))]
    single = {name: torch.stack([torch.as_tensor(r[i]) for r in rows]) for i, name in enumerate("xwk")}
    whole = {"x": words, "s": texts, "w": sentences}
    for model, found, batch in ((nested, forms, whole), (apart, apart_forms, single)):
        ExpectationMaximisation(model, found).step([model.prepare(batch)])
    for name, table in nested.named_parameters():
        np.testing.assert_allclose(softmax(table), softmax(apart.get_parameter(name)), rtol=1e-10)
