"""`data:`, `train:`, `infer:`, `phases:` and `views:` → plain values, checked against the tables of sections.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lvspec.front import reader, scalars
from lvspec.front import syntax as S
from lvspec.front.context import Declarations
from lvspec.front.declarations import call_of, entries
from lvspec.front.keys import read_table, read_value, unknown_key
from lvspec.front.names import did_you_mean
from lvspec.front.nodes import Entry, Listing, Mapping, Node, Text
from lvspec.front.overrides import Pairs, read_bound, read_override
from lvspec.front.parser import parse_value
from lvspec.front.phases import read_phases
from lvspec.front.problems import Problems
from lvspec.front.schedules import read_schedule
from lvspec.front.sections import DATA, INFER, INIT_RULES, TRAIN
from lvspec.ir.options import Key
from lvspec.ir.spec import FreeBits, Override, Phase, Schedule, Variable


@dataclass(frozen=True)
class Settings:
    overrides: tuple[Override, ...] = ()
    infer: Pairs = ()
    kl_weight: tuple[tuple[str, Schedule], ...] = ()
    free_bits: tuple[tuple[str, FreeBits], ...] = ()
    unread: Pairs = ()
    phases: tuple[Phase, ...] = ()
    data: Pairs = ()
    train: Pairs = ()
    mentioned: str = ""  # the text of a section that may name anything, for what is unused


def read_settings(
    root: Mapping, declared: Declarations, variables: dict[str, Variable], problems: Problems
) -> Settings:
    latents = tuple(n for n, v in variables.items() if v.role == "latent")
    overrides, infer = _infer(root.get("infer"), declared, variables, latents, problems)
    starting = (*declared.params, *declared.networks)
    train, weights, free = _train(root.get("train"), latents, starting, problems)
    unread = _views(root, problems)
    phases = read_phases(root.get("phases"), starting, problems)
    data = _data(root.get("data"), variables, problems)
    return Settings(overrides, infer, weights, free, unread, phases, data, train, repr(unread))


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
        if variables[name].role == "latent" and not variables[name].type.support.finite:
            problems.error(
                "not-given",
                entry.key.span,
                f"{name} is a latent without finitely many values: what is given of it has no engine yet",
                help=f"leave it out; or let {name} be observed where every example has it",
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
        values, rest = read_table(entry.value, f"data: {name}", DATA, problems)
        for other in rest:
            unknown_key(other, f"data: {name}", tuple(k.name for k in DATA), problems)
        found[name] = tuple(values.items())
    return tuple(found.items())


# ---------------------------------------------------------------- train
def _train(
    section: Node | None, latents: tuple[str, ...], starting: tuple[str, ...], problems: Problems
) -> tuple[Pairs, tuple[tuple[str, Schedule], ...], tuple[tuple[str, FreeBits], ...]]:
    found, rest = read_table(section, "train", TRAIN, problems)
    weights: dict[str, Schedule] = {}
    free: dict[str, FreeBits] = {}
    for entry in rest:
        if entry.key.value == "kl_weight":
            weights = _by_latent(entry, latents, read_schedule, problems)
        elif entry.key.value == "free_bits":
            free = _by_latent(entry, latents, read_free_bits, problems)
        elif entry.key.value == "init":
            found["init"] = _first_values(entry, starting, problems)
        else:
            unknown_key(entry, "train", tuple(k.name for k in TRAIN), problems)
    del found["kl_weight"], found["free_bits"]
    found["init"] = found["init"] or ()
    return tuple(found.items()), tuple(weights.items()), tuple(free.items())


def _first_values(entry: Entry, known: tuple[str, ...], problems: Problems) -> tuple[tuple[str, str], ...]:
    """`init: {emission: unigram(0.1)}`: a rule for a parameter, or for all parameters of a network."""
    usage = f"write `NAME: normal(0, 0.1)`; the rules are {', '.join(INIT_RULES)}"
    if not isinstance(entry.value, Mapping):
        problems.error("wrong-setting", entry.value.span, "`init` holds a rule for each name", help=usage)
        return ()
    rules = []
    for e in entry.value.entries:
        if e.key.value not in known:
            message = f"`{e.key.value[:60]}` is no parameter or network"
            problems.error("unknown-name", e.key.span, message, help=did_you_mean(e.key.value, known, usage))
            continue
        written = e.value if isinstance(e.value, Text) else None
        value = parse_value(written, problems) if written else None
        kind, call = call_of(value) if value is not None else ("", None)
        numbers = [a for a in call.arguments if isinstance(a, S.Literal)] if call else []
        count = len(call.arguments) if call else 0
        if (
            written is None
            or kind not in INIT_RULES
            or len(numbers) != count
            or count > INIT_RULES[kind]
            or (call and call.keywords)
        ):
            problems.error("wrong-setting", e.value.span, "not a rule for first values", help=usage)
            continue
        rules.append((e.key.value, written.value.strip()))
    return tuple(rules)


def read_objective_setting(name: str, text: str, latents: tuple[str, ...], problems: Problems) -> dict:
    """`kl_weight` or `free_bits` as a command line gives it: for all latents, or `{z: 0.5}`."""
    root = reader.read(f"{name}: {text}\n", problems)
    readers: dict[str, Callable] = {"kl_weight": read_schedule, "free_bits": read_free_bits}
    return _by_latent(root.entries[0], latents, readers[name], problems) if root is not None and root.entries else {}


def _by_latent(entry: Entry, latents: tuple[str, ...], read: Callable, problems: Problems) -> dict:
    """One value for all latents, under "", or one for each of those that are named."""
    if not isinstance(entry.value, Mapping):
        value = read(entry.value, problems)
        return {"": value} if value else {}
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
        value = read(e.value, problems)
        if value:
            found[e.key.value] = value
    return found


def read_free_bits(node: Node, problems: Problems) -> FreeBits | None:
    """`node(3)` or `dimension(0.25)`."""
    value = parse_value(node, problems) if isinstance(node, Text) else None
    unit, call = call_of(value) if value is not None else ("", None)
    numbers = [a.value for a in call.arguments if isinstance(a, S.Literal)] if call else []
    if unit in ("node", "dimension") and call and len(numbers) == len(call.arguments) == 1 and not call.keywords:
        return FreeBits(unit, float(numbers[0]))
    if value is not None or not isinstance(node, Text):
        usage = "write `node(3)` for nats of a whole latent, `dimension(0.25)` for nats of each of its entries"
        problems.error("wrong-setting", node.span, "`free_bits` says of what, and how many nats", help=usage)
    return None


# ---------------------------------------------------------------- infer
def _infer(
    section: Node | None,
    declared: Declarations,
    variables: dict[str, Variable],
    latents: tuple[str, ...],
    problems: Problems,
) -> tuple[tuple[Override, ...], Pairs]:
    """Overrides for single latents, and general settings; names of sizes and ragged plates give nominal numbers."""
    found, rest = read_table(section, "infer", INFER, problems)
    values: dict[str, object] = {k: v for k, v in found.items() if v is not None}
    overrides = []
    for entry in rest:
        name = entry.key.value
        if name in latents:
            overrides.append(read_override(entry, problems))
        elif name == "bound":
            values[name] = read_bound(entry, problems)
        elif name in declared.sizes or name in declared.plates or name == "B":
            values[name] = read_value(entry, Key(name, "integer", 1, "a number for prices", least=1), problems)
        elif name in variables:
            problems.error(
                "override-not-latent",
                entry.key.span,
                f"`{name}` is {variables[name].role}, and a strategy is for a latent",
                help=f"the latents are {', '.join(latents)}" if latents else "",
            )
        else:
            known = (*latents, *(k.name for k in INFER), *declared.sizes, *declared.plates)
            unknown_key(entry, "infer", known, problems)
    return tuple(o for o in overrides if o is not None), tuple((k, v) for k, v in values.items() if v is not None)


# ---------------------------------------------------------------- a section without an engine yet
def _views(root: Mapping, problems: Problems) -> Pairs:
    """`views:`, kept as text for the planner to decline."""
    section = root.get("views")
    found = tuple((e.key.value, _plain(e.value)) for e in entries(section, "views", problems))
    return (("views", found),) if section is not None else ()


def _plain(node: Node) -> object:
    """Texts, tuples of items and pairs."""
    if isinstance(node, Text):
        return node.value
    if isinstance(node, Listing):
        return tuple(_plain(i) for i in node.items)
    return tuple((e.key.value, _plain(e.value)) for e in node.entries)
