"""What a setting of a spec may be, as data: its type, default, range and meaning."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Key:
    """kind: integer | number | truth | text | choice | column (a name, or a number that counts from 1) | range (`1-64`) |
    texts (a list of them) | weight (see settings.read_schedule). least, most: bounds that belong to the range. above: a bound that does not."""

    name: str
    kind: str
    default: object
    meaning: str
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    above: float | None = None

    def outside(self, value: float) -> str:
        """What a number must be, where it is not: `at least 1 and at most 5`; empty where it is."""
        inside = (
            (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.most is None or value <= self.most)
        )
        bounds = (("at least", self.least), ("above", self.above), ("at most", self.most))
        return "" if inside else " and ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)


def key_of(table: tuple[Key, ...], name: str) -> Key | None:
    return next((k for k in table if k.name == name), None)
