"""What a folder of the runtime offers to emitted modules: the names in `__all__` of its files, listed nowhere else."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pkgutil import iter_modules


def exports(package: str, path: Iterable[str], names: dict[str, object]) -> list[str]:
    """Puts what the files of a folder offer among the folder's own names, and tells what that is."""
    found: dict[str, object] = {}
    for module in iter_modules(path, f"{package}."):
        file = import_module(module.name)
        found |= {name: getattr(file, name) for name in getattr(file, "__all__", ())}
    names.update(found)
    return sorted(found)
