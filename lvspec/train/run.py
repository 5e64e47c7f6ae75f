"""A run's directory: everything that says what was trained, and what came of it.

    runs/hmm/
      spec.yaml  hmm.py  vocabulary.json  config.json  metrics.jsonl  checkpoints/

The module is always compiled again from spec.yaml; the stored .py is for reading only, nobody imports it.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy
import torch
from torch import nn

import lvspec
from lvspec.errors import UsageError
from lvspec.train import encoders as encoding
from lvspec.train.checkpoints import CheckpointStore, restore_model
from lvspec.train.encoders import Encoder
from lvspec.train.files import make_directory, read_bytes, write_whole
from lvspec.train.layout import Layout, layout_of
from lvspec.train.metrics import Metrics
from lvspec.train.settings import DataSettings, TrainSettings, data_settings, train_settings
from lvspec.train.sources import Files

FORMAT = 1  # of the directory; raised when an older lvspec could no longer read it


@dataclass(frozen=True)
class RunDirectory:
    """Where the files of a run are."""

    root: Path

    @property
    def spec(self) -> Path:
        return self.root / "spec.yaml"

    @property
    def config(self) -> Path:
        return self.root / "config.json"

    @property
    def vocabulary(self) -> Path:
        return self.root / "vocabulary.json"

    @property
    def checkpoints(self) -> CheckpointStore:
        return CheckpointStore(self.root / "checkpoints")

    @property
    def metrics(self) -> Metrics:
        return Metrics(self.root / "metrics.jsonl")

    def module(self, name: str) -> Path:
        return self.root / f"{name}.py"

    def used(self) -> bool:
        return self.config.exists() or (self.root / "checkpoints").exists()


@dataclass(frozen=True)
class Config:
    """The resolved configuration: what a run depends on, defaults filled in; no environment variables.

    sizes: all that were set, from data or by the user. infer: strategies set on the command line.
    examples: how many of each part; dropped: empty ones that were left out.
    """

    spec_name: str
    spec_hash: str
    sizes: dict[str, int]
    infer: dict[str, object]
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
        return {"format": FORMAT, "versions": {**versions, "python": platform.python_version()}, **plain}

    @staticmethod
    def from_json(entry: dict) -> Config:
        entry = dict(entry)
        found = entry.pop("format", None)
        entry.pop("versions", None)
        if found != FORMAT:
            raise UsageError(f"the run was written in format {found}, this lvspec reads {FORMAT}")
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


def write_run(run: RunDirectory, compiled, encoders: Mapping[str, Encoder], config: Config) -> None:
    """All but the checkpoints and metrics, which the loop writes."""
    make_directory(run.root)
    write_whole(run.spec, compiled.spec.source.text.encode())
    write_whole(run.module(compiled.spec.name), compiled.source.encode())
    table = {name: encoder.to_json() for name, encoder in encoders.items()}
    write_whole(run.vocabulary, (json.dumps(table, ensure_ascii=False, indent=1) + "\n").encode())
    write_whole(run.config, (json.dumps(config.to_json(), indent=2, ensure_ascii=False) + "\n").encode())


def read_config(run: RunDirectory) -> Config:
    if not run.root.is_dir():
        raise UsageError(f"{run.root}: no such run")
    return Config.from_json(_json(run.config))


def read_encoders(run: RunDirectory) -> dict[str, Encoder]:
    return {name: encoding.from_json(entry) for name, entry in _json(run.vocabulary).items()}


def _json(path: Path):
    try:
        return json.loads(read_bytes(path))
    except ValueError as error:
        raise UsageError(f"{path}: is damaged: {error}") from error


def make_model(model_class: type[nn.Module], sizes: Mapping[str, int], dataset_size: int) -> nn.Module:
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
    compiled: object
    model: nn.Module
    layout: Layout
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
    config = read_config(run)
    compiled = compile_spec(run.spec, sizes=config.sizes, overrides=config.infer, allow_modules=tuple(allow_modules))
    if text_hash(compiled.spec.source.text) != config.spec_hash:
        raise UsageError(f"{run.spec}: has been changed since the run was made")
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
        raise UsageError(f"--device {name}: {str(error).splitlines()[0]}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: no CUDA device is available here")
    return device
