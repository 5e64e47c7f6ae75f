"""`lvspec infer RUN`: the posterior of each example as JSON lines, or the words of each value of a latent."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from lvspec.cli import terminal
from lvspec.cli.commands.eval import add_run_options
from lvspec.cli.options import at_least

if TYPE_CHECKING:
    import numpy as np

    from lvspec.train.data.dataset import Example
    from lvspec.train.data.layout import BatchLayout
    from lvspec.train.evaluation.posteriors import Inferred, Latent


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

    from lvspec.errors import UsageError
    from lvspec.train.data.dataset import known
    from lvspec.train.data.encoders import MISSING
    from lvspec.train.data.tree_labels import TreeLabels

    layout = part.dataset.layout
    found = _inferred(args, trained, part, (*latents, *_saying_lengths(trained, latents)))
    for one in sorted(found, key=lambda inferred: inferred.row):
        example = part.dataset.examples[one.row]
        entry: dict[str, Any] = {"record": example.index}
        cut = partial(_cut, layout, {**example.lengths, **_own_lengths(layout, example, one)})
        for field in layout.fields:
            encoder = trained.encoders[field.name]
            if field.required and hasattr(encoder, "symbols") and field.name in example.values:
                ids = np.where(known(example, field.name), example.values[field.name], MISSING)
                entry[field.name] = cut(encoder.show(ids), *field.plates)
        for latent in latents:
            if args.latent and latent.structure and latent.name not in one.mode:
                raise UsageError(f"nothing is said of {latent.name}: its scores read a latent that is summed out")
            if latent.structure == "spans":
                entry |= _brackets(one, latent, entry.get(latent.of), args.marginals)
            else:
                encoder = TreeLabels(latent.tree) if latent.tree else trained.encoders.get(latent.name)
                entry[latent.name] = _plain(one, latent, encoder, cut, args.marginals)
        for field in layout.fields:
            if field.name in entry and not field.required:
                label = _label(part.dataset, one.row, field, trained.encoders[field.name])
                entry[field.name] |= {k: cut(v, *field.plates) for k, v in label.items()}
        yield entry


def _cut(layout, lengths: dict, values, *plates: str):
    """Values along plates without their padding."""
    from lvspec.train.data.unpadded import unpadded

    return unpadded(values, layout.along(plates), lengths)


def _saying_lengths(trained, latents: tuple[Latent, ...]) -> tuple[Latent, ...]:
    """The latents that say how many sites of a plate count on which these latents stand, where these are not among them."""
    from lvspec.cli.opened import sizes_of
    from lvspec.train.evaluation.posteriors import latents_of

    plates = trained.layout.along(plate for z in latents for plate in z.plates)
    wanted = {plate.length for plate in plates} - {z.name for z in latents}
    return tuple(z for z in latents_of(trained.compiled.spec, sizes_of(trained)) if z.name in wanted)


def _own_lengths(layout: BatchLayout, example: Example, one: Inferred) -> dict[str, np.ndarray]:
    """How many sites count along each plate whose length is a variable: as many as its mode says, or the data."""
    told = {**example.values, **one.mode}
    plates = [p for p in layout.plates if p.length in told]
    return {p.name: told[p.length or ""] + int(dict(p.options).get("more", 0)) for p in plates}


def _plain(one: Inferred, latent: Latent, encoder, cut: Callable[..., Any], marginals: bool) -> dict[str, object]:
    """A latent's answers; values by their names where the data have named them. cut: takes padding out of values along plates."""
    name, sites = latent.name, latent.plates
    named = hasattr(encoder, "symbols")
    found: dict[str, object] = {}
    if name in one.mode:
        mode = encoder.show(one.mode[name]) if named or latent.tree else rounded(one.mode[name].tolist())
        found["mode"] = cut(mode, *sites)
    if name in one.mode and name in one.marginals:
        found["probability"] = cut(rounded(one.probability(name).tolist()), *sites)
    if name in one.begins:
        found["begins"] = cut(one.begins[name].tolist(), *sites)
    if name in one.marginals and marginals:
        values = (latent.sites,) if latent.sites else ()
        found |= {"values": list(encoder.symbols)} if named else {}
        found["marginals"] = cut(rounded(one.marginals[name].tolist()), *sites, *values)
    kinds = {"mean": one.mean, "deviation": one.deviation}
    return found | {kind: cut(rounded(of[name].tolist()), *sites) for kind, of in kinds.items() if name in of}


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
