"""Draws along a plate: one site after the other, with work that follows the sites and frequencies that the model says."""

from inspect import signature

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import lvspec

HEAD = "lvspec: 1\nname: drawn\nsizes: {V: 3, K: 2, E: 2, H: 3}\nplates: {t: sequence}\n"
MODELS = {
    "chain": """\
params: {s: [K], a: [K, K], e: [K, V]}
latent:
  z[0]: Categorical(logits=s)
  z[t]: Categorical(logits=a[z[t-1]])
observed:
  x[t]: Categorical(logits=e[z[t]])
""",
    "second order": """\
params: {s: [V], a: [V, V], b: [V, V, V]}
observed:
  x[0]: Categorical(logits=s)
  x[1]: Categorical(logits=a[x[0]])
  x[t]: Categorical(logits=b[x[t-1], x[t-2]])
""",
    "sentence": """\
networks: {words: "Embedding(V, E)", writer: "LSTM(E, H, layers=2)", out: "Linear(H, V)"}
observed:
  x[t]: Categorical(logits=out(writer(words(x[<t]))))
""",
    "sentence of a mixture": """\
params: {p: [K], mean: [K, E]}
networks: {words: "Embedding(V, E)", writer: "GRU(2*E, H)", out: "Linear(H, V)"}
latent:
  c: Categorical(logits=p)
let:
  h[t]: writer(concat(words(x[<t]), mean[c]))
observed:
  x[t]: Categorical(logits=out(tanh(h[t])))
""",
    "states that a network has seen": """\
params: {e: [V]}
networks: {states: "Embedding(K, E)", memory: "RNN(E, K)", out: "Linear(K, V)"}
latent:
  z[t]: Categorical(logits=memory(states(z[<t])))
observed:
  x[t]: Categorical(logits=out(memory(states(z[<=t]))) + e)
""",
    "sentence of convolutions": """\
networks: {words: "Embedding(V, E)", writer: "DilatedConvolution(E, H, layers=2, kernel=2)", out: "Linear(H, V)"}
observed:
  x[t]: Categorical(logits=out(writer(words(x[<t]))))
""",
    "a network of each state": """\
params: {s: [K], a: [K, K]}
networks:
  words: Embedding(V, E)
  writer[K]: GRU(E, H)
  out: Linear(H, V)
latent:
  z[0]: Categorical(logits=s)
  z[t]: Categorical(logits=a[z[t-1]])
observed:
  x[t]: Categorical(logits=2 * out(writer[z[t]](words(x[<t]))))
""",
    "a network of each kind": """\
params: {p: [K]}
networks:
  words: Embedding(V, E)
  writer[K]: LSTM(E, H)
  out: Linear(H, V)
latent:
  c: Categorical(logits=p)
observed:
  x[t]: Categorical(logits=2 * out(writer[c](words(x[<t]))))
""",
    "words of a chain and of each other": """\
params: {s: [K], a: [K, K], e: [K, V]}
networks: {words: "Embedding(V, E)", writer: "GRU(E, V)"}
latent:
  z[0]: Categorical(logits=s)
  z[t]: Categorical(logits=a[z[t-1]])
observed:
  x[t]: Categorical(logits=e[z[t]] + writer(words(x[<t])))
""",
    # what is drawn first at a site is no earlier site to what is drawn next
    "two in turn": """\
params: {s: [K], v: [V], a: [K, V], e: [V, K]}
latent:
  z[0]: Categorical(logits=s)
  z[t]: Categorical(logits=3 * e[x[t-1]])
observed:
  x[0]: Categorical(logits=v)
  x[t]: Categorical(logits=3 * a[z[t-1]])
""",
    "two in turn, and a network": """\
params: {v: [V], a: [K, V], e: [V, K]}
networks: {words: "Embedding(V, E)", memory: "RNN(E, K)"}
latent:
  z[t]: Categorical(logits=e[x[t]] + 5 * memory(words(x[<t])))
observed:
  x[0]: Categorical(logits=v)
  x[t]: Categorical(logits=3 * a[z[t-1]])
""",
}
SEGMENTS = """\
params: {a: [K], b: [K, K], g: [K, 2], state: [K, V]}
networks: {words: "Embedding(V, E)", writer: "%s", out: "Linear(H, V)"}
latent:
  z over t: SemiMarkov(start=a, transition=b, length=g)
observed:
  x[t]: Categorical(logits=2 * out(writer(words(x[<t in z]))) + state[z[t]]%s)
"""
MODELS |= {
    "segments": SEGMENTS % ("LSTM(E, H, layers=2)", ""),
    "segments of convolutions": SEGMENTS % ("DilatedConvolution(E, H, layers=2, kernel=2)", ""),
    "segments and all before": SEGMENTS % ("GRU(E, H)", " + out(writer(words(x[<t])))"),
}
MODELS["computed on the way"] = (
    MODELS["chain"].replace("observed:", "let:\n  g[t]: e[z[t]] * 2\nobserved:").replace("=e[z[t]]", "=g[t]")
)


class Work(TorchDispatchMode):
    """How many numbers the operations give, all together."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        self.numbers += sum(t.numel() for t in tree_leaves(found) if isinstance(t, torch.Tensor))
        return found


def compiled(name):
    torch.manual_seed(1)
    return lvspec.compile_spec(HEAD + MODELS[name]).Model().double()


@pytest.mark.parametrize("name", MODELS)
def test_work_follows_the_sites(name):
    model, work = compiled(name), []
    for sites in (40, 80, 160):
        with Work() as mode:
            model.sample(2, lengths={"t": sites})
        work.append(mode.numbers)
    assert work[2] - work[1] < 2.2 * (work[1] - work[0])


@pytest.mark.parametrize("name", MODELS)
def test_frequencies_are_probabilities(name):
    model, n = compiled(name), 40_000
    torch.manual_seed(0)
    x = model.sample(n, lengths={"t": 3})["x"]
    cells = torch.cartesian_prod(*[torch.arange(3)] * 3)
    exact = "z" not in MODELS[name] or "<t" not in MODELS[name].split("observed")[0]
    drawn = "samples" in signature(model.log_prob).parameters
    expected = model.log_prob({"x": cells}, *([4000] if drawn else [])).exp().detach()
    found = torch.bincount(x[:, 0] * 9 + x[:, 1] * 3 + x[:, 2], minlength=27) / n
    # five standard deviations of a frequency, and of what a likelihood of 4,000 draws is off by
    assert ((found - expected).abs() < 5 * (expected / n).sqrt() + (0 if exact else 0.01)).all()


@pytest.mark.parametrize("name", MODELS)
def test_given_sites_are_what_others_are_drawn_from(name):
    model = compiled(name)
    before = model.sample(5, lengths={"t": 4})
    for key, value in before.items():
        if key != "t":
            assert torch.equal(model.sample(5, given={key: value}, lengths={"t": 4})[key], value)
    assert model.sample(2, lengths={"t": 0})["x"].shape == (2, 0)


NESTED = """\
lvspec: 1
name: nested
sizes: {K: 2, V: 5, E: 2, H: 3}
plates: {d: sequence, t: sequence(within=d)}
params: {w: [K]}
networks: {words: "Embedding(V, E)", "writer[K]": "GRU(E, H)", out: "Linear(H, V)"}
latent:
  c: Categorical(logits=w)
observed:
  x[d, t]: Categorical(logits=out(writer[c](words(x[d, <t]))))
"""


def test_which_network_an_example_has_is_the_same_on_all_of_its_plates():
    """With as many sentences as documents, an index of documents that is taken for one of sentences has the right shape."""
    model = lvspec.compile_spec(NESTED).Model()
    with torch.no_grad():
        for k, network in enumerate(model.writer.networks):  # which symbol is drawn says which network it was
            for parameter in network.parameters():
                parameter.fill_((-1.0) ** k)
        model.words.weight.fill_(1.0)
        model.out.weight.copy_(torch.tensor([[9.0], [0], [0], [0], [-9]]).expand(5, 3) * 9)
    c = torch.tensor([0, 1, 0])
    for sentences in (2, 3):
        x = model.sample(3, given={"c": c}, lengths={"d": sentences, "t": 2})["x"]
        assert torch.equal(x, (4 * c)[:, None, None].expand(3, sentences, 2))
