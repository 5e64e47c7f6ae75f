"""The house's rules: who may import whom, how long a file may be, and what a release holds."""

import ast
import subprocess
import sys
import tarfile
import zipfile
from functools import cache

import networkx as nx
import pytest

from tests import ROOT

PACKAGE = ROOT / "lvspec"
FILES = sorted(PACKAGE.rglob("*.py"))
ROOMS = sorted({p.relative_to(PACKAGE).parts[0] for p in PACKAGE.rglob("*/*.py")})

# room -> the rooms that it may import besides itself; a room that is not listed may import any
MAY_IMPORT = {
    "errors": set(),
    "ir": {"errors"},
    "front": {"ir", "errors", "shipped"},
    "plan": {"ir", "errors"},
    "emit": {"ir", "errors"},
    "graph": {"ir", "errors"},
    "explain": {"ir", "errors"},
    "runtime": set(),
}
NEVER_TORCH = set(MAY_IMPORT) - {"runtime"} | {"driver", "settings", "load", "shipped"}
MAY_PRINT = {"cli", "__main__"}  # `python -m lvspec` is the command line


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path):
    """Every module imported anywhere in the file, inside functions and for types alone too; of `from a import b` a and a.b."""
    found = []
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


def rooms_of(path):
    return {name.split(".")[1] for name in imports(path) if name.startswith("lvspec.")}


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_room_imports_only_what_stands_below_it(name):
    allowed = MAY_IMPORT[name] | {name, "version", "__version__"}
    for path in FILES:
        if room(path) == name:
            assert rooms_of(path) <= allowed, path


def test_compiler_never_imports_torch():
    for path in FILES:
        if room(path) in NEVER_TORCH:
            assert not any(name.split(".")[0] in ("torch", "numpy") for name in imports(path)), path


def folders(name):
    """Which folders of a room import which, the files that lie beside them left out."""
    folder = {".".join(p.relative_to(ROOT).with_suffix("").parts): p.relative_to(PACKAGE).parts[1:-1] for p in FILES}
    arrows = nx.DiGraph()
    for path in FILES:
        here = path.relative_to(PACKAGE).parts
        if here[0] == name and len(here) > 2:
            for read in imports(path):
                there = folder.get(read, ()) if read.startswith(f"lvspec.{name}.") else ()
                if there and there[0] != here[1]:
                    arrows.add_edge(here[1], there[0])
    return arrows


@pytest.mark.parametrize("name", ROOMS)
def test_folders_of_a_room_import_each_other_in_no_circle(name):
    arrows = folders(name)
    assert nx.is_directed_acyclic_graph(arrows), nx.find_cycle(arrows)


@pytest.mark.parametrize("name", ROOMS)
def test_files_of_a_room_import_each_other_in_no_circle(name):
    modules = {".".join(p.relative_to(ROOT).with_suffix("").parts): p for p in FILES if room(p) == name}
    arrows = nx.DiGraph((module, read) for module, path in modules.items() for read in imports(path) if read in modules)
    assert nx.is_directed_acyclic_graph(arrows), nx.find_cycle(arrows)


def test_runtime_needs_torch_alone():
    """So that a standalone file can hold it."""
    for path in FILES:
        if room(path) == "runtime":
            outside = {n.split(".")[0] for n in imports(path)} - set(sys.stdlib_module_names) - {"torch", "lvspec"}
            assert not outside, path


def test_only_the_command_line_prints_or_exits():
    for path in FILES:
        if room(path) not in MAY_PRINT:
            for node in ast.walk(parsed(path)):
                called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
                assert called not in ("print", "exit", "sys.exit", "quit"), f"{path}:{node.lineno}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_hold_one_idea(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 450
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 60, f"{path}:{node.lineno} {node.name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_file_says_what_it_is_for(path):
    assert not parsed(path).body or ast.get_docstring(parsed(path)), "no docstring"


def test_a_class_has_a_name_of_its_own():
    homes = {}
    for path in FILES:
        for node in parsed(path).body:
            if isinstance(node, ast.ClassDef):
                assert homes.setdefault(node.name, path) == path, f"{node.name}: {homes[node.name]} and {path}"


def test_a_test_stands_in_the_room_of_what_it_tests():
    """At the root: of files at the package's own, of the house as a whole, and what all share."""
    rooms = {p.name for p in PACKAGE.iterdir() if p.is_dir()} | {"docs", "bad", "golden"}
    files = {f"test_{p.name}" for p in PACKAGE.glob("*.py")}
    files |= {"test_rooms.py", "test_registries.py", "conftest.py", "processor.py", "__init__.py"}
    for path in (ROOT / "tests").iterdir():
        assert path.name in (rooms | {"__pycache__"} if path.is_dir() else files), path


@pytest.mark.slow
def test_wheel_holds_the_zoo_the_grammar_and_the_type_marker(tmp_path):
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    assert {f"lvspec/specs/{p.name}" for p in (ROOT / "specs").glob("*.yaml")} <= held
    assert {f"lvspec/grammar/{p.name}" for p in (ROOT / "grammar").iterdir()} <= held
    assert "lvspec/py.typed" in held
    assert {str(p.relative_to(ROOT)) for p in FILES} <= held


@pytest.mark.slow
def test_a_source_release_holds_what_its_tests_read(tmp_path):
    copy = tmp_path / "copy"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(copy)], check=True)
    subprocess.run([sys.executable, "setup.py", "-q", "sdist", "-d", str(tmp_path)], cwd=copy, check=True)
    (release,) = tmp_path.glob("*.tar.gz")
    held = {name.partition("/")[2] for name in tarfile.open(release).getnames()}
    tracked = subprocess.run(["git", "ls-files"], cwd=copy, capture_output=True, text=True, check=True).stdout.split()
    assert set(tracked) - held <= {".ci/run", ".gitignore"}


def test_the_top_level_holds_what_belongs_there():
    found = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if found.returncode:
        pytest.skip("no checkout")
    top = {line.partition("/")[0] for line in found.stdout.splitlines()}
    assert top <= {
        *("lvspec", "specs", "grammar", "tests", "examples", "docs", "benchmarks", ".ci", "pyproject.toml"),
        *("README.md", "LICENSE", "Makefile", "constraints.txt", "setup.py", ".gitignore"),
    }
