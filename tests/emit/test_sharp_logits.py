"""Sharp logits through the emitted chains, against the same module in float64 and against broadcast log-sum-exp.

Rescaled probabilities underflow where the log domain does not: at scale 30 naive float32 gradients are NaN, at 100 and
300 values are. The emitted module must notice and answer all the same.
"""

import pytest
import torch

from tests.emit.small import compiled, gradients

SCALES = (1.0, 30.0, 100.0, 300.0)
ROWS, LENGTH = 4, 12


def hmm(scale, seed, forbidden=False):
    model = compiled("hmm", K=5, V=9).Model(V=9, K=5)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in (model.start, model.transition, model.emission):
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
        if forbidden:  # only the next state and the state itself can follow
            ring = torch.eye(5).bool() | torch.eye(5).roll(1, 1).bool()
            model.transition.masked_fill_(~ring, -torch.inf)
    batch = {
        "x": torch.randint(9, (ROWS, LENGTH), generator=generator),
        "t": torch.tensor([12, 7, 1, 0]),
    }
    return model, batch


def by_log_sum_exp(model, batch):
    """The definition, written out: log p(x) for every row."""
    start, transition = model.start.log_softmax(-1), model.transition.log_softmax(-1)
    emission = model.emission.log_softmax(-1)
    values = []
    for x, length in zip(batch["x"], batch["t"].tolist(), strict=True):
        message = start
        for t in range(length):
            if t:
                message = (message.unsqueeze(1) + transition).logsumexp(0)
            message = message + emission[:, x[t]]
        values.append(message.logsumexp(0))
    return torch.stack(values)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("scale", SCALES)
def test_value_and_gradients_of_an_hmm(scale, seed):
    model, batch = hmm(scale, seed)
    objective = model(batch)
    found = gradients(model, objective.loss)
    model = model.double()
    expected = by_log_sum_exp(model, batch)
    wanted = gradients(model, -expected.mean())
    torch.testing.assert_close(objective.log_prob.double(), expected, rtol=1e-6, atol=1e-6)
    for name in wanted:
        largest = max(1.0, float(wanted[name].abs().max()))
        torch.testing.assert_close(found[name].double(), wanted[name], rtol=0, atol=1e-4 * largest)


@pytest.mark.parametrize("scale", SCALES)
def test_forbidden_arcs_with_sharp_emissions(scale):
    model, batch = hmm(scale, 5, forbidden=True)
    objective = model(batch)
    found = gradients(model, objective.loss)
    expected = by_log_sum_exp(model.double(), batch)
    wanted = gradients(model, -expected.mean())
    torch.testing.assert_close(objective.log_prob.double(), expected, rtol=1e-6, atol=1e-6)
    for name in wanted:
        largest = max(1.0, float(wanted[name].abs().max()))
        torch.testing.assert_close(found[name].double(), wanted[name], rtol=0, atol=1e-4 * largest)


@pytest.mark.parametrize("scale", SCALES)
def test_posterior_of_an_hmm_sums_to_one(scale):
    model, batch = hmm(scale, 7)
    answer = model.posterior(batch)["z"]
    torch.testing.assert_close(answer.marginals[0].sum(-1), torch.ones(LENGTH), rtol=1e-4, atol=1e-4)
    exact = model.double().posterior(batch)["z"]
    torch.testing.assert_close(answer.marginals.double(), exact.marginals, rtol=1e-3, atol=1e-3)
    assert torch.equal(answer.mode[0], exact.mode[0])
