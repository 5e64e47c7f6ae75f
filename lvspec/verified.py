"""Specs that have been verified before: a small file for each, in the user's cache.

Its name is a hash of all that the outcome depends on: the spec's text and what was set instead of it, the strategies, the
user's own networks, the seed, and this lvspec. What disagreed is never remembered.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from lvspec.ir.plan import Plan
from lvspec.version import VERSION

SEED = 0  # of the parameters and data that are drawn


def folder() -> Path:
    """`$XDG_CACHE_HOME/lvspec/verified`; a path that is not absolute counts as none, as XDG has it."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (named if named.is_absolute() else Path("~/.cache").expanduser()) / "lvspec" / "verified"


def key(plan: Plan) -> str:
    """What the outcome of a verification depends on, as a hash."""
    spec = plan.spec
    parts = [
        VERSION,
        SEED,
        installed(),
        spec.source.text,
        [(s.name, s.value) for s in spec.sizes if s.source == "number"],
        [repr(part) for part in (spec.infer, spec.overrides, spec.kl_weight, spec.free_bits, plan.bound)],
        [(p.name, p.text) for p in plan.latents],
        [plan.samples, plan.derived],
        [(n.path, user_text(n.path)) for n in spec.networks if n.path],
    ]
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:32]


def installed() -> str:
    """This lvspec's own files, by their sizes and times: of a checkout that is worked on, the version says too little."""
    found = sorted(_files(Path(__file__).parent))
    return hashlib.sha256(repr(found).encode()).hexdigest()[:16]


def _files(place: Path) -> Iterator[tuple[str, int, int]]:
    with os.scandir(place) as entries:
        for entry in entries:
            if entry.is_dir() and entry.name != "__pycache__":
                yield from _files(Path(entry.path))
            elif entry.name.endswith(".py"):
                about = entry.stat()
                yield entry.path, about.st_size, about.st_mtime_ns


def user_text(path: str) -> str:
    """A hash of the file that a user's class is written in, which is not run to find it; "" where there is none."""
    top, *inner = path.split(".")[:-1]
    found = importlib.util.find_spec(top)
    if found is None or found.origin is None:
        return ""
    module = Path(found.origin).parent.joinpath(*inner)
    files = [Path(found.origin)] if not inner else [module.with_suffix(".py"), module / "__init__.py"]
    return next((hashlib.sha256(f.read_bytes()).hexdigest() for f in files if f.is_file()), "")


def remembered(plan: Plan) -> dict | None:
    """What a verification of this plan found, if it agreed; else None."""
    try:
        found = json.loads((folder() / f"{key(plan)}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):  # there is none, it is damaged, or there is no home
        return None
    return found if isinstance(found, dict) and found.get("agreed") is True else None


def remember(plan: Plan, found: dict) -> None:
    """Writes what was found, whole or not at all; where nothing can be written, nothing is remembered."""
    with suppress(OSError, RuntimeError):
        place = folder()
        place.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=place)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump({"agreed": True, **found}, file)
            os.replace(beside, place / f"{key(plan)}.json")
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
