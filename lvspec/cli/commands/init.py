"""`lvspec init`: a commented model to start from, out of the zoo."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lvspec.cli import product, terminal
from lvspec.errors import UsageError
from lvspec.shipped import shipped


def add_parser(subparsers) -> None:
    parser = subparsers.add_parser("init", help="a model to start from")
    parser.add_argument("model", nargs="?", help="its name; --list shows them")
    parser.add_argument("--list", action="store_true", help="the models there are")
    parser.add_argument("-o", "--output", metavar="FILE.yaml", help="where to (default: MODEL.yaml); - is stdout")
    parser.add_argument("--force", action="store_true", help="write over a file that is there")


def zoo() -> dict[str, Path]:
    return {path.stem: path for path in sorted(shipped("specs").glob("*.yaml"))}


def meaning(path: Path) -> str:
    """The spec's first comment line."""
    with path.open(encoding="utf-8") as file:
        return next((line.lstrip("# ").rstrip() for line in file if line.startswith("#")), "")


def run(args: argparse.Namespace) -> int:
    models = zoo()
    if args.list:
        width = max(map(len, models), default=0)
        for name, path in models.items():
            terminal.show(f"{name:<{width}}  {meaning(path)}")
        return 0
    if args.model is None:
        raise UsageError("which model? `lvspec init --list` shows them")
    if args.model not in models:
        from lvspec.settings import suggest

        raise UsageError(f"there is no model `{args.model}`{suggest(args.model, models)}")
    text = models[args.model].read_text(encoding="utf-8")
    if args.output == "-":
        sys.stdout.write(text)
        return 0
    path = Path(args.output or f"{args.model}.yaml")
    if path.exists() and not args.force:
        raise UsageError(f"{path} exists; use -o with another name, or --force")
    product.write(path, text, force=True)
    terminal.show(path)
    return 0
