"""What the commands that read a spec have in common: the file, other sizes, other strategies, allowed modules."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence

from lvspec.errors import UsageError

SECTIONS = ("sizes", "infer")


def add_spec_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("spec", metavar="MODEL.yaml", help="the model; - is standard input")
    add_settings(parser)


def add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set", metavar="SECTION.NAME=VALUE", action="append", default=[], help="sizes.K=10, infer.z=reinforce"
    )
    parser.add_argument(
        "--strategy", metavar="LATENT=STRATEGY", action="append", default=[], help="the same as --set infer.LATENT=..."
    )
    parser.add_argument(
        "--allow-module", metavar="PACKAGE", action="append", default=[], help="a package whose networks may be named"
    )


def assignment(text: str) -> tuple[str, str]:
    """`K=10` is ("K", "10")."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip() or not value.strip():
        raise UsageError(f"{text!r} is not NAME=VALUE")
    return name.strip(), value.strip()


def settings(args: argparse.Namespace, others: Sequence[str] = ()) -> dict:
    """The keyword arguments of `compile_spec` that the options stand for. Entries of the sections
    named in `others` are the caller's and passed over."""
    sizes, overrides = {}, dict(map(assignment, args.strategy))
    for text in args.set:
        path, value = assignment(text)
        section, dot, name = path.partition(".")
        if not dot or section not in (*SECTIONS, *others):
            known = ", ".join(f"{s}." for s in (*SECTIONS, *others))
            raise UsageError(f"--set {text!r}: the name starts with one of {known}")
        if section == "sizes":
            sizes[name] = _whole(name, value)
        elif section == "infer":
            overrides[name] = value
    return {"sizes": sizes, "overrides": overrides, "allow_modules": tuple(args.allow_module)}


def _whole(name: str, text: str) -> int:
    found = _digits(text)
    if found is None:
        raise UsageError(f"size `{name}` is a whole number, not {text!r}")
    return found


def _digits(text: str) -> int | None:
    digits = text.replace("_", "")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 15 else None


def at_least(least: int) -> Callable[[str], int]:
    """The type of an option that counts: whole numbers from `least` on."""

    def count(text: str) -> int:
        found = _digits(text)
        if found is None or found < least:
            raise argparse.ArgumentTypeError(f"expected a whole number, at least {least}, found {text!r}")
        return found

    return count


def amount(text: str) -> float:
    """The type of an option that measures: finite numbers above 0."""
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, found {text!r}")
    return found
