"""How far the ELBO is below log p(x) while q trains: a fresh guide, the generative model of a finished run held fixed.

python examples/reproduce/amortization.py RUN [EPOCHS]    RUN: of naive_bayes_amortized
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn

from lvspec.driver import compile_spec
from lvspec.train.data.batches import batches, epoch_order
from lvspec.train.data.dataset import encoded
from lvspec.train.data.sources import records_of
from lvspec.train.evaluation.evaluate import exact
from lvspec.train.run.directory import open_run
from lvspec.train.scoring.score import prepared, score

CPU = torch.device("cpu")
GENERATIVE = ("prior", "words")


def fresh_guide(model: nn.Module) -> list[nn.Parameter]:
    """New first values for all but p's parameters, which are held fixed."""
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if name in GENERATIVE:
            parameter.requires_grad_(False)
        elif name.startswith("reader"):
            nn.init.normal_(parameter, 0, 0.1)
        elif parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
        else:
            nn.init.zeros_(parameter)
    return [p for p in model.parameters() if p.requires_grad]


def main(run: str, epochs: int) -> None:
    trained = open_run(Path(run), compile_spec, "best", "cpu", ())
    model, settings, wanted = trained.model, trained.config.train, dict(trained.config.data)
    data = {
        part: encoded(records_of(trained.config.files, part, wanted), trained.layout, trained.encoders, wanted)
        for part in ("train", "valid")
    }
    optimizer = torch.optim.Adam(fresh_guide(model), lr=0.003)
    for epoch in range(epochs + 1):
        gaps = {p: exact(model, d, settings, CPU).value - score(model, d, settings, CPU).value for p, d in data.items()}
        print(f"after {epoch} epochs: " + ", ".join(f"{g:.3f} nats ({p})" for p, g in gaps.items()), flush=True)
        for batch in batches(data["train"], epoch_order(data["train"], settings, epoch)):
            objective = model(prepared(model, batch, CPU))
            optimizer.zero_grad()
            objective.loss.backward()
            optimizer.step()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 8)
