"""CRF guides against brute force: averaged by marginals, and drawn."""

import pytest

from lvspec.driver import compile_spec
from lvspec.ir.reads import Reader
from lvspec.ir.structured import structure_of
from lvspec.verify import render, verify

HEAD = """
lvspec: 1
name: guided
sizes: {K: 2, L: 2, C: 2, V: 4, H: 3}
plates: {t: sequence, j: copy(t), l: 2}
params:
  start: [K]
  transition: [K, K]
  emission: [K, V]
  links: [K, K]
  far: [C, K, K]
  near: [2, K, K]
  classes: [C]
  steps: [K, L]
  shift: [K, V]
  arc: [V, V]
  child: [V, V]
networks:
  reader: Embedding(V, H)
  score: Linear(H, K)
  second: Linear(H, K)
  top: Linear(H, C)
  states: Embedding(K, H)
  writer: LSTM(2*H, H)
  output: Linear(H, V)
  place: Linear(H, 2)
  words: Linear(1, V)
  tilted: Linear(H + 1, K)
"""
CHAIN = "  z[0]: Categorical(logits=start)\n  z[t]: Categorical(logits=transition[z[t-1]])\n"
EMITTED = "observed:\n  x[t]: Categorical(logits=emission[z[t]])\n"
LINEAR = "  z over t: LinearChain(unary=score(reader(x[t])), pairwise=links)\n"
DRAWN = "infer:\n  z: reinforce\n  samples: 2\n"
GIVEN = "given:\n  w[t]: token(V)\n"
ARCS = "arc[w[t], w[j]] over j"
CHILDREN = "observed:\n  x[t]: Categorical(logits=child[w[h[t]]])\n"
NEW_ARCS = "dot(reader(w[j]), reader(x[t])) over j"
HEADS = "infer:\n  h: reinforce\n  samples: 2\n"

# name -> (the model, the strategy of each latent)
FORMS = {
    "a chain": (f"latent:\n{CHAIN}{EMITTED}guide:\n{LINEAR}", {"z": "marginals"}),
    "a chain, drawn": (f"latent:\n{CHAIN}{EMITTED}guide:\n{LINEAR}{DRAWN}", {"z": "reinforce"}),
    "one table of scores for all sites": (
        f"latent:\n{CHAIN}{EMITTED}guide:\n  z over t: LinearChain(unary=start, pairwise=links)\n",
        {"z": "marginals"},
    ),
    "a chain whose emissions read two states": (
        f"latent:\n{CHAIN}observed:\n  x[0]: Categorical(logits=emission[z[0]])\n"
        f"  x[t]: Categorical(logits=emission[z[t]] + shift[z[t-1]])\nguide:\n{LINEAR}",
        {"z": "marginals"},
    ),
    "sites that are independent in the model": (
        f"latent:\n  z[t]: Categorical(logits=start)\n{EMITTED}guide:\n{LINEAR}",
        {"z": "marginals"},
    ),
    "words that read all states before": (
        f"latent:\n{CHAIN}let:\n  h[t]: writer(concat(reader(x[<t]), states(z[<t])))\n"
        f"observed:\n  x[t]: Categorical(logits=output(h[t]) + emission[z[t]])\nguide:\n{LINEAR}infer:\n  samples: 2\n",
        {"z": "reinforce"},
    ),
    "a labelling under another one": (
        "latent:\n  z over t: LinearChain(unary=start, pairwise=transition)\n" + EMITTED + f"guide:\n{LINEAR}",
        {"z": "marginals"},
    ),
    "a labelling under another one, drawn": (
        "latent:\n  z over t: LinearChain(unary=start, pairwise=transition)\n" + EMITTED + f"guide:\n{LINEAR}{DRAWN}",
        {"z": "reinforce"},
    ),
    "a labelling under sites that are independent": (
        "latent:\n  z over t: LinearChain(unary=start, pairwise=transition)\n" + EMITTED + "guide:\n"
        f"  z[t]: Categorical(logits=score(reader(x[t])))\n{DRAWN}",
        {"z": "reinforce"},
    ),
    "states of segments": (
        f"latent:\n{CHAIN}{EMITTED}guide:\n  z over t: SemiMarkov(start=start, transition=links, length=steps)\n{DRAWN}",
        {"z": "reinforce"},
    ),
    "segments under a chain": (
        "latent:\n  z over t: SemiMarkov(start=start, transition=transition, length=steps)\n"
        + EMITTED
        + f"guide:\n{LINEAR}{DRAWN}",
        {"z": "reinforce"},
    ),
    "two chains, read together": (
        f"latent:\n{CHAIN}  y[0]: Categorical(logits=start)\n  y[t]: Categorical(logits=links[y[t-1]])\n"
        f"observed:\n  x[t]: Categorical(logits=emission[z[t]] + shift[y[t]])\nguide:\n{LINEAR}"
        "  y over t: LinearChain(unary=second(reader(x[t])), pairwise=near[0])\n",
        {"z": "marginals", "y": "marginals"},
    ),
    "a chain that is averaged beside one that is drawn": (
        f"latent:\n{CHAIN}  y[0]: Categorical(logits=start)\n  y[t]: Categorical(logits=links[y[t-1]])\n"
        f"observed:\n  x[t]: Categorical(logits=emission[z[t]] + shift[y[t]])\nguide:\n{LINEAR}"
        "  y over t: LinearChain(unary=second(reader(x[t])), pairwise=near[0])\ninfer:\n  y: reinforce\n  samples: 2\n",
        {"z": "marginals", "y": "reinforce"},
    ),
    "a class that transitions and their guide read": (
        "latent:\n  c: Categorical(logits=classes)\n  z[0]: Categorical(logits=start)\n"
        f"  z[t]: Categorical(logits=far[c, z[t-1]])\n{EMITTED}guide:\n  c: Categorical(logits=top(mean(reader(x))))\n"
        "  z over t: LinearChain(unary=score(reader(x[t])), pairwise=links + far[c])\n",
        {"c": "enumeration", "z": "marginals"},
    ),
    "a class that transitions and their guide read, both drawn": (
        "latent:\n  c: Categorical(logits=classes)\n  z[0]: Categorical(logits=start)\n"
        f"  z[t]: Categorical(logits=far[c, z[t-1]])\n{EMITTED}guide:\n  c: Categorical(logits=top(mean(reader(x))))\n"
        f"  z over t: LinearChain(unary=score(reader(x[t])), pairwise=links + far[c])\n{DRAWN}  c: reinforce\n",
        {"c": "reinforce", "z": "reinforce"},
    ),
    "a class, averaged, and a chain drawn for each of its values": (
        "latent:\n  c: Categorical(logits=classes)\n  z[0]: Categorical(logits=start)\n"
        f"  z[t]: Categorical(logits=far[c, z[t-1]])\n{EMITTED}guide:\n  c: Categorical(logits=top(mean(reader(x))))\n"
        f"  z over t: LinearChain(unary=score(reader(x[t])), pairwise=links + far[c])\n{DRAWN}",
        {"c": "enumeration", "z": "reinforce"},
    ),
    "a Gaussian that its guide reads": (
        f"latent:\n  g: Normal(0, 1)[1]\n{CHAIN}observed:\n  x[t]: Categorical(logits=words(g) + emission[z[t]])\n"
        "guide:\n  g: Normal(loc, softplus(scale)) where loc, scale = split(place(mean(reader(x))))\n"
        "  z over t: LinearChain(unary=tilted(concat(reader(x[t]), g)), pairwise=links)\n",
        {"g": "reparameterization", "z": "marginals"},
    ),
    "a Gaussian that its guide reads, drawn": (
        f"latent:\n  g: Normal(0, 1)[1]\n{CHAIN}observed:\n  x[t]: Categorical(logits=words(g) + emission[z[t]])\n"
        "guide:\n  g: Normal(loc, softplus(scale)) where loc, scale = split(place(mean(reader(x))))\n"
        f"  z over t: LinearChain(unary=tilted(concat(reader(x[t]), g)), pairwise=links)\n{DRAWN}",
        {"g": "reparameterization", "z": "reinforce"},
    ),
    "a latent of each site that is summed inside": (
        f"latent:\n{CHAIN}  y[t]: Categorical(logits=links[z[t]])\n"
        f"observed:\n  x[t]: Categorical(logits=emission[z[t]] + shift[y[t]])\nguide:\n{LINEAR}",
        {"z": "marginals", "y": "enumeration"},
    ),
    "a latent whose guide reads the labels": (
        f"latent:\n{CHAIN}  y[t]: Categorical(logits=links[z[t]])\n"
        f"observed:\n  x[t]: Categorical(logits=emission[z[t]] + shift[y[t]])\nguide:\n{LINEAR}"
        "  y[t]: Categorical(logits=near[0, z[t]])\ninfer:\n  samples: 2\n",
        {"z": "reinforce", "y": "enumeration"},
    ),
    "heads": (
        f"{GIVEN}latent:\n  h over t: DependencyCRF(arcs={ARCS})\n{CHILDREN}guide:\n"
        f"  h over t: DependencyCRF(arcs={NEW_ARCS})\n",
        {"h": "marginals"},
    ),
    "heads under trees whose arcs cross": (
        f"{GIVEN}latent:\n  h over t: NonProjectiveCRF(arcs={ARCS})\n{CHILDREN}guide:\n"
        f"  h over t: NonProjectiveCRF(arcs={NEW_ARCS})\n",
        {"h": "marginals"},
    ),
    "heads, drawn": (
        f"{GIVEN}latent:\n  h over t: NonProjectiveCRF(arcs={ARCS})\n{CHILDREN}guide:\n"
        f"  h over t: DependencyCRF(arcs={NEW_ARCS})\n{HEADS}",
        {"h": "reinforce"},
    ),
    "constituents": (
        f"{GIVEN}latent:\n  h over t: TreeCRF(spans={ARCS})\n{CHILDREN}guide:\n"
        f"  h over t: TreeCRF(spans={NEW_ARCS})\ninfer:\n  samples: 2\n",
        {"h": "reinforce"},
    ),
    "a chain for each of a few": (
        "latent:\n  z[l, 0]: Categorical(logits=start)\n  z[l, t]: Categorical(logits=transition[z[l, t-1]])\n"
        "observed:\n  x[t]: Categorical(logits=sum(emission[z[l, t]] over l))\n"
        "guide:\n  z[l] over t: LinearChain(unary=score(reader(x[t])), pairwise=links + near[l])\ninfer:\n  samples: 2\n",
        {"z": "reinforce"},
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_crf_guide_agrees_with_brute_force(name):
    text, strategies = FORMS[name]
    compiled = compile_spec(HEAD + text)
    assert {p.name: p.strategy for p in compiled.plan.latents} == strategies
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=0, draws=0)
    assert report.passed, render(report)
    compared = {c.name for c in report.checks if c.figure is not None}
    latents = set(strategies)
    reader = Reader(compiled.spec, compiled.plan.guide)
    for crf in (v for v in compiled.plan.guide if structure_of(v)):
        if latents.isdisjoint(r.name for r in reader.of_variable(crf)):  # encode answers
            assert f"marginals of {crf.name} under q" in compared
