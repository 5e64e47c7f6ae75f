"""What a kill, a damaged file or a read-only directory do to checkpoints."""

import multiprocessing
import os
import random
import time
from pathlib import Path

import pytest
import torch

from lvspec.errors import UsageError
from lvspec.train.run.checkpoints import Checkpoint, CheckpointStore, gather, read, restore_model
from lvspec.train.run.manifest import Folder


def store_in(folder: Path) -> CheckpointStore:
    return CheckpointStore(Folder(folder))


def save_for_ever(folder: Path) -> None:
    """What the killed process does."""
    torch.set_num_threads(1)
    store = store_in(folder)
    for step in range(1, 100_000):
        weights = {"model/w": torch.full((300_000,), float(step))}
        store.save(step, Checkpoint(weights, {"progress": {"step": step}}), best=True)


def saved(folder, *steps):
    store = store_in(folder)
    for step in steps:
        store.save(
            step, Checkpoint({"model/w": torch.full((3,), float(step))}, {"progress": {"step": step}}), best=step == 2
        )
    return store


def test_the_last_two_and_the_best_are_kept(tmp_path):
    store = saved(tmp_path, 1, 2, 3, 4)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == [
        "step-00000002.safetensors",
        "step-00000003.safetensors",
        "step-00000004.safetensors",
    ]
    assert store.load("last").state["progress"]["step"] == 4
    assert store.load("best").tensors["model/w"].tolist() == [2.0] * 3
    assert store.load("step-00000003").state["progress"]["step"] == 3


@pytest.mark.parametrize("damage", ["truncated", "flipped header", "flipped weight", "empty"])
def test_damaged_checkpoint_is_named_with_a_good_one(tmp_path, damage):
    store = saved(tmp_path, 1, 2, 3)
    last = store.steps()[-1]
    content = last.read_bytes()
    at = {"flipped header": 20, "flipped weight": len(content) - 2}.get(damage, 0)
    flipped = content[:at] + bytes([content[at] ^ 0x01]) + content[at + 1 :]
    last.write_bytes({"truncated": content[:-5], "empty": b""}.get(damage, flipped))
    with pytest.raises(UsageError, match=r"step-00000003.*changed or damaged.*--checkpoint step-00000002"):
        store.load("last")


@pytest.mark.skipif(os.name != "posix", reason="kills a forked process")
def test_kill_while_saving_leaves_a_whole_checkpoint(tmp_path):
    """Twenty-five kills at random moments of a process that does nothing but save."""
    moments = random.Random(0)
    for attempt in range(25):
        folder = tmp_path / str(attempt)
        process = multiprocessing.get_context("fork").Process(target=save_for_ever, args=(folder,))
        process.start()
        while not (folder / "checkpoints/step-00000002.safetensors").exists():
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.02))
        process.kill()
        process.join()
        for which in ("last", "best"):
            found = store_in(folder).load(which)
            assert (found.tensors["model/w"] == found.state["progress"]["step"]).all()


def test_directory_that_cannot_be_written_is_a_usage_error(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(UsageError, match="cannot be made"):
        saved(blocked / "checkpoints", 1)
    saved(tmp_path / "c", 1)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match="No space left"):
        saved(tmp_path / "c", 2)
    assert [p.name for p in (tmp_path / "c/checkpoints").iterdir()] == ["step-00000001.safetensors"]


def test_tied_and_transposed_parameters_come_back(tmp_path):
    model = torch.nn.Linear(3, 3)
    model.other = torch.nn.Linear(3, 3)
    model.other.weight = model.weight
    model.register_buffer("view", torch.arange(6.0).reshape(2, 3).T)
    store = store_in(tmp_path)
    store.save(1, gather(model, None, {"progress": {"step": 1}}))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with torch.no_grad():
        model.weight.zero_()
    restore_model(model, store.load())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_checkpoint_of_another_model_is_refused_before_anything_is_copied(tmp_path):
    store = store_in(tmp_path)
    path = store.save(1, gather(torch.nn.Linear(3, 2), None, {}))
    other = torch.nn.Linear(4, 2)
    before = other.weight.clone()
    with pytest.raises(UsageError, match=r"weight is \(2, 3\), the model's \(2, 4\)"):
        restore_model(other, read(path))
    with pytest.raises(UsageError, match="of another model"):
        restore_model(torch.nn.Linear(3, 2, bias=False), read(path))
    assert torch.equal(other.weight, before)
