"""The JSON Schema that editors complete and check specs with: the sections of a spec and the tables of sections.py.

`grammar/lvspec.schema.json` is `text()`. An expression is a text to it;
what is inside is for `lvspec check`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from lvspec.front.names import MAX_LENGTH
from lvspec.front.sections import DATA, INFER, OPTIONS, PHASE, TRAIN
from lvspec.ir.bounds import BOUNDS
from lvspec.ir.estimators import STRATEGIES
from lvspec.ir.options import Key

NAME = {"pattern": r"^[A-Za-z][A-Za-z0-9_]*$", "maxLength": MAX_LENGTH}
EXPRESSION = {"type": ["string", "number", "integer"]}
_TYPES: dict[str, Mapping[str, object]] = {
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "truth": {"type": "boolean"},
    "text": {"type": ["string", "number", "integer"]},
    "choice": {"type": "string"},
    "column": {"type": ["string", "integer"]},
    "call": {"type": "string", "pattern": rf"^({'|'.join(BOUNDS)})(\(.*\))?$"},
    "range": {"type": "string", "pattern": r"^[1-9][0-9]*-[1-9][0-9]*$"},
    "texts": {"type": "array", "items": {"type": ["string", "number", "integer", "boolean"]}, "minItems": 1},
    "rules": {"type": "object", "additionalProperties": {"type": "string"}},
    "schedule": EXPRESSION,
    "free": {"anyOf": [EXPRESSION, {"type": "object", "additionalProperties": EXPRESSION}]},
    "weight": {"anyOf": [EXPRESSION, {"type": "object", "additionalProperties": EXPRESSION}]},
}
# section -> (what it holds, the schema of one entry)
_MIXTURE = {
    "type": "object",
    "properties": {"if": EXPRESSION, "then": EXPRESSION, "else": EXPRESSION},
    "required": ["if", "then", "else"],
    "additionalProperties": False,
}
_SHAPE = {"anyOf": [{"type": "array", "items": EXPRESSION, "maxItems": 8}, EXPRESSION]}
_PARAM = {
    "type": "object",
    "properties": {
        "shape": _SHAPE,
        "init": {"type": "string"},
        "frozen": {"type": "boolean"},
        "per_example": {"type": "boolean"},
        "tied": {"type": "string"},
        "prior": {"type": "string"},
    },
    "required": ["shape"],
    "additionalProperties": False,
}
_LENGTH = {
    "type": "object",
    "properties": {"length": {"type": "string"}, "max": EXPRESSION},
    "required": ["length", "max"],
    "additionalProperties": False,
}
_ENTRIES = {
    "sizes": ("numbers with names, or `vocabulary(x)`, `categories(y)`, `features(x)`", EXPRESSION),
    "plates": ("`t: sequence`, `t: bag`, `l: 3`, `s: segments(t, max=8)`", {"anyOf": [EXPRESSION, _LENGTH]}),
    "given": ("what the model is conditioned on: `s[m]: token(V)`", {"type": "string"}),
    "params": ("free tensors: `transition: [K, K]`", {"anyOf": [_SHAPE, _PARAM]}),
    "networks": ("`writer: LSTM(E, H)`; a bank of them: `expert[K]: Linear(H, E)`", {"type": "string"}),
    "latent": ("latent variables: `z[t]: Categorical(logits=transition[z[t-1]])`", {"type": "string"}),
    "let": ("computed variables: `h[t]: writer(words(x[<t]))`", EXPRESSION),
    "observed": ("observed variables: `x[t]: Categorical(logits=output(h[t]))`", {"anyOf": [{"type": "string"}, _MIXTURE]}),
    "guide": ("q-factors of latents, and what they share", EXPRESSION),
    "objective": ("terms of the objective", {}),
    "views": ("graphs that share networks", {}),
}  # fmt: skip


def key_schema(key: Key) -> dict:
    """One key of a table as JSON Schema."""
    found: dict[str, object] = {**_TYPES[key.kind], "description": key.meaning}
    if key.choices:
        found["enum"] = list(key.choices)
    for bound, word in ((key.least, "minimum"), (key.most, "maximum"), (key.above, "exclusiveMinimum")):
        if bound is not None:
            found[word] = bound
    if key.default is not None:
        found["default"] = key.default
    return found


def table_schema(table: tuple[Key, ...], **more: object) -> dict:
    return {
        "type": "object",
        "properties": {**{k.name: key_schema(k) for k in table}, **more},
        "additionalProperties": False,
    }


def schema() -> dict:
    """The schema of a whole spec."""
    strategy = {"type": "string", "enum": list(STRATEGIES), "description": "how the latent is inferred"}
    override = {"anyOf": [{"type": "string"}, {"type": "integer"}, table_schema(OPTIONS, strategy=strategy)]}
    infer = {**table_schema(INFER), "additionalProperties": override}
    sections = {
        name: {"type": ["object", "null"], "description": what, "additionalProperties": entry}
        for name, (what, entry) in _ENTRIES.items()
    }
    properties = {
        "lvspec": {"const": 1, "description": "the version of the language"},
        "name": {"type": "string", **NAME, "description": "of the model and its file"},
        "class": {"type": "string", **NAME, "description": "of the emitted class; by default the name in CamelCase"},
        "description": {
            "type": "string",
            "description": "what the model is; by default the comment that opens the file",
        },
        **sections,
        "data": {
            "type": ["object", "null"],
            "description": "how each variable is found in a data file",
            "additionalProperties": table_schema(DATA),
        },
        "phases": {
            "type": ["object", "null"],
            "description": "who moves in which steps of a round: `inference: [encoder]`, then `model: [decoder]`",
            "additionalProperties": {"anyOf": [_TYPES["texts"], {**table_schema(PHASE), "required": ["moves"]}]},
        },
        "train": {**table_schema(TRAIN), "type": ["object", "null"], "description": "how the model is trained"},
        "infer": {**infer, "type": ["object", "null"], "description": "overrides of what the compiler chooses"},
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "lvspec",
        "description": "A graphical model with latent variables.",
        "type": "object",
        "properties": properties,
        "required": ["lvspec"],
        "anyOf": [{"required": ["observed"]}, {"required": ["latent"]}],
        "additionalProperties": False,
    }


def text() -> str:
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
