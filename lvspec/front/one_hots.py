"""Latents that are drawn one-hot: from here on they are the number of their category, and what reads them reads its vector.

    before   c: OneHotCategorical(logits=w)      x: Normal(matmul(mu, c), 1)
    after    c: Categorical(logits=w)            x: Normal(matmul(mu, onehot(c)), 1)

All that follows, sums, guides and estimators, knows one kind of category.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from lvspec.front.together import NODES
from lvspec.ir.expr import Call, Dist, VariableRef
from lvspec.ir.spec import Variable
from lvspec.ir.types import Support, Type

Variables = tuple[Variable, ...]


def number_one_hots(*groups: Variables) -> tuple[Variables, ...]:
    """The same variables, the model's first, with numbers for the one-hot vectors of its latents."""
    names = {v.name for v in groups[0] if v.role == "latent" and v.type.support.kind == "onehot"}
    return tuple(_rewritten(g, names) for g in groups) if names else groups


def _rewritten(node, names: set[str]):
    if type(node) is tuple:
        return tuple(_rewritten(n, names) for n in node)
    if not isinstance(node, NODES):
        return node
    new: Any = replace(node, **{f.name: _rewritten(getattr(node, f.name), names) for f in fields(node)})
    if isinstance(node, VariableRef) and node.name in names:
        return Call("onehot", (replace(new, type=_number(node.type)),), type=node.type, span=node.span)
    if isinstance(node, Variable) and node.name in names and node.role in ("latent", "guide"):
        clauses = tuple(replace(c, body=_category(c.body)) for c in new.clauses)
        return replace(new, type=_number(node.type), clauses=clauses, one_hot=True)
    return new


def _category(body):
    if not isinstance(body, Dist) or body.family != "OneHotCategorical":
        return body
    return replace(body, family="Categorical", type=_number(body.type))


def _number(vector: Type) -> Type:
    return vector.with_(shape=vector.shape[:-1], support=Support("integer", vector.shape[-1]))
