"""The training objective of a model with a guide: an ELBO whose surrogate has the right gradient.

    ELBO  = E_q[ log p(x | z) ] - Σ_z KL(q(z) ‖ p(z))
    loss  = - mean( ELBO + Σ_s advantage_s · log q(s) )       score terms: gradient only, value zero

Costs are tensors over draws, batch, plates and enumerated latents. An enumerated latent is averaged over its q,
plates are added up, draws are averaged last. A score term carries only the costs downstream of its own site.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lvspec.emit.densities import analytic_kl, log_density, lower_term, unfused
from lvspec.emit.eliminate import Elimination, collapsed_axes
from lvspec.emit.factors import Factor, bindings, factor_at, factors_of, mask_of, masked, reduce_plates
from lvspec.emit.guide import Guide, at_bound, bound_term, extent_code, given_values, write_guide
from lvspec.emit.program import Program
from lvspec.emit.value import ALL, ATOM, FROM, SUM, Value, align, axis_of, join_draws, lag_of, latent_of, shift_axis
from lvspec.ir.plan import Plan
from lvspec.ir.reads import Reader
from lvspec.ir.spec import Schedule


@dataclass(frozen=True)
class Cost:
    """A term of the ELBO. latent: whose divergence it is (None: reconstruction); it counts negatively then."""

    latent: str | None
    value: Value
    mask: str | None = None


class Objective:
    """Writes the body of `forward` (or of `log_weights`, where every divergence is log q - log p at the draw)."""

    def __init__(self, plan: Plan, imports: set[str], weights: bool = False):
        self.plan = plan
        self.weights = weights
        self.treatment = {p.name: p.treatment for p in plan.latents}
        if weights:
            self.treatment |= exact_in_weights(plan)
        self.enumerated = [n for n, t in self.treatment.items() if t == "enumerated"]
        self.collapsed = [n for n, t in self.treatment.items() if t == "collapsed"]
        self.sampled = [n for n, t in self.treatment.items() if t == "sampled"]
        arguments = ("batch", "draws", "samples") if plan.sampled else ("batch",)
        self.program = Program(plan, imports, {*self.enumerated, *self.collapsed}, arguments)
        self.low, self.scope = self.program.low, self.program.scope

    # ------------------------------------------------------------ terms
    def scored(self) -> set[str]:
        """Sampled latents whose log q at the draw is needed."""
        if self.weights:
            return set(self.sampled)
        return {
            p.name
            for p in self.plan.latents
            if p.strategy == "reinforce" or p.kl == "sampled" and p.treatment == "sampled"
        }

    def costs(self, guide: Guide) -> list[Cost]:
        costs, collapsed = [], []
        for variable in self.plan.spec.variables:
            if variable.role == "observed" or variable.name in self.collapsed:
                for factor in factors_of(self.low, variable):
                    if self.reads_collapsed(factor):
                        collapsed.append(factor)
                    else:
                        costs.append(Cost(None, self.expected_sites(factor, guide), factor.mask))
        for variable in self.plan.spec.of_role("latent"):
            if self.treatment[variable.name] in ("enumerated", "sampled"):
                found, moved = self.divergence(variable, guide)
                costs.extend(found)
                collapsed.extend(moved)
        if collapsed:
            sizes = ", ".join(f"{n}={self.low.size(self.plan.spec.variable(n).type.support.cardinality)}" for n in self.collapsed)
            self.scope.line(f"tilt = {self.scope.use('evidence')}(batch, self.zero, {sizes})", "what is known of summed latents")
            summing = Elimination(self.low, self.scope.use("LOG"))
            value = summing.run(collapsed, collapsed_axes(self.low, self.collapsed))
            costs.append(Cost(None, self.scope.assign("log_marginal", value)))
        return costs

    def reads_collapsed(self, factor: Factor) -> bool:
        return any(self.low.order.is_enumerated(a) and latent_of(a) in self.collapsed for a in factor.axes)

    def divergence(self, variable, guide: Guide) -> tuple[list[Cost], list[Factor]]:
        """The latent's KL, in closed form or at the draw; its log p where a collapsed latent decides it."""
        latent = self.plan.latent(variable.name)
        q_definition = next(v for v in self.plan.guide if v.name == variable.name and v.role == "guide")
        analytic = latent.kl == "analytic" and self.treatment[variable.name] == "sampled" and not self.weights
        found, moved = [], []
        if not analytic:
            factors = factors_of(self.low, variable, fuse=False)
            moved = [f for f in factors if self.reads_collapsed(f)]
            log_p = [self.expected_sites(f, guide) for f in factors if not self.reads_collapsed(f)]
            for position, sites in enumerate(bindings(self.low, variable)):
                log_q = (
                    guide.log_q[axis_of(variable.name, sites)]
                    if variable.name in self.enumerated
                    else guide.log_q[variable.name]
                )
                if log_p:
                    _, _, (a, b) = self.low.broadcast(log_q, log_p[position])
                    value = Value(
                        f"{a.code} - {b.at(1)}",
                        self.low.order.union(log_q, log_p[position]),
                        (),
                        SUM,
                        draws=join_draws(log_q, log_p[position]),
                    )
                else:
                    value = log_q
                value = self.scope.assign(f"kl_{variable.name}", self.at_every_site(variable, value))
                found.append(Cost(variable.name, value, mask_of(self.low, variable)))
            return found, moved
        for sites in bindings(self.low, variable):
            q = bound_term(self.low, guide.terms[(variable.name, ())])

            def kl(clause):
                return analytic_kl(self.low, q, unfused(self.low, lower_term(self.low, clause.body, variable.name)))

            values = [self.low.with_bindings(c, kl) for c in (variable.general, *variable.initial)]
            value = values[0]
            if variable.initial:
                value = self.joined(variable, [self.expected(v, guide) for v in values])
            label = "_".join([variable.name, *map(str, sites)])
            value = self.scope.assign(f"kl_{label}", self.at_every_site(variable, value))
            if variable.type.support.finite:
                value = self.known_divergence(variable, value, guide)
            found.append(Cost(variable.name, value, mask_of(self.low, variable)))
        return found, moved

    def at_every_site(self, variable, value: Value) -> Value:
        """A divergence that does not vary over some plate of its latent counts once per site all the same."""
        plates = [p for p in variable.plates if p not in self.low.unrolled and p not in value.axes]
        if not plates:
            return value
        axes = self.low.order.sort({*value.axes, *plates, *(() if variable.outside_batch else ("B",))})
        shape = ", ".join(extent_code(self.program, a) if a not in value.axes else "1" for a in axes)
        code = f"{self.scope.use('spread')}({align(value, axes).code}, ({shape}{',' if len(axes) == 1 else ''}), self.zero)"
        return value.with_(code=code, axes=axes, binds=ATOM)

    def known_divergence(self, variable, value: Value, guide: Guide) -> Value:
        """KL(δ_z ‖ p) = -log p(z) where the batch gives z."""
        scope, low = self.scope, self.low
        _, observed = given_values(self.program, variable)
        scope.line(f'if "{variable.name}" in batch:')
        scope.indent += 1
        sites = tuple(low.bound[p] for p in variable.plates if p in low.bound)
        log_p = self.expected_sites(factor_at(low, variable, sites, fuse=False), guide)
        if "S" in log_p.axes and "S" not in value.axes:  # what is given is the same in every draw
            log_p = log_p.with_(
                code=f"{log_p.at(ATOM)}.mean({log_p.axes.index('S')})",
                axes=tuple(a for a in log_p.axes if a != "S"),
                binds=ATOM,
            )
        axes = low.order.union(value, log_p, observed)
        parts = [align(v, axes, 0).code for v in (observed, log_p, value)]
        scope.line(f"{value.code} = torch.where({parts[0]}, -{parts[1]}, {parts[2]})")
        scope.indent -= 1
        return value

    def joined(self, variable, values: list[Value]) -> Value:
        """The general value with the initial ones in place of its first sites."""
        general, initial = values[0], values[1:]
        plate = next((p for p in variable.plates if self.plan.spec.plate(p).ordered), None)
        for site, first in reversed(list(enumerate(initial))):
            general = self.low.replace_site(general, first, plate, site)
        return general

    # ------------------------------------------------------------ expectations under enumerated guides
    def expected_sites(self, factor: Factor, guide: Guide) -> Value:
        """A factor with lagged enumerated latents averaged out and its initial clauses in place."""
        if not factor.initial:
            return factor.value
        variable = self.plan.spec.variable(factor.name)
        values = [self.expected(v, guide) for v in (factor.value, *factor.initial)]
        return self.scope.assign(f"log_{factor.name}", self.joined(variable, values))

    def expected(self, value: Value, guide: Guide, keep: tuple[str, ...] = ()) -> Value:
        """E_q over the enumerated latents, children before parents."""
        order = [
            axis for axis in guide.log_q if self.low.order.is_enumerated(axis) and latent_of(axis) in self.enumerated
        ]
        for base in reversed(order):
            for axis in sorted((a for a in value.axes if _base(self.low, a) == base), key=lag_of):
                if axis in keep:
                    continue
                log_q = guide.log_q[base]
                if lag_of(axis):
                    plate = next(
                        p for p in self.plan.spec.variable(latent_of(base)).plates if self.plan.spec.plate(p).ordered
                    )
                    log_q = self.low.shifted(log_q, plate, lag_of(axis), "0")
                axes = self.low.order.union(value, log_q)
                rest = tuple(a for a in axes if a != axis)
                a, b = align(log_q, (*rest, axis)), align(value, (*rest, axis))
                code = f"{self.scope.use('expectation')}({a.code}, {b.code}, -1)"
                value = Value(code, rest, draws=join_draws(log_q, value))
        return value

    def settled(self, cost: Cost, guide: Guide, keep: tuple[str, ...] = ()) -> Value:
        """A cost per draw and example: enumerated latents averaged, plates added up (those in `keep` stay)."""
        value = self.expected(cost.value, guide, keep)
        return reduce_plates(self.low, value, set(keep), cost.mask)

    # ------------------------------------------------------------ forward
    def forward(self) -> list[str]:
        scope = self.scope
        scope.comment("guide")
        guide = write_guide(self.program, self.plan, self.enumerated, self.sampled, self.scored())
        scope.line()
        scope.comment("model")
        costs = self.costs(guide)
        scope.line()
        scope.comment("objective")
        reconstruction = self.total([c for c in costs if c.latent is None], guide, "reconstruction")
        kl = {}
        for name in dict.fromkeys(c.latent for c in costs if c.latent):
            kl[name] = self.total([c for c in costs if c.latent == name], guide, f"kl_of_{name}")
        scope.line(f"kl = {{{', '.join(f'{chr(34)}{n}{chr(34)}: {v.code}' for n, v in kl.items())}}}", "(B,) each")
        elbo = " - ".join([reconstruction.code, *(f'kl["{n}"]' for n in kl)])
        scope.line(f"elbo = {elbo}", "(B,)")
        weighted = self.weighted(list(kl))
        objective = "elbo" if not weighted else self.objective(reconstruction, kl, weighted)
        objective = self.with_scores(objective, costs, guide, weighted)
        scope.line(f'loss = -{scope.use("weighted_mean")}({objective}, batch.get("weight"))')
        scope.line(f"return {scope.use('Objective')}(loss, elbo=elbo, reconstruction={reconstruction.code}, kl=kl)")
        return self.program.text()

    def total(self, costs: list[Cost], guide: Guide, name: str) -> Value:
        """The sum of costs per example, averaged over draws."""
        values = [self.settled(c, guide) for c in costs] or [Value("self.zero", ())]
        total = self.low.plus(values)
        axes = total.axes
        if "S" in axes:
            total = Value(f"{total.at(ATOM)}.mean(0)", tuple(a for a in axes if a != "S"))
        if "B" not in total.axes:  # a global latent, or a prior that no example changes
            global_ = bool(costs) and costs[0].latent and self.plan.spec.variable(costs[0].latent).outside_batch
            share = f"{total.at(ATOM)} / self.dataset_size" if global_ else total.code
            rows = f"{self.scope.use('batch_rows')}(batch)"
            total = Value(f"({share}).expand({rows})", ("B",))
        if total.code.isidentifier() and name != "reconstruction":
            return total
        return self.scope.assign(name, total, own=name == "reconstruction")

    def weighted(self, names: list[str]) -> dict[str, str]:
        """The KL weight of each latent as Python, where it is not one."""
        schedules = dict(self.plan.spec.kl_weight)
        weights = {}
        for name in names:
            schedule = schedules.get(name, schedules.get(""))
            if schedule is not None and schedule != Schedule("constant", (1.0,)):
                weights[name] = self.schedule(schedule)
        return weights

    def schedule(self, schedule: Schedule) -> str:
        if schedule.kind == "constant":
            return repr(schedule.values[0])
        numbers = ", ".join(f"{v:g}" for v in schedule.values)
        return f"{self.scope.use(schedule.kind)}(self.step, {numbers})"

    def objective(self, reconstruction: Value, kl: dict, weighted: dict[str, str]) -> str:
        for name, code in weighted.items():
            self.scope.line(f"weight_{name} = {code}", "of the KL in the loss; the ELBO is never weighted")
        terms = [f'weight_{n} * kl["{n}"]' if n in weighted else f'kl["{n}"]' for n in kl]
        self.scope.line(f"objective = {' - '.join([reconstruction.code, *terms])}", "(B,)")
        return "objective"

    # ------------------------------------------------------------ score function
    def with_scores(self, objective: str, costs: list[Cost], guide: Guide, weighted: dict[str, str]) -> str:
        latents = [p.name for p in self.plan.latents if p.strategy == "reinforce"]
        if not latents:
            return objective
        scope = self.scope
        scope.line()
        scope.comment("score terms: leave-one-out over draws; their value is zero, their gradient is the estimator's")
        terms = [self.score(name, costs, guide, weighted) for name in latents]
        total = self.low.plus(terms)
        axes = total.axes
        score = scope.assign("score", total.with_(code=f"{total.at(ATOM)}.mean(0)", axes=axes[1:]), own=True)
        return f"{objective} + {score.code} - {score.code}.detach()"

    def score(self, name: str, costs: list[Cost], guide: Guide, weighted: dict[str, str]) -> Value:
        """advantage · log q(name), per draw and example."""
        log_q, scope = guide.log_q[name], self.scope
        signal = None
        for cost in costs:
            relations = dict(cost.value.draws).get(name)
            if relations is None:
                continue
            value = self.downstream(cost, dict(relations), log_q, guide)
            if cost.latent is not None:
                weight = f"weight_{cost.latent} * " if cost.latent in weighted else ""
                value = value.with_(code=f"-{weight}{value.at(ATOM)}", binds=1)
            signal = value if signal is None else self.plus(signal, value)
        signal = scope.assign(f"signal_{name}", signal, "what lies downstream of each draw")
        advantage = scope.assign(
            f"advantage_{name}", signal.with_(code=f"{scope.use('leave_one_out')}({signal.code}.detach())", draws=())
        )
        _, _, (a, b) = self.low.broadcast(advantage, log_q)
        axes = self.low.order.union(advantage, log_q)
        term = Cost(None, Value(f"{a.code} * {b.code}", axes, (), 1), mask_of(self.low, self.plan.spec.variable(name)))
        return self.settled(term, guide)

    def plus(self, a: Value, b: Value) -> Value:
        axes, _, (x, y) = self.low.broadcast(a, b)
        negative = y.code.startswith("-")
        code = f"{x.code} - {y.code[1:]}" if negative else f"{x.code} + {y.code}"
        return Value(code, axes, (), SUM)

    def downstream(self, cost: Cost, relations: dict[str, str], log_q: Value, guide: Guide) -> Value:
        """The part of a cost that a draw can change, site by site where sites are independent."""
        plates = [a for a in log_q.axes if a in self.low.order.plates]
        keep = tuple(a for a in log_q.axes if a not in ("S", "B") and relations.get(a, "same") != ALL)
        value = self.expected(cost.value, guide, keep)
        later = [p for p in plates if relations.get(p) == FROM and p in value.axes]
        if later and cost.mask:
            value = masked(self.low, value, cost.mask)
        value = reduce_plates(self.low, value, set(keep), cost.mask)
        for plate in later:
            at = value.axes.index(plate)
            value = value.with_(code=f"{self.scope.use('later_sum')}({value.code}, {at})", binds=ATOM)
        return value

    # ------------------------------------------------------------ importance weights
    def log_weights(self) -> list[str]:
        """log p(x, z) - log q(z) at the draws, (S, B)."""
        guide = write_guide(self.program, self.plan, self.enumerated, self.sampled, self.scored())
        costs = self.costs(guide)
        values = []
        for cost in costs:
            value = self.settled(cost, guide)
            values.append(value if cost.latent is None else replace(value, code=f"-{value.at(ATOM)}", binds=1))
        total = values[0]
        for value in values[1:]:
            total = self.plus(total, value)
        total = align(total, ("S", "B"))
        self.scope.line(f"log_weight = {total.code}", "(S, B)")
        names = ", ".join(f'"{n}": {n}' for n in self.sampled)
        self.scope.line(f"return log_weight, {{{names}}}")
        return self.program.text()


def exact_in_weights(plan: Plan) -> dict[str, str]:
    """In an importance weight an enumerated latent is summed out, or drawn where another guide factor reads it."""
    reader = Reader(plan.spec, plan.guide)
    treatment = {}
    for latent in plan.latents:
        if latent.treatment == "enumerated":
            read = any(r.name == latent.name for v in plan.guide if v.role == "guide" for r in reader.of_variable(v))
            treatment[latent.name] = "sampled" if read else "collapsed"
    return treatment


def _base(low, axis: str) -> str | None:
    return shift_axis(axis, -lag_of(axis)) if low.order.is_enumerated(axis) else None
