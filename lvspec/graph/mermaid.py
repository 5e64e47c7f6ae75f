"""Diagram → a Mermaid flowchart, which many wikis and code hosts draw by themselves."""

from __future__ import annotations

from lvspec.graph.diagram import Box, Diagram, DiagramNode
from lvspec.graph.style import INK, OBSERVED, PLAIN, fill, strategy_name

# role -> the brackets that make its shape
_SHAPES = {
    "latent": ('(("', '"))'),
    "observed": ('(("', '"))'),
    "let": ('{"', '"}'),
    "given": ('(["', '"])'),
    "param": ('["', '"]'),
}


def mermaid(d: Diagram) -> str:
    rows = ["flowchart TB", *_box(d, d.root, 1, [0])]
    for e in d.edges:
        arrow = "-.-" if e.field else "-.->" if e.dashed or e.guide else "-->"
        label = f'|"{_escaped(e.label)}"|' if e.label else ""
        rows.append(f"  {_key(e.source)} {arrow}{label} {_key(e.target)}")
    return "\n".join([*rows, *_classes(d), ""])


def _box(d: Diagram, box: Box, depth: int, count: list[int]) -> list[str]:
    pad = "  " * depth
    rows = [f"{pad}{_node(d.node(name))}" for name in box.nodes]
    for inner in box.boxes:
        count[0] += 1
        rows.append(f'{pad}subgraph plate{count[0]} ["{_escaped(inner.label)}"]')
        rows += [*_box(d, inner, depth + 1, count), f"{pad}end"]
    return rows


def _node(n: DiagramNode) -> str:
    left, right = _SHAPES[n.role]
    return f"{_key(n.name)}{left}{_escaped(n.name)}{right}"


def _classes(d: Diagram) -> list[str]:
    rows = [
        f"  classDef observed fill:{OBSERVED},stroke:{INK},color:{INK}",
        f"  classDef let fill:{PLAIN},stroke:{INK},color:{INK}",
        f"  classDef param fill:{PLAIN},stroke:none,color:{INK}",
    ]
    groups: dict[str, list[str]] = {}
    for n in d.nodes:
        group = n.strategy or "none" if n.role == "latent" else "observed" if n.role == "given" else n.role
        groups.setdefault(group, []).append(_key(n.name))
    for strategy in sorted({n.strategy or "none" for n in d.nodes if n.role == "latent"}):
        rows.append(f"  %% {strategy_name(strategy)}")
        rows.append(f"  classDef {strategy} fill:{fill('latent', strategy)},stroke:{INK},color:{INK}")
    return rows + [f"  class {','.join(keys)} {group}" for group, keys in groups.items()]


def _key(name: str) -> str:
    """An identifier of Mermaid's: names such as `end` or `class` are words of its own."""
    return f"n_{name}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
