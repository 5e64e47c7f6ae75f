"""Models with directions (von Mises-Fisher) and mixtures of Gaussians, whole modules against the oracle."""

import pytest
import torch

from lvspec.driver import compile_spec, plan_spec
from lvspec.errors import SpecError
from lvspec.verify import verify
from lvspec.verify.report import render

HEAD = """lvspec: 1
name: model
sizes: {P: features(x), D: 3, H: 3, K: 2}
"""

DIRECTION = """
networks:
  encoder: MLP(P, H, D)
  turn: Linear(P, 1)
  decoder: MLP(D, H, P)
latent:
  z: SphericalUniform(D)
observed:
  x: Bernoulli(logits=decoder(z))
guide:
  z: VonMisesFisher(encoder(x), 1 + softplus(k)) where k = turn(x)[0]
"""

MIXTURE = """
params:
  prior: [K]
  centre: [K, D]
  width: [K, D]
networks:
  mixing: MLP(P, H, K)
  locs: MLP(P, H, K*D)
  scales: MLP(P, H, K*D)
  decoder: MLP(D, H, P)
latent:
  z: NormalMixture(prior, centre, exp(width))
observed:
  x: Bernoulli(logits=decoder(z))
guide:
  z: NormalMixture(mixing(x), reshape(locs(x), K, D), softplus(reshape(scales(x), K, D)))
"""

SPECS = {
    "a learned concentration": DIRECTION,
    "a fixed concentration": DIRECTION.replace("1 + softplus(k)) where k = turn(x)[0]", "4)").replace(
        "  turn: Linear(P, 1)\n", ""
    ),
    "a prior with a direction": DIRECTION.replace("SphericalUniform(D)", "VonMisesFisher(pole, exp(pull))")
    + "params: {pole: [D], pull: []}\n",
    "sites of a plate": """
plates: {l: K}
params: {pole: [K, D]}
networks:
  encoder: Linear(P, D)
  decoder: MLP(D, H, P)
latent:
  z[l]: VonMisesFisher(pole[l], 0.5)
observed:
  x: Bernoulli(logits=sum(decoder(z[l]) over l))
guide:
  z[l]: VonMisesFisher(encoder(x) + pole[l], 2)
""",
    "copies": """
networks:
  encoder: Linear(P, K*D)
  decoder: MLP(K*D, H, P)
latent:
  z: SphericalUniform(D)[K]
observed:
  x: Bernoulli(logits=decoder(flatten(z)))
guide:
  z: VonMisesFisher(reshape(encoder(x), K, D), softplus(reshape(encoder(x), D, K)[0]))
""",
    "a summed parent": """
params: {start: [K], pole: [K, D]}
networks:
  encoder: Linear(P, D)
  pick: Linear(P, K)
  decoder: MLP(D, H, P)
latent:
  c: Categorical(logits=start)
  z: VonMisesFisher(pole[c], 2)
observed:
  x: Bernoulli(logits=decoder(z))
guide:
  c: Categorical(logits=pick(x))
  z: VonMisesFisher(encoder(x) + pole[c], 3)
""",
    "along a sequence": """
plates: {t: sequence}
networks:
  encoder: Linear(P, D)
  decoder: MLP(D, H, P)
latent:
  z[0]: SphericalUniform(D)
  z[t]: VonMisesFisher(z[t-1], 3)
observed:
  x[t]: Bernoulli(logits=decoder(z[t]))
guide:
  z[0]: VonMisesFisher(encoder(x[0]), 2)
  z[t]: VonMisesFisher(encoder(x[t]) + z[t-1], 2)
""",
    "what is observed": """
params: {pole: [D], centre: [K, D], width: [K, D], prior: [K]}
latent:
  c: Bernoulli(probs=0.3)
observed:
  u: VonMisesFisher(pole * (1 + c), 0.5 + c)
  x: NormalMixture(prior, centre, exp(width) + c)
""",
    "a mixture as prior and guide": MIXTURE,
    "a mixture as guide": MIXTURE.replace("NormalMixture(prior, centre, exp(width))", "Normal(0, 1)[D]").replace(
        "params:\n  prior: [K]\n  centre: [K, D]\n  width: [K, D]\n", ""
    ),
    "a mixture, sticking the landing": MIXTURE + "infer: {bound: 'elbo(samples=2, gradient=sticking_the_landing)'}\n",
    "a mixture, importance weighted": MIXTURE + "infer: {bound: 'iwae(samples=3)'}\n",
    "a mixture, its components summed": MIXTURE + "infer: {z: stratified}\n",
    "a mixture, two draws of each component": MIXTURE + "infer: {z: stratified(samples=4)}\n",
    "a mixture beside another draw": MIXTURE.replace("latent:\n", "latent:\n  u: Normal(0, 1)\n").replace(
        "decoder(z)", "decoder(z + u)"
    )
    + "infer: {z: stratified}\n",
    "a mixture, scored": MIXTURE + "infer: {z: reinforce(samples=2)}\n",
    "a mixture of the site before": """
plates: {t: sequence}
params: {centre: [K, D], width: [K, D], prior: [K], first: [D]}
networks:
  encoder: Linear(P, K*D)
  decoder: MLP(D, H, P)
latent:
  z[0]: NormalMixture(prior, centre, exp(width))
  z[t]: Normal(z[t-1], 1)
observed:
  x[t]: Bernoulli(logits=decoder(z[t]))
guide:
  z[0]: NormalMixture(prior, reshape(encoder(x[0]), K, D), exp(width))
  z[t]: NormalMixture(prior + z[t-1][0], reshape(encoder(x[t]), K, D), exp(width))
""",
}


@pytest.mark.parametrize("name", SPECS)
def test_module_agrees_with_the_oracle(name):
    text = HEAD + SPECS[name]
    sizes = {"P": 2, "D": 2 if "mixture" in name else 3, "H": 3, "K": 2}
    if name == "what is observed":
        text, sizes = text.replace("P: features(x), D: 3, H: 3", "D: features(x)"), {"D": 2, "K": 2}
    found = compile_spec(text, sizes=sizes)
    report = verify(found.spec, found.plan, found.Model, seed=3, draws=0)
    assert report.passed, render(report)


def test_strata_have_the_gradient_of_the_bound_and_vary_less():
    """The mean gradients of both strategies agree, within standard errors; that of strata varies less."""
    rows = {}
    for strategy in ("reparameterization(samples=2)", "stratified(samples=2)"):
        found = compile_spec(HEAD + SPECS["a mixture as guide"], overrides={"z": strategy})
        torch.manual_seed(0)
        model = found.Model(P=2, D=2, H=3, K=2).double()
        batch = model.prepare({"x": torch.tensor([[1.0, 0.0]] * 100, dtype=torch.float64)})
        gradients = []
        for _ in range(60):
            grads = torch.autograd.grad(model(batch).loss, list(model.parameters()))
            gradients.append(torch.cat([g.reshape(-1) for g in grads]))
        rows[strategy] = torch.stack(gradients)
    (a, b) = rows.values()
    gap = (a.mean(0) - b.mean(0)).abs() / ((a.var(0) + b.var(0)) / 60).sqrt().clamp_min(1e-9)
    assert gap.max() < 6
    assert b.var(0).sum() < a.var(0).sum()


@pytest.mark.parametrize("name", ["a fixed concentration", "a mixture as guide"])
def test_encode_has_arguments_and_draws_of_every_example(name):
    found = compile_spec(HEAD + SPECS[name], sizes={"P": 2, "D": 3, "H": 3, "K": 2})
    q = found.Model(P=2, D=3, H=3).encode({"x": torch.tensor([[1.0, 0.0]] * 4)})["z"]
    assert all(a.shape[0] == 4 for a in q.arguments.values()) and q.mean is None
    assert q.sample(5).shape == (5, 4, 3) and q.log_prob_of_each(q.sample(1)[0]).shape == (4, 4)


DECLINED = {
    "not the same number for each of 2 components": ("a mixture as guide", "infer: {z: stratified(samples=3)}"),
    "is no NormalMixture": ("a learned concentration", "infer: {z: stratified}"),
    "all draws weigh the same": ("a mixture as guide", "infer: {z: stratified, bound: 'elbo(gradient=sticking_the_landing)'}"),
}  # fmt: skip


@pytest.mark.parametrize("words", DECLINED)
def test_strata_are_declined_with_the_reason(words):
    name, infer = DECLINED[words]
    with pytest.raises(SpecError) as caught:
        plan_spec(HEAD + SPECS[name] + infer)
    assert words in str(caught.value)
