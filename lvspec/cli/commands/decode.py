"""`lvspec decode RUN`: the likeliest strings that a model writes, symbol by symbol, or draws of them."""

from __future__ import annotations

import argparse
from pathlib import Path

from lvspec.cli import terminal
from lvspec.cli.commands.eval import ALLOWED
from lvspec.cli.options import amount, at_least

GIVEN = "what strings are conditioned on: a file, read as the data section says, or NAME=VALUE for all rows"


def add_parser(subparsers) -> None:
    parser = subparsers.add_parser("decode", help="strings from a trained model", description=__doc__.split(": ")[1])
    parser.add_argument("run", metavar="RUN", help="the directory that lvspec train has made")
    parser.add_argument("--given", metavar="FILE|NAME=VALUE", action="append", default=[], help=GIVEN)
    parser.add_argument("-n", type=at_least(1), default=1, help="how many rows, where no file says it (default 1)")
    parser.add_argument(
        "--method", choices=("greedy", "beam", "sample", "ancestral"), default="beam", help="default beam"
    )
    parser.add_argument("--beam", type=at_least(1), default=5, help="strings that a beam holds (default 5)")
    parser.add_argument(
        "--best", type=at_least(1), default=1, help="strings of a row: the best ones, or draws (default 1)"
    )
    parser.add_argument(
        "--length-norm", type=float, default=1.0, metavar="A", help="beam: score log p / symbols^A (default 1)"
    )
    parser.add_argument("--temperature", type=amount, default=1.0, help="sample: p^(1/temperature) (default 1)")
    parser.add_argument("--top-k", type=at_least(1), help="sample: of so many likeliest symbols")
    parser.add_argument("--top-p", type=amount, default=1.0, help="sample: of the fewest symbols with this mass")
    parser.add_argument(
        "--length", type=at_least(1), default=100, help="symbols at most, the end counted (default 100)"
    )
    parser.add_argument(
        "--latents",
        choices=("mean", "draw"),
        help="what is neither given nor summed is at its mean, or drawn (default mean; of draws draw)",
    )
    parser.add_argument("--draws", type=at_least(1), default=1, help="with --latents draw: averaged over so many")
    parser.add_argument("--batch", type=at_least(1), default=32, help="rows that are decoded at once (default 32)")
    parser.add_argument("--allow-module", metavar="PACKAGE", action="append", default=[], help=ALLOWED)
    parser.add_argument("--seed", type=at_least(0), default=0, help="another seed, other draws (default 0)")
    parser.add_argument("--checkpoint", default="best", help="best, last, or step-00000100 (default best)")
    parser.add_argument("--device", default="cpu", help=argparse.SUPPRESS)
    parser.add_argument(
        "--figures",
        action="store_true",
        help="BLEU, chrF and exact matches, against what the file of --given has itself",
    )
    parser.add_argument("--json", action="store_true", help="a line of JSON for each row, with log p of each string")


def run(args: argparse.Namespace) -> int:
    from lvspec.cli.opened import conditions_of, tell_faults
    from lvspec.driver import compile_spec
    from lvspec.errors import UsageError
    from lvspec.ir.decodable import decodable
    from lvspec.runtime.core.batch import BadBatch
    from lvspec.train.evaluation.corpus_figures import corpus_figures
    from lvspec.train.evaluation.decoding import strings
    from lvspec.train.evaluation.given import references
    from lvspec.train.run.directory import open_run

    trained = open_run(Path(args.run), compile_spec, args.checkpoint, args.device, args.allow_module)
    tell_faults(trained)
    found = decodable(trained.compiled.spec)
    if isinstance(found, str):
        raise UsageError(f"nothing to decode: {found}")
    if not hasattr(trained.model, "decode"):
        raise UsageError(f"nothing to decode: {found.symbol} cannot be drawn by one step of each network a site")
    start = conditions_of(args, trained, args.n, None)
    field, settings = trained.layout.field(found.symbol), trained.config.data[found.symbol]
    wanted = references(start, field, settings) if args.figures else []
    rows = strings(trained, found, start.n, start.conditions, options(args), args.length, args.batch, args.seed)
    first = []
    try:
        for row in rows:
            show(row, args)
            first.append(row[0].text if row else "")
    except (BadBatch, ValueError) as reason:
        raise UsageError(str(reason)) from reason
    if args.figures:
        show_figures(corpus_figures(first, wanted), args.json)
    return 0


def show_figures(figures: dict, as_json: bool) -> None:
    if as_json:
        terminal.show_json({"figures": figures})
        return
    for name, value in figures.items():
        terminal.show(f"{name}: {value if isinstance(value, str) else f'{value:.2f}'}")


def options(args: argparse.Namespace) -> dict:
    """What `decode` of the module is asked."""
    shared = {"latents": args.latents, "draws": args.draws}
    if args.method == "greedy":
        return {"method": "greedy", **shared}
    if args.method == "beam":
        return {"method": "beam", "beams": args.beam, "best": args.best, "length_norm": args.length_norm, **shared}
    chances = {"temperature": args.temperature, "top_k": args.top_k, "top_p": args.top_p}
    return {"method": "sample", "samples": args.best, **(chances if args.method == "sample" else {}), **shared}


def show(row: list, args: argparse.Namespace) -> None:
    """The strings of one row, a line each; where several are asked for, with their scores."""
    if args.json:
        terminal.show_json({"strings": [one.to_json() for one in row]})
        return
    for one in row:
        terminal.show(one.text if args.best == 1 else f"{one.score:.4f}\t{one.text}")
