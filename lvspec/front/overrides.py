"""`infer: {z: reinforce(samples=8)}`, or the same as a block → an `Override`."""

from __future__ import annotations

from lvspec.errors import Span
from lvspec.front import scalars
from lvspec.front import syntax as S
from lvspec.front.declarations import call_of
from lvspec.front.keys import read_table, unknown_key
from lvspec.front.names import did_you_mean
from lvspec.front.nodes import Entry, Mapping, Text
from lvspec.front.parser import parse_value
from lvspec.front.problems import Problems
from lvspec.front.sections import STRATEGIES, STRATEGY, Key, key_of
from lvspec.ir.spec import Override

Pairs = tuple[tuple[str, object], ...]


def read_override(entry: Entry, problems: Problems) -> Override | None:
    name, node = entry.key.value, entry.value
    if isinstance(node, Mapping):
        values, rest = read_table(node, f"infer: {name}", STRATEGY, problems)
        strategy = node.get("strategy")
        for other in rest:
            if other.key.value != "strategy":
                unknown_key(other, f"infer: {name}", ("strategy", *(k.name for k in STRATEGY)), problems)
        if not isinstance(strategy, Text):
            problems.error(
                "unknown-strategy",
                node.span,
                f"`{name}` has options, but no strategy",
                help="add `strategy: reinforce` or another one",
            )
            return None
        if not _is_strategy(strategy.value, strategy.span, problems):
            return None
        return Override(name, strategy.value, tuple((k, v) for k, v in values.items() if v is not None), entry.key.span)
    value = parse_value(node, problems) if isinstance(node, Text) and not scalars.empty(node) else None
    if value is None:
        if not isinstance(node, Text) or scalars.empty(node):
            problems.error(
                "unknown-strategy", entry.key.span, f"`{name}` has no strategy", help=f"one of {', '.join(STRATEGIES)}"
            )
        return None
    word, call = call_of(value)
    if not _is_strategy(word, node.span, problems):
        return None
    return Override(name, word, _strategy_options(word, call, problems), entry.key.span)


def _is_strategy(word: str, span: Span, problems: Problems) -> bool:
    if word not in STRATEGIES:
        problems.error(
            "unknown-strategy",
            span,
            f"there is no strategy `{word[:60]}`" if word else "this is no strategy",
            help=did_you_mean(word, STRATEGIES, f"the strategies are {', '.join(STRATEGIES)}"),
        )
    return word in STRATEGIES


def _strategy_options(word: str, call: S.Application | None, problems: Problems) -> Pairs:
    found = {}
    for argument in call.arguments if call else ():
        problems.error("wrong-setting", argument.span, f"options of `{word}` are named, e.g. `{word}(samples=8)`")
    for keyword, value in call.keywords if call else ():
        key = key_of(STRATEGY, keyword.name)
        if key is None:
            known = tuple(k.name for k in STRATEGY)
            problems.error(
                "unknown-setting",
                keyword.span,
                f"`{word}` has no option `{keyword.name}`",
                help=did_you_mean(keyword.name, known, f"it has {', '.join(known)}"),
            )
            continue
        plain = value.value if isinstance(value, S.Literal) else value.name if isinstance(value, S.Name) else None
        if not _fits(key, plain):
            problems.error(
                "wrong-setting",
                value.span,
                f"`{keyword.name}` cannot have this value",
                help=key.meaning + (f": {', '.join(key.choices)}" if key.choices else ""),
            )
        else:
            found[keyword.name] = plain
    return tuple(found.items())


def _fits(key: Key, value: object) -> bool:
    if key.kind == "choice":
        return value in key.choices
    if isinstance(value, str | None) or (key.kind == "integer" and not isinstance(value, int)):
        return False
    return (
        (key.least is None or value >= key.least)
        and (key.most is None or value <= key.most)
        and (key.above is None or value > key.above)
    )
