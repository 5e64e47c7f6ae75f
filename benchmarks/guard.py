"""What the guard against lost mass costs on ordinary logits: `python -m benchmarks.guard [NAME ...]`.

The same emitted module in turns, once as it is and once with everything that the guard looks at remembered from the step
before, so that nothing is computed or read for it. Shown: the median over rounds of the ratio, with its 95 % interval.
"""

from __future__ import annotations

import sys
import time

import torch
from torch import Tensor

from benchmarks.contenders import contenders
from benchmarks.measure import interval
from benchmarks.workloads import make
from lvspec.runtime.chains import scaled as chain_scaled
from lvspec.runtime.chains import two_way as chain_both

ROUNDS = 400
NAMES = ("W1-small", "W1-mid", "W1-large", "W8")


class Remembered:
    """`least` that answers as it did before, call by call."""

    def __init__(self) -> None:
        self.answers: list[float] = []
        self.position: int | None = None

    def __call__(self, values: Tensor) -> float:
        if self.position is None:
            self.answers.append(float(values.amin()))
            return self.answers[-1]
        self.position += 1
        return self.answers[self.position - 1]


def cost(name: str) -> list[float]:
    """Ratios of a step with the guard to one without."""
    step = contenders(make(name))["lvspec"]
    guard, remembered = chain_scaled.least, Remembered()

    def look_by(least) -> None:
        chain_scaled.least = chain_both.least = least

    def seconds(least, times: int) -> float:
        look_by(least)
        total = 0.0
        for _ in range(times):
            remembered.position = 0
            begun = time.process_time()
            step()
            total += time.process_time() - begun
        return total / times

    look_by(remembered)
    step()
    for _ in range(20):
        seconds(remembered, 1), seconds(guard, 1)
    times = max(1, int(0.005 / seconds(guard, 3)))
    ratios = [seconds(guard, times) / seconds(remembered, times) for _ in range(ROUNDS)]
    look_by(guard)
    return ratios


def main() -> None:
    torch.set_num_threads(1)
    for name in sys.argv[1:] or NAMES:
        middle, low, high = interval(cost(name))
        print(f"{name:9} {100 * (middle - 1):+.1f} % [{100 * (low - 1):+.1f}, {100 * (high - 1):+.1f}]", flush=True)


if __name__ == "__main__":
    main()
