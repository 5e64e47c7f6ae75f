"""metrics.jsonl: one JSON object a line, appended; a resumed run drops the lines after its checkpoint."""

from __future__ import annotations

import json
import math
from pathlib import Path

from lvspec.errors import UsageError
from lvspec.train.files import write_whole


class Metrics:
    """The metrics file of a run."""

    def __init__(self, path: Path):
        self.path = path

    def append(self, row: dict[str, object]) -> None:
        plain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(plain) + "\n")
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be written: {error.strerror or error}") from error

    def rewind(self, step: int) -> None:
        """Keep what was written up to a step."""
        kept = [row for row in self.rows() if row.get("step", 0) <= step]
        write_whole(self.path, "".join(json.dumps(row) + "\n" for row in kept).encode())

    def rows(self) -> list[dict]:
        """All whole lines; one that a kill cut short is passed over."""
        if not self.path.is_file():
            return []
        rows = []
        for line in self.path.read_text(encoding="utf-8").split("\n"):
            try:
                rows.append(json.loads(line))
            except ValueError:
                continue
        return rows
