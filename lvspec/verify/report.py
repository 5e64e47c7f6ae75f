"""What a comparison found: one line for each check, with its figure and the bound that it must keep."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor

VARIANT = re.compile(
    r"(, (?:weighted|no lengths|nothing observed|all partly known|\w+ (?:partly )?(?:given|missing)"
    r"(?: at the end| where it is read)?))$"
)


@dataclass(frozen=True)
class Check:
    """name: what was compared. figure <= bound is the test; a check that was not possible has a figure of None
    and says why in `note`, and counts as neither passed nor failed. own: it failed in the verifier's own code."""

    name: str
    figure: float | None
    bound: float
    note: str = ""
    own: bool = False

    @property
    def passed(self) -> bool:
        return self.figure is None or self.figure <= self.bound  # NaN fails


@dataclass(frozen=True)
class Report:
    """checks: in the order in which they were made. sizes: those of the shrunken instance."""

    name: str
    sizes: dict[str, int]
    seed: int
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return all(c.passed for c in self.checks) and any(c.figure is not None for c in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        return tuple(c for c in self.checks if not c.passed)

    @property
    def covered(self) -> tuple[str, ...]:
        """What was compared, each thing once: quantities, then the kinds of batches that they were compared on."""
        names = [VARIANT.split(c.name) for c in self.checks if c.figure is not None]
        return tuple(dict.fromkeys([n[0] for n in names] + [n[1].removeprefix(", ") for n in names if len(n) > 1]))

    @property
    def left_out(self) -> tuple[str, ...]:
        """What was not, and why."""
        reasons: dict[str, list[str]] = {}
        for c in self.checks:
            if c.figure is None:
                reasons.setdefault(c.note, []).append(c.name)
        return tuple(f"{', '.join(names)} ({note})" for note, names in reasons.items())

    @property
    def disagrees(self) -> bool:
        """Whether the module is wrong somewhere, other than that the verifier gave up, or that there are no numbers to compare:
        a model may leave them by itself."""
        return any(not c.own and c.figure == c.figure for c in self.failures)

    @property
    def verdict(self) -> str:
        if not any(c.figure is not None for c in self.checks):
            return "nothing could be compared"
        return "agreed" if self.passed else "DISAGREED"

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        checks = [
            {"name": c.name, "figure": c.figure, "bound": c.bound, "passed": c.passed, "note": c.note}
            for c in self.checks
        ]
        about = {"name": self.name, "sizes": self.sizes, "seed": self.seed, "passed": self.passed}
        return {**about, "covered": list(self.covered), "not_covered": list(self.left_out), "checks": checks}


def render(report: Report) -> str:
    """The report as text."""
    sizes = ", ".join(f"{n}={v}" for n, v in report.sizes.items())
    rows = [f"{report.name} against brute force at {sizes or 'no sizes'} (seed {report.seed})"]
    width = max((len(c.name) for c in report.checks), default=0)
    for c in report.checks:
        if c.figure is None:
            rows.append(f"  --    {c.name:<{width}}  not compared: {c.note}")
            continue
        verdict = "ok  " if c.passed else "FAIL"
        tail = f"  ({c.note})" if c.note else ""
        rows.append(f"  {verdict}  {c.name:<{width}}  {c.figure:.2e} <= {c.bound:.0e}{tail}")
    return "\n".join([*rows, *coverage(report), report.verdict])


def coverage(report: Report) -> list[str]:
    """What was covered, and what not, in one line each."""
    covered, left_out = ", ".join(report.covered), "; ".join(report.left_out)
    return [f"covered: {covered or 'nothing'}", f"not covered: {left_out or 'nothing of what verify knows'}"]


def relative_error(found: Tensor, expected: Tensor, rounding: Tensor | float = 0.0) -> float:
    """max |found − expected| / max(1, |expected|); infinite where shapes differ, NaN where either is NaN. rounding: of the
    difference, what is no disagreement."""
    if found.shape != expected.shape:
        return float("inf")
    if found.numel() == 0:
        return 0.0
    found, expected = found.detach().to(torch.float64), expected.detach().to(torch.float64)
    gap = torch.where(found == expected, torch.zeros_like(found), ((found - expected).abs() - rounding).clamp(min=0))
    return float((gap / expected.abs().clamp(min=1)).max())


def _or_zeros(x: Tensor | None, other: Tensor | None) -> Tensor:
    if x is None:
        assert other is not None
        return torch.zeros_like(other)
    return x


def gradient_error(found: list[Tensor | None], expected: list[Tensor | None]) -> float:
    """The largest relative error of any coordinate; an absent gradient is zero."""
    errors = []
    for a, b in zip(found, expected, strict=True):
        if a is None and b is None:
            continue
        errors.append(relative_error(_or_zeros(a, b), _or_zeros(b, a)))
    return largest(errors)


def largest(errors: list[float]) -> float:
    """The largest error, 0 of none; NaN where one is NaN (which Python's max would lose)."""
    return float(torch.tensor([0.0, *errors], dtype=torch.float64).max())
