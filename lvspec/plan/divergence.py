"""Whether KL(q(z) ‖ p(z | parents)) of one latent may stand in closed form: z integrated, its parents at their draws.

q(a) q(b | a), p(a) p(b | a)     KL(q(b | a) ‖ p(b | a)): a is drawn before b
q(b) q(a | b), p(a) p(b | a)     log q(b) - log p(b | a) at the draws: a is drawn after b, and looks at it
"""

from __future__ import annotations

from collections.abc import Mapping

from lvspec.ir.bounds import Bound
from lvspec.ir.distributions import family_of
from lvspec.ir.expr import Dist
from lvspec.ir.reads import HERE, LAG, Read, reader_of
from lvspec.ir.spec import Spec, Variable
from lvspec.ir.structured import structure_of
from lvspec.ir.treatments import Treatment
from lvspec.plan.model import Model, crf_guide
from lvspec.plan.own import follows_model

SAME, LATER, EARLIER, ANY = "same", "later", "earlier", "any"  # where a variable stands, seen from a site of another


def divergence(
    model: Model,
    name: str,
    treated: Mapping[str, Treatment],
    guide: tuple[Variable, ...],
    reads: dict[str, tuple[Read, ...]],
    bound: Bound,
) -> tuple[str, str]:
    """analytic, sampled, zero or none; and why not analytic. reads: of the guide's factors, as `draws_read` finds them."""
    if treated[name].marginal:
        return "none", "summed out: no guide factor"
    if treated[name].point:
        return "none", "a point has no divergence: its log p is in the objective"
    if treated[name].optimal:
        return "analytic", ""
    if bound.coupled:
        return "sampled", f"{bound.name} is a function of the importance weights of all draws"
    latent = model.spec.variable(name)
    factor = crf_guide(model, name)
    alone = not any(r.name in treated for r in model.reads(name))
    if factor is None and alone and follows_model(latent, model.guide_of(name)):
        return "zero", f"q({name}) is its own distribution"
    if factor is not None and treated[name].averaged:
        return "analytic", ""
    structure = structure_of(factor) if factor is not None else None
    if structure is not None and structure.one_to_one:
        return "sampled", f"the entropy of q({name}) is exact, log p({name}) is taken at the draw"
    q = next(v for v in guide if v.name == name and v.role == "guide").general.body
    collapsed = [r.name for r in model.reads(name) if r.name in treated and treated[r.name].summed_out]
    if collapsed:
        return "sampled", f"its parent {collapsed[0]} is summed out inside the expectation"
    for clause in latent.clauses:
        p = clause.body
        if not isinstance(p, Dist) or not isinstance(q, Dist) or not has_divergence(q, p):
            return "sampled", f"no closed form for KL({getattr(q, 'shown', 'q')} ‖ {getattr(p, 'shown', 'p')})"
    after = drawn_after(reads, name)
    for read in model.reads(name):
        ways = after.get(read.name, set())
        if _side(read, parent=True) in ways or ANY in ways or ways and _side(read, parent=True) == ANY:
            return "sampled", f"the guide draws its parent {read.name} after it, looking at it"
    return "analytic", ""


def has_divergence(q: Dist, p: Dist) -> bool:
    """Whether the runtime has KL(q ‖ p) in closed form."""
    return q.family == p.family and family_of(q.family).kl != "none"


def draws_read(spec: Spec, guide: tuple[Variable, ...]) -> dict[str, tuple[Read, ...]]:
    """What each factor of a guide reads of others' draws."""
    reader, factors = reader_of(spec, guide), {v.name: v for v in guide if v.role == "guide"}
    return {n: tuple(r for r in reader.of_variable(v) if r.name in factors) for n, v in factors.items()}


def drawn_after(reads: dict[str, tuple[Read, ...]], name: str) -> dict[str, set[str]]:
    """The latents whose draws look at a draw of `name`, directly or not, and where they stand, seen from its site."""
    readers: dict[str, list[tuple[str, Read]]] = {}
    for child, its_reads in reads.items():
        for read in its_reads:
            readers.setdefault(read.name, []).append((child, read))
    found: dict[str, set[str]] = {}
    queue = [(name, SAME)]
    while queue:
        source, way = queue.pop()
        for child, read in readers.get(source, ()):
            far = _joined(way, _side(read))
            if far not in found.setdefault(child, set()):
                found[child].add(far)
                queue.append((child, far))
    return found


def _side(read: Read, parent: bool = False) -> str:
    """Where the reader stands, seen from what it reads; `parent`: where what it reads stands."""
    sides = {
        SAME if way == HERE else ANY if way != LAG else LATER if (k > 0) != parent else EARLIER
        for _, way, k in read.ways
    } - {SAME}
    return sides.pop() if len(sides) == 1 else ANY if sides else SAME


def _joined(a: str, b: str) -> str:
    return a if b in (SAME, a) else b if a == SAME else ANY
