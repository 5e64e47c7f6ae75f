"""Free bits are of KLs in closed form: a KL at a draw may be negative. No score term may depend on them."""

from __future__ import annotations

from collections.abc import Callable

from lvspec.errors import Diagnostic
from lvspec.ir.bounds import ELBO
from lvspec.ir.distributions import family_of
from lvspec.ir.estimators import STRATEGIES
from lvspec.plan.divergence import divergence, draws_read
from lvspec.plan.model import Model


def refused_free_bits(model: Model, chosen, guide_of: Callable) -> list[Diagnostic]:
    """What is wrong with `free_bits:`. chosen: by latent its strategy, the claim that it makes, what lost. guide_of: the guide
    by how latents are treated, with its networks."""
    spec, bound = model.spec, model.settings.get("bound") or ELBO
    problems: list[Diagnostic] = []
    if not spec.free_bits:
        return problems
    treated = {n: c.treated for n, (_, c, _) in chosen.items()}
    guide, _ = guide_of(spec, treated)
    reads = draws_read(spec, guide)
    free = dict(spec.free_bits)
    for name in [n for n in chosen if n in free or "" in free]:
        latent, bits = spec.variable(name), free[name if name in free else ""]
        kl, why = divergence(model, name, treated, guide, reads, bound)
        scored = [r.name for r in model.reads(name) if r.name in chosen and STRATEGIES[chosen[r.name][0]].scored]
        reason, help = None, "leave them out, or weigh the KL: `kl_weight`"
        if not treated[name].guided:
            reason = f"it is {treated[name].name}"
        elif treated[name].averaged:
            reason = "its KL is averaged under its q, value by value"
        elif kl != "analytic":
            reason = f"its KL is that of a draw, which may be negative: {why}"
            summed = [r.name for r in model.reads(name) if r.name in treated and treated[r.name].summed_out]
            if summed:
                help = f"give `{summed[0]}` a factor under `guide:`: the KL is averaged under it then, in closed form; or {help}"
        elif scored:
            reason = f"its KL reads {scored[0]}, whose score term counts it draw by draw"
            help = f"let `{scored[0]}` be summed under its guide: `{scored[0]}: enumeration` under `infer:`; or {help}"
        elif bits.unit == "dimension" and family_of(latent.general.dist.family).kl == "whole":
            reason = f"the KL of a {latent.general.dist.family} is of the whole vector: write `node(...)`"
        elif bits.unit == "dimension" and (latent.plates or len(latent.type.shape) != 1):
            reason = f"{name} is no single vector: write `node(...)`"
        if reason and (name in free or treated[name].drawn):
            message = f"free bits are not for {name}: {reason}"
            problems.append(Diagnostic("override-refused", latent.span, message, help=help))
    return problems
