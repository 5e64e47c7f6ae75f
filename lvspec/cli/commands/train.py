"""`lvspec train MODEL.yaml --data FILE`: read, fit the vocabulary, compile at the data's sizes, train."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from lvspec.cli import terminal
from lvspec.cli.options import add_spec_options, assignment, at_least, settings
from lvspec.cli.verified import add_no_verify, require
from lvspec.ir.formats import FORMATS

# option -> entry of the data section; one variable's with NAME=VALUE, every variable's without
DATA_OPTIONS = {
    "column": "of a table or CoNLL-U: a number from 1, or a name (form, upos, a header's)",
    "columns": "of a table, for a vector: 1-64",
    "field": "of JSON lines: a key, with dots for nested ones",
    "array": "of an npz: the name of an array",
}  # keys of `data:` that say where the variable x stands


def add_parser(subparsers) -> None:
    parser = subparsers.add_parser("train", help="train a model on data files", description=__doc__.split(": ")[1])
    add_spec_options(parser)
    parser.add_argument("--data", metavar="FILE", required=True, help="training data; .gz is fine")
    parser.add_argument(
        "--valid", metavar="FILE", help="for stopping; without it: the npz's own part, or a fixed tenth"
    )
    parser.add_argument("--test", metavar="FILE", help="for the figure, later: lvspec eval RUN")
    parser.add_argument(
        "--split-dev", action="store_true", help="half of --valid is for stopping, half is the test part"
    )
    add_data_options(parser)
    parser.add_argument("--out", metavar="DIR", help="the run's directory (default runs/NAME)")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in --out")
    parser.add_argument(
        "--allow-spec-change", action="store_true", help="resume although the spec or a setting has changed"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the run in --out")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 or auto (default cpu)")
    parser.add_argument("--seed", type=at_least(0), help="of everything random (default 0)")
    parser.add_argument("--steps", type=at_least(1), help="stop after so many gradient steps")
    parser.add_argument("--epochs", type=at_least(1), help="the same as --set train.epochs=...")
    add_no_verify(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--json", action="store_true", help="the outcome as JSON")


def add_data_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", help=f"{', '.join(FORMATS)} (default: by the file's name)")
    for option, place in DATA_OPTIONS.items():
        help = f"where x is read, {place}; without `x=` it is said of every variable"
        parser.add_argument(f"--{option}", action="append", default=[], metavar="[x=]PLACE", help=help)


def data_changes(args: argparse.Namespace, names: list[str]) -> dict[str, dict[str, object]]:
    """`--format csv --column x=form --set data.x.lower=true` as entries by variable."""
    changes: dict[str, dict[str, object]] = {}
    for name in names if args.format else []:
        changes.setdefault(name, {})["format"] = args.format
    for option in DATA_OPTIONS:
        for text in getattr(args, option):
            name, value = assignment(text) if "=" in text else ("", text)
            for target in [name] if name else names:
                changes.setdefault(target, {})[option] = number(value) if option == "column" else value
    for path, value in section_changes(args, "data").items():
        name, _, entry = path.partition(".")
        changes.setdefault(name, {})[entry] = value
    return changes


def section_changes(args: argparse.Namespace, section: str) -> dict[str, object]:
    """The entries of `--set SECTION.NAME=VALUE` that belong to a section."""
    found = (assignment(text) for text in getattr(args, "set", []))
    return {p.removeprefix(f"{section}."): value_of(v) for p, v in found if p.startswith(f"{section}.")}


def train_changes(args: argparse.Namespace) -> dict[str, object]:
    """`--set train.epochs=3 --set train.init.transition=normal(0, 0.1)`, the latter gathered under `init`."""
    found = section_changes(args, "train")
    rules = {name.removeprefix("init."): found.pop(name) for name in list(found) if name.startswith("init.")}
    return {**found, "init": rules} if rules else found


def value_of(text: str) -> object:
    """true, false, null, numbers, lists of texts `[a, b]`; everything else is itself."""
    if text.startswith("[") and text.endswith("]"):
        return [part.strip() for part in text[1:-1].split(",")]
    words = {"true": True, "false": False, "null": None, "none": None}
    return words[text.lower()] if text.lower() in words else number(text)


def number(text: str) -> object:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def run(args: argparse.Namespace) -> int:
    from lvspec.cli.progress import Display
    from lvspec.driver import STDIN, compile_spec
    from lvspec.train.data.layout import layout_of
    from lvspec.train.data.sources import Files, described
    from lvspec.train.run.request import Request
    from lvspec.train.start import train, wanted_data

    refuse_copies()
    options = settings(args, others=("train", "data"))
    compiled = compile_spec(args.spec, **options)
    layout = layout_of(compiled.spec)
    changes = data_changes(args, [f.name for f in layout.fields])
    files = Files(args.data, args.valid, args.test, args.split_dev)
    out = Path(args.out or Path("runs") / compiled.spec.name)
    notify = _warned if args.quiet else terminal.say
    request = Request(
        compiled=compiled,
        compile_spec=compile_spec,
        files=files,
        out=out,
        path=None if args.spec == STDIN else args.spec,
        sizes=options["sizes"],
        infer=options["overrides"],
        allow_modules=options["allow_modules"],
        train={**train_changes(args), **_named(args, "seed", "steps", "epochs")},
        data=changes,
        device=args.device,
        resume=args.resume,
        replace_run=args.overwrite,
        other_spec=args.allow_spec_change,
        check=None if args.no_verify else lambda plan: require(plan, options["allow_modules"], notify),
    )
    for part, place in described(files, wanted_data(layout, compiled.spec.data, changes)).items():
        notify(f"{part + ':':<7}{place}")
    with Display(quiet=args.quiet) as display:
        ready, progress = train(request, display.show, notify)
    _outcome(args, ready, progress)
    return 0


def _warned(text: str) -> None:
    """What is said although somebody wants no progress."""
    if text.startswith("warning:"):
        terminal.say(text)


def refuse_copies() -> None:
    """Under torchrun each process would train the whole model, and all of them write to one folder."""
    from lvspec.errors import UsageError

    count = os.environ.get("WORLD_SIZE", "1")
    if count != "1":
        raise UsageError(f"training is one process, and torchrun has started {count} (WORLD_SIZE); start it by itself")


def _named(args: argparse.Namespace, *names: str) -> dict[str, object]:
    return {n: getattr(args, n) for n in names if getattr(args, n) is not None}


def _outcome(args: argparse.Namespace, ready, progress) -> None:
    from math import isfinite

    best = progress.best if isfinite(progress.best) else None
    outcome = {
        "run": str(ready.run.root),
        "module": str(ready.run.module(ready.config.spec_name)),
        "steps": progress.step,
        "epochs": progress.epoch,
        "best_step": progress.best_step,
        "valid": best,
        "sizes": ready.config.sizes,
    }
    if args.json:
        terminal.show_json(outcome)
        return
    shown = f"; best validation {best:.4f} nats per example at step {progress.best_step}" if best is not None else ""
    terminal.say(f"{progress.step} steps{shown}")
    terminal.show(ready.run.root)
