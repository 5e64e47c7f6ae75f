"""`lvspec compile`: the PyTorch module, into NAME.py, another file, or stdout."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lvspec.cli import product, terminal
from lvspec.cli.options import add_spec_options, settings
from lvspec.cli.verified import require, state


def add_parser(subparsers) -> None:
    parser = subparsers.add_parser("compile", help="the PyTorch module, as readable source")
    add_spec_options(parser)
    parser.add_argument("-o", "--output", metavar="FILE.py", help="where to (default: the model's name); - is stdout")
    parser.add_argument("--standalone", action="store_true", help="a file that needs torch alone")
    parser.add_argument(
        "--self-check",
        action="store_true",
        help="a file that, when it is run, compares log p(x) or the ELBO's terms with plain definitions",
    )
    parser.add_argument(
        "--verify", action="store_true", help="compare the module with brute force before it is written"
    )
    parser.add_argument("--force", action="store_true", help="write over a file that lvspec did not write")


def run(args: argparse.Namespace) -> int:
    from lvspec.driver import compile_spec

    options = settings(args)
    compiled = compile_spec(args.spec, standalone=args.standalone, self_check=args.self_check, **options)
    terminal.say_diagnostics(compiled.spec.warnings, compiled.spec.source)
    if args.verify:
        require(compiled.plan, options["allow_modules"], terminal.say)
    else:
        terminal.say(state(compiled.plan))
    if args.output == "-":
        sys.stdout.write(compiled.source)
        return 0
    path = Path(args.output or f"{product.module_name(compiled.spec.name)}.py")
    product.write(path, compiled.source, args.force)
    terminal.show(path)
    return 0
