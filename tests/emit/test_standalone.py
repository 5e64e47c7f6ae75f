"""Standalone files: torch alone, the same answers, and nothing that two of them could clash over."""

import ast
import subprocess
import sys
import textwrap
import types
from functools import cache

import pytest
import torch

import lvspec.runtime
from lvspec.emit.text import standalone
from lvspec.emit.text.standalone import inline_runtime
from tests.emit.small import (
    NAMES,
    batch_of,
    compiled,
    draws_of,
    fixed,
    given_in,
    gradients,
    lengths_in,
    model_of,
    per_example,
    shared_by,
    sizes_of,
)

# with `lvspec` out of reach: load the file, read parameters and batch, write loss and gradients
ALONE = """
import importlib.util, sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name == "lvspec" or name.startswith("lvspec."):
            raise ImportError(name + " is hidden")
sys.meta_path.insert(0, Hidden())
import torch
for file, data in zip(sys.argv[1::2], sys.argv[2::2]):
    spec = importlib.util.spec_from_file_location("alone", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules["alone"] = module
    spec.loader.exec_module(module)
    given = torch.load(data)
    model = getattr(module, given["class"])(**given["sizes"]).eval()
    model.load_state_dict(given["state"])
    objective = model(given["batch"], **given["draws"])
    if objective.loss.requires_grad:
        objective.loss.backward()
    values = next((v for v in (objective.log_prob, objective.elbo, objective.log_joint) if v is not None), None)
    grads = {n: p.grad for n, p in model.named_parameters()}
    answered = model.posterior(given["batch"]) if hasattr(model, "posterior") else {}
    torch.manual_seed(0)
    drawn = model.sample(3, given=given["given"], lengths=given["lengths"])
    torch.save({"values": values, "grads": grads, "latents": sorted(answered), "drawn": sorted(drawn)}, data)
assert not [m for m in sys.modules if m.partition(".")[0] == "lvspec"]
"""


@cache
def alone(name):
    return inline_runtime(compiled(name).source)


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What the files of all specs say in one process that has no lvspec."""
    directory, arguments = tmp_path_factory.mktemp("alone"), []
    for name in NAMES:
        file, data = directory / f"{name}.py", directory / f"{name}.pt"
        file.write_text(alone(name))
        batch = batch_of(name)
        given = {
            "class": compiled(name).Model.__name__,
            "sizes": sizes_of(name) | shared_by(name),
            "batch": batch,
            "draws": fixed(draws_of(name, batch)),
            "given": given_in(name, batch, 3),
            "lengths": lengths_in(name),
        }
        torch.save({**given, "state": model_of(name).state_dict()}, data)
        arguments += [str(file), str(data)]
    done = subprocess.run([sys.executable, "-c", ALONE, *arguments], capture_output=True, text=True, cwd=directory)
    assert done.returncode == 0, done.stderr
    return {name: torch.load(directory / f"{name}.pt") for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_standalone_file_gives_the_same_answers(answers, name):
    model, batch = model_of(name), batch_of(name)
    objective = model(batch, **fixed(draws_of(name, batch)))
    torch.testing.assert_close(answers[name]["values"], per_example(objective).detach())
    for key, found in gradients(model, objective.loss).items():
        torch.testing.assert_close(answers[name]["grads"][key], found)
    plan = compiled(name).plan
    hidden = [s.part for s in plan.structures if s.part]
    assert answers[name]["latents"] == sorted([*(p.name for p in plan.latents), *hidden])


@pytest.mark.parametrize("name", NAMES)
def test_standalone_file_imports_torch_and_the_standard_library(name):
    text = alone(name)
    imports = [n for n in ast.parse(text).body if isinstance(n, (ast.Import, ast.ImportFrom))]
    roots = {(getattr(n, "module", None) or n.names[0].name).partition(".")[0] for n in imports}
    assert roots - set(sys.stdlib_module_names) == {"torch"}
    assert "lvspec.runtime" not in text
    assert text == inline_runtime(compiled(name).source)


def test_standalone_files_are_as_the_formatter_and_the_linter_want_them(tmp_path):
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text(alone(name))
    for command in (
        ["format", "--check", "--diff", "--line-length", "120"],
        ["check", "--select", "E,F,B,I", "--ignore", "E501,E741"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", command[0], "--isolated", *command[1:], str(tmp_path)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_is_taken_along_that_is_not_used():
    text = alone("vae")
    assert "class Normal(" in text and "chain" not in text and "LSTM" not in text
    assert "def kl(" in text and "def expected_log_prob(" not in text, "of a family what is called"


def test_two_files_register_their_operators_under_different_names():
    found = [
        next(line for line in alone(name).splitlines() if line.startswith("OP_NAMESPACE"))
        for name in ("hmm", "deep_hmm")
    ]
    assert len(set(found)) == 2 and 'OP_NAMESPACE = "lvspec"' not in found


def loaded(text, name, monkeypatch):
    """The text as a module."""
    module = types.ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)  # dataclasses look their module up
    exec(compile(text, name, "exec"), module.__dict__)
    return module


def test_every_public_function_of_the_runtime_can_be_taken_along(monkeypatch):
    names = sorted(lvspec.runtime.__all__)
    text = (
        f"import torch\nfrom torch import nn\n\nfrom lvspec.runtime import {', '.join(names)}\n\n\nModel = nn.Module\n"
    )
    found = inline_runtime(text)
    defined = {b for n in ast.parse(found).body for b in standalone.bound_by(n)}
    assert set(names) <= defined
    loaded(found, "everything", monkeypatch)


def test_a_model_named_like_a_class_of_the_runtime_keeps_its_name(monkeypatch):
    text = compiled("hmm").source.replace("class HMM(", "class ChainProgram(")
    found = inline_runtime(text)
    assert found.count("class ChainProgram(") == 1 and "class RuntimeChainProgram" in found
    model = loaded(found, "clash", monkeypatch).ChainProgram(**sizes_of("hmm"))
    model.load_state_dict(model_of("hmm").state_dict())
    torch.testing.assert_close(model(batch_of("hmm")).log_prob, model_of("hmm")(batch_of("hmm")).log_prob)


def test_names_that_are_local_to_a_function_are_not_taken_for_the_modules_own():
    source = textwrap.dedent("""
        def outer(first, *rest):
            second = [first for first in rest]
            def inner():
                return second, third
            return inner, fourth
    """)
    node = ast.parse(source).body[0]
    assert {u.name for u in standalone.global_uses(node, 0)} == {"third", "fourth"}
