"""What latents cannot stand beside: each other, or the settings. What is asked of them all stands in the rows of their strategies,
treatments, structures, and of the bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from lvspec.errors import Diagnostic, Span
from lvspec.ir.bounds import ELBO, Bound
from lvspec.ir.estimators import STRATEGIES, Apart
from lvspec.ir.flows import without_inverse
from lvspec.ir.spec import Schedule
from lvspec.ir.structured import structure_of
from lvspec.plan.claims import Claim
from lvspec.plan.divergence import drawn_after
from lvspec.plan.engines import averages_of_draws
from lvspec.plan.model import Model, crf_guide
from lvspec.plan.strategies.reparameterization import differentiable_once

Declines = tuple[tuple[str, str], ...]
Chosen = Mapping[str, tuple[str, Claim, Declines]]  # by latent its strategy, the claim that it makes, what lost

REFUSED = "override-refused"


def refused_company(model: Model, chosen: Chosen) -> list[Diagnostic]:
    """What goes with nothing else that has been chosen."""
    return [problem for rule in RULES for problem in rule(model, chosen)]


def _bound_of(model: Model) -> Bound:
    return model.settings.get("bound") or ELBO


# ---------------------------------------------------------------- the bound
def _bound(model: Model, chosen: Chosen) -> Iterator[Diagnostic]:
    """What a bound that couples all draws cannot go with."""
    bound = _bound_of(model)
    sampled = [model.spec.variable(n) for n, (_, c, _) in chosen.items() if c.treated.drawn]
    if not bound.coupled or not sampled:
        return
    if any(s != Schedule("constant", (1.0,)) for _, s in model.spec.kl_weight):
        message = f"`kl_weight` weighs the KL terms of an ELBO; the bound {bound.name} has none apart"
        yield Diagnostic(REFUSED, sampled[0].span, message, help="leave out `kl_weight`, or `bound`")
    for latent in sampled:
        name, plain = latent.name, "gradient=pathwise"
        if bound.gradient not in STRATEGIES[chosen[name][0]].gradients:
            message = f"{name} is drawn by {chosen[name][0]}: only reparameterized draws are doubly reparameterized"
            yield Diagnostic(REFUSED, latent.span, message, help=plain)
        for reason_of in ATTACHED if bound.path.detached else ():
            if found := reason_of(model, name):
                reason, help = found
                yield Diagnostic(REFUSED, latent.span, reason, help=f"{plain}{help and f', or {help}'}")
        if latent.outside_batch:
            message = f"{name} is one for the whole data set: an example has no importance weight of its own for it"
            yield Diagnostic(REFUSED, latent.span, message, help="bound: elbo")


def _of_crf(model: Model, name: str) -> tuple[str, str] | None:
    return (
        (f"q({name}) is a CRF: its log q keeps the gradient of what it reads", "") if crf_guide(model, name) else None
    )


def _backwards(model: Model, name: str) -> tuple[str, str] | None:
    if any(k < 0 for r in model.guide_reads.get(name, ()) for _, _, k in r.ways):
        return f"q({name}) runs backwards: its log q without its own parameters' gradient has no engine yet", ""
    return None


def _through(model: Model, name: str) -> tuple[str, str] | None:
    factor = model.guide_of(name)
    network = without_inverse(factor.general.dist, {n.name: n for n in model.spec.networks}) if factor else None
    if network is None:
        return None
    message = f"q({name}) runs through {network.name}, and {network.kind} has no inverse in closed form: "
    message += "its log q without its own parameters' gradient is not known"
    return message, f"`{network.name}: Coupling({network.arguments[0]}, H)`"


# why log q does not stand without the gradient of its own parameters, and what would help
ATTACHED: tuple[Callable[[Model, str], tuple[str, str] | None], ...] = (_of_crf, _backwards, _through)


# ---------------------------------------------------------------- each other
def _apart(model: Model, chosen: Chosen) -> Iterator[Diagnostic]:
    """Latents that cannot stand beside each other, or beside the settings, by the rows of their strategies."""
    rows, told = {n: STRATEGIES[s] for n, (s, _, _) in chosen.items()}, set[Apart]()
    samples = max((c.samples for n, (_, c, _) in chosen.items() if rows[n].draws), default=1)
    for name, row in rows.items():
        place = model.spec.variable(name).span
        for apart in row.apart:
            other = next((n for n in rows if n != name and apart.other(rows[n], chosen[n][1].treated)), None)
            if other is not None and apart not in told:
                told.add(apart)
                yield _beside(apart, place, name=name, other=other, theirs=rows[other].name)
        if row.no_kl and (model.spec.kl_weight or model.spec.free_bits):
            yield Diagnostic(REFUSED, place, row.no_kl.format(name=name), help="leave them out")
        if samples % row.multiple:
            message = f"draws of {name} are made {row.multiple} at a time, and there are {samples} of them"
            help = f"a multiple of {row.multiple}: `samples: {2 * row.multiple}`"
            yield Diagnostic(REFUSED, place, message, help=help)


def _beside(apart: Apart, place: Span, **words: str) -> Diagnostic:
    return Diagnostic(apart.code, place, apart.message.format(**words), help=apart.help.format(**words))


# ---------------------------------------------------------------- terms of the objective
def _terms(model: Model, chosen: Chosen) -> Iterator[Diagnostic]:
    """Terms stand beside log p or an ELBO, and read what has a value or an axis of its own there."""
    spec, reader = model.spec, model.reader
    treated = {n: c.treated for n, (_, c, _) in chosen.items()}
    exact = all(t.marginal or t.point for t in treated.values())
    reason = f"and the bound here is {_bound_of(model).name}" if not exact and _bound_of(model).coupled else ""
    if any(t.optimal for t in treated.values()):
        reason = "and q is found here by mean field"
    for term in spec.terms:
        if reason:
            message = f"the term {term.name} is added to log p or to an ELBO under written or derived guides, {reason}"
            yield Diagnostic("no-strategy", term.span, message, help="leave out the term")
            continue
        for name in dict.fromkeys(r.name for r in reader.of_variable(term)):
            if name in treated and treated[name].marginal:
                how = chosen[name][0]
                message = f"the term {term.name} reads {name}, which is summed out by {how}: it has no value there"
                help = f"write q({name}) in `guide:`, so that {name} is averaged under it or drawn"
                yield Diagnostic("no-strategy", term.span, message, help=help)
    for span, names in averages_of_draws(spec, reader, set(chosen), {n for n, t in treated.items() if t.averaged}):
        message = f"`expected` averages over what is summed under its q, and it reads draws of {names}"
        yield Diagnostic("no-strategy", span, message, help="let one of them be summed, or leave out `expected`")


# ---------------------------------------------------------------- refined guides, and little memory
def _refined(model: Model, chosen: Chosen) -> Iterator[Diagnostic]:
    """Steps up the ELBO are steps of the pathwise gradient of an ELBO, whose terms belong to one example each."""
    options = {n: dict(c.options) for n, (_, c, _) in chosen.items() if "refine" in dict(c.options)}
    if not options:
        return
    name, bound = next(iter(options)), _bound_of(model)
    drawn = [n for n, (_, c, _) in chosen.items() if c.treated.drawn]
    others = [n for n in drawn if not STRATEGIES[chosen[n][0]].twice]
    after = {n for refined in options for n in drawn_after(model.guide_reads, refined)}
    once = [n for n in drawn if n in after and differentiable_once(model, n)]
    reason = None
    if once:
        reason = (
            f"q({once[0]}) reads its draw, and a draw of {differentiable_once(model, once[0])} is differentiable once"
        )
    elif others:
        reason = f"{others[0]} is drawn by {chosen[others[0]][0]}: a surrogate's second derivative is not the ELBO's"
    elif bound.coupled:
        reason = f"the bound is {bound.name} ({bound.gradient} gradient), and the steps are up the ELBO"
    elif model.spec.free_bits:
        reason = "free bits are of the batch's mean KL, and each example refines its own q"
    elif any(o != options[name] for o in options.values()):
        reason = f"{' and '.join(options)} take their steps together: give them the same `refine` and `rate`"
    if reason:
        place = next((o.span for o in model.overrides.values() if o.name == name), model.spec.variable(name).span)
        yield Diagnostic(REFUSED, place, f"q({name}) cannot be refined: {reason}", help="leave out `refine`")


def _lean(model: Model, chosen: Chosen) -> Iterator[Diagnostic]:
    """Lean memory is of sums that need a few sites at a time."""
    if model.settings.get("memory") != "lean":
        return
    for latent in (model.spec.variable(n) for n, (_, c, _) in chosen.items() if c.treated.summed_out):
        if (structure := structure_of(latent)) and not structure.lean:
            family = latent.general.dist.family
            message = f"`memory: lean` is for chains of states: {latent.name} is a {family}, summed from the scores of all sites"
            yield Diagnostic(REFUSED, latent.span, message, help="leave out `memory: lean`")


RULES: tuple[Callable[[Model, Chosen], Iterator[Diagnostic]], ...] = (_bound, _apart, _terms, _refined, _lean)
