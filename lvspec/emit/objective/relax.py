"""The score term of RELAX: a network of relaxed draws as control variate.

    moved_z, fit_z = relax(logits_z, z, centred_z, 0.5,
        lambda point: self.control_z_variate(concat(x, point.flatten(-2)))[..., 0])
moved_z has the estimator's gradient at q's logits; fit_z moves the network, so that the gradient varies less.
"""

from __future__ import annotations

from lvspec.emit.guide.factors import given_values
from lvspec.emit.lowering.relaxed import schedule_code
from lvspec.emit.lowering.value import Value, align
from lvspec.emit.objective.baselines import centre


def _not_drawn(terms, latent, found: list[Value]) -> None:
    """What is given was not drawn: it moves nothing."""
    _, observed = given_values(terms.program, latent)
    mask = align(observed, found[0].axes, len(latent.type.shape)).code
    terms.scope.line(f'if "{latent.name}" in batch:')
    terms.scope.indent += 1
    for value in found:
        terms.scope.line(f"{value.code} = {value.code}.masked_fill({mask}, 0.0)")
    terms.scope.indent -= 1


def relax_terms(terms, name: str, signal: Value) -> list[Value]:
    """What moves q, and what moves the network, at each draw and site."""
    low, scope, plan = terms.low, terms.scope, terms.plan.latent(name)
    latent = terms.plan.spec.variable(name)
    z, logits = low.known[name], terms.guide.terms[(name, ())].arguments[0]
    event = len(latent.type.shape)
    code = align(logits, z.axes, event + (latent.type.support.kind == "integer")).code
    if latent.type.support.kind == "boolean":
        code = f"{scope.use('as_categorical')}({code})"
    baseline = terms.plan.baseline(name)
    seen = scope.assign(f"seen_{name}", low.real(low.lower(baseline.value)))
    network = baseline.networks[-1].name
    joint = len([p for p in latent.plates if p not in seen.axes]) + event + 1  # axes that the network sees at once
    flat = f"point.flatten(-{joint})" if joint > 1 else "point"
    beside = align(seen, tuple(a for a in z.axes if a in (*seen.axes, "S", "B"))).code
    own = tuple(a for a in z.axes if a in ("S", "B", *seen.axes, *signal.axes))
    value = Value(f"self.{network}({scope.use('concat')}({beside}, {flat}))[..., 0]", ())
    value = value.with_(
        axes=tuple(a for a in own if a in ("S", "B", *seen.axes))
    )  # one for all sites that it sees at once
    control = f"lambda point: {align(value, own).code}"
    centred = centre(terms, name, signal)
    temperature = schedule_code(scope, plan.option("temperature"))
    names = [scope.names.fresh(f"{n}_{name}") for n in ("moved", "fit")]
    arguments = f"{code}, {z.code}, {align(centred, own).code}, {temperature}, {control}"
    scope.line(f"{', '.join(names)} = {scope.use('relax')}({arguments})", f"{scope.shape_comment(z)} each")
    found = [Value(n, z.axes, z.shape) for n in names]
    if latent.type.support.finite:
        _not_drawn(terms, latent, found)
    if event:
        dims = "-1" if event == 1 else str(tuple(range(-event, 0)))
        found = [v.with_(code=f"{v.code}.sum({dims})", shape=()) for v in found]
    return found
