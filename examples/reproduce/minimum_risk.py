"""Expected F1 as objective after the likelihood, for one tagger of names: specs/minimum_risk.yaml (Shen et al. 2016).

    python examples/reproduce/minimum_risk.py DATA/ud_english_ewt [SEED ...]

The likelihood is trained for four epochs; from there its parameters take two more, by the likelihood or by the expected F1. (From random
parameters the expected F1 alone ends where no word is a name.) Reported is a sentence's smoothed F1 on the test part: expected under the
model's distribution (100 draws), and of its most probable decisions.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from lvspec.driver import compile_spec
from lvspec.train.data.batches import batches, sorted_order
from lvspec.train.data.dataset import encoded
from lvspec.train.data.sources import records_of
from lvspec.train.run.directory import open_run
from lvspec.train.scoring.score import prepared

SPEC = Path(__file__).resolve().parents[2] / "specs" / "minimum_risk.yaml"
REWARD = "  reward: (1 +"
LIKELIHOOD = "  likelihood[t]: log_prob(name[t], Bernoulli(logits=score(h[t])[0]))\n  reward: 0 * (1 +"
CPU = torch.device("cpu")


def train(spec: Path, data: Path, seed: int, run: Path, *changes: str) -> Path:
    parts = {"--data": "train", "--valid": "dev", "--test": "test"}
    files = [a for flag, part in parts.items() for a in (flag, str(data / f"en_ewt-ud-{part}.conllu.gz"))]
    command = [sys.executable, "-m", "lvspec", "train", str(spec), *files, "--out", str(run), "--seed", str(seed)]
    subprocess.run([*command, "--quiet", *changes], check=True, stdout=subprocess.DEVNULL)
    return run


def further(spec: Path, data: Path, seed: int, run: Path, start: Path) -> Path:
    """Two more epochs from where a run has ended, by the objective of another file."""
    shutil.copytree(start, run)
    return train(spec, data, seed, run, "--resume", "--allow-spec-change", "--epochs", "6")


@torch.no_grad()
def rewards(model, dataset, settings) -> tuple[float, float]:
    """Mean F1 of a sentence: expected, and at the mode of each decision."""
    expected, best = 0.0, 0.0
    model.eval().samples = 100
    for batch in batches(dataset, sorted_order(dataset, settings)):
        batch = prepared(model, batch, CPU)
        logits = model.score(model.reader(model.words(batch["x"]), batch["t"]))[..., 0]
        decided = {"y": (logits > 0).long(), "y_observed": torch.ones_like(logits, dtype=torch.bool)}
        expected += model(batch).extras["reward"].sum().item()
        best += model({**batch, **decided}).extras["reward"].sum().item()
    return expected / len(dataset), best / len(dataset)


def main(data: Path, seeds: list[int], folder: Path) -> None:
    likelihood = folder / "likelihood.yaml"
    likelihood.write_text(SPEC.read_text().replace(REWARD, LIKELIHOOD))
    for seed in seeds:
        start = train(likelihood, data, seed, folder / f"start-{seed}")
        runs = {
            "likelihood, 4 epochs": start,
            "likelihood, 6": further(likelihood, data, seed, folder / f"likelihood-{seed}", start),
            "likelihood, 4, then F1, 2": further(SPEC, data, seed, folder / f"risk-{seed}", start),
        }
        judge = open_run(folder / f"risk-{seed}", compile_spec, "best", "cpu", ())
        wanted = dict(judge.config.data)
        test = encoded(records_of(judge.config.files, "test", wanted), judge.layout, judge.encoders, wanted)
        for name, run in runs.items():
            judge.model.load_state_dict(open_run(run, compile_spec, "best", "cpu", ()).model.state_dict())
            torch.manual_seed(0)
            expected, best = rewards(judge.model, test, judge.config.train)
            print(f"seed {seed}  {name}: F1 {expected:.4f} expected, {best:.4f} at the mode", flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(Path(sys.argv[1]), [int(s) for s in sys.argv[2:]] or [0], Path(temporary))
