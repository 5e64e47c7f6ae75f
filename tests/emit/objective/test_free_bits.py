"""Free bits: what of a KL costs nothing has no gradient, and the ELBO does not know of it."""

import pytest
import torch

from lvspec.driver import compile_spec
from lvspec.errors import SpecError
from lvspec.runtime import free_bits
from lvspec.verify.checks.compare import verify

TWO = """
lvspec: 1
name: two
sizes: {P: 3, D: 2, K: 2, H: 4}
params: {mu: [K, D], prior: [K]}
networks:
  encoder: MLP(P, H, 2*D)
  cluster: Linear(P, K)
  decoder: MLP(D, H, P)
latent:
  c: Categorical(logits=prior)
  z: Normal(mu[c], 0.7)
observed:
  x: Bernoulli(logits=decoder(z))
guide:
  c: Categorical(logits=cluster(x))
  z: Normal(loc, softplus(scale)) where loc, scale = split(encoder(x))
train:
  kl_weight: linear(0, 1, steps=10)
"""


@pytest.mark.parametrize("free", ["dimension(0.3)", "dimension(0.05)", "node(0.9)", "node(0.01)"])
def test_loss_and_gradient_are_those_of_the_definition(free):
    compiled = compile_spec(f"{TWO}  free_bits:\n    z: {free}\n")
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=2, draws=0)
    assert report.passed, report


def test_units_below_have_no_gradient():
    kl = torch.tensor([[0.1, 2.0], [0.3, 1.0]], requires_grad=True)
    total = free_bits(kl, 0.5)
    torch.testing.assert_close(total, torch.tensor(0.5 + 1.5))
    (grad,) = torch.autograd.grad(total, kl)
    torch.testing.assert_close(grad, torch.tensor([[0.0, 0.5], [0.0, 0.5]]))
    weighted = free_bits(kl.detach(), 0.1, torch.tensor([1.0, 3.0]))
    torch.testing.assert_close(weighted, torch.tensor(0.25 + 1.25))


@pytest.mark.parametrize(
    ("text", "why", "mend"),
    [
        (TWO + "  free_bits:\n    c: node(0.1)\n", "value by value", "leave them out, or weigh the KL"),
        *(
            (
                TWO.replace("train:\n", f"infer:\n  c: {strategy}\ntrain:\n  free_bits: node(1)\n"),
                "score term counts it",
                "`c: enumeration` under `infer:`",
            )
            for strategy in ("reinforce", "sum_and_sample", "relax")
        ),
        (
            TWO.replace("  c: Categorical(logits=cluster(x))\n", "") + "  free_bits: node(1)\n",
            "that of a draw, which may be negative: its parent c is summed out",
            "give `c` a factor under `guide:`",
        ),
    ],
)
def test_refused_with_the_reason_and_what_would_do(text, why, mend):
    with pytest.raises(SpecError) as caught:
        compile_spec(text)
    assert why in str(caught.value.diagnostics) and mend in caught.value.diagnostics[0].help
