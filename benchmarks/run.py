"""Emitted modules beside hand-written programs: `python -m benchmarks [NAME ...] [--processes 6] [--threads 1]`,
and beside other packages: `python -m benchmarks --peers`.

Each measurement has a process of its own; what is shown is the median over the processes, with the interval that covers the
true median with 95 % (for six processes, from the least to the greatest). A bar holds if the interval reaches it.
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

from benchmarks.bars import GRADIENT, LOSS, PEERS, SLACK, bar_of

HEAD = ["workload", "ms", "reference ms", "time, ratio", "bar", "memory, ratio", "bar", "loss / gradient", ""]
PEER_HEAD = ["workload", "peer", "ms", "peer's ms", "quicker by", "bar", "peer's memory by ours", "bar", ""]


def measured(name: str, threads: int, peer: str | None) -> dict:
    """One workload in this process."""
    import torch

    from benchmarks.contenders import STOCHASTIC, contenders
    from benchmarks.measure import compare, reference_step
    from benchmarks.peers import STEPS
    from benchmarks.workloads import make

    torch.set_num_threads(threads)
    workload = make(name)
    candidate = contenders(workload)["lvspec"]
    if peer is None:
        reference = reference_step(workload.loss, workload.params)
    else:
        try:
            reference = STEPS[peer, workload.workload](workload)
        except ModuleNotFoundError as missing:
            return {"missing": missing.name}
    return dataclasses.asdict(compare(candidate, reference, workload.workload in STOCHASTIC))


def in_fresh_process(name: str, threads: int, peer: str | None = None) -> dict:
    command = [sys.executable, "-m", "benchmarks", "--one", name, "--threads", str(threads)]
    root, count = Path(__file__).resolve().parent.parent, str(threads)
    flags = f"--xla_cpu_multi_thread_eigen={'false' if threads == 1 else 'true'} intra_op_parallelism_threads={count}"
    env = os.environ | {"OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count, "XLA_FLAGS": flags}
    command += ["--peer", peer] if peer else []
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def spread(values: list[float]) -> tuple[str, float, float]:
    """`median [low, high]`, and the interval's ends."""
    from benchmarks.measure import interval

    middle, low, high = interval(values)
    form = ".2f" if middle < 10 else ".0f"
    return f"{middle:{form}} [{low:{form}}, {high:{form}}]", low, high


def memory_ratio(row: dict) -> float:
    """Peak memory by the reference's, both with a few MB added."""
    ours, theirs = row["mb"]
    return (ours + SLACK) / (theirs + SLACK)


def middle_ms(rows: list[dict]) -> list[str]:
    return [f"{statistics.median(r['ms'][i] for r in rows):.2f}" for i in (0, 1)]


def report(name: str, rows: list[dict]) -> tuple[list[str], bool]:
    """One line of the table; whether the workload keeps within its bars."""
    bar = bar_of(name)
    time, quickest, _ = spread([r["ratio"] for r in rows])
    memory, leanest, _ = spread([memory_ratio(r) for r in rows])
    loss, gradient = (max((r[key] or 0.0) for r in rows) for key in ("loss", "gradient"))
    agreed = "stochastic" if rows[0]["loss"] is None else f"{loss:.0e} / {gradient:.0e}"
    missed = [n for n, bad in (("time", quickest > bar.time), ("memory", leanest > bar.memory)) if bad]
    missed += ["agreement"] if loss > LOSS or gradient > GRADIENT else []
    verdict = "misses " + ", ".join(missed) if missed else "holds"
    return [name, *middle_ms(rows), time, f"{bar.time}", memory, f"{bar.memory}", agreed, verdict], not missed


def report_peer(
    name: str, peer: str, rows: list[dict], bars: tuple[float | None, float | None]
) -> tuple[list[str], bool]:
    """One line of the table of peers: their time and memory by ours."""
    if "missing" in rows[0]:
        return [name, peer, *["-"] * 6, f"{rows[0]['missing']} is not installed"], True
    time, _, most = spread([1 / r["ratio"] for r in rows])
    memory, _, largest = spread([1 / memory_ratio(r) for r in rows])
    missed = [n for n, bar, best in (("time", bars[0], most), ("memory", bars[1], largest)) if bar and best < bar]
    verdict = "misses " + ", ".join(missed) if missed else "holds" if any(bars) else ""
    asked = [f"{b:g}" if b else "" for b in bars]
    return [name, peer, *middle_ms(rows), time, asked[0], memory, asked[1], verdict], not missed


def show(cells: list[str]) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--processes", type=int, default=6)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--peers", action="store_true", help="other packages, where they are installed")
    parser.add_argument("--one", metavar="NAME", help="measure here and print JSON")
    parser.add_argument("--peer", help="with --one: the package to compare with")
    options = parser.parse_args(arguments)
    if options.one:
        print(json.dumps(measured(options.one, options.threads, options.peer)))
        return 0
    from benchmarks.workloads import MAKERS

    unknown = [n for n in options.names if n not in MAKERS]
    if unknown:
        parser.error(f"no workload {unknown[0]}; there are {', '.join(MAKERS)}")
    lines = peers(options) if options.peers else by_hand(options, options.names or list(MAKERS))
    head, good = PEER_HEAD if options.peers else HEAD, True
    show(head)
    show(["---"] * len(head))
    for cells, held in lines:
        show(cells)
        good = good and held
    return 0 if good else 1


def by_hand(options, names: list[str]):
    for name in names:
        yield report(name, [in_fresh_process(name, options.threads) for _ in range(options.processes)])


def peers(options):
    for (peer, names), bars in PEERS.items():
        for name in names:
            if name in options.names or not options.names:
                rows = [in_fresh_process(name, options.threads, peer) for _ in range(options.processes)]
                yield report_peer(name, peer, rows, bars)


if __name__ == "__main__":
    sys.exit(main())
