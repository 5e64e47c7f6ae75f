"""`lvspec verify`: the emitted module against brute force on a shrunken instance.

Exit code 0: what is covered agrees. 70: it does not, which is a bug of lvspec's own and never the model's fault. 1: nothing of this
model could be compared, or a network of the user's own is not what the spec says of it.
"""

from __future__ import annotations

import argparse

from lvspec.cli import terminal
from lvspec.cli.options import add_spec_options, at_least, settings


def add_parser(subparsers) -> None:
    parser = subparsers.add_parser("verify", help="the emitted module against brute force on a shrunken instance")
    add_spec_options(parser)
    parser.add_argument(
        "--seed", type=at_least(0), default=0, help="of the parameters and data that are drawn (default 0)"
    )
    parser.add_argument("--json", action="store_true", help="the comparison as JSON")


def run(args: argparse.Namespace) -> int:
    from lvspec.driver import plan_spec, recompile

    options = settings(args)
    plan = plan_spec(args.spec, **options)
    terminal.say_diagnostics(plan.spec.warnings, plan.spec.source)
    from lvspec.verify import pins, render, shrink, verify  # torch comes with it

    # small sizes where none are set, but the strategies that the real sizes call for
    small = shrink(plan.spec, fixed=options["sizes"])
    compiled = recompile(plan.spec, small, pins(plan), options["allow_modules"])

    report = verify(compiled.spec, compiled.plan, compiled.Model, args.seed)
    if args.json:
        terminal.show_json(report.as_dict(), indent=2)
    else:
        terminal.show(render(report))
    if report.passed:
        return 0
    if not report.failures:
        terminal.say("lvspec: nothing of this model could be compared with brute force")
        return 1
    terminal.say(
        "lvspec: the module and brute force disagree. This is a bug of lvspec; please report it with the model."
    )
    return 70
