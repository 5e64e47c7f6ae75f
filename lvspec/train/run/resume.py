"""Going on with a run: whether there is one, whether what is asked for now is that run, and from which checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from lvspec.errors import UsageError
from lvspec.train.files import remove
from lvspec.train.run.checkpoints import Checkpoint
from lvspec.train.run.directory import Config, RunDirectory, read_config
from lvspec.train.run.manifest import CHECKPOINTS, MANIFEST, METRICS
from lvspec.train.run.request import Request

LENGTH = {"train.epochs", "train.steps", "train.patience"}  # settings that say how long a run goes on


def earlier(run: RunDirectory, request: Request) -> Config | None:
    """The configuration of the run that is to be gone on with; None: it begins, as one that was ended before its files were
    whole does."""
    if request.resume:
        if not run.root.is_dir():
            raise UsageError(f"{run.root}: no run to resume")
        return None if run.folder.manifest() is None else read_config(run)
    if not request.replace_run and run.used():
        raise UsageError(f"{run.root}: holds a run already; --resume it, give another --out, or --overwrite")
    return None


def refuse_foreign(run: RunDirectory, names: Iterable[str]) -> None:
    """A folder that is no run keeps what it has."""
    if run.root.is_dir() and run.folder.manifest() is None:
        for name in (*names, METRICS, CHECKPOINTS):
            if (run.root / name).exists():
                raise UsageError(f"{run.root / name} exists, and the folder is no run; another --out, or --overwrite")


def recovered(run: RunDirectory, request: Request, notify: Callable[[str], None]) -> Checkpoint | None:
    """The checkpoint to go on from; None: the run begins. What a kill has left is put in order."""
    if not request.resume:
        if request.replace_run and (run.root / MANIFEST).is_file() and _damaged(run):
            remove(run.root / MANIFEST)
        return None
    if run.folder.manifest() is None:
        return None
    run.folder.settle()
    for fault in run.folder.faults():
        notify(f"warning: {fault}")
    return run.checkpoints.newest()


def _damaged(run: RunDirectory) -> bool:
    try:
        run.folder.manifest()
    except UsageError:
        return True
    return False


def changes(run: RunDirectory, before: Config, now: Config) -> list[str]:
    """What is not as it was when the run began, in words. Sizes and data may never change."""
    if before.sizes != now.sizes:
        raise UsageError(f"{run.root}: the run has sizes {before.sizes}, now they are {now.sizes}")
    for part, what in (("train", "training"), ("valid", "validation")):
        if before.hashes.get(part) != now.hashes.get(part) or before.files.split_dev != now.files.split_dev:
            raise UsageError(f"{run.root}: the {what} data are not those of the run")
    found = [] if before.spec_hash == now.spec_hash else ["the spec has changed since this run began"]
    old, new = _settings(before), _settings(now)
    for name in sorted(old.keys() | new.keys()):
        was, is_now = old.get(name), new.get(name)
        if name not in LENGTH and was != is_now:
            found.append(f"{name} was {was} when this run began, now it is {is_now}: --set {name}={was} leaves it")
    return found


def _settings(config: Config) -> dict[str, object]:
    """`train.learning_rate`, `data.x.lower`, `infer.z` and the like, with their values as JSON has them."""
    plain = json.loads(json.dumps(config.to_json()))
    data = {f"{name}.{key}": value for name, entries in plain["data"].items() for key, value in entries.items()}
    sections = {"data": data, "infer": plain["infer"], "train": plain["train"]}
    return {f"{section}.{name}": value for section, entries in sections.items() for name, value in entries.items()}
