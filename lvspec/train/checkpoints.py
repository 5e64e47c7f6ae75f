"""Checkpoints: one safetensors file each, tensors and (as its metadata) the loop's numbers as JSON.

    checkpoints/step-00000120.safetensors   the last two
    checkpoints/best.safetensors            the best validation

One file, written whole, cannot disagree with itself: what a kill leaves behind is the previous checkpoint.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from lvspec.errors import UsageError
from lvspec.train.files import make_directory, read_bytes, write_whole

KEPT = 2
BEST = "best.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """tensors: model/<name>, optimizer/<parameter>/<moment>, random/<generator>. state: the loop's numbers."""

    tensors: dict[str, torch.Tensor]
    state: dict[str, object]
    path: Path | None = None


class CheckpointStore:
    """The checkpoints of one run."""

    def __init__(self, directory: Path):
        self.directory = directory

    def save(self, step: int, checkpoint: Checkpoint, best: bool = False) -> Path:
        """Write the checkpoint of a step (and as the best one), then let go of all but the last two."""
        make_directory(self.directory)
        content = save(checkpoint.tensors, metadata={"state": json.dumps(checkpoint.state, sort_keys=True)})
        path = self.directory / f"step-{step:08d}.safetensors"
        write_whole(path, content)
        if best:
            write_whole(self.directory / BEST, content)
        for old in self.steps()[:-KEPT]:
            old.unlink(missing_ok=True)
        return path

    def steps(self) -> list[Path]:
        return sorted(self.directory.glob("step-*.safetensors"))

    def load(self, which: str = "last") -> Checkpoint:
        """`last`, `best` (the last where no validation was), or the name of a file here."""
        steps = self.steps()
        names = {"last": steps[-1] if steps else None, "best": self.directory / BEST}
        path = names.get(which, self.directory / f"{which.removesuffix('.safetensors')}.safetensors")
        if which == "best" and not path.is_file():
            path = names["last"]
        if path is None or not path.is_file():
            raise UsageError(f"{self.directory}: no checkpoint {which!r}")
        try:
            return read(path)
        except UsageError as error:
            good = [
                p.name for p in [*reversed(steps), self.directory / BEST] if p != path and p.is_file() and _readable(p)
            ]
            advice = f"; a good one is there: --checkpoint {good[0].removesuffix('.safetensors')}" if good else ""
            raise UsageError(f"{error}{advice}") from error


def read(path: Path) -> Checkpoint:
    content = read_bytes(path)
    try:
        tensors = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return Checkpoint(tensors, json.loads(header["__metadata__"]["state"]), path)
    except (SafetensorError, ValueError, KeyError) as error:
        raise UsageError(f"{path}: not a whole checkpoint ({error})") from error


def _readable(path: Path) -> bool:
    try:
        read(path)
    except UsageError:
        return False
    return True


def gather(model: nn.Module, optimizer: torch.optim.Optimizer | None, state: dict[str, object]) -> Checkpoint:
    """Everything that the next step depends on: weights and buffers, moments, random generators."""
    tensors = {f"model/{name}": _own(value) for name, value in model.state_dict().items()}
    names = {p: n for n, p in model.named_parameters()}
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


def restore_model(model: nn.Module, checkpoint: Checkpoint) -> None:
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


def restore_training(model: nn.Module, optimizer: torch.optim.Optimizer, checkpoint: Checkpoint) -> None:
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
