"""A derived guide as the lines of a spec: `params:`, `networks:` and `guide:`, as a person would write them.

z[t]: Normal(loc=loc, scale=softplus(scale)) where loc, scale = split(guide_z(states_x[t]))
"""

from __future__ import annotations

from collections.abc import Sequence

from lvspec.errors import Diagnostic, SpecError
from lvspec.ir.expr import (
    Apply,
    At,
    Binding,
    Call,
    Dist,
    Expr,
    Here,
    Index,
    Lag,
    LocalRef,
    Number,
    ParamRef,
    PlateIndex,
    Site,
    SiteOf,
    SizeRef,
    Stretch,
    VariableRef,
    walk,
)
from lvspec.ir.spec import Clause, Spec, Variable
from lvspec.plan.guides.derive import DerivedGuide, Underivable, chain_of, derive_guide, over_several
from lvspec.plan.guides.families import family_reason, guide_family
from lvspec.plan.guides.inverse import FROM, THROUGH, WHOLE

SIGNS = {FROM: ">=", THROUGH: "<="}


def guide_lines(spec: Spec, latents: Sequence[str]) -> str:
    """The lines of a guide of these latents, by the family that `infer: guide:` names, or mean_field. Where lines cannot say
    it: none, or, where the family is named, SpecError."""
    family = dict(spec.infer).get("guide")
    if not latents:
        return ""
    try:
        return _lines(spec, latents, str(family or "mean_field"))
    except Underivable as reason:
        if family is None:
            return ""
        family = str(family)
        place = spec.variable(latents[0]).span
        message = f"no {family.replace('_', ' ')} guide can be derived: {reason}"
        raise SpecError(spec.source, (Diagnostic("no-guide", place, message, help="write q in `guide:`"),)) from None


def _lines(spec: Spec, latents: Sequence[str], family: str) -> str:
    for latent in (spec.variable(n) for n in latents if not spec.variable(n).outside_batch):
        if guide_family(latent) == "Categorical" and latent.type.shape:
            raise Underivable(f"{latent.name} is a vector of categories")
        if reason := family_reason(spec, latent):
            raise Underivable(reason)
    found = derive_guide(spec, latents, family)
    comments = (f"# q({z}) is not faithful: it would read all sites of {x} before its own\n" for z, x in found.partial)
    return "".join(comments) + _sections(found)


def _sections(found: DerivedGuide) -> str:
    params = {p.name: f"[{', '.join(map(str, p.shape))}]" for p in found.params.values()}
    networks = {n.name: f"{n.kind}({', '.join(map(str, n.arguments))})" for n in found.networks.values()}
    guide: dict[str, str] = {}
    for variable in found.guide.values():
        lines = Lines(found.spec, variable)
        guide |= {lines.left(c): lines.right(c) for c in variable.clauses}
    parts = [("params", params), ("networks", networks), ("guide", guide)]
    return "".join(f"{k}:\n" + "".join(f"  {n}: {t}\n" for n, t in rows.items()) for k, rows in parts if rows)


class Lines:
    """The lines of one variable of a guide."""

    def __init__(self, spec: Spec, variable: Variable):
        self.spec, self.variable = spec, variable

    def left(self, clause: Clause) -> str:
        """`z[t]`, `z[0]`."""
        chain = chain_of(self.spec, self.variable)
        at = [str(clause.initial) if clause.initial is not None and p == chain else p for p in self.variable.plates]
        return self.variable.name + (f"[{', '.join(at)}]" if at else "")

    def right(self, clause: Clause) -> str:
        where = ", ".join(self._binding(b) for b in clause.bindings)
        body = self._distribution(clause.dist) if isinstance(clause.body, Dist) else self.of(clause.value)
        return body + (f" where {where}" if where else "")

    def _binding(self, binding: Binding) -> str:
        return f"{', '.join(binding.names)} = {self.of(binding.value)}"

    def _distribution(self, dist: Dist) -> str:
        """As the language calls it, in which some categories are vectors."""
        family = "OneHotCategorical" if self.spec.variable(self.variable.name).one_hot else dist.family
        return f"{family}({', '.join(f'{n}={self.of(e)}' for n, e in dist.arguments)})"

    def of(self, node: Expr) -> str:
        """An expression as text."""
        match node:
            case VariableRef():
                return self._variable(node)
            case ParamRef(name) | LocalRef(name):
                return name
            case PlateIndex(plate):
                return plate
            case Number(value):
                return str(value)
            case SizeRef(dim):
                return str(dim)
            case Index(base, indices):
                return f"{self.of(base)}[{', '.join(map(self.of, indices))}]"
            case SiteOf(base, plate):
                return f"{self.of(base)}[{plate}]"
            case Apply(network, _, args):
                return f"{network}({', '.join(map(self.of, args))})"
            case Call("split", (vector, _)):
                return f"split({self.of(vector)})"
            case Call("reshape", (vector, *sizes)):
                return f"reshape({self.of(vector)}, {', '.join(map(str, node.type.shape[-len(sizes) :]))})"
            case Call("onehot", (VariableRef(name) as value,)) if self.spec.variable(name).one_hot:
                return self.of(value)
            case Call(_, (value,), over) if over is not None:
                read = next(n for n in walk(value) if isinstance(n, VariableRef))
                raise Underivable(over_several(self.variable.name, read.name, [s.plate for s in read.at]))
            case Call(function, args):
                return f"{function}({', '.join(map(self.of, args))})"
        raise TypeError(node)  # no derived guide is made of it

    def _variable(self, node: VariableRef) -> str:
        whole = [s.plate for s in node.at if isinstance(s, Stretch) and s.reach == WHOLE]
        if len(whole) == len(node.at):
            if len(whole) > 1:
                raise Underivable(over_several(self.variable.name, node.name, whole))
            return node.name
        if whole:
            raise Underivable(over_several(self.variable.name, node.name, whole))
        return f"{node.name}[{', '.join(map(self._site, node.at))}]"

    def _site(self, site: Site) -> str:
        match site:
            case Here(plate):
                return plate
            case Lag(plate, k):
                return f"{plate}-{k}"
            case At(_, index):
                return self.of(index)
            case Stretch(plate, reach):
                return f"{SIGNS[reach]}{plate}"
        raise TypeError(site)
