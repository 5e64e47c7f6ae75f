"""torch.compile over prepared batches: one graph, the same loss, the same gradients.

Dynamo traces nn.LSTM only where `torch._dynamo.config.allow_rnn` is set; the other modules need no setting.
"""

import pytest
import torch

from tests.emit.small import NAMES, batch_of, draws_of, fixed, gradients, model_of

BROKEN = (  # a gradient inside the step is no part of one graph; or there is no gradient at all
    "bayesian_mixture",
    "factorial_hmm_words",
    "lda",
    "iwae",  # the weights of a draw's second gradient are known after it is read
    "semi_amortized_vae",
)
SPLIT = ("iwae",)  # several graphs, which agree
QUICK = ("discrete_vae", "factorial_hmm", "hmm", "naive_bayes", "vae")
INDUCTOR = ("hmm", "gm_vae", "discrete_vae")


@pytest.fixture(autouse=True)
def dynamo():
    import torch._dynamo

    torch._dynamo.reset()
    with torch._dynamo.config.patch(allow_rnn=True):
        yield
    torch._dynamo.reset()


def agree(name, backend, whole=True):
    model, batch = model_of(name), batch_of(name)
    draws, prepared = draws_of(name, batch), model.prepare(batch)
    step = torch.compile(lambda batch, draws: model(batch, **fixed(draws)).loss, backend=backend, fullgraph=whole)
    compiled, plain = step(prepared, draws), model(prepared, **fixed(draws)).loss
    torch.testing.assert_close(compiled, plain, rtol=1e-5, atol=1e-6)
    mine, theirs = gradients(model, compiled), gradients(model, plain)
    assert mine.keys() == theirs.keys()
    for key in theirs:
        torch.testing.assert_close(mine[key], theirs[key], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in NAMES if n not in BROKEN]
)
def test_forward_is_one_graph(name):
    agree(name, "aot_eager")


@pytest.mark.slow
@pytest.mark.parametrize("name", SPLIT)
def test_steps_of_several_graphs_agree(name):
    agree(name, "aot_eager", whole=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", INDUCTOR)
def test_generated_kernels_agree(name):
    agree(name, "inductor")
