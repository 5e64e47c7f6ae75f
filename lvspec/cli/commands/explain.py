"""`lvspec explain`: what the planner decided, at what price, and why the alternatives lost."""

from __future__ import annotations

import argparse
import sys

from lvspec.cli import terminal
from lvspec.cli.options import add_spec_options, settings


def add_parser(subparsers) -> None:
    parser = subparsers.add_parser("explain", help="each latent's strategy, its cost, and why the others lost")
    add_spec_options(parser)
    parser.add_argument(
        "--guide", action="store_true", help="only the lines of a derived guide, to be pasted into the spec"
    )
    parser.add_argument("--json", action="store_true", help="the same as JSON")


def run(args: argparse.Namespace) -> int:
    from lvspec.driver import plan_spec
    from lvspec.explain import as_data, as_text

    plan = plan_spec(args.spec, **settings(args))
    terminal.say_diagnostics(plan.spec.warnings, plan.spec.source)
    if args.guide:
        terminal.show(plan.derived, end="")
    elif args.json:
        terminal.show_json(as_data(plan), indent=2)
    else:
        terminal.show(as_text(plan, lambda text, style: terminal.paint(text, style, sys.stdout)))
    return 0
