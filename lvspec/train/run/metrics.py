"""metrics.jsonl: one JSON object a line, appended; a resumed run drops the lines after its checkpoint."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

from lvspec.train.files import append, sync


class Metrics:
    """The metrics file of a run. size, digest: of what this run has written, which a manifest holds."""

    def __init__(self, path: Path, content: bytes = b""):
        self.path = path
        self.size = len(content)
        self.digest = hashlib.sha256(content)

    def append(self, row: dict[str, object]) -> None:
        plain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
        line = (json.dumps(plain) + "\n").encode()
        append(self.path, line)
        self.size += len(line)
        self.digest.update(line)

    def mark(self) -> tuple[int, str]:
        """Bytes and SHA-256 of the lines so far, which are on the disk."""
        if self.size:
            sync(self.path)
        return self.size, self.digest.hexdigest()
