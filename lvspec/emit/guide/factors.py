"""The guide in a program: each latent's factor q in the guide's order, drawn or laid out along an axis."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from lvspec.emit.factors.factors import bindings
from lvspec.emit.guide.crf_guides import CRFGuideCode, crf_draw, crf_guide
from lvspec.emit.guide.refine import given_term
from lvspec.emit.guide.schemes import SCHEMES, subset_share
from lvspec.emit.guide.site_clauses import SiteClauses
from lvspec.emit.guide.sites import SiteLoop
from lvspec.emit.lowering.densities import Term, log_density, lower_term, unfused
from lvspec.emit.lowering.distribution import named_distribution
from lvspec.emit.lowering.extents import argument_ranks, copies_of, extent_code, full_arguments, noise_shape
from lvspec.emit.lowering.flows import forwards, stopped
from lvspec.emit.lowering.program import Program
from lvspec.emit.lowering.relaxed import draw_relaxed, given_point
from lvspec.emit.lowering.value import Value, align, join_draws, select
from lvspec.ir.axes import axis_of
from lvspec.ir.distributions import FAMILIES
from lvspec.ir.guides import GuideOrder, GuideStep, members
from lvspec.ir.plan import Plan
from lvspec.ir.structured import structure_of


@dataclass
class Guide:
    """terms: the q-factor of each latent with its arguments named (one per site of unrolled plates).
    log_q: of enumerated latents, by axis; of sampled ones at their draw, by name. crfs: CRF guides, by name.
    share: the draws' weights in the average over them, where they have some."""

    terms: dict[tuple, Term] = field(default_factory=dict)
    log_q: dict[str, Value] = field(default_factory=dict)
    crfs: dict[str, CRFGuideCode] = field(default_factory=dict)
    share: Value | None = None


def write_guide(program: Program, plan: Plan, enumerated: list[str], sampled: list[str], scored: set[str]) -> Guide:
    """Draws the sampled latents and tabulates q of the enumerated ones; factors of others are left out."""
    guide = Guide()
    apart = plan.coupled and plan.bound.path.detached
    factors = {v.name: v for v in plan.guide if v.role == "guide"}
    for step in GuideOrder(plan.spec, plan.guide).steps:
        names = [n for n in step.names if n in (*enumerated, *sampled, *plan.points)]
        if step.plate is not None and names:
            _draw_along(program, plan, step, guide)
        for name in program.scope.each(names, "q"):
            latent = plan.spec.variable(name)
            if structure_of(factors[name]):
                _crf(program, latent, factors[name], guide, name in sampled, name in scored)
                continue
            if name in plan.points:
                write_point(program, factors[name], latent)
            elif name in enumerated:
                _tabulate(program, factors[name], latent, guide)
            elif step.plate is None:
                _draw(program, plan, latent, guide)
            if name in scored and name in sampled and not (apart and pathwise(plan, name)):
                _score(program, latent, guide, guide.terms[(name, ())])
    _tell_arguments(program, guide)
    for name in () if program.discrete else plan.renormalised:
        guide.share = subset_share(program, plan.latent(name), guide.log_q[name])
    if apart:
        _without_own_gradient(program, plan, guide, [n for n in sampled if n in scored and pathwise(plan, n)])
    return guide


def _tell_arguments(program: Program, guide: Guide) -> None:
    """Which locals are what q-factors are given: diagnostics ask for their gradients."""
    for (name, _), term in guide.terms.items():
        with program.scope.about(name, "q"):
            for (argument, _), value in zip(term.dist.arguments, term.arguments, strict=True):
                program.scope.stands(value.code, value.axes, argument)


def write_point(program: Program, factor, latent) -> None:
    """`z`: its one value."""
    low = program.low
    value = low.with_bindings(factor.general, lambda c: low.concrete(low.lower(c.dist.argument("value"))))
    axes = low.order.sort({*(() if latent.outside_batch else ("B",)), *latent.plates})
    (value,) = full_arguments(program, [value], axes, latent.type.shape, len(latent.type.shape))
    value = value.with_(axes=axes, shape=latent.type.shape)
    low.known[latent.name] = program.scope.named(latent.name, value, own=True)


def _tabulate(program: Program, factor, latent, guide: Guide) -> None:
    """log q of every value, along an axis of its own."""
    for sites in bindings(program.low, latent):
        label = "_".join([latent.name, *map(str, sites)])
        term = everywhere(program, factor, label)
        guide.terms[(latent.name, sites)] = term
        axis = axis_of(latent.name, sites)
        target = Value("", axes=(axis,), integer=True, enumerated=axis)
        value = program.scope.assign(f"log_q_{label}", log_density(program.low, term, target, latent.name))
        guide.log_q[axis] = _known_table(program, latent, value, axis)


def _draw_along(program: Program, plan: Plan, step: GuideStep, guide: Guide) -> None:
    """Factors that read their own sites: drawn one site after the other."""
    low = program.low
    unrolled, low.unrolled = low.unrolled, ()
    reparameterized = {n for n in step.names if n in plan.sampled and pathwise(plan, n)}
    loop = SiteLoop(
        program,
        step,
        members(plan.spec, plan.guide),
        SiteClauses(low, program.scope, step),
        reparameterized,
        lambda name, v: _known_value(program, plan.spec.variable(name), v),
    )
    guide.terms |= {(name, ()): term for name, term in loop.write().items()}
    low.unrolled = unrolled


def pathwise(plan: Plan, name: str) -> bool:
    """Whether gradients pass through the latent's draws."""
    return plan.latent(name).row.pathwise


def _without_own_gradient(program: Program, plan: Plan, guide: Guide, names: list[str]) -> None:
    """log q at the draws without the gradient of q's own parameters; doubly reparameterized, what the model and log q
    see of a draw passes its gradient on weighted once more."""
    low, scope = program.low, program.scope
    if plan.bound.path.again and names:
        scope.line(f"again = {scope.use('Reweighted')}()", "weighs the gradients that reach the draws once more")
        for name in names:
            seen = low.known[name]
            low.known[name] = scope.assign(f"{name}_seen", seen.with_(code=f"again({seen.code})"))
    for name in names:
        term = guide.terms[(name, ())]
        if any(v.draws for v in term.reads):
            factor = next(v for v in plan.guide if v.name == name and v.role == "guide")
            low.frozen = True
            term = everywhere(program, factor, f"{name}_fixed")
            low.frozen = False
        else:
            still = tuple(low.detached(v) for v in term.arguments)
            term = Term(term.dist, still, flows=stopped(low, term.flows) if term.flows else ())
        _score(program, program.plan.spec.variable(name), guide, term)


def _crf(program: Program, latent, factor, guide: Guide, drawn: bool, scored: bool) -> None:
    """A CRF guide: its draw with log q, or its marginals."""
    low, name = program.low, latent.name
    unrolled, low.unrolled = low.unrolled, ()  # all sites are drawn at once
    q = guide.crfs[name] = crf_guide(program, latent, factor)
    low.unrolled = unrolled
    if not drawn:
        sites = q.sites()
        guide.log_q[q.axis] = sites.with_(code=f"{sites.code}.log()")
        return
    value = crf_draw(program, latent, q)
    _known_value(program, latent, value)
    low.known[name] = known = value.with_(draws=join_draws(Value("", draws=((name, ()), *q.draws))))
    if scored:
        guide.log_q[name] = program.scope.assign(f"log_q_{name}", q.log_prob(known))


def bound_term(low, term: Term) -> Term:
    """A q-factor of a sampled latent at those sites."""
    return Term(term.dist, tuple(low.written_out.at_bound(v) for v in unfused(low, term).arguments))


def _term(program: Program, clause, label: str) -> Term:
    """A q-factor with its arguments under names of their own."""
    low = program.low
    return low.with_bindings(clause, lambda c: _named(program, lower_term(low, c.dist, label), label))


def everywhere(program: Program, factor, label: str) -> Term:
    """A q-factor over all sites, its first sites by their own clauses."""
    if not factor.initial:
        return _term(program, factor.general, label)
    terms = [unfused(program.low, _term(program, c, label)) for c in (factor.general, *factor.initial)]
    values = list(terms[0].arguments)
    for clause, term in reversed(list(zip(factor.initial, terms[1:], strict=True))):
        values = [
            program.low.replace_site(v, first, factor.along, clause.initial)
            for v, first in zip(values, term.arguments, strict=True)
        ]
    return _named(program, replace(terms[0], arguments=tuple(values)), label)


def _named(program: Program, term: Term, label: str) -> Term:
    """The term with its arguments under names of their own: they are read several times."""
    names = [a for a, _ in term.dist.arguments]
    values = []
    for name, value in zip(names, term.arguments, strict=True):
        plain = value.is_local or not value.axes and not value.shape
        values.append(value if plain else program.scope.assign(f"{name}_{label}", value))
    return replace(term, arguments=tuple(values))


def _draw(program: Program, plan: Plan, latent, guide: Guide) -> None:
    """`z ~ q`: base noise through the reparameterization, or a draw whose score enters the loss."""
    low, scope, name = program.low, program.scope, latent.name
    factor = next(v for v in plan.guide if v.name == name and v.role == "guide")
    unrolled, low.unrolled = low.unrolled, ()  # all sites are drawn at once
    term = given_term(program, factor, name) if name in plan.refined else everywhere(program, factor, name)
    guide.terms[(name, ())] = term = unfused(low, term)
    low.unrolled = unrolled
    family = FAMILIES[term.dist.family]
    arguments = [low.concrete(v) for v in term.arguments]
    axes = low.order.sort(
        {"S", *(() if latent.outside_batch else ("B",)), *latent.plates, *(a for v in term.reads for a in v.axes)}
    )
    ranks = argument_ranks(term.dist, latent.type.shape)
    arguments = full_arguments(program, arguments, axes, copies_of(term.dist, latent.type.shape), *ranks)
    listed = [a.code for a in arguments]
    shape = "" if any("S" in a.axes for a in arguments) else "(samples,)"
    if plan.latent(name).relaxed and not program.discrete:
        drawn = draw_relaxed(program, latent, plan.latent(name), family, arguments, axes)
        if latent.type.support.finite:
            _known_value(program, latent, drawn)
        low.known[name] = _moving(drawn, name, arguments)
        return
    scheme = None
    reparameterized = pathwise(plan, name)
    value = Value(name, axes, latent.type.shape, integer=latent.type.support.discrete)
    if plan.latent(name).row.draws == "strata" and not program.discrete:
        drawn = _draw_strata(program, guide, value, ", ".join(listed))
    elif reparameterized:
        noise = scope.names.fresh(f"{name}_noise")
        q = named_distribution(scope, f"q_{name}", family.name, listed)
        program.draw(noise, name, f"{q}.noise({shape})", value, shape=noise_shape(family.name, value.shape))
        drawn = value.with_(code=f"{q}.draw({noise})")
        drawn = scope.assign(f"{name}_base" if term.flows else name, drawn, "reparameterized", own=not term.flows)
        if term.flows:
            drawn, origin = forwards(low, term.flows, _moving(drawn, name, arguments), name)
            guide.terms[(name, ())] = replace(term, origin=origin)
    else:
        scheme = None if program.discrete else SCHEMES.get(plan.latent(name).strategy)
        if scheme is not None:
            fallback = scheme.draw(scope, plan.latent(name), ", ".join(listed))
        else:
            fallback = f"{named_distribution(scope, f'q_{name}', family.name, listed)}.sample({shape})"
        program.draw(name, name, fallback, value, "drawn from q, scored below")
        drawn = value
    if scheme is not None and scheme.weigh:
        guide.share = scheme.weigh(program, plan.latent(name), drawn, arguments[0], latent.type.support.finite)
    if latent.type.support.finite:
        _known_value(program, latent, drawn)
    low.known[name] = _moving(drawn, name, term.reads)


def _moving(drawn: Value, name: str, reads) -> Value:
    """A draw, and what it depends on."""
    return drawn.with_(draws=join_draws(Value("", draws=((name, ()),)), *reads))


def _draw_strata(program: Program, guide: Guide, value: Value, listed: str) -> Value:
    """Draws of each component, and what they weigh."""
    scope, name = program.scope, value.code
    noise, share = scope.names.fresh(f"{name}_noise"), scope.names.fresh(f"share_{name}")
    program.draw(noise, name, f"{scope.use('strata_noise')}({listed}, samples)", value)
    call = f"{scope.use('strata_draw')}({listed}, {noise})"
    scope.line(f"{name}, {share} = {call}", f"{scope.shape_comment(value)}, (S, B): reparameterized, by component")
    guide.share = Value(share, ("S", "B"))
    return value


def _score(program: Program, latent, guide: Guide, term: Term) -> None:
    """log q at the draw."""
    name = latent.name
    value = log_density(program.low, term, program.low.known[name], name)
    guide.log_q[name] = program.scope.assign(f"log_q_{name}", value)
    if latent.type.support.finite:
        _no_score(program, latent, guide.log_q[name])


def _known_table(program: Program, latent, log_q: Value, axis: str) -> Value:
    """q with all mass on the value that the batch gives."""
    low, scope = program.low, program.scope
    value, observed = given_values(program, latent)
    rest = tuple(a for a in log_q.axes if a != axis)
    axes = low.order.sort({*rest, *value.axes})
    if rest != axes:  # q is the same at sites that are given different values
        extents = ["1" if a in rest else extent_code(program, a) for a in axes]
        code = f"{scope.use('spread')}({align(log_q, (*axes, axis)).code}, ({', '.join(extents)}, 1), self.zero)"
        log_q = scope.assign(log_q.code, Value(code, (*axes, axis), draws=log_q.draws))
    arguments = [align(observed, axes, 0).code, align(value, axes, 0).code]
    scope.line(f'if "{latent.name}" in batch:')
    scope.indent += 1
    scope.line(f"{log_q.code} = {scope.use('with_given')}({align(log_q, (*axes, axis)).code}, {', '.join(arguments)})")
    scope.indent -= 1
    return log_q


def given_values(program: Program, latent) -> tuple[Value, Value]:
    """A latent's entry in the batch and where it is observed, at the bound sites of unrolled plates."""
    axes = ("B", *latent.plates)
    values = [
        Value(f'batch["{latent.name}{end}"]', axes, latent.type.shape if not end else ()) for end in ("", "_observed")
    ]
    for plate in latent.plates:
        if plate in program.low.bound:
            values = [select(v, plate, str(program.low.bound[plate])) for v in values]
    return values[0], values[1]


def _known_value(program: Program, latent, drawn: Value) -> None:
    """The given value in place of the draw."""
    value, observed = given_values(program, latent)
    if drawn.relaxed:
        value = given_point(program, latent, value, drawn)
    rank = len(drawn.shape)
    code = f"torch.where({align(observed, drawn.axes, rank).code}, {align(value, drawn.axes).code}, {drawn.code})"
    program.scope.line(f'if "{latent.name}" in batch:')
    program.scope.indent += 1
    program.scope.line(f"{drawn.code} = {code}")
    program.scope.indent -= 1


def _no_score(program: Program, latent, log_q: Value) -> None:
    """What is given was not drawn: it has no log q."""
    _, observed = given_values(program, latent)
    program.scope.line(f'if "{latent.name}" in batch:')
    program.scope.indent += 1
    program.scope.line(f"{log_q.code} = {log_q.code}.masked_fill({align(observed, log_q.axes, 0).code}, 0.0)")
    program.scope.indent -= 1
