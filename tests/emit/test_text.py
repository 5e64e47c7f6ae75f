"""The text of an emitted file: the same bytes everywhere, as the formatter leaves it, every tensor on the model's device."""

import ast
import os
import subprocess
import sys

import pytest
from small import NAMES, SPECS, compiled

HASHES = """
import hashlib, sys
from pathlib import Path
from lvspec.driver import compile_spec
for path in sorted(Path(sys.argv[1]).glob("*.yaml")):
    print(path.stem, hashlib.sha256(compile_spec(path).source.encode()).hexdigest())
"""
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


def ruff(*arguments):
    command = [sys.executable, "-m", "ruff", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_formatter_changes_nothing(tmp_path):
    code, said = ruff("format", "--isolated", "--check", "--diff", "--line-length", "120", *sources(tmp_path))
    assert code == 0, said


def test_linter_finds_nothing(tmp_path):
    own = 'lint.isort.known-first-party=["lvspec"]'
    code, said = ruff(
        "check", "--isolated", "--config", own, "--select", "E,F,B,I,UP,W", "--ignore", "E501", *sources(tmp_path)
    )
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
