"""Expressions as they were written: `transition[z[t-1]]` is Access(Name, [Access(Name, [Binary])]). No name has a meaning yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from lvspec.errors import NOWHERE, Span


@dataclass(frozen=True)
class Node:
    span: Span = field(kw_only=True, default=NOWHERE, compare=False)

    def children(self) -> tuple[Node, ...]:
        return ()


@dataclass(frozen=True)
class Name(Node):
    name: str


@dataclass(frozen=True)
class Dotted(Node):
    path: str


@dataclass(frozen=True)
class Literal(Node):
    """A number, with the digits that were written."""

    text: str
    value: int | float


@dataclass(frozen=True)
class Binary(Node):
    """function: add, subtract, multiply, divide or power."""

    function: str
    left: Node
    right: Node

    def children(self) -> tuple[Node, ...]:
        return (self.left, self.right)


@dataclass(frozen=True)
class Negative(Node):
    operand: Node

    def children(self) -> tuple[Node, ...]:
        return (self.operand,)


@dataclass(frozen=True)
class Access(Node):
    """`base[index, ...]`"""

    base: Node
    indices: tuple[Node, ...]

    def children(self) -> tuple[Node, ...]:
        return (self.base, *self.indices)


@dataclass(frozen=True)
class Relation(Node):
    """`[<t]` before, `[<=t]` through, `[>t]` after, `[>=t]` from; `[<t in z]` since its segment of z began."""

    reach: str
    plate: str
    inside: str | None = None


@dataclass(frozen=True)
class Application(Node):
    """`base(argument, ..., name=argument, ...)`"""

    base: Node
    arguments: tuple[Node, ...]
    keywords: tuple[tuple[Name, Node], ...] = ()

    def children(self) -> tuple[Node, ...]:
        return (self.base, *self.arguments, *(value for _, value in self.keywords))


@dataclass(frozen=True)
class Along(Node):
    """`body over plate`"""

    body: Node
    plate: Name

    def children(self) -> tuple[Node, ...]:
        return (self.body,)


@dataclass(frozen=True)
class ListNode(Node):
    items: tuple[Node, ...]

    def children(self) -> tuple[Node, ...]:
        return self.items


@dataclass(frozen=True)
class WhereBinding:
    names: tuple[Name, ...]
    value: Node


@dataclass(frozen=True)
class RightSide(Node):
    """What stands right of a colon: `body through f(...) with part where a, b = e`."""

    body: Node
    through: tuple[Node, ...] = ()
    parts: tuple[Name, ...] = ()
    where: tuple[WhereBinding, ...] = ()

    def children(self) -> tuple[Node, ...]:
        return (self.body, *self.through, *(b.value for b in self.where))


@dataclass(frozen=True)
class ChoiceNode(Node):
    """`if:`, `then:` and `else:` of a mixture."""

    condition: RightSide
    then: RightSide
    otherwise: RightSide

    def children(self) -> tuple[Node, ...]:
        return (self.condition, self.then, self.otherwise)


@dataclass(frozen=True)
class IndexedName:
    """`z[0, l]` left of a colon."""

    name: Name
    indices: tuple[Node, ...]


@dataclass(frozen=True)
class Target(Node):
    """What stands left of a colon. places: more than one for variables drawn together."""

    places: tuple[IndexedName, ...]
    over: Name | None = None
    outside_batch: bool = False


def walk(node: Node) -> Iterator[Node]:
    """Every node below and including `node`, outermost first."""
    stack = [node]
    while stack:
        top = stack.pop()
        yield top
        stack.extend(reversed(top.children()))


def names_in(node: Node) -> tuple[str, ...]:
    """Every name that an expression mentions, each once, in order."""
    return tuple(dict.fromkeys(n.name for n in walk(node) if isinstance(n, Name)))


def words_in(node: Node) -> Iterator[str]:
    """Every name and plate that an expression mentions, plates of `over` and `[<t]` too."""
    for n in walk(node):
        match n:
            case Name(name):
                yield name
            case Relation(_, plate, inside):
                yield plate
                if inside is not None:
                    yield inside
            case Along(_, plate):
                yield plate.name
