"""A tensor of the emitted program, with named axes.

    Value("log_x", axes=("B", "t", "z"), shape=())       # log p(x_t | z_t), z enumerated

The leading axes have names: "S" (draws), "B" (batch), a plate, or an enumerated latent: "z", "z@1" for its
previous site, "z.0" for site 0 of a fixed plate that was unrolled. The event axes follow, with symbolic sizes.
Two values are combined by aligning their names, so nobody ever counts dimensions by hand.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lvspec.ir.axes import lag_of, latent_of
from lvspec.ir.dims import Dim, Shape
from lvspec.ir.structured import window_axis, window_of

# how tightly the text of a value binds: sums, products, unary minus and powers, names and calls
SUM, PRODUCT, UNARY, ATOM = range(4)

# how the value at one site of a plate depends on the sites of a sampled variable there
SAME, FROM, ALL = "same", "from", "all"
_WIDER = {SAME: 0, FROM: 1, ALL: 2}


@dataclass(frozen=True)
class Value:
    """code: the Python expression; axes: names of the leading axes, in physical order; shape: event axes.

    draws: sampled latents that it depends on, each with the plates along which it reads more than its own
    site, as (plate, relation) pairs. enumerated: the latent's axis, where the value is that latent itself.
    relaxed: whether it is a discrete variable's value, as a point between its values. number: whether it is a number of
    Python, no tensor: a literal, a size, what operators make of these. factors: a and b of a product `a @ b.mT`.
    """

    code: str
    axes: tuple[str, ...] = ()
    shape: Shape = ()
    binds: int = ATOM
    integer: bool = False
    draws: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = field(default=(), compare=False)
    enumerated: str | None = None
    relaxed: bool = False
    number: bool = False
    factors: tuple[Value, Value] | None = field(default=None, compare=False)

    def with_(self, **changes) -> Value:
        return Value(**vars(self) | {"factors": None} | changes)

    @property
    def is_name(self) -> bool:
        """Whether it stands under a name, of a local or of the module's."""
        return self.code.removeprefix("self.").isidentifier()

    @property
    def is_local(self) -> bool:
        """Whether it stands under the name of a local."""
        return self.code.isidentifier()

    @property
    def negative(self) -> bool:
        """Whether it is written with a minus sign in front of all of it."""
        return self.binds == PRODUCT and self.code.startswith("-")

    def at(self, binding: int) -> str:
        """The code, in parentheses where it binds less tightly than asked for."""
        return self.code if self.binds >= binding else f"({self.code})"


def as_tensor(value: Value) -> Value:
    """A number as a tensor of the module's dtype and device; a tensor as it is."""
    if not value.number:
        return value
    if value.code in ("0", "0.0"):
        return value.with_(code="self.zero", binds=ATOM, integer=False, number=False)
    return value.with_(code=f"torch.full_like(self.zero, {value.code})", binds=ATOM, integer=False, number=False)


def negated(value: Value) -> Value:
    if value.negative:
        return value.with_(code=value.code[1:])
    return value.with_(code=f"-{value.at(ATOM)}", binds=PRODUCT)


def join_draws(*values: Value) -> tuple:
    """Everything the values depend on, with the widest relation for each plate."""
    merged: dict[str, dict[str, str]] = {}
    for value in values:
        for name, relations in value.draws:
            known = merged.setdefault(name, {})
            for plate, relation in relations:
                if _WIDER[relation] > _WIDER[known.get(plate, SAME)]:
                    known[plate] = relation
    return tuple((name, tuple(sorted(r.items()))) for name, r in merged.items())


def widen_draws(value: Value, plate: str, relation: str) -> Value:
    """The same value, read from other sites of `plate`."""
    extra = tuple((name, ((plate, relation),)) for name, _ in value.draws)
    return value.with_(draws=join_draws(value, Value("", draws=extra)))


# ---------------------------------------------------------------- alignment
class AxisOrder:
    """The canonical order of named axes: draws, batch, plates as declared, each with its windows behind it, then
    enumerated latents as declared (earlier sites before later ones). windows: (plate, latent) pairs."""

    def __init__(self, plates: tuple[str, ...], latents: tuple[str, ...], windows: tuple[tuple[str, str], ...] = ()):
        sites = [a for p in plates for a in (p, *(window_axis(*w) for w in windows if w[0] == p))]
        self.rank = {name: i for i, name in enumerate(("S", "B", *sites, *latents))}
        self.plates = set(plates)

    def is_enumerated(self, axis: str) -> bool:
        return axis not in ("S", "B") and axis not in self.plates and window_of(axis) is None

    def key(self, axis: str):
        if not self.is_enumerated(axis):
            return (self.rank[axis], 0, "")
        return (self.rank[latent_of(axis)], -lag_of(axis), axis)

    def sort(self, axes) -> tuple[str, ...]:
        return tuple(sorted(set(axes), key=self.key))

    def union(self, *values: Value) -> tuple[str, ...]:
        return self.sort(a for v in values for a in v.axes)


def product(a: Value, b: Value, axes: tuple[str, ...]) -> Value:
    """`a @ b.mT`: every row of a with every row of b."""
    code, draws = f"{a.at(PRODUCT)} @ {b.at(ATOM)}.mT", join_draws(a, b)
    return Value(code, axes, binds=PRODUCT, draws=draws, factors=(a, b))


def permute(value: Value, axes: tuple[str, ...]) -> Value:
    """The same axes in another physical order."""
    if value.axes == axes:
        return value
    if value.factors and axes == (*value.axes[:-2], value.axes[-1], value.axes[-2]):
        return product(*value.factors[::-1], axes)
    order = [value.axes.index(a) for a in axes]
    moved = [i for i, j in enumerate(order) if i != j]
    if len(moved) == 2:
        code = f"{value.at(ATOM)}.transpose({moved[0]}, {moved[1]})"
    else:
        events = range(len(axes), len(axes) + len(value.shape))
        code = f"{value.at(ATOM)}.permute({', '.join(map(str, [*order, *events]))})"
    return value.with_(code=code, axes=axes, binds=ATOM)


def align(value: Value, target: tuple[str, ...], rank: int | None = None) -> Value:
    """Broadcastable against axes `target` followed by `rank` event axes: missing axes have size one,
    missing leading ones are left out."""
    rank = len(value.shape) if rank is None else rank
    value = permute(value, tuple(a for a in target if a in value.axes))
    extra = rank - len(value.shape)
    slots = [":" if a in value.axes else "None" for a in target]
    while slots and slots[0] == "None":
        slots.pop(0)
    if value.axes:
        slots += ["None"] * extra
    while slots and slots[-1] == ":":
        slots.pop()
    if not slots:
        return value
    return value.with_(code=f"{value.at(ATOM)}[{', '.join(slots)}]", binds=ATOM)


def spelled(value: Value, target: tuple[str, ...]) -> str:
    """The value's code with every axis of `target` spelled out, of size one where it does not vary."""
    value = permute(value, tuple(a for a in target if a in value.axes))
    slots = [":" if a in value.axes else "None" for a in target]
    while slots and slots[-1] == ":":
        slots.pop()
    return f"{value.at(ATOM)}[{', '.join(slots)}]" if slots else value.code


def event_to_axis(value: Value, axis: str) -> Value:
    """The first event axis gets a name; nothing moves."""
    return value.with_(axes=(*value.axes, axis), shape=value.shape[1:])


def axis_to_event(value: Value, axis: str, size: Dim) -> Value:
    """A named axis becomes the first event axis."""
    rest = tuple(a for a in value.axes if a != axis)
    value = permute(value, (*rest, axis))
    return value.with_(axes=rest, shape=(size, *value.shape))


def select(value: Value, axis: str, index: str) -> Value:
    """One site of a named axis."""
    i = value.axes.index(axis)
    code = f"{value.at(ATOM)}[{', '.join([':'] * i + [index])}]"
    return value.with_(code=code, axes=value.axes[:i] + value.axes[i + 1 :], binds=ATOM)


def dim(value: Value, axis: str) -> int:
    """The position of an axis, counted from the front."""
    return value.axes.index(axis)
