"""What recurs in descriptions of restaurants: specs/hsmm_templates.yaml on E2E (Novikova et al. 2017).

    python examples/reproduce/templates.py DATA/e2e [SEED ...]

The first 12,000 pairs are trained on, half of the first 2,000 dev pairs says when to stop, and the next 1,000 are for the
figures. Names (of the place, and of what is near it) stand in texts as `<name>` and `<near>`. A template is the row of
states of the best segmentation.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
PARTS = {"train": ("train", 0, 12_000), "dev": ("dev", 0, 2_000), "test": ("dev", 2_000, 3_000)}
OPEN = ("name", "near")  # fields whose values are names
SETTINGS = ("sizes.E=64", "sizes.H=64", "train.epochs=3", "train.learning_rate=0.005", "data.x.min_count=3")
ALIKE = ("--format", "jsonl", "--field", "x=text", *(a for s in SETTINGS for a in ("--set", s)))
SHOWN = 5  # templates, and phrases of each state


def described(path: Path, first: int, after: int) -> list[dict[str, str]]:
    """Records as `field=value` tokens, texts with names replaced by their field."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        pairs = [json.loads(line) for line in lines][first:after]
    found = []
    for pair in pairs:
        text, record = f" {pair['text']} ", pair["mr"]
        for field in OPEN:
            if field in record:
                text = text.replace(f" {record[field]} ", f" <{field}> ")
        values = (f"{f}=" + ("given" if f in OPEN else v.replace(" ", "_")) for f, v in sorted(record.items()))
        found.append({"record": " ".join(values), "text": " ".join(text.split())})
    return found


def lvspec(*arguments: object) -> str:
    command = [sys.executable, "-m", "lvspec", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def trained(spec: Path, folder: Path, seed: int, *changes: str) -> Path:
    run = folder / f"{spec.stem}-{seed}"
    data = ("--data", folder / "train.jsonl", "--valid", folder / "dev.jsonl", "--split-dev", "--quiet")
    lvspec("train", spec, *data, "--out", run, "--seed", seed, *changes)
    return run


def figures(run: Path) -> str:
    return lvspec("eval", run, "--data", run.parent / "test.jsonl")


def segmented(run: Path) -> list[tuple[list[str], list[int], list[int]]]:
    """Words, states, and where segments begin, of each text of the test part."""
    rows = [json.loads(line) for line in lvspec("infer", run, "--data", run.parent / "test.jsonl").splitlines()]
    return [(r["x"], r["z"]["mode"], [i for i, begins in enumerate(r["z"]["begins"]) if begins]) for r in rows]


def report(texts: list[tuple[list[str], list[int], list[int]]]) -> None:
    """How far templates repeat, the words at each of the most frequent ones' segments, and each state's phrases."""
    templates: dict[tuple[int, ...], list[list[str]]] = defaultdict(list)
    phrases: dict[int, Counter[str]] = defaultdict(Counter)
    for words, states, begins in texts:
        ends = [*begins[1:], len(words)]
        parts = [" ".join(words[a:b]) for a, b in zip(begins, ends, strict=True)]
        templates[tuple(states[i] for i in begins)].append(parts)
        for i, part in zip(begins, parts, strict=True):
            phrases[states[i]][part] += 1
    ranked = sorted(templates.items(), key=lambda item: -len(item[1]))
    covered = [sum(len(found) for _, found in ranked[:n]) / len(texts) for n in (1, 10, 100)]
    segments = sum(map(len, (begins for _, _, begins in texts)))
    print(f"  {len(texts)} texts, {len({' '.join(w) for w, _, _ in texts})} of them different")
    print(f"  {segments / len(texts):.1f} segments a text, {len(ranked)} different templates")
    print(
        "  share of the texts that the 1, 10, 100 most frequent templates cover: "
        + ", ".join(f"{c:.3f}" for c in covered)
    )
    for states, found in ranked[:SHOWN]:
        print(f"  template of {len(found)} texts")
        for place, state in enumerate(states):
            common = Counter(parts[place] for parts in found).most_common(3)
            print(f"    {state:>3}  " + " | ".join(words for words, _ in common))
    total = sum(sum(c.values()) for c in phrases.values())
    for state, counts in sorted(phrases.items(), key=lambda item: -sum(item[1].values())):
        common = " | ".join(words for words, _ in counts.most_common(SHOWN))
        print(f"  state {state:>2}  {sum(counts.values()) / total:6.1%}  {common}")


def main() -> None:
    source, seeds = Path(sys.argv[1]), [int(a) for a in sys.argv[2:]] or [0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part, (file, first, after) in PARTS.items():
            rows = described(source / f"{file}.jsonl.gz", first, after)
            (folder / f"{part}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
        specs, plain = HERE.parents[1] / "specs", folder / "rnn_lm.yaml"
        # texts without an end symbol: the segmentations are given how many words there are
        plain.write_text((specs / "rnn_lm.yaml").read_text(encoding="utf-8").replace("sequence(end=EOS)", "sequence"))
        for seed in seeds:
            run = trained(specs / "hsmm_templates.yaml", folder, seed)
            print(f"hsmm_templates, seed {seed}\n{figures(run)}")
            report(segmented(run))
            for spec, changes in ((HERE / "record_lm.yaml", ()), (plain, ALIKE)):
                print(f"{spec.stem}, seed {seed}\n{figures(trained(spec, folder, seed, *changes))}")


if __name__ == "__main__":
    main()
