"""A step of every estimator: one graph for torch.compile, empty batches, a file of its own."""

import pytest
import torch

from lvspec.driver import compile_spec
from tests.emit.guide.test_drawn_together import SET
from tests.emit.guide.test_estimators import HIERARCHY, PLATED
from tests.emit.guide.test_relaxed import BITS

CASES = {
    "reinforce(baseline=moving_average)": PLATED,
    "reinforce(baseline=learned)": PLATED,
    "gumbel_softmax(temperature=linear(1, 0.1, steps=10))": PLATED,
    "gumbel_softmax(density=relaxed)": BITS,
    "straight_through": HIERARCHY,
    "disarm": BITS,
    "sum_and_sample(top=2)": SET,
    "without_replacement": SET,
    "relax": PLATED,
}


def compiled(strategy):
    text = CASES[strategy].replace("  samples: 2\n", "").replace(": reinforce", f": {strategy}")
    found = compile_spec(text)
    model = found.Model(**{s.name: s.value for s in found.spec.sizes})
    batch = {"x": torch.randint(2, (5, 3)).float()}
    if CASES[strategy] is HIERARCHY:
        batch = {"x": torch.randint(4, (5, 6)), "t": torch.tensor([6, 3, 0, 1, 6])}
    return model, batch


@pytest.mark.parametrize("strategy", [s for s in CASES if s != "relax"])  # whose step takes a gradient of its own
def test_a_step_is_one_graph(strategy):
    model, batch = compiled(strategy)
    batch = model.prepare(batch)
    torch.manual_seed(0)
    whole = torch.compile(model, backend="eager", fullgraph=True)(batch).loss
    assert whole.isfinite()
    whole.backward()
    torch.compiler.reset()


@pytest.mark.parametrize("strategy", CASES)
def test_an_empty_batch_has_an_empty_elbo(strategy):
    model, batch = compiled(strategy)
    assert model({n: x[:0] for n, x in batch.items()}).elbo.shape == (0,)


@pytest.mark.parametrize("strategy", CASES)
def test_a_step_has_finite_gradients_in_single_precision(strategy):
    model, batch = compiled(strategy)
    for _ in range(3):  # moving averages and schedules have something to read
        model.zero_grad(set_to_none=True)
        model(batch).loss.backward()
        if hasattr(model, "step"):  # of a module with a schedule
            model.step += 1
    assert all(w.grad is None or w.grad.isfinite().all() for w in model.parameters())
