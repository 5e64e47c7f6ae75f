"""Does `lvspec tune` prefer the method that long runs confirm? Equal processor time for each, from the same first values.

python examples/reproduce/tuned.py MODEL DATA [--tune 8] [--long 64] [--seeds 2]    MODEL: discrete_vae or latent_attention_elbo

A JSON line for each table of `tune` (one a seed) and each long run: its best bound on validation data at the marks. The words and the
sizes of latent attention are few, so that both fit into minutes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import torch

from lvspec.driver import compile_spec
from lvspec.train.data.sources import Files
from lvspec.train.run.request import Request
from lvspec.train.scoring.score import score
from lvspec.train.start import Ready, prepare
from lvspec.train.tune import admissible, trained, tune

WORDS = {"min_count": 1, "max_size": 300}
# model: its latent, (training, validation) under DATA, what replaces the spec's data section, sizes
MODELS = {
    "discrete_vae": ("z", ("mnist_subset/mnist_subset.npz", None), {}, {}),
    "latent_attention_elbo": (
        "a",
        ("tatoeba_en_fr/train.tsv.gz", "tatoeba_en_fr/dev.tsv.gz"),
        {"s": WORDS, "x": WORDS},
        {"E": 16, "H": 16},
    ),
}


def ready_for(model: str, data: Path, seed: int, folder: str) -> tuple[Ready, dict[str, int]]:
    _, (train, valid), changes, sizes = MODELS[model]
    path = f"specs/{model}.yaml"
    request = Request(
        compiled=compile_spec(path, sizes=sizes),
        compile_spec=compile_spec,
        files=Files(str(data / train), valid and str(data / valid), None, valid is None),
        out=Path(folder) / "tuned",
        path=path,
        sizes=sizes,
        train={"seed": seed},
        data=changes,
    )
    ready = prepare(request)
    return ready, {**sizes, **ready.config.sizes}


def long_run(ready: Ready, compiled, seconds: float, marks: int) -> list[tuple[int, float]]:
    """(steps, bound) at each mark; the bound is that of the planner's own choice, as `tune` scores it."""
    own = replace(ready, compiled=compiled)
    model = own.model(ready.config.train.seed)
    scored = ready.model(ready.config.train.seed)
    found = []
    for steps in trained(model, own, [seconds * (i + 1) / marks for i in range(marks)]):
        known = scored.state_dict()
        scored.load_state_dict({n: v for n, v in model.state_dict().items() if n in known})
        found.append((steps, score(scored, ready.parts["valid"], ready.config.train, ready.device).value))
    return found


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("model", choices=MODELS)
    asked.add_argument("data", type=Path)
    asked.add_argument("--tune", type=float, default=8.0, help="processor seconds of each method in lvspec tune")
    asked.add_argument("--long", type=float, default=64.0, help="processor seconds of each long run")
    asked.add_argument("--seeds", type=int, default=2)
    asked.add_argument("--marks", type=int, default=8, help="looks at the validation data in a long run")
    given = asked.parse_args()
    torch.set_num_threads(1)
    latent = MODELS[given.model][0]
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(given.seeds):
            ready, sizes = ready_for(given.model, given.data, seed, folder)

            def compile_with(method: str, sizes=sizes):
                return compile_spec(f"specs/{given.model}.yaml", sizes=sizes, overrides={latent: method})

            tuning = tune(ready, latent, compile_with, given.tune)
            print(json.dumps({"seed": seed, "tune": [asdict(r) for r in tuning.rows]}), flush=True)
            methods, _ = admissible(compile_with)
            for method, compiled in methods.items():
                marks = long_run(ready, compiled, given.long, given.marks)
                print(
                    json.dumps({"seed": seed, "method": method, "best": max(b for _, b in marks), "marks": marks}),
                    flush=True,
                )


if __name__ == "__main__":
    main()
