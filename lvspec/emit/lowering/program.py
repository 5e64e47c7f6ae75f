"""One method of the emitted module under construction: its lowering, its variables, its text."""

from __future__ import annotations

import re

from lvspec.emit.lowering.lower import Lowering
from lvspec.emit.lowering.scope import Scope
from lvspec.emit.lowering.value import AxisOrder, Value
from lvspec.emit.lowering.windows import windows_of
from lvspec.emit.text.text import wrap
from lvspec.emit.text.unused import without_unused
from lvspec.ir.axes import latent_of
from lvspec.ir.dims import Dim, Shape, ragged_plate
from lvspec.ir.plan import Plan
from lvspec.ir.spec import Variable


class Program:
    """Opens a method body: observed and given variables are tensors of the batch, read where first needed."""

    def __init__(self, plan: Plan, imports: set[str], summed: set[str], arguments: tuple[str, ...] = ()):
        self.plan = plan
        self.discrete = True  # whether discrete latents are drawn as they are
        self.rows = ""  # a local name for the number of examples, where the method has one
        self.drawn: dict[str, str] = {}  # axes of what `draws` may fix, behind S, as Python
        self.scope = Scope(plan.spec, imports)
        spec = plan.spec
        names = {v.name for v in spec.variables} | set(spec.plate_names)
        self.scope.names.taken |= set(arguments)
        latents, windows = tuple(v.name for v in spec.of_role("latent")), windows_of(spec)
        self.order = AxisOrder(spec.plate_names, latents, tuple((w.plate, w.latent) for w in windows))
        self.low = Lowering(plan, self.scope, self.order, summed)
        self.inputs = [v for v in spec.variables if v.role in ("observed", "given")]
        for variable in self.inputs:
            self.low.known[variable.name] = value = input_value(variable)
            with self.scope.about(variable.name, "data"):
                self.scope.stands(value.code, value.axes)
        self.scope.names.taken |= names

    def draw(
        self, name: str, latent: str, fallback: str, value: Value, note: str = "", shape: Shape | None = None
    ) -> None:
        """`name`: what `draws` has of a latent, else the fallback. value: the draw; shape: of its noise, where that is another one."""
        noise = value if shape is None else value.with_(shape=shape)
        comment = ", ".join(filter(None, (self.scope.shape_comment(noise), note)))
        self.scope.either(name, "draws", latent, fallback, comment)
        if not self.scope.anew:
            self.may_fix(latent, value.axes, noise.shape)

    def may_fix(self, latent: str, axes: tuple[str, ...], shape: Shape) -> None:
        """Notes that `draws` may have a latent, (S, *axes, *shape)."""
        parts = [self._axis(a) for a in axes if a != "S"] + [self._extent(d) for d in shape]
        self.drawn[latent] = f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"

    def _axis(self, axis: str) -> str:
        if axis == "B":
            return '"B"'
        if self.order.is_enumerated(axis):
            return self._extent(self.plan.spec.variable(latent_of(axis)).type.support.values)
        plate = self.plan.spec.plate(axis)
        return f'"{plate.sites}"' if plate.size is None else self.low.size(plate.size)

    def _extent(self, size: Dim) -> str:
        plate = ragged_plate(size)
        return self.low.size(size) if plate is None else f'"{plate}"'

    def text(self, whole: bool = True) -> list[str]:
        """The body, with a line for every input that it reads; of a whole one without what nothing reads. Other lines follow one
        that is not whole."""
        lines = without_unused(self.scope.lines) if whole else self.scope.lines
        return [*self._fixed(), *self.inputs_of(lines), *lines]

    def inputs_of(self, lines: list[str]) -> list[str]:
        """A line for every input that these lines read."""
        read = bare_names("\n".join(lines))
        return [
            f'        {v.name} = batch["{v.name}"]  # {self.scope.shape_comment(self.low.known[v.name])}'
            for v in self.inputs
            if v.name in read
        ]

    def _fixed(self) -> list[str]:
        """The line that refuses draws of what nothing draws, and of other shapes."""
        if not self.drawn:
            return []
        items = ", ".join(f'"{n}": {axes}' for n, axes in self.drawn.items())
        refined = ", refined=True" if self.plan.refined else ""
        return wrap(f"draws = {self.scope.use('fixed_draws')}(draws, batch, {{{items}}}{refined})", 2)


def input_value(variable: Variable) -> Value:
    axes = (*(() if variable.outside_batch else ("B",)), *variable.plates)
    return Value(variable.name, axes, variable.type.shape, integer=variable.type.support.discrete)


def bare_names(body: str) -> set[str]:
    """The names that a text uses as they are: no attributes, keyword arguments or strings."""
    return set(re.findall(r"(?<![\w.\"])[^\W\d]\w*+(?![\w\"]|\s*=[^=])", body))
