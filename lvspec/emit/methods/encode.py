"""`encode(batch)`: q(z | x) itself, of the latents whose factor reads no other draw."""

from __future__ import annotations

from lvspec.emit.factors.factors import plate_mask
from lvspec.emit.guide.crf_guides import crf_guide
from lvspec.emit.guide.factors import everywhere
from lvspec.emit.guide.refine import given_term
from lvspec.emit.lowering.densities import unfused
from lvspec.emit.lowering.distribution import named_distribution
from lvspec.emit.lowering.extents import argument_ranks, full_arguments
from lvspec.emit.lowering.program import Program
from lvspec.emit.lowering.value import align
from lvspec.emit.methods.docstrings import encode_doc
from lvspec.emit.text.text import wrap
from lvspec.ir.distributions import FAMILIES
from lvspec.ir.expr import Dist
from lvspec.ir.plan import Plan
from lvspec.ir.reads import Reader, reader_of
from lvspec.ir.spec import Variable
from lvspec.ir.structured import structure_of


def encode_body(plan: Plan, imports: set[str]) -> list[str]:
    """The method, or nothing where no latent has such a factor."""
    program = Program(plan, imports, set(), ("batch",))
    low, scope, items = program.low, program.scope, []
    low.unrolled, reader = (), reader_of(plan.spec, plan.guide)
    factors = [v for v in plan.guide if v.role == "guide" and _direct(plan, v, reader)]
    for factor in factors:
        latent = plan.spec.variable(factor.name)
        if factor.name in plan.refined:
            term = given_term(program, factor, factor.name)
        else:
            term = unfused(low, everywhere(program, factor, factor.name))
        ranks = argument_ranks(term.dist, latent.type.shape)
        axes = low.order.sort(("B", *latent.plates))
        ranks = ranks if len(ranks) == len(term.arguments) else ranks * len(term.arguments)
        values = [  # each for itself: of every example
            full_arguments(program, [low.concrete(v)], axes, latent.type.shape[:rank], rank)[0]
            for v, rank in zip(term.arguments, ranks, strict=True)
        ]
        q = named_distribution(scope, f"q_{factor.name}", term.dist.family, (v.code for v in values))
        items.append(f'"{factor.name}": {scope.use("Encoded")}({q})')
    labelled = [v for v in plan.guide if v.role == "guide" and _labelled(plan, v, reader)]
    for factor in labelled:
        latent = plan.spec.variable(factor.name)
        labels = crf_guide(program, latent, factor)
        outer = [p for p in latent.plates if p != labels.plate]
        masks = [plate_mask(low, p).value(low) for p in outer if plan.spec.plate(p).ragged]
        there = " & ".join(align(m, ("B", *outer)).code for m in masks)
        items.append(
            f'"{factor.name}": {scope.use("EncodedLabels")}({labels.code}{f", there={there}" if there else ""})'
        )
    if not items:
        return []
    scope.line(f"return {{{', '.join(items)}}}")
    return [
        "    def encode(self, batch: dict) -> dict:",
        *encode_doc(plan, [f.name for f in factors], [f.name for f in labelled]),
        *wrap("batch = self.prepare(batch)", 2),
        *(["        parameters = self.refined(batch, {})"] if any(f.name in plan.refined for f in factors) else []),
        *program.text(),
    ]


def _labelled(plan: Plan, factor: Variable, reader: Reader) -> bool:
    """Whether q(z | x) is a CRF over all labels of an example, whatever other latents are."""
    return structure_of(factor) is not None and not _reads_latents(plan, factor, reader)


def _reads_latents(plan: Plan, factor: Variable, reader: Reader) -> bool:
    hidden = {v.name for v in plan.spec.of_role("latent")}
    return any(r.name in hidden for r in reader.of_variable(factor))


def _direct(plan: Plan, factor: Variable, reader: Reader) -> bool:
    """Whether q(z | x) is one distribution of a family for each example, on fixed plates at most."""
    latent, body = plan.spec.variable(factor.name), factor.general.body
    if latent.outside_batch or factor.initial or any(plan.spec.plate(p).ragged for p in latent.plates):
        return False
    if not isinstance(body, Dist) or body.through or body.over or not FAMILIES[body.family].engine:
        return False
    family = FAMILIES[body.family]
    scalar = family.variate.kind != "simplex" or family.name == "Dirichlet"
    return scalar and not _reads_latents(plan, factor, reader)
