"""The shipped specs at small sizes: emitted modules with random numbers, and clean batches to change."""

from functools import cache

import torch

from lvspec.driver import compile_spec, read_spec
from lvspec.ir.reads import is_improper
from lvspec.ir.structured import structure_of
from lvspec.plan import make_plan
from lvspec.verify import pins, shrink
from lvspec.verify.oracle.draw import (
    extended,
    padded_extent,
    ragged_lengths,
    random_draws,
    random_value,
    randomize,
    with_trees,
)
from lvspec.verify.oracle.world import Instance
from tests import SPECS

NAMES = sorted(p.stem for p in SPECS.glob("*.yaml"))
EXACT = ("deep_hmm", "factorial_hmm", "hmm", "mixture_of_rnns", "naive_bayes", "softmax_mixture_lm")
ROWS, LENGTH = 4, 4


@cache
def spec_of(name: str):
    """The spec as it is shipped: what tests are collected by, without compiling all of them."""
    return read_spec(SPECS / f"{name}.yaml")


@cache
def sizes_of(name: str) -> dict[str, int]:
    return shrink(spec_of(name))


@cache
def compiled(name: str, **changed: int):
    """The spec compiled at small sizes with the strategies that it has at its own."""
    path = SPECS / f"{name}.yaml"
    plan = make_plan(spec_of(name))
    # rounds over chains converge slowly, and what is asked here holds after any number of them
    kept = pins(plan) | {n: "structured_mean_field(steps=3, tolerance=1e-13)" for n in plan.structured}
    return compile_spec(path, sizes=sizes_of(name) | changed, overrides=kept)


def model_of(name: str, seed: int = 0, **changed: int):
    """The emitted module with random parameters, in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # factors that the data set shares are buffers, with random first values
        model = compiled(name, **changed).Model(**(sizes_of(name) | changed), **shared_by(name)).eval()
    randomize(model, torch.Generator().manual_seed(seed))
    return model


def shared_by(name: str) -> dict[str, int]:
    """How many examples share what is global, where something is."""
    spec = compiled(name).spec
    shared = any(v.outside_batch for v in spec.of_role("latent")) or any(p.per_example for p in spec.params)
    return {"dataset_size": ROWS} if shared else {}


def sequences(name: str) -> bool:
    """Whether the model has a ragged plate."""
    return any(p.ragged for p in spec_of(name).plates)


def batch_of(name: str, seed: int = 0, rows: int = ROWS, dtype=torch.float32) -> dict:
    """A ragged batch (lengths 4, 1, 0, 3, ...) with symbols of the vocabulary everywhere."""
    spec, sizes = compiled(name).spec, sizes_of(name)
    generator = torch.Generator().manual_seed(seed)
    batch = ragged_lengths(spec, rows, LENGTH, sizes, generator)
    least = shortest(spec)
    batch = own_rows(name, rows) | {plate: torch.where(n > 0, n.clamp(min=least), n) for plate, n in batch.items()}
    labelled = () if spec.of_role("observed") else spec.of_role("latent")  # what a conditional model is a model of
    for variable in (*spec.of_role("observed"), *spec.of_role("given"), *labelled):
        extents = (padded_extent(spec, p, sizes, LENGTH) for p in variable.plates)
        shape = (rows, *extents, *(d.evaluate(sizes) for d in variable.type.shape))
        value = random_value(variable.type.support, extended(spec, sizes, LENGTH), shape, generator)
        value = with_trees(variable, value, batch, generator)
        batch[variable.name] = value.to(dtype) if value.is_floating_point() else value
    return batch


def own_rows(name: str, rows: int) -> dict:
    """Which examples of the training data they are, where each has parameters of its own."""
    return {"index": torch.arange(rows) % ROWS} if any(p.per_example for p in compiled(name).spec.params) else {}


def shortest(spec) -> int:
    """The least length that the spec's data section admits: a grammar derives no single word."""
    wanted = [dict(keys).get("lengths") for _, keys in spec.data]
    return max((int(str(w).partition("-")[0]) for w in wanted if w), default=1)


def nested(name: str) -> bool:
    """Whether one ragged plate lies within another."""
    return any(p.within for p in spec_of(name).plates)


def given_in(name: str, batch: dict, rows: int) -> dict:
    """What draws of the model are conditioned on: the first examples, repeated as often as there are draws."""
    spec, sizes = compiled(name).spec, sizes_of(name)
    codes = [v for v in spec.of_role("latent") if is_improper(v)]  # cannot be drawn
    shapes = {v.name: (rows, *(d.evaluate(sizes) for d in v.type.shape)) for v in codes}
    given = {n: torch.randn(s, generator=torch.Generator().manual_seed(0)) for n, s in shapes.items()}
    return given | {v.name: batch[v.name][torch.arange(rows) % ROWS] for v in conditions(name)}


def lengths_in(name: str) -> dict:
    """How many symbols a structure yields when it is drawn: the least that it can, so that they fit into the frames of any example."""
    found = [(v, structure_of(v)) for v in compiled(name).spec.of_role("observed")]
    return {v.general.body.over: max(1, structure.fewest) for v, structure in found if structure}


def conditions(name: str) -> list:
    """What is given."""
    return list(compiled(name).spec.of_role("given"))


def example_of(name: str, batch: dict, row: int) -> dict:
    """One example of a batch, cut to its own lengths (a site is left where it has none)."""
    alone = {k: v[row : row + 1] for k, v in batch.items()}
    for variable in compiled(name).spec.variables:
        for axis, plate in enumerate(variable.plates, start=1):
            if variable.name in alone and plate in batch:
                alone[variable.name] = alone[variable.name].narrow(axis, 0, max(int(batch[plate][row]), 1))
    return alone


def fixed(draws: dict) -> dict:
    """As an argument of `forward`, which takes draws where there are latents to draw."""
    return {"draws": draws} if draws else {}


def draws_of(name: str, batch: dict, seed: int = 0, dtype=torch.float32) -> dict:
    """Noise, or values, for every sampled latent: with them a stochastic objective is a function."""
    plan = compiled(name).plan
    instance = Instance.of(plan, sizes_of(name), {}, batch)
    generator = torch.Generator().manual_seed(seed)
    draws = random_draws(plan, instance, instance.rows(), LENGTH, generator)
    return {k: v.to(dtype) if v.is_floating_point() else v for k, v in draws.items()}


def draws_at(draws: dict, rows) -> dict:
    """The draws of some examples: the third axis of those of inner steps, the second one of others."""
    return {k: v[:, :, rows] if k.endswith(".steps") else v[:, rows] for k, v in draws.items()}


def per_example(objective) -> torch.Tensor:
    """log p(x) where the plan is exact, else the ELBO, else log p(x, z) of a point estimate: (B,)."""
    return next(v for v in (objective.log_prob, objective.elbo, objective.log_joint) if v is not None)


def gradients(model, loss) -> dict[str, torch.Tensor]:
    """d loss / d parameter by name; parameters that the loss does not reach are left out."""
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    if not trained:
        return {}
    found = torch.autograd.grad(loss, list(trained.values()), allow_unused=True)
    return {n: g for n, g in zip(trained, found, strict=True) if g is not None}
