"""CRF guides: one object of the runtime for q(z | x), a conditional random field, asked for draws, marginals and its entropy.

q_z = linear_chain_guide(batch["t.mask"], unary_z, pairwise, known_z)
z = q_z.sample(samples)                drawn as a whole: log q(z) has no sites
q_z.sites, q_z.steps                   averaged: q(z_t), and q(z_{t-1}, z_t)
"""

from __future__ import annotations

from dataclasses import dataclass

from lvspec.emit.factors.structures import arguments_of, full_mask, leading, spelled_arguments, structure_function
from lvspec.emit.lowering.program import Program
from lvspec.emit.lowering.value import ATOM, Value, align, join_draws, permute, spelled
from lvspec.ir.axes import axis_of, shift_axis
from lvspec.ir.spec import Variable
from lvspec.ir.structures import STRUCTURES


@dataclass(frozen=True)
class CRFGuideCode:
    """code: the object. lead: what labellings differ over. plate: that of their sites. draws: what q depends on."""

    code: str
    lead: tuple[str, ...]
    plate: str
    axis: str
    draws: tuple
    one_to_one: bool

    def sites(self) -> Value:
        """q(z_t): (lead, t, z)."""
        return Value(f"{self.code}.sites", (*self.lead, self.plate, self.axis), draws=self.draws)

    def steps(self) -> Value:
        """q(z_{t-1}, z_t): (lead, t, z one back, z)."""
        axes = (*self.lead, self.plate, shift_axis(self.axis, 1), self.axis)
        return Value(f"{self.code}.steps", axes, draws=self.draws)

    def entropy(self) -> Value:
        """H(q): (lead)."""
        return Value(f"{self.code}.entropy", self.lead, draws=self.draws)

    def log_prob(self, labels: Value) -> Value:
        """log q(z) at a draw: (S, lead)."""
        axes = ("S", *(a for a in self.lead if a != "S"))
        code = f"{self.code}.log_prob({spelled(labels, (*axes, self.plate))})"
        return Value(code, axes, draws=join_draws(labels, Value("", draws=self.draws)))


def crf_guide(program: Program, latent: Variable, factor: Variable) -> CRFGuideCode:
    """Writes q of a latent."""
    low, scope, name = program.low, program.scope, latent.name
    arguments = arguments_of(low, factor)
    plate, family = factor.general.dist.plate, factor.general.dist.family
    values = list(arguments.values())
    for argument, value in arguments.items():
        scope.stands(value.code, value.axes, argument)
    lead = leading(low, factor, values, set())
    size = low.size(latent.type.support.values)
    axes = 1 + len(latent.plates)
    code = f'{scope.use("label_evidence")}(batch, "{name}", {size}, {axes}, self.zero)'
    axis = axis_of(name)
    known = scope.assign(f"known_{name}", Value(code, ("B", *latent.plates, axis)), "what is known of it")
    operands = [full_mask(low, plate, lead), *spelled_arguments(factor, arguments, lead)]
    operands.append(align(known, (*lead, plate, axis)).code)
    q = scope.names.fresh(f"q_{name}")
    scope.line(f"{q} = {structure_function(low, family, 'guide')}({', '.join(operands)})")
    one_to_one = STRUCTURES[factor.general.dist.family].one_to_one
    return CRFGuideCode(q, lead, plate, axis, join_draws(*values), one_to_one)


def crf_draw(program: Program, latent: Variable, q: CRFGuideCode) -> Value:
    """z ~ q, or the draw that is given, with the axes in the order of the spec."""
    low = program.low
    inside = tuple(a for a in q.lead if a != "S")
    code = f"{q.code}.sample(1)[0]" if "S" in q.lead else f"{q.code}.sample(samples)"
    drawn = Value(code, ("S", *inside, q.plate), integer=True)
    drawn = permute(drawn, low.order.sort(drawn.axes))
    value = Value(latent.name, drawn.axes, integer=True, binds=ATOM)
    program.draw(latent.name, latent.name, drawn.code, value, "drawn from q as a whole, scored below")
    return value
