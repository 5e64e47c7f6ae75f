"""How values are reached: what stands before the first site and beyond the last one, whole sequences, plates of which the
batch says no more than lengths, values that no example changes.

Where a value is computed here it is in NumPy, site by site; every model of the table is held against the oracle as well.
"""

import numpy as np
import pytest
import torch

from lvspec.driver import compile_spec
from lvspec.verify import render, verify

F = torch.float64


def model_of(text):
    """The emitted module in float64 with random parameters, and their values as arrays."""
    model = compile_spec("lvspec: 1\n" + text).Model().to(F)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=F))
    return model, {n: p.detach().numpy() for n, p in model.named_parameters()}


def lsm(x):
    return x - np.max(x) - np.log(np.exp(x - np.max(x)).sum())


def test_onehot_of_the_begin_symbol_is_zeros():
    text = """
name: small_writer
sizes: {V: 3, H: 2}
plates: {t: sequence}
networks: {writer: "RNN(V, H)", out: "Linear(H, V)"}
observed:
  x[t]: Categorical(logits=out(writer(onehot(x[<t]))))
"""
    model, p = model_of(text)
    x = torch.tensor([[0, 1, 2], [2, 0, 1]])
    expected = []
    for row in x.tolist():
        h, v, total = np.zeros(2), np.zeros(3), 0.0
        for symbol in row:
            inner = p["writer.weight_ih_l0"] @ v + p["writer.bias_ih_l0"]
            h = np.tanh(inner + p["writer.weight_hh_l0"] @ h + p["writer.bias_hh_l0"])
            total += lsm(p["out.weight"] @ h + p["out.bias"])[symbol]
            v = np.eye(3)[symbol]
        expected.append(total)
    np.testing.assert_allclose(model.log_prob({"x": x}).detach(), expected, rtol=1e-12)


def test_softmax_of_a_whole_sequence_normalises_each_site():
    text = """
name: soft
sizes: {E: 3}
plates: {t: sequence}
given:
  s[t]: real[E]
networks:
  read: Linear(E, E)
observed:
  x[t]: Categorical(logits=read(softmax(s))[t])
"""
    model, p = model_of(text)
    s, x, t = torch.randn(2, 3, 3, dtype=F), torch.tensor([[0, 1, 2], [2, 2, 0]]), torch.tensor([3, 2])
    expected = [
        sum(lsm(p["read.weight"] @ np.exp(lsm(s[n, i].numpy())) + p["read.bias"])[x[n, i]] for i in range(t[n]))
        for n in range(2)
    ]
    np.testing.assert_allclose(model.log_prob({"s": s, "x": x, "t": t}).detach(), expected, rtol=1e-12)


def test_beyond_the_last_site_of_each_example_stands_the_begin_symbol():
    text = """
name: ahead
sizes: {V: 3}
plates: {t: sequence}
given:
  g[t]: token(V)
networks:
  next: Embedding(V, 1)
observed:
  x[t]: Normal(next(g[t+1])[0], 1)
"""
    model, p = model_of(text)
    g, x, t = torch.tensor([[0, 1, 2], [2, 1, 0]]), torch.randn(2, 3, dtype=F), torch.tensor([3, 2])
    rows = p["next.weight"][:, 0]  # the last one is the begin symbol's
    locs = [[rows[1], rows[2], rows[3]], [rows[1], rows[3]]]
    expected = [
        sum(-0.5 * (x[n, i].item() - m) ** 2 - 0.5 * np.log(2 * np.pi) for i, m in enumerate(locs[n])) for n in range(2)
    ]
    np.testing.assert_allclose(model.log_prob({"g": g, "x": x, "t": t}).detach(), expected, rtol=1e-12)


ALONE = """
name: sums
sizes: {A: 3}
plates: {i: sequence}
params: {w: [A], l: [A]}
latent:
  z[i]: Categorical(logits=w)
observed:
  y: Normal(mean(l[z[i]] over i), 1)
"""


def test_the_lengths_say_how_many_sites_a_plate_has_on_which_nothing_is_observed():
    model, _ = model_of(ALONE)
    y = torch.tensor([0.5, -1.0], dtype=F)
    assert model({"y": y, "i": torch.tensor([3, 2])}).elbo.isfinite().all()
    with pytest.raises(ValueError, match="says how many sites plate `i` has: give its lengths under the key `i`"):
        model({"y": y})


HEAD = """
sizes: {V: 3, H: 2, K: 2, A: 2}
plates: {%s}
params: {a: [], u: [H], w: [A], l: [A], begin: [K], link: [K, K], say: [K, V], q: [V, K], b: [], slope: []}
networks:
  words: Embedding(V, H)
  ones: Linear(V, H)
  deep: MLP(V, H, H)
  reader: GRU(H, H)
  both: BiLSTM(H, A)
  mix: Linear(H, H)
  out: Linear(H, V)
"""
TABLE = {
    "prefixes": (
        "t: sequence",
        """
let:
  e[t]: words(x[t])
  k[t]: u
observed:
  x[t]: Categorical(logits=out(reader(ones(onehot(x[<t])) + deep(onehot(x[<t])) + e[<t] + k[<t]) + reader(softmax(e[<t]))))
""",
    ),
    "later_sites_in_a_guide": (
        "t: sequence",
        """
latent:
  y[t]: Normal(0, 1)[H]
  z[t]: Normal(0, 1)[H]
observed:
  x[t]: Categorical(logits=out(z[t] + y[t]))
guide:
  h[t]: words(x[t]) + 1
  y[t]: Normal(reader(words(x[>t])) + ones(onehot(x[t+2])), 1)
  z[t]: Normal(h[t+1] + reader(exp(h[>t])) + 0.1 * y[t+1], 1)
""",
    ),
    "later_sites_of_two_plates": (
        "d: sequence, t: sequence",
        """
latent:
  z[d, t]: Normal(0, 1)[H]
observed:
  x[d, t]: Categorical(logits=out(z[d, t]))
guide:
  z[d, t]: Normal(reader(words(x[>d, t])) + words(x[d, t+1]) + words(x[d+1, t+1]), 1)
""",
    ),
    "later_sites_of_a_nested_plate": (
        "s: sequence, r: sequence(within=s)",
        """
latent:
  z[s, r]: Normal(0, 1)[H]
observed:
  x[s, r]: Categorical(logits=out(z[s, r]))
guide:
  z[s, r]: Normal(reader(words(x[s, >r])) + words(x[s, r+1]), 1)
""",
    ),
    "what_no_example_changes": (
        "i: sequence, j: copy(i)",
        """
let:
  n[i]: a * i
  v[i]: u * i
observed:
  y1: Normal(last(n) + first(v) + mean(n), 1)
  y2: Normal(max(n) + min(n) + prod(1 + n) + sum(softmax(n[i] over i) * n[i] over i), 1)
  y3: Normal(last(reader(v)) + last(both(v))[0] + mean(mix(v)), 1)
  y4: Normal(sum(dot(v[i], u) over i) + sum(sum(exp(-square(n[i] - n[j])) over j) over i), 1)
""",
    ),
    "a_latent_alone": ("i: sequence", "latent:" + ALONE.partition("latent:")[2]),
    "a_latent_alone_on_a_nested_plate": (
        "s: sequence, r: sequence(within=s)",
        """
latent:
  z[s, r]: Categorical(logits=w2)
let:
  w2: w
observed:
  y[s]: Normal(mean(l[z[s, r]] over r), 1)
""",
    ),
    "sums_over_the_sites_of_nothing": (
        "i: bag",
        """
given:
  g[i]: real
observed:
  y: Normal(prod(g[i] over i) + max(g[i] over i) + sum(g[i] over i), 1)
""",
    ),
    "first_clauses_of_a_factor_that_reads_data": (
        "t: sequence",
        """
latent:
  c[t]: Categorical(logits=begin)
  z[t]: Normal(0, 1)
observed:
  x[t]: Categorical(logits=say[c[t]])
  y[t]: Normal(tanh(z[t]), 1)
guide:
  c[0]: Categorical(logits=begin)
  c[t]: Categorical(logits=q[x[t-1]] + q[x[t]])
  z[0]: Normal(b, 1)
  z[t]: Normal(slope * y[t-1], 1)
""",
    ),
    "a_factor_that_reads_a_latent_summed_under_its_own": (
        "t: sequence",
        """
latent:
  y[t]: Categorical(logits=begin)
  c[t]: Categorical(logits=link[y[t]])
observed:
  x[t]: Categorical(logits=say[c[t]])
guide:
  c[t]: Categorical(logits=q[x[t]])
  y[t]: Categorical(logits=link[c[t]])
infer: {y: reinforce}
""",
    ),
    "own_distribution_that_reads_a_summed_latent": (
        "t: sequence",
        """
latent:
  code: Categorical(logits=begin)
  fake[0]: Categorical(logits=say[code])
  fake[t]: Categorical(logits=out(words(fake[t-1])) + say[code])
observed:
  x[t]: Categorical(logits=say[0])
objective:
  obeyed: log_prob(code, Categorical(logits=last(reader(words(fake)))[0] * begin))
""",
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_models_agree_with_brute_force(name):
    plates, story = TABLE[name]
    compiled = compile_spec(f"lvspec: 1\nname: {name}{HEAD % plates}{story}")
    report = verify(compiled.spec, compiled.plan, compiled.Model, draws=2000)
    assert report.passed, render(report)
