"""`plates:` → the sets of sites: `t: sequence(end=EOS)`, `t: bag`, `l: 3`, `s: segments(t, max=8)`, `j: copy(t)`, `i: {length: l, max: 20}`."""

from __future__ import annotations

from dataclasses import replace

from lvspec.front import syntax as S
from lvspec.front.declarations import call_of, entries, expression
from lvspec.front.dims import to_dim
from lvspec.front.names import check_axis_name, did_you_mean
from lvspec.front.nodes import Entry, Mapping, Node
from lvspec.front.problems import Problems
from lvspec.ir.dims import Dim
from lvspec.ir.spec import Plate, Size

PLATE_KINDS = ("sequence", "bag", "segments", "copy")
OF_A_PLATE = {"segments": "segments(t, max=8)", "copy": "copy(t)"}  # kinds that take another plate


def read_plates(section: Node | None, sizes: dict[str, Size], problems: Problems) -> dict[str, Plate]:
    found: dict[str, Plate] = {}
    for entry in entries(section, "plates", problems):
        name = entry.key.value
        if check_axis_name(name, entry.key.span, problems):
            found[name] = _plate(entry, sizes, problems) or Plate(name, "sequence", span=entry.key.span)
    for plate in found.values():
        for other in (plate.within, dict(plate.options).get("of")):
            if other is not None and (other not in found or other == plate.name or not _holds(found[str(other)])):
                what = "is a copy of" if plate.kind == "copy" else "lies within"
                problems.error(
                    "bad-plate",
                    plate.span,
                    f"`{plate.name}` {what} `{other}`, which is no other ragged plate",
                    help=did_you_mean(str(other), found, _of_known_size(plate, found.get(str(other)))),
                )
        around = found.get(plate.within or "")
        if around is not None and around.within is not None:
            message = (
                f"`{plate.name}` lies within `{around.name}`, which lies within `{around.within}`: plates nest one deep"
            )
            problems.error(
                "bad-plate", plate.span, message, help=f"leave out `within` of `{around.name}` or of `{plate.name}`"
            )
    return {name: _copied(plate, found) for name, plate in found.items()}


def _holds(plate: Plate) -> bool:
    """Whether sites of its own may be cut, nested or copied."""
    return plate.ragged and plate.kind != "copy"


def _copied(plate: Plate, found: dict[str, Plate]) -> Plate:
    """A copy as what it copies, under its own name."""
    of = dict(plate.options).get("of")
    if plate.kind != "copy" or of not in found or found[of].kind == "copy":
        return plate
    return replace(found[of], name=plate.name, options=(), end=None, span=plate.span, like=str(of))


def _of_known_size(plate: Plate, other: Plate | None) -> str:
    """The mend for a copy of a plate whose number of sites is known, or for a plate within it."""
    if other is None or other.size is None:
        return ""
    if plate.kind != "copy":
        return f"what lies within another plate lies in a ragged one: `{other.name}: bag`, or `{other.name}: sequence`"
    return f"a plate of a known size has as many sites under another name, too: `{plate.name}: {other.size}`"


def _plate(entry: Entry, sizes: dict[str, Size], problems: Problems) -> Plate | None:
    name, span = entry.key.value, entry.key.span
    if isinstance(entry.value, Mapping):
        return _latent_length(entry, entry.value, sizes, problems)
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


_PLATE_OPTIONS = {
    "sequence": ("end", "within", "null"),
    "bag": ("within", "counts"),
    "segments": ("max",),
    "copy": (),
}


def _takes(kind: str) -> str:
    return f"it takes {', '.join(_PLATE_OPTIONS[kind])}" if _PLATE_OPTIONS[kind] else f"write `{OF_A_PLATE[kind]}`"


def _ragged(name: str, kind: str, call: S.Application | None, entry: Entry, problems: Problems) -> Plate | None:
    within, end = None, None
    options: list[tuple[str, str | int]] = []
    arguments, keywords = (call.arguments, call.keywords) if call else ((), ())
    if len(arguments) != (kind in OF_A_PLATE) or not all(isinstance(a, S.Name) for a in arguments):
        usage = OF_A_PLATE.get(kind) or f"{kind}` or `{kind}({_PLATE_OPTIONS[kind][0]}=...)"
        problems.error("bad-plate", entry.value.span, f"write `{usage}`")
        return None
    options.extend(("of", a.name) for a in arguments if isinstance(a, S.Name))
    for keyword, value in keywords:
        plain = value.name if isinstance(value, S.Name) else value.value if isinstance(value, S.Literal) else None
        if keyword.name not in _PLATE_OPTIONS[kind]:
            problems.error(
                "bad-plate",
                keyword.span,
                f"`{kind}` has no setting `{keyword.name}`",
                help=did_you_mean(keyword.name, _PLATE_OPTIONS[kind], _takes(kind)),
            )
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


def _latent_length(entry: Entry, block: Mapping, sizes: dict[str, Size], problems: Problems) -> Plate:
    """`{length: l + 1, max: M}`; at most M sites, of which l + 1 count."""
    name, size = entry.key.value, None
    options: dict[str, str | int] = {}
    for e in block.entries:
        value = expression(e, "a variable, or a size", problems) if e.key.value in ("length", "max") else None
        if value is None:
            if e.key.value not in ("length", "max"):
                message = f"a plate in block form has `length` and `max`, not `{e.key.value[:40]}`"
                problems.error("bad-plate", e.key.span, message)
        elif e.key.value == "max":
            size = to_dim(value.body, sizes, problems) or Dim.of(1)
        else:
            match value.body:
                case S.Name(length):
                    options["length"] = length
                case S.Binary("add", S.Name(length), S.Literal(_, int(more))):
                    options |= {"length": length, "more": more}
                case _:
                    message = f"the length of `{name}` is a variable, or one more"
                    problems.error("bad-plate", e.value.span, message, help="write `length: l`, or `length: l + 1`")
                    options["length"] = ""
    if "length" not in options or size is None:
        message = "a plate whose length is a variable names it and a bound"
        problems.error("bad-plate", entry.value.span, message, help=f"write `{name}: {{length: l, max: 20}}`")
    return Plate(name, "latent_length", size or Dim.of(1), options=tuple(options.items()), span=entry.key.span)
