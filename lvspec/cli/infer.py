"""`lvspec infer RUN`: the posterior of each example as JSON lines, or the words of each value of a latent."""

from __future__ import annotations

import argparse
import json

from lvspec.cli import terminal
from lvspec.cli.eval import add_run_options


def add_parser(subparsers) -> None:
    parser = subparsers.add_parser("infer", help="posteriors of a trained model", description=__doc__.split(": ")[1])
    add_run_options(parser)
    parser.add_argument("--latent", help="only this latent")
    parser.add_argument("--no-marginals", action="store_true", help="modes (Viterbi) and means only")
    parser.add_argument("--limit", type=int, help="only the first so many examples")
    parser.add_argument(
        "--top-words", type=int, nargs="?", const=10, metavar="N", help="for each value, its N words (10)"
    )
    parser.add_argument("--json", action="store_true", help="with --top-words: as JSON (posteriors always are)")


def run(args: argparse.Namespace) -> int:
    from dataclasses import replace

    from lvspec.cli.opened import discrete_latent, opened, sizes_of
    from lvspec.errors import UsageError
    from lvspec.train.posteriors import latents_of

    trained, part = opened(args)
    if args.limit is not None:
        part = replace(part, dataset=replace(part.dataset, examples=part.dataset.examples[: max(0, args.limit)]))
    if args.top_words:
        return _top_words(args, trained, part, discrete_latent(trained, args.latent))
    latents = tuple(z for z in latents_of(trained.compiled.spec, sizes_of(trained)) if args.latent in (None, z.name))
    if not latents:
        raise UsageError(f"the model has no latent {args.latent!r}" if args.latent else "the model has no latent")
    for line in _lines(args, trained, part, latents):
        print(line)
    return 0


def _lines(args: argparse.Namespace, trained, part, latents):
    """One JSON object an example, in the file's order."""
    from lvspec.train.posteriors import posteriors

    found = posteriors(trained.model, part.dataset, latents, trained.config.train, trained.device)
    for one in sorted(found, key=lambda inferred: inferred.row):
        example = part.dataset.examples[one.row]
        entry: dict[str, object] = {"record": example.index}
        for field in part.dataset.layout.fields:
            encoder = trained.encoders[field.name]
            if hasattr(encoder, "symbols") and field.name in example.values:
                entry[field.name] = encoder.show(example.values[field.name])
        for latent in latents:
            entry[latent.name] = _plain(one, latent.name, not args.no_marginals)
        yield json.dumps(entry, ensure_ascii=False)


def _plain(one, name: str, marginals: bool) -> dict[str, object]:
    kinds = {"mode": one.mode, "mean": one.mean, "deviation": one.deviation}
    if marginals:
        kinds["marginals"] = one.marginals
    return {k: rounded(values[name].tolist()) for k, values in kinds.items() if name in values}


def rounded(value: object) -> object:
    """Floats with six digits behind the point; nested lists of them."""
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return round(value, 6) if isinstance(value, float) else value


def _top_words(args: argparse.Namespace, trained, part, latent) -> int:
    from lvspec.errors import UsageError
    from lvspec.train.posteriors import posteriors
    from lvspec.train.words import expected_counts, top_words

    layout = part.dataset.layout
    field = next((f for f in layout.fields if f.modelled and hasattr(trained.encoders[f.name], "symbols")), None)
    if field is None:
        raise UsageError("--top-words: the model explains no words")
    found = posteriors(trained.model, part.dataset, (latent,), trained.config.train, trained.device)
    counts = expected_counts(found, latent, part.dataset, field, trained.encoders[field.name])
    rows = top_words(counts, trained.encoders[field.name], args.top_words)
    if args.json:
        print(
            json.dumps([{"value": k, "share": share, "words": words} for k, share, words in rows], ensure_ascii=False)
        )
        return 0
    for k, share, words in rows:
        print(terminal.visible(f"{latent.name} = {k:<4} {share:6.1%}  {' '.join(words)}"))
    return 0
