"""Draws that somebody fixes: by name, and in the axes that they have."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from lvspec.runtime.core.batch import BadBatch


def fixed_draws(
    draws: Mapping[str, Tensor] | None, batch: dict, drawn: dict[str, tuple[str | int, ...]], refined: bool = False
) -> dict:
    """The draws, or BadBatch where one is of nothing that is drawn, or has another shape than (S, *axes).

    batch: prepared. drawn: by name the axes of what a method draws, behind S: "B", a ragged plate's name, or a number.
    refined: whether q is; then `z.steps`, noise of the steps there, is the bound's, which looks at it in each of them.
    """
    draws = dict(draws or {})
    samples = set()
    for name, x in draws.items():
        if refined and name.endswith(".steps"):
            continue
        if name not in drawn:
            known = f"what is drawn is {', '.join(f'`{n}`' for n in drawn)}" if drawn else "nothing is drawn here"
            raise BadBatch(f"`draws` has `{name}`, which is not drawn: {known}")
        wanted = tuple(_extent(a, batch) for a in drawn[name])
        if not isinstance(x, Tensor) or x.dim() != 1 + len(wanted) or tuple(x.shape[1:]) != wanted:
            found = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            shown = ", ".join(["S", *map(str, drawn[name])])
            numbers = ", ".join(["S", *map(str, wanted)])
            raise BadBatch(f"`draws` has {found} for `{name}`, expected ({shown}), here ({numbers})")
        samples.add(len(x))
    if len(samples) > 1:
        raise BadBatch(f"`draws` disagree on how many there are of each example, S: {sorted(samples)}")
    return draws


def _extent(axis: str | int, batch: dict) -> int:
    if axis == "B":
        return len(batch["rows"])
    return batch[f"{axis}.mask"].shape[-1] if isinstance(axis, str) else axis
