"""Emitted files as they are read: a change of the emitter shows up as a difference in tests/golden/.

LVSPEC_UPDATE_GOLDEN=1 writes the files anew; look at what changed before keeping it.
"""

import difflib
import os

import pytest

from lvspec.driver import compile_spec
from tests import ROOT, SPECS

GOLDEN = ROOT / "tests" / "golden"
NAMES = ("discrete_vae", "factorial_hmm", "gm_vae", "hmm", "kalman", "sentence_vae")


@pytest.mark.parametrize("name", NAMES)
def test_emitted_file_is_the_golden_one(name):
    source, file = compile_spec(SPECS / f"{name}.yaml").source, GOLDEN / f"{name}.py"
    if os.environ.get("LVSPEC_UPDATE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        file.write_text(source, encoding="utf-8")
    expected = file.read_text(encoding="utf-8")
    changes = difflib.unified_diff(expected.splitlines(), source.splitlines(), "golden", "emitted", lineterm="")
    assert source == expected, "\n".join(changes)
