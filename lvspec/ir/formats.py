"""The kinds of data files, as data: what their names end in, and what `data:` may ask of a record.

Each row has a module of its name in train/data/readers/, which reads it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Format:
    """suffixes: of the files that need no `format:`. column: what `column:` may be. single: whether a record is one value,
    whatever is asked for."""

    name: str
    meaning: str
    suffixes: tuple[str, ...]
    column: str = ""
    single: bool = False


CELL = "a number from 1, or a header's name"
FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        Format("text", "lines of text", (".txt", ".text"), single=True),
        Format("conllu", "CoNLL-U", (".conllu",), "form, lemma, upos, xpos, ..."),
        Format("tsv", "columns between tabs", (".tsv",), CELL),
        Format("csv", "columns between commas", (".csv",), CELL),
        Format("jsonl", "JSON lines", (".jsonl",)),
        Format("trees", "bracketed trees", (".mrg", ".ptb", ".trees"), "words, tags, tree"),
        Format("npz", "arrays", (".npz",)),
    )
}
SUFFIXES = {suffix: row.name for row in FORMATS.values() for suffix in row.suffixes}


def columns_told() -> str:
    """What `column:` may be, format by format."""
    told = dict.fromkeys(row.column for row in FORMATS.values() if row.column)
    return "; ".join(f"{', '.join(n for n, row in FORMATS.items() if row.column == text)}: {text}" for text in told)
