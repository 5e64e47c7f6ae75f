"""The objective as a person writes it."""

from __future__ import annotations

from lvspec.ir.bounds import ELBO, Bound
from lvspec.ir.mean_field import SUMS
from lvspec.ir.notation import Notation
from lvspec.ir.plan import LatentPlan
from lvspec.ir.reads import Reader, is_improper, reader_of
from lvspec.ir.spec import Spec, Variable
from lvspec.ir.structured import structure_of
from lvspec.ir.words import listed

TERMS = "what `objective:` adds"


def formula(spec: Spec, latents: tuple[LatentPlan, ...], guide: tuple[Variable, ...] = (), bound: Bound = ELBO) -> str:
    """`log Σ_z p(x, z)`, or `E_q(z | x)[log p(x | z)] - KL(q(z | x) ‖ p(z))`, or, of S draws, `E_q(z | x)[log 1/S Σ_s w_s]`."""
    notation = Notation(spec, guide)
    x = listed([v.name for v in spec.of_role("observed")])
    given = listed([v.name for v in spec.of_role("given")])
    bar = f" | {given}" if given else ""
    parts = [b.parts[0] for v in spec.of_role("observed") if structure_of(v) and (b := v.general.dist).parts]
    collapsed = [p.name for p in latents if p.treated.summed_out] + parts
    integrated = [p.name for p in latents if p.treated.integrated]
    guided = [p for p in latents if not p.treated.marginal]
    if not latents:
        return _marginal(x, collapsed, integrated, bar)
    if not x and not guided:
        return f"log p({listed(collapsed)}{bar}), summed over what the batch does not give of {listed(collapsed)}"
    if not guided:
        return _marginal(x, collapsed, integrated, bar)
    points = [p.name for p in guided if p.treated.point]
    if points:
        codes = [n for n in points if is_improper(spec.variable(n))]
        bar = f" | {listed(codes)}{bar.replace(' | ', ', ')}" if codes else bar
        joint = _marginal(listed([x, *(n for n in points if n not in codes)]), collapsed, integrated, bar)
        return f"{joint}, {listed(points)} at {'its' if len(points) == 1 else 'their'} point"
    if any(p.treated.chains for p in guided):
        z = guided[0].name
        inside = f"E_q({z})[log p({x} | {z}{bar.replace(' | ', ', ')})]"
        if any(SUMS[v.general.dist.family].bounded for v in spec.of_role("observed")):
            inside = f"E_q({z})[score of {x}] - log Σ E_q({z})[exp score]"
        return f"{inside} - Σ KL(q({z}) ‖ p({z})), chain by chain"
    if any(p.treated.optimal for p in guided):
        return _mean_field(x, collapsed, [p.name for p in guided], bar)
    own = [p.name for p in guided if p.guide == "own"]
    if not x and len(own) == len(guided):
        return f"E_{notation.q(own).replace('q', 'p', 1)}[{TERMS}]"
    drawn = [p.name for p in guided]
    z, refined = listed(drawn), any(p.option("refine") for p in guided)
    if bound.coupled:
        return _coupled(bound, x, z, notation.q(drawn), bar, collapsed, integrated)
    reader = reader_of(spec, spec.guide)
    reads = {v.name: _parents(reader, v.name) for v in spec.variables if v.role in ("observed", "latent")}
    shown = {n for v in spec.of_role("observed") for n in reads[v.name]}
    seen = [p.name for p in guided if p.name in shown] or [z]
    known = listed(seen if not collapsed and not integrated else [p.name for p in guided])
    condition = ", ".join([known, *([given] if given else [])])
    inside = _marginal(x, collapsed, integrated, f" | {condition}") if x or collapsed or integrated else TERMS
    terms = [f"E_{notation.q(drawn, refined)}[{inside}]"]
    for p in (p for p in guided if p.kl != "zero"):
        q, prior = notation.q([p.name], bool(p.option("refine"))), notation.prior(p.name)
        before = {*reads[p.name], *notation.parents_of_q(p.name)}
        around = [n for n in drawn if n in before and n != p.name]
        divergence = f"KL({q} ‖ {prior})"
        summed = _summed_parents(reads, p.name, collapsed)
        if summed:  # log p of the latent alone, given the guided ones before it
            prior = f"Σ_{{{listed(summed)}}} {notation.p([p.name, *summed], [n for n in drawn if n in reads[p.name]])}"
        if p.kl != "analytic":
            divergence, around = f"log {q} - log {prior}", [n for n in drawn if n in {p.name, *before}]
        terms.append(f"E_{notation.q(around, refined)}[{divergence}]" if around else divergence)
    return listed(terms, " - ")


def _coupled(bound: Bound, x: str, z: str, q: str, bar: str, collapsed: list[str], integrated: list[str]) -> str:
    """The bound as a function of `w_s = p(x, z_s) / q(z_s | x)`."""
    joint = _marginal(x, collapsed, integrated, bar).removeprefix("log ") if collapsed or integrated else ""
    joint = joint.replace(f"p({x}", f"p({x}, {z}", 1) if joint else f"p({x}, {z}{bar})"
    weight = f"w = {joint} / {q}"
    inside = bound.form.formula.format(rest=1 - bound.alpha)
    follows = f"; for q Σ_s w_s / Σ w · log {q}, z_s" if bound.form.follows else ""
    return f"E_{q}[{inside}], {weight}{follows}"


def _marginal(x: str, collapsed: list[str], integrated: list[str], bar: str) -> str:
    """`log Σ_{c} ∫ p(x, c, z) dz`."""
    total = f"Σ_{{{listed(collapsed)}}} " if collapsed else ""
    integral, over = ("∫ ", " " + listed([f"d{z}" for z in integrated], " ")) if integrated else ("", "")
    joint = ", ".join(filter(None, [x, listed(collapsed), listed(integrated)]))
    return f"log {total}{integral}p({joint}{bar}){over}"


def _mean_field(x: str, collapsed: list[str], factors: list[str], bar: str) -> str:
    """`log Σ_z exp E_q(θ)[log p(x, z | θ)] - KL(q(θ) ‖ p(θ))`, θ each with a factor of its own."""
    q = listed([f"q({n})" for n in factors], " ")
    joint = ", ".join([x, *([listed(collapsed)] if collapsed else [])])
    inside = f"E_{q}[log p({joint} | {listed(factors)}{bar.replace(' | ', ', ')})]"
    total = f"log Σ_{{{listed(collapsed)}}} exp {inside}" if collapsed else inside
    return listed([total, *(f"KL(q({n}) ‖ p({n}))" for n in factors)], " - ")


def _summed_parents(reads: dict[str, list[str]], name: str, collapsed: list[str]) -> list[str]:
    """The summed latents over which log p of one that reads some of them is a sum."""
    found = [n for n in reads[name] if n in collapsed]
    for n in found:  # grows while it is gone through
        found += [m for m in reads[n] if m in collapsed and m not in found]
    return found


def _parents(reader: Reader, name: str) -> list[str]:
    """The latents that a variable's factor reads, beside its own other sites."""
    spec = reader.spec
    found = (r.name for r in reader.of_variable(spec.variable(name)))
    return list(dict.fromkeys(n for n in found if n != name and spec.variable(n).role == "latent"))
