"""`lvspec check`: every diagnostic of a file at once, what the planner refuses included."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from lvspec.cli import terminal
from lvspec.cli.options import add_spec_options, settings
from lvspec.errors import Diagnostic, SpecError


def add_parser(subparsers) -> None:
    parser = subparsers.add_parser("check", help="every problem of a spec at once, with its place and a mend")
    add_spec_options(parser)
    parser.add_argument("--json", action="store_true", help="the diagnostics as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    from lvspec.driver import plan_spec

    if not args.json:
        spec = plan_spec(args.spec, **settings(args)).spec
        terminal.say_diagnostics(spec.warnings, spec.source)
        latents, observed = (len(spec.of_role(role)) for role in ("latent", "observed"))
        counts = f"{latents} latent, {observed} observed" + _warnings(len(spec.warnings))
        terminal.show(f"{spec.source.name}: {terminal.paint('fine', 'green', sys.stdout)} ({counts})")
        return 0
    try:
        spec = plan_spec(args.spec, **settings(args)).spec
        source, diagnostics, code = spec.source, spec.warnings, 0
    except SpecError as errors:
        source, diagnostics, code = errors.source, errors.diagnostics, 1
    report = {"file": source.name, "ok": code == 0, "diagnostics": [_as_data(d) for d in diagnostics]}
    terminal.show_json(report, indent=2)
    return code


def _warnings(count: int) -> str:
    return f", {count} warning{'s' if count > 1 else ''}" if count else ""


def _as_data(d: Diagnostic) -> dict:
    return {**asdict(d), "notes": [{"span": place, "message": text} for place, text in d.notes]}
