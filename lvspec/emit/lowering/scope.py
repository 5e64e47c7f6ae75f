"""The statements of one emitted method, the names that it uses, and what it imports."""

from __future__ import annotations

import keyword
from collections.abc import Iterator
from contextlib import contextmanager

from lvspec.emit.lowering.value import ATOM, Value
from lvspec.emit.text.symbols import Symbol, tell
from lvspec.emit.text.text import WIDTH, statement
from lvspec.ir.axes import latent_of
from lvspec.ir.spec import Spec
from lvspec.ir.structured import longest_segment, window_of

# names that an emitted file gives a meaning of its own
RESERVED = {
    "self", "torch", "nn", "batch", "draws", "samples", "semiring", "tilt", "math", "Model", "super", "range",
    "len", "dict", "int", "score", "elbo", "kl", "reconstruction", "loss", "weights",
}  # fmt: skip


MOST_LETTERS = 40  # of a name that is made of several


def short(names: str) -> str:
    """What several latents are called together, `z_y_x`; of many, the first ones."""
    return names if len(names) <= MOST_LETTERS else f"{names[:MOST_LETTERS].rpartition('_')[0]}_and_others"


class Names:
    """Fresh Python names; those of the spec come first and keep their spelling."""

    def __init__(self, taken: set[str]):
        self.taken = set(taken) | RESERVED

    def fresh(self, base: str, *others: str) -> str:
        """The first of these names that is free, else one with a number."""
        name, i = next((n for n in (base, *others) if n not in self.taken and not keyword.iskeyword(n)), base), 2
        while name in self.taken or keyword.iskeyword(name):
            name, i = f"{base}_{i}", i + 1
        self.taken.add(name)
        return name


class Scope:
    """A method under construction. `shown` maps an axis to how a shape comment shows it."""

    def __init__(self, spec: Spec, imports: set[str], indent: int = 2):
        self.spec = spec
        self.imports = imports
        self.names = Names(imports)
        self.lines: list[str] = []
        self.indent = indent
        self.subject = ("", "")
        self.called: dict[str, str] = {}  # names of what `where` gives, where it is an argument of a draw
        self.at_first = ""  # the end of names of what belongs to a first site's own clause
        self.anew = False  # whether everything is drawn, whatever a table of the caller holds
        self.distributions: dict[str, str] = {}  # `q_z` by what it is, `Normal(loc, scale)`
        self.entries: dict[str, str] = {}  # names of what may come from such a table, by its key
        self.axes: dict[str, tuple[str, ...]] = {}  # of locals, by name
        self.shapes: dict[str, str] = {}  # of locals, as comments

    @contextmanager
    def about(self, node: str, part: str) -> Iterator[None]:
        """What is written inside belongs to a node, as its factor, its guide factor, ...: see emit/text/symbols.py."""
        before, self.subject = self.subject, (node, part)
        yield
        self.subject = before

    def each(self, nodes: list[str], part: str) -> Iterator[str]:
        """The nodes one by one, what is written meanwhile being about that node."""
        for node in nodes:
            with self.about(node, part):
                yield node

    def stands(self, name: str, axes: tuple[str, ...], argument: str | None = None) -> None:
        """Says what a local is: something of the present subject."""
        self.axes[name] = axes
        if self.subject[0]:
            tell(name, Symbol(*self.subject, axes, argument))

    def use(self, function: str) -> str:
        """A runtime function by name; it lands in the import line."""
        self.imports.add(function)
        return function

    def line(self, code: str = "", comment: str = "") -> None:
        self.lines.extend(statement(code, comment, self.indent) if code else [""])

    def comment(self, text: str) -> None:
        self.lines.append("    " * self.indent + "# " + text)

    def fresh(self, base: str, *others: str) -> str:
        """A name for what belongs to the present subject: `loc`, else `loc_z`, `loc_of_p`."""
        if base in self.called:
            return self.called[base]
        node, part = self.subject
        others += (f"{base}_{node}",) if node not in base else ()
        return self.names.fresh(base, *others, *([f"{base}_of_{part}"] if part else ()))

    def assign(self, base: str, value: Value, note: str = "", own: bool = False, other: str = "") -> Value:
        """`base = value  # (shape)`, and the value under its new name; `own`: the spec's name for just this. other: its name
        where `base` is that of something else."""
        if value.code == base:
            return value
        name = base if own else self.fresh(base, *filter(None, [other]))
        self.shapes[name] = self.shape_comment(value)
        self.line(f"{name} = {value.code}", ", ".join(filter(None, (self.shapes[name], note))))
        self.stands(name, value.axes)
        return value.with_(code=name, binds=ATOM)

    def named(self, base: str, value: Value, note: str = "", own: bool = False, other: str = "") -> Value:
        """The value under a name: as it is where it is a local, else assigned."""
        return value if value.is_local else self.assign(base, value, note, own, other)

    def either(self, name: str, table: str, key: str, fallback: str, comment: str) -> None:
        """`name`: the table's entry where it has one, else the fallback."""
        self.entries[key] = name
        if self.anew:
            self.line(f"{name} = {fallback}", comment)
            return
        line = f'{name} = {table}["{key}"] if "{key}" in {table} else {fallback}'
        if len(line) + 4 * self.indent <= WIDTH:
            self.line(line, comment)
            return
        self.line(f'{name} = {table}.get("{key}")', comment)
        self.line(f"if {name} is None:")
        self.indent += 1
        self.line(f"{name} = {fallback}")
        self.indent -= 1

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        """Lines under `if condition:`; what comes next under the same condition stands under the same line."""
        head = "    " * self.indent + f"if {condition}:"
        above = next((row for row in reversed(self.lines) if not row.startswith("    " * (self.indent + 1))), "")
        if above != head:
            self.lines.append(head)
        self.indent += 1
        yield
        self.indent -= 1

    def returned(self, value: Value) -> None:
        """The last line of a method that gives one value, with its shape, unless the name has been told with it."""
        self.line(f"return {value.code}", "" if value.is_name else self.shape_comment(value))

    def shape_comment(self, value: Value) -> str:
        parts = [self.show_axis(a) for a in value.axes] + [str(d) for d in value.shape]
        return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"

    def shape_comments(self, values: tuple[Value, ...]) -> str:
        """The shapes of several results of one statement."""
        shapes = [self.shape_comment(v) for v in values]
        return shapes[0] if len(shapes) == 1 else f"{shapes[0]} each" if len({*shapes}) == 1 else ", ".join(shapes)

    def show_axis(self, axis: str) -> str:
        if axis in ("S", "B"):
            return axis
        for plate in (*self.spec.plates, *self.spec.copies):
            if plate.name == axis:
                return str(plate.size) if plate.size is not None else plate.name.upper()
        if (latent := window_of(axis)) is not None:
            return str(longest_segment(self.spec.variable(latent)))
        size = self.spec.variable(latent_of(axis)).type.support.cardinality
        return str(size)
