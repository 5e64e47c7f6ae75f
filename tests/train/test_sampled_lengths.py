"""`lvspec sample --length` where nothing of such a length can be drawn."""

import json

import pytest

from lvspec.cli.main import main

FRAMES = """
lvspec: 1
name: frames
sizes: {V: vocabulary(x), D: 2}
plates: {m: sequence, t: sequence}
given:
  f[m]: real[D]
networks: {symbol: "Linear(D, V)", pause: "Linear(D, 1)"}
observed:
  x over t: CTC(logits=symbol(f[m]) over m, blank=pause(f[m])[0] over m)
"""
GRAMMAR = """
lvspec: 1
name: grammar
sizes: {V: vocabulary(x), N: 2, P: 2}
plates: {t: sequence}
params: {root: [N], rules: [N, N + P, N + P], terminals: [P, V]}
observed:
  x over t: PCFG(root=root, rules=rules, terminals=terminals) with tree
"""


@pytest.mark.parametrize(("spec", "possible", "length"), [(FRAMES, 2, 9), (GRAMMAR, 3, 1)])
def test_a_length_that_cannot_be_drawn_is_wrong_usage(tmp_path, monkeypatch, capsys, spec, possible, length):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.yaml").write_text(spec)
    records = [{"x": "a b", "f": [[0.5, 1.0]] * 4}, {"x": "b a", "f": [[0.1, -1.0]] * 3}]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    files = [word for part in ("data", "valid", "test") for word in (f"--{part}", "data.jsonl")]
    assert main(["train", "model.yaml", *files, "--out", "run", "--steps", "1", "--quiet", "--no-verify"]) == 0
    capsys.readouterr()
    assert main(["sample", "run", "--length", str(possible)]) == 0
    assert all(len(line.split()) == possible for line in capsys.readouterr().out.splitlines())
    assert main(["sample", "run", "--length", str(length)]) == 2
    assert f"--length {length}: " in (said := capsys.readouterr().err) and "cannot yield" in said
