"""Every command, model and Python block of README.md and docs/ runs; shown output is what comes out.

A page is a session of its own, in an empty folder that holds train.txt, dev.txt and test.txt. Lines under a
`$ command` must occur in its stdout, in that order; `...` stands for anything. Training takes three steps. Commands run in
this process, to import torch once for all of them; Python blocks run in one of their own, all that follow each other at once.
"""

import re
import shlex
import subprocess
import sys

import numpy as np
import pytest

from lvspec import read_spec
from lvspec.errors import SpecError
from tests import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(console|yaml|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
WORDS = "the cat sat on a mat . a dog saw the cat and the dog ran .".split()


def blocks(page, *kinds):
    return [(kind, text) for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")) if kind in kinds]


@pytest.fixture
def folder(tmp_path):
    np.savez(tmp_path / "pictures.npz", x=np.random.default_rng(0).integers(0, 2, (60, 3, 3)).astype(np.uint8))
    for name in ("train", "dev", "test"):
        lines = [" ".join(WORDS[k % 5 : k % 5 + 4 + k % 7]) for k in range(24)]
        (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def named(page):
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "console", "python")], ids=named)
def test_session_of_a_page_runs(page, folder, lvspec):
    script, told = [], blocks(page, "console", "python")
    for (kind, text), following in zip(told, [*(kind for kind, _ in told[1:]), None], strict=True):
        if kind == "python":
            script.append(text)
            if following != "python":
                run([sys.executable, "-c", "\n".join(script)])
            continue
        for command, shown in commands(text):
            assert_shown(shown, answer(runnable(command), lvspec), command)


def answer(command, lvspec):
    """What a command prints; a redirected one needs a shell."""
    program, *words = shlex.split(command)
    assert program == "lvspec", command
    if {">", "|", "<"} & set(words):
        return run(f"{shlex.quote(sys.executable)} -m lvspec.cli.main {command.removeprefix('lvspec ')}", shell=True)
    code, out, err = lvspec(*words)
    assert code == 0, f"{command}\n{out}{err}"
    return out


def commands(text):
    """(command, lines shown under it) of a console block."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, *shown = part.rstrip("\n").split("\n")
        yield command, shown


def runnable(command):
    return f"{command} --steps 3" if shlex.split(command)[1] == "train" else command


def run(command, shell=False):
    done = subprocess.run(command, shell=shell, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def assert_shown(shown, out, command):
    rows = iter(out.split("\n"))
    for line in shown:
        if line.strip() != "...":
            assert any(line.rstrip() == row.rstrip() for row in rows), f"$ {command}\nlacks: {line}\n{out}"


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "yaml")], ids=named)
def test_complete_models_of_a_page_are_well_formed(page):
    for _, text in blocks(page, "yaml"):
        if text.startswith("lvspec:"):
            try:
                read_spec(text)
            except SpecError as errors:
                pytest.fail(f"{text}\n{errors}")
