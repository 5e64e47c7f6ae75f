"""The objective as a person writes it."""

from __future__ import annotations

from lvspec.ir.plan import LatentPlan
from lvspec.ir.spec import Spec


def formula(spec: Spec, latents: tuple[LatentPlan, ...]) -> str:
    """`log Σ_z p(x, z)`, or `E_q(z|x)[log p(x | z)] - KL(q(z|x) ‖ p(z))`."""
    x = ", ".join(v.name for v in spec.of_role("observed"))
    given = ", ".join(v.name for v in spec.of_role("given"))
    bar = f" | {given}" if given else ""
    collapsed = [p.name for p in latents if p.treatment == "collapsed"]
    guided = [p for p in latents if p.treatment != "collapsed"]
    if not latents:
        return f"log p({x}{bar})"
    if not guided:
        return f"log Σ_{{{', '.join(collapsed)}}} p({', '.join([x, *collapsed])}{bar})"
    z = ", ".join(p.name for p in guided)
    inside = f"log p({x} | {z}{', ' + given if given else ''})"
    if collapsed:
        inside = (
            f"log Σ_{{{', '.join(collapsed)}}} p({', '.join([x, *collapsed])} | {z}{', ' + given if given else ''})"
        )
    terms = [f"E_q({z} | {x})[{inside}]"]
    for p in guided:
        parents = _parents(spec, p.name)
        name = f"KL(q({p.name} | {x}) ‖ p({p.name}{' | ' + ', '.join(parents) if parents else ''}))"
        terms.append(
            name
            if p.kl == "analytic"
            else f"E_q[log q({p.name} | {x}) - log p({p.name}{' | ' + ', '.join(parents) if parents else ''})]"
        )
    return " - ".join(terms)


def _parents(spec: Spec, name: str) -> list[str]:
    from lvspec.ir.reads import Reader

    latents = {v.name for v in spec.of_role("latent")}
    return list(
        dict.fromkeys(r.name for r in Reader(spec, spec.guide).of_variable(spec.variable(name)) if r.name in latents)
    )
