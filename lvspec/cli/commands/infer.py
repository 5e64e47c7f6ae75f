"""`lvspec infer RUN`: the posterior of each example as JSON lines, or the words of each value of a latent."""

from __future__ import annotations

import argparse
from typing import Any

from lvspec.cli import terminal
from lvspec.cli.commands.eval import add_run_options
from lvspec.cli.options import at_least


def add_parser(subparsers) -> None:
    parser = subparsers.add_parser("infer", help="posteriors of a trained model", description=__doc__.split(": ")[1])
    add_run_options(parser)
    parser.add_argument("--latent", help="only this latent")
    parser.add_argument(
        "--marginals", action=argparse.BooleanOptionalAction, default=False, help="of every value, not the mode's alone"
    )
    parser.add_argument("--keep-labels", action="store_true", help="condition on the labels that the data have")
    parser.add_argument("--limit", type=at_least(1), help="only the first so many examples")
    parser.add_argument(
        "--top-words", type=at_least(1), nargs="?", const=10, metavar="N", help="for each value, its N words (10)"
    )
    parser.add_argument("--json", action="store_true", help="with --top-words: as JSON (posteriors always are)")


def run(args: argparse.Namespace) -> int:
    from dataclasses import replace

    from lvspec.cli.opened import discrete_latent, opened, sizes_of
    from lvspec.errors import UsageError
    from lvspec.train.evaluation.posteriors import latents_of

    trained, part = opened(args)
    if args.limit is not None:
        part = replace(part, dataset=replace(part.dataset, examples=part.dataset.examples[: args.limit]))
    if args.top_words:
        return _top_words(args, trained, part, discrete_latent(trained, args.latent))
    latents = tuple(z for z in latents_of(trained.compiled.spec, sizes_of(trained)) if args.latent in (None, z.name))
    shared = _shared(args, trained, part)
    if not latents and not shared:
        raise UsageError(f"the model has no latent {args.latent!r}" if args.latent else "the model has no latent")
    if shared:
        terminal.show_json({"shared": shared})
    for entry in _entries(args, trained, part, latents) if latents else ():
        terminal.show_json(entry)
    return 0


def _shared(args: argparse.Namespace, trained, part) -> dict[str, dict]:
    """What q says of the latents that all examples share."""
    from lvspec.train.evaluation.posteriors import shared_answers

    found = shared_answers(trained.model, trained.compiled, part.dataset, trained.config.train, trained.device).items()
    return {n: {k: rounded(v.tolist()) for k, v in a.items()} for n, a in found if args.latent in (None, n)}


def _inferred(args: argparse.Namespace, trained, part, latents):
    """The posteriors, given what the data have besides labels; with them where they are to be kept."""
    from lvspec.train.evaluation.accuracy import labelled
    from lvspec.train.evaluation.posteriors import posteriors

    known = part.dataset if args.keep_labels else part.dataset.hiding(labelled(trained.layout))
    return posteriors(trained.model, known, latents, trained.config.train, trained.device)


def _entries(args: argparse.Namespace, trained, part, latents):
    """What is said of each example, in the file's order."""
    import numpy as np

    from lvspec.train.data.dataset import real_sites
    from lvspec.train.data.encoders import MISSING
    from lvspec.train.data.tree_labels import TreeLabels

    found, fields = _inferred(args, trained, part, latents), part.dataset.layout.fields
    for one in sorted(found, key=lambda inferred: inferred.row):
        example = part.dataset.examples[one.row]
        entry: dict[str, Any] = {"record": example.index}
        for field in fields:
            encoder = trained.encoders[field.name]
            if field.required and hasattr(encoder, "symbols") and field.name in example.values:
                real = real_sites(example, field, part.dataset.layout)
                ids = example.values[field.name]
                seen = example.observed.get(field.name, np.array(True))
                seen = seen.reshape(*seen.shape, *[1] * (ids.ndim - seen.ndim))  # a vector is missing as a whole
                entry[field.name] = _unpadded(encoder, np.where(seen, ids, MISSING), real)
        for latent in latents:
            if latent.structure == "spans":
                entry |= _brackets(one, latent, entry.get(latent.of), args.marginals)
            else:
                encoder = TreeLabels(latent.tree) if latent.tree else trained.encoders.get(latent.name)
                entry[latent.name] = _plain(one, latent, encoder, args.marginals)
        for field in fields:
            if field.name in entry and not field.required:
                entry[field.name] |= _label(part.dataset, one.row, field, trained.encoders[field.name])
        yield entry


def _unpadded(encoder, value, real) -> object:
    """The symbols of a value; the sentences of a document have their own lengths."""
    if value.ndim > 1:
        return [_unpadded(encoder, v, r) for v, r in zip(value, real, strict=True)]
    return encoder.show(value[real] if value.ndim else value)


def _plain(one, latent, encoder, marginals: bool) -> dict[str, object]:
    """A latent's answers; values by their names where the data have named them."""
    name, tree = latent.name, latent.tree
    named = hasattr(encoder, "symbols")
    found: dict[str, object] = {}
    if name in one.mode:
        found["mode"] = encoder.show(one.mode[name]) if named or tree else one.mode[name].tolist()
        found["probability"] = rounded(one.probability(name).tolist())
    if name in one.begins:
        found["begins"] = one.begins[name].tolist()
    if name in one.marginals and marginals:
        found |= {"values": list(encoder.symbols)} if named else {}
        found["marginals"] = rounded(one.marginals[name].tolist())
    kinds = {"mean": one.mean, "deviation": one.deviation}
    return found | {k: rounded(values[name].tolist()) for k, values in kinds.items() if name in values}


def _brackets(one, latent, words: list[str | None] | None, marginals: bool) -> dict[str, object]:
    """The best tree as text, its spans (first word, the one after the last) and the probability of each."""
    from lvspec.train.data.brackets import shown
    from lvspec.train.evaluation.parses import spans_of

    if latent.name not in one.mode:
        return {}
    spans, table = spans_of(one.mode[latent.name]), one.marginals[latent.name]
    leaves = ["_" if word is None else word for word in words or map(str, range(len(table)))]
    found: dict[str, object] = {"mode": shown(leaves, spans), "spans": spans}
    found["probability"] = rounded([float(table[i, j - 1]) for i, j in spans])
    return {latent.name: found | ({"marginals": rounded(table.tolist())} if marginals else {})}


def _label(dataset, row: int, field, encoder) -> dict[str, object]:
    """What the data say of a latent, null where they say nothing."""
    import numpy as np

    from lvspec.train.evaluation.accuracy import gold_labels

    gold, seen = gold_labels(dataset, row, field.name)
    if not seen.any():
        return {}
    shown = np.array(encoder.symbols, dtype=object)[gold] if hasattr(encoder, "symbols") else gold.astype(object)
    shown = np.array(encoder.show(gold), dtype=object) if field.tree else shown
    return {"label": np.where(seen, shown, np.array(None, dtype=object)).tolist()}


def rounded(value: object) -> object:
    """Floats with six digits behind the point; nested lists of them."""
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return round(value, 6) if isinstance(value, float) else value


def _top_words(args: argparse.Namespace, trained, part, latent) -> int:
    from lvspec.errors import UsageError
    from lvspec.train.evaluation.words import expected_counts, top_words

    layout = part.dataset.layout
    field = next((f for f in layout.fields if f.modelled and hasattr(trained.encoders[f.name], "symbols")), None)
    if field is None:
        raise UsageError("--top-words: the model explains no words")
    if latent.states is None:
        raise UsageError(f"--top-words: the values of {latent.name} are places, which have no words of their own")
    found = _inferred(args, trained, part, (latent,))
    counts = expected_counts(found, latent, part.dataset, field, trained.encoders[field.name])
    rows = top_words(counts, trained.encoders[field.name], args.top_words)
    named = trained.encoders.get(latent.name)
    name = named.symbols.__getitem__ if hasattr(named, "symbols") else int
    if args.json:
        entries = [{"value": name(k), "share": share, "words": words} for k, share, words in rows]
        terminal.show_json(entries)
        return 0
    for k, share, words in rows:
        terminal.show(f"{latent.name} = {name(k):<4} {share:6.1%}  {' '.join(words)}")
    return 0
