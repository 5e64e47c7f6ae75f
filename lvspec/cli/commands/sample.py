"""`lvspec sample RUN -n 5`: ancestral draws from the model, as words, drawn pictures or numbers."""

from __future__ import annotations

import argparse
from pathlib import Path

from lvspec.cli import product, terminal
from lvspec.cli.commands.eval import ALLOWED
from lvspec.cli.options import at_least

GIVEN = "in place of draws: a file of given values, read as the data section says, or NAME=VALUE in all draws"


def add_parser(subparsers) -> None:
    parser = subparsers.add_parser("sample", help="draws from a trained model", description=__doc__.split(": ")[1])
    parser.add_argument("run", metavar="RUN", help="the directory that lvspec train has made")
    parser.add_argument("-n", type=at_least(1), default=5, help="how many (default 5)")
    parser.add_argument("--given", metavar="FILE|NAME=VALUE", action="append", default=[], help=GIVEN)
    parser.add_argument("--length", type=at_least(1), help="how many sites, or at most where an end symbol stops them")
    parser.add_argument("--png", metavar="FILE", help="pictures side by side in one PNG file")
    parser.add_argument("--force", action="store_true", help="write over a file that lvspec did not write")
    parser.add_argument("--allow-module", metavar="PACKAGE", action="append", default=[], help=ALLOWED)
    parser.add_argument("--seed", type=at_least(0), default=0, help="another seed, other draws (default 0)")
    parser.add_argument("--checkpoint", default="best", help="best, last, or step-00000100 (default best)")
    parser.add_argument("--device", default="cpu", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="draws as JSON lines, latents included")


def run(args: argparse.Namespace) -> int:
    from lvspec.cli.opened import conditions_of, tell_faults
    from lvspec.driver import compile_spec
    from lvspec.errors import UsageError
    from lvspec.ir.reads import is_improper
    from lvspec.runtime.core.batch import BadBatch
    from lvspec.train.evaluation.draws import draws
    from lvspec.train.run.directory import open_run

    trained = open_run(Path(args.run), compile_spec, args.checkpoint, args.device, args.allow_module)
    tell_faults(trained)
    codes = [v.name for v in trained.compiled.spec.of_role("latent") if is_improper(v)]
    if codes:
        reason = "is a code with no distribution of its own, so that nothing can be drawn"
        raise UsageError(f"{codes[0]} {reason}; in Python, `model.sample(n, given={{...}})` decodes what it is given")
    start = conditions_of(args, trained, args.n, args.length)
    data = trained.config.data
    try:
        found = draws(trained.model, trained.layout, trained.encoders, start.n, start.conditions, args.seed, data)
    except BadBatch as reason:
        if args.length is None:
            raise
        raise UsageError(f"--length {args.length}: {reason}") from reason
    if args.png:
        _write_png(Path(args.png), found, args.force)
    if args.json:
        for one in found:
            terminal.show_json(one.to_json())
        return 0
    _show(found, {f.name for f in trained.layout.fields if f.modelled})
    return 0


def _show(found: list, modelled: set[str]) -> None:
    """Pictures alone, words alone where all that the model observes is words, else everything."""
    from lvspec.train.evaluation.pictures import beside, drawn

    if found[0].pictures:
        for name in found[0].pictures:
            pictures = [one.pictures[name] for one in found]
            width = 2 * pictures[0].shape[1]
            per_row = max(1, 110 // (width + 3))
            for start in range(0, len(pictures), per_row):
                terminal.show(beside([drawn(p) for p in pictures[start : start + per_row]], width))
                terminal.show()
        return
    for one in found:
        shown = one.text if modelled <= one.text.keys() else {**one.text, **one.numbers}
        text = "  ".join(f"{k}: {v}" for k, v in shown.items()) if len(shown) > 1 else next(iter(shown.values()), "")
        terminal.show(text)


def _write_png(path: Path, found: list, force: bool) -> None:
    from lvspec.errors import UsageError
    from lvspec.train.evaluation.pictures import png, sheet

    pictures = [p for one in found for p in one.pictures.values()]
    if not pictures:
        raise UsageError("--png: the model draws no pictures")
    product.write(path, product.marked("png", png(sheet(pictures))), force)
    terminal.say(f"wrote {path}")
