"""Other libraries' estimators of the same gradient: Pyro's TraceGraph_ELBO and Storchastic's score function, where installed."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

SAMPLES = 4


def peers(model: nn.Module, x: Tensor, settle: int) -> dict[str, Callable[[], None]]:
    """Steps by name: each leaves gradients of the mean loss in the model's parameters."""
    found = {}
    for name, make in (
        ("Storchastic, batch average, 4 draws", storchastic),
        ("Pyro TraceGraph_ELBO, moving average, 4 draws", pyro),
    ):
        try:
            step = make(model, x)
            for _ in range(settle):
                step()
            found[name] = step
        except ImportError as reason:
            print(f"{name}: not installed ({reason})")
    return found


def storchastic(model: nn.Module, x: Tensor) -> Callable[[], None]:
    import storch
    from storch.method import ScoreFunction
    from torch.distributions import OneHotCategorical

    method = ScoreFunction("z", n_samples=SAMPLES, baseline_factory="batch_average")

    def step() -> None:
        model.zero_grad(set_to_none=True)
        rows = storch.denote_independent(x, 0, "batch")
        log_q = model.encoder(rows).reshape(len(x), model.M, model.K)
        z = method(OneHotCategorical(logits=log_q))
        logits = model.decoder(z.reshape(z.shape[:-2] + (model.M * model.K,)))
        cost = binary_cross_entropy_with_logits(logits, rows.expand_as(logits), reduction="none").sum(-1)
        log_q = log_q.log_softmax(-1)
        divergence = (log_q.exp() * (log_q - model.prior.log_softmax(-1))).sum(-1).sum(-1)
        storch.add_cost(cost, "reconstruction")
        storch.add_cost(divergence, "divergence")
        storch.backward()

    return step


def pyro(model: nn.Module, x: Tensor) -> Callable[[], None]:
    import pyro
    import pyro.distributions as dist
    from pyro.infer import TraceGraph_ELBO

    pyro.enable_validation(False)
    pyro.clear_param_store()
    baseline = {"use_decaying_avg_baseline": True, "baseline_beta": 0.9}

    def generative():
        with pyro.plate("rows", len(x), dim=-1):
            z = pyro.sample("z", dist.OneHotCategorical(logits=model.prior.expand(len(x), -1, -1)).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=model.decoder(z.flatten(-2))).to_event(1), obs=x)

    def guide():
        log_q = model.encoder(x).view(len(x), model.M, model.K)
        with pyro.plate("rows", len(x), dim=-1):
            pyro.sample("z", dist.OneHotCategorical(logits=log_q).to_event(1), infer={"baseline": baseline})

    elbo = TraceGraph_ELBO(num_particles=SAMPLES, vectorize_particles=True, max_plate_nesting=1)

    def step() -> None:
        model.zero_grad(set_to_none=True)
        elbo.loss_and_grads(generative, guide)
        for weight in model.parameters():  # of the sum over rows
            weight.grad /= len(x)

    return step
