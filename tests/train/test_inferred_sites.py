"""What `lvspec infer` prints stands at sites that are there: nested sequences, plates whose length is drawn, missing symbols."""

import json

import numpy as np
import pytest

from lvspec.cli.main import main
from lvspec.ir.spec import Plate
from lvspec.train.data.unpadded import unpadded

NESTED = """
lvspec: 1
name: nested
sizes: {C: 2, V: vocabulary(x), W: vocabulary(w)}
plates: {d: sequence, t: sequence(within=d)}
params: {start: [C], word: [C, V], tag: [W]}
latent:
  c[d, t]: Categorical(logits=start)
  h[d, t]: Normal(0, 1)
observed:
  x[d, t]: Categorical(logits=word[c[d, t]])
  y[d, t]: Normal(h[d, t], 1)
  w[d]: Categorical(logits=tag)
data:
  c: {format: jsonl, field: c}
  x: {format: jsonl, field: x}
  y: {format: jsonl, field: y}
  w: {format: jsonl, field: w}
"""
RECORDS = [
    {
        "x": [[], ["p", "q", "p"], []],
        "y": [[], [0.5, 1, 2], []],
        "w": ["u", None, "u"],
        "c": [[], ["n", None, "v"], []],
    },
    {"x": [["q"], ["p", "p"]], "y": [[1], [0, 3]], "w": ["u", "v"]},
]


def shape(value):
    return [shape(v) for v in value] if isinstance(value, list) else 0


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def inferred(capsys, *options):
    capsys.readouterr()
    assert main(["infer", *options]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def train(spec, records, *options):
    with open("model.yaml", "w") as file:
        file.write(spec)
    with open("data.jsonl", "w") as file:
        file.write("".join(json.dumps(record) + "\n" for record in records))
    files = [word for part in ("data", "valid", "test") for word in (f"--{part}", "data.jsonl")]
    assert (
        main(["train", "model.yaml", *files, "--out", "run", "--steps", "2", "--quiet", "--no-verify", *options]) == 0
    )


def test_sites_beyond_a_nested_sequence_are_not_printed(here, capsys):
    train(NESTED, RECORDS)
    for one, record in zip(inferred(capsys, "run", "--marginals"), RECORDS, strict=True):
        sites = shape(record["y"])
        assert one["x"] == record["x"] and one["w"] == record["w"]
        assert all(shape(one["c"][answer]) == sites for answer in ("mode", "probability"))
        assert all(shape(one["h"][answer]) == sites for answer in ("mean", "deviation"))
        assert one["c"].get("label") == record.get("c") and one["c"]["values"] == ["n", "v"]
        assert shape(one["c"]["marginals"]) == [[[0, 0] for _ in row] for row in sites]
        assert all(p > 0 for row in one["c"]["probability"] for p in row)


def test_a_place_in_a_nested_sequence_is_one_of_its_own_sites(here, capsys):
    spec = """
lvspec: 1
name: places
sizes: {G: 1}
plates: {d: sequence, t: sequence(within=d)}
given:
  g[d, t]: real
observed:
  y[d]: Normal(g[d, a[d]], 1)
latent:
  a[d]: Categorical(logits=g[d, t] over t)
"""
    train(spec, [{"g": [[1.0], [0, 2.0, 3]], "y": [1, 2]}, {"g": [[0, 1.0]], "y": [1]}])
    found = inferred(capsys, "run", "--marginals")
    assert [shape(one["a"]["marginals"]) for one in found] == [[[0], [0, 0, 0]], [[0, 0]]]
    assert all(sum(site) == pytest.approx(1, abs=1e-5) for one in found for site in one["a"]["marginals"])


def test_words_are_counted_where_they_are_and_once(here, capsys):
    train(NESTED, RECORDS)
    capsys.readouterr()
    assert main(["infer", "run", "--top-words", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    assert {word for row in rows for word in row["words"]} == {"p", "q"}


def test_sites_beyond_a_length_that_is_inferred_are_not_printed(here, capsys):
    spec = """
lvspec: 1
name: visits
sizes: {M: 4, K: 2}
plates: {i: {length: l + 1, max: M}}
params: {ll: [M], pk: [K], loc: [K], pos: [M]}
latent:
  l: Categorical(logits=ll)
  k[i]: Categorical(logits=pk)
observed:
  y: Normal(sum(loc[k[i]] * pos[i] over i), 1)
  n: Poisson(0.1 + 5 * l)
"""
    train(spec, [{"y": 0.5, "n": n} for n in (0, 6, 12, 15)], "--set", "train.init.ll=zeros")
    found = inferred(capsys, "run", "--marginals")
    assert len({one["l"]["mode"] for one in found}) > 1
    for one in found:
        assert (
            len(one["k"]["mode"]) == len(one["k"]["probability"]) == len(one["k"]["marginals"]) == one["l"]["mode"] + 1
        )
    for one, alone in zip(found, inferred(capsys, "run", "--latent", "k"), strict=True):
        assert alone == {"record": one["record"], "k": {k: v for k, v in one["k"].items() if k != "marginals"}}


@pytest.mark.parametrize("classes", [True, False])
@pytest.mark.parametrize("prior", ["Normal(0, 1)[D]", "ImproperUniform(D)"])
def test_a_point_estimate_is_printed_as_its_mode(here, capsys, classes, prior):
    spec = f"""
lvspec: 1
name: points
sizes: {{P: 3, D: 2, C: 2}}
params: {{classes: [C], shift: [C, P]}}
networks: {{dec: "Linear(D, P)", sty: "Linear(P, D)"}}
latent:
  s: {prior}
  {"c: Categorical(logits=classes)" if classes else ""}
observed:
  x: Normal(dec(s){" + shift[c]" if classes else ""}, 1)
guide:
  s: Delta(sty(x))
"""
    train(spec, [{"x": [0.5, 1, float(i)]} for i in range(3)])
    for one in inferred(capsys, "run", "--marginals"):
        assert one["s"].keys() == {"mode"} and len(one["s"]["mode"]) == 2
        assert not classes or sum(one["c"]["marginals"]) == pytest.approx(1, abs=1e-5)


def test_no_probability_is_above_one(here, capsys, monkeypatch):
    train(NESTED, RECORDS)
    monkeypatch.setattr(
        "lvspec.runtime.model.posterior.LatentPosterior.marginals",
        property(lambda self: self.joint.marginals()[self.name] + 1 + 1e-6),
    )
    for one in inferred(capsys, "run", "--marginals"):
        assert all(p == 1 for row in one["c"]["probability"] for p in row)
        assert all(p == 1 for row in one["c"]["marginals"] for site in row for p in site)


def test_each_site_has_as_many_of_a_nested_plate_as_it_says():
    d, k, t = Plate("d", "sequence"), Plate("k", "fixed"), Plate("t", "sequence", within="d")
    block, lengths = np.arange(24).reshape(3, 2, 4).tolist(), {"d": np.array(2), "t": np.array([1, 3, 0])}
    assert unpadded(block, (d, k, t), lengths) == [[[0], [4]], [[8, 9, 10], [12, 13, 14]]]
    assert unpadded(block, (d,), lengths) == block[:2]
    assert unpadded([1, 2, 3, 4], (t,), lengths) == [1, 2, 3]  # the longest, where no site of d is known


GRAMMARS = """lvspec: 1
sizes: {V: vocabulary(x), C: 2, N: 2, P: 2}
plates: {t: sequence}
params: {classes: [C], root: [C, N], rules: [N, N + P, N + P], terminals: [P, V]}
latent: {c: Categorical(logits=classes)}
observed: {x over t: "PCFG(root=root[c], rules=rules, terminals=terminals) with tree"}
data: {x: {format: jsonl, field: x}}
"""


def test_a_tree_that_reads_what_is_summed_is_refused_by_name(here, capsys):
    train(GRAMMARS, [{"x": "p q p"}, {"x": "q p"}])
    assert inferred(capsys, "run", "--limit", "1")[0]["c"]
    assert main(["infer", "run", "--latent", "tree"]) == 2
    assert "its scores read a latent that is summed out" in capsys.readouterr().err
