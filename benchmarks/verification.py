"""What verifying by default takes: processor seconds for each spec, on one core.

python -m benchmarks.verification [specs/hmm.yaml ...]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch

from lvspec.cli.verified import small_report
from lvspec.driver import plan_spec

SPECS = Path(__file__).resolve().parents[1] / "specs"


def main(paths: list[str]) -> None:
    torch.set_num_threads(1)
    times = []
    for path in [Path(p) for p in paths] or sorted(SPECS.glob("*.yaml")):
        plan = plan_spec(path)
        began = time.process_time()
        report = small_report(plan, ())
        times.append(time.process_time() - began)
        print(
            f"{path.stem:28} {times[-1]:6.2f} s  {report.verdict:9}  not covered: {'; '.join(report.left_out) or '-'}"
        )
    quick = sum(t <= 2 for t in times)
    print(f"{quick} of {len(times)} within 2 s, all within {max(times):.2f} s, {sum(times):.1f} s together")


if __name__ == "__main__":
    main(sys.argv[1:])
