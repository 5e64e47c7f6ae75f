"""Where articles begin in a row of them (Hearst 1997's task): P_k of specs/text_segmentation.yaml beside fixed lengths.

    python examples/reproduce/text_segmentation.py DATA/wiki_topics [SEED ...]

Documents are made as by Choi (2000): five to nine articles in a row, of each its first 3 to 11 sentences. P_k (Beeferman,
Berger & Lafferty 1999): how often two sentences, half a mean segment apart, are wrongly said to be in one segment or in
two. Fixed lengths know the mean length of a segment.
"""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

SPEC = Path(__file__).resolve().parents[2] / "specs" / "text_segmentation.yaml"
ENDS = {".", "!", "?"}
DOCUMENTS = {"train": 600, "dev": 100}


def sentences(text: str) -> list[str]:
    found, words = [], []
    for word in text.split():
        words.append(word)
        if word in ENDS:
            found.append(" ".join(words))
            words = []
    return found


def documents(path: Path, count: int, rng: random.Random) -> list[dict]:
    """Each a list of sentences, and the number of the article that each is from."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        articles = [s for s in (sentences(json.loads(line)["text"]) for line in lines) if len(s) >= 3]
    made = []
    for _ in range(count):
        parts = [a[: rng.randint(3, 11)] for a in rng.sample(articles, rng.randint(5, 9))]
        made.append(
            {"sentences": [s for p in parts for s in p], "article": [i for i, p in enumerate(parts) for _ in p]}
        )
    return made


def p_k(found: list[int], true: list[int], window: int) -> float:
    """The share of pairs, `window` sentences apart, that are together in one of the two and apart in the other."""
    pairs = [(i, i + window) for i in range(len(true) - window)]
    wrong = sum((segment(found, a) == segment(found, b)) != (true[a] == true[b]) for a, b in pairs)
    return wrong / max(len(pairs), 1)


def segment(labels: list[int], place: int) -> int:
    """The number of the segment around a sentence: how often the label has changed up to it."""
    return sum(a != b for a, b in zip(labels[:place], labels[1 : place + 1], strict=True))


def run(data: Path, seed: int) -> dict[str, float]:
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for part, count in DOCUMENTS.items():
            files[part] = Path(folder) / f"{part}.jsonl"
            rows = documents(data / f"{part}.jsonl.gz", count, rng)
            files[part].write_text("".join(json.dumps(r) + "\n" for r in rows))
        out = str(Path(folder) / "run")
        command = [sys.executable, "-m", "lvspec"]
        train = [*command, "train", str(SPEC), "--data", str(files["train"]), "--out", out, "--seed", str(seed)]
        subprocess.run(train, check=True, stdout=subprocess.DEVNULL)
        infer = [*command, "infer", out, "--data", str(files["dev"])]
        lines = subprocess.run(infer, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
        modes = {r["record"]: r["z"]["mode"] for r in map(json.loads, lines)}
        truth = [json.loads(line)["article"] for line in files["dev"].read_text().splitlines()]
    total, pieces = sum(map(len, truth)), sum(t[-1] + 1 for t in truth)
    mean = total / pieces
    window = round(mean / 2)
    fixed = [[int(i / mean) for i in range(len(t))] for t in truth]
    ways = {
        "model": [modes[i] for i in range(len(truth))],
        "fixed length": fixed,
        "one segment": [[0] * len(t) for t in truth],
    }
    return {
        name: sum(p_k(f, t, window) for f, t in zip(found, truth, strict=True)) / len(truth)
        for name, found in ways.items()
    }


def main() -> None:
    data, seeds = Path(sys.argv[1]), [int(s) for s in sys.argv[2:]] or [0, 1]
    for seed in seeds:
        print(f"seed {seed}: " + ", ".join(f"P_k {value:.3f} ({name})" for name, value in run(data, seed).items()))


if __name__ == "__main__":
    main()
