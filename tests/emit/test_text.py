"""The text of an emitted file: the same bytes everywhere, as the formatter leaves it, every tensor on the model's device."""

import ast
import keyword
import os
import re
import subprocess
import sys

import pytest

from lvspec.driver import compile_spec
from lvspec.emit.methods.header import first_sentence
from lvspec.emit.text.text import entry, statements_of, wrap
from lvspec.emit.text.unused import names, without_unused
from lvspec.errors import SpecError
from lvspec.verify.random_specs.generate import generate
from tests import SPECS
from tests.emit.small import NAMES, compiled

HASHES = """
import hashlib, sys
from pathlib import Path
from lvspec.driver import compile_spec
for path in sorted(Path(sys.argv[1]).glob("*.yaml")):
    print(path.stem, hashlib.sha256(compile_spec(path).source.encode()).hexdigest())
"""
RANDOM = int(os.environ.get("LVSPEC_RANDOM_TEXTS", "18"))  # specs, each once more with long names
MAKERS = {"zeros", "ones", "full", "arange", "eye", "empty", "rand", "randn", "randint", "linspace", "tensor"}


def sources(directory):
    """The specs as the files say, and at small sizes."""
    for name in NAMES:
        (directory / f"{name}.py").write_text(compiled(name).source)
    return [str(directory / f"{name}.py") for name in NAMES]


def test_source_is_the_same_bytes_whatever_the_hash_seed_is():
    def hashes(seed):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, "-c", HASHES, str(SPECS)], env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    first = hashes("1")
    assert first == hashes("2")
    assert len(first.splitlines()) == len(NAMES)


def random_sources(directory):
    """Random specs that have a plan, as they are and with names that make lines too long."""
    for seed in range(RANDOM):
        text = generate(seed)
        try:
            short = compile_spec(text)
        except SpecError:
            continue
        spec = short.spec
        names = {v.name for v in (*spec.variables, *spec.guide, *spec.params, *spec.networks)} - {"x"}
        longer = text
        for name in sorted(names, key=len, reverse=True):
            suffix = "_of_a_rather_long_name"[: 6 + seed % 17].rstrip("_")
            longer = re.sub(rf"(?<![\w.]){re.escape(name)}(?![\w=])", name + suffix, longer)
        for kind, written in (("short", short), ("long", compile_spec(longer))):
            (directory / f"{kind}_{seed}.py").write_text(written.source)
    return [str(p) for p in sorted(directory.glob("*.py"))]


def ruff(*arguments):
    command = [sys.executable, "-m", "ruff", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("written", [sources, random_sources])
def test_formatter_and_linter_change_nothing(tmp_path, written):
    files, own = written(tmp_path), 'lint.isort.known-first-party=["lvspec"]'
    for command in (
        ("format", "--isolated", "--check", "--diff", "--line-length", "120"),
        ("check", "--isolated", "--config", own, "--select", "E,F,B,I,UP,W", "--ignore", "E501"),
    ):
        code, said = ruff(*command, *files)
        assert code == 0, said


def placeless(tree: ast.Module) -> list[str]:
    """Calls of torch outside constructors that make a tensor and do not say where."""
    found = []
    for function in (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name != "__init__"):
        for call in (n for n in ast.walk(function) if isinstance(n, ast.Call)):
            name = ast.unparse(call.func)
            if name.removeprefix("torch.") in MAKERS and name.startswith("torch."):
                if not any(k.arg == "device" for k in call.keywords):
                    found.append(ast.unparse(call))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_tensor_made_in_a_method_has_a_device(name):
    assert placeless(ast.parse(compiled(name).source)) == []


def test_a_tensor_without_a_device_would_be_found():
    assert placeless(ast.parse("def forward(self):\n    return torch.zeros(3)")) == ["torch.zeros(3)"]


@pytest.mark.parametrize("name", NAMES)
def test_file_names_no_path_and_no_date(name):
    source = compiled(name).source
    assert str(SPECS) not in source and "/home" not in source and "20" + "26" not in source


LINES = [
    "x = first_function(a, b) + second_function(c, d) * {pad}",
    "x = -weighted_mean(elbo_of_this + score_of_that - score_of_that.detach(), batch.get('{pad}'))",
    "x = {pad} if '{pad}' in batch else other_function(a)",
    "x = function_of_{pad}(argument)[:, :, None, None]",
    "return function(first_{pad}(a), second(b))[0].first(1).second(2)",
    "x[:, i] = (batch['z'] if 'z' in batch else draw_{pad}(a, b, c))[:, i]",
    "x, y = module.function_{pad}(a).chunk(2, -1)",
    "x = {{'first': first_{pad}, 'second': second}}",
    "x = a_{pad} @ (b + c).mT - square",
    "x = bank([network(a, b) for _ in range({pad})])",
    "if condition_{pad} and other(a, b):",
    "raise ValueError(message_{pad}, 'more')",
    "x |= function_of_{pad}(first, second)",
    "x = function(name_{pad}**2 + b, *rest, key=value + other)",
    "x = not_called_{pad} + b",
    "first_{pad}, second, third = self.guide(batch, draws)",
    "first_{pad}, second_of_several_results, third_of_several_results = self.guide()",
    "return first_{pad}, second_of_several_results, third_of_several_results",
]


def test_long_lines_break_as_the_formatter_breaks_them(tmp_path):
    rows = []
    for line in LINES:
        for length in (20, 45, 60, 75, 90):
            code = line.format(pad="p" * length).replace("'", '"')
            rows += wrap(code, 1) + (["        pass"] if code.endswith(":") else [])
    for length in range(1, 130, 5):
        rows += ["    x = {", *entry("x", "f", ["a" * length, "b" * 30, "c=d"], 2), "    }"]
    (tmp_path / "lines.py").write_text("def f():\n" + "\n".join(rows) + "\n")
    code, said = ruff("format", "--isolated", "--check", "--diff", "--line-length", "120", str(tmp_path))
    assert code == 0, said


def test_a_sum_of_a_thousand_terms_is_laid_out():
    """One for each of a thousand observed variables."""
    rows = wrap("total = " + " + ".join(f"term_{i}" for i in range(1500)), 2)
    assert rows[0] == "        total = (" and rows[1:3] == ["            term_0", "            + term_1"]
    assert len(rows) == 1502


def test_an_input_of_long_names_is_an_entry_of_several_lines():
    first, second = "rows_of_a_table_with_a_long_name", "columns_of_a_table_with_a_long_name"
    spec = f"lvspec: 1\nsizes: {{{first}: 2, {second}: 3}}\nplates: {{d: {first}, t: {second}}}\n"
    source = compile_spec(spec + f"observed:\n  x[d, t]: Normal(0, 1)[{second}]\n").source
    assert '            "x": Input(\n' in source


def test_assignments_that_nothing_reads_are_left_out():
    kept = ["        a = f(x)  # (B,)", "        b = g(a)  # (B,)", "        return b"]
    dead = ["        # (B, T)", "        c = h(", "            b", "        )", "        d = c + 1"]
    assert without_unused([*kept[:2], *dead, kept[2]]) == kept


@pytest.mark.parametrize("name", NAMES[::4])
def test_lines_of_statements_and_their_names_are_those_of_python(name):
    source = compiled(name).source
    rows, tree = source.split("\n"), ast.parse(source)
    for method in (
        m for c in tree.body if isinstance(c, ast.ClassDef) for m in c.body if isinstance(m, ast.FunctionDef)
    ):
        first, nodes = method.body[0].end_lineno, method.body[1:]  # behind the docstring
        body = rows[first : method.end_lineno]
        assert [(first + r.start + 1, first + r.stop) for r in statements_of(body)] == [
            (n.lineno, n.end_lineno) for n in nodes
        ]
        for lines, node in zip(statements_of(body), nodes, strict=True):
            mentioned = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
            mentioned |= {n.name for n in ast.walk(node) if isinstance(n, ast.FunctionDef)}
            assert {*names("\n".join(body[i] for i in lines))} - {*keyword.kwlist} == mentioned


PUBLIC = {
    "forward",
    "log_prob",
    "posterior",
    "sample",
    "decode",
    "prepare",
    "optimum",
}  # with the signature of every such module


@pytest.mark.parametrize("name", NAMES)
def test_helpers_read_their_arguments(name):
    for node in ast.walk(ast.parse(compiled(name).source)):
        if isinstance(node, ast.FunctionDef) and node.name not in PUBLIC:
            read = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
            assert {a.arg for a in (*node.args.args, *node.args.kwonlyargs)} - {"self"} <= read, node.name


@pytest.mark.parametrize("name", ["pcfg", "compound_pcfg", "ctc", "dmv"])
def test_hidden_structures_are_no_tensors_of_a_shape(name):
    assert not re.search(r"_parts\(.*# \(\)$", compiled(name).source, re.MULTILINE)


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("Urns (after Diaconis et al. 1980): a colour. And more.", "Urns (after Diaconis et al. 1980): a colour"),
        ("Two states. q(z) is written.", "Two states"),
        ("As in J. Pearl 1988. Again.", "As in J. Pearl 1988"),
        (
            "Counts, e.g. of words (cf. Fig. 2. Left), i.e. few. More",
            "Counts, e.g. of words (cf. Fig. 2. Left), i.e. few",
        ),
        ("One sentence.", "One sentence."),
    ],
)
def test_first_sentence_ends_where_a_sentence_does(text, sentence):
    assert first_sentence(text) == sentence
