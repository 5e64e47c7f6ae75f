"""Diagram → Graphviz' DOT."""

from __future__ import annotations

from lvspec.graph.diagram import Box, Diagram, DiagramNode
from lvspec.graph.style import INK, PLATE_LINE, QUIET, fill, strategy_name


def dot(d: Diagram) -> str:
    rows = [
        f"digraph {_quoted(d.name)} {{",
        f'  graph [label={_quoted(d.name)}, labelloc=t, fontname="Helvetica", compound=true];',
        f'  node [fontname="Helvetica", color="{INK}", style=filled];',
        f'  edge [fontname="Helvetica", fontsize=11, color="{INK}"];',
    ]
    rows += _box(d, d.root, 1, [0])
    for e in d.edges:
        options = [f"label={_quoted(e.label)}"] if e.label else []
        options += ["style=dashed", "constraint=false"] if e.dashed else []
        options += ["dir=none"] if e.field else []
        options += ["style=dotted", "constraint=false", f'color="{QUIET}"'] if e.guide else []
        end = f" [{', '.join(options)}]" if options else ""
        rows.append(f"  {_quoted(e.source)} -> {_quoted(e.target)}{end};")
    return "\n".join([*rows, "}", ""])


def _box(d: Diagram, box: Box, depth: int, count: list[int]) -> list[str]:
    pad = "  " * depth
    rows = [f"{pad}{_node(d.node(name))}" for name in box.nodes]
    for inner in box.boxes:
        count[0] += 1
        rows.append(f"{pad}subgraph cluster_{count[0]} {{")
        rows.append(
            f'{pad}  label={_quoted(inner.label)}; labelloc=b; labeljust=r; style=rounded; color="{PLATE_LINE}"; '
            f'fontcolor="{QUIET}";'
        )
        rows += [*_box(d, inner, depth + 1, count), f"{pad}}}"]
    return rows


def _node(n: DiagramNode) -> str:
    tip = f", tooltip={_quoted(_tip(n))}"
    if n.role == "param":
        return f'{_quoted(n.name)} [shape=point, width=0.1, fillcolor="{INK}", xlabel={_quoted(n.name)}{tip}];'
    shape = {"let": "diamond", "given": "ellipse"}.get(n.role, "circle")
    small = ", fontsize=11, height=0.3" if n.role == "given" else ""
    return f'{_quoted(n.name)} [shape={shape}, fillcolor="{fill(n.role, n.strategy)}"{small}{tip}];'


def _tip(n: DiagramNode) -> str:
    return f"{n.story}; {strategy_name(n.strategy)}" if n.strategy else n.story


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
