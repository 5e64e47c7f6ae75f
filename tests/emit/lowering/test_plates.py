"""Several plates: two ordered ones, nested ones, fixed ones in any place; first sites, and whole variables of several plates.

A lag belongs to the plate that it names. Where a value is computed here it is by brute force over all joint states, site by
site; every model of the table is held against the oracle as well, draws included.
"""

from itertools import product

import numpy as np
import pytest
import torch

from lvspec.driver import compile_spec
from lvspec.errors import SpecError
from lvspec.verify import render, verify

F = torch.float64


def model_of(text, seed=0, **sizes):
    """The emitted module in float64 with random parameters, and their values as arrays."""
    model = compile_spec("lvspec: 1\n" + text).Model(**sizes).to(F)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=F))
    return model, {n: p.detach().numpy() for n, p in model.named_parameters()}


def lsm(x):
    x = np.asarray(x) - np.max(x, -1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def lse(values):
    values = np.array(list(values))
    return values.max() + np.log(np.exp(values - values.max()).sum())


PARAGRAPHS = """
name: paragraphs
sizes: {K: 2, V: 3}
plates: {s: sequence, w: sequence(within=s)}
params: {begin: [K], link: [K, K], say: [K, V]}
latent:
  tag[s, 0]: Categorical(logits=begin)
  tag[s, w]: Categorical(logits=link[tag[s, w-1]])
observed:
  word[s, w]: Categorical(logits=say[tag[s, w]])
"""
WORDS = torch.tensor([[[0, 1, 2, 1], [2, 2, 0, 0], [1, 0, 0, 0]], [[1, 1, 2, 0], [0, 0, 0, 0], [0, 0, 0, 0]]])
SENTENCES, LENGTHS = torch.tensor([3, 2]), torch.tensor([[4, 2, 1], [3, 1, 0]])


def chain(words, begin, link, say):
    """log Σ_z p(z_1) Π p(z_t | z_{t-1}) Π p(x_t | z_t), over every joint state."""
    states = product(range(len(begin)), repeat=len(words))
    return lse(
        begin[z[0]]
        + sum(link[a, b] for a, b in zip(z, z[1:], strict=False))
        + sum(say[k, v] for k, v in zip(z, words, strict=True))
        for z in states
    )


def test_each_sentence_of_a_nested_sequence_is_a_chain_of_its_own():
    model, p = model_of(PARAGRAPHS)
    tables = [lsm(p[n]) for n in ("begin", "link", "say")]
    expected = [
        sum(chain(WORDS[n, s, :w].tolist(), *tables) for s, w in enumerate(LENGTHS[n, : SENTENCES[n]]) if w)
        for n in range(2)
    ]
    found = model.log_prob({"word": WORDS, "s": SENTENCES, "w": LENGTHS})
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-12)


def test_marginals_of_nested_chains():
    model, p = model_of(PARAGRAPHS)
    begin, link, say = (lsm(p[n]) for n in ("begin", "link", "say"))
    found = model.posterior({"word": WORDS, "s": SENTENCES, "w": LENGTHS})["tag"].marginals
    words = WORDS[0, 0].tolist()
    scores = {
        z: begin[z[0]]
        + sum(link[a, b] for a, b in zip(z, z[1:], strict=False))
        + sum(say[k, v] for k, v in zip(z, words, strict=True))
        for z in product(range(2), repeat=4)
    }
    total = lse(scores.values())
    for site in range(4):
        expected = [np.exp(lse(s for z, s in scores.items() if z[site] == k) - total) for k in range(2)]
        np.testing.assert_allclose(found[0, 0, site].detach(), expected, rtol=1e-10)


def test_draws_count_along_the_inner_sequence():
    text = """
name: counters
sizes: {V: 4}
plates: {s: sequence, w: sequence(within=s)}
params: {begin: [V], follow: [V, V]}
observed:
  digit[s, 0]: Categorical(logits=begin)
  digit[s, w]: Categorical(logits=follow[digit[s, w-1]])
"""
    model, _ = model_of(text)
    with torch.no_grad():
        model.begin.copy_(40 * torch.eye(4)[0])
        model.follow.copy_(40 * torch.eye(4).roll(1, 1))
    drawn = model.sample(2, lengths={"s": 3, "w": 5})
    assert drawn["digit"].tolist() == [[[0, 1, 2, 3, 0]] * 3] * 2
    assert drawn["w"].tolist() == [[5, 5, 5]] * 2
    ragged = model.sample(2, lengths={"s": torch.tensor([2, 1]), "w": torch.tensor([[3, 1], [2, 0]])})
    assert ragged["digit"].shape == (2, 2, 3)
    assert ragged["digit"][0, 0].tolist() == [0, 1, 2]


def test_first_clauses_of_a_chain_without_latents():
    text = """
name: markov
sizes: {V: 3}
plates: {t: sequence}
params: {begin: [V], follow: [V, V], a: [], s: []}
observed:
  x[0]: Categorical(logits=begin)
  x[t]: Categorical(logits=follow[x[t-1]])
  y[0]: Normal(1, 2)
  y[t]: Normal(a * y[t-1], 0.5)
"""
    model, p = model_of(text)
    x, y, t = torch.tensor([[2, 0, 1], [1, 0, 0]]), torch.randn(2, 3, dtype=F), torch.tensor([3, 1])
    begin, follow = lsm(p["begin"]), lsm(p["follow"])

    def normal(v, loc, scale):
        return -0.5 * ((v - loc) / scale) ** 2 - np.log(scale) - 0.5 * np.log(2 * np.pi)

    expected = []
    for n in range(2):
        v = y[n].tolist()
        total = begin[x[n, 0]] + normal(v[0], 1, 2)
        total += sum(follow[x[n, i - 1], x[n, i]] + normal(v[i], p["a"] * v[i - 1], 0.5) for i in range(1, t[n]))
        expected.append(total)
    np.testing.assert_allclose(model.log_prob({"x": x, "y": y, "t": t}).detach(), expected, rtol=1e-12)


def test_first_site_that_reads_another_latent():
    text = """
name: chain_mixture
sizes: {C: 2, K: 3, V: 3}
plates: {t: sequence}
params: {weights: [C], start: [C, K], transition: [C, K, K], emission: [K, V]}
latent:
  c: Categorical(logits=weights)
  z[0]: Categorical(logits=start[c])
  z[t]: Categorical(logits=transition[c, z[t-1]])
observed:
  x[t]: Categorical(logits=emission[z[t]])
"""
    model, p = model_of(text)
    weights, start, transition, emission = (lsm(p[n]) for n in ("weights", "start", "transition", "emission"))
    x, t = torch.tensor([[0, 1, 2, 1], [2, 2, 0, 0], [1, 0, 0, 0]]), torch.tensor([4, 2, 1])
    expected = [
        lse(weights[c] + chain(x[n, : t[n]].tolist(), start[c], transition[c], emission) for c in range(2))
        for n in range(3)
    ]
    np.testing.assert_allclose(model.log_prob({"x": x, "t": t}).detach(), expected, rtol=1e-12)


def test_a_variable_of_two_plates_has_the_first_one_as_its_first_axis():
    text = """
name: bilinear
sizes: {I: 2, J: 3}
plates: {i: I, j: J}
params: {a: [I], c: [I, J], v: [J], A: [I, J]}
given:
  G[i, j]: real
let:
  W[i, j]: a[i] + 3 * c[i, j]
observed:
  x: Normal(matmul(W, v), 1)
  y: Normal(matmul(G, v), 1)
  z: Normal(dot(A, v), 1)
"""
    model, p = model_of(text)
    x, y, z, G = (torch.randn(4, *shape, dtype=F) for shape in ((2,), (2,), (2,), (2, 3)))
    locs = ((p["a"][:, None] + 3 * p["c"]) @ p["v"], G.numpy() @ p["v"], p["A"] @ p["v"])
    expected = sum(
        (-0.5 * (v.numpy() - loc) ** 2 - 0.5 * np.log(2 * np.pi)).sum(-1)
        for v, loc in zip((x, y, z), locs, strict=True)
    )
    np.testing.assert_allclose(model.log_prob({"x": x, "y": y, "z": z, "G": G}).detach(), expected, rtol=1e-12)


def test_lengths_of_nested_sequences_end_behind_the_end_symbol():
    text = """
name: sentences
sizes: {V: 3}
plates: {s: sequence, w: "sequence(within=s, end=EOS)"}
params: {p: [V]}
observed:
  x[s, w]: Categorical(logits=p)
"""
    model, _ = model_of(text)
    drawn = model.sample(50, lengths={"s": 2, "w": 6}, ends={"w": 2})
    for row, lengths in zip(drawn["x"].tolist(), drawn["w"].tolist(), strict=True):
        for symbols, length in zip(row, lengths, strict=True):
            assert length == (symbols.index(2) + 1 if 2 in symbols else 6)


HEAD = """
sizes: {K: 2, V: 3, L: 2, I: 2, D: 3}
plates: {%s}
params:
  begin: [K]
  link: [K, K]
  say: [K, V]
  both: [K, K, V]
  starts: [K, K]
  links: [K, K, K]
  mixed: [L, K]
  m: [K]
  md: [K, D]
  v: [I]
  u: [V]
  uu: [V, V]
  uk: [V, K]
"""
SEQUENCES, NESTED = "d: sequence, t: sequence", "s: sequence, w: sequence(within=s)"
# name -> (plates, the variables)
TABLE = {
    "chains_along_the_inner_of_two": (
        SEQUENCES,
        """
latent:
  z[d, 0]: Categorical(logits=begin)
  z[d, t]: Categorical(logits=link[z[d, t-1]])
observed:
  x[d, t]: Categorical(logits=say[z[d, t]])
""",
    ),
    "chains_along_the_outer_of_two": (
        SEQUENCES,
        """
latent:
  z[0, t]: Categorical(logits=begin)
  z[d, t]: Categorical(logits=link[z[d-1, t]])
observed:
  x[d, t]: Categorical(logits=say[z[d, t]])
""",
    ),
    "indices_in_another_order_than_the_plates": (
        SEQUENCES,
        """
latent:
  z[0, d]: Categorical(logits=begin)
  z[t, d]: Categorical(logits=link[z[t-1, d]])
observed:
  x[t, d]: Categorical(logits=say[z[t, d]])
""",
    ),
    "observed_along_one_and_hidden_along_the_other": (
        SEQUENCES,
        """
latent:
  z[d, 0]: Categorical(logits=begin)
  z[d, t]: Categorical(logits=link[z[d, t-1]])
observed:
  x[0, t]: Categorical(logits=say[z[0, t]])
  x[d, t]: Categorical(logits=say[z[d, t]] + uu[x[d-1, t]])
""",
    ),
    "an_observed_grid": (
        SEQUENCES,
        """
observed:
  x[d, 0]: Categorical(logits=u)
  x[d, t]: Categorical(logits=uu[x[d, t-1]])
  y[0, t]: Categorical(logits=u)
  y[d, t]: Categorical(logits=uu[y[d-1, t]] + uu[x[d, t]])
""",
    ),
    "earlier_sites_along_both": (
        SEQUENCES,
        """
latent:
  z[d, 0]: Categorical(logits=begin)
  z[d, t]: Categorical(logits=link[z[d, t-1]])
observed:
  x[0, t]: Categorical(logits=say[z[0, t]])
  x[d, t]: Categorical(logits=say[z[d-1, t]])
""",
    ),
    "a_chain_of_chains": (
        NESTED,
        """
latent:
  c[0]: Categorical(logits=begin)
  c[s]: Categorical(logits=link[c[s-1]])
  z[s, 0]: Categorical(logits=starts[c[s]])
  z[s, w]: Categorical(logits=links[c[s], z[s, w-1]])
observed:
  x[s, w]: Categorical(logits=both[c[s], z[s, w]])
""",
    ),
    "sites_within_a_site_that_read_the_one_before": (
        NESTED,
        """
latent:
  c[0]: Categorical(logits=begin)
  c[s]: Categorical(logits=link[c[s-1]])
  y[s, w]: Categorical(logits=starts[c[s]])
observed:
  x[0, w]: Categorical(logits=both[c[0], y[0, w]])
  x[s, w]: Categorical(logits=both[c[s-1], y[s, w]])
""",
    ),
    "chains_within_a_site_that_read_the_one_before": (
        SEQUENCES,
        """
latent:
  c[0]: Categorical(logits=begin)
  c[d]: Categorical(logits=link[c[d-1]])
  z[d, 0]: Categorical(logits=starts[c[d]])
  z[d, t]: Categorical(logits=links[c[d], z[d, t-1]])
observed:
  x[0, t]: Categorical(logits=both[c[0], z[0, t]])
  x[d, t]: Categorical(logits=both[c[d-1], z[d, t]])
""",
    ),
    "sites_within_a_site_of_a_chain_of_order_two": (
        NESTED,
        """
latent:
  c[0]: Categorical(logits=begin)
  c[1]: Categorical(logits=link[c[0]])
  c[s]: Categorical(logits=links[c[s-2], c[s-1]])
  y[0, w]: Categorical(logits=begin)
  y[1, w]: Categorical(logits=starts[c[0]])
  y[s, w]: Categorical(logits=links[c[s-2], c[s-1]])
observed:
  x[s, w]: Categorical(logits=both[c[s], y[s, w]])
""",
    ),
    "labellings_along_the_inner_of_two": (
        SEQUENCES,
        """
given:
  g[d, t]: token(V)
latent:
  z[d] over t: LinearChain(unary=uk[g[d, t]], pairwise=link)
observed:
  x[0, t]: Categorical(logits=say[z[0, t]])
  x[d, t]: Categorical(logits=say[z[d, t]] + uu[x[d-1, t]])
""",
    ),
    "labellings_of_nested_sites": (
        NESTED,
        """
given:
  g[s, w]: token(V)
latent:
  c[s]: Categorical(logits=begin)
  z[s] over w: LinearChain(unary=uk[g[s, w]], pairwise=links[c[s]])
observed:
  x[s, w]: Categorical(logits=say[z[s, w]])
""",
    ),
    "observed_labellings_of_two_sequences": (
        SEQUENCES,
        """
given:
  g[t]: token(V)
observed:
  z[d] over t: LinearChain(unary=uk[g[t]], pairwise=link)
""",
    ),
    "guides_over_labellings_that_are_the_same_at_all_outer_sites": (
        SEQUENCES,
        """
latent:
  z[d, 0]: Categorical(logits=begin)
  z[d, t]: Categorical(logits=link[z[d, t-1]])
observed:
  x[d, t]: Categorical(logits=say[z[d, t]])
guide:
  z[d] over t: LinearChain(unary=begin, pairwise=link)
infer: {z: reinforce}
""",
    ),
    "guides_over_labellings_of_nested_sites": (
        NESTED,
        """
latent:
  z[s, 0]: Categorical(logits=begin)
  z[s, w]: Categorical(logits=link[z[s, w-1]])
observed:
  x[s, w]: Categorical(logits=say[z[s, w]])
guide:
  z[s] over w: LinearChain(unary=uk[x[s, w]], pairwise=link)
infer: {z: reinforce}
""",
    ),
    "filters_along_the_outer_of_two": (
        SEQUENCES,
        """
latent:
  z[0, t]: Normal(0, 1)
  z[d, t]: Normal(0.5 * z[d-1, t], 1)
observed:
  x[d, t]: Normal(z[d, t], 0.5)
""",
    ),
    "filters_of_nested_sequences": (
        NESTED,
        """
latent:
  z[s, 0]: Normal(0, 1)
  z[s, w]: Normal(0.5 * z[s, w-1], 1)
observed:
  x[s, 0]: Normal(z[s, 0], 0.5)
  x[s, w]: Normal(z[s, w] + 0.1 * x[s, w-1], 0.5)
""",
    ),
    "scores_of_two_chains_that_cross": (
        SEQUENCES,
        """
latent:
  a[d, 0]: Categorical(logits=begin)
  a[d, t]: Categorical(logits=link[a[d, t-1]])
  b[0, t]: Categorical(logits=begin)
  b[d, t]: Categorical(logits=link[b[d-1, t]])
observed:
  x[d, t]: Categorical(logits=both[a[d, t], b[d, t]])
""",
    ),
    "guides_along_the_outer_of_two": (
        SEQUENCES,
        """
latent:
  z[0, t]: Normal(0, 1)
  z[d, t]: Normal(tanh(z[d-1, t]), 1)
observed:
  x[d, t]: Normal(z[d, t], 1)
guide:
  z[0, t]: Normal(m[0], 1)
  z[d, t]: Normal(m[1] * z[d-1, t] + x[d, t], 1)
""",
    ),
    "a_bag_of_mixtures_of_chains": (
        "b: bag, w: sequence(within=b)",
        """
latent:
  c[b]: Categorical(logits=begin)
  z[b, 0]: Categorical(logits=starts[c[b]])
  z[b, w]: Categorical(logits=links[c[b], z[b, w-1]])
observed:
  x[b, w]: Categorical(logits=say[z[b, w]])
""",
    ),
    "a_fixed_plate_before_nested_ones": (
        f"l: L, {NESTED}",
        """
latent:
  z[l, s, 0]: Categorical(logits=mixed[l])
  z[l, s, w]: Categorical(logits=link[z[l, s, w-1]])
observed:
  x[l, s, w]: Categorical(logits=say[z[l, s, w]])
""",
    ),
    "a_fixed_plate_between_nested_ones": (
        f"l: L, {NESTED}",
        """
latent:
  z[s, l, w]: Categorical(logits=mixed[l])
observed:
  x[s, l, w]: Categorical(logits=say[z[s, l, w]])
""",
    ),
    "a_fixed_plate_behind_nested_ones": (
        f"l: L, {NESTED}",
        """
latent:
  z[s, l]: Categorical(logits=mixed[l])
observed:
  x[s, w, l]: Categorical(logits=say[z[s, l]])
""",
    ),
    "the_inner_plate_declared_first": (
        "w: sequence(within=s), s: sequence",
        """
latent:
  z[s]: Categorical(logits=begin)
observed:
  x[s, w]: Categorical(logits=say[z[s]])
""",
    ),
    "order_two_whose_first_sites_read_another_latent": (
        "t: sequence",
        """
latent:
  c: Categorical(logits=begin)
  z[0]: Categorical(logits=starts[c])
  z[1]: Categorical(logits=links[c, z[0]])
  z[t]: Categorical(logits=links[z[t-2], z[t-1]])
observed:
  x[t]: Categorical(logits=say[z[t]])
""",
    ),
    "order_two_whose_first_sites_read_what_is_given": (
        "t: sequence",
        """
given:
  g[t]: real
latent:
  z[0]: Categorical(logits=begin * g[0])
  z[1]: Categorical(logits=link[z[0]] * g[1])
  z[t]: Categorical(logits=links[z[t-2], z[t-1]])
observed:
  x[t]: Categorical(logits=say[z[t]])
""",
    ),
    "coupled_chains_whose_starts_are_coupled": (
        "t: sequence",
        """
latent:
  a[0]: Categorical(logits=begin)
  a[t]: Categorical(logits=link[a[t-1]])
  b[0]: Categorical(logits=starts[a[0]])
  b[t]: Categorical(logits=link[b[t-1]])
observed:
  x[t]: Categorical(logits=both[a[t], b[t]])
""",
    ),
    "all_sites_of_latents_that_are_summed": (
        "i: I",
        """
latent:
  z[i]: Categorical(logits=begin)
let:
  e[i]: m[z[i]]
  f[i]: md[z[i]]
observed:
  x: Normal(dot(e, v), 1)
  y: Normal(sum(f) * v, 1)
  q: Normal(sum(e[i] * e[0] over i), 1)
""",
    ),
    "one_site_of_a_plate_that_is_written_out": (
        "i: I",
        """
given:
  g[i]: real
latent:
  z[i]: Categorical(logits=begin * g[0] + sum(g))
observed:
  x: Normal(sum(m[z[i]] * g[1] over i), 1)
""",
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_models_of_several_plates_agree_with_brute_force(name):
    plates, story = TABLE[name]
    compiled = compile_spec(f"lvspec: 1\nname: {name}{HEAD % plates}{story}")
    for seed in range(2):
        report = verify(compiled.spec, compiled.plan, compiled.Model, seed=seed, draws=2000 if not seed else 0)
        assert report.passed, render(report)


def test_chains_along_two_plates_in_one_sum_are_declined():
    story = """
latent:
  a[d, 0]: Categorical(logits=begin)
  a[d, t]: Categorical(logits=link[a[d, t-1]])
  b[0, t]: Categorical(logits=begin)
  b[d, t]: Categorical(logits=link[b[d-1, t]])
observed:
  x[d, t]: Categorical(logits=both[a[d, t], b[d, t]])
"""
    text = f"lvspec: 1\nname: crossed{HEAD % SEQUENCES}{story}infer: {{a: dynamic_programming}}\n"
    with pytest.raises(SpecError, match="earlier sites are read along two plates, a and b along d and t"):
        compile_spec(text)
