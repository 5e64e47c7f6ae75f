"""What can be asked about the latents of a trained module."""

from __future__ import annotations

from lvspec.emit.factors.integrals import asks, integral_answers, method_of, mixtures
from lvspec.emit.factors.structures import at_draws_method, drawn_parts, parts_body
from lvspec.emit.lowering.extents import extent_code
from lvspec.emit.lowering.program import Program
from lvspec.emit.lowering.sizes import size_code
from lvspec.emit.methods.docstrings import weighted_posterior_doc
from lvspec.emit.text.text import wrap
from lvspec.ir.plan import Plan
from lvspec.ir.structured import has_segments


def latent_sizes(plan: Plan, names: tuple[str, ...] | None = None) -> dict[str, str]:
    """How many values each of these latents has, by default each that is summed, as Python; none for those without a last one."""
    names = tuple(p.name for p in plan.latents if p.treated.summed or p.treated.chains) if names is None else names
    kinds = {name: plan.spec.variable(name).type.support for name in names}
    return {name: size_code(kind.values) for name, kind in kinds.items() if kind.finite}


def zero_tilts(plan: Plan, imports: set[str], names: tuple[str, ...] | None = None) -> list[str]:
    """`tilts = {"z": zeros (B, T, K)}`: the log-factors whose gradients are the answers."""
    program = Program(plan, imports, set(), ("batch",))
    items = []
    for name, size in latent_sizes(plan, names).items():
        axes = ("B", *plan.spec.variable(name).plates)
        shape = ", ".join([*(extent_code(program, a) for a in axes), size])
        items.append(f'"{name}": self.zero.expand({shape})')
        if has_segments(plan.spec.variable(name)):
            sites = ", ".join(extent_code(program, a) for a in axes)
            items.append(f'"{name}.begins": self.zero.expand({sites}, 2)')
    return wrap(f"tilts = {{{', '.join(items)}}}", 2)


def mixture_tilts(plan: Plan) -> list[str]:
    """The same of integrals whose components are asked about."""
    items = [f'"{i.latent}": torch.zeros_like(self.{method_of(i)}(batch).log_prob())' for i in mixtures(plan)]
    return wrap(f"tilts |= {{{', '.join(items)}}}", 2) if items else []


def posterior_body(plan: Plan, imports: set[str]) -> list[str]:
    """q as an importance-weighted sample of the sampled latents; the marginals of what is summed, averaged over it."""
    imports.add("weighted_posterior")
    weighed, shared = "self.log_weights(batch, samples)", ""
    if plan.drawn_once:
        imports.add("of_whole_batch")
        weighed, shared = f"of_whole_batch(*{weighed})", f", shared={plan.drawn_once!r}".replace("'", '"')
    rows = [
        "    def posterior(self, batch: dict, samples: int = 100) -> dict:",
        *weighted_posterior_doc(plan),
        "        batch = self.prepare(batch)",
        f"        log_weight, drawn = {weighed}",
    ]
    summed = plan.summed_beside_draws
    if asks(plan):
        imports.add("summed_posterior")
        ask = weighed.replace("samples)", "samples, ask=ask)", 1)
        rows[-1:] = [
            *zero_tilts(plan, imports, summed),
            *mixture_tilts(plan),
            *wrap(f"summed, log_weight, drawn = summed_posterior(lambda ask: {ask}, tilts)", 2),
        ]
    states = ", ".join(
        f'"{name}": {size}' for name, size in latent_sizes(plan, (*plan.sampled, *plan.drawn_in_weights)).items()
    )
    drawn = f"weighted_posterior(drawn, log_weight{shared}{f', states={{{states}}}' if states else ''})"
    exact = " | summed" if asks(plan) else ""
    exact += f" | {integral_answers(plan, imports)}" if plan.integrations else ""
    return [*rows, *with_parts(plan, imports, f"{drawn}{exact}")]


def with_parts(plan: Plan, imports: set[str], answers: str) -> list[str]:
    """What is returned: the posteriors of latents, and hidden structures, at points or averaged over the draws that they read."""
    at_points, beside_draws = parts_body(plan, imports, "found"), drawn_parts(plan)
    if not at_points and not beside_draws:
        return wrap(f"return {answers}", 2)
    rows = wrap(f"found = {answers}", 2)
    if at_points:
        rows += ["        # structures, at these points" if plan.points else "", *at_points]
        rows.append("        found |= parts")
    if beside_draws:
        imports.add("StructureBesideDraws")
        rows.append("        # structures, averaged over the weighted draws that they read")
    for part, _, latents in beside_draws:
        draws = ", ".join(f'"{n}": found["{n}"]' for n in sorted(latents))
        at = f"lambda draws: self.{at_draws_method(plan, part)}(batch, draws)"
        rows += wrap(f'found["{part}"] = StructureBesideDraws({at}, draws={{{draws}}})', 2)
    return [*rows, "        return found"]
