"""Whatever ends a run, at whichever operation on a file, it goes on and becomes the run that nothing has ended."""

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
import torch

from lvspec.driver import compile_spec
from lvspec.errors import UsageError
from lvspec.shipped import shipped
from lvspec.train import files
from lvspec.train.data.sources import Files
from lvspec.train.run.directory import RunDirectory, open_run, read_config
from lvspec.train.run.manifest import Folder
from lvspec.train.run.request import Request
from lvspec.train.start import train
from tests.train.toy import HMM, BagVAE, Compiler, token_spec

INTERVAL = 3  # steps between two checkpoints
SETTINGS = {"batch_size": 16, "learning_rate": 0.02, "epochs": 50, "steps": 11, "validate_every": INTERVAL}
CHANGING = ("open", "write", "fsync", "close", "replace", "unlink", "truncate", "mkdir")


class Killed(BaseException):
    """What no handler of the run may take for an error of its own."""


class Disk:
    """`os` for lvspec/train/files.py. The n-th operation is not performed (a write only half); where the process ends with it,
    nor is any after it.

    ends: in Killed, in the signal that nobody can catch, or not at all: in the error of a full disk.
    """

    def __init__(self, n: int = sys.maxsize, ends=Killed):
        self.n, self.ends, self.done, self.held = n, ends, [], set()

    def __getattr__(self, name):
        return partial(self._counted, name) if name in CHANGING else getattr(os, name)

    def _counted(self, name, *arguments, **options):
        if len(self.done) == self.n and name == "write":
            os.write(arguments[0], arguments[1][: len(arguments[1]) // 2])
        if len(self.done) == self.n or len(self.done) > self.n and self.ends != "full":
            self._end(name)
        self.done.append(name)
        found = getattr(os, name)(*arguments, **options)
        if name == "open":
            self.held.add(found)
        if name == "close":
            self.held.discard(arguments[0])
        return found

    def _end(self, name):
        self.done.append(name)
        if self.ends is signal.SIGKILL:
            os.kill(os.getpid(), signal.SIGKILL)
        raise Killed if self.ends is Killed else OSError(28, "No space left on device")

    def release(self):
        """What the system does of a process that has ended."""
        for handle in self.held:
            os.close(handle)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "train.txt"
    path.write_text("".join(" ".join(f"w{(i * j) % 7}" for j in range(1, 2 + i % 5)) + "\n" for i in range(1, 80)))
    return path


def request(text, out, **changes) -> Request:
    compiler = Compiler(token_spec(), BagVAE)
    settings = {**SETTINGS, **changes.pop("train", {})}
    return Request(compiler("x"), compiler, Files(str(text)), out, train=settings, **changes)


class Steps:
    """The steps that a run takes, as it reports them."""

    def __init__(self):
        self.taken = []

    def __call__(self, event):
        if event.kind == "step":
            self.taken.append(event.progress.step)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def whole(text, tmp_path_factory):
    """The run that nothing ends: its files, and how many operations it takes."""
    disk, folder = Disk(), tmp_path_factory.mktemp("runs") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "os", disk)
        train(request(text, folder), Steps())
    return contents(folder), disk.done


def committed_best_is_the_best(folder: Path) -> None:
    """Of the validations that the last checkpoint knows of, the best one's checkpoint is the best."""
    if not RunDirectory(folder).used():
        return
    compiler, store = Compiler(token_spec(), BagVAE), RunDirectory(folder).checkpoints
    last = store.load("last").state["progress"]
    assert store.load("best").state["progress"]["step"] == last["best_step"]
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines() if line.endswith("}")]
    scores = {row["step"]: row["valid"] for row in rows if "valid" in row and row["step"] <= last["step"]}
    assert max(scores, key=scores.get) == last["best_step"] == open_run(folder, compiler).step


def goes_on(text, folder: Path, before: Steps | None, expected: dict[str, bytes]) -> None:
    """A run that was ended goes on, has lost no more than an interval, and is the whole one bit for bit. before: the steps that
    it had taken, where they are known."""
    committed_best_is_the_best(folder)
    after = Steps()
    train(request(text, folder, resume=folder.is_dir()), after)
    if before:
        lost = max(before.taken, default=0) - min(after.taken, default=SETTINGS["steps"] + 1) + 1
        assert lost <= INTERVAL
    assert contents(folder) == expected


def ended(text, folder: Path, n: int, ends, monkeypatch, **changes) -> Steps:
    """The steps of a run that ends at its n-th operation."""
    steps, disk = Steps(), Disk(n, ends)
    with monkeypatch.context() as patch:
        patch.setattr(files, "os", disk)
        with pytest.raises(UsageError if ends == "full" else Killed):
            train(request(text, folder, **changes), steps)
    disk.release()
    return steps


def killed(text, folder: Path, n: int) -> None:
    """The same in a process of its own, by the signal."""
    if (child := os.fork()) == 0:
        torch.set_num_threads(1)
        files.os = Disk(n, signal.SIGKILL)
        train(request(text, folder), Steps())
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def killed_after(text, folder: Path, seconds: float) -> None:
    """A run that begins or goes on, for so long."""
    if (child := os.fork()) == 0:
        torch.set_num_threads(1)
        train(request(text, folder, resume=folder.is_dir()), Steps())
        os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def fails(operations: list[str], n: int, ends) -> bool:
    """A full disk is met at everything but closing a file."""
    return ends != "full" or operations[n] != "close"


def every_end(text, whole, folder: Path, moments, ends, monkeypatch) -> None:
    expected, operations = whole
    for n in moments:
        if fails(operations, n, ends):
            before = ended(text, folder / str(n), n, ends, monkeypatch)
            goes_on(text, folder / str(n), before, expected)


@pytest.mark.parametrize("ends", [Killed, "full"])
def test_run_that_ends_at_an_operation_goes_on_bit_for_bit(text, whole, tmp_path, monkeypatch, ends):
    every_end(text, whole, tmp_path, range(4, len(whole[1]), 37), ends, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("ends", [Killed, "full"])
def test_run_that_ends_at_any_operation_goes_on_bit_for_bit(text, whole, tmp_path, monkeypatch, ends):
    every_end(text, whole, tmp_path, range(len(whole[1])), ends, monkeypatch)


def every_kill(text, whole, folder: Path, moments) -> None:
    for n in moments:
        killed(text, folder / str(n), n)
        goes_on(text, folder / str(n), None, whole[0])


def test_killed_process_goes_on_bit_for_bit(text, whole, tmp_path):
    every_kill(text, whole, tmp_path, range(9, len(whole[1]), 61))


@pytest.mark.slow
def test_process_killed_at_any_operation_goes_on_bit_for_bit(text, whole, tmp_path):
    every_kill(text, whole, tmp_path, range(len(whole[1])))


def at_random(text, whole, folder: Path, kills: int) -> None:
    """Kills at random moments of the time that the run takes, three in a row of each run."""
    moments, begin = random.Random(0), time.perf_counter()
    train(request(text, folder / "timed"), Steps())
    longest = time.perf_counter() - begin
    for kill in range(kills):
        killed_after(text, folder / str(kill // 3), moments.uniform(0, longest))
        if kill % 3 == 2 or kill == kills - 1:
            goes_on(text, folder / str(kill // 3), None, whole[0])


def test_process_killed_at_some_moments_goes_on_bit_for_bit(text, whole, tmp_path):
    at_random(text, whole, tmp_path, 3)


@pytest.mark.slow
def test_process_killed_at_two_hundred_moments_goes_on_bit_for_bit(text, whole, tmp_path):
    at_random(text, whole, tmp_path, 200)


TOPICS = {"data": {"x": {"format": "text", "min_count": 1}}, "sizes": {"K": 3}}
STORY = {"data": {"x": {"format": "text", "min_count": 1}}, "sizes": {"E": 8, "H": 8, "D": 3}}
MODELS = {  # schedules, turns, baselines, shared factors, EM, restarts, dropped words: all that the next step may depend on
    "a schedule and turns": ("sentence_vae", STORY, {"inference": "alternating", "inference_steps": 3}),
    "dropped words": ("sentence_vae", STORY, {"word_dropout": 0.3, "schedule": "cosine", "warmup": 3, "clip": 1.0}),
    "shared factors": ("lda", TOPICS, {}),
    "starts": ("hmm", TOPICS, {"restarts": 2, "restart_steps": 2, "optimizer": "adamw", "weight_decay": 0.1}),
    "em": ("hmm", TOPICS, {"method": "em", "epochs": 7}),
    "a learned baseline": ("latent_tagger", None, {"schedule": "plateau"}),
}
LATENT_TAGGER = """lvspec: 1
name: latent_tagger
sizes: {V: vocabulary(x), K: 3, E: 4}
plates: {t: sequence}
params: {start: [K], emission: [K, V]}
networks: {words: "Embedding(V, E)", score: "Linear(E, K)"}
latent:
  z[t]: Categorical(logits=start)
observed:
  x[t]: Categorical(logits=emission[z[t]])
guide:
  z[t]: Categorical(logits=score(words(x[t])))
infer:
  z: reinforce(samples=1, baseline=learned)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_compiled_model_goes_on_bit_for_bit(text, tmp_path, monkeypatch, name):
    model, settings, changes = MODELS[name]
    spec = LATENT_TAGGER if settings is None else (shipped("specs") / f"{model}.yaml").read_text()
    settings = settings or TOPICS | {"sizes": {}}
    compiled = compile_spec(spec, sizes=settings["sizes"])

    def wanted(folder, **others):
        given = {**SETTINGS, "patience": 0, **changes}
        return Request(compiled, compile_spec, Files(str(text)), folder, train=given, **settings, **others)

    disk = Disk()
    with monkeypatch.context() as patch:
        patch.setattr(files, "os", disk)
        train(wanted(tmp_path / "whole"), Steps())
    for n in range(9, len(disk.done), 30):
        killing = Disk(n)
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(files, "os", killing)
            train(wanted(tmp_path / str(n)), Steps())
        killing.release()
        train(wanted(tmp_path / str(n), resume=True), Steps())
        assert contents(tmp_path / str(n)) == contents(tmp_path / "whole")


def test_run_writes_through_the_operations_that_are_counted_alone(text, tmp_path, monkeypatch):
    """What the interpreter reports of files that are opened to be written, renamed or removed is what `Disk` has seen."""
    disk, seen, watching = Disk(), [], [True]
    names = {"os.rename": "replace", "os.remove": "unlink", "os.mkdir": "mkdir", "os.truncate": "truncate"}

    def watch(event, arguments):
        if watching and str(tmp_path) in str(arguments[0] if arguments else ""):
            if event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR):
                seen.append("open")
            elif event in names:
                seen.append(names[event])

    sys.addaudithook(watch)
    monkeypatch.setattr(files, "os", disk)
    train(request(text, tmp_path / "run"), Steps())
    watching.clear()
    counted = Counter(seen)
    assert counted.keys() == {"open", "replace", "unlink", "mkdir"}
    assert all(disk.done.count(name) == counted[name] for name in counted if name != "open")
    assert counted["open"] == disk.done.count("write")  # each file that is written is written in one go


@pytest.mark.parametrize("kind", ["overwrite", "spec"])
def test_another_run_in_the_folder_is_there_at_once_or_not_at_all(text, whole, tmp_path, monkeypatch, kind):
    """Beginning anew, or going on with another spec: what the folder holds at any moment is one of the two runs."""
    changes = {"replace_run": True, "train": {"seed": 1}}
    if kind == "spec":
        changes = {"resume": True, "other_spec": True, "train": {"steps": SETTINGS["steps"] + 2, "seed": 1}}
    states = set()
    for n in range(0, 40, 1 if kind == "spec" else 2):
        folder = tmp_path / str(n)
        for name, content in whole[0].items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        ended(text, folder, n, Killed, monkeypatch, **changes)
        seed = read_config(RunDirectory(folder)).train.seed
        states.add((seed, RunDirectory(folder).used()))
        RunDirectory(folder).folder.settle()
        assert RunDirectory(folder).folder.faults() == []
    assert states >= {(0, True), (1, kind == "spec")}


def bits_that_nobody_tells_of(folder: Path, every: int, first: int = 0) -> list[tuple[str, int]]:
    found = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        content = path.read_bytes()
        for bit in range(first, 8 * len(content), every):
            damaged = bytearray(content)
            damaged[bit // 8] ^= 1 << bit % 8
            path.write_bytes(damaged)
            try:
                if not Folder(folder).faults():
                    found.append((path.name, bit))
            except UsageError:
                pass
        path.write_bytes(content)
    return found


def test_a_flipped_bit_is_told(text, tmp_path):
    train(request(text, tmp_path / "run"), Steps())
    assert Folder(tmp_path / "run").faults() == []
    assert bits_that_nobody_tells_of(tmp_path / "run", every=997) == []


@pytest.mark.slow
@pytest.mark.parametrize("bit", range(8))
def test_any_flipped_bit_is_told(text, tmp_path, bit):
    """Bit so and so of every byte."""
    train(request(text, tmp_path / "run"), Steps())
    assert bits_that_nobody_tells_of(tmp_path / "run", every=8, first=bit) == []


def test_damage_is_told_where_the_run_is_read_and_where_it_goes_on(text, tmp_path):
    compiler, told = Compiler(token_spec(), BagVAE), []
    train(request(text, tmp_path / "run"), Steps())
    last = RunDirectory(tmp_path / "run").checkpoints.steps()[-1]
    content = bytearray(last.read_bytes())
    content[-1] ^= 1
    last.write_bytes(content)
    with pytest.raises(UsageError, match="changed or damaged"):
        open_run(tmp_path / "run", compiler, "last")
    steps = Steps()
    train(request(text, tmp_path / "run", resume=True), steps, told.append)
    assert steps.taken == [10, 11]  # from the checkpoint before
    assert len(told) == 1 and last.name in told[0]
    assert RunDirectory(tmp_path / "run").folder.faults() == []


def test_setting_that_has_changed_is_refused_or_told(text, tmp_path):
    told = []
    train(request(text, tmp_path / "run", train={"steps": 4}), Steps())
    for setting, value in (("seed", 3), ("optimizer", "sgd"), ("learning_rate", 0.5)):
        changed = {"resume": True, "train": {setting: value, "steps": 6}}
        with pytest.raises(UsageError, match=f"train.{setting} was .* now it is {value}"):
            train(request(text, tmp_path / "run", **changed), Steps())
    train(request(text, tmp_path / "run", **changed, other_spec=True), Steps(), told.append)
    assert len(told) == 1 and "train.learning_rate was 0.02 when this run began, now it is 0.5" in told[0]


def test_run_may_go_on_for_longer_than_it_was_to(text, whole, tmp_path):
    """What its end alone has added goes: the last line of metrics, a validation that was not due."""
    train(request(text, tmp_path / "run", train={"steps": 6}), Steps())
    steps = Steps()
    train(request(text, tmp_path / "run", resume=True), steps)
    found, expected = contents(tmp_path / "run"), whole[0]
    assert steps.taken[0] == 7
    assert [name for name in expected if found[name] != expected[name]] == []


def test_spec_that_does_not_fit_leaves_the_run_as_it_was(text, tmp_path):
    train(request(text, tmp_path / "run"), Steps())
    before = contents(tmp_path / "run")
    other = Compiler(token_spec(name="other"), HMM)
    changed = Request(
        other("x"), other, Files(str(text)), tmp_path / "run", train=SETTINGS, resume=True, other_spec=True
    )
    with pytest.raises(UsageError, match="of another model"):
        train(changed, Steps())
    assert contents(tmp_path / "run") == before


def test_two_processes_do_not_train_one_run(text, tmp_path):
    def meanwhile(event):
        if event.kind == "valid":
            with pytest.raises(UsageError, match="another process is training this run"):
                train(request(text, tmp_path / "run", resume=True), Steps())

    train(request(text, tmp_path / "run"), meanwhile)


def test_folder_that_is_no_run_keeps_what_it_has(text, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/config.json").write_text("mine")
    with pytest.raises(UsageError, match="config.json exists, and the folder is no run"):
        train(request(text, tmp_path / "mine"), Steps())
    assert contents(tmp_path / "mine") == {"config.json": b"mine"}
