"""Mutated specs: whatever is done to a text, `load` gives a spec or a SpecError, and soon.

python -m tests.front.fuzz 10000 0     how many, and the seed
"""

import random
import string
import sys
import time

from lvspec.errors import SpecError
from lvspec.front import load
from tests import SPECS
from tests.front.good_specs import CONSTRUCTS

LONGEST = 2.0  # seconds that one spec may take
PIECES = (
    "[", "]", "(", ")", "{", "}", ",", ":", ": ", "\n", "\n  ", "  ", "\t", "- ", "#", "'", '"', "&a ", "*a", "!x ", "<<: *a", "? ",
    "|", ">", "%", "@", "`", "~", "null", "---\n", "...\n", "\x00", "\x85", "\u2028", "\ufeff", "\ud7ff", "é", "٣", "ﬁ", "\\", "\\x41",
    "z[t]", "z[t-1]", "z[t+1]", "x[<t]", "x[>=t]", "over t", "where a = b", "where a, b = split(x)", "with tree", "through planar(2)",
    "global ", "0", "-1", "1e999", "1e-3", "010", "1_0", "1:2", ".inf", "9" * 40, "true", "yes", "if: z", "softmax(", "split(",
    "Normal(0, 1)", "Categorical(logits=z)", "Delta(z)", "Pointer(weights=z, values=x)", "MLP(1, 2, 3)", "Module(a.b, in=[1], out=[[2]])",
    "vocabulary(x)", "features(z)", "sequence", "bag", "segments(t, max=2)", "{length: z, max: 3}", "**", "*", "/", "+", "-", "=", "<", ">",
)  # fmt: skip


def seeds():
    """The texts to start from."""
    shipped = [p.read_text(encoding="utf-8") for p in sorted(SPECS.glob("*.yaml"))]
    return shipped + ["lvspec: 1\n" + "\n".join(r[8:] for r in t.split("\n")) for t in CONSTRUCTS.values()]


def mutate(text, others, rng):
    """A change of the text or a few: of characters, words, lines and sections."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        text = rng.choice(CHANGES)(text, others, rng)
    return text


def _spot(text, rng):
    return rng.randint(0, len(text))


def _insert(text, others, rng):
    i = _spot(text, rng)
    return text[:i] + rng.choice(PIECES) + text[i:]


def _character(text, others, rng):
    i = _spot(text, rng)
    return text[:i] + rng.choice(string.printable) + text[i + rng.randint(0, 2) :]


def _delete(text, others, rng):
    i = _spot(text, rng)
    return text[:i] + text[i + rng.randint(1, 8) :]


def _repeat(text, others, rng):
    i = _spot(text, rng)
    return text[:i] + text[i : i + rng.randint(1, 40)] * rng.choice((2, 3, 70)) + text[i:]


def _lines(text, others, rng):
    rows = text.split("\n")
    i, j = rng.randrange(len(rows)), rng.randrange(len(rows))
    action = rng.randrange(4)
    if action == 0:
        rows[i], rows[j] = rows[j], rows[i]
    elif action == 1:
        del rows[i]
    elif action == 2:
        rows.insert(i, rows[j])
    else:
        rows.insert(i, rng.choice(rng.choice(others).split("\n")))
    return "\n".join(rows)


def _words(text, others, rng):
    words = sorted({w for w in "".join(c if c.isalnum() or c == "_" else " " for c in text).split()})
    if not words:
        return text
    old, new = rng.choice(words), rng.choice(words + [rng.choice(PIECES)])
    return text.replace(old, new, rng.choice((1, 1, -1)))


def _splice(text, others, rng):
    other = rng.choice(others)
    return text[: _spot(text, rng)] + other[_spot(other, rng) :]


CHANGES = (_insert, _character, _delete, _repeat, _lines, _lines, _words, _words, _words, _words, _splice)


def run(count, seed):
    """How many mutants were specs; raises on a traceback or on one that takes too long, with its text."""
    rng, others, fine = random.Random(seed), seeds(), 0
    for i in range(count):
        text = mutate(rng.choice(others), others, rng)
        begin = time.perf_counter()
        try:
            load(text, "mutant.yaml")
            fine += 1
        except SpecError as error:
            str(error)
        except Exception as error:
            raise AssertionError(f"mutant {i} of seed {seed}: {type(error).__name__}: {error}\n{text}") from error
        taken = time.perf_counter() - begin
        assert taken < LONGEST, f"mutant {i} of seed {seed} took {taken:.1f} s\n{text}"
    return fine


if __name__ == "__main__":
    count, seed = (int(a) for a in (sys.argv[1:] + ["1000", "0"][len(sys.argv) - 1 :])[:2])
    print(f"{run(count, seed)} of {count} mutants are specs, the others are declined with their reasons")
