"""Document completion: half of each held-out document is read, the perplexity of the other half is what is reported.

python examples/reproduce/document_completion.py RUN ...    RUN: of `lda`, `neural_topic_model` or `nvdm`

exp(-1/N Σ_words log E_q(h | first half)[p(word | h)]), the same estimator for all of them: q(h) is what the model's own inference
makes of the half that it reads; Gaussians are averaged over 100 draws, Dirichlets in closed form (topics and shares are
independent under q). The halves are drawn with a fixed seed, the same ones for every model.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lvspec.driver import compile_spec
from lvspec.train.data.batches import collate
from lvspec.train.data.dataset import encoded
from lvspec.train.data.sources import records_of
from lvspec.train.run.directory import open_run
from lvspec.train.scoring.score import held_out

CPU = torch.device("cpu")
DRAWS, BATCH = 100, 64


def of_lda(model, batch: dict) -> Tensor:
    """E_q[theta] E_q[topics], (B, V)."""
    q = model.optimum(batch)
    return q["theta"].mean @ q["topics"].mean


def of_draws(latent: str, words):
    """The mean of p(word | h) over draws of q(h), (B, V)."""

    def predicted(model, batch: dict) -> Tensor:
        q, total = model.encode(batch)[latent], 0.0
        for _ in range(DRAWS // 10):
            total = total + words(model, q.sample(10)).mean(0)
        return total / (DRAWS // 10)

    return predicted


PREDICTED = {
    "lda": of_lda,
    "nvdm": of_draws("h", lambda model, h: model.words(h).softmax(-1)),
    "neural_topic_model": of_draws("g", lambda model, g: model.mix(g).softmax(-1) @ model.topics.softmax(-1)),
}


def halves(batch: dict, generator: torch.Generator) -> tuple[dict, dict]:
    """Two batches of bags, the longer halves first."""
    x, t = batch["x"], batch["t"]
    order = torch.rand(x.shape, generator=generator)
    order = order.masked_fill(torch.arange(x.shape[1]) >= t[:, None], torch.inf).argsort(1)
    mixed, first = x.gather(1, order), (t + 1) // 2
    after = torch.arange(x.shape[1]) + first[:, None]
    return {"x": mixed, "t": first}, {"x": mixed.gather(1, after.clamp_max(x.shape[1] - 1)), "t": t - first}


@torch.no_grad()
def perplexity(run: str) -> tuple[str, float, int]:
    trained = open_run(Path(run), compile_spec, "best", "cpu", ())
    wanted = dict(trained.config.data)
    test = encoded(records_of(trained.config.files, "test", wanted), trained.layout, trained.encoders, wanted)
    name, generator = trained.compiled.spec.name, torch.Generator().manual_seed(0)
    trained.model.eval()
    torch.manual_seed(0)
    total, words = 0.0, 0
    for start in range(0, len(test), BATCH):  # the same batches for every model, so that halves are
        rows = np.arange(start, min(start + BATCH, len(test)))
        seen, asked = halves(collate(test, rows), generator)
        log_p = PREDICTED[name](trained.model, held_out(trained.model, seen, CPU)).log()
        here = torch.arange(asked["x"].shape[1]) < asked["t"][:, None]
        total += float(log_p.gather(1, asked["x"])[here].double().sum())
        words += int(here.sum())
    return name, math.exp(-total / words), words


if __name__ == "__main__":
    for run in sys.argv[1:]:
        name, found, words = perplexity(run)
        print(f"{run}: {name}, {found:.1f} on {words} words", flush=True)
