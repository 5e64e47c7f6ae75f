"""A batch that gives a latent throughout: the objective that sums over its values, without the sum."""

import torch

from lvspec.driver import compile_spec
from tests import SPECS
from tests.emit.lowering.largest import largest_of_a_step

SIZES = {"K": 5, "P": 6, "D": 2, "H": 4}


def labelled_batch(rows=7):
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(2, (rows, SIZES["P"]), generator=generator)
    return {"x": x, "y": torch.randint(SIZES["K"], (rows,), generator=generator)}


def model_of_labels():
    torch.manual_seed(1)
    return compile_spec(SPECS / "semi_supervised_vae.yaml", sizes=SIZES).Model(**SIZES).double()


def test_it_is_the_same_objective_with_the_same_gradient():
    model, batch = model_of_labels(), labelled_batch()
    noise = torch.randn(1, 7, SIZES["D"], dtype=torch.float64)
    every = noise[:, :, None].expand(1, 7, SIZES["K"], SIZES["D"])  # the same for each value
    summed = model(batch, draws={"z": every})
    gradients = torch.autograd.grad(summed.loss, list(model.parameters()))
    known = model.forward_at_labels(model.prepare(batch), draws={"z": noise})
    for name in ("loss", "elbo", "reconstruction"):
        torch.testing.assert_close(getattr(known, name), getattr(summed, name))
    assert known.kl.keys() == summed.kl.keys() and known.extras.keys() == summed.extras.keys()
    for name, value in (summed.kl | summed.extras).items():
        torch.testing.assert_close((known.kl | known.extras)[name], value)
    found = torch.autograd.grad(known.loss, list(model.parameters()))
    for a, b in zip(found, gradients, strict=True):
        torch.testing.assert_close(a, b)


def test_nothing_has_an_axis_of_values_where_all_labels_are_there():
    model, batch = model_of_labels(), labelled_batch(rows=200)
    everywhere = largest_of_a_step(model, batch)
    some = batch | {"y_observed": torch.arange(200) > 0}
    assert everywhere <= 200 * (SIZES["P"] + SIZES["K"]) < largest_of_a_step(model, some)


def test_a_label_that_is_missing_is_summed():
    model, batch = model_of_labels(), labelled_batch()
    observed = torch.ones(7, dtype=torch.bool)
    observed[3] = False
    noise = torch.randn(1, 7, SIZES["K"], SIZES["D"], dtype=torch.float64)
    some = model(batch | {"y_observed": observed}, draws={"z": noise})
    torch.manual_seed(5)
    first = model(batch | {"y_observed": observed})
    torch.manual_seed(5)
    again = model({"x": batch["x"], "y": batch["y"].where(observed, 0), "y_observed": observed})
    torch.testing.assert_close(first.elbo, again.elbo)
    assert some.kl["y"][3] != some.kl["y"][2]
