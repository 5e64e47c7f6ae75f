"""A run's directory: everything that says what was trained, and what came of it.

    runs/hmm/
      run.json  spec.yaml  hmm.py  vocabulary.json  config.json  metrics.jsonl  checkpoints/

The module is always compiled again from spec.yaml; the stored .py is for reading only, nobody imports it. run.json names the
files with their hashes (train/run/manifest.py): nothing is read that is not as it was written.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy
import torch

import lvspec
from lvspec.emitted import CompiledSpec, EmittedModel
from lvspec.errors import UsageError
from lvspec.train.data import encoders as encoding
from lvspec.train.data.encoders import Encoder
from lvspec.train.data.layout import BatchLayout, layout_of
from lvspec.train.data.sources import Files
from lvspec.train.run.checkpoints import CheckpointStore, restore_model
from lvspec.train.run.manifest import MANIFEST, Folder
from lvspec.train.settings import DataSettings, TrainSettings, data_settings, train_settings

SPEC, CONFIG, VOCABULARY = "spec.yaml", "config.json", "vocabulary.json"


@dataclass(frozen=True)
class RunDirectory:
    """Where the files of a run are."""

    root: Path

    @property
    def folder(self) -> Folder:
        return Folder(self.root)

    @cached_property
    def checkpoints(self) -> CheckpointStore:
        return CheckpointStore(self.folder)

    def module(self, name: str) -> Path:
        return self.root / f"{name}.py"

    def used(self) -> bool:
        """Whether there is something to go on from, and to lose."""
        state = self.folder.manifest()
        return state is not None and bool(state.checkpoints)


@dataclass(frozen=True)
class Config:
    """The resolved configuration: what a run depends on, defaults filled in; no environment variables.

    sizes: all that were set, from data or by the user. infer: strategies set on the command line.
    examples: how many of each part; dropped: empty ones that were left out.
    """

    spec_name: str
    spec_hash: str
    sizes: dict[str, int]
    infer: dict[str, str | int | float]
    allow_modules: tuple[str, ...]
    data: dict[str, DataSettings]
    train: TrainSettings
    files: Files
    hashes: dict[str, str]
    examples: dict[str, int]
    dataset_size: int
    device: str

    def to_json(self) -> dict:
        versions = {"lvspec": lvspec.__version__, "torch": torch.__version__, "numpy": numpy.__version__}
        plain = asdict(self)
        plain["train"]["init"] = dict(self.train.init)
        return {"versions": {**versions, "python": platform.python_version()}, **plain}

    @staticmethod
    def from_json(entry: dict) -> Config:
        entry = dict(entry)
        entry.pop("versions", None)
        return Config(
            **{
                **entry,
                "allow_modules": tuple(entry["allow_modules"]),
                "data": data_settings(entry["data"]),
                "train": train_settings(entry["train"]),
                "files": Files(**entry["files"]),
            }
        )


def text_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def contents_of(compiled, encoders: Mapping[str, Encoder], config: Config) -> dict[str, bytes]:
    """The files of a run, all but its checkpoints and metrics, which the loop writes."""
    table = {name: encoder.to_json() for name, encoder in encoders.items()}
    return {
        SPEC: compiled.spec.source.text.encode(),
        f"{compiled.spec.name}.py": compiled.source.encode(),
        VOCABULARY: _json(table, indent=1),
        CONFIG: _json(config.to_json(), indent=2),
    }


def _json(value: object, indent: int) -> bytes:
    try:
        return (json.dumps(value, ensure_ascii=False, indent=indent) + "\n").encode()
    except UnicodeEncodeError:  # the name of a file that is no UTF-8
        return (json.dumps(value, indent=indent) + "\n").encode()


def read_config(run: RunDirectory) -> Config:
    try:
        return Config.from_json(json.loads(run.folder.read(CONFIG)))
    except (TypeError, KeyError) as error:
        raise UsageError(f"{run.root / CONFIG}: was written by another version of lvspec ({error})") from error


def read_encoders(run: RunDirectory) -> dict[str, Encoder]:
    table = json.loads(run.folder.read(VOCABULARY))
    return {name: encoding.from_json(entry) for name, entry in table.items()}


def make_model(model_class: type[EmittedModel], sizes: Mapping[str, int], dataset_size: int) -> EmittedModel:
    """The module at these sizes; `dataset_size` only where its constructor asks for it (global latents)."""
    accepted = inspect.signature(model_class).parameters
    arguments = {name: value for name, value in sizes.items() if name in accepted}
    if "dataset_size" in accepted:
        arguments["dataset_size"] = dataset_size
    return model_class(**arguments)


@dataclass(frozen=True)
class TrainedRun:
    """A run, opened: the model with its weights, and how its data are read."""

    run: RunDirectory
    compiled: CompiledSpec
    model: EmittedModel
    layout: BatchLayout
    encoders: dict[str, Encoder]
    config: Config
    step: int
    device: torch.device


def open_run(
    root: Path, compile_spec, which: str = "best", device: str = "cpu", allow_modules: Sequence[str] = ()
) -> TrainedRun:
    """The trained model of a run directory. compile_spec: the driver's (the trainer does not import the compiler).

    allow_modules: packages whose networks the spec may name; a directory cannot allow anything by itself.
    """
    run = RunDirectory(root)
    if run.folder.manifest() is None:
        older = ", or one of an older lvspec" if (root / CONFIG).is_file() else ""
        raise UsageError(f"{root}: no such run{older}: it has no {MANIFEST}")
    config = read_config(run)
    spec, options = run.folder.path(SPEC), {"sizes": config.sizes, "overrides": config.infer}
    compiled = compile_spec(spec, allow_modules=tuple(allow_modules), **options)
    place = chosen_device(device)
    model = make_model(compiled.Model, config.sizes, config.dataset_size).to(place)
    checkpoint = run.checkpoints.load(which)
    restore_model(model, checkpoint)
    model.eval()
    step = int(checkpoint.state["progress"]["step"])
    return TrainedRun(run, compiled, model, layout_of(compiled.spec), read_encoders(run), config, step, place)


def chosen_device(name: str) -> torch.device:
    """cpu, cuda, cuda:1; auto is cuda where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"--device {name}: there are cpu, cuda, cuda:1 (by number), mps and auto") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: no CUDA device is available here")
    return device
