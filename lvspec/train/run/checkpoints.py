"""Checkpoints: one safetensors file each, tensors and (as its metadata) the loop's numbers as JSON.

    checkpoints/step-00000120.safetensors   the last two, and that of the best validation

The run's manifest names them, with their hashes: saving one is a commit (train/run/manifest.py).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from lvspec.emitted import EmittedModel
from lvspec.errors import UsageError
from lvspec.train.files import read_bytes
from lvspec.train.run.manifest import CHECKPOINTS, METRICS, Folder, Manifest, sha256
from lvspec.train.run.metrics import Metrics

KEPT = 2


@dataclass(frozen=True)
class Checkpoint:
    """tensors: model/<name>, optimizer/<parameter>/<moment>, random/<generator>. state: the loop's numbers."""

    tensors: dict[str, torch.Tensor]
    state: dict[str, Any]
    path: Path | None = None


class CheckpointStore:
    """The checkpoints and metrics of one run."""

    def __init__(self, folder: Folder):
        self.folder = folder
        self.metrics = Metrics(folder.root / METRICS)

    def save(self, step: int, checkpoint: Checkpoint, best: bool = False) -> Path:
        """The checkpoint of a step (and of the best one) from now on, all but the last two and the best one gone."""
        name = f"{CHECKPOINTS}/step-{step:08d}.safetensors"
        state = {**checkpoint.state, "metrics": self.metrics.size}
        content = save(checkpoint.tensors, metadata={"state": json.dumps(state)})
        before = self._manifest()
        files = {**before.files, name: sha256(content)}
        manifest = replace(before, files=files, best=name if best else before.best, metrics=self.metrics.mark())
        gone = set(manifest.checkpoints[:-KEPT]) - {manifest.best}
        kept = {n: digest for n, digest in files.items() if n not in gone}
        self.folder.commit(replace(manifest, files=kept), {name: content})
        return self.folder.root / name

    def close(self) -> None:
        """The metrics since the last checkpoint are those of the run as well."""
        self.folder.commit(replace(self._manifest(), metrics=self.metrics.mark()), {})

    def steps(self) -> list[Path]:
        return [self.folder.root / name for name in self._manifest().checkpoints]

    def load(self, which: str = "last") -> Checkpoint:
        """`last`, `best` (the last where no validation was), or the name of a file here."""
        manifest = self._manifest()
        last = next(reversed(manifest.checkpoints), None)
        named = f"{CHECKPOINTS}/{which.removesuffix('.safetensors')}.safetensors"
        name = {"last": last, "best": manifest.best or last}.get(which, named)
        if name is None:
            raise UsageError(f"{self.folder.root}: no checkpoint yet; `lvspec train ... --resume` goes on")
        if name not in manifest.files:
            raise UsageError(f"{self.folder.root}: no checkpoint {which!r}")
        try:
            return read(self.folder.path(name))
        except UsageError as error:
            others = [n for n in reversed(manifest.checkpoints) if n != name and self._whole(n)]
            advice = f"; a good one is there: --checkpoint {Path(others[0]).stem}" if others else ""
            raise UsageError(f"{error}{advice}") from error

    def newest(self) -> Checkpoint | None:
        """The last checkpoint that is whole; None: none was saved yet."""
        names = self._manifest().checkpoints
        whole = next((name for name in reversed(names) if self._whole(name)), None)
        if names and whole is None:
            raise UsageError(f"{self.folder.root}: no checkpoint is whole; --overwrite begins anew")
        return read(self.folder.root / whole) if whole else None

    def begin(self, contents: dict[str, bytes], resumed: Checkpoint | None) -> bool:
        """The state from which a run goes on: these files, the checkpoints up to the resumed one, the metrics up to it. None:
        from the beginning. Whether there is a best checkpoint."""
        before = self._manifest() if resumed else Manifest()
        size, path = int(resumed.state["metrics"]) if resumed else 0, self.metrics.path
        content = read_bytes(path)[:size] if size and path.is_file() else b""
        self.metrics = Metrics(path, content)
        last = f"{CHECKPOINTS}/{resumed.path.name}" if resumed and resumed.path else ""
        kept = [name for name in before.checkpoints if name <= last and self._whole(name)]
        files = {name: sha256(text) for name, text in contents.items()} | {n: before.files[n] for n in kept}
        best = before.best if before.best in kept else None
        self.folder.commit(Manifest(files, best, self.metrics.mark()), contents)
        return best is not None

    def _manifest(self) -> Manifest:
        return self.folder.manifest() or Manifest()

    def _whole(self, name: str) -> bool:
        try:
            self.folder.path(name)
        except UsageError:
            return False
        return True


def read(path: Path) -> Checkpoint:
    content = read_bytes(path)
    try:
        tensors = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return Checkpoint(tensors, json.loads(header["__metadata__"]["state"]), path)
    except (SafetensorError, ValueError, KeyError) as error:
        raise UsageError(f"{path}: not a whole checkpoint ({error})") from error


def gather(model: EmittedModel, optimizer: torch.optim.Optimizer | None, state: dict[str, Any]) -> Checkpoint:
    """Everything that the next step depends on: weights and buffers, moments, random generators."""
    tensors = {f"model/{name}": _own(value) for name, value in model.state_dict().items()}
    names: dict[torch.Tensor, str] = {p: n for n, p in model.named_parameters()}
    for parameter, moments in (optimizer.state if optimizer else {}).items():
        for key, value in moments.items():
            tensors[f"optimizer/{names[parameter]}/{key}"] = _own(torch.as_tensor(value))
    tensors["random/cpu"] = torch.get_rng_state()
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        tensors["random/cuda"] = torch.cuda.get_rng_state()
    return Checkpoint(tensors, state)


def _own(value: torch.Tensor) -> torch.Tensor:
    """A copy on the CPU with memory of its own: tied parameters would be refused otherwise."""
    return value.detach().cpu().clone().contiguous()


def restore_model(model: EmittedModel, checkpoint: Checkpoint) -> None:
    """Names and shapes are compared before anything is copied."""
    found = {n.removeprefix("model/"): t for n, t in checkpoint.tensors.items() if n.startswith("model/")}
    expected = model.state_dict()
    different = sorted(set(found) ^ set(expected))
    if different:
        raise UsageError(f"{checkpoint.path}: is of another model (only one of them has {different[0]!r})")
    for name, value in expected.items():
        if found[name].shape != value.shape:
            raise UsageError(
                f"{checkpoint.path}: {name} is {tuple(found[name].shape)}, the model's {tuple(value.shape)}"
            )
        if found[name].dtype != value.dtype:
            raise UsageError(f"{checkpoint.path}: {name} is {found[name].dtype}, the model's {value.dtype}")
    model.load_state_dict(found)


def restore_training(model: EmittedModel, optimizer: torch.optim.Optimizer, checkpoint: Checkpoint) -> None:
    """Weights, moments and random generators: the next step is the one that would have come."""
    restore_model(model, checkpoint)
    for name, parameter in model.named_parameters():
        prefix = f"optimizer/{name}/"
        moments = {n.removeprefix(prefix): t for n, t in checkpoint.tensors.items() if n.startswith(prefix)}
        if moments:
            place = parameter.device
            optimizer.state[parameter] = {
                k: v.clone() if k == "step" else v.to(place, copy=True) for k, v in moments.items()
            }
    torch.set_rng_state(checkpoint.tensors["random/cpu"])
    if "random/cuda" in checkpoint.tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(checkpoint.tensors["random/cuda"])
