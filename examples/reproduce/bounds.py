"""Bounds of several draws at a trained model: how they grow with K, and what a scored draw is best held against.

python examples/reproduce/bounds.py RUN ...    RUN: of vae, iwae, discrete_vae, iwae_discrete

Of each run the test part's mean of log (1/K) sum_k p(x, z_k) / q(z_k | x) for K = 1, 5, 50, 500; and, where draws are scored under a
bound of several, the variance of the encoder's gradient on one batch (40 gradients, summed over its coordinates) with the geometric
mean of the other draws as control variate (VIMCO) and with none.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from lvspec.driver import compile_spec
from lvspec.train.data.batches import collate, epoch_order
from lvspec.train.data.dataset import encoded
from lvspec.train.data.sources import records_of
from lvspec.train.evaluation.evaluate import importance_sampled
from lvspec.train.run.directory import make_model, open_run
from lvspec.train.scoring.score import prepared
from lvspec.train.tune import Gradients

CPU = torch.device("cpu")
DRAWS = (1, 5, 50, 500)
GRADIENTS = 40


def variances(trained, part) -> dict[str, float]:
    """By control variate, at the parameters of the run and the same seed."""
    rows = epoch_order(part, trained.config.train, 0)[0]
    found = {}
    for baseline in ("leave_one_out", "none"):
        overrides = {**trained.config.infer, "z": f"reinforce(baseline={baseline})"}
        compiled = compile_spec(trained.run.spec, sizes=trained.config.sizes, overrides=overrides)
        model = make_model(compiled.Model, trained.config.sizes, trained.config.dataset_size)
        model.load_state_dict(trained.model.state_dict())
        torch.manual_seed(0)
        names = [n for n, _ in model.named_parameters() if n.startswith("encoder")]
        found[baseline] = Gradients.of(model, prepared(model, collate(part, rows), CPU), names, GRADIENTS).variance
    return found


def main(runs: list[str]) -> None:
    for run in runs:
        trained = open_run(Path(run), compile_spec, "last", "cpu", ())
        wanted, files, settings = dict(trained.config.data), trained.config.files, trained.config.train
        parts = {
            p: encoded(records_of(files, p, wanted), trained.layout, trained.encoders, wanted)
            for p in ("train", "test")
        }
        bounds = [importance_sampled(trained.model, parts["test"], settings, CPU, k).value for k in DRAWS]
        print(run, ", ".join(f"K = {k}: {b:.2f}" for k, b in zip(DRAWS, bounds, strict=True)), sep="\t", flush=True)
        latent = trained.compiled.plan.latents[0]
        if latent.strategy == "reinforce" and trained.compiled.plan.coupled:
            print(
                run,
                ", ".join(f"{b}: {v:.3g}" for b, v in variances(trained, parts["train"]).items()),
                sep="\t",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1:])
