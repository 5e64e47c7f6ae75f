"""`prior: "Normal(0, 1)"` of a parameter → a family and its numbers."""

from __future__ import annotations

from lvspec.front import syntax as S
from lvspec.front.declarations import call_of, expression
from lvspec.front.names import did_you_mean
from lvspec.front.nodes import Entry
from lvspec.front.problems import Help, Problems
from lvspec.front.supports import of_number
from lvspec.ir.dims import Dim
from lvspec.ir.distributions import FAMILIES, Argument
from lvspec.ir.priors import OF_PROBABILITIES, prior_families
from lvspec.ir.spec import ParameterPrior
from lvspec.ir.types import within

BAD = "bad-param"
HELP = 'write `prior: "Normal(0, 1)"`, or `"Dirichlet(2)"` for a table of logits'


def read_prior(entry: Entry, name: str, problems: Problems) -> ParameterPrior | None:
    """The prior that an entry writes; what is wrong with it is noted."""
    value = expression(entry, "a distribution with numbers as arguments, such as `Normal(0, 1)`", problems)
    if value is None:
        return None
    family, call = call_of(value)
    if family not in prior_families():
        known = ", ".join(f"`{f}`" for f in prior_families())
        about = f"`{family[:40]}` is no prior of a parameter" if family else "this is no distribution"
        advice: Help = did_you_mean(family, prior_families(), f"it is one of {known}")
        if family in FAMILIES:
            advice = f"it is one of {known}; of others write a latent, `global {name}: {family}(...)`, and its point in `guide:`, `{name}: Delta(...)`"
        problems.error(BAD, value.span, about, help=advice)
        return None
    numbers = _numbers(family, call, value.span, problems)
    return ParameterPrior(family, numbers, value.span) if numbers is not None else None


def check_prior(
    prior: ParameterPrior, name: str, shape: tuple[Dim, ...], moves: bool, own: bool, problems: Problems
) -> None:
    """Whether the parameter can have it. moves: whether it is trained; own: whether each example has its own."""
    if not moves:
        problems.error(
            BAD, prior.span, f"`{name}` is frozen, and a prior moves nothing", help="leave out one of the two"
        )
    elif own:
        problems.error(
            BAD,
            prior.span,
            f"each example has a `{name}` of its own, and a prior is of what the data set has once",
            help="leave out one of the two",
        )
    elif OF_PROBABILITIES.get(prior.family) == "softmax" and not shape:
        problems.error(BAD, prior.span, f"`{name}` is one number, and no table of logits", help=HELP)


def _numbers(family: str, call: S.Application | None, span, problems: Problems) -> tuple[float, ...] | None:
    """The arguments of the family in its own order."""
    wanted = FAMILIES[family].arguments
    given = dict(zip((a.name for a in wanted), call.arguments if call else (), strict=False))
    extra = [k.name for k, _ in call.keywords if k.name not in {a.name for a in wanted} - {*given}] if call else []
    if extra or call and len(call.arguments) > len(wanted):
        problems.error(BAD, span, f"`{family}` takes {', '.join(a.name for a in wanted)}", help=HELP)
        return None
    given |= {k.name: v for k, v in call.keywords} if call else {}
    found = [_number(family, a, given.get(a.name), span, problems) for a in wanted]
    return None if None in found else tuple(n for n in found if n is not None)


def _number(family: str, argument: Argument, node: S.Node | None, span, problems: Problems) -> float | None:
    if node is None and argument.default is not None:
        return float(argument.default)
    number = signed(node) if node is not None else None
    if number is None:
        where, what = (node.span, "is no number") if node is not None else (span, "is missing")
        problems.error(BAD, where, f"`{argument.name}` of `{family}` {what}", help=HELP)
    elif not within(of_number(number), argument.support):
        about = f"`{argument.name}` of `{family}` is {number:g}, which is not {argument.support.kind}"
        problems.error(BAD, node.span if node is not None else span, about, help=HELP)
    else:
        return float(number)
    return None


def signed(node: S.Node) -> int | float | None:
    """A number with its sign, or None."""
    if isinstance(node, S.Negative) and isinstance(node.operand, S.Literal):
        return -node.operand.value
    return node.value if isinstance(node, S.Literal) else None
