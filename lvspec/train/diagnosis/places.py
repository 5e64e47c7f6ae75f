"""Where the spec says what a value of the emitted module is, and what one calls it."""

from __future__ import annotations

from dataclasses import dataclass

from lvspec.errors import NOWHERE, Span
from lvspec.ir.expr import Dist
from lvspec.ir.spec import Variable


@dataclass(frozen=True)
class Place:
    """name: short, for the label. what: in a sentence. span: in the spec's text."""

    name: str
    what: str
    span: Span


def place_of(compiled, symbol) -> Place:
    """Of a local (emit/text/symbols.py)."""
    node, spec = symbol.node, compiled.spec
    if symbol.part == "q":
        if symbol.argument:
            return place_of_argument(compiled, symbol, symbol.argument) or Place(symbol.argument, node, NOWHERE)
        return Place(
            f"q({node})", f"the guide factor q({node})", _span(_factor(compiled, node)) or _span(spec.variable(node))
        )
    names = {"data": node, "let": node, "p": f"log p({node})", "kl": f"KL of {node}"}
    words = {
        "data": f"{node} in the data",
        "let": f"`{node}`",
        "p": f"the log-density of {node}",
        "kl": f"the KL of {node}",
    }
    found = next((v for v in (*spec.variables, *compiled.plan.guide) if v.name == node), None)
    return Place(names[symbol.part], words[symbol.part], _span(found))


def place_of_argument(compiled, symbol, argument: str) -> Place | None:
    """Of what a distribution is given; None where it has no such argument."""
    variable = _factor(compiled, symbol.node) if symbol.part == "q" else compiled.spec.variable(symbol.node)
    body = variable.general.body
    if not isinstance(body, Dist):
        return None
    argument = "probs" if argument == "logits" and body.find("logits") is None else argument
    expr = body.find(argument)
    if expr is None:
        return None
    factor = f"q({symbol.node})" if symbol.part == "q" else f"p({symbol.node})"
    span = expr.span if expr.span.line else _span(variable) or _span(compiled.spec.variable(symbol.node))
    return Place(argument, f"`{argument}` of {factor}, {body.family},", span)


def place_of_network(compiled, name: str) -> Place:
    network = next((n for n in compiled.plan.networks if n.name == name), None)
    return Place(name, f"the network `{name}`", network.span if network else NOWHERE)


def place_of_parameter(compiled, name: str) -> Place | None:
    """Of a parameter of the module: a free one of the spec, or one of a network's."""
    if compiled is None:
        return None
    owner = name.partition(".")[0]
    found = [p for p in (*compiled.spec.params, *compiled.spec.networks) if p.name == owner and p.span.line]
    return Place(name, f"`{name}`", found[0].span) if found else None


def _factor(compiled, node: str) -> Variable:
    return next(v for v in compiled.plan.guide if v.name == node and v.role == "guide")


def _span(variable: Variable | None) -> Span:
    """What defines it: its distribution or expression, else its name."""
    if variable is None:
        return NOWHERE
    body = variable.general.body
    span = getattr(body, "span", NOWHERE)
    return span if span.line else variable.span
