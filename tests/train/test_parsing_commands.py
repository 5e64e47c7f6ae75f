"""Trees that a model has induced, held against gold trees by `eval` and shown by `infer`."""

import json

import pytest

from lvspec.cli.main import main

DMV = """\
lvspec: 1
name: arcs
sizes: {C: vocabulary(x)}
plates: {t: sequence}
params: {root: [C], stop: [C, 2, 2, 2], attach: [C, 2, C]}
observed:
  x over t: DMV(root=root, stop=stop, attach=attach) with tree
data:
  x: {format: conllu, column: upos}
train: {epochs: 4, learning_rate: 0.1}
"""
PCFG = """\
lvspec: 1
name: phrases
sizes: {N: 2, P: 3, V: vocabulary(x)}
plates: {t: sequence}
params: {root: [N], rules: [N, N + P, N + P], words: [P, V]}
observed:
  x over t: PCFG(root=root, rules=rules, terminals=words) with tree
data:
  x: {format: trees, column: words}
train: {epochs: 4, learning_rate: 0.1}
"""
PARSER = """\
lvspec: 1
name: parser
sizes: {V: vocabulary(x)}
plates: {t: sequence, j: copy(t)}
given:
  x[t]: token(V)
params: {arc: [V, V], root: [V]}
latent:
  head over t: NonProjectiveCRF(arcs=arc[x[t], x[j]] + equal(j, t) * root[x[t]] over j)
data:
  x: {format: conllu, column: form}
  head: {format: conllu, column: head}
train: {epochs: 4, learning_rate: 0.1}
"""
BRACKETS = """\
lvspec: 1
name: brackets
sizes: {V: vocabulary(x)}
plates: {t: sequence, j: copy(t)}
given:
  x[t]: token(V)
params: {score: [V, V]}
latent:
  tree over t: TreeCRF(spans=score[x[t], x[j]] over j)
data:
  x: {format: trees, column: words}
  tree: {format: trees, column: tree}
train: {epochs: 4, learning_rate: 0.1}
"""
# (word, tag, head) ...
SENTENCES = (
    (("the", "DET", 2), ("cat", "NOUN", 3), ("sat", "VERB", 0), (".", "PUNCT", 3)),
    (("cats", "NOUN", 2), ("sit", "VERB", 0)),
    (("the", "DET", 2), ("cat", "NOUN", 3), ("saw", "VERB", 0), ("a", "DET", 5), ("dog", "NOUN", 3)),
)
TREES = (
    "(S (NP (DT the) (NN cat)) (VP (VBD sat)) (. .))",
    "(S (NP (NNS cats)) (VP (VBP sit)))",
    "(S (NP (DT the) (NN cat)) (VP (VBD saw) (NP (DT a) (NN dog))))",
)
SPANS = ({(0, 2)}, set(), {(0, 2), (2, 5), (3, 5)})  # of TREES, without words and sentences


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = [
        "".join(f"{i}\t{w}\t_\t{tag}\t_\t_\t{head}\t_\t_\t_\n" for i, (w, tag, head) in enumerate(s, 1))
        for s in SENTENCES
    ]
    (tmp_path / "all.conllu").write_text("\n".join(blocks * 5))
    (tmp_path / "all.trees").write_text("\n".join(TREES * 5) + "\n")
    (tmp_path / "arcs.yaml").write_text(DMV)
    (tmp_path / "phrases.yaml").write_text(PCFG)
    return tmp_path


def told(capsys, *command):
    capsys.readouterr()
    assert main(list(command)) == 0
    return capsys.readouterr().out


def trained(name, data):
    assert main(["train", f"{name}.yaml", "--data", data, "--valid", data, "--quiet"]) == 0


def figures(capsys, run, *options):
    rows = json.loads(told(capsys, "eval", run, "--json", *options))["figures"]
    return {(r["quantity"], r["how"]): r["value"] for r in rows}


def test_heads_of_the_best_trees_are_held_against_those_of_the_file(here, capsys):
    trained("arcs", "all.conllu")
    found = figures(capsys, "runs/arcs", "--gold", "head")
    heads = [json.loads(line)["tree"]["mode"] for line in told(capsys, "infer", "runs/arcs").splitlines()]
    pairs = [
        (h, word[2]) for s, tree in zip(SENTENCES * 5, heads, strict=True) for h, word in zip(tree, s, strict=True)
    ]
    assert found["directed", "mode of tree against head (55 words)"] == pytest.approx(
        sum(a == b for a, b in pairs) / 55
    )
    assert found["directed", "right-branching"] == pytest.approx(1 / 11)  # the full stop alone
    assert found["undirected", "right-branching"] == pytest.approx(7 / 11)
    fewer = figures(capsys, "runs/arcs", "--gold", "head", "--no-punctuation")
    assert ("directed", "mode of tree against head (50 words)") in fewer


def test_spans_of_the_best_trees_are_held_against_those_of_the_file(here, capsys):
    trained("phrases", "all.trees")
    found = figures(capsys, "runs/phrases", "--gold", "tree")
    lines = [json.loads(line) for line in told(capsys, "infer", "runs/phrases").splitlines()]
    total = hits = spans = 0
    for line, gold in zip(lines, SPANS * 5, strict=True):
        n = len(line["x"])
        tree = {tuple(s) for s in line["tree"]["spans"]}
        assert (0, n) in tree and len(tree) == n - 1
        tree.remove((0, n))
        total += 2 * len(tree & gold) / (len(tree) + len(gold)) if tree or gold else 1
        hits, spans = hits + len(tree & gold), spans + len(tree) + len(gold)
    how = "mode of tree against tree (15 sentences)"
    assert found["sentence F1", how] == pytest.approx(total / 15)
    assert found["corpus F1", how] == pytest.approx(2 * hits / spans)
    assert found["sentence F1", "left-branching"] == pytest.approx((2 / 3 + 1 + 2 / 6) / 3)
    fewer = figures(capsys, "runs/phrases", "--gold", "tree", "--no-punctuation")
    assert fewer["sentence F1", "left-branching"] == pytest.approx((1 + 1 + 2 / 6) / 3)


def test_trees_are_shown_with_probabilities(here, capsys):
    trained("phrases", "all.trees")
    short, marked = (
        json.loads(told(capsys, "infer", "runs/phrases", "--limit", "2", *o).splitlines()[1])
        for o in ([], ["--marginals"])
    )
    assert short["tree"] == {"mode": "(cats sit)", "spans": [[0, 2]], "probability": [1.0]}
    assert marked["tree"]["marginals"] == [[0.0, 1.0], [0.0, 0.0]]
    trained("arcs", "all.conllu")
    (line,) = told(capsys, "infer", "runs/arcs", "--limit", "1", "--marginals").splitlines()
    tree = json.loads(line)["tree"]
    assert len(tree["mode"]) == 4 and [len(row) for row in tree["marginals"]] == [5] * 4
    assert [sum(row) for row in tree["marginals"]] == pytest.approx([1] * 4, abs=1e-5)
    assert tree["probability"] == [row[head] for row, head in zip(tree["marginals"], tree["mode"], strict=True)]


def test_trees_that_do_not_fit_are_refused(here, capsys):
    trained("arcs", "all.conllu")
    (here / "other.conllu").write_text((here / "all.conllu").read_text().replace("\t3\t_\t_\t_\n", "\tx\t_\t_\t_\n"))
    for command, said in (
        (["eval", "runs/arcs", "--gold", "form"], "all.conllu: record 2: 'cats' is no head"),
        (["eval", "runs/arcs", "--gold", "head", "--latent", "trees"], "no discrete latent"),
        (["eval", "runs/arcs", "--gold", "head", "--data", "other.conllu"], "'x' is no head"),
    ):
        assert main(command) == 2
        assert said in capsys.readouterr().err


def test_a_parser_is_trained_on_heads_and_held_against_them(here, capsys):
    (here / "parser.yaml").write_text(PARSER)
    trained("parser", "all.conllu")
    found = figures(capsys, "runs/parser", "--gold", "head")
    rows = json.loads(told(capsys, "eval", "runs/parser", "--json"))["figures"]
    share = next(r["value"] for r in rows if r["quantity"] == "accuracy" and r["unit"] == "of labels")
    assert share == pytest.approx(found["directed", "mode of head against head (55 words)"])
    heads = [json.loads(line)["head"] for line in told(capsys, "infer", "runs/parser").splitlines()]
    assert [h["label"] for h in heads] == [[word[2] for word in s] for s in SENTENCES * 5]
    right = sum(a == b for h in heads for a, b in zip(h["mode"], h["label"], strict=True))
    assert share == pytest.approx(right / 55)


def test_trees_of_more_than_two_parts_are_read_as_branching_to_the_right(here, capsys):
    (here / "brackets.yaml").write_text(BRACKETS)
    trained("brackets", "all.trees")
    lines = [json.loads(line) for line in told(capsys, "infer", "runs/brackets").splitlines()[:3]]
    # (((the cat)) (sat .)), (cats sit), ((the cat) (saw (a dog)))
    assert [line["tree"]["label"] for line in lines] == [[3, 1, 3, 3], [1, 1], [4, 1, 4, 4, 4]]
    found = figures(capsys, "runs/brackets", "--gold", "tree")
    assert ("sentence F1", "mode of tree against tree (15 sentences)") in found


def test_trees_are_not_cut(here, capsys):
    (here / "brackets.yaml").write_text(BRACKETS.replace("column: tree", "column: tree, max_length: 3"))
    assert main(["train", "brackets.yaml", "--data", "all.trees", "--quiet"]) == 2
    assert "cannot be cut" in capsys.readouterr().err
