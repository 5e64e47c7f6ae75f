"""Where specs/ and grammar/ lie: inside the installed package, or beside it in a source tree."""

from __future__ import annotations

from pathlib import Path

from lvspec.errors import InternalError

_PACKAGE = Path(__file__).resolve().parent


def shipped(name: str) -> Path:
    """`shipped("specs")` is the folder that holds hmm.yaml and the others."""
    for parent in (_PACKAGE, _PACKAGE.parent):
        if (parent / name).is_dir():
            return parent / name
    raise InternalError(f"the installation lacks its {name}/ folder")
