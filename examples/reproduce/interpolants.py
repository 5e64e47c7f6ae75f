"""Between two pictures: are the decoded midpoints of codes likely, those of an autoencoder and of a VAE?

python examples/reproduce/interpolants.py AUTOENCODER VAE JUDGE    runs at the same sizes; JUDGE: another VAE, another seed

A hundred pairs of held-out digits, each coded (the VAE: by the mean of q), decoded halfway, as the likeliest picture and as a draw, and
judged by an importance-sampled log p(x) of the third model; beside them the held-out digits themselves. And how well eight numbers tell a
digit: the squared error of the reconstruction, against principal components.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from lvspec.driver import compile_spec
from lvspec.train.data.dataset import encoded
from lvspec.train.data.sources import records_of
from lvspec.train.run.directory import open_run

PAIRS = 100


def codes(model, x: torch.Tensor) -> torch.Tensor:
    if hasattr(model, "encode"):
        return model.encode({"x": x})["z"].arguments["loc"]
    return model.posterior({"x": x})["z"].mode


@torch.no_grad()
def main(autoencoder: str, vae: str, judge: str) -> None:
    torch.manual_seed(0)
    runs = {name: open_run(Path(r), compile_spec, "best", "cpu", ()) for name, r in
            (("autoencoder", autoencoder), ("VAE", vae), ("judge", judge))}  # fmt: skip
    first = runs["autoencoder"]
    data = {}
    for part in ("train", "test"):
        records = records_of(first.config.files, part, dict(first.config.data))
        dataset = encoded(records, first.layout, first.encoders, dict(first.config.data))
        data[part] = torch.tensor([list(e.values["x"]) for e in dataset.examples])
    x = data["test"]
    left, right = torch.randint(len(x), (2, PAIRS))
    judged = runs["judge"].model
    print(f"held-out digits: {judged.log_prob({'x': x}, samples=500).mean():.2f} nats")
    for name in ("autoencoder", "VAE"):
        model = runs[name].model
        z = codes(model, x)
        shades = torch.sigmoid(model.decoder((z[left] + z[right]) / 2))
        for how, middle in (("likeliest", shades > 0.5), ("drawn", torch.bernoulli(shades))):
            log_p = judged.log_prob({"x": middle.long()}, samples=500)
            print(f"{name}, halfway, {how}: {log_p.mean():.2f} nats (± {log_p.std() / PAIRS**0.5:.2f})")
        error = (torch.sigmoid(model.decoder(z)) - x).square().mean()
        print(f"{name}: squared error of a pixel {error:.4f}")
    mean, D = data["train"].double().mean(0), codes(first.model, x).shape[-1]
    axes = torch.linalg.svd(data["train"].double() - mean, full_matrices=False).Vh[:D]
    away = x.double() - mean
    print(f"{D} principal components: squared error of a pixel {(away - away @ axes.T @ axes).square().mean():.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
