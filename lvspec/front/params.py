"""`params:` → free tensors: `transition: [K, K]`, or a block with `shape`, `init`, `frozen`."""

from __future__ import annotations

from lvspec.front import scalars
from lvspec.front import syntax as S
from lvspec.front.declarations import call_of, entries, expression
from lvspec.front.dims import to_dim
from lvspec.front.names import check_name, did_you_mean
from lvspec.front.nodes import Entry, Listing, Mapping, Node, Text
from lvspec.front.parser import parse_value
from lvspec.front.priors import check_prior, read_prior, signed
from lvspec.front.problems import Problems
from lvspec.ir.dims import Dim
from lvspec.ir.spec import Param, Size

INITS = {
    "normal": 2,
    "uniform": 2,
    "constant": 1,
    "zeros": 0,
    "ones": 0,
    "orthogonal": 0,
    "eye": 1,
}  # how many numbers each takes

_MATRICES = ("orthogonal", "eye")


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
    shape, init, prior, frozen, at = None, None, None, False, entry.value.span
    options: list[tuple[str, bool | str]] = []
    if entry.value.get("shape") is None:
        problems.error(
            "bad-param", entry.value.span, f"the parameter `{name}` has no shape", help="write `shape: [K, V]` in it"
        )
    for e in entry.value.entries:
        key = e.key.value
        if key == "shape":
            shape = _shape(e.key, e.value, sizes, problems)
        elif key == "init":
            init, at = _init(e, problems), e.value.span
        elif key in ("frozen", "per_example") and isinstance(e.value, Text):
            value = scalars.truth(e.value, problems, f"`{key}`")
            frozen, options = (bool(value), options) if key == "frozen" else (frozen, [*options, (key, bool(value))])
        elif key == "prior":
            prior = read_prior(e, name, problems)
        elif key == "tied" and isinstance(e.value, Text):
            options.append((key, e.value.value))
        else:
            known = ("shape", "init", "frozen", "per_example", "tied", "prior")
            problems.error(
                "bad-param",
                e.key.span,
                f"a parameter has no setting `{key[:40]}`",
                help=did_you_mean(key, known, f"it has {', '.join(known)}"),
            )
    if shape is not None and init and init[0] in _MATRICES and len(shape) != 2:
        about = f"`{init[0]}` fills a matrix, and `{name}` has {len(shape)} axes"
        problems.error("bad-param", at, about, help="write `shape: [D, D]`")
        init = None
    if shape is not None and prior:
        check_prior(prior, name, shape, not frozen, bool(dict(options).get("per_example")), problems)
    return Param(name, shape, init, frozen, tuple(options), prior, span=span) if shape is not None else None


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
    numbers = tuple(signed(a) for a in (call.arguments if call else ()))
    if name not in INITS or None in numbers or len(numbers) != INITS[name]:
        problems.error(
            "bad-param",
            entry.value.span,
            "this is no rule to initialise by",
            help="write `normal(0, 0.1)`, `uniform(-1, 1)`, `constant(0.5)`, `zeros`, `ones`, `orthogonal` or `eye(1)`",
        )
        return None
    return name, tuple(float(n) for n in numbers if n is not None)
