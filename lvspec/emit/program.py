"""One method of the emitted module under construction: its lowering, its variables, its text."""

from __future__ import annotations

import re

from lvspec.emit.lower import Lowering
from lvspec.emit.scope import Scope
from lvspec.emit.unused import without_unused
from lvspec.emit.value import AxisOrder, Value
from lvspec.emit.windows import windows_of
from lvspec.ir.plan import Plan
from lvspec.ir.spec import Variable


class Program:
    """Opens a method body: observed and given variables are tensors of the batch, read where first needed."""

    def __init__(self, plan: Plan, imports: set[str], summed: set[str], arguments: tuple[str, ...] = ()):
        self.plan = plan
        self.discrete = True  # whether discrete latents are drawn as they are
        self.rows = ""  # a local name for the number of examples, where the method has one
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

    def text(self) -> list[str]:
        """The body without what nothing reads, with a line for every input that it reads."""
        lines = self.scope.lines
        if any(line.startswith("        return ") for line in lines):
            lines = without_unused(lines)
        read = _bare_names("\n".join(lines))
        header = [
            f'        {v.name} = batch["{v.name}"]  # {self.scope.shape_comment(self.low.known[v.name])}'
            for v in self.inputs
            if v.name in read
        ]
        return [*header, *lines]


def input_value(variable: Variable) -> Value:
    axes = (*(() if variable.outside_batch else ("B",)), *variable.plates)
    return Value(variable.name, axes, variable.type.shape, integer=variable.type.support.discrete)


def _bare_names(body: str) -> set[str]:
    """The names that a text uses as they are: no attributes, keyword arguments or strings."""
    return set(re.findall(r"(?<![\w.\"])[^\W\d]\w*+(?![\w\"]|\s*=[^=])", body))
