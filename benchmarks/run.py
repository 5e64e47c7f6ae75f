"""Emitted modules beside hand-written ones: `python -m benchmarks [NAME ...] [--processes 5]`.

Each measurement has a process of its own; what is shown is the median over the processes with the least and the
greatest value. A ratio of 1 means that the emitted module is as fast as the hand-written program.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

TIME, MEMORY, LOSS, GRADIENT = 2.0, 1.5, 1e-5, 1e-3  # what must not be exceeded
SLACK = 4.0  # MB: below this, allocation by pages decides


def measured(name: str) -> dict:
    """One workload in this process."""
    import torch

    from benchmarks.contenders import STOCHASTIC, contenders
    from benchmarks.measure import compare, reference_step
    from benchmarks.workloads import make

    torch.set_num_threads(1)
    workload = make(name)
    candidate = contenders(workload)["lvspec"]
    reference = reference_step(workload.loss, workload.params)
    return dataclasses.asdict(compare(candidate, reference, workload.workload in STOCHASTIC))


def in_fresh_process(name: str) -> dict:
    command = [sys.executable, "-m", "benchmarks", "--one", name]
    root = Path(__file__).resolve().parent.parent
    env = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def spread(values: list[float], form: str = ".2f") -> str:
    """`median [least, greatest]`."""
    return f"{statistics.median(values):{form}} [{min(values):{form}}, {max(values):{form}}]"


def memory_ratio(row: dict) -> float:
    """Peak memory by the reference's, both with a few MB added."""
    ours, theirs = row["mb"]
    return (ours + SLACK) / (theirs + SLACK)


def report(name: str, rows: list[dict]) -> bool:
    """One line of the table; whether the workload keeps within its bounds."""
    ratios, memories = [r["ratio"] for r in rows], [memory_ratio(r) for r in rows]
    ours, theirs = (statistics.median(r["ms"][i] for r in rows) for i in (0, 1))
    loss, gradient = (max((r[key] or 0.0) for r in rows) for key in ("loss", "gradient"))
    agreed = "stochastic" if rows[0]["loss"] is None else f"{loss:.0e} / {gradient:.0e}"
    good = statistics.median(ratios) <= TIME and statistics.median(memories) <= MEMORY
    good = good and loss <= LOSS and gradient <= GRADIENT
    times = f"{ours:9.2f} {theirs:9.2f}"
    print(f"{name:9} {times}   {spread(ratios):20} {spread(memories):20} {agreed:16} {'' if good else 'MISSED'}")
    return good


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--processes", type=int, default=5)
    parser.add_argument("--one", metavar="NAME", help="measure here and print JSON")
    options = parser.parse_args(arguments)
    if options.one:
        print(json.dumps(measured(options.one)))
        return 0
    from benchmarks.workloads import MAKERS

    unknown = [n for n in options.names if n not in MAKERS]
    if unknown:
        parser.error(f"no workload {unknown[0]}; there are {', '.join(MAKERS)}")
    print(f"{'':9} {'ms':>9} {'by hand':>9}   {'time, ratio':20} {'memory, ratio':20} {'loss / gradient':16}")
    good = True
    for name in options.names or MAKERS:
        good = report(name, [in_fresh_process(name) for _ in range(options.processes)]) and good
    print(f"bounds: time {TIME}, memory {MEMORY} (+{SLACK:.0f} MB on both sides), {options.processes} processes each")
    return 0 if good else 1
