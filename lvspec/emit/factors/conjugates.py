"""A latent with a conjugate prior: its parameters, and the statistics of what reads it.

theta: Beta(a, b), x[t]: Bernoulli(probs=theta)
    Conjugate(Beta(a, b), seen=(site_sums(bernoulli_statistics(x, self.zero), batch["x.mask"], 1),), mask=...)
mu: Normal(m, s), x[t]: Normal(matmul(W, mu), r)
    GaussianFactors(start=(m, diag s^2), emissions=((W, 0, diag r^2, x, batch["x.mask"]),), mask=...)
"""

from __future__ import annotations

from lvspec.emit.factors.linear_gaussian import aligned_coefficients, coefficients, observed_vector, without_latent
from lvspec.emit.lowering.densities import lower_term
from lvspec.emit.lowering.distribution import distribution
from lvspec.emit.lowering.extents import chosen_mask, extent_code
from lvspec.emit.lowering.program import Program
from lvspec.emit.lowering.value import Value, align, as_tensor, permute
from lvspec.ir.chosen import plates_seen
from lvspec.ir.conjugate import GAUSSIAN, factor_in, pair_of
from lvspec.ir.distributions import argument_shape
from lvspec.ir.expr import Number
from lvspec.ir.plan import Integration
from lvspec.ir.spec import Clause, Variable


def conjugate_body(program: Program, integration: Integration) -> None:
    """The statements of the method, up to its `return`."""
    latent = program.low.spec.variable(integration.latent)
    readers = [program.low.spec.variable(n) for n in integration.observed]
    if latent.general.dist.family in GAUSSIAN:
        program.scope.line(_gaussian(program, latent, readers))
    else:
        program.scope.line(_table(program, latent, readers, integration.choices))


def _own_sites(program: Program, latent: Variable, choosing: tuple[str, ...] = ()) -> str:
    """The mask of the latent's own sites, (B, values of what chooses its parameters..., plates...)."""
    low, axes = program.low, ("B", *choosing, *latent.plates)
    ragged = [p for p in latent.plates if low.spec.plate(p).ragged]
    masks = [Value(low.mask(p), ("B", *((w,) if (w := low.spec.plate(p).within) else ()), p)) for p in ragged]
    if masks and masks[-1].axes == axes:
        return masks[-1].code
    shape = ", ".join(extent_code(program, a) for a in axes)
    ones = f"torch.ones({shape}, dtype=torch.bool, device=self.zero.device)"
    return " & ".join([ones, *(align(m, axes, 0).code for m in masks)])


def _axes(latent: Variable, reader: Variable, choosing: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The batch, the latent's plates, and those over which the reader's statistics are added up."""
    return ("B", *choosing, *latent.plates, *(p for p in reader.plates if p not in latent.plates))


def _mask(program: Program, latent: Variable, reader: Variable, axes: tuple[str, ...]) -> str:
    plates = ("B", *(p for p in axes if p in reader.plates))
    mask = permute(Value(f'batch["{reader.name}.mask"]', ("B", *reader.plates)), plates)
    return chosen_mask(program, plates_seen(program.low.spec, reader, (latent.name,))[1], mask, axes)


# ---------------------------------------------------------------- Gaussian priors
def _gaussian(program: Program, latent: Variable, readers: list[Variable]) -> str:
    low = program.low
    mean, covariance = coefficients(program, latent, latent, latent.general)[1:]
    lead = ("B", *latent.plates)
    start = [align(v, lead, e if v.axes else len(v.shape)).code for v, e in ((mean, 1), (covariance, 2))]
    emissions = []
    for reader in readers:
        axes = _axes(latent, reader)
        values = aligned_coefficients(coefficients(program, reader, latent, reader.general), axes)
        seen = permute(observed_vector(low.known[reader.name]), axes).code
        emissions.append(f"({', '.join([*values, seen, _mask(program, latent, reader, axes)])})")
    scalar = "" if latent.type.shape else ", scalar=True"
    return (
        f"return {program.scope.use('GaussianFactors')}(start=({', '.join(start)}), "
        f"emissions=({', '.join(emissions)},), mask={_own_sites(program, latent)}{scalar})"
    )


# ---------------------------------------------------------------- the table
def _table(program: Program, latent: Variable, readers: list[Variable], choosing: tuple[str, ...]) -> str:
    low, clause = program.low, latent.general
    lead = ("B", *choosing, *latent.plates)

    def prior(c) -> list[str]:
        values = [as_tensor(v) for v in lower_term(low, c.body, latent.name).arguments]
        ranks = [len(argument_shape(c.body.family, a, latent.type.shape)) for a, _ in c.body.arguments]
        pairs = zip(values, ranks, strict=True)
        return [align(v, lead, rank if v.axes else len(v.shape)).code for v, rank in pairs]

    parameters = low.with_bindings(clause, prior)
    seen = ", ".join(_statistics(program, latent, reader, choosing) for reader in readers)
    more = f", choices={len(choosing)}" if choosing else ""
    return (
        f"return {program.scope.use('Conjugate')}({distribution(program.scope, clause.dist.family, parameters)}, "
        f"seen=({seen},), mask={_own_sites(program, latent, choosing)}{more})"
    )


def _statistics(program: Program, latent: Variable, reader: Variable, choosing: tuple[str, ...]) -> str:
    """`site_sums(poisson_statistics(x, self.zero, exposure), batch["x.mask"], 1)`, under a name."""
    low, use = program.low, program.scope.use
    pair, axes = pair_of(latent.general.dist.family, reader.general.dist.family), _axes(latent, reader, choosing)
    assert pair is not None  # plan/strategies/conjugacy.py

    def extra(clause: Clause) -> list[str]:
        known = [low.concrete(low.lower(clause.dist.argument(n))) for n in pair.known]
        if pair.prior == "Dirichlet":
            known.append(Value(low.size(latent.type.shape[-1]), integer=True, number=True))
        if pair.link in ("scaled", "root", "inverse"):
            factor = factor_in(pair, low.spec, latent.name, reader.general, clause.dist.argument(pair.argument))
            known += [] if factor is None or factor == Number(1) else [low.concrete(low.lower(factor))]
        return [align(v, axes, len(reader.type.shape) if v.axes else len(v.shape)).code for v in known]

    arguments = low.with_bindings(without_latent(low.spec, latent, reader.general), extra)
    plates = ("B", *(p for p in axes if p in reader.plates))
    value = align(permute(low.known[reader.name], plates), axes, len(reader.type.shape)).code
    statistics = f"{use(pair.statistics)}({', '.join([value, 'self.zero', *arguments])})"
    if reader.type.shape and not latent.type.shape:
        statistics = f"{use('summed_entries')}({statistics})"
    code = f"{use(pair.sums)}({statistics}, {_mask(program, latent, reader, axes)}, {1 + len(choosing) + len(latent.plates)})"
    name = program.scope.names.fresh(f"seen_{reader.name}")
    program.scope.line(f"{name} = {code}")
    return name
