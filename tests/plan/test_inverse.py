"""Minimal faithful inverses: independencies of random graphs by brute force, what factors read on plates, whole modules."""

import random
import re
from itertools import combinations
from pathlib import Path

import networkx as nx
import pytest

from lvspec.cli.main import main
from lvspec.driver import compile_spec, plan_spec
from lvspec.errors import SpecError
from lvspec.front import load
from lvspec.plan.guides.inverse import boundary, draw_order, inverse
from lvspec.verify import verify
from lvspec.verify.report import render


# ---------------------------------------------------------------- independence, by its definition
def blocked(graph, path, given):
    """Whether some node of a path stops it: a collider without a given descendant, or another node that is given."""
    for a, m, b in zip(path, path[1:], path[2:], strict=False):
        collider = graph.has_edge(a, m) and graph.has_edge(b, m)
        if collider != bool({m, *nx.descendants(graph, m)} & given if collider else m in given):
            return True
    return False


def independent(graph, a, b, given):
    return all(blocked(graph, p, given) for p in nx.all_simple_paths(graph.to_undirected(), a, b))


def random_graph(rng, latents=4, observed=3):
    """Latents before what is observed; each node has up to three parents."""
    graph, names = nx.DiGraph(), [f"z{i}" for i in range(latents)] + [f"x{i}" for i in range(observed)]
    graph.add_nodes_from(names)
    for i, name in enumerate(names):
        for parent in rng.sample(names[:i], min(i, rng.randint(0, 3))):
            graph.add_edge(parent, name)
    return graph, names[:latents], names[latents:]


@pytest.mark.parametrize("seed", range(12))
def test_inverse_is_faithful_and_minimal(seed):
    """Every independence that the inverse claims holds in the model; without any one edge some would not."""
    rng = random.Random(seed)
    graph, latents, observed = random_graph(rng)
    order = rng.sample(latents, len(latents))
    for i, z in enumerate(order):
        before = [*observed, *order[:i]]
        parents = boundary(graph, z, before)
        assert all(independent(graph, z, n, set(parents)) for n in before if n not in parents)
        for dropped in parents:
            fewer = set(parents) - {dropped}
            assert not all(independent(graph, z, n, fewer) for n in before if n not in fewer)


def by_elimination(graph, latents):
    """Webb et al. 2018, algorithm 1: roots are eliminated first, neighbours in the moral graph become parents."""
    moral = nx.moral_graph(graph)
    marked, parents = set(), {}
    for z in latents:
        near = sorted(n for n in moral[z] if n not in marked)
        moral.add_edges_from(combinations(near, 2))
        parents[z] = near
        marked.add(z)
    return parents


@pytest.mark.parametrize("seed", range(12))
def test_inverse_is_that_of_variable_elimination(seed):
    """Where every latent is seen through something: latents in the order of the model, each with a child that is observed
    and has no other."""
    rng = random.Random(seed)
    graph, latents, observed = random_graph(rng)
    for z in latents:
        graph.add_edge(z, f"own {z}")
    observed = [n for n in graph if n not in latents]
    expected = by_elimination(graph, latents)
    for i, z in enumerate(latents):
        assert sorted(boundary(graph, z, [*observed, *latents[i + 1 :]])) == expected[z]


# ---------------------------------------------------------------- on plates
HEAD = """lvspec: 1
name: model
sizes: {P: features(x), D: 2, K: 2}
"""
SPECS = {
    "chain": """plates: {t: sequence}
networks:
  move: Linear(D, D)
  emit: Linear(D, P)
latent:
  z[0]: Normal(0, 1)[D]
  z[t]: Normal(tanh(move(z[t-1])), 1)
observed:
  x[t]: Bernoulli(logits=emit(z[t]))
""",
    "two layers": """
networks:
  lower: MLP(D, D)
  emit: MLP(D, P)
latent:
  a: Normal(0, 1)[D]
  b: Normal(tanh(lower(a)), 1)
observed:
  x: Bernoulli(logits=emit(tanh(b)))
""",
    "explaining away": """
networks:
  emit: MLP(D, P)
latent:
  a: Normal(0, 1)[D]
  b: LogNormal(0, 1)[D]
observed:
  x: Bernoulli(logits=emit(a * b))
""",
    "one for all sites": """plates: {t: sequence}
networks:
  lower: MLP(D, D)
  emit: MLP(D, P)
latent:
  a: Normal(0, 1)[D]
  z[t]: Normal(tanh(lower(a)), 1)
observed:
  x[t]: Bernoulli(logits=emit(tanh(z[t])))
""",
    "sites of a fixed plate": """plates: {l: 3}
networks:
  emit: MLP(2*D, P)
latent:
  a: Normal(0, 1)[D]
  w[l]: Normal(a, 1)
observed:
  x[l]: Bernoulli(logits=emit(concat(w[l], a)))
""",
    "a bag": """plates: {t: bag}
networks:
  emit: MLP(D, P)
latent:
  a: SphericalUniform(D)
observed:
  x[t]: Bernoulli(logits=emit(a))
""",
    "a discrete parent": """
params: {start: [K], centre: [K, D]}
networks:
  emit: MLP(D, P)
latent:
  c: Categorical(logits=start)
  z: Normal(centre[c], 1)
observed:
  x: Bernoulli(logits=emit(z))
infer: {c: reinforce(samples=2)}
""",
}
READS = {
    "chain": {"z": {"x": "from", "z": "before"}},
    "two layers": {"b": {"x": ""}, "a": {"b": ""}},
    "explaining away": {"b": {"x": ""}, "a": {"x": "", "b": ""}},
    "one for all sites": {"a": {"x": "whole"}, "z": {"x": "here", "a": ""}},
    "sites of a fixed plate": {"a": {"x": "whole"}, "w": {"x": "here", "a": ""}},
    "a bag": {"a": {"x": "whole"}},
    "a discrete parent": {"z": {"x": ""}, "c": {"z": ""}},
}


@pytest.mark.parametrize("name", SPECS)
def test_readings_of_an_inverse(name):
    spec = load(HEAD + SPECS[name], "model.yaml")
    found = inverse(spec, [v.name for v in spec.of_role("latent")])
    seen = {n: {r.name: "".join(way for _, way in r.ways) for r in reads} for n, reads in found.items()}
    assert seen == READS[name]
    assert not any(r.partial for reads in found.values() for r in reads)


def test_what_lies_on_fewer_plates_is_drawn_first_then_what_is_deeper():
    spec = load(HEAD + SPECS["one for all sites"], "model.yaml")
    assert draw_order(spec, ["a", "z"]) == [("a",), ("z",)]
    spec = load(HEAD + SPECS["two layers"], "model.yaml")
    assert draw_order(spec, ["a", "b"]) == [("b",), ("a",)]


def test_coupled_sites_that_no_line_can_say_are_called_partial():
    text = SPECS["one for all sites"].replace("  a: Normal(0, 1)[D]\n", "").replace("tanh(lower(a))", "0").replace(
        "observed:", "let:\n  h[t]: reader(z[<=t])\nobserved:"
    ).replace("emit(tanh(z[t]))", "emit(h[t])").replace("lower: MLP(D, D)", "reader: GRU(D, D)").replace("Normal(0, 1)", "Normal(0, 1)[D]")  # fmt: skip
    plan = plan_spec(HEAD + text, overrides={"guide": "inverse"})
    assert "# q(z) is not faithful" in plan.spec.derived and "z[t-1]" in plan.spec.derived


def test_chains_that_are_seen_together_read_their_own_past_alone():
    """Given x, the states of all chains at a site depend on each other: no line says the state of the chains before it."""
    text = """plates: {m: 2, t: sequence}
networks:
  move: Linear(D, D)
  emit: Linear(D, P)
latent:
  z[m, 0]: Normal(0, 1)[D]
  z[m, t]: Normal(tanh(move(z[m, t-1])), 1)
observed:
  x[t]: Bernoulli(logits=mean(emit(z[m, t]) over m))
"""
    found = compile_spec(HEAD + text, sizes={"P": 2, "D": 2, "K": 2}, overrides={"guide": "inverse"})
    assert "# q(z) is not faithful" in found.plan.spec.derived
    assert re.findall(r"z\[m, t[-\d]*\](?!:)", found.plan.spec.derived) == ["z[m, t-1]"]
    report = verify(found.spec, found.plan, found.Model, seed=1, draws=0)
    assert report.passed, render(report)


@pytest.mark.parametrize("family", ["mean_field", "structured", "inverse"])
@pytest.mark.parametrize("name", SPECS)
def test_derived_guide_is_as_if_it_had_been_written(name, family):
    """The module agrees with the oracle, and is that of the spec with the lines in it."""
    text = HEAD + SPECS[name]
    sizes = {"P": 2, "D": 2, "K": 2}
    found = compile_spec(text, sizes=sizes, overrides={"guide": family})
    assert {p.guide for p in found.plan.latents} <= {"derived", "none"} and found.plan.spec.derived
    report = verify(found.spec, found.plan, found.Model, seed=1, draws=0)
    assert report.passed, render(report)
    pasted = text
    for section, lines in sections(found.plan.spec.derived).items():
        pasted = (
            pasted.replace("networks:\n", "networks:\n" + lines, 1)
            if section == "networks"
            else pasted + section + ":\n" + lines
        )
    by_hand = compile_spec(pasted, sizes=sizes)
    assert shapes(by_hand) == shapes(found)
    assert {p.guide for p in by_hand.plan.latents} <= {"written", "none"}
    assert by_hand.source.split("class ")[1].count("\n") == found.source.split("class ")[1].count("\n")


@pytest.mark.parametrize("family", ["structured", "inverse"])
def test_vectors_of_one_hot_are_drawn_and_read_as_the_language_says(family):
    text = """sizes: {K: 3, D: 2}
params: {start: [K], mean: [D, K], noise: [D]}
networks: {lower: "Linear(K, D)"}
latent:
  c: OneHotCategorical(logits=start)
  g: Normal(lower(c), 1)
observed:
  x: Normal(g + matmul(mean, c), softplus(noise))
"""
    settings = {"guide": family, "c": "reinforce", "g": "reparameterization", "samples": 2}
    found = compile_spec(f"lvspec: 1\n{text}", overrides=settings)
    assert "c: OneHotCategorical(" in found.plan.spec.derived and "onehot(" not in found.plan.spec.derived
    report = verify(found.spec, found.plan, found.Model, seed=1, draws=0)
    assert report.passed, render(report)


def test_a_latent_of_which_nothing_is_to_be_read_has_free_parameters():
    text = """sizes: {K: 3, M: 2, D: 2}
plates: {m: M}
params: {start: [M, K], mean: [D]}
latent:
  z[m]: Categorical(logits=start[m])
observed:
  x: Normal(mean, 1)
"""
    found = compile_spec(f"lvspec: 1\n{text}", overrides={"guide": "inverse", "z": "reinforce", "samples": 2})
    assert "  z[m]: Categorical(logits=guide_logits_z[m])" in found.plan.spec.derived
    report = verify(found.spec, found.plan, found.Model, seed=1, draws=0, thorough=False)
    assert report.passed, render(report)


def sections(text):
    found, name = {}, ""
    for line in text.splitlines(keepends=True):
        if line.startswith("  "):
            found[name] += line
        elif not line.startswith("#"):
            name = line.strip(":\n")
            found[name] = ""
    return found


def shapes(found):
    return {n: tuple(p.shape) for n, p in found.Model(P=2, D=2).named_parameters()}


@pytest.mark.parametrize("path", ["two layers", "chain", "sites of a fixed plate", "explaining away"])
def test_lines_that_explain_shows_are_those_of_the_guide_that_nobody_asked_for(path):
    plain = compile_spec(HEAD + SPECS[path], sizes={"P": 2})
    named = compile_spec(HEAD + SPECS[path], sizes={"P": 2}, overrides={"guide": "mean_field"})
    assert plain.plan.derived == named.plan.spec.derived and shapes(named) == shapes(plain)
    assert statements(plain) == statements(named)


def statements(found):
    """The class without its docstring and comments."""
    return re.sub(" +# .*", "", found.source.partition("class ")[2].split('"""', 2)[2])


def test_symbols_of_a_fixed_plate_are_read_as_vectors():
    text = """sizes: {C: 5, M: 3}
plates: {m: M}
params: {a: [C], b: [C]}
latent:
  g: Normal(0, 1)
observed:
  y[m]: Categorical(logits=a * tanh(g) + b)
"""
    found = compile_spec(f"lvspec: 1\n{text}")
    assert "  guide_g: MLP(64 * M, 64, 2)\n" in found.plan.derived
    assert found.Model().read_y.weight.shape == (5, 64)
    report = verify(found.spec, found.plan, found.Model, seed=1, draws=0)
    assert report.passed, render(report)


def test_command_prints_the_lines(capsys, tmp_path):
    Path(tmp_path / "m.yaml").write_text(HEAD + SPECS["chain"])
    assert main(["explain", str(tmp_path / "m.yaml"), "--set", "infer.guide=inverse", "--guide"]) == 0
    printed = capsys.readouterr().out
    assert "  after_x: LSTM(P, 64)" in printed and "  z[t]: Normal(" in printed and "z[t-1]" in printed
    assert main(["explain", str(tmp_path / "m.yaml")]) == 0
    assert "guide, derived" in capsys.readouterr().out


def test_what_lines_cannot_say_is_refused():
    text = """plates:
  d: bag
  t: sequence(within=d)
networks:
  emit: Linear(D, P)
latent:
  a: Normal(0, 1)[D]
observed:
  x[d, t]: Bernoulli(logits=emit(a))
"""
    with pytest.raises(SpecError) as caught:
        plan_spec(HEAD + text, overrides={"guide": "inverse"})
    assert caught.value.diagnostics[0].code == "no-guide" and "has to read x" in str(caught.value)


# ---------------------------------------------------------------- sites of their own, and several sites back
BAG = """lvspec: 1
name: m
plates: {s: bag, i: 2}
params: {a: [], w: [3]}
latent:
  g: Normal(0, 1)
  theta[s]: Normal(g, 1)
observed:
  u: Normal(g, 1)
  y[s]: Bernoulli(logits=tanh(theta[s]) * a)
  k[s]: Categorical(logits=w * tanh(theta[s]))
"""
SECOND_ORDER = """lvspec: 1
name: m
plates: {t: sequence}
params: {a: []}
latent:
  z[0]: Normal(0, 1)
  z[1]: Normal(0, 1)
  z[t]: Normal(tanh(z[t-1]) + a * tanh(z[t-2]), 1)
observed:
  y[t]: Bernoulli(logits=z[t])
"""


@pytest.mark.parametrize("family", ["", "infer: {guide: mean_field}\n", "infer: {guide: structured}\n"])
def test_a_site_of_a_bag_reads_its_own_data_and_the_mean(family):
    compiled = compile_spec(BAG + family)
    lines = compiled.plan.derived
    assert "flatten(y[s])" in lines
    assert "mean(flatten(y))" in lines
    assert "read_k(k[s])" in lines
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=1, draws=0)
    assert report.passed, render(report)


def test_derived_q_of_independent_sites_comes_near_the_exact_posterior():
    """y[s] ~ Bernoulli(σ(theta²)): the bound of a q that knows the mean of y alone stays far below."""
    import torch

    text = "lvspec: 1\nname: m\nplates: {s: bag}\nlatent:\n  theta[s]: Normal(0, 1)\nobserved:\n  y[s]: Normal(3 * tanh(theta[s]), 0.3)\n"
    torch.manual_seed(0)
    model = compile_spec(text).Model().double()
    theta = torch.randn(64, 8, dtype=torch.float64)
    batch = {"y": 3 * theta.tanh() + 0.3 * torch.randn_like(theta), "s": torch.full((64,), 8)}
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(600):
        optimiser.zero_grad()
        model(batch).loss.backward()
        optimiser.step()
    grid = torch.linspace(-6, 6, 4001, dtype=torch.float64)
    log_p = torch.distributions.Normal(3 * grid.tanh(), 0.3).log_prob(batch["y"][..., None])
    log_p = log_p + torch.distributions.Normal(0.0, 1.0).log_prob(grid) + (grid[1] - grid[0]).log()
    exact = log_p.logsumexp(-1).sum(-1).mean()
    found = torch.stack([model(batch).elbo.detach().mean() for _ in range(50)]).mean()
    assert exact - 2.0 < found < exact  # one that reads the mean alone cannot tell the sites apart


@pytest.mark.parametrize("family", ["structured", "inverse"])
def test_factors_read_as_many_sites_back_as_the_model(family):
    compiled = compile_spec(f"{SECOND_ORDER}infer: {{guide: {family}}}\n")
    lines = compiled.plan.derived
    assert "flatten(z[t-1]), flatten(z[t-2])" in lines
    assert "z[1]: Normal" in lines
    assert "not faithful" not in lines
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=1, draws=0)
    assert report.passed, render(report)
