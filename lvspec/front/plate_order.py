"""One order of the plates for all variables: that of their indices, `z[d, t]`, and a nested plate behind the one around it.

Tensors have their axes in this order, whatever order the plates are declared in.
"""

from __future__ import annotations

from collections.abc import Iterable

from lvspec.front.problems import Problems
from lvspec.ir.spec import Plate, Variable


def in_index_order(plates: tuple[Plate, ...], variables: Iterable[Variable], problems: Problems) -> tuple[Plate, ...]:
    """The plates as the indices of the variables have them, else as declared; a variable with another order is noted."""
    behind: dict[str, dict[str, str]] = {p.name: {} for p in plates}  # plate -> plates before it, by whom it is said
    for plate in plates:
        if plate.within in behind and _before(behind, plate.name, plate.within) is None:
            behind[plate.name][plate.within] = ""
    for variable in variables:
        for a, b in zip(variable.plates, variable.plates[1:], strict=False):
            said = _before(behind, b, a)
            if said is not None:
                _tell(variable, a, b, said, problems)
                break
            behind[b].setdefault(a, variable.at(variable.plates))
    order: dict[str, Plate] = {}
    left = list(plates)
    while left:
        plate = next(p for p in left if all(a in order for a in behind[p.name]))
        order[plate.name] = plate
        left.remove(plate)
    return tuple(order.values())


def _before(behind: dict[str, dict[str, str]], a: str, b: str) -> str | None:
    """Who says that `a` stands before `b` or is `b` (nobody by name where it is nesting), or None."""
    if a == b:
        return ""
    return next((said for plate, said in behind[b].items() if _before(behind, a, plate) is not None), None)


def _tell(variable: Variable, a: str, b: str, said: str, problems: Problems) -> None:
    indices = tuple({a: b, b: a}.get(p, p) for p in variable.plates)
    why = f"`{said}` has them the other way round" if said else f"`{a}` is nested within `{b}`"
    problems.error(
        "plate-order",
        variable.span,
        f"`{variable.at(variable.plates)}` has `{a}` before `{b}`, and {why}",
        help=f"write `{variable.at(indices)}`: all variables have their plates in one order",
    )
