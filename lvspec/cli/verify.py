"""`lvspec verify`: the emitted module against brute force on a shrunken instance."""

from __future__ import annotations

import argparse

from lvspec.cli import terminal
from lvspec.cli.options import add_spec_options, settings


def add_parser(subparsers) -> None:
    parser = subparsers.add_parser("verify", help="the emitted module against brute force on a shrunken instance")
    add_spec_options(parser)
    parser.add_argument("--seed", type=int, default=0, help="of the parameters and data that are drawn (default 0)")
    parser.add_argument("--json", action="store_true", help="the comparison as JSON")


def run(args: argparse.Namespace) -> int:
    raise NotImplementedError
