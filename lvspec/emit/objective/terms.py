"""The terms of an ELBO as costs: what each factor and each divergence contributes, before it is added up.

A cost keeps every axis that it varies over: draws, batch, plates, enumerated latents. An enumerated latent is
averaged over its q, plates are added up, draws are averaged last.
"""

from __future__ import annotations

from dataclasses import replace

from lvspec.emit.factors.eliminate import EliminationCode, collapsed_axes
from lvspec.emit.factors.factors import (
    Factor,
    bindings,
    factor_at,
    factors_of,
    first_sites_along,
    mask_of,
    masked,
    observed_mask,
    reduce_plates,
)
from lvspec.emit.factors.integrals import asks, integral_factor
from lvspec.emit.factors.marginal_priors import MarginalPriors
from lvspec.emit.factors.structures import label_factor, label_factors, log_factors
from lvspec.emit.guide.factors import bound_term, given_values, write_guide
from lvspec.emit.lowering.densities import analytic_kl, log_density, lower_term, sum_event, unfused
from lvspec.emit.lowering.extents import extent_code
from lvspec.emit.lowering.program import Program
from lvspec.emit.lowering.value import ATOM, PRODUCT, SUM, Value, align, join_draws, negated, select
from lvspec.emit.objective.bound_term import BoundTerm
from lvspec.ir.axes import at_present, axis_of, lag_of, latent_of, shift_axis
from lvspec.ir.dims import ragged_plate
from lvspec.ir.expr import Call, Here, LogProb, VariableRef
from lvspec.ir.lengths import counting
from lvspec.ir.plan import Plan
from lvspec.ir.structured import structure_of, window_of
from lvspec.ir.treatments import TREATMENTS


class Terms:
    """The guide and the costs of one program: of the objective, or of importance weights (`weights`), where every
    divergence is log q - log p at the draw. asked: whether questions about summed latents come in, as `ask`. given: latents
    whose values the batch gives for all examples: nothing is summed over them."""

    def __init__(
        self, plan: Plan, imports: set[str], weights: bool = False, asked: bool = False, given: tuple[str, ...] = ()
    ):
        self.plan = plan
        self.weights = weights
        self.asked = asked
        self.treated = {p.name: p.treated for p in plan.latents}
        if weights:
            drawn = plan.drawn_in_weights
            self.treated |= {n: TREATMENTS["sampled" if n in drawn else "collapsed"] for n in plan.enumerated}
        self.given = given
        self.enumerated = [n for n, t in self.treated.items() if t.averaged and n not in given]
        self.collapsed = [n for n, t in self.treated.items() if t.summed_out]
        self.sampled = [n for n, t in self.treated.items() if t.drawn]
        arguments = ("batch", "draws", "samples") if plan.sampled else ("batch",)
        self.each: dict[str, Value] = {}  # KLs by entry, where free bits are
        self.program = Program(plan, imports, {*self.enumerated, *self.collapsed}, arguments)
        self.program.discrete = weights
        self.low, self.scope = self.program.low, self.program.scope
        for name in given:
            axes = ("B", *plan.spec.variable(name).plates)
            value = Value(f'batch["{name}"]', axes, integer=True)
            self.low.known[name] = self.scope.assign(name, value, own=True)

    def write(self) -> list[BoundTerm]:
        """The statements of guide and model; what they cost."""
        self.scope.comment("guide")
        self.guide = write_guide(self.program, self.plan, self.enumerated, self.sampled, self.scored())
        self.scope.line()
        self.scope.comment("model")
        return self.costs()

    def scored(self) -> set[str]:
        """Sampled latents whose log q at the draw is needed."""
        if self.weights:
            return set(self.sampled)
        return {
            p.name
            for p in self.plan.latents
            if (p.scored or p.row.renormalised) and p.row.log_q or p.kl == "sampled" and p.treated.drawn
        }

    def costs(self) -> list[BoundTerm]:
        costs, collapsed, guided = [], [], []
        for variable in self.plan.spec.variables:
            if variable.name in self.plan.absorbed:
                continue
            if variable.role == "observed" or variable.name in (*self.collapsed, *self.plan.points):
                for factor in log_factors(self.low, variable):
                    if self.reads_collapsed(factor):
                        collapsed.append(factor)
                    else:
                        costs.append(BoundTerm(None, self.expected_sites(factor), factor.mask, node=variable.name))
        for variable in self.plan.spec.of_role("latent"):
            if self.treated[variable.name].guided:
                with self.scope.about(variable.name, "kl"):
                    found, moved = self.divergence(variable)
                costs.extend(found)
                collapsed.extend(moved)
                guided += [variable.name] if moved else []
        tilted = False
        for i in self.plan.integrations:
            mixed = self.asked and bool(i.choices)
            tilted = tilted or mixed and self.tilt()
            factor = integral_factor(self.low, i, asked=mixed)
            if self.reads_collapsed(factor):
                collapsed.append(factor)
            else:
                costs.append(BoundTerm(None, factor.value, factor.mask, node=i.latent))
        if self.collapsed and (collapsed or any(structure_of(self.plan.spec.variable(n)) for n in self.collapsed)):
            tilted = tilted or self.tilt()
            summing = EliminationCode(self.low, self.scope.use("LOG"))
            axes = collapsed_axes(self.low, self.collapsed)
            sums = MarginalPriors(self.low, summing, axes)
            if self.weights:
                costs.append(BoundTerm(None, summing.run(collapsed, axes), node="_".join(self.collapsed)))
            elif guided:
                costs.extend(BoundTerm(name, value, node=node) for name, value, node in sums.costs(collapsed, guided))
            else:  # each counts once at each site of what is averaged over it, and not at those of what others are averaged over
                costs.extend(BoundTerm(None, value, node=node) for value, node in sums.apart(collapsed))
        return costs

    def tilt(self) -> bool:
        """What is known of summed latents, and asked about them."""
        sizes = ", ".join(
            f"{n}={self.low.size(self.plan.spec.variable(n).type.support.values)}" for n in self.collapsed
        )
        tilt = f"{self.scope.use('evidence')}(batch, self.zero, {sizes})"
        if self.asked and asks(self.plan):
            tilt = f"{self.scope.use('asked')}({tilt}, ask)"
        self.scope.line(f"tilt = {tilt}", "what is known of summed latents")
        return True

    def added(self) -> list[BoundTerm]:
        """The terms of `objective:`."""
        self.low.special = {"LogProb": self._log_prob, "expected": self._expected, "known": self._known}
        found = []
        for term in self.plan.spec.terms:
            for _ in bindings(self.low, term):
                value = self.low.with_bindings(term.general, lambda c: self.low.real(self.low.lower(c.value)))
                value = self.scope.assign(f"term_{term.name}", self.at_every_site(term, value))
                found.append(self.counted(term, BoundTerm(None, value, mask_of(self.low, term), term.name)))
        self.low.special = {}
        return found

    def _log_prob(self, expr: LogProb) -> Value:
        """A log-density at a value; 0 where the value is an observed one that the batch lacks."""
        term = lower_term(self.low, expr.dist, "term", fuse=True)
        value = self.low.lower(expr.value)
        found = self.scope.assign("log_density", log_density(self.low, term, value, "term"))
        if isinstance(expr.value, VariableRef):
            variable = next((v for v in self.plan.spec.of_role("observed") if v.name == expr.value.name), None)
            if variable is not None and all(isinstance(s, Here) for s in expr.value.at):
                return masked(self.low, found, observed_mask(variable))
        return found

    def _expected(self, expr: Call) -> Value:
        return self.expected(self.low.lower(expr.args[0]))

    def _known(self, expr: Call) -> Value:
        """1 where the batch gives the latent."""
        asked = expr.args[0]
        assert isinstance(asked, VariableRef)  # front/objective.py
        latent = self.plan.spec.variable(asked.name)
        sites = [extent_code(self.program, p) if p in self.low.bound else "1" for p in latent.plates]
        listed = f"({', '.join(sites)}{',' if len(sites) == 1 else ''})"
        code = f'{self.scope.use("is_known")}(batch, "{latent.name}", {listed}, self.zero)'
        value = Value(code, ("B", *latent.plates))
        for plate in latent.plates:
            if plate in self.low.bound:
                value = select(value, plate, str(self.low.bound[plate]))
        return value

    def counted(self, variable, cost: BoundTerm) -> BoundTerm:
        """The cost where a plate's length, if it is a variable that has a value here, lets the site count."""
        for plate in map(self.plan.spec.plate, variable.plates):
            if plate.length is None or plate.length in self.collapsed:
                continue
            axes, _, (value, here) = self.low.broadcast(cost.value, self.low.lower(counting(plate)))
            code = f"{value.at(PRODUCT)} * {here.at(PRODUCT)}"
            draws = join_draws(cost.value, here)
            cost = replace(cost, value=Value(code, axes, cost.value.shape, PRODUCT, draws=draws))
        return cost

    def reads_collapsed(self, factor: Factor) -> bool:
        enumerated = (latent_of(a) for a in factor.axes if self.low.order.is_enumerated(a))
        return any(n in self.collapsed for n in (*enumerated, *map(window_of, factor.axes)))

    def divergence(self, variable) -> tuple[list[BoundTerm], list[Factor]]:
        """The latent's KL, in closed form or at the draw; its log p where a collapsed latent decides it."""
        latent = self.plan.latent(variable.name)
        if variable.name in self.given:
            return [self.counted(variable, self.at_known(variable, at)) for at in bindings(self.low, variable)], []
        if latent.kl == "zero" and not self.weights:
            return [self.counted(variable, self.of_given(variable, at)) for at in bindings(self.low, variable)], []
        if latent.kl == "analytic" and self.treated[variable.name].drawn and not self.weights:
            return [self.counted(variable, self.closed_form(variable, at)) for at in bindings(self.low, variable)], []
        if variable.name in self.guide.crfs or structure_of(variable):
            return self.crf_divergence(variable)
        found, moved = [], []
        for sites in bindings(self.low, variable):
            factor = factor_at(self.low, variable, sites, fuse=False)
            if self.is_relaxed(variable) and variable.type.support.finite:
                factor = self.known_factor(variable, sites, factor)
            drawn = variable.name not in self.enumerated
            log_q = self.low.written_out.at_bound(
                self.guide.log_q[variable.name if drawn else axis_of(variable.name, sites)]
            )
            value = log_q
            if self.reads_collapsed(factor):
                moved.append(factor)
            else:
                value = self.minus(log_q, self.expected_sites(factor))
                if not drawn and ragged_plate(variable.type.support.cardinality):
                    value = self.where_mass(log_q, value)
            value = self.at_every_site(variable, value)
            value = self.scope.named(f"log_ratio_{variable.name}", value)
            found.append(self.counted(variable, BoundTerm(variable.name, value, mask_of(self.low, variable))))
        return found, moved

    def known_factor(self, variable, sites: tuple[int, ...], factor: Factor) -> Factor:
        """log p of the value itself, not of the point that stands for it, where the batch gives z."""
        low, scope = self.low, self.scope
        given, observed = given_values(self.program, variable)
        scope.line(f'if "{variable.name}" in batch:')
        scope.indent += 1
        known = factor_at(low, variable, sites, fuse=False, target=given.with_(integer=True))
        for drawn, value in zip((factor.value, *factor.initial), (known.value, *known.initial), strict=True):
            parts = [align(v, low.order.union(drawn, value, observed), 0).code for v in (observed, value, drawn)]
            scope.line(f"{drawn.code} = torch.where({', '.join(parts)})")
        scope.indent -= 1
        return factor

    def is_relaxed(self, variable) -> bool:
        return not self.weights and self.plan.latent(variable.name).relaxed

    def crf_divergence(self, variable) -> tuple[list[BoundTerm], list[Factor]]:
        """log q - log p where one of them is of labels as a whole: the two apart, as they differ over other sites.
        -H(q) is exact where q's labels tell its structure."""
        name, q = variable.name, self.guide.crfs.get(variable.name)
        if q is not None and q.one_to_one and not self.weights:
            entropy = self.scope.assign(f"entropy_{name}", q.entropy())
            found = [BoundTerm(name, negated(entropy))]
        else:
            mask = mask_of(self.low, variable) if q is None else None
            found = [BoundTerm(name, self.guide.log_q[name], mask)]
        if structure_of(variable):
            enumerated = name in self.enumerated
            factors = label_factors(self.low, variable) if enumerated else [label_factor(self.low, variable)]
        else:
            factors = factors_of(self.low, variable, fuse=False)
        moved = [f for f in factors if self.reads_collapsed(f)]
        for factor in (f for f in factors if f not in moved):
            value = negated(self.expected_sites(factor))
            if factor.mask:
                value = self.scope.assign(f"cost_{name}", self.at_every_site(variable, value))
            found.append(BoundTerm(name, value, factor.mask))
        return found, moved

    def where_mass(self, log_q: Value, log_ratio: Value) -> Value:
        """A log-ratio with 0 where q has no mass: beyond the sites of an example p has none either."""
        axes = log_ratio.axes
        code = f"{self.scope.use('where_mass')}({align(log_q, axes).code}, {log_ratio.code})"
        return log_ratio.with_(code=code, binds=ATOM)

    def minus(self, a: Value, b: Value) -> Value:
        axes, _, (x, y) = self.low.broadcast(a, b)
        return Value(f"{x.code} - {y.at(PRODUCT)}", axes, (), SUM, draws=join_draws(a, b))

    def closed_form(self, variable, sites: tuple[int, ...]) -> BoundTerm:
        """KL(q ‖ p) of a sampled latent at the bound sites."""
        q = bound_term(self.low, self.guide.terms[(variable.name, ())])

        bits = self.plan.free_bits(variable.name)

        def kl(clause):
            p = unfused(self.low, lower_term(self.low, clause.body, variable.name))
            if bits is None or bits.unit != "dimension" or self.weights:
                return analytic_kl(self.low, q, p)
            each = analytic_kl(self.low, q, p, summed=False)
            self.each[variable.name] = self.scope.assign(f"kl_{variable.name}_each", each)
            return sum_event(self.each[variable.name])

        values = [self.low.with_bindings(c, kl) for c in (variable.general, *variable.initial)]
        value = values[0]
        if variable.initial:
            value = self.expected_clauses(variable, values)
        label = "_".join([variable.name, *map(str, sites)])
        value = self.scope.assign(f"kl_{label}", self.at_every_site(variable, value))
        if variable.type.support.finite:
            value = self.known_divergence(variable, value)
        return BoundTerm(variable.name, value, mask_of(self.low, variable))

    def of_given(self, variable, sites: tuple[int, ...]) -> BoundTerm:
        """The divergence of a latent with q = p at the bound sites: nothing, but where the batch gives it."""
        label = "_".join([variable.name, *map(str, sites)])
        value = self.at_every_site(variable, Value("self.zero", ()))
        if not variable.type.support.finite:
            return BoundTerm(variable.name, value, mask_of(self.low, variable))
        value = self.scope.assign(f"kl_{label}", value)
        return BoundTerm(variable.name, self.known_divergence(variable, value), mask_of(self.low, variable))

    def at_known(self, variable, sites: tuple[int, ...]) -> BoundTerm:
        """KL(δ_z ‖ p) = -log p(z) of a latent that the batch gives throughout."""
        value = negated(self.expected_sites(factor_at(self.low, variable, sites, fuse=False)))
        value = self.scope.named(f"kl_{variable.name}", self.at_every_site(variable, value))
        return BoundTerm(variable.name, value, mask_of(self.low, variable))

    def at_every_site(self, variable, value: Value) -> Value:
        """A divergence that does not vary over some plate of its latent counts once per site all the same."""
        plates = [p for p in variable.plates if p not in self.low.unrolled and p not in value.axes]
        return self.spread(value, (*plates, *(() if variable.outside_batch else ("B",)))) if plates else value

    def spread(self, value: Value, over: tuple[str, ...]) -> Value:
        """The same at each entry of further axes."""
        axes = self.low.order.sort({*value.axes, *over})
        shape = ", ".join(extent_code(self.program, a) if a not in value.axes else "1" for a in axes)
        code = f"{self.scope.use('spread')}({align(value, axes).code}, ({shape}{',' if len(axes) == 1 else ''}), self.zero)"
        return value.with_(code=code, axes=axes, binds=ATOM)

    def known_divergence(self, variable, value: Value) -> Value:
        """KL(δ_z ‖ p) = -log p(z) where the batch gives z."""
        scope, low = self.scope, self.low
        given, observed = given_values(self.program, variable)
        if not set(observed.axes) <= set(value.axes):  # one value for all examples, which may be given different ones
            value = scope.assign(value.code, self.spread(value, observed.axes))
        scope.line(f'if "{variable.name}" in batch:')
        scope.indent += 1
        sites = tuple(low.bound[p] for p in variable.plates if p in low.bound)
        # the value itself, not the axis or the point that stands for it
        apart = self.is_relaxed(variable) or variable.name in self.enumerated
        target = given.with_(integer=True) if apart else None
        log_p = self.expected_sites(factor_at(low, variable, sites, fuse=False, target=target))
        if "S" in log_p.axes and "S" not in value.axes:  # what is given is the same in every draw
            log_p = self.averaged_over_draws(log_p)
        axes = low.order.union(value, log_p, observed)
        parts = [align(v, axes, 0).code for v in (observed, log_p, value)]
        scope.line(f"{value.code} = torch.where({parts[0]}, -{parts[1]}, {parts[2]})")
        scope.indent -= 1
        return value

    def joined(self, variable, values: list[Value]) -> Value:
        """The general value with the initial ones in place of its first sites."""
        general, initial = values[0], values[1:]
        for site, first in reversed(list(enumerate(initial))):
            general = self.low.replace_site(general, first, first_sites_along(variable), site)
        return general

    # ------------------------------------------------------------ expectations under enumerated guides
    def expected_sites(self, factor: Factor) -> Value:
        """A factor with its initial clauses in place."""
        if not factor.initial:
            return factor.value
        variable = self.plan.spec.variable(factor.name)
        value = self.expected_clauses(variable, [factor.value, *factor.initial])
        return self.scope.assign(f"log_p_{factor.name}", value, other=f"log_p_{factor.name}_from_0")

    def expected_clauses(self, variable, values: list[Value]) -> Value:
        """The general value with the initial ones in place of its first sites, enumerated latents of those sites
        averaged out: first clauses read fewer of them. A latent that all sites share stays, since each of its values
        may have draws of its own."""
        shared = [v.name for v in self.plan.spec.of_role("latent") if first_sites_along(variable) not in v.plates]
        axes = {a for v in values for a in v.axes if self.low.order.is_enumerated(a)}
        keep = tuple(a for a in axes if latent_of(a) in shared)
        return self.joined(variable, [self.expected(v, keep) for v in values])

    def expected(self, value: Value, keep: tuple[str, ...] = (), detached: bool = False) -> Value:
        """E_q over the enumerated latents, children before parents; `detached`: q is a weight without gradient."""
        low = self.low
        if not self.enumerated:
            return value
        order = [a for a in self.guide.log_q if low.order.is_enumerated(a) and latent_of(a) in self.enumerated]
        for base in reversed(order):
            if latent_of(base) in self.guide.crfs:
                value = self.crf_expectation(base, value, detached)
                continue
            for axis in sorted(
                (a for a in value.axes if low.order.is_enumerated(a) and at_present(a) == base and a not in keep),
                key=lag_of,
            ):
                log_q = self.log_q_at(base, lag_of(axis))
                if detached:
                    log_q = log_q.with_(code=f"{log_q.at(ATOM)}.detach()")
                axes = low.order.union(value, log_q)
                rest, rank = tuple(a for a in axes if a != axis), len(value.shape)
                a, b = align(log_q, (*rest, axis), rank), align(value, (*rest, axis))
                code = f"{self.scope.use('expectation')}({a.code}, {b.code}, {-1 - rank})"
                value = Value(code, rest, value.shape, draws=join_draws(log_q, value))
        return value

    def crf_expectation(self, base: str, value: Value, detached: bool) -> Value:
        """E_q under a CRF guide over the sites that the value reads: one, or two neighbours."""
        low, q = self.low, self.guide.crfs[latent_of(base)]
        axes = tuple(
            sorted(
                (a for a in value.axes if low.order.is_enumerated(a) and at_present(a) == base),
                key=lag_of,
                reverse=True,
            )
        )
        if not axes:
            return value
        if len(axes) == 2:
            weight = q.steps()
        else:
            weight = q.sites() if not lag_of(axes[0]) else low.shifted(q.sites(), q.plate, 1, "0")
        if detached:
            weight = weight.with_(code=f"{weight.at(ATOM)}.detach()")
        rest, rank = tuple(a for a in low.order.union(value, weight) if a not in axes), len(value.shape)
        a, b = align(weight, (*rest, *axes), rank), align(value, (*rest, *axes))
        dims = tuple(range(-len(axes) - rank, -rank))
        code = f"{self.scope.use('average')}({a.code}, {b.code}, {dims[0] if len(dims) == 1 else dims})"
        return Value(code, rest, value.shape, draws=join_draws(weight, value))

    def log_q_at(self, base: str, lag: int) -> Value:
        """log q of an enumerated latent, of an earlier site where the axis is one."""
        log_q = self.guide.log_q[base]
        if not lag:
            return log_q
        plate = self.plan.latent(latent_of(base)).along
        assert plate is not None  # it has a lag
        shifted = self.low.shifted(log_q, plate, lag, "0")
        if plate not in shifted.axes:
            return shifted
        # before the first site q is uniform: what the first site's clause gives is averaged over nothing
        at = shifted.axes.index(shift_axis(base, lag))
        return shifted.with_(code=f"{shifted.at(ATOM)}.log_softmax({at})", binds=ATOM)

    def averaged_over_draws(self, value: Value) -> Value:
        """The mean over the draws, by their shares where they have some."""
        if "S" not in value.axes:
            return value
        if self.guide.share is not None:
            axes, _, (share, v) = self.low.broadcast(self.guide.share, value)
            code = f"{self.scope.use('average')}({share.code}, {v.code}, {-len(axes) - len(value.shape)})"
            return Value(code, axes[1:], value.shape, draws=value.draws)
        at = value.axes.index("S")
        return value.with_(
            code=f"{value.at(ATOM)}.mean({at})", axes=tuple(a for a in value.axes if a != "S"), binds=ATOM
        )

    def settled(self, cost: BoundTerm, keep: tuple[str, ...] = (), detached: bool = False) -> Value:
        """A cost per draw and example: enumerated latents averaged, plates added up (those in `keep` stay)."""
        return reduce_plates(self.low, self.expected(cost.value, keep, detached), set(keep), cost.mask)
