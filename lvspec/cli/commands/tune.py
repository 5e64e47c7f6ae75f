"""`lvspec tune MODEL.yaml --data FILE`: measure the legal methods of each latent that is drawn, and name the best one."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from lvspec.cli import product, terminal
from lvspec.cli.commands.train import add_data_options, data_changes, refuse_copies, train_changes
from lvspec.cli.options import add_spec_options, amount, settings
from lvspec.cli.verified import add_no_verify, require


def add_parser(subparsers) -> None:
    parser = subparsers.add_parser("tune", help="measure methods of drawn latents", description=__doc__.split(": ")[1])
    add_spec_options(parser)
    parser.add_argument("--data", metavar="FILE", required=True, help="training data; .gz is fine")
    parser.add_argument("--valid", metavar="FILE", help="whose bound decides; by default as lvspec train has it")
    parser.add_argument("--split-dev", action="store_true", help="half of --valid decides")
    add_data_options(parser)
    parser.add_argument(
        "--latent", action="append", default=[], help="only this one (default: every one that is drawn)"
    )
    parser.add_argument("--seconds", type=amount, default=20.0, help="processor time for each method (default 20)")
    parser.add_argument("--biased", action="store_true", help="biased methods may win")
    parser.add_argument("--write", action="store_true", help="write the winner under `infer:` of the spec")
    add_no_verify(parser)
    parser.add_argument("--json", action="store_true", help="the table as JSON")


def run(args: argparse.Namespace) -> int:
    from lvspec.driver import STDIN, compile_spec
    from lvspec.errors import UsageError
    from lvspec.train.data.layout import layout_of
    from lvspec.train.data.sources import Files
    from lvspec.train.run.request import Request
    from lvspec.train.start import prepare
    from lvspec.train.tune import tune

    if args.write and args.spec == STDIN:
        raise UsageError("--write needs a file to write to")
    refuse_copies()
    options = settings(args, others=("train", "data"))
    compiled = compile_spec(args.spec, **options)
    drawn = [p.name for p in compiled.plan.latents if p.treated.guided]
    unknown = [n for n in args.latent if n not in drawn]
    if unknown:
        raise UsageError(
            f"{unknown[0]!r} is not drawn or averaged under a guide here: {', '.join(drawn) or 'no latent is'}"
        )
    latents = args.latent or [p.name for p in compiled.plan.latents if p.treated.drawn]
    if not latents:
        raise UsageError("nothing is drawn here: there is nothing to choose")
    files = Files(args.data, args.valid, None, args.split_dev)
    changes = data_changes(args, [f.name for f in layout_of(compiled.spec).fields])
    found = []
    with tempfile.TemporaryDirectory() as folder:
        request = Request(
            compiled=compiled,
            compile_spec=compile_spec,
            files=files,
            out=Path(folder) / "tune",
            path=None if args.spec == STDIN else args.spec,
            sizes=options["sizes"],
            infer=options["overrides"],
            allow_modules=options["allow_modules"],
            train=train_changes(args),
            data=changes,
            check=None if args.no_verify else lambda plan: require(plan, options["allow_modules"], terminal.say),
        )
        ready = prepare(request, terminal.say)
        sizes = {**request.sizes, **ready.config.sizes}
        for latent in latents:

            def compile_with(method: str, latent: str = latent):
                overrides = {**ready.config.infer, latent: method}
                text = request.path or compiled.spec.source.text
                return compile_spec(text, sizes=sizes, overrides=overrides, allow_modules=request.allow_modules)

            found.append(tune(ready, latent, compile_with, args.seconds, terminal.say))
    _show(args, found)
    if args.write:
        _write(Path(args.spec), {t.latent: t.best(args.biased).method for t in found})
    return 0


def _show(args: argparse.Namespace, found: list) -> None:
    if args.json:
        tables = {
            t.latent: {
                "best": t.best(args.biased).method,
                "as_good": [r.method for r in t.as_good(args.biased)],
                "methods": [{**vars(r), "cost": r.cost} for r in t.rows],
                "refused": dict(t.refused),
            }
            for t in found
        }
        terminal.show_json(tables)
        return
    for t in found:
        terminal.show(f"{t.latent}: after {args.seconds:g} seconds of each, on validation data")
        head = ("method", "gradient", "variance", "ms", "ms × variance", "off", "steps", "bound", "±")
        rows = [
            (
                r.method,
                "biased" if r.biased else "unbiased",
                f"{r.variance:.3g}",
                f"{1000 * r.seconds:.1f}",
                f"{1000 * r.cost:.3g}",
                "-" if r.off is None else f"{r.off:.2g}",
                str(r.steps),
                f"{r.bound:.3f}",
                f"{r.error:.3f}",
            )
            for r in t.rows
        ]
        widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
        for row in (head, *rows):
            terminal.show("  " + "  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)).rstrip())
        for method, reason in t.refused:
            terminal.show(f"  not {method}: {reason}")
        terminal.show(f"  best: {t.best(args.biased).method}")
        if alike := t.as_good(args.biased):
            terminal.show(f"  within two errors of it, after so short a run: {', '.join(r.method for r in alike)}")


def _write(path: Path, chosen: dict[str, str]) -> None:
    """The entries under `infer:`, the rest of the file as it is; nothing is written that does not read back."""
    from lvspec.driver import read_spec

    before = path.read_text(encoding="utf-8")
    after = with_entries(before, chosen)
    spec = read_spec(after)
    overridden = {o.name for o in spec.overrides}
    if not set(chosen) <= overridden:
        terminal.say(
            f"{path} was left as it is: write under `infer:` {', '.join(f'{n}: {m}' for n, m in chosen.items())}"
        )
        return
    product.write(path, after, force=True)
    terminal.say(f"written to {path}")


def with_entries(text: str, chosen: dict[str, str]) -> str:
    """A spec's text with these lines in its `infer:` block, in place of what it said of the same latents."""
    lines = text.rstrip("\n").split("\n")
    start = next((i for i, line in enumerate(lines) if line.split("#")[0].rstrip() == "infer:"), None)
    if start is None:
        lines += ["infer:"]
        start = len(lines) - 1
    end = start + 1
    while end < len(lines) and (not lines[end].strip() or lines[end][0] in " #"):
        end += 1
    while end > start + 1 and not lines[end - 1].strip():
        end -= 1
    kept = [line for line in lines[start + 1 : end] if line.split(":")[0].strip() not in chosen]
    new = [f"  {name}: {method}" for name, method in chosen.items()]
    return "\n".join([*lines[: start + 1], *kept, *new, *lines[end:]]) + "\n"
