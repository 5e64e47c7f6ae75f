"""Diagram → SVG text, drawn without any program of the system."""

from __future__ import annotations

import math
from html import escape

from lvspec.graph.diagram import Diagram, DiagramNode
from lvspec.graph.layout import FONT, Frame, Layout, Shape, layout, text_width
from lvspec.graph.routes import Route, routes
from lvspec.graph.style import INK, OBSERVED, PLAIN, PLATE_LINE, QUIET, fill, strategy_name

MARGIN, TITLE, LEGEND_ROW = 18.0, 40.0, 24.0
DASHES, DOTS = "5 4", "1.5 3.5"
FAMILY = "Helvetica, Arial, 'DejaVu Sans', sans-serif"


def svg(d: Diagram) -> str:
    place = layout(d)
    key = _legend(d)
    width = max(place.width, text_width(d.name, 18), text_width(d.objective, 12), 300.0)
    rows = _wrapped(key, width)
    total_w = width + 2 * MARGIN
    total_h = TITLE + place.height + LEGEND_ROW * (len(rows) + 0.7) + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_n(total_w)}" height="{_n(total_h)}" '
        f'viewBox="0 0 {_n(total_w)} {_n(total_h)}" font-family="{FAMILY}" font-size="{FONT}" role="img">',
        f"<title>{escape(d.name)}</title>",
        f'<rect width="100%" height="100%" fill="{PLAIN}"/>',
        f'<text x="{_n(MARGIN)}" y="{_n(MARGIN + 14)}" font-size="18" font-weight="bold" fill="{INK}">'
        f"{escape(d.name)}</text>",
        f'<text x="{_n(MARGIN)}" y="{_n(MARGIN + 31)}" font-size="12" fill="{QUIET}">{escape(d.objective)}</text>',
        f'<g transform="translate({_n(MARGIN + (width - place.width) / 2)},{_n(MARGIN + TITLE)})">',
        *_picture(d, place),
        "</g>",
    ]
    top = MARGIN + TITLE + place.height + LEGEND_ROW
    for k, row in enumerate(rows):
        x = MARGIN
        for kind, colour, text in row:
            parts.append(_swatch(kind, colour, text, x, top + k * LEGEND_ROW))
            x += _entry_width(text)
    return "\n".join([*parts, "</svg>", ""])


def _picture(d: Diagram, place: Layout) -> list[str]:
    parts = [_frame(f) for f in sorted(place.frames, key=lambda f: f.depth)]
    curves = routes(d.edges, place)
    parts += [_edge(r) for r in curves]
    parts += [_node(n, place) for n in d.nodes]
    return parts + [_edge_label(r) for r in curves if r.edge.label]


# ---------------------------------------------------------------- pieces
def _frame(f: Frame) -> str:
    tint = "#f8fafc" if f.depth % 2 else "#f1f5f9"
    return (
        f'<rect x="{_n(f.x)}" y="{_n(f.y)}" width="{_n(f.width)}" height="{_n(f.height)}" rx="10" fill="{tint}" '
        f'stroke="{PLATE_LINE}"/><text x="{_n(f.x + f.width - 10)}" y="{_n(f.y + f.height - 8)}" text-anchor="end" '
        f'font-size="12" fill="{QUIET}">{escape(f.label)}</text>'
    )


def _node(n: DiagramNode, place: Layout) -> str:
    s = place.shapes[n.name]
    tip = f"{n.story}; {strategy_name(n.strategy)}" if n.strategy else n.story
    if n.role == "param":
        right = s.x > place.width / 2
        x, anchor = (s.x + 10, "start") if right else (s.x - 10, "end")
        mark = f'<circle cx="{_n(s.x)}" cy="{_n(s.y)}" r="4.5" fill="{INK}"/>'
        text = _text(n.name, x, s.y + 5, 13, anchor)
        return f"<g><title>{escape(tip)}</title>{mark}{text}</g>"
    shape = _outline(n, s, fill(n.role, n.strategy))
    size = 12 if n.role == "given" else FONT
    return f"<g><title>{escape(tip)}</title>{shape}{_text(n.name, s.x, s.y + size * 0.35, size, 'middle')}</g>"


def _outline(n: DiagramNode, s: Shape, colour: str) -> str:
    look = f'fill="{colour}" stroke="{INK}" stroke-width="1.4"'
    if n.role == "let":
        corners = ((s.x, s.y - s.ry), (s.x + s.rx, s.y), (s.x, s.y + s.ry), (s.x - s.rx, s.y))
        return f'<polygon points="{" ".join(f"{_n(x)},{_n(y)}" for x, y in corners)}" {look}/>'
    return f'<ellipse cx="{_n(s.x)}" cy="{_n(s.y)}" rx="{_n(s.rx)}" ry="{_n(s.ry)}" {look}/>'


def _edge(r: Route) -> str:
    start, *rest = r.points
    command = "C" if len(rest) == 3 else "Q"
    path = f"M{_n(start[0])},{_n(start[1])} {command}" + " ".join(f"{_n(x)},{_n(y)}" for x, y in rest)
    dash = f' stroke-dasharray="{DOTS if r.edge.guide else DASHES}"' if r.edge.dashed or r.edge.guide else ""
    ink = QUIET if r.edge.guide else INK
    tip = "" if r.edge.field else _tip(rest[-2], rest[-1], 0.9, ink)
    return f'<path d="{path}" fill="none" stroke="{ink}" stroke-width="1.3"{dash}/>{tip}'


def _tip(before: tuple[float, float], end: tuple[float, float], scale: float, ink: str = INK) -> str:
    """An arrow head, as a shape of its own: not everything that reads SVG turns a marker along its curve."""
    angle = math.degrees(math.atan2(end[1] - before[1], end[0] - before[0]))
    place = f"translate({_n(end[0])},{_n(end[1])}) rotate({_n(angle)}) scale({scale:g})"
    return f'<path d="M-9,-4.2 L1,0 L-9,4.2 z" fill="{ink}" transform="{place}"/>'


def _edge_label(r: Route) -> str:
    """White behind the letters keeps them readable where they cross a line: a text of its own, since not everything that
    reads SVG knows `paint-order`."""
    x, y = r.label_at
    place, label = f'x="{_n(x)}" y="{_n(y)}" font-size="12"', escape(r.edge.label)
    halo = f'<text {place} fill="{PLAIN}" stroke="{PLAIN}" stroke-width="4" aria-hidden="true">{label}</text>'
    return f'{halo}<text {place} fill="{INK}">{label}</text>'


def _text(text: str, x: float, y: float, size: float, anchor: str) -> str:
    place = f'x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}"'
    return f'<text {place} font-size="{_n(size)}" fill="{INK}">{escape(text)}</text>'


# ---------------------------------------------------------------- legend
def _legend(d: Diagram) -> list[tuple[str, str, str]]:
    """(kind of mark, colour, words) for what occurs."""
    strategies = dict.fromkeys(n.strategy or "none" for n in d.nodes if n.role == "latent")
    entries = [("circle", fill("latent", s), f"latent: {strategy_name(s)}") for s in strategies]
    words = {"observed": ("circle", OBSERVED, "observed"), "given": ("small", OBSERVED, "given")}
    words |= {"let": ("diamond", PLAIN, "deterministic"), "param": ("dot", INK, "parameter")}
    entries += [mark for role, mark in words.items() if any(n.role == role for n in d.nodes)]
    if any(e.dashed and not e.field for e in d.edges):
        entries.append(("dashed", INK, "from an earlier site"))
    if any(e.field for e in d.edges):
        entries.append(("joined", INK, "scored together with another site"))
    if any(e.guide for e in d.edges):
        entries.append(("dotted", QUIET, "read by the guide"))
    return entries


def _entry_width(text: str) -> float:
    return 0.86 * text_width(text, 12) + 40


def _wrapped(entries, width: float) -> list[list]:
    rows: list[list] = [[]]
    used = 0.0
    for entry in entries:
        if rows[-1] and used + _entry_width(entry[2]) > width + 20:
            rows.append([])
            used = 0.0
        rows[-1].append(entry)
        used += _entry_width(entry[2])
    return rows


def _swatch(kind: str, colour: str, text: str, x: float, y: float) -> str:
    look = f'fill="{colour}" stroke="{INK}"'
    cx = x + 9
    marks = {
        "circle": f'<circle cx="{_n(cx)}" cy="{_n(y)}" r="8" {look}/>',
        "small": f'<ellipse cx="{_n(cx)}" cy="{_n(y)}" rx="8" ry="6" {look}/>',
        "dot": f'<circle cx="{_n(cx)}" cy="{_n(y)}" r="4.5" {look}/>',
        "diamond": f'<polygon points="{_n(cx - 10)},{_n(y)} {_n(cx)},{_n(y - 8)} {_n(cx + 10)},{_n(y)} '
        f'{_n(cx)},{_n(y + 8)}" {look}/>',
        "joined": f'<path d="M{_n(x)},{_n(y)} h20" stroke="{INK}" stroke-dasharray="{DASHES}"/>',
        "dashed": f'<path d="M{_n(x)},{_n(y)} h20" stroke="{INK}" stroke-dasharray="{DASHES}"/>'
        f"{_tip((x, y), (x + 20, y), 0.7)}",
        "dotted": f'<path d="M{_n(x)},{_n(y)} h20" stroke="{QUIET}" stroke-dasharray="{DOTS}"/>'
        f"{_tip((x, y), (x + 20, y), 0.7, QUIET)}",
    }
    return f"{marks[kind]}{_text(text, x + 25, y + 4, 12, 'start')}"


def _n(value: float) -> str:
    """One decimal at most, and no -0."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text
