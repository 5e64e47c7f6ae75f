"""Diagram → places: a layered layout inside each plate, plates as items of the plate around them.

Inside a box, items (nodes, inner boxes) stand in rows; who depends on whom within one site decides the row,
so influence flows downwards. Parameters stand at the sides of the batch plate, at the height of what reads them.
All sizes are in pixels, y grows downwards, and nothing depends on anything but the diagram.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from lvspec.graph.diagram import Box, Diagram, DiagramNode
from lvspec.ir.components import sources_first

FONT = 14
GAP_X, GAP_Y = 34.0, 42.0
PADDING, LABEL_ROW = 20.0, 16.0
LOOP = 62.0  # what an arc from a site to the next takes on the right of its node
PARAM_ROW, PARAM_GAP = 28.0, 56.0


def text_width(text: str, size: float = FONT) -> float:
    """An upper estimate for the sans-serif fonts at hand."""
    return sum(0.36 if c in "ijl.,:;|!'[]() " else 0.95 if c in "mwMW" else 0.66 for c in text) * size


@dataclass
class Shape:
    """A node's place: centre and half axes. `right_extra`: room kept free on its right for arcs."""

    name: str
    role: str
    rx: float
    ry: float
    x: float = 0.0
    y: float = 0.0
    right_extra: float = 0.0


@dataclass
class Frame:
    """A plate's rectangle."""

    label: str
    x: float
    y: float
    width: float
    height: float
    depth: int


def _shift(things: Iterable[Shape | Frame], dx: float, dy: float) -> None:
    for thing in things:
        thing.x += dx
        thing.y += dy


@dataclass
class Item:
    """A node or an inner box while its row is laid out: extents around the anchor x, and its height."""

    members: tuple[str, ...]  # every node inside
    left: float
    right: float
    height: float
    shapes: list[Shape]
    frames: list[Frame]
    x: float = 0.0
    y: float = 0.0  # the top

    def shift(self, dx: float, dy: float) -> None:
        _shift((*self.shapes, *self.frames), dx, dy)


@dataclass
class Layout:
    shapes: dict[str, Shape] = field(default_factory=dict)
    frames: list[Frame] = field(default_factory=list)
    width: float = 0.0
    height: float = 0.0


def layout(d: Diagram) -> Layout:
    params = [n for n in d.nodes if n.role == "param"]
    names = {n.name for n in params}
    root = Box(None, "", tuple(n for n in d.root.nodes if n not in names), d.root.boxes)
    body = _lay_box(d, root, 0)
    place = Layout({s.name: s for s in body.shapes}, body.frames)
    for shape in _beside(d, params, place, body):
        place.shapes[shape.name] = shape
    return _moved_to_origin(place)


def _shape(n: DiagramNode, arcs: bool) -> Shape:
    """arcs: whether room is needed for one from a site to the next."""
    width = text_width(n.name, 12 if n.role == "given" else FONT)
    rx, ry = {
        "let": (max(30.0, width * 0.62 + 22), 26.0),
        "given": (max(18.0, width / 2 + 8), 18.0),
        "param": (5.0, 5.0),
    }.get(n.role, (max(24.0, width / 2 + 10), 24.0))
    return Shape(n.name, n.role, rx, ry, right_extra=LOOP if arcs else 0.0)


# ---------------------------------------------------------------- rows inside a box
def _lay_box(d: Diagram, box: Box, depth: int) -> Item:
    """The box's content, its own frame included, in coordinates whose origin is its top left corner."""
    items, arcs = [], {e.source for e in d.edges if e.dashed}
    for name in box.nodes:
        s = _shape(d.node(name), name in arcs)
        s.x, s.y = s.rx, s.ry
        items.append(Item((name,), s.rx, s.rx + s.right_extra, 2 * s.ry, [s], []))
    items += [_lay_box(d, inner, depth + 1) for inner in box.boxes]
    links = _links(d, items)
    rows = _ordered(_rows(items, links), links)
    _set_places(d, rows, links)
    return _framed(box, items, depth)


def _links(d: Diagram, items: list[Item]) -> list[tuple[int, int, str, str]]:
    """(item read, item reading, node read, node reading) for the edges within one site."""
    owner = {name: i for i, item in enumerate(items) for name in item.members}
    found = []
    for e in d.edges:
        a, b = owner.get(e.source), owner.get(e.target)
        if a is not None and b is not None and a != b and not e.dashed and not e.apart:
            found.append((a, b, e.source, e.target))
    return found


def _rows(items: list[Item], links) -> list[list[tuple[int, Item]]]:
    """Longest path from a source; a link that would close a circle (boxes read each other) is passed over."""
    parents: dict[int, list[int]] = {i: [] for i in range(len(items))}
    for a, b, _, _ in links:
        parents[b].append(a)
    row: dict[int, int] = {}
    for i in range(len(items)):
        for j in () if i in row else sources_first(i, parents.__getitem__, row.__contains__):
            row[j] = 1 + max((row[p] for p in parents[j] if p in row), default=-1)
    rows: list[list[tuple[int, Item]]] = [[] for _ in range(max(row.values(), default=-1) + 1)]
    for i, item in enumerate(items):
        rows[row[i]].append((i, item))
    return [r for r in rows if r]


def _ordered(rows, links):
    """Barycentre sweeps, down and up: neighbours stand near each other and few edges cross."""
    place = {i: k for r in rows for k, (i, _) in enumerate(r)}
    near: dict[int, list[int]] = {}
    for a, b, _, _ in links:
        near.setdefault(a, []).append(b)
        near.setdefault(b, []).append(a)

    def centre(entry) -> float:
        around = [place[j] for j in near.get(entry[0], ())]
        return sum(around) / len(around) if around else place[entry[0]]

    for sweep in (rows, rows[::-1], rows):
        for r in sweep:
            r.sort(key=centre)
            place.update({i: k for k, (i, _) in enumerate(r)})
    return rows


def _set_places(d: Diagram, rows, links) -> None:
    top = 0.0
    for r in rows:
        height = max(item.height for _, item in r)
        left = 0.0
        for _, item in r:
            item.x, item.y = left + item.left, top + (height - item.height) / 2
            left = item.x + item.right + GAP_X
        top += height + GAP_Y
    by_index = {i: item for r in rows for i, item in r}
    wanted = _pulls(by_index, links)
    for sweep in (rows, rows[::-1]) * 4:
        for r in sweep:
            _settle([item for _, item in r], [wanted(i) for i, _ in r])
    for _, item in (entry for r in rows for entry in r):
        item.shift(item.x - item.left, item.y)


def _pulls(items: dict[int, Item], links):
    """For an item: the x at which its edges would be vertical, on average."""
    inside = {s.name: s.x for item in items.values() for s in item.shapes}  # from the item's left border
    ends: dict[int, list[tuple[int, str, str]]] = {}  # by item: the other one, the node here, the node there
    for a, b, u, v in links:
        ends.setdefault(a, []).append((b, u, v))
        ends.setdefault(b, []).append((a, v, u))

    def wanted(i: int) -> float | None:
        pulls = []
        for other, name, far in ends.get(i, ()):
            far_x = items[other].x - items[other].left + inside[far]
            pulls.append(far_x - inside[name] + items[i].left)
        return sum(pulls) / len(pulls) if pulls else None

    return wanted


def _settle(row: list[Item], wanted: list[float | None]) -> None:
    """Each item to where it wants to be, the gaps kept: left to right, then back half way."""
    targets = [item.x if w is None else w for item, w in zip(row, wanted, strict=True)]
    from_left, edge = [], float("-inf")
    for item, x in zip(row, targets, strict=True):
        x = max(x, edge + item.left)
        from_left.append(x)
        edge = x + item.right + GAP_X
    from_right, edge = [], float("inf")
    for item, x in zip(row[::-1], targets[::-1], strict=True):
        x = min(x, edge - item.right)
        from_right.append(x)
        edge = x - item.left - GAP_X
    for item, a, b in zip(row, from_left, from_right[::-1], strict=True):
        item.x = (a + b) / 2


def _framed(box: Box, items: list[Item], depth: int) -> Item:
    """All items as one, with the plate's frame around them."""
    shapes = [s for item in items for s in item.shapes]
    frames = [f for item in items for f in item.frames]
    members = tuple(name for item in items for name in item.members)
    left = min((i.x - i.left for i in items), default=0.0)
    right = max((i.x + i.right for i in items), default=0.0)
    bottom = max((i.y + i.height for i in items), default=0.0)
    whole = Item(members, 0.0, right - left, bottom, shapes, frames)
    whole.shift(-left, 0.0)
    if box.plate is not None:
        # half of it is room enough for the label: edges leave through the middle
        missing = max(0.0, 2 * (0.86 * text_width(box.label, 12) + 16) - (whole.right + 2 * PADDING))
        width, height = whole.right + 2 * PADDING + missing, bottom + 2 * PADDING + LABEL_ROW
        whole.shift(PADDING + missing / 2, PADDING)
        frames.insert(0, Frame(box.label, 0.0, 0.0, width, height, depth))
        whole.right, whole.height = width, height
    whole.left = whole.right = whole.right / 2
    return whole


# ---------------------------------------------------------------- parameters
def _beside(d: Diagram, params: list[DiagramNode], place: Layout, body: Item) -> list[Shape]:
    """Parameters left of everything, or right where what they read stands there; none above another."""
    middle = sum(s.x for s in body.shapes) / max(1, len(body.shapes))
    sides: dict[bool, list[tuple[float, Shape]]] = {False: [], True: []}
    targets: dict[str, list[Shape]] = {}
    for e in d.edges:
        targets.setdefault(e.source, []).append(place.shapes[e.target])
    for n in params:
        readers = targets[n.name]
        x = sum(s.x for s in readers) / len(readers)
        y = sum(s.y for s in readers) / len(readers)
        sides[x > middle + 40].append((y, _shape(n, False)))
    for right, column in sides.items():
        _spread(column)
        for _, s in column:
            s.x = body.left + body.right + PARAM_GAP if right else -PARAM_GAP
    return [s for column in sides.values() for _, s in column]


def _spread(column: list[tuple[float, Shape]]) -> None:
    """Heights near the wanted ones, PARAM_ROW apart: those that want the same one stand around it."""
    column.sort(key=lambda entry: entry[0])
    groups: list[list[tuple[float, Shape]]] = []
    for entry in column:
        groups.append([entry])
        while len(groups) > 1 and _top(groups[-1]) < _top(groups[-2]) + PARAM_ROW * len(groups[-2]):
            last = groups.pop()
            groups[-1] += last
    for group in groups:
        for k, (_, shape) in enumerate(group):
            shape.y = _top(group) + PARAM_ROW * k


def _top(group: list[tuple[float, Shape]]) -> float:
    return sum(y for y, _ in group) / len(group) - PARAM_ROW * (len(group) - 1) / 2


def _moved_to_origin(place: Layout) -> Layout:
    lefts = [f.x for f in place.frames]
    rights = [f.x + f.width for f in place.frames]
    tops = [f.y for f in place.frames]
    bottoms = [f.y + f.height for f in place.frames]
    for s in place.shapes.values():
        label = text_width(s.name) + 12 if s.role == "param" else 0.0
        lefts.append(s.x - s.rx - label)
        rights.append(s.x + s.rx + max(label, s.right_extra))
        tops.append(s.y - s.ry - 4)
        bottoms.append(s.y + s.ry + 4)
    dx, dy = -min(lefts, default=0.0), -min(tops, default=0.0)
    _shift((*place.shapes.values(), *place.frames), dx, dy)
    place.width, place.height = max(rights, default=0.0) + dx, max(bottoms, default=0.0) + dy
    return place
