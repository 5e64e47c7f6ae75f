"""Numbers that depend on the step: `0.5`, `linear(0, 1, steps=2000)` or `cyclical(0, 1, period=5000)` → a `Schedule`."""

from __future__ import annotations

from lvspec.front import scalars
from lvspec.front import syntax as S
from lvspec.front.declarations import call_of
from lvspec.front.names import did_you_mean
from lvspec.front.nodes import Node, Text
from lvspec.front.parser import parse_value
from lvspec.front.problems import Problems
from lvspec.ir.spec import Schedule

SCHEDULES = {"constant": (), "linear": ("steps",), "cyclical": ("period",)}
USAGE = "write a number, `linear(0, 1, steps=2000)` or `cyclical(0, 1, period=5000)`"


def read_schedule(node: Node, problems: Problems, what: str = "kl_weight") -> Schedule | None:
    """The schedule that a line of a section holds."""
    value = parse_value(node, problems) if isinstance(node, Text) else None
    if value is None:
        if not isinstance(node, Text):
            problems.error("wrong-setting", node.span, f"`{what}` is a number or a schedule", help=USAGE)
        return None
    if isinstance(value.body, S.Literal) and isinstance(node, Text):
        number = scalars.number(node, problems, f"`{what}`")
        return Schedule("constant", (float(number),)) if number is not None else None
    found = schedule_of(value.body)
    if found is None:
        kind = call_of(value)[0]
        problems.error(
            "wrong-setting",
            node.span,
            f"`{what}` is a number or a schedule",
            help=did_you_mean(kind, SCHEDULES, USAGE) if kind not in SCHEDULES else USAGE,
        )
    return found


def schedule_of(body: S.Node) -> Schedule | None:
    """An expression as a schedule, None where it is none."""
    if isinstance(body, S.Literal):
        return Schedule("constant", (float(body.value),))
    if not isinstance(body, S.Application) or not isinstance(body.base, S.Name):
        return None
    wanted = SCHEDULES.get(body.base.name)
    numbers = [a.value for a in body.arguments if isinstance(a, S.Literal)]
    named = {k.name: v.value for k, v in body.keywords if isinstance(v, S.Literal)}
    fine = len(numbers) == len(body.arguments) == 2 and tuple(named) == wanted and len(body.keywords) == 1
    if wanted is None or not fine or named[wanted[0]] < 1:
        return None
    return Schedule(body.base.name, (float(numbers[0]), float(numbers[1]), float(named[wanted[0]])))
