"""Guides whose parameters take steps up the ELBO that are differentiated through (semi-amortized inference)."""

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from lvspec.driver import compile_spec, plan_spec
from lvspec.errors import SpecError
from lvspec.runtime.core.batch import BadBatch
from lvspec.verify import verify
from lvspec.verify.report import render

HEAD = """lvspec: 1
name: model
sizes: {P: features(x), D: 2, H: 3, K: 2}
"""

PLAIN = """
networks:
  encoder: MLP(P, H, 2*D)
  decoder: MLP(D, H, P)
latent:
  z: Normal(0, 1)[D]
observed:
  x: Bernoulli(logits=decoder(z))
guide:
  z: Normal(loc, softplus(scale)) where loc, scale = split(encoder(x))
infer: {z: "reparameterization(refine=3, rate=0.3)"}
"""

SPECS = {
    "a vector": PLAIN,
    "two draws, a weighted KL, a term": PLAIN.replace('rate=0.3)"}', 'rate=0.3)", samples: 2}')
    + """objective:
  extra: 0.3 * log_prob(x, Bernoulli(logits=2 * decoder(z)))
train: {kl_weight: 'linear(0, 1, steps=100)'}
""",
    "no closed form": PLAIN.replace("z: Normal(0, 1)[D]", "z: LogNormal(0, 1)[D]").replace(
        "z: Normal(loc, softplus(scale))", "z: LogNormal(loc, softplus(scale))"
    ),
    "a fixed scale": PLAIN.replace(
        "Normal(loc, softplus(scale)) where loc, scale = split(encoder(x))", "Normal(reader(x), 0.5)"
    ).replace("  encoder: MLP(P, H, 2*D)", "  reader: Linear(P, D)"),
    "a derived guide": PLAIN[: PLAIN.index("guide:")].replace("  encoder: MLP(P, H, 2*D)\n", "")
    + PLAIN[PLAIN.index("infer:") :],
    "beside an averaged latent": """
params: {start: [K], centre: [K, D]}
networks:
  encoder: MLP(P, H, 2*D)
  pick: Linear(P, K)
  decoder: MLP(D, H, P)
latent:
  c: Categorical(logits=start)
  z: Normal(centre[c], 1)
observed:
  x: Bernoulli(logits=decoder(z))
guide:
  c: Categorical(logits=pick(x))
  z: Normal(loc, softplus(scale)) where loc, scale = split(encoder(x))
infer: {z: "reparameterization(refine=2, rate=0.2)"}
""",
    "beside what is drawn for each value": """
params: {start: [K], centre: [K, D]}
networks:
  encoder: MLP(P, H, 2*D)
  pick: Linear(P, K)
  decoder: MLP(D + D, H, P)
latent:
  c: Categorical(logits=start)
  u: Normal(centre[c], 1)
  z: Normal(0, 1)[D]
observed:
  x: Bernoulli(logits=decoder(concat(u, z)))
guide:
  c: Categorical(logits=pick(x))
  u: Normal(centre[c], 0.5)
  z: Normal(loc, softplus(scale)) where loc, scale = split(encoder(x))
infer: {z: "reparameterization(refine=2, rate=0.2)"}
""",
    "beside another draw": """
networks:
  reader: Linear(P, 2*D)
  encoder: Linear(P + D, 2*D)
  decoder: MLP(D + D, H, P)
latent:
  u: Normal(0, 1)[D]
  z: Normal(u, 1)
observed:
  x: Bernoulli(logits=decoder(concat(u, z)))
guide:
  u: Normal(loc, softplus(scale)) where loc, scale = split(reader(x))
  z: Normal(loc, softplus(scale)) where loc, scale = split(encoder(concat(x, u)))
infer: {u: "reparameterization(refine=2, rate=0.2)"}
""",
    "sites of a sequence": """
plates: {t: sequence}
networks:
  encoder: Linear(P, 2*D)
  decoder: MLP(D, H, P)
latent:
  z[t]: Normal(0, 1)[D]
observed:
  x[t]: Bernoulli(logits=decoder(z[t]))
guide:
  z[t]: Normal(loc, softplus(scale)) where loc, scale = split(encoder(x[t]))
infer: {z: "reparameterization(refine=2, rate=0.2)"}
""",
    "a sentence": """
plates: {t: sequence(end=EOS)}
networks:
  words: Embedding(P, H)
  reader: GRU(H, H)
  head: Linear(H, 2*D)
  writer: LSTM(H + D, H)
  output: Linear(H, P)
latent:
  z: Normal(0, 1)[D]
let:
  h[t]: writer(concat(words(x[<t]), z))
observed:
  x[t]: Categorical(logits=output(h[t]))
guide:
  z: Normal(loc, softplus(scale)) where loc, scale = split(head(last(reader(words(x)))))
infer: {z: "reparameterization(refine=2, rate=0.2)"}
""",
}


def compiled(name):
    text = HEAD + SPECS[name]
    text = text.replace("P: features(x)", "P: vocabulary(x)") if "EOS" in text else text
    return compile_spec(text, sizes={"P": 3, "D": 2, "H": 3, "K": 2})


@pytest.mark.parametrize("name", SPECS)
def test_module_agrees_with_the_oracle(name):
    found = compiled(name)
    report = verify(found.spec, found.plan, found.Model, seed=2, draws=0)
    assert report.passed, render(report)


def test_noise_of_too_few_steps_is_refused():
    model, x = compiled("a vector").Model(P=3, D=2, H=3), torch.ones(4, 3)
    with pytest.raises(BadBatch, match=r"shape \(2, 1, 4, 2\) for `z.steps`, expected .* with 3 steps"):
        model({"x": x}, draws={"z.steps": torch.zeros(2, 1, 4, 2), "z": torch.zeros(1, 4, 2)})


class ByHand(nn.Module):
    """The same model as a person would write it (Kim et al. 2018, algorithm 2)."""

    def __init__(self, model):
        super().__init__()
        self.encoder, self.decoder = model.encoder, model.decoder

    def elbo(self, x, loc, log_scale, noise):
        z = loc + log_scale.exp() * noise
        log_p = -binary_cross_entropy_with_logits(self.decoder(z), x, reduction="none").sum(-1)
        return log_p - (0.5 * (loc**2 + (2 * log_scale).exp() - 1) - log_scale).sum(-1)

    def forward(self, x, noise, steps, rate, through=True):
        loc, scale = self.encoder(x).chunk(2, -1)
        log_scale = softplus(scale).log()
        for n in noise[:-1]:
            slopes = torch.autograd.grad(self.elbo(x, loc, log_scale, n).sum(), (loc, log_scale), create_graph=True)
            slopes = slopes if through else [s.detach() for s in slopes]
            loc, log_scale = loc + rate * slopes[0], log_scale + rate * slopes[1]
        return -self.elbo(x, loc, log_scale, noise[-1]).mean()


def example(rows=5):
    torch.manual_seed(0)
    found = compiled("a vector")
    model = found.Model(P=3, D=2, H=3).double()
    x = (torch.rand(rows, 3) < 0.5).double()
    noise = torch.randn(4, rows, 2, dtype=torch.float64)
    return model, x, noise


def test_step_is_that_of_a_program_by_hand():
    model, x, noise = example()
    loss = model({"x": x}, draws={"z.steps": noise[:3, None], "z": noise[3:]}).loss
    grads = {}
    for through in (True, False):
        by_hand = ByHand(model)(x, noise, 3, 0.3, through)
        assert abs(loss - by_hand) < 1e-12
        grads[through] = torch.cat([g.reshape(-1) for g in torch.autograd.grad(by_hand, list(model.parameters()))])
    found = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, list(model.parameters()))])
    assert torch.allclose(found, grads[True], atol=1e-12)
    assert (found - grads[False]).abs().max() > 1e-3  # the way through the steps is a part of it


def test_gradient_is_that_of_finite_differences():
    model, x, noise = example()
    draws = {"z.steps": noise[:3, None], "z": noise[3:]}
    parameters = list(model.parameters())
    found = torch.autograd.grad(model({"x": x}, draws=draws).loss, parameters)
    for parameter, slope in zip(parameters, found, strict=True):
        way = torch.randn_like(parameter)
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter += sign * 1e-5 * way
                values.append(model({"x": x}, draws=draws).loss)
                parameter -= sign * 1e-5 * way
        assert abs((values[0] - values[1]) / 2e-5 - (slope * way).sum()) < 1e-7


def test_examples_climb_alone_and_without_gradients_nothing_is_kept():
    model, x, noise = example()
    draws = {"z.steps": noise[:3, None], "z": noise[3:]}
    alone = model({"x": x[:1]}, draws={n: d[..., :1, :] for n, d in draws.items()}).elbo
    together = model({"x": x, "weight": torch.tensor([0.0, 1, 2, 3, 4]).double()}, draws=draws).elbo
    assert torch.allclose(alone, together[:1], atol=1e-12)
    with torch.no_grad():
        found = model({"x": x}, draws=draws)
    assert torch.allclose(found.elbo, together, atol=1e-12) and not found.loss.requires_grad
    assert model({"x": x[:0]}).elbo.shape == (0,)
    assert torch.isfinite(model.log_prob({"x": x}, samples=50)).all()
    torch.manual_seed(1)
    means = [model.encode({"x": x})["z"].mean for _ in range(2)]
    assert (means[0] - means[1]).abs().max() > 0  # the steps have noise of their own


def test_questions_about_the_steps_take_a_batch_as_it_comes():
    model, x, noise = example()
    draws = {"z.steps": noise[:3, None], "z": noise[3:]}
    batch = {"x": x, "weight": torch.tensor([0.0, 1, 2, 3, 4]).double()}
    for one in (batch, model.prepare(batch)):
        refined = model.refined(one, draws)
        found = model.elbo_at(one, draws, refined)
        assert torch.equal(found.elbo, model(batch, draws).elbo)
        assert torch.equal(found.loss, model(batch, draws).loss)
        assert torch.equal(
            model.elbo_at(one, draws, model.unrefined(one)).elbo, model.elbo_at(one, draws, model.unrefined(batch)).elbo
        )


def test_steps_raise_the_bound():
    model, x, _ = example(rows=64)
    torch.manual_seed(0)
    with torch.no_grad():
        batch = {"x": x}
        plain = torch.stack([model.elbo_at(batch, {}, model.unrefined(batch)).elbo.mean() for _ in range(50)])
        refined = torch.stack([model({"x": x}).elbo.mean() for _ in range(50)])
    assert refined.mean() > plain.mean() + 4 * (refined.var() / 50 + plain.var() / 50).sqrt()


DECLINED = {
    "Gamma is differentiable once": ("Normal(0, 1)[D]", "Gamma(1, 1)[D]", "Normal(loc,", "Gamma(softplus(loc),"),
    "the bound is iwae": ("rate=0.3)", "rate=0.3)\", bound: \"iwae(samples=3)"),
    "sticking_the_landing": ("rate=0.3)", "rate=0.3)\", bound: \"elbo(samples=3, gradient=sticking_the_landing)"),
    "write `refine=5`": ("refine=3, ", ""),
    "nothing to move": ("Normal(loc, softplus(scale)) where loc, scale = split(encoder(x))", "Normal(0, 1)[D]", "  encoder: MLP(P, H, 2*D)\n", ""),
    "reads u": (
        "  z: Normal(0, 1)[D]", "  u: Normal(0, 1)[D]\n  z: Normal(u, 1)",
        "guide:\n", "guide:\n  u: Normal(x[0], 1)[D]\n",
        "Normal(loc,", "Normal(loc + u,",
    ),
    "q(h) reads its draw, and a draw of Gamma is differentiable once": (
        "  z: Normal(0, 1)[D]", "  z: Normal(0, 1)[D]\n  h: Gamma(2, 1)",
        "guide:\n", "guide:\n  h: Gamma(exp(sum(u)), 1)\n  u: Normal(z, 1)\n",
        "latent:\n", "latent:\n  u: Normal(0, 1)[D]\n",
        "decoder(z)", "decoder(z + h + u)",
    ),
    "a surrogate's second derivative": (
        "  z: Normal(0, 1)[D]", "  c: Bernoulli(probs=0.5)\n  z: Normal(c, 1)[D]",
        "infer: {", "infer: {c: reinforce, ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("words", DECLINED)
def test_what_cannot_be_refined_is_refused_with_the_reason(words):
    text, changes = HEAD + PLAIN, DECLINED[words]
    for old, new in zip(changes[::2], changes[1::2], strict=True):
        assert old in text
        text = text.replace(old, new)
    with pytest.raises(SpecError) as caught:
        plan_spec(text)
    assert words in str(caught.value)
