"""What an encoder loses: the held-out bound of a trained VAE under its own q(z | x), and under free parameters for each example.

python examples/reproduce/amortization_gap.py RUN    RUN: of `vae`, at the sizes of specs/svi_vae.yaml

The generative model of the run is held fixed; only `loc` and `scale` of the test examples move (`fit_rows`), or q takes steps from
where the encoder puts it (`reparameterization(refine=...)`).
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch

from lvspec.driver import compile_spec
from lvspec.train.data.dataset import encoded
from lvspec.train.data.sources import records_of
from lvspec.train.evaluation.evaluate import importance_sampled
from lvspec.train.run.directory import open_run
from lvspec.train.scoring.score import score

CPU = torch.device("cpu")
SPECS = Path(__file__).resolve().parents[2] / "specs"
STEPS = 5, 20


def main(run: str) -> None:
    trained = open_run(Path(run), compile_spec, "best", "cpu", ())
    wanted = dict(trained.config.data)
    test = encoded(records_of(trained.config.files, "test", wanted), trained.layout, trained.encoders, wanted)
    settings = replace(trained.config.train, batch_size=len(test))
    sizes = {name: getattr(trained.model, name) for name in ("P", "D", "H")}
    free = compile_spec(SPECS / "svi_vae.yaml", sizes=sizes).Model(**sizes, dataset_size=1)
    free.decoder.load_state_dict(trained.model.decoder.state_dict())
    models = {"encoder": trained.model}
    for steps in STEPS:
        chosen = {"z": f"reparameterization(refine={steps}, rate=0.02)"}
        refined = compile_spec(SPECS / "semi_amortized_vae.yaml", sizes=sizes, overrides=chosen).Model(**sizes)
        refined.load_state_dict(trained.model.state_dict())
        models[f"{steps} steps from the encoder"] = refined
    for name, model in (models | {"free parameters": free}).items():
        model.samples = 50  # draws for each example: the bound's own error is small
        bound = score(model, test, settings, CPU).value
        exact = importance_sampled(model, test, settings, CPU, 500).value
        print(f"{name}: bound {bound:.3f}, IS(500) {exact:.3f} nats an example, {len(test)} examples")


if __name__ == "__main__":
    main(sys.argv[1])
