"""Old Faithful's eruptions in row order, as sequences: faithful.csv -> train, valid and test.jsonl.

    python examples/reproduce/geyser.py DATA/classic/faithful.csv FOLDER

A site is (minutes that the eruption lasted, tens of minutes until the next one). The first 176 eruptions are eight
sequences to train on, the next 32 two that decide when to stop, the last 64 one to be judged by.
"""

import csv
import json
import sys
from pathlib import Path

PARTS = {"train": (0, 176, 22), "valid": (176, 208, 16), "test": (208, 272, 64)}  # from, to, sites of a sequence


def main(source: str, folder: str) -> None:
    with open(source, newline="") as file:
        rows = [[float(r["eruptions"]), float(r["waiting"]) / 10] for r in csv.DictReader(file)]
    Path(folder).mkdir(parents=True, exist_ok=True)
    for part, (start, end, sites) in PARTS.items():
        lines = [json.dumps({"x": rows[i : i + sites]}) for i in range(start, end, sites)]
        Path(folder, f"{part}.jsonl").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
