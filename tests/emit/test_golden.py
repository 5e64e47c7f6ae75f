"""Emitted files as they are read: a change of the emitter shows up as a difference in tests/golden/.

Between them they show every strategy and every structure; what no spec of the zoo shows stands in tests/golden/specs/.
LVSPEC_UPDATE_GOLDEN=1 writes the files anew; look at what changed before keeping it.
"""

import difflib
import os
from pathlib import Path

import pytest

from lvspec.driver import compile_spec
from lvspec.ir.estimators import STRATEGIES
from lvspec.ir.expr import Dist
from lvspec.ir.structures import STRUCTURES
from tests import ROOT, SPECS

GOLDEN = ROOT / "tests" / "golden"
OWN = GOLDEN / "specs"
ZOO = (
    *("compound_pcfg", "discrete_vae", "factorial_hmm", "factorial_hmm_words", "gm_vae", "hmm", "kalman"),
    *("latent_attention_elbo", "lda", "map_vae", "sentence_vae"),
)
FILES: dict[str, tuple[Path, dict[str, str]]] = {name: (SPECS / f"{name}.yaml", {}) for name in ZOO}
FILES |= {name: (OWN / f"{name}.yaml", {}) for name in ("integrals", "mixtures", "scores", "structures")}
FILES |= {
    "subset": (SPECS / "minimum_risk.yaml", {"y": "subset"}),
    "sum_and_sample": (OWN / "one_category.yaml", {"c": "sum_and_sample"}),
    "wake_sleep": (OWN / "one_category.yaml", {"c": "wake_sleep", "bound": "reweighted_wake_sleep(samples=5)"}),
    "without_replacement": (OWN / "one_category.yaml", {"c": "without_replacement"}),
}


def compiled(name):
    spec, overrides = FILES[name]
    return compile_spec(spec, overrides=overrides)


@pytest.mark.parametrize("name", FILES)
def test_emitted_file_is_the_golden_one(name):
    source, file = compiled(name).source, GOLDEN / f"{name}.py"
    if os.environ.get("LVSPEC_UPDATE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        file.write_text(source, encoding="utf-8")
    expected = file.read_text(encoding="utf-8")
    changes = difflib.unified_diff(expected.splitlines(), source.splitlines(), "golden", "emitted", lineterm="")
    assert source == expected, "\n".join(changes)


def test_every_strategy_and_every_structure_is_shown():
    shown = [compiled(name) for name in FILES]
    assert {p.strategy for c in shown for p in c.plan.latents} >= STRATEGIES.keys()
    clauses = [c for one in shown for v in one.spec.variables for c in v.clauses]
    assert {c.body.family for c in clauses if isinstance(c.body, Dist)} >= STRUCTURES.keys()
    assert {f.stem for f in GOLDEN.glob("*.py")} == FILES.keys()
