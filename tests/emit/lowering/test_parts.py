"""Networks of vectors side by side that vary over unlike plates: what is emitted, what it costs, and that it is right."""

import pytest

from lvspec.driver import compile_spec
from lvspec.verify.checks.compare import verify

ATTENTION = """
lvspec: 1
name: additive_attention
sizes: {U: 5, V: 5, E: 3, H: 2}
plates: {m: sequence, t: sequence}
given:
  s[m]: token(U)
networks:
  source: Embedding(U, E)
  target: Embedding(V, E)
  writer: LSTM(E, H)
  score: MLP(H + E, 4, 1, activation=tanh)
  output: Linear(H + E, V)
let:
  memory[m]: source(s[m])
  h[t]: writer(target(x[<t]))
latent:
  a[t]: Categorical(logits=score(concat(h[t], memory[m]))[0] over m)
observed:
  x[t]: Categorical(logits=output(concat(h[t], memory[a[t]])))
"""
DRAWN = """
lvspec: 1
name: mixed_decoder
sizes: {V: 4, D: 2, E: 3, K: 2}
plates: {t: sequence}
params: {pi: [K], mean: [E]}
networks:
  words: Embedding(K, E)
  output: Linear(D + E, V)
  middle: MLP(D + E, 3, V)
latent:
  z: Normal(0, 1)[D]
  c[t]: Categorical(logits=pi)
observed:
  x[t]: Categorical(logits=LOGITS)
guide:
  z: Normal(mean_of, 1)
"""


def test_attention_over_pairs_is_right_and_no_pair_is_concatenated():
    compiled = compile_spec(ATTENTION)
    summed = compiled.source.split("def log_marginal")[1].split("def sample")[0]
    assert "of_parts(self.score, h" in summed and "categorical_pairs(" in summed and "concat(" not in summed
    report = verify(compiled.spec, compiled.plan, compiled.Model)
    assert report.passed, report


@pytest.mark.parametrize("logits", ["output(concat(z, words(c[t])))", "middle(concat(z, words(c[t])))"])
def test_a_draw_beside_a_summed_state_is_right(logits):
    spec = DRAWN.replace("LOGITS", logits).replace("mean_of", "mean_z").replace("mean: [E]", "mean_z: [D]")
    compiled = compile_spec(spec)
    assert ("categorical_pairs(" if logits.startswith("output") else "of_parts(") in compiled.source
    report = verify(compiled.spec, compiled.plan, compiled.Model)
    assert report.passed, report


@pytest.mark.parametrize(
    "score",
    [
        "score(concat(memory[m], 2 * memory[m]))[0]",  # of one plate
        "tied(concat(h[t], memory[m]))[0]",  # its matrices are another's
    ],
)
def test_what_saves_nothing_and_what_has_no_layer_of_its_own_stays_as_it_is(score):
    spec = ATTENTION.replace("score(concat(h[t], memory[m]))[0]", score).replace("H: 2", "H: 3").replace("H + E", "2*E")
    spec = spec.replace("LSTM(E, H)", "LSTM(E, E)")
    spec = spec.replace(
        "  output: Linear", "  back: Linear(4, 2*E)\n  tied: Linear(2*E, 4, tied=back)\n  output: Linear"
    )
    assert "of_parts(" not in compile_spec(spec).source


def test_the_price_is_that_of_each_part():
    """At 32 sites of each plate: the logits of pairs cost what they are many, not times what is read."""
    sizes = {"E": 256, "H": 256, "U": 10_000, "V": 10_000}
    apart = compile_spec(ATTENTION, sizes=sizes).plan.latent("a").cost
    together = ATTENTION.replace("output(concat(h[t], memory[a[t]]))", "output(h[t] + memory[a[t]])")
    together = together.replace("output: Linear(H + E, V)", "output: Linear(E, V)").replace("LSTM(E, H)", "LSTM(E, E)")
    together = together.replace("MLP(H + E", "MLP(2*E")
    assert apart.flops < 0.1 * compile_spec(together, sizes=sizes).plan.latent("a").cost.flops
