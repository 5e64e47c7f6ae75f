"""`detach(f)(x)`: a network whose parameters stand still there; gradients pass through it to what it reads."""

import copy

import pytest
import torch

from lvspec.driver import compile_spec
from lvspec.errors import SpecError
from lvspec.load import load_module
from lvspec.verify.checks.compare import verify

TEXT = """
lvspec: 1
name: judged
sizes: {V: 4, D: 2, H: 3, K: 2}
plates: {t: sequence}
params: {prior: [K]}
networks:
  words: Embedding(V, H)
  writer: GRU(H + D, H)
  output: Linear(H, V)
  judge: Linear(H, K)
  expert[K]: Linear(H, V)
  encoder: MLP(H, H, 2*D)
  small: MLP(D, H, V)
  back: Linear(H, V, tied=words)
latent:
  y: Categorical(logits=prior)
  z: Normal(0, 1)[D]
let:
  h[t]: writer(concat(words(x[<t]), z))
observed:
  x[t]: Categorical(logits=output(h[t]) + detach(expert[y])(h[t]) + back(h[t]))
guide:
  y: Categorical(logits=judge(mean(words(x))))
  z: Normal(loc, softplus(scale)) where loc, scale = split(encoder(mean(detach(words)(x))))
objective:
  fool[t]: 0.3 * log_prob(x[t], Categorical(logits=detach(output)(h[t])))
  states[t]: -0.1 * sum(square(detach(writer)(concat(detach(words)(x[<t]), z))))
  bag[t]: 0.2 * log_prob(x[t], Categorical(logits=detach(small)(z)))
  mixture[t]: 0.2 * log_prob(x[t], Categorical(logits=detach(expert)[y](tanh(h[t]))))
  tied[t]: 0.2 * log_prob(x[t], Categorical(logits=detach(back)(h[t])))
"""
GAUSSIAN = """
lvspec: 1
name: factors
sizes: {D: 2, P: 3}
networks:
  load: Linear(D, P)
latent:
  z: Normal(0, 1)[D]
observed:
  x: Normal(detach(load)(z), 1)
  y: Normal(load(z), 2)
"""
WRITER = """
lvspec: 1
name: written
sizes: {V: 4, H: 3}
plates: {t: sequence, m: 2}
given:
  u[m]: real[H]
networks:
  words: Embedding(V, H)
  writer: LSTM(H, H)
  output: Linear(H, V)
  joint: MLP(2*H, H, V)
let:
  h[t]: detach(writer)(detach(words)(x[<t]))
observed:
  x[t]: Categorical(logits=output(h[t]) + sum(detach(joint)(concat(h[t], u[m])) over m))
"""
SPECS = {"judged": TEXT, "factors": GAUSSIAN, "written": WRITER}


@pytest.mark.parametrize("name", SPECS)
def test_values_and_gradients_are_those_of_the_definition(name):
    compiled = compile_spec(SPECS[name])
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=4, draws=1000 if name == "written" else 0)
    assert report.passed, report


@pytest.mark.parametrize("name", SPECS)
def test_a_network_that_moves_all_the_same_disagrees(name):
    compiled = compile_spec(SPECS[name])
    source = compiled.source.replace("= frozen(self.", "= (self.")
    assert source != compiled.source
    report = verify(compiled.spec, compiled.plan, load_module(source, compiled.spec, ()).Model, seed=4, draws=0)
    assert {c.name for c in report.checks if not c.passed} >= {"gradient of the loss"}


def test_nothing_else_reads_it_and_it_does_not_move():
    model = compile_spec(TEXT).Model()
    model({"x": torch.randint(4, (3, 5))}).loss.backward()
    for still in (model.small, model.expert):
        assert all(p.grad is None for p in still.parameters())
    for moving in (model.output, model.writer, model.words, model.encoder, model.back):
        assert all(p.grad is not None for p in moving.parameters())


def test_parameters_have_one_name_and_copies_their_own():
    model = compile_spec(TEXT).Model()
    assert not [n for n in model.state_dict() if "detached" in n]
    other = copy.deepcopy(model)
    assert other.output_detached.module is other.output is not model.output


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("detach(output, words)(h[t])", "only networks and functions can be applied"),
        ("detach(outputs)(h[t])", "only networks and functions can be applied"),
        ("detach(output)", "is a network"),
        ("detach(output)(h[t], h[t])", "takes 1 argument, not 2"),
    ],
)
def test_what_is_no_network_is_refused(wrong, message):
    with pytest.raises(SpecError) as caught:
        compile_spec(TEXT.replace("detach(output)(h[t])", wrong))
    assert message in str(caught.value.diagnostics)


def test_names_that_are_taken_are_left_alone():
    text = TEXT.replace("  small: MLP(D, H, V)", "  small: MLP(D, H, V)\n  output_detached: Linear(H, V)").replace(
        "+ back(h[t]))", "+ back(h[t]) + output_detached(h[t]))"
    )
    compiled = compile_spec(text)
    assert verify(compiled.spec, compiled.plan, compiled.Model, seed=4, draws=0).passed
