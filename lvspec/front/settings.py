"""`data:`, `train:`, `infer:`, `objective:`, `views:` and `phases:` → plain values, checked against the tables of sections.py."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lvspec.errors import Span
from lvspec.front import scalars
from lvspec.front import syntax as S
from lvspec.front.context import Declarations
from lvspec.front.declarations import call_of, entries
from lvspec.front.names import did_you_mean
from lvspec.front.nodes import Entry, Listing, Mapping, Node, Text
from lvspec.front.parser import parse_value
from lvspec.front.problems import Problems
from lvspec.front.sections import DATA, INFER, STRATEGIES, STRATEGY, TRAIN, Key, key_of
from lvspec.ir.spec import Override, Schedule, Variable

Pairs = tuple[tuple[str, object], ...]
SCHEDULES = {"constant": (), "linear": ("steps",), "cyclical": ("period",)}


@dataclass(frozen=True)
class Settings:
    overrides: tuple[Override, ...] = ()
    infer: Pairs = ()
    kl_weight: tuple[tuple[str, Schedule], ...] = ()
    objective: Pairs = ()
    data: Pairs = ()
    train: Pairs = ()
    mentioned: str = ""  # the text of sections that may name anything, for what is unused


def read_settings(
    root: Mapping, declared: Declarations, variables: dict[str, Variable], problems: Problems
) -> Settings:
    latents = tuple(n for n, v in variables.items() if v.role == "latent")
    overrides, infer = _infer(root.get("infer"), declared, variables, latents, problems)
    train, weights = _train(root.get("train"), latents, problems)
    objective, mentioned = _free_sections(root, problems)
    return Settings(
        overrides, infer, weights, objective, _data(root.get("data"), variables, problems), train, mentioned
    )


# ---------------------------------------------------------------- one key
def _value(entry: Entry, key: Key, problems: Problems) -> object:
    """The value of a key by its kind, or its default where it is wrong (then noted)."""
    what = f"`{key.name}`"
    node = entry.value
    if key.kind in ("range", "texts"):
        return (_range if key.kind == "range" else _texts)(node, what, problems)
    if not isinstance(node, Text):
        problems.error("wrong-setting", node.span, f"{what} has a single value")
        return key.default
    if scalars.empty(node):
        problems.error(
            "missing-value",
            entry.key.span,
            f"{what} has no value",
            help=f"{key.meaning}; leave the line out for the default" if key.default is not None else key.meaning,
        )
        return key.default
    if key.kind in ("integer", "number"):
        return _number(node, key, what, problems)
    if key.kind == "truth":
        found = scalars.truth(node, problems, what)
        return key.default if found is None else found
    if key.kind == "column":
        return int(node.value) if node.plain and re.fullmatch(r"[1-9]\d{0,5}", node.value) else node.value
    if key.kind == "choice" and node.value not in key.choices:
        problems.error(
            "wrong-setting",
            node.span,
            f"{what} is one of {', '.join(key.choices)}",
            help=did_you_mean(node.value, key.choices),
        )
        return key.default
    return node.value


def _number(node: Text, key: Key, what: str, problems: Problems) -> object:
    value = scalars.number(node, problems, what)
    if value is None:
        return key.default
    if key.kind == "integer" and not isinstance(value, int):
        problems.error("wrong-setting", node.span, f"{what} is a whole number")
        return key.default
    low = (key.least is not None and value < key.least) or (key.above is not None and value <= key.above)
    if low or (key.most is not None and value > key.most):
        bounds = [
            f"at least {key.least:g}" if key.least is not None else "",
            f"above {key.above:g}" if key.above is not None else "",
            f"at most {key.most:g}" if key.most is not None else "",
        ]
        problems.error("wrong-setting", node.span, f"{what} must be {' and '.join(b for b in bounds if b)}")
        return key.default
    return value if key.kind == "integer" else float(value)


def _range(node: Node, what: str, problems: Problems) -> str | None:
    """`1-64`: columns by number from 1."""
    match = re.fullmatch(r"([1-9]\d{0,5})-([1-9]\d{0,5})", node.value) if isinstance(node, Text) else None
    if match is None or int(match[1]) > int(match[2]):
        problems.error(
            "wrong-setting",
            node.span,
            f"{what} are numbers that count from 1",
            help="write the first and the last, e.g. `1-64`",
        )
        return None
    return match[0]


def _texts(node: Node, what: str, problems: Problems) -> tuple[str, ...] | None:
    if not isinstance(node, Listing) or not node.items or not all(isinstance(i, Text) for i in node.items):
        problems.error("wrong-setting", node.span, f"{what} are a list of texts", help="write `[first, second]`")
        return None
    return tuple(i.value for i in node.items if isinstance(i, Text))


def _table(
    section: Node | None, name: str, table: tuple[Key, ...], problems: Problems, also: tuple[str, ...] = ()
) -> tuple[dict[str, object], list[Entry]]:
    """Every key of a table, read or default, and the entries that the table does not know."""
    found = {k.name: k.default for k in table}
    rest = []
    for entry in entries(section, name, problems):
        key = key_of(table, entry.key.value)
        if key is None:
            rest.append(entry)
        elif key.kind != "weight":
            found[key.name] = _value(entry, key, problems)
        else:
            rest.append(entry)
    return found, rest


def _unknown_key(entry: Entry, section: str, known: tuple[str, ...], problems: Problems) -> None:
    help = did_you_mean(entry.key.value, known, f"it has {', '.join(known)}")
    problems.error("unknown-setting", entry.key.span, f"`{section}` has no key `{entry.key.value[:60]}`", help=help)


# ---------------------------------------------------------------- data
def _data(section: Node | None, variables: dict[str, Variable], problems: Problems) -> Pairs:
    """((variable, ((key, value), ...)), ...), every key with its default."""
    found: dict[str, object] = {}
    readable = tuple(n for n, v in variables.items() if v.role != "let")
    for entry in entries(section, "data", problems):
        name = entry.key.value
        if name not in readable:
            problems.error(
                "unknown-setting",
                entry.key.span,
                f"`data` maps variables, and `{name[:60]}` is none that data could hold",
                help=did_you_mean(name, readable, f"one of {', '.join(readable)}"),
            )
            continue
        if isinstance(entry.value, Text) and not scalars.empty(entry.value):
            problems.error(
                "wrong-setting",
                entry.value.span,
                f"`data: {name}` holds keys such as `format:`",
                help=f"write `format: {entry.value.value[:40]}` below it",
            )
            continue
        values, rest = _table(entry.value, f"data: {name}", DATA, problems)
        for other in rest:
            _unknown_key(other, f"data: {name}", tuple(k.name for k in DATA), problems)
        found[name] = tuple(values.items())
    return tuple(found.items())


# ---------------------------------------------------------------- train
def _train(
    section: Node | None, latents: tuple[str, ...], problems: Problems
) -> tuple[Pairs, tuple[tuple[str, Schedule], ...]]:
    found, rest = _table(section, "train", TRAIN, problems)
    weights: dict[str, Schedule] = {}
    for entry in rest:
        if entry.key.value == "kl_weight":
            weights = _weights(entry, latents, problems)
        else:
            _unknown_key(entry, "train", tuple(k.name for k in TRAIN), problems)
    del found["kl_weight"]
    return tuple(found.items()), tuple(weights.items())


def _weights(entry: Entry, latents: tuple[str, ...], problems: Problems) -> dict[str, Schedule]:
    if not isinstance(entry.value, Mapping):
        schedule = read_schedule(entry.value, problems)
        return {"": schedule} if schedule else {}
    found = {}
    for e in entry.value.entries:
        if e.key.value not in latents:
            problems.error(
                "override-not-latent",
                e.key.span,
                f"`{e.key.value[:60]}` is no latent",
                help=did_you_mean(e.key.value, latents, f"the latents are {', '.join(latents)}"),
            )
            continue
        schedule = read_schedule(e.value, problems)
        if schedule:
            found[e.key.value] = schedule
    return found


def read_schedule(node: Node, problems: Problems) -> Schedule | None:
    """`0.5`, `linear(0, 1, steps=2000)` or `cyclical(0, 1, period=5000)`."""
    usage = "write a number, `linear(0, 1, steps=2000)` or `cyclical(0, 1, period=5000)`"
    value = parse_value(node, problems) if isinstance(node, Text) else None
    if value is None:
        if not isinstance(node, Text):
            problems.error("wrong-setting", node.span, "`kl_weight` is a number or a schedule", help=usage)
        return None
    if isinstance(value.body, S.Literal) and isinstance(node, Text):
        number = scalars.number(node, problems, "`kl_weight`")
        return Schedule("constant", (float(number),)) if number is not None else None
    kind, call = call_of(value)
    numbers = [a.value for a in call.arguments if isinstance(a, S.Literal)] if call else []
    named = {k.name: v.value for k, v in call.keywords if isinstance(v, S.Literal)} if call else {}
    wanted = SCHEDULES.get(kind)
    fine = (
        call is not None
        and wanted
        and len(numbers) == len(call.arguments) == 2
        and tuple(named) == wanted
        and len(call.keywords) == 1
    )
    if not fine or named[wanted[0]] < 1:
        problems.error(
            "wrong-setting",
            node.span,
            "`kl_weight` is a number or a schedule",
            help=did_you_mean(kind, SCHEDULES, usage) if kind not in SCHEDULES else usage,
        )
        return None
    return Schedule(kind, (float(numbers[0]), float(numbers[1]), float(named[wanted[0]])))


# ---------------------------------------------------------------- infer
def _infer(
    section: Node | None,
    declared: Declarations,
    variables: dict[str, Variable],
    latents: tuple[str, ...],
    problems: Problems,
) -> tuple[tuple[Override, ...], Pairs]:
    """Overrides for single latents, and general settings; names of sizes and ragged plates give nominal numbers."""
    found, rest = _table(section, "infer", INFER, problems)
    values: dict[str, object] = {k: v for k, v in found.items() if v is not None}
    overrides = []
    for entry in rest:
        name = entry.key.value
        if name in latents:
            overrides.append(_override(entry, problems))
        elif name == "bound" or name in declared.sizes or name in declared.plates or name == "B":
            values[name] = _value(entry, Key(name, "integer", 1, "a number for prices", least=1), problems)
        elif name in variables:
            problems.error(
                "override-not-latent",
                entry.key.span,
                f"`{name}` is {variables[name].role}, and a strategy is for a latent",
                help=f"the latents are {', '.join(latents)}" if latents else "",
            )
        else:
            known = (*latents, *(k.name for k in INFER), *declared.sizes, *declared.plates)
            _unknown_key(entry, "infer", known, problems)
    return tuple(o for o in overrides if o is not None), tuple(values.items())


def _override(entry: Entry, problems: Problems) -> Override | None:
    name, node = entry.key.value, entry.value
    if isinstance(node, Mapping):
        values, rest = _table(node, f"infer: {name}", STRATEGY, problems)
        strategy = node.get("strategy")
        for other in rest:
            if other.key.value != "strategy":
                _unknown_key(other, f"infer: {name}", ("strategy", *(k.name for k in STRATEGY)), problems)
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


# ---------------------------------------------------------------- sections without an engine yet
def _free_sections(root: Mapping, problems: Problems) -> tuple[Pairs, str]:
    """`objective:` terms by name, and `views:` and `phases:` under these names: kept as text for the planner to decline."""
    found: list[tuple[str, object]] = []
    for entry in entries(root.get("objective"), "objective", problems):
        if isinstance(entry.value, Text) and not scalars.empty(entry.value):
            parse_value(entry.value, problems)
        found.append((entry.key.value, _plain(entry.value)))
    for section in ("views", "phases"):
        if root.get(section) is not None:
            found.append(
                (section, tuple((e.key.value, _plain(e.value)) for e in entries(root.get(section), section, problems)))
            )
    return tuple(found), repr(found)


def _plain(node: Node) -> object:
    """Texts, tuples of items and pairs."""
    if isinstance(node, Text):
        return node.value
    if isinstance(node, Listing):
        return tuple(_plain(i) for i in node.items)
    return tuple((e.key.value, _plain(e.value)) for e in node.entries)
