"""Draws that somebody fixes: by name, and in the axes that they have."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from lvspec.runtime.batch import BadBatch


def fixed_draws(draws: Mapping[str, Tensor] | None, batch: dict, drawn: dict[str, tuple[str | int, ...]]) -> dict:
    """The draws, or BadBatch where one is of nothing that is drawn, or has another shape than (S, *axes).

    batch: prepared. drawn: by name the axes of what a method draws, behind S: "B", a ragged plate's name, or a number.
    `z.steps`, the noise of a refinement, has an axis of steps in front.
    """
    draws = dict(draws or {})
    samples = set()
    for name, x in draws.items():
        if name not in drawn:
            known = f"what is drawn is {', '.join(f'`{n}`' for n in drawn)}" if drawn else "nothing is drawn here"
            raise BadBatch(f"`draws` has `{name}`, which is not drawn: {known}")
        axes, ahead = drawn[name], 1 + name.endswith(".steps")
        wanted = tuple(_extent(a, batch) for a in axes)
        if not isinstance(x, Tensor) or x.dim() != ahead + len(axes) or tuple(x.shape[ahead:]) != wanted:
            found = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            shown = ", ".join([*["steps", "S"][-ahead:], *map(str, axes)])
            numbers = ", ".join([*["steps", "S"][-ahead:], *map(str, wanted)])
            raise BadBatch(f"`draws` has {found} for `{name}`, expected ({shown}), here ({numbers})")
        samples.add(x.shape[ahead - 1])
    if len(samples) > 1:
        raise BadBatch(f"`draws` disagree on how many there are of each example, S: {sorted(samples)}")
    return draws


def _extent(axis: str | int, batch: dict) -> int:
    if axis == "B":
        return len(batch["rows"])
    return batch[f"{axis}.mask"].shape[-1] if isinstance(axis, str) else axis
