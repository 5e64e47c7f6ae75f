"""How far the structured mean field is below the exact sum of a trained factorial HMM, and how its cost grows with chains.

python examples/reproduce/mean_field_gap.py RUN    RUN: of factorial_hmm or factorial_hmm_words, trained exactly
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import torch

from lvspec.driver import compile_spec
from lvspec.train.data.batches import collate
from lvspec.train.data.dataset import encoded
from lvspec.train.data.sources import records_of
from lvspec.train.run.directory import TrainedRun, open_run
from lvspec.train.scoring.score import score

CPU = torch.device("cpu")


def compiled(trained: TrainedRun, strategy: str, **sizes: int):
    """The run's spec with its latent treated so."""
    return compile_spec(trained.run.spec, sizes={**trained.config.sizes, **sizes}, overrides={"z": strategy})


def gaps(trained: TrainedRun) -> None:
    """Nats per example below log p(x), on the validation part, after 1, 3 and 20 rounds of coordinate ascent."""
    wanted, settings = dict(trained.config.data), trained.config.train
    data = encoded(records_of(trained.config.files, "valid", wanted), trained.layout, trained.encoders, wanted)
    sites = sum(int(e.lengths["t"]) for e in data.examples) / len(data)
    exact = score(trained.model, data, settings, CPU).value
    print(f"exact: {exact / sites:.3f} nats a site")
    for rounds in (1, 3, 20):
        model = compiled(trained, f"structured_mean_field(steps={rounds})").Model(**trained.config.sizes)
        model.load_state_dict(trained.model.state_dict())
        bound = score(model, data, settings, CPU).value
        print(f"{rounds} rounds: {bound / sites:.3f}, {(exact - bound) / sites:.3f} below")
    torch.manual_seed(0)
    few = collate(data, list(range(0, len(data), max(len(data) // 100, 1))))
    with torch.no_grad():
        batch = model.prepare(few)
        reported, drawn = model(batch).elbo, model.log_weights(batch, 50)[0].mean(0)
    gap = (drawn - reported).sum() / few["t"].sum()
    print(
        f"the ELBO of the same q, by 50 draws for every {max(len(data) // 100, 1)}th example: {gap:.3f} above what is reported"
    )


def costs(trained: TrainedRun) -> None:
    """Milliseconds of processor time of a step, five rounds: 8 sequences of 64 numbers, or of 16 words."""
    words = "V" in trained.config.sizes
    grid = [(chains, trained.config.sizes.get("V")) for chains in (2, 4, 8, 16)]
    grid += [(4, factor * grid[0][1]) for factor in (2, 4)] if words else []
    for chains, symbols in grid:
        sizes = {**trained.config.sizes, "L": chains, **({"V": symbols} if words else {})}
        model = compiled(trained, "structured_mean_field(steps=5, tolerance=1e-12)", L=chains).Model(**sizes)
        x = torch.randint(symbols, (8, 16)) if words else torch.randn(8, 64, sizes["D"])
        batch, taken = model.prepare({"x": x}), []
        for _ in range(5):
            start = time.process_time()
            model(batch).loss.backward()
            taken.append(1000 * (time.process_time() - start))
        print(f"L = {chains}{f', V = {symbols}' if words else ''}: {statistics.median(taken):.1f} ms")


if __name__ == "__main__":
    run = open_run(Path(sys.argv[1]), compile_spec, "best", "cpu", ())
    gaps(run)
    costs(run)
