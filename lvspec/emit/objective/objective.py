"""The training objective of a model with a guide: an ELBO whose surrogate has the right gradient.

ELBO  = E_q[ log p(x | z) ] - Σ_z KL(q(z) ‖ p(z))
loss  = - mean( ELBO + Σ_s advantage_s · log q(s) )       score terms: gradient only, value zero
"""

from __future__ import annotations

from functools import reduce

from lvspec.emit.lowering.relaxed import schedule_code
from lvspec.emit.lowering.scope import short
from lvspec.emit.lowering.value import ATOM, PRODUCT, SUM, Value, align, negated
from lvspec.emit.objective.bound_term import BoundTerm
from lvspec.emit.objective.loss import loss_line
from lvspec.emit.objective.score import add_signed, score_terms
from lvspec.emit.objective.terms import Terms
from lvspec.ir.dims import ragged_plate
from lvspec.ir.distributions import FAMILIES
from lvspec.ir.expr import Call, Choice, Dist, LocalRef, VariableRef, walk
from lvspec.ir.plan import Plan
from lvspec.ir.spec import Schedule, Spec
from lvspec.ir.types import REAL

EVERYWHERE = tuple(
    f.name for f in FAMILIES.values() if f.variate == REAL and f.reparameterized and not any(f.between)
)  # families with a density of each real value


def forward_body(plan: Plan, imports: set[str], given: tuple[str, ...] = ()) -> list[str]:
    """The statements of `forward` after the batch is prepared. given: latents that the batch gives throughout."""
    terms = Terms(plan, imports, given=given)
    scope = terms.scope
    costs = terms.write()
    added = terms.added()
    scope.line()
    scope.comment("objective")
    reconstruction, more = _reconstruction(terms, [c for c in costs if c.latent is None])
    kl = {}
    for name in dict.fromkeys(c.latent for c in costs if c.latent):
        kl[name] = summed(terms, [c for c in costs if c.latent == name])
    items = ", ".join(f'"{name}": {value.code}' for name, value in kl.items())
    scope.line(f"kl = {{{items}}}", "(B,) each")
    scope.line("elbo = " + " - ".join([reconstruction.code, *(f'kl["{n}"]' for n in kl)]), "(B,)")
    weighted = _weights(terms, list(kl))
    names = dict.fromkeys(c.term for c in added)
    extras = {n: total(terms, [c for c in added if c.term == n], f"added_{n}") for n in names}
    free = _free(terms, list(kl))
    changed = weighted or extras or free
    objective = _objective(terms, reconstruction, kl, (weighted, free), extras) if changed else "elbo"
    score = score_terms(terms, [*costs, *added], weighted)
    if score is not None:
        objective = f"{objective} + ({score.code} - {score.code}.detach())"
    scope.line(loss_line(plan, imports, objective))
    shown = ", ".join(f'"{name}": {value.code}' for name, value in extras.items())
    more += f", extras={{{shown}}}" if extras else ""
    if extras and not plan.spec.of_role("observed"):
        more = f", objective=objective{more}"
    scope.line(f"return {scope.use('Objective')}(loss, elbo=elbo, reconstruction={reconstruction.code}, kl=kl{more})")
    return terms.program.text()


def exact_body(plan: Plan, imports: set[str], name: str) -> list[str]:
    """The statements of `forward` where log p is exact, under its name, `log_prob` or `log_joint`: what `objective:` adds, too. All is
    written here, in place of a call of the method, so that what terms and factors both read is computed once."""
    terms = Terms(plan, imports)
    scope = terms.scope
    scope.line()
    costs = terms.write()
    added = terms.added()
    scope.line()
    if plan.spec.terms:
        scope.comment("objective")
    value = total(terms, costs, name).code
    extras = {t.name: total(terms, [c for c in added if c.term == t.name], f"added_{t.name}") for t in plan.spec.terms}
    objective = value
    if extras:
        objective = scope.assign(
            "objective", Value(" + ".join([value, *(v.code for v in extras.values())]), ("B",), binds=SUM)
        ).code
    scope.line(loss_line(plan, imports, objective))
    shown = ", ".join(f'"{n}": {v.code}' for n, v in extras.items())
    more = f", extras={{{shown}}}" if extras else ""
    scope.line(f"return {scope.use('Objective')}(loss, {name}={value}{more})")
    return terms.program.text()


def _reconstruction(terms: Terms, costs: list[BoundTerm]) -> tuple[Value, str]:
    """E_q log p(x | z); where several nodes are observed, by node, and what tells the objective so."""
    nodes = list(dict.fromkeys(c.node for c in costs))
    if len(nodes) < 2:
        return total(terms, costs, "reconstruction"), ""
    each = {n: total(terms, [c for c in costs if c.node == n], f"log_p_of_{short(n)}") for n in nodes}
    shown = ", ".join(f'"{n}": {value.code}' for n, value in each.items())
    name = terms.scope.names.fresh("log_p")
    terms.scope.line(f"{name} = {{{shown}}}", "(B,) each")
    code = " + ".join(f'{name}["{n}"]' for n in nodes)
    return terms.scope.assign("reconstruction", Value(code, ("B",)), own=True), f", log_p={name}"


def weights_body(plan: Plan, imports: set[str]) -> list[str]:
    """The statements of `log_weights`: log p(x, z) - log q(z) at the draws, (S, B), and log p - log q of what all examples
    share, (S,)."""
    terms = Terms(plan, imports, weights=True, asked=True)
    own: list[Value] = []
    shared: list[Value] = []
    for cost in terms.write():
        value = terms.settled(cost)
        signed = value if cost.latent is None else negated(value)
        (shared if cost.latent in plan.drawn_once else own).append(signed)
    weight = _signed_sum(terms, own or [Value("self.zero", ())])
    if set(weight.axes) != {"S", "B"}:  # no draw of an example's own, and none that it reads
        weight = terms.spread(weight, ("S", "B"))
    weight = terms.scope.named("log_weight", align(weight, ("S", "B")), own=True)
    names = ", ".join(f'"{n}": {n}' for n in terms.sampled)
    ratio = ""
    if shared:
        terms.scope.line(f"log_ratio = {align(_signed_sum(terms, shared), ('S',)).code}", "(S,)")
        ratio = ", log_ratio"
    terms.scope.line(f"return {weight.code}, {{{names}}}{ratio}")
    return terms.program.text()


def _signed_sum(terms: Terms, values: list[Value]) -> Value:
    return reduce(lambda a, b: add_signed(terms, a, b), values or [Value("self.zero", ())])


def total(terms: Terms, costs: list[BoundTerm], name: str) -> Value:
    """The sum of costs per example, under a name."""
    return terms.scope.named(name, summed(terms, costs), own=name == "reconstruction")


def summed(terms: Terms, costs: list[BoundTerm]) -> Value:
    """The sum of costs per example, averaged over draws."""
    values = [_share(terms, c) for c in costs] or [Value("self.zero", ())]
    found = terms.low.plus(values)
    found = terms.averaged_over_draws(found)
    if "B" not in found.axes:  # a global latent, or a prior that no example changes
        found = Value(f"{found.at(ATOM)}.expand({terms.scope.use('batch_rows')}(batch))", ("B",))
    return found


def _share(terms: Terms, cost: BoundTerm) -> Value:
    """A cost of one example; of what all examples share, its part."""
    value, name = terms.settled(cost), cost.latent or cost.node
    if name in terms.plan.shared:
        return value.with_(code=f"{value.at(ATOM)} / self.dataset_size", binds=PRODUCT)
    return value


def _weights(terms: Terms, names: list[str]) -> dict[str, str]:
    """Where the KL of a latent is weighted, the name of its weight; one name for one schedule. A schedule is a way to train: in
    evaluation the weight is what the schedule arrives at, so that under `linear(0, 1, ...)` the loss is the mean of -ELBO."""
    schedules = dict(terms.plan.spec.kl_weight)
    found = ((name, schedules.get(name, schedules.get(""))) for name in names)
    chosen = {n: s for n, s in found if s is not None and s != Schedule("constant", (1.0,))}
    shown = {s: f"kl_weight_{n}" if len(set(chosen.values())) > 1 else "kl_weight" for n, s in chosen.items()}
    for schedule, name in shown.items():
        code = schedule_code(terms.scope, schedule)
        code += f" if self.training else {schedule.end:g}" if schedule.kind != "constant" else ""
        terms.scope.line(f"{name} = {code}", "of the loss; the ELBO has no weights")
    return {n: shown[s] for n, s in chosen.items()}


def _free(terms: Terms, names: list[str]) -> dict[str, str]:
    """Where some of a latent's KL is free, the KL that is paid for: one number for the batch."""
    found = {}
    for name in names:
        bits = terms.plan.free_bits(name)
        if bits is None or name not in terms.sampled:
            continue
        kl = f'kl["{name}"]'
        if bits.unit == "dimension":
            each = terms.averaged_over_draws(terms.expected(terms.each[name]))
            kl = each.code
            if "B" not in each.axes:  # a divergence that no example changes
                extents = ", ".join([f"{terms.scope.use('batch_rows')}(batch)", *("-1" for _ in each.shape)])
                kl = f"{each.at(ATOM)}.expand({extents})"
        code = f'{terms.scope.use("free_bits")}({kl}, {bits.nats:g}, batch.get("weight"))'
        found[name] = terms.scope.assign(
            f"paid_{name}", Value(code, ()), "the batch's KL, no less than what is free"
        ).code
    return found


def _weighed(terms: Terms, name: str, weight: str, kl: str) -> str:
    """A weighted KL, which stays infinite where it is."""
    bodies = (c.body for c in terms.plan.spec.variable(name).clauses)
    may_be = any(isinstance(b, Dist | Choice) and _lacks_values(terms.plan.spec, b) for b in bodies)
    return f"{terms.scope.use('paid')}({weight}, {kl})" if may_be else f"{weight} * {kl}"


def _lacks_values(spec: Spec, body: Dist | Choice) -> bool:
    """Whether p may be 0 where q is not: beyond an interval or an example's sites, or where the logarithm of a probability is read."""
    if isinstance(body, Dist) and body.family in EVERYWHERE:
        return False
    read = list(walk(body))
    computed = {v.name for v in spec.of_role("let")}
    logarithms = any(isinstance(e, Call) and e.function == "log" for e in read)
    unseen = any(isinstance(e, LocalRef) or isinstance(e, VariableRef) and e.name in computed for e in read)
    logits = isinstance(body, Dist) and [a for a, _ in body.arguments] == ["logits"]
    size = body.type.support.size
    return not logits or logarithms or unseen or size is not None and ragged_plate(size) is not None


def _objective(terms: Terms, reconstruction: Value, kl: dict, changes: tuple[dict, dict], extras: dict) -> str:
    """The objective with weighted KLs, free bits and further terms: the loss is its negative mean, the ELBO itself is
    left alone."""
    weighted, free = changes
    paid = {n: free.get(n, f'kl["{n}"]') for n in kl}
    parts = [_weighed(terms, n, weighted[n], paid[n]) if n in weighted else paid[n] for n in kl]
    bound = " - ".join([reconstruction.code, *parts]) if weighted or free else "elbo"
    terms.scope.line(f"objective = {' + '.join([bound, *(v.code for v in extras.values())])}", "(B,)")
    return "objective"
