"""Digits as real vectors, and what Gaussians make of them: digits.csv.gz -> train, valid and test.jsonl.

    python examples/reproduce/dequantized.py DATA/digits8x8/digits.csv.gz FOLDER

A pixel is a grey level from 0 to 16; a uniform number between 0 and 1 is added (so that a density of the sum bounds the
probability of the level), and the sum is divided by 8 and moved by 1. Every tenth digit is for validation, the one after it
for the test. Bits are of one number on the scale of grey levels: -log2 p(x) / 64 + 3.
"""

import csv
import gzip
import json
import math
import random
import sys
from pathlib import Path

import torch

RIDGES = [10.0**k for k in range(-4, 1)]  # added to the covariance's diagonal; the best one on the validation part


def main(source: str, folder: str) -> None:
    draw = random.Random(0)
    with gzip.open(source, "rt", newline="") as file:
        rows = [[(float(v) + draw.random()) / 8 - 1 for v in row[:64]] for row in csv.reader(file)]
    parts = {
        "train": [r for i, r in enumerate(rows) if i % 10 > 1],
        "valid": rows[0::10],
        "test": rows[1::10],
    }
    Path(folder).mkdir(parents=True, exist_ok=True)
    for part, own in parts.items():
        Path(folder, f"{part}.jsonl").write_text("".join(json.dumps({"x": r}) + "\n" for r in own))
    x = {part: torch.tensor(own, dtype=torch.float64) for part, own in parts.items()}
    whole = torch.cov(x["train"].T)
    shown = {"independent": torch.diag(whole.diag()), "with covariance": whole}
    for name, covariance in shown.items():
        fitted = [gaussian(x["train"].mean(0), covariance + r * torch.eye(64)) for r in RIDGES]
        best = min(fitted, key=lambda p: bits(p, x["valid"]))
        print(f"Gaussian, {name}: {bits(best, x['test']):.3f} bits a number")


def gaussian(mean: torch.Tensor, covariance: torch.Tensor) -> torch.distributions.Distribution:
    return torch.distributions.MultivariateNormal(mean, covariance)


def bits(p: torch.distributions.Distribution, x: torch.Tensor) -> float:
    return float(-p.log_prob(x).mean() / (64 * math.log(2)) + 3)


if __name__ == "__main__":
    main(*sys.argv[1:])
