"""`lvspec graph`: the plate diagram as SVG, DOT, Mermaid or PNG."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lvspec.cli import product, terminal
from lvspec.cli.options import add_spec_options, settings
from lvspec.errors import UsageError

SUFFIXES = {".svg": "svg", ".dot": "dot", ".gv": "dot", ".mmd": "mermaid", ".mermaid": "mermaid", ".png": "png"}
FORMATS = ("svg", "dot", "mermaid", "png")


def add_parser(subparsers) -> None:
    parser = subparsers.add_parser("graph", help="the plate diagram, coloured by strategy")
    add_spec_options(parser)
    parser.add_argument("-o", "--output", metavar="FILE", help="where to (default: stdout); its suffix says the format")
    parser.add_argument("--format", choices=FORMATS, help="svg (default), dot, mermaid, or png")
    parser.add_argument("--guide", action="store_true", help="with what the guide reads, derived guides too")
    parser.add_argument("--force", action="store_true", help="write over a file that lvspec did not write")


def run(args: argparse.Namespace) -> int:
    from lvspec.driver import plan_spec
    from lvspec.graph import draw

    form = args.format or _by_suffix(args.output)
    plan = plan_spec(args.spec, **settings(args))
    terminal.say_diagnostics(plan.spec.warnings, plan.spec.source)
    data = png(draw(plan, "svg", args.guide)) if form == "png" else draw(plan, form, args.guide).encode()
    if args.output and args.output != "-":
        product.write(Path(args.output), product.marked(form, data), args.force)
        terminal.show(args.output)
        return 0
    if form == "png" and sys.stdout.isatty():
        raise UsageError("a PNG is not for a terminal: give -o FILE.png")
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    return 0


def _by_suffix(output: str | None) -> str:
    if output is None or output == "-":
        return "svg"
    suffix = Path(output).suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"{output!r} does not say a format: {', '.join(SUFFIXES)}, or --format")
    return SUFFIXES[suffix]


def png(svg: str) -> bytes:
    """The picture as pixels, where the `png` extra is installed."""
    try:
        import cairosvg
    except (ImportError, OSError):  # the package, or the system library that it loads
        raise UsageError("PNG needs the extra: pip install 'lvspec[png]'; SVG, DOT and Mermaid need nothing") from None
    return cairosvg.svg2png(bytestring=svg.encode(), scale=2)
