"""`sizes:`, `plates:` and `params:` → what each name stands for."""

from __future__ import annotations

from collections.abc import Iterator

from lvspec.front import scalars
from lvspec.front import syntax as S
from lvspec.front.dims import LARGEST, to_dim
from lvspec.front.names import check_name, did_you_mean
from lvspec.front.nodes import Entry, Listing, Mapping, Node, Text
from lvspec.front.parser import parse_value
from lvspec.front.problems import Problems
from lvspec.ir.dims import Dim
from lvspec.ir.spec import Param, Plate, Size

NOMINAL = {"vocabulary": 10_000, "categories": 10, "features": 64}  # for prices, until the data are known
INITS = {
    "normal": 2,
    "uniform": 2,
    "constant": 1,
    "zeros": 0,
    "ones": 0,
    "orthogonal": 0,
}  # how many numbers each takes
PLATE_KINDS = ("sequence", "bag", "segments")


def entries(section: Node | None, name: str, problems: Problems) -> Iterator[Entry]:
    """The entries of a section that must be a mapping."""
    if section is None or (isinstance(section, Text) and scalars.empty(section)):
        return
    if not isinstance(section, Mapping):
        problems.error("wrong-value", section.span, f"`{name}:` holds one `name: value` a line")
        return
    yield from section.entries


def expression(entry: Entry, what: str, problems: Problems) -> S.Value | None:
    """The value of an entry as an expression; a missing one is noted."""
    if isinstance(entry.value, Listing | Mapping):
        problems.error("wrong-value", entry.value.span, f"`{entry.key.value[:60]}` is {what}, not a list or a mapping")
        return None
    if scalars.empty(entry.value):
        problems.error("missing-value", entry.key.span, f"`{entry.key.value[:60]}` has no value: here stands {what}")
        return None
    return parse_value(entry.value, problems)


def call_of(value: S.Value) -> tuple[str, S.Application | None]:
    """`name` or `name(arguments)` as (name, the call); the name is "" for anything else."""
    body = value.body
    if isinstance(body, S.Name):
        return body.name, None
    if isinstance(body, S.Application) and isinstance(body.base, S.Name):
        return body.base.name, body
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
        value = scalars.number(entry.value, problems, f"the size `{name}`")
        if value is not None and (not isinstance(value, int) or not 1 <= value <= LARGEST):
            problems.error(
                "bad-size", entry.value.span, f"a size is a whole number from 1 to {LARGEST}, not {entry.value.value}"
            )
            return None
        return Size(name, "number", int(value), None, span) if value is not None else None
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


# ---------------------------------------------------------------- plates
def read_plates(section: Node | None, sizes: dict[str, Size], problems: Problems) -> dict[str, Plate]:
    found: dict[str, Plate] = {}
    for entry in entries(section, "plates", problems):
        name = entry.key.value
        if check_name(name, entry.key.span, problems):
            found[name] = _plate(entry, sizes, problems) or Plate(name, "sequence", span=entry.key.span)
    for plate in found.values():
        for other in (plate.within, dict(plate.options).get("of")):
            if other is not None and (other not in found or other == plate.name or not found[str(other)].ragged):
                problems.error(
                    "bad-plate",
                    plate.span,
                    f"`{plate.name}` lies within `{other}`, which is no other ragged plate",
                    help=did_you_mean(str(other), found),
                )
    return found


def _plate(entry: Entry, sizes: dict[str, Size], problems: Problems) -> Plate | None:
    name, span = entry.key.value, entry.key.span
    if isinstance(entry.value, Mapping):
        return _latent_length(entry, entry.value, problems)
    value = expression(entry, "`sequence`, `bag` or a size", problems)
    if value is None:
        return None
    kind, call = call_of(value)
    if kind in PLATE_KINDS:
        return _ragged(name, kind, call, entry, problems)
    if call is not None or (kind and kind not in sizes):
        help = did_you_mean(
            kind, (*PLATE_KINDS, *sizes), "a plate is `sequence`, `bag`, `segments(t, max=8)`, a size or a number"
        )
        problems.error("bad-plate", entry.value.span, f"`{kind}` is no kind of plate and no size", help=help)
        return None
    size = to_dim(value.body, sizes, problems)
    if size is not None and size.constant is not None and size.constant < 1:
        problems.error("bad-plate", entry.value.span, "a plate has at least one site")
        return None
    return Plate(name, "fixed", size, span=span) if size is not None else None


_PLATE_OPTIONS = {"sequence": ("end", "within", "null"), "bag": ("within", "counts"), "segments": ("max",)}


def _ragged(name: str, kind: str, call: S.Application | None, entry: Entry, problems: Problems) -> Plate | None:
    within, end, options = None, None, []
    arguments, keywords = (call.arguments, call.keywords) if call else ((), ())
    if len(arguments) != (kind == "segments") or not all(isinstance(a, S.Name) for a in arguments):
        usage = "`segments(t, max=8)`" if kind == "segments" else f"`{kind}` or `{kind}({_PLATE_OPTIONS[kind][0]}=...)`"
        problems.error("bad-plate", entry.value.span, f"write {usage}")
        return None
    options.extend(("of", a.name) for a in arguments if isinstance(a, S.Name))
    for keyword, value in keywords:
        plain = value.name if isinstance(value, S.Name) else value.value if isinstance(value, S.Literal) else None
        if keyword.name not in _PLATE_OPTIONS[kind]:
            problems.error("bad-plate", keyword.span, f"`{kind}` has no setting `{keyword.name}`",
                           help=did_you_mean(keyword.name, _PLATE_OPTIONS[kind], f"it takes {', '.join(_PLATE_OPTIONS[kind])}"))  # fmt: skip
        elif keyword.name == "within" and isinstance(plain, str):
            within = plain
        elif keyword.name == "end" and isinstance(plain, str):
            end = plain
        elif keyword.name == "max" and isinstance(plain, int) and plain >= 1:
            options.append(("max", plain))
        elif keyword.name in ("null", "counts") and plain in ("true", "false"):
            options.append((keyword.name, plain == "true"))
        else:
            problems.error(
                "bad-plate",
                value.span,
                f"`{keyword.name}` cannot have this value",
                help="e.g. `sequence(end=EOS)`, `sequence(within=d)`, `segments(t, max=8)`",
            )
    return Plate(name, kind, None, within, end, tuple(options), entry.key.span)


def _latent_length(entry: Entry, block: Mapping, problems: Problems) -> Plate:
    options: dict[str, object] = {}
    for e in block.entries:
        if e.key.value == "length" and isinstance(e.value, Text) and e.value.value:
            options["length"] = e.value.value
        elif e.key.value == "max" and isinstance(e.value, Text):
            options["max"] = scalars.number(e.value, problems, "`max` of a plate") or 1
        else:
            problems.error(
                "bad-plate", e.key.span, f"a plate in block form has `length` and `max`, not `{e.key.value[:40]}`"
            )
    if "length" not in options or "max" not in options:
        problems.error(
            "bad-plate",
            entry.value.span,
            "a plate whose length is a variable names it and a bound",
            help=f"write `{entry.key.value}: {{length: l, max: 20}}`",
        )
    return Plate(entry.key.value, "latent_length", options=tuple(sorted(options.items())), span=entry.key.span)


# ---------------------------------------------------------------- params
def read_params(section: Node | None, sizes: dict[str, Size], problems: Problems) -> dict[str, Param]:
    found = {}
    for entry in entries(section, "params", problems):
        if check_name(entry.key.value, entry.key.span, problems):
            param = _param(entry, sizes, problems)
            if param is None:
                problems.wrong.add(entry.key.value)
            else:
                found[entry.key.value] = param
    return found


def _param(entry: Entry, sizes: dict[str, Size], problems: Problems) -> Param | None:
    name, span = entry.key.value, entry.key.span
    if not isinstance(entry.value, Mapping):
        plain = _shape(entry.key, entry.value, sizes, problems)
        return Param(name, plain, span=span) if plain is not None else None
    shape, init, frozen, options = None, None, False, []
    if entry.value.get("shape") is None:
        problems.error(
            "bad-param", entry.value.span, f"the parameter `{name}` has no shape", help="write `shape: [K, V]` in it"
        )
    for e in entry.value.entries:
        key = e.key.value
        if key == "shape":
            shape = _shape(e.key, e.value, sizes, problems)
        elif key == "init":
            init = _init(e, problems)
        elif key in ("frozen", "per_example") and isinstance(e.value, Text):
            value = scalars.truth(e.value, problems, f"`{key}`")
            frozen, options = (bool(value), options) if key == "frozen" else (frozen, [*options, (key, bool(value))])
        elif key in ("tied", "prior") and isinstance(e.value, Text):
            options.append((key, e.value.value))
        else:
            known = ("shape", "init", "frozen", "per_example", "tied", "prior")
            problems.error(
                "bad-param",
                e.key.span,
                f"a parameter has no setting `{key[:40]}`",
                help=did_you_mean(key, known, f"it has {', '.join(known)}"),
            )
    return Param(name, shape, init, frozen, tuple(options), span) if shape is not None else None


def _shape(key: Text, node: Node, sizes: dict[str, Size], problems: Problems) -> tuple[Dim, ...] | None:
    """`[K, V]`, a list of sizes; a single size is a vector's."""
    items = node.items if isinstance(node, Listing) else (node,)
    if isinstance(node, Text) and scalars.empty(node):
        problems.error(
            "missing-value",
            key.span,
            f"`{key.value}` has no shape",
            help="write its sizes, e.g. `[K, V]`, or `[]` for a single number",
        )
        return None
    if any(isinstance(i, Text) and i.plain and i.value.count("(") != i.value.count(")") for i in items):
        problems.error(
            "yaml-split", node.span, "YAML cuts an expression inside `[…]` at its commas", help="quote the expression"
        )
        return None
    dims: list[Dim | None] = []
    for item in items:
        value = parse_value(item, problems) if isinstance(item, Text) else None
        if isinstance(item, Text) and value is not None:
            body = value.body
            nested = body.items if isinstance(body, S.ListNode) and len(items) == 1 else (body,)
            dims.extend(to_dim(n, sizes, problems) for n in nested)
            continue
        dims.append(None)
        if not isinstance(item, Text):
            problems.error("bad-param", item.span, "a shape is a flat list of sizes, e.g. `[K, V]`")
    if len(dims) > 8:
        problems.error("bad-param", node.span, "a parameter has at most 8 axes")
    for d in dims:
        if d is not None and d.constant is not None and d.constant < 1:
            problems.error("bad-param", node.span, "an axis has at least one entry")
    return None if None in dims else tuple(d for d in dims if d is not None)


def _init(entry: Entry, problems: Problems) -> tuple[str, tuple[float, ...]] | None:
    value = expression(entry, "a rule such as `normal(0, 0.1)`", problems)
    if value is None:
        return None
    name, call = call_of(value)
    numbers = tuple(_signed(a) for a in (call.arguments if call else ()))
    if name not in INITS or None in numbers or len(numbers) != INITS[name]:
        problems.error(
            "bad-param",
            entry.value.span,
            "this is no rule to initialise by",
            help="write `normal(0, 0.1)`, `uniform(-1, 1)`, `constant(0.5)`, `zeros`, `ones` or `orthogonal`",
        )
        return None
    return name, tuple(float(n) for n in numbers if n is not None)


def _signed(node: S.Node) -> int | float | None:
    if isinstance(node, S.Negative) and isinstance(node.operand, S.Literal):
        return -node.operand.value
    return node.value if isinstance(node, S.Literal) else None
