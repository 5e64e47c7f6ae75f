"""Spec → Plan: every strategy is asked about every latent; the first in order that is legal is taken.

The order of the strategies is the policy: exact ones first (within the budget), then unbiased ones. A latent that
no strategy takes, and an override that would be wrong, are errors with the reasons.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from lvspec.errors import NOWHERE, Diagnostic, SpecError
from lvspec.ir.bounds import ELBO
from lvspec.ir.dims import ragged_plate
from lvspec.ir.estimators import STRATEGIES
from lvspec.ir.plan import Elimination, LatentPlan, Plan, Summed
from lvspec.ir.spec import Spec, Variable
from lvspec.ir.structured import structure_of
from lvspec.ir.structures import STRUCTURES
from lvspec.ir.treatments import Treatment
from lvspec.plan.claims import Claim, Declined, View, of_latent_length, under
from lvspec.plan.company import refused_company
from lvspec.plan.components import drawn_in_weights, find, summed_together, tangled
from lvspec.plan.divergence import divergence, draws_read
from lvspec.plan.engines import empty_axes, parts_without_engine, rows_beyond, too_many_sites
from lvspec.plan.formula import formula
from lvspec.plan.free_bits import refused_free_bits
from lvspec.plan.guides.as_text import guide_lines
from lvspec.plan.guides.derive import DerivedGuide, derive_baseline, derive_control, derive_guide
from lvspec.plan.model import Model, chain_plates, study, unrolled_by, without_engine
from lvspec.plan.notices import with_notices
from lvspec.plan.own import follows_model
from lvspec.plan.prices.price import Pricer, priced
from lvspec.plan.prices.sums import pay_rest, pay_structure
from lvspec.plan.strategies import CONSIDER


def make_plan(spec: Spec, sizes: dict[str, int] | None = None) -> Plan:
    """The plan of a checked spec; SpecError where some latent has no legal strategy."""
    model = study(spec, sizes)
    spec = model.spec
    problems = [*_overrides(model), *_engines(model)]
    collapsible, barred = find(model)
    asked = next((dict(o.options).get("samples") for o in spec.overrides if dict(o.options).get("samples")), None)
    bound = model.settings.get("bound") or ELBO
    asked = bound.samples or asked or model.settings.get("samples") or bound.form.samples or _different(model)
    view = View(model, collapsible, barred, asked, bound)
    every: dict[str, dict] = {}
    chosen: dict[str, tuple[str, Claim, tuple]] = {}
    for latent in spec.of_role("latent"):
        answers = every[latent.name] = _answers(view, latent)
        picked = _pick(view, latent, answers, problems)
        if picked:
            claim = answers[picked]
            assert isinstance(claim, Claim)
            chosen[latent.name] = (picked, claim, _declined(picked, answers, latent.name in model.overrides))
    _spread(every, chosen)
    _weighable(view, every, chosen, problems)
    problems += refused_company(model, chosen)
    if len(chosen) == len(spec.of_role("latent")):
        problems += refused_free_bits(model, chosen, _guide)
        summed = {n for n, (_, c, _) in chosen.items() if c.treated.summed}
        written_out = unrolled_by(model, summed)
        problems += [Diagnostic("bad-size", *f) for f in too_many_sites(spec, written_out, model.sizes)]
    if problems:
        raise SpecError(spec.source, tuple(problems))
    return _assemble(model, view, chosen)


def _spread(every: dict[str, dict], chosen: dict[str, tuple[str, Claim, tuple]]) -> None:
    """Beside a latent of a strategy that spreads, others take it as well, or are summed."""
    for strategy in dict.fromkeys(s for s, _, _ in chosen.values() if STRATEGIES[s].spreads):
        for name, (taken, claim, _) in chosen.items():
            own = every[name][strategy]
            if taken != strategy and not claim.treated.summed_out and isinstance(own, Claim):
                chosen[name] = strategy, own, _declined(strategy, every[name])


def _weighable(view: View, every: dict[str, dict], chosen: dict[str, tuple[str, Claim, tuple]], problems) -> None:
    """Where all is summed, and under q some that no sum of log p can hold, one of these is drawn, so that weights can."""
    model, treated = view.model, {n: c.treated for n, (_, c, _) in chosen.items()}
    averaged = [n for n, t in treated.items() if t.averaged]
    if len(treated) < len(model.spec.of_role("latent")) or any(
        t.drawn or t.point or t.optimal for t in treated.values()
    ):
        return
    summed = [n for n, t in treated.items() if t.summed]
    apart = tangled(model, summed, unrolled_by(model, set(summed)))
    free = [n for n in averaged if n in apart and n not in model.overrides] or [n for n in averaged if n in apart]
    if not free:
        return
    name, strategy = free[0], chosen[free[0]][0]
    reason = (
        f"{apart[name]}, which log p(x) needs; averages under q do: one is drawn, and importance weights have the other"
    )
    answers = every[name] = {**every[name], strategy: Declined(reason)}
    picked = _pick(view, model.spec.variable(name), answers, problems)
    if picked is None:  # the problem says why
        del chosen[name]
    else:
        chosen[name] = picked, answers[picked], _declined(picked, answers, name in model.overrides)


def _overrides(model: Model) -> list[Diagnostic]:
    known = {v.name for v in model.spec.of_role("latent")}
    return [
        Diagnostic(
            "unknown-strategy",
            o.span,
            f"`{o.strategy}` is no strategy for {o.name}",
            help=f"one of: {', '.join(CONSIDER)}",
        )
        for o in model.overrides.values()
        if o.name in known and o.strategy not in CONSIDER
    ]


def _engines(model: Model) -> list[Diagnostic]:
    """Observed variables that nothing can score yet."""
    found = []
    for variable in model.spec.of_role("observed"):
        reason = without_engine(model, variable)
        if reason:
            found.append(Diagnostic("no-strategy", variable.span, f"{variable.name} cannot be scored: {reason}"))
    known = {v.name for v in model.spec.variables}
    sure = {name: n for name, n in model.sizes.items() if name not in model.nominal}
    for factor in (v for v in model.spec.guide if v.role == "guide" and v.name not in known):
        message = f"{factor.name} is summed exactly, so nothing would be drawn from q({factor.name})"
        found.append(Diagnostic("no-strategy", factor.span, message, help="leave its guide out"))
    return [
        *found,
        *(Diagnostic("no-strategy", span, message) for span, message in parts_without_engine(model.spec)),
        *(Diagnostic("index-range", span, message) for span, message in rows_beyond(model.spec, sure)),
        *(Diagnostic("bad-size", span, message) for span, message in empty_axes(model.spec, sure)),
    ]


def _different(model: Model) -> int | None:
    """How many draws there are of all latents where those of one are different values: no more than it has."""
    sets = {n: row for n, o in model.overrides.items() if (row := STRATEGIES.get(o.strategy)) and row.different}
    finite = [n for n in sets if (size := model.spec.variable(n).type.support.cardinality) and not ragged_plate(size)]
    return min(min(sets[n].options["samples"], model.cardinality(n)) for n in finite) if finite else None


def _answers(view: View, latent: Variable) -> dict[str, Claim | Declined]:
    """What each strategy says of a latent."""
    return {
        name: of_latent_length(view, latent, under(view.bound, name, consider(view, latent)))
        for name, consider in CONSIDER.items()
    }


def _legal(view: View, latent: Variable) -> list[str]:
    """The strategies that would be legal if the spec asked for none."""
    others = {n: o for n, o in view.model.overrides.items() if n != latent.name}
    model = replace(view.model, overrides=others)
    free = View(model, *find(model), view.asked, view.bound)
    return [n for n, a in _answers(free, latent).items() if isinstance(a, Claim)]


def _pick(view: View, latent: Variable, answers: dict, problems: list[Diagnostic]) -> str | None:
    """The first legal strategy; a biased one where the spec asks for it, or for a bound that takes no other."""
    model = view.model
    override = model.overrides.get(latent.name)
    if override is not None:
        answer = answers.get(override.strategy)
        if isinstance(answer, Claim):
            return override.strategy
        if answer is not None:
            legal = _legal(view, latent)
            problems.append(
                Diagnostic(
                    "override-refused",
                    override.span,
                    f"{override.strategy} is not legal for {latent.name}: {answer.reason}",
                    help=f"legal here: {', '.join(legal)}" if legal else "remove the override to see every reason",
                )
            )
        return None
    for name, answer in answers.items():
        if isinstance(answer, Claim) and (not answer.biased or view.bound.name in STRATEGIES[name].bounds):
            return name
    same: dict[str, list[str]] = {}
    for name, answer in answers.items():
        same.setdefault(answer.reason, []).append(name)
    mends = [mend for mend in (a.mend for a in answers.values() if isinstance(a, Declined)) if mend]
    notes = tuple((NOWHERE, f"{', '.join(names)}: {reason.partition(': write ')[0]}") for reason, names in same.items())
    why, notes = (next(iter(same)), ()) if len(same) == 1 else ("none can sum it, integrate it or draw it", notes)
    message = f"no strategy takes {latent.name} yet: {why}"
    problems.append(Diagnostic("no-strategy", latent.span, message, help=next(iter(mends), ""), notes=notes))
    return None


def _declined(picked: str, answers: dict, asked: bool = False) -> tuple[tuple[str, str], ...]:
    """Why the others were not taken; a legal one lost by its place in the order, or as another one was asked for."""
    first = f"{picked} comes first: {'exact' if answers[picked].exact else 'lower variance as a rule'}"
    lost = f"legal, but {f'`infer` asks for {picked}' if asked else first}"
    others = [(name, answer) for name, answer in answers.items() if name != picked]
    return tuple((name, a.reason if isinstance(a, Declined) else lost) for name, a in others)


def _assemble(model: Model, view: View, chosen) -> Plan:
    spec = model.spec
    guide, derived = _guide(spec, {n: c.treated for n, (_, c, _) in chosen.items()})
    networks = tuple(derived.networks.values())
    latents = _latents(model, view, chosen, guide)
    sampled = any(p.treated.drawn for p in latents)
    samples = max((c.samples for _, c, _ in chosen.values() if c.treated.drawn), default=1)
    learned = [p.name for p in latents if p.variate is not None and p.variate.network]
    baselines = tuple(derive_baseline(spec, spec.variable(n)) for n in learned)
    baselines += tuple(derive_control(spec, spec.variable(p.name)) for p in latents if p.row.control)
    networks += tuple(n for b in baselines for n in b.networks)
    summed = {p.name for p in latents if p.treated.summed}
    objective = "log_marginal" if all(p.treated.marginal for p in latents) else "elbo"
    objective = "log_joint" if any(p.treated.point for p in latents) else objective
    integrations = tuple(dict.fromkeys(c.integration for _, c, _ in chosen.values() if c.integration))
    found = {id(c): c for n, c in view.collapsible.items() if n in chosen and chosen[n][1].treated.summed_out}
    components = summed_together(model, found.values(), integrations)
    of_sums = {n: c.pay for c in components for n in c.latents}
    unrolled = unrolled_by(model, summed)
    averaged = [p.name for p in latents if p.treated.averaged]
    weighed = drawn_in_weights(model, averaged, of_sums, guide, unrolled)
    pricer = Pricer(model, summed, samples if sampled else 1, unrolled, guide, (*spec.networks, *networks))
    rules = [of_sums.get(n, c.pay) for n, (_, c, _) in chosen.items()]
    step = priced(pricer, *{id(pay): pay for pay in rules}.values(), pay_rest)  # latents of one sum pay once
    lines = spec.derived or guide_lines(spec, [p.name for p in latents if p.guide == "derived"])
    warnings = with_notices(model, latents, components, step)
    if warnings != spec.warnings or derived.params:
        spec = replace(spec, warnings=warnings, params=(*spec.params, *derived.params.values()))
    return Plan(
        spec=spec,
        latents=tuple(latents),
        eliminations=tuple(Elimination(c.latents, c.chain, c.order, c.cost) for c in components),
        guide=guide,
        networks=(*spec.networks, *networks),
        objective=objective,
        formula=formula(spec, tuple(latents), guide, view.bound if sampled else ELBO),
        samples=samples if sampled else 1,
        sizes=tuple(sorted(model.sizes.items())),
        nominal=model.nominal,
        step=step,
        unrolled=unrolled,
        drawn_in_weights=weighed,
        structures=tuple(_summed(model, v) for v in spec.of_role("observed") if structure_of(v)),
        integrations=integrations,
        bound=view.bound if sampled else ELBO,
        baselines=baselines,
        derived=lines,
    )


def _latents(model: Model, view: View, chosen, guide: tuple[Variable, ...]) -> list[LatentPlan]:
    treated = {n: c.treated for n, (_, c, _) in chosen.items()}
    reads, latents = draws_read(model.spec, guide), []
    for name, (strategy, claim, declined) in chosen.items():
        kl, kl_why = divergence(model, name, treated, guide, reads, view.bound)
        if claim.kl_why:
            kl, kl_why = "sampled", claim.kl_why
        elif STRATEGIES[strategy].relaxed and kl != "analytic":
            raise _without_kl(model, name, kl_why)
        latents.append(
            LatentPlan(
                name,
                strategy,
                claim.treatment,
                claim.exact,
                claim.biased,
                claim.why,
                claim.alone(model),
                declined,
                _origin(model, name, claim),
                kl,
                kl_why,
                claim.options,
                next(iter(chain_plates(model, name)), None),
            )
        )
    return latents


def _origin(model: Model, name: str, claim: Claim) -> str:
    """Where a latent's guide factor is from."""
    if claim.treated.marginal or claim.treated.optimal:
        return "none"
    factor = model.guide_of(name)
    own = follows_model(model.spec.variable(name), factor)
    return "own" if own else "written" if factor and name not in model.spec.derived_factors else "derived"


def _summed(model: Model, variable: Variable) -> Summed:
    body = variable.general.dist
    part = body.parts[0] if body.parts else None
    cost = priced(Pricer(model, set()), partial(pay_structure, variable=variable))
    return Summed(variable.name, body.family, part, STRUCTURES[body.family].algorithm, cost)


def _guide(spec: Spec, treated: dict[str, Treatment]) -> tuple[tuple[Variable, ...], DerivedGuide]:
    """The written guide, and derived factors for the latents that it leaves out."""
    written = {v.name for v in spec.guide if v.role == "guide"}
    guided = [
        n for n, t in ((v.name, treated[v.name]) for v in spec.of_role("latent")) if not t.marginal and not t.optimal
    ]
    found = derive_guide(spec, [n for n in guided if n not in written])
    return (*found.of_role("let"), *spec.guide, *found.of_role("guide")), found


def _without_kl(model: Model, name: str, why: str) -> SpecError:
    """What is said of a relaxed latent whose values have no divergence in closed form."""
    latent, help = model.spec.variable(name), f"{name}: gumbel_softmax(density=relaxed), or reinforce"
    message = f"a relaxed draw of {name} has no KL of its values: {why}"
    return SpecError(model.spec.source, (Diagnostic("override-refused", latent.span, message, help=help),))
