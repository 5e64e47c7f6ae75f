"""Chorales as piano rolls, one site a quarter note: train.jsonl.gz, dev.jsonl.gz -> train.jsonl, dev.jsonl.

    python examples/reproduce/piano_roll.py DATA/js_fakes FOLDER

A site is 88 keys, 1 where a voice sounds; a line has the MIDI numbers of the four voices at every sixteenth note.
"""

import gzip
import json
import sys
from pathlib import Path

LOWEST, KEYS, STEP = 21, 88, 4  # the lowest key's MIDI number, how many keys, sixteenth notes of a site


def main(source: str, folder: str) -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    for part in ("train", "dev"):
        with gzip.open(Path(source, f"{part}.jsonl.gz"), "rt") as file:
            chorales = [json.loads(line)["satb"][::STEP] for line in file]
        rolls = [[[int(LOWEST + k in voices) for k in range(KEYS)] for voices in notes] for notes in chorales]
        lines = [json.dumps({"roll": roll}, separators=(",", ":")) for roll in rolls]
        Path(folder, f"{part}.jsonl").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
