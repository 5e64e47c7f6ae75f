"""Strings decoded symbol by symbol, against all strings there are and log p of each."""

from collections import Counter
from itertools import product

import pytest
import torch
from scipy.stats import chi2

import lvspec
from lvspec.ir.decodable import decodable
from lvspec.runtime import BadBatch, Normal
from lvspec.runtime.decoding import prefixes, search

HEAD = "lvspec: 1\nname: written\nsizes: {V: 3, K: 2, E: 2, H: 3, U: 4, L: 2}\nplates: {t: sequence(end=EOS), m: sequence, l: L}\n"
GIVEN = "given:\n  s[m]: token(U)\n"
NETWORKS = "networks: {words: 'Embedding(V, E)', writer: 'LSTM(E, H, layers=2)', out: 'Linear(H, V)'}\n"
SOURCE = NETWORKS.replace("{words", "{source: 'Embedding(U, E)', reader: 'GRU(E, H)', words")
WORD = "observed:\n  x[t]: Categorical(logits=3 * out(writer(words(x[<t])))%s)\n"
MODELS = {
    "recurrent": NETWORKS + WORD % "",
    "convolutions": NETWORKS.replace("LSTM(E, H, layers=2)", "DilatedConvolution(E, H, layers=2, kernel=2)")
    + WORD % "",
    "bigrams": """\
params: {s: [V], a: [V, V]}
observed:
  x[0]: Categorical(logits=s)
  x[t]: Categorical(logits=a[x[t-1]])
""",
    "a bag": "params: {s: [V]}\nobserved:\n  x[t]: Categorical(logits=s)\n",
    "a source": GIVEN
    + SOURCE.replace("E, H, layers=2", "E + H, H").replace("LSTM(", "GRU(")
    + """\
let:
  meaning: last(reader(source(s)))
observed:
  x[t]: Categorical(logits=3 * out(writer(concat(words(x[<t]), meaning))))
""",
    "soft attention": GIVEN
    + SOURCE
    + """\
let:
  memory[m]: reader(source(s))
  h[t]: writer(words(x[<t]))
observed:
  x[t]: Categorical(logits=3 * out(h[t] + sum(softmax(dot(h[t], memory[m]) over m) * memory[m] over m)))
""",
    "a source position": GIVEN
    + SOURCE
    + """\
let:
  memory[m]: reader(source(s))
  h[t]: writer(words(x[<t]))
latent:
  a[t]: Categorical(logits=3 * dot(h[t], memory[m]) over m)
observed:
  x[t]: Categorical(logits=3 * out(h[t] + memory[a[t]]))
""",
    "a mixture": """\
params: {p: [K]}
networks:
  words: Embedding(V, E)
  writer[K]: LSTM(E, H)
  out: Linear(H, V)
latent:
  z: Categorical(logits=p)
observed:
  x[t]: Categorical(logits=5 * out(writer[z](words(x[<t]))))
""",
    "a vector of a component": NETWORKS
    + """\
params: {p: [K], e: [K, V]}
latent:
  z: Categorical(logits=p)
let:
  v: 2 * e[z]
"""
    + WORD % " + v",
    "several components": NETWORKS
    + """\
params: {p: [L, K], e: [L, K, V]}
latent:
  z[l]: Categorical(logits=p[l])
"""
    + WORD % " + sum(e[l, z[l]] over l)",
    "a mixture at each site": NETWORKS
    + """\
params: {e: [K, V], g: [K, H]}
let:
  h[t]: writer(words(x[<t]))
latent:
  z[t]: Categorical(logits=matmul(g, h[t]))
observed:
  x[t]: Categorical(logits=3 * out(h[t]) + 2 * e[z[t]])
""",
    "a truth value at each site": NETWORKS
    + """\
params: {e: [2, V]}
latent:
  z[t]: Bernoulli(probs=0.3)
"""
    + WORD % " + 2 * e[z[t]]",
    "a chain": NETWORKS
    + """\
params: {s: [K], a: [K, K], e: [K, V]}
latent:
  z[0]: Categorical(logits=s)
  z[t]: Categorical(logits=2 * a[z[t-1]])
"""
    + WORD % " + 2 * e[z[t]]",
    "a chain of order two": """\
params: {s: [K], a: [K, K], b: [K, K, K], e: [K, V]}
latent:
  z[0]: Categorical(logits=s)
  z[1]: Categorical(logits=a[z[0]])
  z[t]: Categorical(logits=2 * b[z[t-1], z[t-2]])
observed:
  x[t]: Categorical(logits=2 * e[z[t]])
""",
    "chains": """\
params: {s: [K], a: [L, K, K], e: [L, K, V]}
latent:
  z[0, l]: Categorical(logits=s)
  z[t, l]: Categorical(logits=2 * a[l, z[t-1, l]])
observed:
  x[t]: Categorical(logits=sum(2 * e[l, z[t, l]] over l))
""",
    "a chain in a mixture": """\
params: {p: [K], s: [K], a: [K, K, K], e: [K, K, V], f: [V, K]}
latent:
  c: Categorical(logits=p)
  z[0]: Categorical(logits=s)
  z[t]: Categorical(logits=2 * a[c, z[t-1]] + f[x[t-1]])
observed:
  x[t]: Categorical(logits=2 * e[c, z[t]])
""",
}
SUMMED = {
    "a source position", "a mixture", "a vector of a component", "several components", "a mixture at each site",
    "a truth value at each site", "a chain", "a chain of order two", "chains", "a chain in a mixture",
}  # fmt: skip
END = 1


def compiled(name, **sizes):
    torch.manual_seed(1)
    text = HEAD + MODELS[name]
    for plate, use in ((", m: sequence", "[m]"), (", l: L", "[l]")):
        text = text if use in text or use.replace("[", "[t, ") in text else text.replace(plate, "")
    model = lvspec.compile_spec(text, sizes=sizes).Model().double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    return model


def given_to(model):
    """Sources of several lengths, where the model reads one."""
    if "s" not in model.batch_inputs():
        return 2, {}
    return 3, {"s": torch.tensor([[0, 1, 2], [3, 0, 0], [2, 2, 0]]), "m": torch.tensor([3, 1, 2])}


def log_p_of(model, string, n, given):
    """log p of the string as a prefix, for each row: (n,)."""
    x = torch.tensor(string, dtype=torch.int64).expand(n, -1)
    with torch.no_grad():
        return model.log_prob(given | {"x": x, "t": torch.full((n,), len(string))})


def strings(V, longest):
    """All that end, or are as long as they may be."""
    for length in range(1, longest + 1):
        for string in product(range(V), repeat=length):
            if END not in string[:-1] and (string[-1] == END or length == longest):
                yield string


def as_strings(found, row):
    return [tuple(s[:n].tolist()) for s, n in zip(found.symbols[row], found.lengths[row], strict=True)]


@pytest.mark.parametrize("norm", (0.0, 1.0))
@pytest.mark.parametrize("name", MODELS)
def test_wide_beam_finds_the_best_of_all_strings(name, norm):
    model = compiled(name)
    (n, given), extent = given_to(model), 3
    there = list(strings(3, extent))
    scores = {s: log_p_of(model, s, n, given) / len(s) ** norm for s in there}
    found = model.decode(n, given, {"t": extent}, end=END, beams=len(there), best=len(there), length_norm=norm)
    for row in range(n):
        ordered = as_strings(found, row)
        assert sorted(ordered) == sorted(there)
        expected = torch.stack([scores[s][row] for s in ordered])
        torch.testing.assert_close(found.score[row], expected, rtol=0, atol=1e-9)
        torch.testing.assert_close(expected, expected.sort(descending=True).values, rtol=0, atol=1e-9)  # some are alike
        assert found.ended[row].tolist() == [s[-1] == END for s in ordered]


@pytest.mark.parametrize("name", MODELS)
def test_next_symbol_is_a_ratio_of_prefixes(name, monkeypatch):
    """log p(x_<=t) - log p(x_<t), each by the sums that `log_prob` makes over whole strings."""
    model, told = compiled(name), []

    class Recorded(search.Prefixes):
        def next(self, t):
            told.append(super().next(t))
            return told[-1]

    monkeypatch.setattr(search, "Prefixes", Recorded)
    n, given = given_to(model)
    found = model.decode(n, given, {"t": 4}, method="greedy")
    assert len(told) == 4
    for row in range(n):
        for t, log_p in enumerate(told):
            before = found.symbols[row, 0, :t].tolist()
            longer = torch.stack([log_p_of(model, [*before, v], n, given)[row] for v in range(3)])
            ratios = longer - (log_p_of(model, before, n, given)[row] if t else 0.0)
            torch.testing.assert_close(log_p[row].log_softmax(-1), ratios, rtol=0, atol=1e-9)
            assert longer.argmax() == found.symbols[row, 0, t] or longer.max() - longer[found.symbols[row, 0, t]] < 1e-9


@pytest.mark.parametrize("name", MODELS)
def test_ancestral_draws_have_the_model_s_frequencies(name):
    """Pearson's statistic of all strings against the bound that chance passes once in a million times."""
    model, extent, draws = compiled(name), 2, 4000
    n, given = given_to(model)
    torch.manual_seed(3)
    found = model.decode(n, given, {"t": extent}, end=END, method="sample", samples=draws)
    there = list(strings(3, extent))
    for row in range(n):
        expected = draws * torch.stack([log_p_of(model, s, n, given)[row] for s in there]).exp()
        seen = Counter(as_strings(found, row))
        counts = torch.tensor([float(seen[s]) for s in there], dtype=torch.float64)
        often = expected >= 5
        rare = torch.stack([expected[~often].sum(), counts[~often].sum()])
        statistic = ((counts - expected) ** 2 / expected)[often].sum()
        if rare[0] > 0:
            statistic = statistic + (rare[1] - rare[0]) ** 2 / rare[0].clamp(min=1)
        assert statistic < chi2.ppf(1 - 1e-6, len(there) - 1)


@pytest.mark.parametrize("how", ({"method": "greedy"}, {"beams": 3}, {"method": "sample"}))
@pytest.mark.parametrize("name", ("recurrent", "a mixture", "a source", "a mixture at each site", "a chain"))
def test_each_network_takes_a_site_once(name, how, monkeypatch):
    """So that a symbol costs the same wherever it stands."""
    model, calls = compiled(name), []
    network = model.writer
    step = network.step
    monkeypatch.setattr(network, "step", lambda *a: calls.append(len(a[-2])) or step(*a))
    n, given = given_to(model)
    model.decode(n, given, {"t": 12}, **how)  # no end symbol
    first = int(name == "a mixture at each site")  # whose first site is asked once more: how many values has z?
    assert len(calls) == 12 + first and len({*calls[2 + first :]}) == 1


@pytest.mark.parametrize("method", ("greedy", "beam", "sample"))
@pytest.mark.parametrize("name", MODELS)
def test_lengths_limit_each_string_by_itself(name, method):
    model = compiled(name)
    n, given = given_to(model)
    limits = torch.tensor([2, 0, 1][:n])
    found = model.decode(n, given, {"t": limits}, method=method)
    assert found.lengths[:, 0].tolist() == limits.tolist() and found.symbols.shape[-1] == 2
    assert found.log_prob[1, 0] == 0 and not found.ended.any()
    for row in (0, 2)[: n - 1]:
        assert found.log_prob[row, 0] == pytest.approx(log_p_of(model, as_strings(found, row)[0], n, given)[row].item())
    alone = model.decode(n, given, {"t": 0}, method=method)
    assert alone.symbols.shape == (n, 1, 0) and (alone.lengths == 0).all()


@pytest.mark.parametrize("method", ("greedy", "beam", "sample"))
@pytest.mark.parametrize("name", MODELS)
def test_no_rows_have_no_strings(name, method):
    model = compiled(name)
    _, given = given_to(model)
    found = model.decode(0, {k: v[:0] for k, v in given.items()}, {"t": 3}, end=END, method=method)
    assert found.symbols.shape[:2] == (0, 1)


@pytest.mark.parametrize("method", ("greedy", "beam", "sample"))
@pytest.mark.parametrize("name", ("recurrent", "a mixture", "a chain"))
def test_one_symbol_is_all_there_is(name, method):
    model = compiled(name, V=1)
    found = model.decode(2, {}, {"t": 4}, end=0, method=method)
    assert found.lengths.tolist() == [[1], [1]] and found.ended.all() and (found.log_prob.abs() < 1e-12).all()


def test_fewer_strings_than_asked_for_have_no_score():
    found = compiled("recurrent").decode(1, {}, {"t": 1}, end=END, beams=9, best=5)
    assert (found.score[0] > -torch.inf).tolist() == [True] * 3 + [False] * 2 and (found.lengths[0, 3:] == 0).all()


# ---------------------------------------------------------------- draws by other chances
def test_symbols_that_are_kept():
    logits = torch.tensor([[0.1, 0.5, 0.25, 0.15]]).double().log()
    inside = lambda *a: (search.kept(logits, *a) > -torch.inf)[0].tolist()  # noqa: E731
    assert inside(None, 1.0) == [True] * 4
    assert inside(2, 1.0) == [False, True, True, False]
    assert inside(None, 0.49) == [False, True, False, False]
    assert inside(None, 0.51) == [False, True, True, False]
    assert inside(None, 0.8) == [False, True, True, True]
    assert inside(3, 0.99) == [False, True, True, True]  # of the three, whose chances add up to one again
    assert inside(None, 1e-9) == [False, True, False, False]


@pytest.mark.parametrize("how", ({"temperature": 0.5}, {"temperature": 2.0}, {"top_k": 2}, {"top_p": 0.6}))
def test_draws_follow_the_chances_that_are_left(how):
    model, draws = compiled("a mixture"), 6000
    first = torch.stack([log_p_of(model, [v], 1, {})[0] for v in range(3)])
    other = search.kept(first[None] / how.get("temperature", 1.0), how.get("top_k"), how.get("top_p", 1.0))
    expected = draws * other[0].softmax(-1)
    torch.manual_seed(4)
    found = model.decode(1, {}, {"t": 1}, method="sample", samples=draws, **how)
    counts = torch.bincount(found.symbols.flatten(), minlength=3).double()
    assert (counts[expected == 0] == 0).all()
    there = expected > 0
    statistic = ((counts - expected)[there] ** 2 / expected[there]).sum()
    assert statistic < chi2.ppf(1 - 1e-6, max(int(there.sum()) - 1, 1))
    torch.testing.assert_close(found.log_prob[0], first[found.symbols[0, :, 0]], rtol=0, atol=1e-9)  # the model's own


# ---------------------------------------------------------------- latents that are not summed
VECTOR = (
    NETWORKS.replace("E, H, layers=2", "E + L, H")
    + """\
latent:
  z: Normal(0.5, 2)[L]
observed:
  x[t]: Categorical(logits=3 * out(writer(concat(words(x[<t]), z))))
"""
)
COMPONENTS = VECTOR.replace("latent:", "params: {p: [K], mean: [K, L]}\nlatent:\n  c: Categorical(logits=p)").replace(
    "Normal(0.5, 2)[L]", "Normal(3 * mean[c], 1)"
)
MODELS_OF_VECTORS = {"a vector": VECTOR, "a vector of a component": COMPONENTS}


def of_vectors(name):
    text = HEAD.replace(", m: sequence, l: L", "") + MODELS_OF_VECTORS[name]
    torch.manual_seed(1)
    model = lvspec.compile_spec(text).Model().double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    return model


def all_strings(model, given, **how):
    """log p by string, of each row."""
    n = len(next(iter(given.values()))) if given else 1
    there = list(strings(3, 2))
    found = model.decode(n, given, {"t": 2}, end=END, beams=len(there), best=len(there), length_norm=0.0, **how)
    rows = [dict(zip(as_strings(found, r), found.log_prob[r], strict=True)) for r in range(n)]
    return torch.stack([torch.stack([row[s] for s in there]) for row in rows])


def test_mean_of_a_vector():
    model = of_vectors("a vector")
    at_mean = all_strings(model, {"z": torch.full((1, 2), 0.5).double()})
    torch.testing.assert_close(all_strings(model, {}), at_mean, rtol=0, atol=1e-9)


def test_mean_of_a_vector_is_that_of_each_component():
    model = of_vectors("a vector of a component")
    each = all_strings(model, {"z": 3 * model.mean.detach()})
    expected = (model.p.detach().log_softmax(0)[:, None] + each).logsumexp(0)
    torch.testing.assert_close(all_strings(model, {})[0], expected, rtol=0, atol=1e-9)


def test_average_over_draws():
    model = of_vectors("a vector")
    torch.manual_seed(7)
    z = Normal(model.zero, 1).sample((5, 2)) * 2 + 0.5
    expected = all_strings(model, {"z": z}).logsumexp(0) - torch.tensor(5.0).double().log()
    torch.manual_seed(7)
    torch.testing.assert_close(all_strings(model, {}, latents="draw", draws=5)[0], expected, rtol=0, atol=1e-9)


def test_what_is_given_is_conditioned_on():
    """p(x | z) where c is summed: its weight is p(c | z), not p(c)."""
    model = of_vectors("a vector of a component")
    model.out.weight.data.zero_()
    text = (
        HEAD.replace(", m: sequence, l: L", "")
        + """\
params: {p: [K], e: [K, U], f: [K, V]}
latent:
  c: Categorical(logits=p)
observed:
  y: Categorical(logits=3 * e[c])
  x[t]: Categorical(logits=3 * f[c] + y)
"""
    )
    torch.manual_seed(2)
    model = lvspec.compile_spec(text).Model().double()
    y = torch.tensor([0, 3])
    whole = [model.log_prob({"y": y, "x": torch.tensor([[v], [v]])}) for v in range(3)]
    whole = torch.stack(whole, 1).detach()
    found = model.decode(2, {"y": y}, {"t": 1}, beams=3, best=3)
    for row in range(2):
        for v, log_prob in zip(found.symbols[row, :, 0], found.log_prob[row], strict=True):
            assert log_prob.item() == pytest.approx(whole[row].log_softmax(-1)[v].item(), abs=1e-9)


# ---------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    "how, reason",
    [
        ({"method": "best"}, "there are greedy, beam, sample"),
        ({"latents": "mode"}, "there are mean, draw"),
        ({"beams": 0}, "beams is at least 1"),
        ({"top_p": 0.0}, "top_p above 0"),
        ({"temperature": 0.0}, "temperature is above 0"),
    ],
)
def test_options_out_of_range(how, reason):
    with pytest.raises(ValueError, match=reason):
        compiled("recurrent").decode(1, {}, {"t": 2}, **how)


def test_strings_and_latents_of_their_sites_are_not_given():
    model = compiled("a chain")
    for name in ("x", "z"):
        with pytest.raises(BadBatch, match=f"`{name}` cannot be given"):
            model.decode(1, {name: torch.zeros(1, 2).long()}, {"t": 2})


def test_too_many_joint_values(monkeypatch):
    monkeypatch.setattr(prefixes, "MOST_ASSIGNMENTS", 3)
    with pytest.raises(BadBatch, match="z have 4 joint values, too many to be summed"):
        compiled("several components").decode(1, {}, {"t": 2})


def undecodable(text):
    found = lvspec.compile_spec(text)
    assert not hasattr(found.Model(), "decode")
    return decodable(found.spec)


def test_what_cannot_be_decoded_has_a_reason():
    text = HEAD.replace(", m: sequence, l: L", "") + MODELS["recurrent"]
    assert undecodable(text.replace("(end=EOS)", "")).startswith("no plate ends with a symbol")
    two = text.replace("observed:\n", "observed:\n  y[t]: Bernoulli(probs=0.5)\n")
    assert undecodable(two) == "y, x are observed along t"
    count = text.replace("Categorical(logits=3 * out(writer(words(x[<t]))))", "Poisson(2)")
    assert undecodable(count) == "x is no Categorical that is written site by site"
    labels = (
        text.split("networks:")[0]
        + """\
params: {u: [K], w: [K, K], e: [K, V]}
latent:
  z over t: LinearChain(unary=u, pairwise=w)
observed:
  x[t]: Categorical(logits=e[z[t]])
"""
    )
    assert undecodable(labels) == "z is one structure over t, normalised over all of its sites"


def test_methods_keep_clear_of_the_names_of_a_spec():
    text = HEAD.replace(", m: sequence, l: L", "") + MODELS["recurrent"].replace("writer", "at_t")
    model = lvspec.compile_spec(text).Model()
    assert model.decode(2, {}, {"t": 3}).symbols.shape == (2, 1, 3)
