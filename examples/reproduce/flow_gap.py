"""What a q that bends gains: the held-out bound of one fixed generative model under guides of four families.

python examples/reproduce/flow_gap.py RUN [EPOCHS]    RUN: of `vae`, at the sizes of specs/planar_flow_vae.yaml

The decoder of the run is held fixed; each guide starts afresh and is trained on the training part alone, with the same steps.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch

from lvspec.driver import compile_spec
from lvspec.train.data.batches import batches, epoch_order
from lvspec.train.data.dataset import encoded
from lvspec.train.data.sources import records_of
from lvspec.train.run.directory import open_run
from lvspec.train.scoring.score import prepared, score

CPU = torch.device("cpu")
SPECS = Path(__file__).resolve().parents[2] / "specs"
PLANAR = (SPECS / "planar_flow_vae.yaml").read_text(encoding="utf-8")
GUIDES = {
    "Gaussian": PLANAR.replace(" through flow(h)", "").replace("  flow: Planar(D, H, steps=8)\n", ""),
    "planar": PLANAR,
    "inverse autoregressive": (SPECS / "iaf_vae.yaml").read_text(encoding="utf-8"),
    "neural spline": PLANAR.replace("Planar(D, H, steps=8)", "zuko.NSF(D, H, H, steps=3)"),  # asks for lvspec[zuko]
}


def main(run: str, epochs: int) -> None:
    trained = open_run(Path(run), compile_spec, "best", "cpu", ())
    wanted, settings = dict(trained.config.data), trained.config.train
    parts = {
        part: encoded(records_of(trained.config.files, part, wanted), trained.layout, trained.encoders, wanted)
        for part in ("train", "test")
    }
    sizes = {name: getattr(trained.model, name) for name in ("P", "D", "H")}
    for name, text in GUIDES.items():
        torch.manual_seed(0)
        model = compile_spec(text, sizes=sizes).Model(**sizes)
        model.decoder.load_state_dict(trained.model.decoder.state_dict())
        model.decoder.requires_grad_(False)
        optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.005)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
        for epoch in range(epochs):
            for batch in batches(parts["train"], epoch_order(parts["train"], settings, epoch)):
                optimizer.zero_grad()
                model(prepared(model, batch, CPU)).loss.backward()
                optimizer.step()
            schedule.step()
        model.samples = 50  # draws for each example: the bound's own error is small
        found = {p: score(model, d, replace(settings, batch_size=len(d)), CPU).value for p, d in parts.items()}
        print(
            f"{name}: bound {found['test']:.3f} nats an example held out, {found['train']:.3f} in training", flush=True
        )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 60)
