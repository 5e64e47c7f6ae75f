"""Two steps side by side in one process: do they agree, how long do they take, how much memory do they need."""

from __future__ import annotations

import ctypes
import gc
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

Step = Callable[[], tuple[Tensor, dict[str, Tensor]]]
ROUNDS = 15
LEAST = 0.005  # seconds of one timing: shorter steps run several times
BUDGET = 5.0  # seconds in all, for each step


@dataclass(frozen=True)
class Comparison:
    """ratio: median over rounds of the candidate's time by the reference's. ms: of one step. mb: peak memory above
    what was there before a step, (candidate, reference). loss, gradient: relative differences, None where stochastic."""

    ratio: float
    ms: tuple[float, float]
    mb: tuple[float, float]
    loss: float | None
    gradient: float | None


def reference_step(loss: Callable[[], Tensor], params: dict[str, Tensor]) -> Step:
    """Value and gradients of a loss of leaf tensors."""

    def step():
        for parameter in params.values():
            parameter.grad = None
        value = loss()
        value.backward()
        return value.detach(), {name: parameter.grad for name, parameter in params.items()}

    return step


def disagreement(candidate: Step, reference: Step) -> tuple[float, float]:
    """Relative difference of the losses, and the largest one of the gradients in the maximum norm."""
    (a, ours), (b, theirs) = candidate(), reference()
    loss = float((a - b).abs() / b.abs().clamp_min(1.0))
    apart = [float((ours[name] - g).abs().max() / g.abs().max().clamp_min(1e-12)) for name, g in theirs.items()]
    return loss, max(apart, default=0.0)


def status(key: str) -> float:
    """A line of this process's status in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024


def peak_mb(step: Step) -> float:
    """Peak resident memory of one step above what was there before it; NaN where the system does not say."""
    try:
        gc.collect()
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        before = status("VmRSS")
    except OSError:
        return float("nan")
    step()
    return max(0.0, status("VmHWM") - before)


def seconds(step: Step, times: int) -> float:
    """Time of one step, after two that warm the caches: the process's on one thread, since others may share the cores."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    step()
    step()
    start = clock()
    for _ in range(times):
        step()
    return (clock() - start) / times


def interval(values: list[float]) -> tuple[float, float, float]:
    """The median, and an interval that covers the true one with at least 95 %, by order statistics where there are enough
    values (six); else from the least to the greatest."""
    ordered, n = sorted(values), len(values)
    below, tail = 0, 0.5**n
    while tail + math.comb(n, below + 1) * 0.5**n <= 0.025:
        below += 1
        tail += math.comb(n, below) * 0.5**n
    return statistics.median(ordered), ordered[below], ordered[n - 1 - below]


def compare(candidate: Step, reference: Step, stochastic: bool) -> Comparison:
    """The steps in turns, so that whatever else the machine does meets both."""
    threads = torch.get_num_threads()
    loss, gradient = disagreement(candidate, reference)
    if stochastic:
        loss, gradient = None, None
    memory = (peak_mb(candidate), peak_mb(reference))
    once = max(seconds(candidate, 1), seconds(reference, 1))
    times = max(1, int(LEAST / once))
    rounds = max(3, min(ROUNDS, int(BUDGET / (once * (times + 2)))))
    rows = [(seconds(candidate, times), seconds(reference, times)) for _ in range(rounds)]
    middle = tuple(1000 * statistics.median(column) for column in zip(*rows, strict=True))
    assert torch.get_num_threads() == threads, "a step changed the number of threads"
    return Comparison(statistics.median(a / b for a, b in rows), middle, memory, loss, gradient)
