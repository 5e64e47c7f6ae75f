"""Two data sets that need no download: the English of Python's own documentation, and scikit-learn's digits.

Also what the simplest models make of them: a unigram for the words, independent pixels for the digits.
"""

from __future__ import annotations

import re
from collections import Counter
from math import exp, log
from pathlib import Path

RARE = "<rare>"
LEAST = 3  # a word seen less often in the training lines is RARE
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"(])")
_TOKEN = re.compile(r"[a-z_][a-z_0-9]*(?:'[a-z]+)?|[0-9]+|[^\sa-z0-9_]")
_CODE = re.compile(r"::=|>>>|\.\.\. |={3,}|-{3,}|\*{3,}|^\s*[|+]", re.MULTILINE)
_PLAIN = frozenset("a an and are as by for if in is it of on or that the this to with".split())


def sentences() -> list[list[str]]:
    """The distinct sentences of `pydoc_data.topics` as tokens: running text, no code, no tables."""
    from pydoc_data.topics import topics

    found: dict[tuple[str, ...], None] = {}
    for title in sorted(topics):
        for block in re.split(r"\n\s*\n", topics[title]):
            if _CODE.search(block):
                continue
            for sentence in _SENTENCE_END.split(" ".join(block.split()).lstrip("*-0123456789. ")):
                tokens = tuple(_TOKEN.findall(sentence.lower().replace("’", "'")))
                if _is_english(tokens):
                    found[tokens] = None
    return [list(tokens) for tokens in found]


def _is_english(tokens: tuple[str, ...]) -> bool:
    words = sum(token.isalpha() for token in tokens)
    plain = sum(token in _PLAIN for token in tokens)
    return 5 <= len(tokens) <= 50 and tokens[-1] in ".?!" and words >= 0.7 * len(tokens) and plain >= 2


def write_text(folder: Path) -> dict[str, list[list[str]]]:
    """train.txt, dev.txt and heldout.txt: of every ten sentences eight, one and one. A sentence is in one
    file only; words that the training lines hardly have are written as RARE everywhere."""
    parts: dict[str, list[list[str]]] = {"train": [], "dev": [], "heldout": []}
    for k, tokens in enumerate(sentences()):
        parts[{8: "dev", 9: "heldout"}.get(k % 10, "train")].append(tokens)
    seen = Counter(word for tokens in parts["train"] for word in tokens)
    for name, lines in parts.items():
        parts[name] = [[word if seen[word] >= LEAST else RARE for word in tokens] for tokens in lines]
        (folder / f"{name}.txt").write_text(
            "".join(" ".join(tokens) + "\n" for tokens in parts[name]), encoding="utf-8"
        )
    return parts


def unigram_perplexity(parts: dict[str, list[list[str]]]) -> float:
    """Each word by its share of the training text; every held-out word occurs there, RARE included."""
    counts = Counter(word for tokens in parts["train"] for word in tokens)
    words = [word for tokens in parts["heldout"] for word in tokens]
    total = counts.total()
    return exp(-sum(log(counts[word] / total) for word in words) / len(words))


def write_digits(folder: Path) -> dict[str, object]:
    """train.npz, dev.npz and heldout.npz with x (N, 64), 0 or 1: the 8 x 8 digits, bright pixels set."""
    import numpy as np
    from sklearn.datasets import load_digits

    pixels = (load_digits().data >= 8).astype("float32")  # brightness goes up to 16
    order = np.random.default_rng(0).permutation(len(pixels))
    cuts = {"train": order[:1397], "dev": order[1397:1597], "heldout": order[1597:]}
    parts = {name: pixels[rows] for name, rows in cuts.items()}
    for name, x in parts.items():
        np.savez(folder / f"{name}.npz", x=x)
    return parts


def independent_pixels(parts) -> float:
    """Nats per held-out image when each pixel is a coin of its own (one imagined image of each colour added)."""
    import numpy as np

    train, heldout = parts["train"], parts["heldout"]
    p = (train.sum(0) + 1) / (len(train) + 2)
    return float(-(heldout * np.log(p) + (1 - heldout) * np.log(1 - p)).sum(1).mean())
