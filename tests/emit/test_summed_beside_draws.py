"""p(z | x) of latents that are summed given draws of others: averages over the weighted draws."""

import torch

from lvspec.driver import compile_spec
from lvspec.shipped import shipped


def test_marginals_are_averages_over_the_weighted_draws():
    compiled = compile_spec(shipped("specs") / "neural_topic_model.yaml", sizes={"K": 3, "D": 2, "H": 4})
    torch.manual_seed(0)
    model = compiled.Model(V=5).double()
    batch = model.prepare({"x": torch.randint(5, (4, 6)), "t": torch.tensor([6, 2, 0, 5])})
    torch.manual_seed(1)
    found = model.posterior(batch, samples=7)
    torch.manual_seed(1)
    log_weight, drawn = model.log_weights(batch, 7)
    joint = model.mix(drawn["g"]).log_softmax(-1)[:, :, None] + model.topics.log_softmax(-1).T[batch["x"]]
    expected = (log_weight.softmax(0)[..., None, None] * joint.softmax(-1)).sum(0) * batch["t.mask"][..., None]
    marginals = found["z"].marginals * batch["t.mask"][..., None]
    torch.testing.assert_close(marginals, expected.detach())
    assert found["z"].mode.shape == (4, 6)
    torch.testing.assert_close(found["g"].values, drawn["g"].detach())


def test_what_the_batch_gives_is_certain():
    compiled = compile_spec(shipped("specs") / "neural_topic_model.yaml", sizes={"K": 3, "D": 2, "H": 4})
    model = compiled.Model(V=5).double()
    z = torch.tensor([[2, 0, 1]])
    given = {"x": torch.tensor([[1, 2, 3]]), "z": z, "z_observed": torch.tensor([[True, False, True]])}
    marginals = model.posterior(given, samples=3)["z"].marginals
    certain = torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(marginals[0, [0, 2]], certain[[2, 1]])
    assert 0.01 < marginals[0, 1, 0] < 0.99


def normal(x, loc):
    return torch.distributions.Normal(loc, 1.0).log_prob(x)


TOLD_OF_A_DRAW = """
lvspec: 1
sizes: {K: 3}
params: {w: [K], mu: [K], r: [K], v: []}
latent:
  g: Normal(0, 1)
  z: Categorical(logits=w)
observed:
  x: Normal(g + mu[z], 1)
guide:
  g: Normal(v * x, 1)
  z: Categorical(logits=r * g)
infer: {z: enumeration, g: reparameterization}
"""


def test_a_latent_whose_guide_is_told_of_a_draw_is_answered():
    torch.manual_seed(0)
    model = compile_spec(TOLD_OF_A_DRAW).Model().double()
    x = torch.tensor([0.3, -2.0], dtype=torch.float64)
    found = model.posterior({"x": x}, samples=5)
    g, each = found["g"].values[..., None], model.w.log_softmax(-1)
    joint = each + normal(x[:, None], g + model.mu)  # (S, B, K)
    weights = (joint.logsumexp(-1) + normal(g[..., 0], 0.0) - normal(g[..., 0], model.v * x)).softmax(0)
    torch.testing.assert_close(found["g"].weights, weights.detach())
    torch.testing.assert_close(found["z"].marginals, (weights[..., None] * joint.softmax(-1)).sum(0).detach())


READ_TOGETHER = """
lvspec: 1
sizes: {K: 2, M: 2}
plates: {m: M}
params: {w: [M, K], mu: [K], v: []}
latent:
  g: Normal(0, 1)
  z[m]: Categorical(logits=w[m])
observed:
  x: Normal(g + sum(mu[z[m]] over m), 1)
guide:
  g: Normal(v * x, 1)
  z[m]: Categorical(logits=w[m])
infer: {z: enumeration, g: reparameterization}
"""


def test_sites_that_are_read_together_are_answered():
    torch.manual_seed(0)
    model = compile_spec(READ_TOGETHER).Model().double()
    x = torch.tensor([0.3, -2.0], dtype=torch.float64)
    found = model.posterior({"x": x}, samples=5)
    g, prior = found["g"].values[..., None, None], model.w.log_softmax(-1)
    joint = prior[0, :, None] + prior[1] + normal(x[:, None, None], g + model.mu[:, None] + model.mu)  # (S, B, K, K)
    each = joint.flatten(2).softmax(-1).unflatten(2, (2, 2))
    expected = (found["g"].weights[..., None, None] * each).sum(0)
    torch.testing.assert_close(found["z"].marginals[:, 0], expected.sum(2).detach())
    torch.testing.assert_close(found["z"].marginals[:, 1], expected.sum(1).detach())


READ_BY_ANOTHER_FACTOR = """
lvspec: 1
sizes: {K: 3}
params: {w: [K], mu: [K], r: [K], v: [K]}
latent:
  z: Categorical(logits=w)
  g: Normal(mu[z], 1)
  h: Normal(0, 1)
observed:
  x: Normal(g + h, 1)
guide:
  h: Normal(x, 1)
  z: Categorical(logits=r * h)
  g: Normal(v[z] * x, 1)
infer: {z: enumeration, g: reparameterization, h: reparameterization}
"""


def test_a_latent_that_is_drawn_in_the_weights_alone_has_a_table_of_its_draws():
    torch.manual_seed(0)
    model = compile_spec(READ_BY_ANOTHER_FACTOR).Model().double()
    found = model.posterior({"x": torch.tensor([0.3, -2.0], dtype=torch.float64)}, samples=5)["z"]
    drawn = torch.nn.functional.one_hot(found.values, 3)
    torch.testing.assert_close(found.marginals, (found.weights[..., None] * drawn).sum(0))


BESIDE_A_POINT = """
lvspec: 1
sizes: {K: 3}
params: {w: [K], mu: [K], v: []}
latent:
  p: Normal(0, 1)
  z: Categorical(logits=w)
  g: Normal(0, 1)
observed:
  x: Normal(p + mu[z], 1)
  y: Normal(g, 1)
guide:
  p: Delta(v * x)
"""


def test_what_is_summed_or_integrated_beside_a_point_is_answered_at_the_point():
    torch.manual_seed(0)
    model = compile_spec(BESIDE_A_POINT).Model().double()
    x, y = torch.tensor([0.3, -2.0]).double(), torch.tensor([1.0, 4.0]).double()
    found = model.posterior({"x": x, "y": y})
    torch.testing.assert_close(found["p"].mode, model.v * x)
    joint = model.w.log_softmax(-1) + normal(x[:, None], (model.v * x)[:, None] + model.mu)
    torch.testing.assert_close(found["z"].marginals, joint.softmax(-1).detach())
    torch.testing.assert_close(found["g"].mean.detach(), y / 2)
    value = joint.logsumexp(-1) + normal(model.v * x, 0.0) + torch.distributions.Normal(0.0, 2**0.5).log_prob(y)
    torch.testing.assert_close(model({"x": x, "y": y}).log_joint, value)
    known = {"x": x, "y": y, "z": torch.tensor([2, 0])}
    torch.testing.assert_close(model.posterior(known)["z"].marginals, torch.eye(3)[[2, 0]].double())


TREE_BESIDE_A_POINT = """
lvspec: 1
sizes: {N: 2, P: 2, V: 3, D: 2}
plates: {t: sequence}
params: {rules: [N, N + P, N + P], terminals: [P, V]}
networks:
  root: Linear(D, N)
  words: Embedding(V, D)
latent:
  z: Normal(0, 1)[D]
observed:
  x over t: PCFG(root=root(z), rules=rules, terminals=terminals) with tree
guide:
  z: Delta(mean(words(x)))
"""


def test_hidden_trees_are_answered_at_the_point_that_their_grammar_reads():
    torch.manual_seed(0)
    model = compile_spec(TREE_BESIDE_A_POINT).Model().double()
    x = torch.tensor([[0, 2]])
    found = model.posterior({"x": x})
    z = model.words(x).mean(1)
    torch.testing.assert_close(found["z"].mode, z)
    root, rules = model.root(z).log_softmax(-1), model.rules.flatten(1).log_softmax(-1).view(2, 4, 4)
    leaf = model.terminals.log_softmax(-1)  # preterminals are the symbols 2 and 3
    each = root[0, :, None, None] + rules[:, 2:, 2:] + leaf[:, 0][:, None] + leaf[:, 2]
    torch.testing.assert_close(found["tree"].log_partition, each.logsumexp((0, 1, 2))[None])
