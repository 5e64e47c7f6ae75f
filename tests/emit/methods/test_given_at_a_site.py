"""`sample` with values in place of draws, of plates that are drawn site by site."""

import ast

import pytest
import torch

from lvspec.runtime.core.batch import BadBatch
from tests.emit.small import NAMES, batch_of, compiled, model_of


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_drawn_and_then_replaced(name):
    """Of an `if` whose body is one assignment, the statement before it gives that name no draw."""
    sample = next(
        n for n in ast.walk(ast.parse(compiled(name).source)) if isinstance(n, ast.FunctionDef) and n.name == "sample"
    )
    for block in (n.body for n in ast.walk(sample) if isinstance(n, (ast.For, ast.FunctionDef))):
        for before, after in zip(block, block[1:], strict=False):
            if isinstance(before, ast.Assign) and isinstance(after, ast.If) and ".sample()" in ast.unparse(before):
                replaced = {ast.unparse(t) for n in after.body if isinstance(n, ast.Assign) for t in n.targets}
                assert not replaced & {ast.unparse(t) for t in before.targets}, ast.unparse(after)


def test_a_given_site_takes_no_random_number():
    model, x = model_of("hmm"), batch_of("hmm")["x"]
    before = torch.random.get_rng_state()
    found = model.sample(len(x), {"z": torch.zeros_like(x), "x": x}, {"t": x.shape[1]})
    assert (found["z"] == 0).all() and (found["x"] == x).all()
    assert (torch.random.get_rng_state() == before).all()


def test_what_is_given_in_part_is_refused():
    """`z_observed` belongs to a batch: what is given to `sample` is given at all sites."""
    model, x = model_of("hmm"), batch_of("hmm")["x"]
    given = {"z": torch.zeros_like(x), "z_observed": torch.zeros_like(x, dtype=torch.bool)}
    with pytest.raises(BadBatch, match="z_observed"):
        model.sample(len(x), given, {"t": x.shape[1]})
