"""Deterministic codes: a flat prior, one value by a network; what cannot be told of them is refused with the reason."""

import pytest
import torch

from lvspec.driver import compile_spec
from lvspec.errors import SpecError
from tests import SPECS

AUTOENCODER = (SPECS / "autoencoder.yaml").read_text(encoding="utf-8")
SIZES = {"P": 6, "D": 2, "H": 4}


def test_objective_is_the_reconstruction_alone():
    one = compile_spec(AUTOENCODER, sizes=SIZES)
    torch.manual_seed(0)
    model = one.Model(**SIZES)
    x = torch.randint(2, (5, 6))
    found = model({"x": x})
    log_p = torch.distributions.Bernoulli(logits=model.decoder(model.encoder(x.float()))).log_prob(x.float())
    assert torch.allclose(found.log_joint, log_p.sum(-1), atol=1e-6)
    assert torch.equal(model.posterior({"x": x})["z"].mode, model.encoder(x.float()))
    assert not hasattr(model, "log_prob")


def test_nothing_is_drawn_but_what_is_given_is_decoded():
    model = compile_spec(AUTOENCODER, sizes=SIZES).Model(**SIZES)
    with pytest.raises(ValueError, match="z is a code with no distribution of its own"):
        model.sample(3)
    z = torch.randn(3, 2)
    found = model.sample(3, given={"z": z})
    assert torch.equal(found["z"], z)
    assert found["x"].shape == (3, 6)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("  z: Delta(encoder(x))", "  z: Normal(encoder(x), 1)", "write `z: Delta(...)` in `guide:`"),
        ("  z: ImproperUniform(D)", "  z: Normal(0, 1)[D]\n  y: ImproperUniform(D)", "y: Delta(...)"),
        ("  x: Bernoulli(logits=decoder(z))", "  x: ImproperUniform(P)", "a value of x alone can be told"),
        ("  z: Delta(encoder(x))", "  z: ImproperUniform(D)", "has no total mass"),
    ],
)
def test_what_has_no_mass_is_neither_drawn_nor_observed(old, new, reason):
    with pytest.raises(SpecError) as error:
        compile_spec(AUTOENCODER.replace(old, new))
    assert reason in str(error.value)
