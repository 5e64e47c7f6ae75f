"""Models with factorial chains in a structured mean field: each chain alone, what it adds to the observation, the bound.

chain(batch, l, tilts)      log Σ over chain l alone, its prior times exp(tilt)
part(batch, l, q)           what chain l adds to what is known of the observation's sum, e.g. mean and variance
density(batch, sums)        E_q[log p(x | z)], or a lower bound of it
"""

from __future__ import annotations

from lvspec.emit.factors.eliminate import EliminationCode
from lvspec.emit.factors.factors import factor_at, observed_mask, reduce_plates
from lvspec.emit.lowering.program import Program
from lvspec.emit.lowering.value import Value, align, as_tensor
from lvspec.emit.methods.docstrings import bound_doc, described, log_weight
from lvspec.emit.methods.mean_field import known
from lvspec.emit.methods.posterior import zero_tilts
from lvspec.emit.methods.weights import weight_methods
from lvspec.emit.objective.loss import loss_line
from lvspec.emit.text.text import statement, wrap
from lvspec.ir.axes import axis_of
from lvspec.ir.mean_field import SUMS, sum_over
from lvspec.ir.plan import Plan


def chain_factor_methods(plan: Plan, imports: set[str]) -> list[list[str]]:
    """The methods in reading order."""
    imports.update(("LOG", "Objective", "weighted_mean", "chain_ascent", "chain_weights", "exact_posterior"))
    latent = plan.spec.variable(plan.structured[0])
    plate = next(p for p in latent.plates if p != plan.latent(latent.name).along)
    reader = plan.spec.of_role("observed")[0]
    return [
        _chain(plan, imports, latent, plate),
        _part(plan, imports, latent, reader, plate),
        _density(plan, imports, reader),
        _optimum(plan, imports, latent),
        _forward(plan, imports, latent),
        *_answers(plan, imports, latent),
    ]


def _index(plate: str) -> str:
    """The name of a chain's number: the plate's, where that is not taken for a digit."""
    return f"chain_{plate}" if plate in ("l", "O", "I") else plate


def _chain(plan: Plan, imports: set[str], latent, plate: str) -> list[str]:
    """The elimination of one chain: the plate's index is a variable of the emitted method."""
    index = _index(plate)
    program = Program(plan, imports, {latent.name}, ("batch", "tilt", "semiring", index))
    low = program.low
    low.unrolled, low.bound[plate] = (plate,), index
    total = EliminationCode(low).run([factor_at(low, latent, (index,))], [axis_of(latent.name, (index,))])
    program.scope.returned(total)
    return [
        f"    def one_chain(self, batch: dict, {index}: int, tilt: dict, semiring=LOG) -> torch.Tensor:",
        f'        """log Σ p({latent.name}) exp(tilt) of {index} alone, (B,)."""',
        *program.text(),
    ]


def _part(plan: Plan, imports: set[str], latent, reader, plate: str) -> list[str]:
    row, index = SUMS[reader.general.dist.family], _index(plate)
    program = Program(plan, imports, {latent.name}, ("batch", index, "q"))
    low = program.low
    low.unrolled, low.bound[plate] = (plate,), index
    inside = sum_over(reader.general.dist, latent.name, plate)
    assert inside is not None  # plan/strategies/structured_mean_field.py
    table = low.lower(inside)
    seen = f', batch["{reader.name}"]' if row.seen else ""
    imports.add(row.part)
    return [
        f"    def one_part(self, batch: dict, {index}: int, q: torch.Tensor) -> tuple:",
        f'        """{ABOUT[row.part]} of {reader.name} by {index} alone, under its marginals q (B, T, K)."""',
        f"        return {row.part}(q, {table.code}{seen})",
    ]


ABOUT = {
    "moments": "Mean and variance",
    "cumulants": "E score and log E exp score",
    "symbol_cumulants": "E score, and log E exp score of every symbol,",
}


def _density(plan: Plan, imports: set[str], reader) -> list[str]:
    body = reader.general.body
    row = SUMS[body.family]
    program = Program(plan, imports, set(), ("batch", "sums"))
    low, scope = program.low, program.scope
    axes = ("B", *reader.plates)
    arguments = [low.lower(e) for a, e in body.arguments if a != row.argument]
    arguments = [align(v, axes, row.rank) if v.axes or v.shape else as_tensor(v) for v in arguments]
    value = [] if row.seen else [reader.name]
    code = f"{scope.use(row.expected)}({', '.join([*value, '*sums', *(v.code for v in arguments)])})"
    found = scope.assign(f"log_p_{reader.name}", Value(code + ".sum(-1)" * row.rank, axes))
    total = reduce_plates(low, found, set(), observed_mask(reader))
    scope.returned(total)
    latent = plan.structured[0]
    about = (
        f"A lower bound of E_q[log p({reader.name} | {latent})]"
        if row.bounded
        else f"E_q[log p({reader.name} | {latent})]"
    )
    return [
        "    def joint_density(self, batch: dict, sums: tuple) -> torch.Tensor:",
        f'        """{about}, (B,), by what the chains add up to."""',
        *program.text(),
    ]


def _settings(plan: Plan) -> tuple[int, float]:
    row = plan.latent(plan.structured[0]).row
    given = next((dict(o.options) for o in plan.spec.overrides if o.strategy == row.name), {})
    options = {**row.options, **given}
    return int(options["steps"]), float(options["tolerance"])


def _optimum(plan: Plan, imports: set[str], latent) -> list[str]:
    steps, tolerance = _settings(plan)
    name = latent.name
    axis = "" if plan.latent(name).along == latent.plates[0] else ", axis=-3"  # of the chains
    zeros = "\n".join(zero_tilts(plan, imports)).replace("tilts = ", "zeros = ", 1).split("\n")
    return [
        "    def optimum(self, batch: dict):",
        f'        """q({name}): each chain at its optimum given the others; no gradient flows through it."""',
        *zeros,
        f"        known = zeros | {known(plan, imports)}  # what the batch gives",
        "",
        "        def chain(i: int, tilts: torch.Tensor, semiring) -> torch.Tensor:",
        *wrap(f'return self.one_chain(batch, i, {{"{name}": known["{name}"] + tilts}}, semiring)', 3),
        "",
        *wrap(
            "return chain_ascent(lambda sums: self.joint_density(batch, sums), lambda i, q: self.one_part(batch, i, q), chain, "
            f'zeros["{name}"], LOG, steps={steps}, tolerance={tolerance:g}{axis})',
            2,
        ),
    ]


def _forward(plan: Plan, imports: set[str], latent) -> list[str]:
    name = latent.name
    return [
        "    def forward(self, batch: dict) -> Objective:",
        *bound_doc(plan),
        "        batch = self.prepare(batch)",
        "        q = self.optimum(batch)",
        "        reconstruction = self.joint_density(batch, q.sums(q.marginals))  # (B,)",
        f'        kl = {{"{name}": q.divergence(LOG)}}  # (B,)',
        f'        elbo = reconstruction - kl["{name}"]  # (B,)',
        f"        {loss_line(plan, imports, 'elbo')}",
        "        return Objective(loss, elbo=elbo, reconstruction=reconstruction, kl=kl)",
    ]


def _answers(plan: Plan, imports: set[str], latent) -> list[list[str]]:
    name = latent.name
    posterior = [
        "    def posterior(self, batch: dict) -> dict:",
        *described(
            f"q({name}) at its optimum, chains independent, in place of {plan.notation.posterior([name])}: marginals, mode, samples, entropy."
        ),
        "        batch = self.prepare(batch)",
        "        q = self.optimum(batch)",
        *zero_tilts(plan, imports),
        *wrap(
            f'return exact_posterior(lambda tilt, semiring: q.log_sums(q.tilts + tilt["{name}"], semiring), tilts)',
            2,
        ),
    ]
    weights = [
        "    def log_weights(self, batch: dict, samples: int) -> tuple[torch.Tensor, dict]:",
        *described(f"{log_weight(plan)}: (S, B), and the draws."),
        "        batch = self.prepare(batch)",
        *wrap(f'q, {name} = self.optimum(batch), self.posterior(batch)["{name}"].sample(samples)', 2),
        *statement(
            f"log_weight = chain_weights(q, lambda sums: self.joint_density(batch, sums), {name}, LOG)", "(S, B)", 2
        ),
        f'        return log_weight, {{"{name}": {name}}}',
    ]
    return [weights, weight_methods(plan, imports), posterior]
