"""Files that a command writes: whole or not at all, and never over somebody's own work."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from lvspec.errors import UsageError

_GENERATED = re.compile(rb"\b(generated|compiled|written|emitted) by lvspec\b", re.IGNORECASE)
_HEADER = 4096  # bytes in which the generated header stands


def is_generated(path: Path) -> bool:
    with path.open("rb") as file:
        return bool(_GENERATED.search(file.read(_HEADER)))


def refuse_foreign(path: Path) -> None:
    """A file that lvspec did not write stays as it is, unless its owner says otherwise."""
    if path.is_symlink() and not path.exists():
        raise UsageError(f"{path} is a link to nothing")
    if path.is_file() and not is_generated(path):
        raise UsageError(f"{path} exists and was not written by lvspec; use another name, or --force")


def write(path: Path, data: str | bytes) -> None:
    """The whole file under its name, or the old one: written beside it, synced, then renamed. What is no
    file, such as /dev/stdout or a named pipe, is written through and stays what it is."""
    data = data.encode() if isinstance(data, str) else data
    path = path.resolve()
    if path.is_dir():
        raise UsageError(f"{path} is a folder")
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}")
    handle, beside = tempfile.mkstemp(prefix=f".{path.name[:40]}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(beside, path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask())
        os.replace(beside, path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def module_name(name: str) -> str:
    """A spec's name as a module's: letters, digits and underscores, no keyword, no path."""
    import keyword

    clean = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower()[:64] or "model"
    clean = f"model_{clean}" if clean[0].isdigit() else clean
    return f"{clean}_model" if keyword.iskeyword(clean) else clean
