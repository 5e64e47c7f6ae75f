"""`sizes:` → numbers, and sizes that only data know; and how every section of declarations is gone through."""

from __future__ import annotations

from collections.abc import Iterator

from lvspec.front import scalars
from lvspec.front import syntax as S
from lvspec.front.dims import LARGEST
from lvspec.front.names import check_name, did_you_mean
from lvspec.front.nodes import Entry, Listing, Mapping, Node, Text
from lvspec.front.parser import parse_value
from lvspec.front.problems import Problems
from lvspec.ir.spec import Size

NOMINAL = {"vocabulary": 10_000, "categories": 10, "features": 64}  # for prices, until the data are known


def entries(section: Node | None, name: str, problems: Problems) -> Iterator[Entry]:
    """The entries of a section that must be a mapping."""
    if section is None or (isinstance(section, Text) and scalars.empty(section)):
        return
    if not isinstance(section, Mapping):
        problems.error("wrong-value", section.span, f"`{name}:` holds one `name: value` a line")
        return
    yield from section.entries


def expression(entry: Entry, what: str, problems: Problems) -> S.RightSide | None:
    """The value of an entry as an expression; a missing one is noted."""
    if isinstance(entry.value, Listing | Mapping):
        problems.error("wrong-value", entry.value.span, f"`{entry.key.value[:60]}` is {what}, not a list or a mapping")
        return None
    if scalars.empty(entry.value):
        problems.error("missing-value", entry.key.span, f"`{entry.key.value[:60]}` has no value: here stands {what}")
        return None
    return parse_value(entry.value, problems)


def call_of(value: S.RightSide) -> tuple[str, S.Application | None]:
    """`name` or `name(arguments)`, `package.name` too, as (name, the call); the name is "" for anything else."""
    body = value.body
    call = body if isinstance(body, S.Application) else None
    match call.base if call else body:
        case S.Name(name) | S.Dotted(name):
            return name, call
    return "", None


# ---------------------------------------------------------------- sizes
def read_sizes(section: Node | None, problems: Problems) -> dict[str, Size]:
    found = {}
    for entry in entries(section, "sizes", problems):
        if check_name(entry.key.value, entry.key.span, problems):
            # a size that cannot be read is still a size: its uses are no further mistakes
            found[entry.key.value] = _size(entry, problems) or Size(entry.key.value, "number", 1, None, entry.key.span)
    return found


def _size(entry: Entry, problems: Problems) -> Size | None:
    name, span = entry.key.value, entry.key.span
    if isinstance(entry.value, Text) and entry.value.value[:1] in ("-", "+", ".", *"0123456789"):
        number = scalars.number(entry.value, problems, f"the size `{name}`")
        if number is not None and (not isinstance(number, int) or not 1 <= number <= LARGEST):
            problems.error(
                "bad-size", entry.value.span, f"a size is a whole number from 1 to {LARGEST}, not {entry.value.value}"
            )
            return None
        return Size(name, "number", int(number), None, span) if number is not None else None
    value = expression(entry, "a number, or `vocabulary(x)`", problems)
    if value is None:
        return None
    source, call = call_of(value)
    if call is None or source not in NOMINAL or value.where:
        help = (
            did_you_mean(source, NOMINAL, "write a number, `vocabulary(x)`, `categories(y)` or `features(x)`")
            if call
            else "write a number, `vocabulary(x)`, `categories(y)` or `features(x)`"
        )
        problems.error(
            "bad-size", entry.value.span, f"`{name}` is no size: a size is a number or known from data", help=help
        )
        return None
    return _size_from_data(name, source, call, entry, problems)


def _size_from_data(name: str, source: str, call: S.Application, entry: Entry, problems: Problems) -> Size | None:
    nominal = NOMINAL[source]
    if len(call.arguments) != 1 or not isinstance(call.arguments[0], S.Name):
        problems.error("bad-size", entry.value.span, f"`{source}` takes the name of one variable, e.g. `{source}(x)`")
        return None
    for keyword, value in call.keywords:
        if keyword.name != "nominal":
            problems.error(
                "bad-size",
                keyword.span,
                f"`{source}` has no setting `{keyword.name}`",
                help=did_you_mean(keyword.name, ["nominal"], "it takes `nominal=`"),
            )
        elif not isinstance(value, S.Literal) or not isinstance(value.value, int) or not 1 <= value.value <= LARGEST:
            problems.error("bad-size", value.span, "`nominal` is a whole number, at least 1")
        else:
            nominal = value.value
    return Size(name, source, nominal, call.arguments[0].name, entry.key.span)
