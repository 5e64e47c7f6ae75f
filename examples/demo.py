"""`make demo`: two models from their specs to held-out figures, by the commands that a person would type.

A hidden Markov model of English and a variational autoencoder of digits; nothing is downloaded. What the
commands write stays under demo/.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

import demo_data

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "demo"
LVSPEC = str(Path(sys.executable).parent / "lvspec")


def lvspec(*arguments: str, quiet: bool = False) -> str:
    """Runs a command in demo/, shows it and what it prints, and gives its stdout back."""
    if not quiet:
        print(f"\n$ lvspec {shlex.join(arguments)}", flush=True)
    done = subprocess.run([LVSPEC, *arguments], cwd=FOLDER, stdout=subprocess.PIPE, text=True)
    if not quiet:
        print(done.stdout.rstrip(), flush=True)
    if done.returncode:
        sys.exit(f"lvspec {arguments[0]} ended with {done.returncode}")
    return done.stdout


def title(text: str) -> None:
    print(f"\n{text}\n{'=' * len(text)}", flush=True)


def compiled(model: str) -> None:
    """The model's spec in demo/, checked, explained, drawn, compiled and verified."""
    spec = f"{model}.yaml"
    (FOLDER / spec).write_text((ROOT / "examples" / spec).read_text(encoding="utf-8"), encoding="utf-8")
    lvspec("check", spec)
    lvspec("explain", spec)
    lvspec("graph", spec, "-o", f"{model}.svg")
    lvspec("compile", spec)
    lvspec("verify", spec)


def trained(model: str, kind: str) -> dict[str, float]:
    """A run of its own from the training part, stopped on the dev part; its figures on the held-out part."""
    data = ["--data", f"train.{kind}", "--valid", f"dev.{kind}"]
    lvspec("train", f"{model}.yaml", *data, "--out", f"runs/{model}", "--overwrite")
    lvspec("eval", f"runs/{model}", "--data", f"heldout.{kind}")
    report = json.loads(lvspec("eval", f"runs/{model}", "--data", f"heldout.{kind}", "--json", quiet=True))
    rows = reversed(report["figures"])  # the model's own rows come first, then those of baselines
    return {row["quantity"]: row["value"] for row in rows}


def english() -> str:
    title("1. A hidden Markov model of English")
    parts = demo_data.write_text(FOLDER)
    counts = ", ".join(f"{len(lines)} {name}" for name, lines in parts.items())
    print(f"sentences of Python's documentation ({counts}), such as\n  {' '.join(parts['heldout'][2])}")
    compiled("english_hmm")
    figures = trained("english_hmm", "txt")
    print("\nThe induced states, each with its share of the text and the words that it explains best:")
    lvspec("infer", "runs/english_hmm", "--part", "train", "--top-words", "9")
    print("\nSentences that the model makes up:")
    lvspec("sample", "runs/english_hmm", "-n", "3", "--length", "15")
    return better("held-out perplexity", figures["perplexity"], "unigram", demo_data.unigram_perplexity(parts))


def digits() -> str:
    title("2. A variational autoencoder of digits")
    parts = demo_data.write_digits(FOLDER)
    print("binary 8 x 8 digits of scikit-learn: " + ", ".join(f"{len(x)} {name}" for name, x in parts.items()))
    compiled("digits_vae")
    figures = trained("digits_vae", "npz")
    print("\nDigits that the model draws:")
    lvspec("sample", "runs/digits_vae", "-n", "5")
    bound = -figures["ELBO"]
    return better("held-out nats per image (bound)", bound, "independent pixels", demo_data.independent_pixels(parts))


def better(what: str, ours: float, name: str, theirs: float) -> str:
    if not ours < theirs:
        sys.exit(f"{what}: {ours:.2f} is not below the {theirs:.2f} of {name}")
    return f"{what}: {ours:.2f}, {name}: {theirs:.2f}"


def main() -> None:
    start = time.monotonic()
    FOLDER.mkdir(exist_ok=True)
    results = [english(), digits()]
    title("Held-out figures (lower is better)")
    print("\n".join(results))
    print("\nGenerated files:")
    for pattern in ("*.py", "*.svg", "runs/*"):
        for path in sorted(FOLDER.glob(pattern)):
            print(f"  {path}")
    print(f"\n{time.monotonic() - start:.0f} seconds")


if __name__ == "__main__":
    main()
