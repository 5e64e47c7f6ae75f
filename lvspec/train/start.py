"""From a spec and data files to a run: read, fit vocabularies, compile at the real sizes, train."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from lvspec.emitted import CompiledSpec, EmittedModel
from lvspec.errors import TrainingError, UsageError
from lvspec.plan.memory import no_room
from lvspec.train.data.dataset import Dataset, digest, encoded, partly_labelled
from lvspec.train.data.encoders import Encoder, Symbols
from lvspec.train.data.fitting import fitted, sizes_from_data, widened
from lvspec.train.data.layout import BatchLayout, layout_of
from lvspec.train.data.sources import records_of
from lvspec.train.data.word_dropout import add_word_dropout
from lvspec.train.em.closed_forms import ClosedForms, closed_forms
from lvspec.train.files import held, make_directory
from lvspec.train.loop.alternation import Turn, turns_of
from lvspec.train.loop.harmonic import HarmonicTrees
from lvspec.train.loop.initialise import made, restart_seed
from lvspec.train.loop.loop import Event, Job, Progress, Training
from lvspec.train.run.directory import (
    Config,
    RunDirectory,
    chosen_device,
    contents_of,
    make_model,
    read_encoders,
    text_hash,
)
from lvspec.train.run.request import Request
from lvspec.train.run.resume import changes, earlier, recovered, refuse_foreign
from lvspec.train.scoring.score import score
from lvspec.train.settings import ELSEWHERE, DataSettings, TrainSettings, data_settings, plain, train_settings


@dataclass(frozen=True)
class Ready:
    """Everything in place for the loop."""

    run: RunDirectory
    compiled: CompiledSpec
    layout: BatchLayout
    encoders: dict[str, Encoder]
    config: Config
    parts: dict[str, Dataset]
    device: torch.device
    forms: ClosedForms | None = None
    turns: tuple[Turn, ...] = ()
    changed: tuple[str, ...] = ()  # what is not as it was when the run that goes on began

    def model(self, seed: int) -> EmittedModel:
        rules = dict(self.config.train.init)
        counts = {e.size: e.counts for e in self.encoders.values() if isinstance(e, Symbols)}
        make = partial(make_model, self.compiled.Model, self.config.sizes, self.config.dataset_size)
        trees = HarmonicTrees(self.compiled.spec, self.parts["train"], self.config.train)
        return made(make, seed, rules, counts, trees)


def wanted_data(
    layout: BatchLayout, section: object, changes: Mapping[str, Mapping[str, object]]
) -> dict[str, DataSettings]:
    """How each variable is read: the spec's `data:` section, then the command line."""
    known = {f.name for f in layout.fields}
    unknown = sorted(set(changes) - known)
    label = next(
        (f for f in layout.hidden if unknown and f.name == unknown[0] and f.kind in ("symbol", "binary")), None
    )
    if label is not None:
        line = ", ".join(f"{key}: {value}" for key, value in changes[label.name].items())
        raise UsageError(
            f"{label.name} is a latent: its labels are read where the model file says so, `{label.name}: {{{line}}}` under `data:`; "
            "what the command line says replaces keys of that line"
        )
    if unknown:
        raise UsageError(f"no variable {unknown[0]!r} is read from data (there are {', '.join(sorted(known))})")
    entries = {name: {**plain(entry)} for name, entry in plain(section).items()}
    for f in layout.fields:
        changed = changes.get(f.name, {})
        entries[f.name] = {**entries.get(f.name, {}), **changed}
        if len(changed.keys() & {"column", "columns"}) == 1:  # a place takes that of the other one
            entries[f.name].pop("column" if "columns" in changed else "columns", None)
    return {name: settings for name, settings in data_settings(entries).items() if name in known}


def prepare(request: Request, notify: Callable[[str], None] = lambda text: None) -> Ready:
    """Read and encode the data, compile at the sizes they have; nothing is written yet."""
    inside = {name: request.train[name] for name in sorted(ELSEWHERE & set(request.train))}  # parts of the module
    infer: dict[str, Any] = {**request.infer, **inside}
    request = replace(request, infer=infer, train={k: v for k, v in request.train.items() if k not in inside})
    run = RunDirectory(request.out)
    before = earlier(run, request)
    spec = request.compiled.spec
    layout = layout_of(spec)
    data = wanted_data(layout, spec.data, request.data)
    settings = train_settings({**plain(spec.train), **request.train})
    device = chosen_device(request.device)
    raw = {part: records_of(request.files, part, data) for part in ("train", "valid")}
    encoders = (
        read_encoders(run) if before else widened(layout, fitted(raw["train"], layout, data, notify), request.sizes)
    )
    parts = {part: encoded(records, layout, encoders, data) for part, records in raw.items()}
    for part, found in parts.items():
        if found.left_out:
            notify(f"warning: {part} part: {found.left_out}")
    parts["train"] = partly_labelled(parts["train"], [digest(r) for r in raw["train"]], data)
    sizes = {**request.sizes, **sizes_from_data(layout, encoders, request.sizes)}
    options = {"sizes": sizes, "overrides": request.infer, "allow_modules": request.allow_modules}
    compiled = request.compile_spec(request.path or spec.source.text, **options)
    config = Config(
        spec_name=spec.name,
        spec_hash=text_hash(spec.source.text),
        sizes=sizes,
        infer=dict(request.infer),
        allow_modules=request.allow_modules,
        data=data,
        train=settings,
        files=request.files,
        hashes=request.files.hashes(),
        examples={part: len(d) for part, d in parts.items()},
        dataset_size=len(parts["train"]),
        device=str(device),
    )
    changed = changes(run, before, config) if before else []
    if changed and not request.other_spec:
        raise UsageError(f"{run.root}: {changed[0]}; --allow-spec-change goes on all the same")
    if settings.method == "gradient" and device.type == "cpu" and (reason := no_room(compiled.plan.step)):
        raise TrainingError(reason)
    forms = None if settings.method == "gradient" else closed_forms(compiled.plan)
    turns = turns_of(compiled, settings)
    if request.check is not None:
        request.check(compiled.plan)
    return Ready(run, compiled, layout, encoders, config, parts, device, forms, turns, tuple(changed))


def train(
    request: Request, report: Callable[[Event], None], notify: Callable[[str], None] = lambda text: None
) -> tuple[Ready, Progress]:
    """The whole command: the run's directory and where the loop ended. Nothing of an earlier run is changed before
    it is known that this one can go on from it."""
    ready = prepare(request, notify)
    run, settings = ready.run, ready.config.train
    contents = contents_of(ready.compiled, ready.encoders, ready.config)
    if not request.replace_run:
        refuse_foreign(run, contents)
    make_directory(run.root)
    with held(run.root):
        found = recovered(run, request, notify)
        for change in ready.changed:
            notify(f"warning: {change}")
        seed = best_start(ready, notify) if settings.restarts > 1 and found is None else settings.seed
        training = _training(ready, ready.model(seed), settings, report)
        if found:
            training.resume(found)
        if not run.checkpoints.begin(contents, found):
            training.progress.best = -math.inf
        return ready, training.run()


def _training(ready: Ready, model: EmittedModel, settings: TrainSettings, report) -> Training:
    if settings.word_dropout:
        tables = {e.size for e in ready.encoders.values() if isinstance(e, Symbols) and e.unknown}
        add_word_dropout(model, settings.word_dropout, tables)
    valid = ready.parts["valid"] if len(ready.parts["valid"]) else None
    run, data = ready.run, ready.parts["train"]
    job = Job(
        model,
        data,
        valid,
        settings,
        ready.device,
        run.checkpoints,
        report,
        ready.forms,
        ready.turns,
        ready.compiled,
    )
    return Training(job)


def best_start(ready: Ready, notify: Callable[[str], None]) -> int:
    """Short runs from several seeds; the one with the best validation is trained from its beginning."""
    settings = replace(ready.config.train, steps=ready.config.train.restart_steps, schedule="constant", patience=0)
    settings = replace(settings, epochs=max(settings.epochs, settings.restart_steps))
    part = ready.parts["valid"] if len(ready.parts["valid"]) else ready.parts["train"]
    found: list[tuple[float, int]] = []
    for attempt in range(settings.restarts):
        seed = restart_seed(settings.seed, attempt)
        model = ready.model(seed)
        Training(
            Job(
                model,
                ready.parts["train"],
                None,
                settings,
                ready.device,
                forms=ready.forms,
                turns=ready.turns,
                compiled=ready.compiled,
            )
        ).run()
        value = score(model, part, settings, ready.device, ready.compiled).value
        notify(
            f"start {attempt + 1} of {settings.restarts}: {value:.3f} nats per example after {settings.restart_steps} steps"
        )
        found.append((value, seed))
    return max(found)[1]
