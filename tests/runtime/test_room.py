"""The room itself: names are unique, and nothing of the compiler is imported."""

from __future__ import annotations

import ast
from pathlib import Path

import lvspec.runtime

FILES = [p for p in sorted(Path(lvspec.runtime.__file__).parent.rglob("*.py")) if p.name != "__init__.py"]
ALLOWED = {"__future__", "torch", "math", "typing", "dataclasses", "collections", "contextlib", "functools", "heapq"}
ALLOWED |= {"difflib", "importlib", "inspect", "operator", "pkgutil", "warnings", "weakref"}


def test_no_name_is_defined_in_two_files():
    seen: dict[str, str] = {}
    for path in FILES:
        for node in ast.parse(path.read_text()).body:
            names = [node.name] if isinstance(node, ast.FunctionDef | ast.ClassDef) else []
            if isinstance(node, ast.Assign):
                names = [t.id for t in node.targets if isinstance(t, ast.Name) and t.id != "__all__"]
            for name in names:
                assert seen.setdefault(name, str(path)) == str(path), f"{name}: {seen[name]} and {path}"


def test_only_torch_and_the_standard_library_are_imported():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert {a.name.split(".")[0] for a in node.names} <= ALLOWED, path.name
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0 and (
                    node.module.startswith("lvspec.runtime.") or node.module.split(".")[0] in ALLOWED
                ), path.name


def test_files_stay_small():
    assert all(len(path.read_text().splitlines()) <= 450 for path in FILES)
