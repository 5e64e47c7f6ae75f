"""Remedies against posterior collapse, on sentences of film reviews: the table of docs/zoo.md.

python examples/reproduce/remedies.py DATA OUT [SEEDS] [NAME ...]    SEEDS: 0,1; NAME: rows, by default all

Every run has the same sizes and as many steps, and its last parameters are looked at: nothing is chosen by a held-out figure.
A run that is in OUT already is only evaluated; an evaluation that is there is only shown.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

SPECS = Path(__file__).parents[2] / "specs"
SETTINGS = {
    "data.x.min_count": 1,
    "data.x.max_size": 1000,
    "data.x.max_length": 20,
    "sizes.E": 64,
    "sizes.H": 64,
    "train.patience": 0,
}
EPOCHS = 6  # of 267 steps


@dataclass(frozen=True)
class Row:
    """what: as the table says it. settings: of `--set`, beside those that all rows have. edits: texts of the spec, each with
    what stands there instead."""

    what: str
    settings: dict[str, object] = field(default_factory=dict)
    edits: dict[str, str] = field(default_factory=dict)
    spec: str = "sentence_vae"


LINEAR = {"train.kl_weight": "linear(0, 1, steps=800)"}
WRITER = "  h[t]: writer(concat(words(x[<t]), z))\n"
SKIP = {
    "  output: Linear(H, V)\n": "  output: Linear(H + D, V)\n",
    "Categorical(logits=output(h[t]))": "Categorical(logits=output(concat(h[t], z)))",
}
PREVIOUS_WORD = {
    "  writer: LSTM(E + D, H)\n": "  writer: MLP(E + D, H, H)\n",
    "latent:\n": "params:\n  begin: [E]\nlatent:\n",
    WRITER: "  h[0]: writer(concat(begin, z))\n  h[t]: writer(concat(words(x[t-1]), z))\n",
}
NO_WORDS = {
    "  writer: LSTM(E + D, H)\n": "  writer: MLP(D, H, H)\n",
    WRITER: "  h: writer(z)\n",
    "output(h[t])": "output(h)",
}
BAG = {
    "  output: Linear(H, V)\n": "  output: Linear(H, V)\n  bag: MLP(D, H, V)\n",
    "data:\n": "objective:\n  about[t]: 0.5 * log_prob(x[t], Categorical(logits=bag(z)))\ndata:\n",
}
ROWS = {
    "rnn_lm": Row("`rnn_lm`", spec="rnn_lm"),
    "untreated": Row("untreated: `kl_weight: 1`"),
    "linear": Row("`kl_weight: linear(0, 1, steps=800)`", LINEAR),
    "cyclical": Row("`kl_weight: cyclical(0, 1, period=534)`", {"train.kl_weight": "cyclical(0, 1, period=534)"}),
    "beta": Row("`kl_weight: 0.25`", {"train.kl_weight": 0.25}),
    "free_node": Row("`free_bits: node(4)`", {"train.free_bits": "node(4)"}),
    "free_dimension": Row("`free_bits: dimension(0.25)`", {"train.free_bits": "dimension(0.25)"}),
    "word_dropout": Row("`word_dropout: 0.4`", {"train.word_dropout": 0.4}),
    "previous_word": Row("a decoder that sees the previous word alone", edits=PREVIOUS_WORD),
    "no_words": Row("a decoder that sees no word", edits=NO_WORDS),
    "skip": Row("z at the output as well (skip connection)", edits=SKIP),
    "bag_term": Row("a term of the objective: 0.5 log p(words, given z alone)", edits=BAG),
    "aggressive": Row("`inference: aggressive`", {"train.inference": "aggressive"}),
    "combined": Row(
        "linear weight, word dropout, skip connection together", {**LINEAR, "train.word_dropout": 0.4}, SKIP
    ),
}


def edited(row: Row) -> str:
    """The spec of a row: each edit is of a text that stands there once."""
    text = (SPECS / f"{row.spec}.yaml").read_text()
    for old, new in row.edits.items():
        if text.count(old) != 1:
            raise ValueError(f"{row.spec}.yaml has {text.count(old)} times {old!r}")
        text = text.replace(old, new)
    return text


def command(*arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "lvspec", *map(str, arguments)], check=True, capture_output=True, text=True
    )
    return done.stdout


def evaluated(name: str, seed: int, data: Path, out: Path) -> dict:
    """Train and evaluate one row with one seed, as far as that is not done."""
    row, run = ROWS[name], out / f"{name}-{seed}"
    found = run / "figures.json"
    if found.exists():
        return json.loads(found.read_text())
    if not (run / "checkpoints").exists() or not (run / "done").exists():
        spec = out / f"{name}.yaml"
        spec.write_text(edited(row))
        own = {"sizes.D": 16, "train.kl_weight": 1} if row.spec == "sentence_vae" else {}
        settings = [x for k, v in {**SETTINGS, **own, **row.settings}.items() for x in ("--set", f"{k}={v}")]
        files = [
            x
            for part, file in (("data", "train"), ("valid", "dev"), ("test", "test"))
            for x in (f"--{part}", data / f"{file}.tsv")
        ]
        where = ["--format", "tsv", "--column", 2, "--out", run, "--overwrite", "--quiet"]
        command("train", spec, *files, *where, "--seed", seed, "--epochs", EPOCHS, *settings)
        (run / "done").touch()
    text = command("eval", run, "--checkpoint", "last", "--json")
    found.write_text(text)
    return json.loads(text)


def figures(result: dict) -> dict[str, float]:
    """ELBO, reconstruction, KL, information, active units and perplexity (importance-sampled, or exact) of an evaluation."""
    found: dict[str, float] = {}
    for row in result["figures"]:
        bound = row["how"].startswith("bound")
        name = "bound" if bound and row["quantity"] == "perplexity" else row["quantity"]
        if not row["how"].startswith("unigram"):
            found.setdefault(name, row["value"])
    return {**found, "collapsed": float(bool(result["warnings"]))}


COLUMNS = (  # figure, heading, digits
    ("ELBO", "ELBO", 2),
    ("reconstruction", "reconstruction", 2),
    ("kl.z", "KL", 2),
    ("information", "information", 2),
    ("active units", "active of 16", 0),
    ("perplexity", "perplexity", 1),
)


def main(data: Path, out: Path, seeds: list[int], names: list[str]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    print("|", " | ".join(["", *(heading for _, heading, _ in COLUMNS), "warned"]), "|")
    print("|---" * (len(COLUMNS) + 2) + "|")
    for name in names:
        runs = [figures(evaluated(name, seed, data, out)) for seed in seeds]
        cells = [", ".join(f"{r[c]:.{digits}f}" for r in runs) if c in runs[0] else "" for c, _, digits in COLUMNS]
        warned = ", ".join("yes" if r["collapsed"] else "no" for r in runs) if "kl.z" in runs[0] else ""
        print("|", " | ".join([ROWS[name].what, *cells, warned]), "|", flush=True)


if __name__ == "__main__":
    given = sys.argv[3:]
    chosen = [int(s) for s in given[0].split(",")] if given else [0, 1]
    main(Path(sys.argv[1]), Path(sys.argv[2]), chosen, given[1:] or list(ROWS))
