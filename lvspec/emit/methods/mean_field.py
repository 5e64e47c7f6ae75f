"""Models with a mean field: the expected log joint, q at its optimum, the bound and what can be asked about q.

expected(batch, mean, tilt)     log Σ_z exp E_q[log p(x, z | theta)], theta by its expected statistics `mean`
optimum(batch)                  q(theta) of every example by coordinate ascent
ascend(batch, rate)             q of what the data set shares, one natural-gradient step
"""

from __future__ import annotations

from functools import partial

from lvspec.emit.factors.eliminate import EliminationCode, collapsed_axes
from lvspec.emit.factors.factors import reduce_plates
from lvspec.emit.factors.structures import log_factors
from lvspec.emit.guide.refine import clause_term
from lvspec.emit.lowering.distribution import distribution
from lvspec.emit.lowering.extents import extent_code, full_arguments
from lvspec.emit.lowering.program import Program
from lvspec.emit.lowering.value import Value, align
from lvspec.emit.methods.docstrings import bound_doc, described, log_weight, mean_field_posterior_doc
from lvspec.emit.methods.posterior import latent_sizes, zero_tilts
from lvspec.emit.methods.weights import draws_head, weight_methods, weights_head
from lvspec.emit.objective.loss import loss_line
from lvspec.emit.text.text import wrap
from lvspec.ir.distributions import argument_shape, event_axes
from lvspec.ir.mean_field import STATISTICS, statistic_shapes
from lvspec.ir.plan import Plan
from lvspec.ir.spec import Variable


def mean_field_methods(plan: Plan, imports: set[str]) -> list[list[str]]:
    """The methods in reading order."""
    imports.update(("LOG", "Objective", "VariationalFactor", "statistics_of", "weighted_mean"))
    local, shared = _latents(plan, False), _latents(plan, True)
    methods = [_expected(plan, imports), _prior(plan, imports, local, "batch")] if local else [_expected(plan, imports)]
    if shared:
        methods.append(_prior(plan, imports, shared, ""))
    methods += [_optimum(plan, imports), _forward(plan, imports)]
    if shared:
        methods += [_ascend(plan, imports), _shared_draws(plan, imports)]
    return [*methods, _log_weights(plan, imports), weight_methods(plan, imports), _posterior(plan, imports)]


def _latents(plan: Plan, outside: bool) -> list[Variable]:
    return [v for v in plan.spec.of_role("latent") if v.name in plan.mean_field and v.outside_batch is outside]


def _summed(plan: Plan) -> list[str]:
    return [p.name for p in plan.latents if p.treated.summed_out]


def known(plan: Plan, imports: set[str]) -> str:
    """What the batch gives of summed latents, as Python."""
    sizes = latent_sizes(plan)
    if not sizes:
        return "{}"
    imports.add("evidence")
    return f"evidence(batch, self.zero, {', '.join(f'{n}={s}' for n, s in sizes.items())})"


def _axes(variable: Variable) -> tuple[str, ...]:
    return (*(() if variable.outside_batch else ("B",)), *variable.plates)


def _expected(plan: Plan, imports: set[str]) -> list[str]:
    summed = _summed(plan)
    program = Program(plan, imports, set(summed), ("batch", "mean", "tilt", "semiring"))
    low, scope = program.low, program.scope
    for variable in (*_latents(plan, False), *_latents(plan, True)):
        family = variable.general.dist.family
        names = [scope.names.fresh(f"{s}_{variable.name}") for s in STATISTICS[family]]
        shapes = statistic_shapes(family, variable.type.shape)
        values = tuple(Value(n, low.order.sort(_axes(variable)), s) for n, s in zip(names, shapes, strict=True))
        left = ", ".join(names) if len(names) > 1 else f"({names[0]},)"
        scope.line(f'{left} = mean["{variable.name}"]', scope.shape_comments(values))
        low.statistics[variable.name] = values
    random = [v for v in plan.spec.variables if v.role == "observed" or v.name in summed]
    factors = [f for v in random for f in log_factors(low, v)]
    total = EliminationCode(low).run(factors, collapsed_axes(low, summed))
    scope.returned(total)
    given = ", ".join(plan.mean_field)
    inside = f"E_q[log p({', '.join(v.name for v in random)} | {given})]"
    about = f"log Σ_{{{', '.join(summed)}}} exp {inside}" if summed else inside
    return [
        "    def expected(self, batch: dict, mean: dict, tilt: dict, semiring=LOG) -> torch.Tensor:",
        *described(
            f"{about}, (B,), by the expected statistics `mean`; `tilt` is added to log-factors of summed latents."
        ),
        *program.text(),
    ]


def _prior(plan: Plan, imports: set[str], latents: list[Variable], batch: str) -> list[str]:
    """`prior` of an example's latents, or `shared_prior` of the data set's: name -> VariationalFactor."""
    program = Program(plan, imports, set(), ("batch",))
    low, scope = program.low, program.scope
    items = []
    for variable in latents:
        body = variable.general.dist
        term = low.with_bindings(variable.general, partial(clause_term, low, variable.name))
        axes = low.order.sort(_axes(variable))
        # every parameter at full size: a factor's are updated site by site
        shapes = [argument_shape(body.family, a, variable.type.shape) for a, _ in body.arguments]
        arguments = [
            full_arguments(program, [low.concrete(v)], axes, s, len(s))[0]
            for v, s in zip(term.arguments, shapes, strict=True)
        ]
        prior = distribution(scope, body.family, (a.code for a in arguments))
        items.append(f'"{variable.name}": VariationalFactor({prior})')
    signature = "own_prior(self, batch: dict)" if batch else "shared_prior(self)"
    of = "each example's latents" if batch else "the latents that the data set shares"
    scope.line(f"return {{{', '.join(items)}}}")
    return [
        f"    def {signature} -> dict:",
        f'        """The prior of {of}."""',
        *program.text(),
    ]


def _settings(plan: Plan) -> tuple[int, float]:
    """Rounds and tolerance: what `infer:` says of a latent, or the defaults."""
    (row,) = {plan.latent(n).row.name: plan.latent(n).row for n in plan.mean_field}.values()
    options = [dict(o.options) for o in plan.spec.overrides if o.strategy == row.name]
    default = row.options
    steps = max((int(o["steps"]) for o in options if "steps" in o), default=default["steps"])
    return steps, min((float(o["tolerance"]) for o in options if "tolerance" in o), default=default["tolerance"])


def _optimum(plan: Plan, imports: set[str]) -> list[str]:
    local, shared = _latents(plan, False), _latents(plan, True)
    factors = "self.shared_factors.factors()" if shared else "{}"
    if not local:
        return [
            "    def optimum(self) -> dict:",
            '        """q of every latent of the mean field: the data set\'s."""',
            f"        return {factors}",
        ]
    imports.add("coordinate_ascent")
    steps, tolerance = _settings(plan)
    rows = [
        "    def optimum(self, batch: dict) -> dict:",
        '        """q of every latent of the mean field, each at its optimum given the others: no gradient flows through it."""',
        f"        known = {known(plan, imports)}",
    ]
    if shared:
        rows.append(f"        shared = {factors}")
    call = (
        "coordinate_ascent(lambda mean: self.expected(batch, mean, known), self.own_prior(batch), "
        f"{'shared' if shared else '{}'}, steps={steps}, tolerance={tolerance:g})"
    )
    return [*rows, *wrap(f"return shared | {call}" if shared else f"return {call}", 2)]


def _q(plan: Plan) -> str:
    """q at its optimum, which depends on the batch where some latents are an example's own."""
    return f"self.optimum({'batch' if _latents(plan, False) else ''})"


def _forward(plan: Plan, imports: set[str]) -> list[str]:
    shared = _latents(plan, True)
    program = Program(plan, imports, set(), ("batch", "q", "prior"))
    scope = program.scope
    kl = {}
    for variable in (*_latents(plan, False), *shared):
        kl[variable.name] = _divergence(program, variable)
    head = [
        "    def forward(self, batch: dict) -> Objective:",
        *bound_doc(plan),
        "        batch = self.prepare(batch)",
        f"        q = {_q(plan)}",
        f"        prior = {_priors(plan)}",
        *wrap(f"reconstruction = self.expected(batch, statistics_of(q), {known(plan, imports)})", 2),
    ]
    items = ", ".join(f'"{n}": {v.code}' for n, v in kl.items())
    scope.line(f"kl = {{{items}}}", "(B,) each")
    scope.line("elbo = " + " - ".join(["reconstruction", *(f'kl["{n}"]' for n in kl)]), "(B,)")
    scope.line(loss_line(plan, imports, "elbo"))
    found = ", factors=q" if shared else ""
    scope.line(f"return Objective(loss, elbo=elbo, reconstruction=reconstruction, kl=kl{found})")
    return [*head, *program.text()]


def _priors(plan: Plan) -> str:
    parts = ["self.own_prior(batch)"] if _latents(plan, False) else []
    return " | ".join([*parts, *(["self.shared_prior()"] if _latents(plan, True) else [])])


def _divergence(program: Program, variable: Variable) -> Value:
    """KL(q ‖ p) per example: of what the data set shares, an example's share."""
    low, name = program.low, variable.name
    code = f'q["{name}"].distribution.kl(prior["{name}"].distribution)'
    rank = len(variable.type.shape) - event_axes(variable.general.dist.family)
    if rank:
        code = f"{code}.sum({'-1' if rank == 1 else tuple(range(-rank, 0))})"
    value = Value(code, low.order.sort(_axes(variable)))
    if value.axes not in ((), ("B",)):
        value = reduce_plates(low, low.scope.assign(f"kl_{name}_sites", value), set())
    if variable.outside_batch:
        value = low.scope.assign(f"kl_{name}", value)
        value = Value(f"({value.code} / self.dataset_size).expand({extent_code(program, 'B')})", ("B",))
    return low.scope.assign(f"kl_of_{name}", value)


def _ascend(plan: Plan, imports: set[str]) -> list[str]:
    return [
        "    @torch.no_grad()",
        "    def ascend(self, batch: dict, rate: float = 1.0, q: dict | None = None) -> None:",
        '        """q of what the data set shares: a natural-gradient step of size `rate` towards its optimum for this batch,',
        '        given the examples\' own factors: those of q, else at their optimum."""',
        "        batch = self.prepare(batch)",
        f"        known = {known(plan, imports)}",
        f"        q = {_q(plan)} if q is None else q",
        "        local = {n: f for n, f in q.items() if n not in self.shared_factors.families}",
        f"        scale = self.dataset_size / max({_rows(plan, imports)}, 1)  # as if the data set were so many such batches",
        *wrap(
            "self.shared_factors.ascend("
            "lambda mean: self.expected(batch, mean, known), self.shared_prior(), local, scale, rate)",
            2,
        ),
    ]


def _rows(plan: Plan, imports: set[str]) -> str:
    imports.add("batch_rows")
    return "batch_rows(batch)"


def _noise(variable: Variable) -> str:
    """Noise for draws of q: of a normal a draw of Normal(0, 1), of others the draw itself."""
    return f'q["{variable.name}"].distribution.noise((samples,))'


def _log_weights(plan: Plan, imports: set[str]) -> list[str]:
    """log Σ_z p(x, z | theta) p(theta) / q(theta) at draws of q; p / q of what the data set shares by itself."""
    summed = _summed(plan)
    program = Program(plan, imports, set(summed), ("batch", "draws", "samples", "q", "prior"))
    low, scope = program.low, program.scope
    local, shared = _latents(plan, False), _latents(plan, True)
    ratios: dict[bool, list[Value]] = {False: [], True: []}
    for variable in (*local, *shared):
        name = variable.name
        axes = ("S", *low.order.sort(_axes(variable)))
        noise, value = _noise(variable), Value("", axes, variable.type.shape)
        if variable.outside_batch:
            program.draw(f"{name}_noise", name, noise, value)
            noise = f"{name}_noise"
        code = f'q["{name}"].distribution.draw({noise})'
        low.known[name] = scope.assign(name, value.with_(code=code), own=True)
        parts = [f'{of}["{name}"].distribution.log_prob({name})' for of in ("prior", "q")]
        rank = len(variable.type.shape) - event_axes(variable.general.dist.family)
        end = f".sum({'-1' if rank == 1 else tuple(range(-rank, 0))})" if rank else ""
        ratio = Value(f"({parts[0]} - {parts[1]}){end}" if end else f"{parts[0]} - {parts[1]}", axes, binds=0)
        ratio = scope.assign(f"log_ratio_{name}", ratio)
        ratios[variable.outside_batch].append(reduce_plates(low, ratio, set()))
    scope.line(f"tilt = {known(plan, imports)}", "what is known of summed latents")
    random = [v for v in plan.spec.variables if v.role == "observed" or v.name in summed]
    factors = [f for v in random for f in log_factors(low, v)]
    total = EliminationCode(low, "LOG").run(factors, collapsed_axes(low, summed))
    total = low.plus([total, *ratios[False]])
    names = ", ".join(f'"{v.name}": {v.name}' for v in (*local, *shared))
    total = scope.named("log_weight", align(total, ("S", "B")), own=True)
    if shared:
        scope.line(f"log_ratio = {low.plus(ratios[True]).code}", "(S,)")
    scope.line(f"return {total.code}, {{{names}}}{', log_ratio' if shared else ''}")
    about = log_weight(plan)
    return [
        *weights_head(
            plan,
            "batch: dict, samples: int, draws: dict | None = None" if shared else "batch: dict, samples: int",
            about,
        ),
        f"        prior = {_priors(plan)}",
        f"        q = {_q(plan)}",
        *program.text(),
    ]


def _shared_draws(plan: Plan, imports: set[str]) -> list[str]:
    program = Program(plan, imports, set(), ("samples", "q"))
    items = [f'"{v.name}": {_noise(v)}' for v in _latents(plan, True)]
    program.scope.line(f"return {{{', '.join(items)}}}")
    return [*draws_head(plan), "        q = self.shared_factors.factors()", *program.text()]


def _posterior(plan: Plan, imports: set[str]) -> list[str]:
    rows = [
        "    def posterior(self, batch: dict) -> dict:",
        *mean_field_posterior_doc(plan),
        "        batch = self.prepare(batch)",
        f"        q = {_q(plan)}",
    ]
    if not latent_sizes(plan):
        return [*rows, "        return q"]
    imports.add("exact_posterior")
    return [
        *rows,
        "        mean = statistics_of(q)",
        *zero_tilts(plan, imports),
        *wrap(f"tilts |= {known(plan, imports)}", 2),
        *wrap(
            "return q | exact_posterior(lambda tilt, semiring: self.expected(batch, mean, tilt, semiring), tilts)",
            2,
        ),
    ]
