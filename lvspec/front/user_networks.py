"""A user's own class as a network: `Module(package.Class(E, heads=4), in=[E], out=[H], reads=causal)`."""

from __future__ import annotations

from keyword import iskeyword

from lvspec.front import syntax as S
from lvspec.front.dims import to_dim, to_extent
from lvspec.front.names import did_you_mean
from lvspec.front.nodes import Entry
from lvspec.front.problems import Problems
from lvspec.ir.dims import Dim, Shape
from lvspec.ir.spec import Network, Size

READS = ("site", "causal", "whole")


def plain(node: S.Node) -> object:
    """A number, a truth value or a word as it stands, None of anything else."""
    match node:
        case S.Literal(_, value):
            return value
        case S.Name("true" | "false" as word):
            return word == "true"
        case S.Name(name):
            return name
    return None


def user_network(
    name: str,
    bank: Shape,
    call: S.Application,
    entry: Entry,
    sizes: dict[str, Size],
    allowed: tuple[str, ...],
    problems: Problems,
) -> Network | None:
    usage = f"write `{name}: Module(package.Class, in=[E], out=[H], reads=site)`"
    written = call.arguments[0] if len(call.arguments) == 1 else None
    named = written.base if isinstance(written, S.Application) else written
    if not isinstance(named, S.Dotted):
        problems.error("network-arguments", entry.value.span, "`Module` takes the dotted path of a class", help=usage)
        return None
    path = named.path
    if not any(path == a or path.startswith(a + ".") for a in allowed):
        problems.error(
            "module-not-allowed",
            named.span,
            f"`{path}` is not in a package that this run allows",
            help=f"if you trust it, allow it on the command line: `--allow-module {path.split('.')[0]}`",
        )
    keywords = _keywords(call, usage, problems)
    inputs, output = (_shapes(keywords.get(k), sizes, problems) for k in ("in", "out"))
    if inputs is None or output is None or not inputs:
        problems.error(
            "network-arguments",
            entry.value.span,
            "`Module` needs the shapes that it takes and gives: lvspec does not look inside",
            help=usage,
        )
        return None
    reads = plain(keywords["reads"]) if "reads" in keywords else "site"
    if reads not in READS:
        problems.error("network-arguments", keywords["reads"].span, f"`reads` is one of {', '.join(READS)}")
        reads = "site"
    if bank:
        help = f"let it take one vector more, such as `onehot(z)`: `in=[..., {bank[0]}]`"
        problems.error(
            "network-arguments", entry.value.span, "a `Module` is one network, and this is a bank", help=help
        )
        return None
    taken = tuple(s if isinstance(s, tuple) else (s,) for s in inputs)
    given = tuple(d for s in output for d in (s if isinstance(s, tuple) else (s,)))
    options: tuple[tuple[str, object], ...] = (("reads", reads), ("in", taken), ("out", given))
    if isinstance(written, S.Application):
        made = _made_with(written, sizes, problems)
        if made is None:
            return None
        options += (("made", made),)
    arguments = (*(d for shape in taken for d in shape), *given)
    return Network(name, "Module", arguments, options, path=path, span=entry.key.span)


def _keywords(call: S.Application, usage: str, problems: Problems) -> dict[str, S.Node]:
    for k, _ in call.keywords:
        if k.name not in ("in", "out", "reads"):
            help = did_you_mean(k.name, ("in", "out", "reads"), usage)
            problems.error("network-arguments", k.span, f"`Module` has no option `{k.name}`", help=help)
    return {k.name: v for k, v in call.keywords}


def _made_with(
    call: S.Application, sizes: dict[str, Size], problems: Problems
) -> tuple[tuple[str, Dim | float], ...] | None:
    """What a class is made with, each under its keyword or "": sizes, numbers, truth values. None where something is none of them."""
    given = [*(("", a) for a in call.arguments), *((k.name, v) for k, v in call.keywords)]
    for i, (name, node) in enumerate(given):
        if name and name in (n for n, _ in given[:i]):
            problems.error("network-arguments", node.span, f"`{name}` is given twice")
            return None
        if iskeyword(name):
            problems.error("network-arguments", node.span, f"`{name}` is a word of Python's, and names no argument")
            return None
    numbers = [(name, _number_or_truth(node), node) for name, node in given]
    found = [(name, to_dim(node, sizes, problems) if value is None else value) for name, value, node in numbers]
    known = tuple((name, value) for name, value in found if value is not None)
    return known if len(known) == len(found) else None


def _number_or_truth(node: S.Node) -> float | None:
    if isinstance(node, S.Negative):
        number = _number_or_truth(node.operand)
        return None if number is None or isinstance(number, bool) else -number
    value = plain(node)
    return value if isinstance(value, int | float) else None


def _shapes(node: S.Node | None, sizes: dict[str, Size], problems: Problems) -> tuple[Dim | Shape, ...] | None:
    """`[E, H]`: two vectors (or, for what comes out, one shape); `[[M, K]]`: one matrix."""
    if not isinstance(node, S.ListNode):
        return None
    found: list[Dim | Shape] = []
    for item in node.items:
        inner = item.items if isinstance(item, S.ListNode) else (item,)
        dims = tuple(to_extent(i, sizes, problems) for i in inner)
        if any(d is None for d in dims):
            return None
        shape = tuple(d for d in dims if d is not None)
        found.append(shape if isinstance(item, S.ListNode) else shape[0])
    return tuple(found)
