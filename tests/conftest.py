"""What all tests share: random numbers that begin anew, commands run in this process, and verifications that are remembered
between tests and between runs, apart from the user's own."""

import contextlib
import gc
import io
import os
import random
import sys

import pytest

from tests import ROOT

os.environ["XDG_CACHE_HOME"] = str(ROOT / ".pytest_cache" / "xdg")


def pytest_collection_finish():
    """Garbage is looked for among what tests make alone, and less often: modules and tests are there until the end, and walks
    over all of them, again and again, took a fifth of the tests' time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)


@pytest.fixture(autouse=True)
def seeded():
    """What draws without a seed of its own draws the same in any order of the tests."""
    random.seed(0)
    for name, seed in (("numpy.random", "seed"), ("torch", "manual_seed")):
        if name in sys.modules:  # rooms that never import torch are not to wait for it
            getattr(sys.modules[name], seed)(0)


@pytest.fixture
def lvspec(tmp_path, monkeypatch):
    """Runs the command in an empty folder: (exit code, stdout, stderr)."""
    from lvspec.cli.main import main

    monkeypatch.chdir(tmp_path)

    def run(*argv):
        out, err = _Text(), _Text()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([str(a) for a in argv])
        return code, out.text(), err.text()

    return run


class _Text(io.TextIOWrapper):
    """A text stream over bytes, as a real stdout is."""

    def __init__(self):
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)

    def text(self):
        return self.buffer.getvalue().decode()
