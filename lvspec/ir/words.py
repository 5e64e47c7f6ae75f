"""Names in a sentence."""

from __future__ import annotations

from collections.abc import Sequence

LISTED = 12  # so many are written out


def listed(names: Sequence[str], joint: str = ", ") -> str:
    """`a, b, c`; of many the first ones and the last, `z0, z1, ..., z299`: what is said of each of n is not n long."""
    return joint.join(names if len(names) <= LISTED else [*names[:2], "...", names[-1]])
