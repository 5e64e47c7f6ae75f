"""An example that the model cannot give has a bound of -inf, and leaves the gradients of the others alone, whatever moves q."""

import pytest
import torch

from lvspec.driver import compile_spec

# w says what can be: a symbol whatever z is (g), a symbol given a value of z (h), a value of z itself (p)
ONE = """
lvspec: 1
sizes: {K: 3, V: 4}
plates: {k: K}
given: {g: "unit[V]", p: "unit[K]", "h[k]": "unit[V]"}
params: {a: [K], e: [V, K]}
networks: {read: "Embedding(V, K)"}
latent:
  z: Categorical(logits=a + log(p))
observed:
  x: Categorical(logits=matmul(e, onehot(z)) + log(g) + log(h[z]))
guide:
  z: Categorical(logits=read(x))
"""
SITES = """
lvspec: 1
sizes: {K: 3, V: 4}
plates: {k: K, t: sequence}
given: {"g[t]": "unit[V]", "p[t]": "unit[K]", "h[k, t]": "unit[V]"}
params: {a: [K], e: [V, K]}
networks: {read: "Embedding(V, K)"}
latent:
  z[t]: Categorical(logits=a + log(p[t]))
observed:
  x[t]: Categorical(logits=matmul(e, onehot(z[t])) + log(g[t]) + log(h[z[t], t]))
guide:
  z[t]: Categorical(logits=read(x[t]))
"""
TRUTH = """
lvspec: 1
sizes: {K: 2, V: 4}
plates: {k: 2}
given: {g: "unit[V]", p: "unit[K]", "h[k]": "unit[V]"}
params: {a: [], e: [2, V]}
networks: {read: "Embedding(V, 1)"}
latent:
  z: Bernoulli(logits=a)
observed:
  x: Categorical(logits=e[0] * z + e[1] + log(g) + log(h[z]) + sum(p))
guide:
  z: Bernoulli(logits=read(x)[0])
"""
STRATA = """
lvspec: 1
sizes: {K: 2, V: 4}
plates: {k: K}
given: {g: "unit[V]", p: "unit[K]", "h[k]": "unit[V]"}
params: {a: [K], b: [K, 1], e: [V]}
networks: {read: "Embedding(V, 1)"}
latent:
  z: Normal(0, 1)[1]
observed:
  x: Categorical(logits=e * z[0] + log(g) + sum(p) * h[0])
guide:
  z: NormalMixture(logits=a, loc=b + read(x), scale=exp(b))
"""
SCORED = [f"z: reinforce(baseline={b})" for b in ("leave_one_out", "none", "moving_average", "learned")]
BOUNDS = [f"bound: {b}" for b in ("iwae(samples=3)", "renyi(samples=3, alpha=0.5)", "reweighted_wake_sleep(samples=3)")]
BOUNDS = [b if "wake" in b else f"{b}\n  z: reinforce" for b in BOUNDS]
RELAXED = "z: gumbel_softmax(samples=2)"
ANY = ["", *SCORED, *BOUNDS, "z: relax(samples=2)"]
CASES = [
    *((ONE, i) for i in (*ANY, RELAXED, "z: sum_and_sample(samples=3, top=1)", "z: without_replacement(samples=2)")),
    *((SITES, i) for i in (*ANY, RELAXED)),
    *((TRUTH, i) for i in (*ANY, "z: disarm")),
    *((STRATA, i) for i in ("z: stratified", "z: reinforce", "z: reparameterization")),
]
WEIGHTED = ["kl_weight: 0.5", "kl_weight: linear(0, 1, steps=10)", "free_bits: node(0.5)"]


def spec(text: str, infer: str, train: str = "") -> str:
    if "gumbel" in infer:  # a relaxed value names no site
        text = text.replace("h[z]", "h[0]").replace("h[z[t], t]", "h[0, t]")
    return text + (f"infer:\n  {infer}\n" if infer else "") + (f"train:\n  {train}\n" if train else "")


def batches(text: str, what: str) -> tuple[dict, dict]:
    """Three examples, of which the first is impossible; and the same with a first one that is possible."""
    sites = (2,) if "t: sequence" in text else ()
    K, x = (2 if "K: 2" in text else 3), torch.arange(3)
    good = {
        "x": x[:, None].repeat(1, 2) if sites else x,
        "g": torch.full((3, *sites, 4), 0.5, dtype=torch.float64),
        "p": torch.full((3, *sites, K), 0.5, dtype=torch.float64),
        "h": torch.full((3, K, *sites, 4), 0.5, dtype=torch.float64),
    }
    bad = {name: value.clone() for name, value in good.items()}
    last = (1,) if sites else ()
    bad[what][(0, *((1,) if what == "h" else ()), *last, 1 if what == "p" else 0)] = 0.0
    return bad, good


def gradient(model, batch: dict, weight: list[float]) -> tuple[object, torch.Tensor]:
    """The objective at draws that are the same each time, and the gradient of its loss."""
    torch.manual_seed(1)
    objective = model({**batch, "weight": torch.tensor(weight, dtype=torch.float64)})
    moving = [p for p in model.parameters() if p.requires_grad]
    found = torch.autograd.grad(objective.loss, moving, allow_unused=True)
    parts = [(torch.zeros_like(p) if g is None else g).reshape(-1) for g, p in zip(found, moving, strict=True)]
    return objective, torch.cat(parts)


def model_of(text: str):
    torch.manual_seed(0)
    return compile_spec(text).Model().to(torch.float64).eval()


@pytest.mark.parametrize(("text", "infer"), CASES)
@pytest.mark.parametrize("what", ["g", "h", "p"])
def test_an_impossible_example_leaves_the_gradients_of_others_alone(text, infer, what):
    if (what == "h" and "gumbel" in infer) or (what == "p" and text == TRUTH) or text == STRATA:
        what = "g"
    model, (bad, good) = model_of(spec(text, infer)), batches(text, what)
    objective, found = gradient(model, bad, [1.0, 1.0, 1.0])
    value = objective.elbo
    assert what != "g" or value[0] == -torch.inf
    assert value[1:].isfinite().all() and not value.isnan().any() and not objective.loss.isnan()
    assert found.isfinite().all()
    alone, expected = gradient(model, good, [0.0, 1.0, 1.0])
    others, found = gradient(model, bad, [0.0, 1.0, 1.0])
    assert torch.allclose(others.loss, alone.loss) and torch.allclose(others.elbo[1:], alone.elbo[1:])
    assert torch.allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("train", WEIGHTED)
@pytest.mark.parametrize("infer", ["", "z: reinforce"])
def test_an_infinite_divergence_stays_infinite_whatever_its_weight(infer, train):
    model, (bad, good) = model_of(spec(ONE, infer, train)), batches(ONE, "p")
    objective, found = gradient(model, bad, [1.0, 1.0, 1.0])
    assert objective.kl["z"][0] == torch.inf and objective.loss == torch.inf
    assert found.isfinite().all()
    alone, expected = gradient(model, good, [0.0, 1.0, 1.0])
    others, found = gradient(model, bad, [0.0, 1.0, 1.0])
    assert torch.allclose(others.loss, alone.loss)
    assert torch.allclose(found, expected, atol=1e-12)


def test_draws_without_a_share_move_nothing_under_wake_sleep():
    """Of 3 draws those that the model cannot give have no weight: the others' gradient is Σ v (∇ log p + ∇ log q)."""
    model, (bad, _) = model_of(spec(ONE, BOUNDS[2])), batches(ONE, "h")
    z = torch.tensor([[0, 0, 1], [1, 1, 0], [2, 2, 2]])
    possible = bad["h"][torch.arange(3), z]  # (S, B, V)
    log_x = (model.e.t()[z] + possible.log()).log_softmax(-1)[:, torch.arange(3), bad["x"]]
    log_p = (model.a + bad["p"].log()).log_softmax(-1)[torch.arange(3), z] + log_x
    log_q = model.read(bad["x"]).log_softmax(-1)[torch.arange(3), z]
    share = (log_p - log_q).detach().softmax(0)
    assert share[1, 0] == 0
    followed = torch.where(share > 0, share * (log_p + log_q), 0.0).sum(0).mean()
    moving = [model.a, model.e, model.read.weight]
    expected = torch.autograd.grad(-followed, moving)
    found = torch.autograd.grad(model(bad, draws={"z": z}).loss, moving)
    assert all(torch.allclose(f, e) for f, e in zip(found, expected, strict=True))


@pytest.mark.parametrize("infer", ["z: reinforce", "z: relax(samples=2)"])
def test_questions_about_a_batch_with_an_impossible_example_are_answered_for_the_others(infer):
    model, (bad, good) = model_of(spec(ONE, infer)), batches(ONE, "g")
    torch.manual_seed(1)
    found, of_log_p = model.posterior(bad)["z"], model.importance(bad, samples=50)
    torch.manual_seed(1)
    expected, expected_of_log_p = model.posterior(good)["z"], model.importance(good, samples=50)
    for answer in ("marginals", "mode", "mean", "variance", "effective_sample_size"):
        assert torch.equal(getattr(found, answer)[1:], getattr(expected, answer)[1:])
    assert found.sample(2).shape == (2, 3) and not found.marginals[0].any()
    assert found.effective_sample_size[0] == 0
    for answer in ("log_prob", "standard_error", "effective_sample_size"):
        assert torch.equal(getattr(of_log_p, answer)[1:], getattr(expected_of_log_p, answer)[1:])
    assert of_log_p.log_prob[0] == -torch.inf and of_log_p.standard_error[0] == torch.inf
