"""What stands in a spec more than once and is worth a name: softmaxes along a plate, and what they are of.

read[t]: sum(softmax(dot(h[t], memory[m]) over m) * memory[m] over m)        scores = memory @ h.mT
copied[t]: sum(softmax(dot(h[t], memory[m]) over m) * onehot(s[m]) over m)   shares = masked_softmax(scores, ...)
"""

from __future__ import annotations

from collections import Counter

from lvspec.ir.expr import Call, Expr, LocalRef, walk
from lvspec.ir.reads import bodies
from lvspec.ir.spec import Spec, Variable


def repeated(spec: Spec, guide: tuple[Variable, ...] = ()) -> dict[Expr, str]:
    """Each such expression, which names of a clause's own `where` have no part in, with a name for it."""
    key = f"repeated {[*map(id, guide)]}"
    found: dict[Expr, str] | None = spec.kept.get(key)
    if found is None:
        clauses = (c for v in (*spec.variables, *guide) for c in v.clauses)
        nodes = Counter(
            n for c in clauses for b in bodies(c) for n in walk(b) if isinstance(n, Call) and _normalises(n)
        )
        twice = [n for n, count in nodes.items() if count > 1 and not any(isinstance(e, LocalRef) for e in walk(n))]
        found = spec.kept[key] = {}
        for node in twice:
            found[node] = "shares"
            found |= {e: "scores" for e in node.args if isinstance(e, Call)}
    return dict(found)


def _normalises(node: Call) -> bool:
    return node.function == "softmax" and node.over is not None
