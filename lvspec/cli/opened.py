"""A run and the data to look at, as the options of eval, infer and sample name them."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from lvspec.cli import terminal
from lvspec.errors import UsageError
from lvspec.train.data.dataset import Dataset, encoded, halves, place_of
from lvspec.train.data.readers import read
from lvspec.train.data.sources import Files, unchanged_records
from lvspec.train.evaluation.draws import Conditions, conditions, needs_data
from lvspec.train.evaluation.given import Told, told
from lvspec.train.evaluation.gold import GOLD, GoldLabels, gold_settings
from lvspec.train.evaluation.posteriors import Latent, latents_of
from lvspec.train.run.directory import TrainedRun, open_run
from lvspec.train.settings import DataSettings


@dataclass(frozen=True)
class DataPart:
    """Encoded data, the raw records they were made of, and where they came from."""

    name: str
    dataset: Dataset
    records: list
    trained: TrainedRun
    args: argparse.Namespace

    def gold(self, column: str) -> list[GoldLabels]:
        """The labels of every record, read from the same file in the same order."""
        wanted = _wanted(self.trained)
        first = next(iter(wanted.values()))
        records, _ = _records(self.args, self.trained, {**wanted, GOLD: gold_settings(column, first)})
        found = [GoldLabels(r[GOLD], place_of(r, i)) for i, r in enumerate(records)]
        if all(gold.labels is None for gold in found):
            raise UsageError(f"{self.name}: no label under {column!r}")
        return found


def opened(args: argparse.Namespace) -> tuple[TrainedRun, DataPart]:
    from lvspec.driver import compile_spec

    trained = open_run(Path(args.run), compile_spec, args.checkpoint, args.device, args.allow_module)
    tell_faults(trained)
    records, name = _records(args, trained, _wanted(trained))
    if not records:
        raise UsageError(f"{name}: no example there")
    unknown: Counter = Counter()
    dataset = encoded(records, trained.layout, trained.encoders, trained.config.data, unknown)
    for (field, label), times in sorted(unknown.items()):
        terminal.say(
            f"warning: {name}: {field} is {label!r} {'once' if times == 1 else f'{times} times'}, which no training data have: taken as missing"
        )
    if dataset.left_out:
        terminal.say(f"warning: {name}: {dataset.left_out}")
    return trained, DataPart(name, dataset, records, trained, args)


def tell_faults(trained: TrainedRun) -> None:
    """What of the run is not as it was written, though nothing that is read."""
    for fault in trained.run.folder.faults():
        terminal.say(f"warning: {fault}")


def _wanted(trained: TrainedRun) -> dict[str, DataSettings]:
    return dict(trained.config.data)


def _records(args: argparse.Namespace, trained: TrainedRun, wanted: dict[str, DataSettings]) -> tuple[list, str]:
    """The records, and what to call them."""
    if args.split_dev and not args.data:
        raise UsageError("--split-dev: half of a file, which --data names")
    if args.data:
        if args.part:
            raise UsageError("--part is about the run's own data; leave out --data")
        records = list(read(Path(args.data), wanted, "test"))
        kept = halves(records)[1] if args.split_dev else records
        return kept, f"odd half of {args.data}" if args.split_dev else args.data
    files: Files = trained.config.files
    for part in (args.part,) if args.part else ("test", "valid"):
        own = unchanged_records(files, part, wanted, trained.config.hashes)
        if own:
            return own, f"{part} part of the run's data"
    raise UsageError(f"{args.run}: the run has no {args.part or 'test'} part; say --data FILE")


def discrete_latent(trained: TrainedRun, name: str | None) -> Latent:
    """The latent that was asked for, or the first discrete one."""
    discrete = [z for z in latents_of(trained.compiled.spec, sizes_of(trained)) if z.discrete]
    found = next((z for z in discrete if name in (None, z.name)), None)
    if found is None:
        if not discrete:
            raise UsageError("the model has no discrete latent")
        raise UsageError(f"no discrete latent {name!r} (there are: {', '.join(z.name for z in discrete)})")
    return found


def compared(trained: TrainedRun, name: str | None, column: str) -> Latent:
    """What the gold labels of a column say something of: a hidden structure where they are trees or heads, else the
    first discrete latent, or whatever there is by that name."""
    latents = latents_of(trained.compiled.spec, sizes_of(trained))
    found = [z for z in latents if name in (None, z.name) and (z.structure or z.discrete)]
    fits = {"tree": ("spans", "ends"), "head": ("heads",)}.get(column, ())
    return (
        next((z for z in found if z.structure in fits or z.tree in fits), found[0])
        if found
        else discrete_latent(trained, name)
    )


def sizes_of(trained: TrainedRun) -> dict[str, int]:
    return {**trained.compiled.spec.nominal(), **trained.config.sizes}


def conditions_of(args: argparse.Namespace, trained: TrainedRun, n: int, length: int | None) -> Told:
    """What strings or draws start from, and how many there are: what --given says, and where it leaves something open, --length, the
    end symbol, or random examples of the training data."""
    config, layout = trained.config, trained.layout
    said = told(args.given, n, layout, trained.encoders, config.data)
    if said.left_out:
        terminal.say(f"warning: {said.left_out}")
    known, dataset = tuple(said.conditions.given), None
    if needs_data(layout, length, known):
        records = unchanged_records(config.files, "train", config.data, config.hashes)
        dataset = encoded(records, layout, trained.encoders, config.data)
    found = conditions(layout, dataset, said.n, length, args.seed, known)
    given, lengths = {**found.given, **said.conditions.given}, {**found.lengths, **said.conditions.lengths}
    return replace(said, conditions=Conditions(given, lengths))
