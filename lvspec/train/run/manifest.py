"""A run's folder, whose state changes by one rename at a time: that of its manifest, `run.json`.

    {"files": {"spec.yaml": SHA-256, "checkpoints/step-00000120.safetensors": SHA-256, ...},
     "best": "checkpoints/step-00000080.safetensors", "metrics": {"bytes": 5120, "sha256": ...}, "seal": ...}

A commit writes new files under staged names (`.NAME.new`), renames the manifest, which is the moment at which the state changes,
and only then gives the files their names and lets go of what the manifest no longer names. So whatever ends the process, the
folder holds the state before a commit or the one after it: a file is under its name, or still under its staged one; what is
in neither state is a stray and goes. Every file is known by its hash, the manifest itself by its seal.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from lvspec.errors import UsageError
from lvspec.train.files import cut, file_hash, make_directory, read_bytes, remove, rename, sync, write_synced

MANIFEST = "run.json"
METRICS = "metrics.jsonl"
CHECKPOINTS = "checkpoints"
FORMAT = 2  # of the folder; raised when an older lvspec could no longer read it


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Manifest:
    """What a run holds. files: name -> SHA-256. best: the file of the best validation. metrics: how many bytes of
    metrics.jsonl belong to it, and their SHA-256."""

    files: Mapping[str, str] = field(default_factory=dict)
    best: str | None = None
    metrics: tuple[int, str] = (0, sha256(b""))

    @property
    def checkpoints(self) -> list[str]:
        """Names of checkpoint files, the earliest first."""
        return sorted(name for name in self.files if name.startswith(f"{CHECKPOINTS}/"))

    def to_bytes(self) -> bytes:
        size, digest = self.metrics
        entry = {"format": FORMAT, "files": dict(sorted(self.files.items())), "best": self.best}
        entry["metrics"] = {"bytes": size, "sha256": digest}
        entry["seal"] = sha256(json.dumps(entry).encode())
        return (json.dumps(entry, indent=2) + "\n").encode()

    @staticmethod
    def from_bytes(content: bytes, path: Path) -> Manifest:
        """Refused where a single bit is not as `to_bytes` has written it."""
        try:
            entry = json.loads(content)
            if entry["format"] > FORMAT:
                raise UsageError(f"{path}: was written in format {entry['format']}, this lvspec reads {FORMAT}")
            metrics = entry["metrics"]["bytes"], entry["metrics"]["sha256"]
            found = Manifest(entry["files"], entry["best"], metrics)
            whole = found.to_bytes() == content
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            whole = False
        if not whole:
            raise UsageError(f"{path}: has been changed or damaged since it was written")
        return found


@dataclass(frozen=True)
class Folder:
    """The files of one run."""

    root: Path

    def manifest(self) -> Manifest | None:
        """The state of the run; None where there is none."""
        path = self.root / MANIFEST
        return Manifest.from_bytes(read_bytes(path), path) if path.is_file() else None

    def path(self, name: str) -> Path:
        """Where a file of the manifest is, its content as it was committed."""
        wanted = self._state().files.get(name)
        places = (self.root / name, self._staged(name))
        found = next((p for p in places if p.is_file() and file_hash(p) == wanted), None)
        if found is None:
            what = "has been changed or damaged" if places[0].is_file() else "is missing: it has been removed"
            raise UsageError(f"{places[0]}: {what} since the run was made")
        return found

    def read(self, name: str) -> bytes:
        return read_bytes(self.path(name))

    def faults(self) -> list[str]:
        """What is not as it was committed, in words."""
        state, found = self._state(), []
        for name in state.files:
            try:
                self.path(name)
            except UsageError as error:
                found.append(str(error))
        metrics, (size, digest) = self.root / METRICS, state.metrics
        if sha256(read_bytes(metrics)[:size] if metrics.is_file() else b"") != digest:
            found.append(f"{metrics}: has been changed or damaged since the run was made")
        return found

    def commit(self, manifest: Manifest, contents: Mapping[str, bytes]) -> None:
        """From the present state to this one, in one step. contents: of the files that are new."""
        before = self.manifest()
        staged = {self._staged(name): content for name, content in contents.items()}
        staged[self._staged(MANIFEST)] = manifest.to_bytes()
        try:
            for path, content in staged.items():
                make_directory(path.parent)
                write_synced(path, content)
            for folder in {path.parent: None for path in staged}:
                sync(folder)
            rename(self._staged(MANIFEST), self.root / MANIFEST)
        except UsageError:  # such as a full disk: the state is the one before
            for path in staged:
                with suppress(OSError):
                    path.unlink()
            raise
        sync(self.root)
        for name in contents:
            rename(self._staged(name), self.root / name)
        self._forget(manifest, before)

    def settle(self) -> None:
        """Finish the commit that a kill may have cut short, and let go of what it left."""
        manifest = self._state()
        for name, digest in manifest.files.items():
            staged = self._staged(name)
            if staged.is_file() and file_hash(staged) == digest:
                rename(staged, self.root / name)
        self._forget(manifest, None)

    def _forget(self, manifest: Manifest, before: Manifest | None) -> None:
        """What is in no state any more goes: staged files, checkpoints, names of the state before, later metrics."""
        old = before.files if before else {}
        strays = {self._staged(name) for name in (*manifest.files, *old, MANIFEST)} | {self.root / name for name in old}
        for pattern in ("step-*.safetensors", ".step-*.new"):
            strays.update((self.root / CHECKPOINTS).glob(pattern))
        for path in sorted(strays - {self.root / name for name in manifest.files}):
            if path.is_file():
                remove(path)
        metrics = self.root / METRICS
        if metrics.is_file() and metrics.stat().st_size > manifest.metrics[0]:
            cut(metrics, manifest.metrics[0])

    def _state(self) -> Manifest:
        found = self.manifest()
        if found is None:
            raise UsageError(f"{self.root}: no such run")
        return found

    def _staged(self, name: str) -> Path:
        path = self.root / name
        return path.with_name(f".{path.name}.new")
