"""`infer: {z: reinforce(samples=8)}`, or the same as a block → an `Override`; `bound: iwae(samples=5)` → a `Bound`."""

from __future__ import annotations

from collections.abc import Mapping as Table
from dataclasses import replace
from typing import Any

from lvspec.errors import Span
from lvspec.front import scalars
from lvspec.front import syntax as S
from lvspec.front.declarations import call_of
from lvspec.front.keys import read_table, unknown_key
from lvspec.front.names import did_you_mean
from lvspec.front.nodes import Entry, Mapping, Text
from lvspec.front.parser import parse_value
from lvspec.front.problems import Problems
from lvspec.front.schedules import read_schedule, schedule_of
from lvspec.front.sections import OPTIONS
from lvspec.ir.bounds import BOUNDS, Bound, BoundForm
from lvspec.ir.estimators import STRATEGIES, Strategy
from lvspec.ir.options import Key, key_of
from lvspec.ir.spec import Override, Schedule

Pairs = tuple[tuple[str, Any], ...]
Calls = Table[str, Strategy] | Table[str, BoundForm]  # what may be called


def read_override(entry: Entry, problems: Problems) -> Override | None:
    name, node = entry.key.value, entry.value
    if isinstance(node, Mapping):
        values, rest = read_table(node, f"infer: {name}", OPTIONS, problems)
        strategy = node.get("strategy")
        for other in rest:
            key = key_of(OPTIONS, other.key.value)
            if key is not None:  # a schedule
                values[key.name] = _checked(
                    key, read_schedule(other.value, problems, key.name), other.value.span, problems
                )
            elif other.key.value != "strategy":
                unknown_key(other, f"infer: {name}", ("strategy", *(k.name for k in OPTIONS)), problems)
        if not isinstance(strategy, Text):
            problems.error(
                "unknown-strategy",
                node.span,
                f"`{name}` has options, but no strategy",
                help="add `strategy: reinforce` or another one",
            )
            return None
        if not _is_known(strategy.value, strategy.span, STRATEGIES, "strategy", problems):
            return None
        given = tuple((k, v) for k, v in values.items() if v is not None)
        own = tuple(k.name for k in STRATEGIES[strategy.value].keys)
        for other in node.entries:
            if other.key.value in values and other.key.value not in own:
                unknown_key(other, strategy.value, own, problems)
        return Override(name, strategy.value, given, entry.key.span)
    found = _call(entry, STRATEGIES, "strategy", problems)
    return Override(name, *found, entry.key.span) if found else None


def read_bound(entry: Entry, problems: Problems) -> Bound | None:
    """`iwae`, or `iwae(samples=5, gradient=doubly_reparameterized)`."""
    found = _call(entry, BOUNDS, "bound", problems)
    if not found:
        return None
    name, options = found
    bound = Bound(name, **dict(options))
    if bound.gradient not in bound.form.gradients:
        problems.error(
            "wrong-setting",
            entry.value.span,
            f"`{name}` has no {bound.gradient} gradient",
            help=f"it has {', '.join(bound.form.gradients)}",
        )
        return None
    return bound


def _call(entry: Entry, known: Calls, what: str, problems: Problems) -> tuple[str, Pairs] | None:
    """A name of a table with its options."""
    name, node = entry.key.value, entry.value
    value = parse_value(node, problems) if isinstance(node, Text) and not scalars.empty(node) else None
    if value is None:
        if not isinstance(node, Text) or scalars.empty(node):
            problems.error(
                "unknown-strategy",
                entry.key.span,
                f"`{name}` has no {what}" if what == "strategy" else f"`{name}` has no value",
                help=f"one of {', '.join(known)}",
            )
        return None
    word, call = call_of(value)
    if not _is_known(word, node.span, known, what, problems):
        return None
    return word, _options(word, call, known[word].keys, problems)


def _is_known(word: str, span: Span, known: Calls, what: str, problems: Problems) -> bool:
    plural = {"strategy": "strategies", "bound": "bounds"}[what]
    if word not in known:
        problems.error(
            "unknown-strategy",
            span,
            f"there is no {what} `{word[:60]}`" if word else f"this is no {what}",
            help=did_you_mean(word, known, f"the {plural} are {', '.join(known)}"),
        )
    return word in known


def _options(word: str, call: S.Application | None, table: tuple[Key, ...], problems: Problems) -> Pairs:
    found = {}
    known = tuple(k.name for k in table)
    for argument in call.arguments if call else ():
        problems.error("wrong-setting", argument.span, f"options of `{word}` are named, e.g. `{word}(samples=8)`")
    for keyword, value in call.keywords if call else ():
        key = key_of(table, keyword.name)
        if key is None:
            problems.error(
                "unknown-setting",
                keyword.span,
                f"`{word}` has no option `{keyword.name}`",
                help=did_you_mean(keyword.name, known, f"it has {', '.join(known)}" if known else "it takes none"),
            )
            continue
        plain: Schedule | int | float | str | None
        plain = value.value if isinstance(value, S.Literal) else value.name if isinstance(value, S.Name) else None
        plain = schedule_of(value) if key.kind == "schedule" else plain
        if not fits(key, plain):
            problems.error(
                "wrong-setting",
                value.span,
                f"`{keyword.name}` cannot have this value",
                help=key.meaning + (f": {', '.join(key.choices)}" if key.choices else ""),
            )
        else:
            found[keyword.name] = plain
    return tuple(found.items())


def _checked(key: Key, value: object, span: Span, problems: Problems) -> object:
    """The value, or None where the key cannot have it (then noted)."""
    if value is None or fits(key, value):
        return value
    problems.error("wrong-setting", span, f"`{key.name}` cannot have this value", help=key.meaning)
    return None


def fits(key: Key, value: object) -> bool:
    """Whether an option may have this value; a schedule, where each of its numbers may be one."""
    if isinstance(value, Schedule):
        return all(fits(replace(key, kind="number"), v) for v in value.values[:2])
    if key.kind == "choice":
        return value in key.choices
    if (
        key.kind == "schedule"
        or isinstance(value, str | None)
        or (key.kind == "integer" and not isinstance(value, int))
    ):
        return False
    return isinstance(value, int | float) and not key.outside(value)
