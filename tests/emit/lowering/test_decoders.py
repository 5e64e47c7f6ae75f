"""Decoders that are no plain recurrent network, against brute force: dilated convolutions, attention, pointers."""

import pytest

from lvspec.driver import compile_spec
from lvspec.verify.checks.compare import verify

CONVOLUTION = """
lvspec: 1
name: convolution
sizes: {V: 4, E: 2, H: 3, D: 1}
plates: {t: sequence(end=EOS)}
networks:
  words: Embedding(V, E)
  reader: DilatedConvolution(E, H, layers=2, kernel=2)
  later: DilatedConvolution(E, H, layers=1)
  encoder: Linear(2*H, 2*D)
  writer: DilatedConvolution(E + D, H, layers=2, kernel=2)
  output: Linear(H, V)
latent:
  z: Normal(0, 1)[D]
let:
  h[t]: writer(concat(words(x[<t]), z))
observed:
  x[t]: Categorical(logits=output(h[t]))
guide:
  ahead[t]: later(words(x[>=t]))
  z: >-
    Normal(loc, softplus(scale)) where loc, scale =
    split(encoder(concat(last(reader(words(x))), mean(ahead[t] over t))))
"""

BANK = """
lvspec: 1
name: convolutions
sizes: {V: 3, K: 2, E: 2}
plates: {t: sequence}
params: {mu: [K]}
networks:
  words: Embedding(V, E)
  writer[K]: DilatedConvolution(E, E, layers=1, kernel=2)
  output: Linear(E, V)
latent:
  c: Categorical(logits=mu)
let:
  h[t]: writer[c](words(x[<t]))
observed:
  x[t]: Categorical(logits=output(h[t]))
"""

BLOCKS = """
lvspec: 1
name: blocks
sizes: {V: 4, E: 2, H: 3, K: 2, D: 1}
plates: {t: sequence(end=EOS)}
params: {mu: [K]}
networks:
  words: Embedding(V, E)
  writer: Convolution(E + D, H, kernel=2, dilation=2)
  again: Convolution(H, H)
  later: Convolution(E, H, kernel=2)
  block: Residual(H, 2*H, H, activation=tanh)
  lin: Residual(H)
  kinds[K]: Residual(H, 2)
  encoder: Linear(H, 2*D)
  output: Linear(H, V)
latent:
  z: Normal(0, 1)[D]
  c: Categorical(logits=mu)
let:
  g[t]: tanh(writer(concat(words(x[<t]), z)))
  h[t]: again(g[<=t])
observed:
  x[t]: Categorical(logits=output(kinds[c](lin(block(h[t])))))
guide:
  ahead[t]: later(words(x[>=t]))
  z: Normal(loc, softplus(scale)) where loc, scale = split(encoder(mean(ahead[t] over t)))
"""

IMAGES = """
lvspec: 1
name: images
sizes: {R: 2, C: 1, D: 1, K: 2}
networks:
  down: Convolution2d(1, K, R, C, stride=2)
  same: Convolution2d(K, 2, R, C, kernel=1)
  head: Linear(2*R*C, 2*D)
  seed: Linear(D, 2*R*C)
  up: TransposedConvolution2d(2, 1, R, C, kernel=4, stride=2)
latent:
  z: Normal(0, 1)[D]
observed:
  x: Bernoulli(logits=flatten(up(reshape(seed(z), 2, R, C))))
guide:
  h: flatten(tanh(same(tanh(down(reshape(x, 1, 2*R, 2*C))))))
  z: Normal(loc, softplus(scale)) where loc, scale = split(head(h))
"""

# Vinyals, Fortunato & Jaitly 2015: what was pointed at is read, and the next position is pointed at
POINTER = """
lvspec: 1
name: pointer
sizes: {V: 3, E: 2, H: 2}
plates: {m: sequence, t: sequence}
given:
  s[m]: token(V)
networks:
  words: Embedding(V, E)
  reader: BiLSTM(E, H)
  writer: LSTM(2*H, 2*H)
let:
  memory[m]: reader(words(s))
  read[t]: memory[a[t]]
  h[t]: writer(read[<t])
observed:
  a[t]: Categorical(logits=dot(h[t], memory[m]) over m)
"""

# the context that was read goes into the next state (Bahdanau et al. 2015): attention before the recurrence
ATTENTION = """
lvspec: 1
name: attention
sizes: {V: 3, E: 2, H: 2}
plates: {m: sequence, t: sequence(end=EOS)}
given:
  s[m]: token(V)
networks:
  source: Embedding(V, E)
  reader: LSTM(E, H)
  target: Embedding(V, E)
  ask: LSTM(E, H)
  writer: LSTM(H + E, H)
  output: Linear(H, V)
let:
  memory[m]: reader(source(s))
  question[t]: ask(target(x[<=t]))
  read[t]: sum(softmax(dot(question[t], memory[m]) over m) * memory[m] over m)
  seen[t]: concat(read[t], target(x[t]))
  h[t]: writer(seen[<t])
observed:
  x[t]: Categorical(logits=output(h[t]))
"""


@pytest.mark.parametrize(
    "text",
    [CONVOLUTION, BANK, BLOCKS, IMAGES, POINTER, ATTENTION],
    ids=["convolution", "bank", "blocks", "images", "pointer", "attention"],
)
def test_values_and_gradients_are_those_of_brute_force(text):
    c = compile_spec(text)
    report = verify(c.spec, c.plan, c.Model, seed=4, draws=0)
    assert report.passed, report.failures
