"""Edges as curves: straight where nothing is in the way, else bent around; arcs between sites on the right."""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, sqrt

from lvspec.graph.diagram import DiagramEdge
from lvspec.graph.layout import Layout, Shape

CLEAR = 7.0  # kept between an edge and a node that it passes
CELL = 64.0  # the side of the squares by which nodes near a point are found
BENDS = (0.0, *(side * bend for bend in (45.0, 80.0, 120.0, 170.0, 230.0, 300.0, 380.0) for side in (1, -1)))
Point = tuple[float, float]


@dataclass(frozen=True)
class Route:
    """A quadratic or cubic Bézier curve by its control points, and where its label stands."""

    edge: DiagramEdge
    points: tuple[Point, ...]
    label_at: Point


def routes(edges: tuple[DiagramEdge, ...], place: Layout) -> list[Route]:
    cells = Cells(place)
    return [_loop(e, place.shapes[e.source]) if e.source == e.target else _between(e, place, cells) for e in edges]


class Cells:
    """Which nodes are near a point: those whose surroundings reach into its square."""

    def __init__(self, place: Layout):
        self.near: dict[tuple[int, int], list[tuple[Shape, float, float]]] = {}
        for s in place.shapes.values():
            room = CLEAR + (4.0 if s.role == "param" else 0.0)
            rx, ry = s.rx + room, s.ry + room
            for column in range(int((s.x - rx) // CELL), int((s.x + rx) // CELL) + 1):
                for row in range(int((s.y - ry) // CELL), int((s.y + ry) // CELL) + 1):
                    self.near.setdefault((column, row), []).append((s, rx, ry))

    def passed(self, points: tuple[Point, ...], ends: tuple[str, str]) -> int:
        """How many nodes a curve passes too close, its own ends left out."""
        p, q, r = points
        found = set()
        for k in range(1, 24):
            t = k / 24
            x = (1 - t) ** 2 * p[0] + 2 * t * (1 - t) * q[0] + t * t * r[0]
            y = (1 - t) ** 2 * p[1] + 2 * t * (1 - t) * q[1] + t * t * r[1]
            for s, rx, ry in self.near.get((int(x // CELL), int(y // CELL)), ()):
                if ((x - s.x) / rx) ** 2 + ((y - s.y) / ry) ** 2 < 1:
                    found.add(s.name)
        return len(found.difference(ends))


def _loop(e: DiagramEdge, s: Shape) -> Route:
    """From the node's upper right back to its lower right."""
    x, dy = s.x + s.rx * 0.8, s.ry * 0.6
    out = s.x + s.rx + 36
    end = (x + 1.5, s.y + dy)
    return Route(e, ((x, s.y - dy), (out, s.y - s.ry * 1.5), (out, s.y + s.ry * 1.5), end), (out - 4, s.y + 4))


def _between(e: DiagramEdge, place: Layout, cells: Cells) -> Route:
    a, b = place.shapes[e.source], place.shapes[e.target]
    found: list[tuple[int, Route]] = []
    for bend in _bends(e, a, b):
        route = _curve(e, a, b, bend)
        found.append((cells.passed(route.points, (e.source, e.target)), route))
        if found[-1][0] == 0:
            break
    return min(found, key=lambda tried: tried[0])[1]


def _bends(e: DiagramEdge, a: Shape, b: Shape) -> tuple[float, ...]:
    """An arc between sites, or of the guide, is never straight (the model's edge may be), and bulges right first."""
    if not e.dashed and not e.guide:
        return BENDS
    sign = 1.0 if b.y < a.y or (b.y == a.y and b.x < a.x) else -1.0
    return tuple(sign * bend for bend in BENDS if bend)


def _curve(e: DiagramEdge, a: Shape, b: Shape, bend: float) -> Route:
    dx, dy = b.x - a.x, b.y - a.y
    length = hypot(dx, dy) or 1.0
    control = ((a.x + b.x) / 2 - bend * dy / length, (a.y + b.y) / 2 + bend * dx / length)
    start, end = _border(a, control), _border(b, control, gap=2.5)
    mid = (0.25 * start[0] + 0.5 * control[0] + 0.25 * end[0], 0.25 * start[1] + 0.5 * control[1] + 0.25 * end[1])
    return Route(e, (start, control, end), (mid[0] + 5, mid[1] + 4))


def _border(s: Shape, towards: Point, gap: float = 0.0) -> Point:
    """Where the line from the centre of s to a point leaves its shape."""
    dx, dy = towards[0] - s.x, towards[1] - s.y
    length = hypot(dx, dy) or 1.0
    if s.role == "let":
        scale = 1.0 / (abs(dx) / s.rx + abs(dy) / s.ry or 1.0)
    else:
        scale = 1.0 / (sqrt((dx / s.rx) ** 2 + (dy / s.ry) ** 2) or 1.0)
    scale += gap / length
    return s.x + dx * scale, s.y + dy * scale
