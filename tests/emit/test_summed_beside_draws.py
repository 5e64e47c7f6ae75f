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
    log_weight, drawn = model.log_weights(batch, {}, 7)
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
