"""Bracketed trees, `(S (NP (DT the) (NN cat)) (VP sat))`, over as many lines as they like."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lvspec.errors import UsageError
from lvspec.train.data.readers.files import FileReader, lines
from lvspec.train.settings import DataSettings

_TOKEN = re.compile(r"[()]|[^\s()]+")
_ESCAPES = {"-LRB-": "(", "-RRB-": ")"}


@dataclass(frozen=True)
class Tree:
    """words: the yield without empty elements; tags: their preterminals; text: the tree on one line."""

    words: list[str]
    tags: list[str]
    text: str


def records(path: Path, settings: DataSettings, part: str) -> Iterator[Tree]:
    depth, start = 0, 0
    tokens: list[str] = []
    for number, line in lines(path):
        for token in _TOKEN.findall(line):
            if depth == 0 and token != "(":
                raise UsageError(f"{path}:{number}: {token!r} stands outside of any tree")
            if depth == 0:
                tokens, start = [], number
            depth += (token == "(") - (token == ")")
            tokens.append(token)
            if depth == 0:
                yield tree(tokens)
    if depth:
        raise UsageError(f"{path}:{start}: this tree is never closed")


def tree(tokens: list[str]) -> Tree:
    """A preterminal is `( TAG word )`: a word is what stands third in an open bracket."""
    words, tags = [], []
    for i, token in enumerate(tokens):
        opens_leaf = i >= 2 and tokens[i - 2] == "(" and token not in "()" and tokens[i - 1] not in "()"
        if opens_leaf and tokens[i - 1] != "-NONE-":
            words.append(_ESCAPES.get(token, token))
            tags.append(tokens[i - 1])
    return Tree(words, tags, " ".join(tokens).replace("( ", "(").replace(" )", ")"))


def value(record: Tree, settings: DataSettings, name: str) -> object:
    column = str(settings.column or "words")
    parts = {"words": record.words, "tags": record.tags, "tree": record.text}
    if column not in parts:
        raise UsageError(f"trees have no column {column!r}; they have {', '.join(parts)}")
    return parts[column]


READER = FileReader(records, value)
