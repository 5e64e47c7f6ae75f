"""Networks that have another one's matrices: values, gradients from both sides, what is refused."""

import pytest
import torch

from lvspec.driver import compile_spec
from lvspec.load import load_module
from lvspec.runtime import MLP, Tied, frozen
from lvspec.verify import render, verify

AUTO = """
lvspec: 1
name: auto
sizes: {{P: 3, D: 2, H: 4}}
networks:
{networks}
latent:
  z: Normal(0, 1)[D]
observed:
  x: Bernoulli(logits=decoder(z))
guide:
  z: Normal(loc, softplus(scale)) where loc, scale = split(spread(encoder(x)))
"""
# words before the first one are the begin symbol, which is never predicted
WORDS = """
lvspec: 1
name: tied_words
sizes: {V: 5, E: 3}
plates: {t: sequence}
networks:
  output: Linear(E, V, tied=words, bias=%s)
  words: Embedding(V, E)
  writer: GRU(E, E)
let:
  h[t]: writer(words(x[<t]))
observed:
  x[t]: Categorical(logits=output(h[t]))
"""
SPECS = {
    "perceptron": AUTO.format(
        networks="  encoder: MLP(P, H, D, activation=tanh)\n  spread: Linear(D, 2*D)\n"
        "  decoder: MLP(D, H, P, tied=encoder, activation=tanh)"
    ),
    "linear": AUTO.format(
        networks="  decoder: Linear(D, P, tied=encoder, bias=false)\n  encoder: Linear(P, D)\n  spread: Linear(D, 2*D)"
    ),
    "words": WORDS % "true",
    "words_without_bias": WORDS % "false",
}


@pytest.mark.parametrize("name", SPECS)
def test_tied_network_agrees_with_the_oracle(name):
    one = compile_spec(SPECS[name])
    report = verify(one.spec, one.plan, one.Model, seed=1, draws=0)
    assert report.passed, render(report)
    assert "tied" not in " ".join(one.Model(**{s.name: s.value for s in one.spec.sizes}).state_dict())


def test_matrices_of_its_own_are_noticed():
    one = compile_spec(SPECS["perceptron"])
    apart = one.source.replace("Tied(self.encoder, D, H, P,", "Tied(MLP(P, H, D), D, H, P,")
    assert apart != one.source
    assert not verify(one.spec, one.plan, load_module(apart, one.spec, ()).Model, seed=1, draws=0).passed


def test_parameters_are_counted_once_and_follow_to_another_precision():
    encoder = MLP(3, 4, 2)
    both = torch.nn.ModuleDict({"encoder": encoder, "decoder": Tied(encoder, 2, 4, 3)}).to(torch.float64)
    assert sum(p.numel() for p in both.parameters()) == (3 * 4 + 4 + 4 * 2 + 2) + 4 + 3
    assert both["decoder"](torch.zeros(2, dtype=torch.float64)).dtype == torch.float64
    assert both["decoder"].matrices()[0].data_ptr() == encoder[2].weight.data_ptr()


def test_frozen_one_moves_its_input_alone():
    encoder = MLP(3, 4, 2)
    decoder, z = Tied(encoder, 2, 4, 3), torch.randn(5, 2, requires_grad=True)
    value = frozen(decoder)(z)
    assert torch.equal(value, decoder(z))
    found = torch.autograd.grad(value.sum(), [z, *encoder.parameters(), *decoder.parameters()], allow_unused=True)
    assert found[0].abs().sum() > 0
    assert all(g is None for g in found[1:])
