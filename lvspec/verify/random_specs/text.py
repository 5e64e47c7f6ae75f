"""Names in the text of a spec that was drawn."""

from __future__ import annotations

import re


def matched(found: re.Match[str] | None) -> re.Match[str]:
    """A match in text that is known to have one."""
    assert found is not None
    return found
