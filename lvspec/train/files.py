"""Files on the disk: every operation by which a run writes is here, through `os`, so that tests can stop at each of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lvspec.errors import UsageError


@contextmanager
def _told(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"{path}: cannot be {what}: {error.strerror or error}") from error


def write_synced(path: Path, content: bytes) -> None:
    """A new file with this content (or another content of the file), on the disk when this returns."""
    _write(path, content, os.O_TRUNC, sync=True)


def append(path: Path, content: bytes) -> None:
    """More at a file's end, which a kill may cut."""
    _write(path, content, os.O_APPEND, sync=False)


def _write(path: Path, content: bytes, how: int, sync: bool) -> None:
    with _told(path, "written"):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | how, 0o666)
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(handle, rest) :]
            if sync:
                os.fsync(handle)
        finally:
            os.close(handle)


def rename(source: Path, target: Path) -> None:
    """In one step: `target` holds what it held, or what `source` does."""
    with _told(target, "written"):
        os.replace(source, target)


def remove(path: Path) -> None:
    with _told(path, "removed"):
        os.unlink(path)


def cut(path: Path, size: int) -> None:
    """Let go of what lies beyond `size` bytes."""
    with _told(path, "written"):
        os.truncate(path, size)


def sync(path: Path) -> None:
    """A file's content, or a folder's names, on the disk."""
    if os.name != "posix":
        return  # elsewhere a folder cannot be opened for syncing
    with _told(path, "written"):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def make_directory(path: Path) -> None:
    with _told(path, "made"):
        for folder in [*reversed(path.parents), path]:
            if not folder.is_dir():
                os.mkdir(folder)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """While this process writes to a folder no other one does; the system lets go of it whatever ends the process."""
    if os.name != "posix":
        yield  # no such locks there
        return
    import fcntl

    with _told(folder, "opened"):
        handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"{folder}: another process is training this run") from None
        yield
    finally:
        os.close(handle)


def read_bytes(path: Path) -> bytes:
    with _told(path, "read"):
        return path.read_bytes()


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in pieces."""
    with _told(path, "read"), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
