"""A linear-Gaussian chain as one call of the runtime: its coefficients, and what was seen.

z[t]: Normal(matmul(A, z[t-1]), softplus(q))        transition  (A, 0, diag softplus(q)^2)
x[t]: Normal(readout(z[t]), softplus(r))            emission    (readout.weight, readout.bias, diag ..., x, x.mask)
"""

from __future__ import annotations

from dataclasses import replace

from lvspec.emit.lowering.affine import ONE, lower_matrix, with_rows
from lvspec.emit.lowering.program import Program
from lvspec.emit.lowering.value import ATOM, Value, align, as_tensor
from lvspec.ir.affine import affine_in, reads_variable
from lvspec.ir.dims import Dim
from lvspec.ir.plan import Integration
from lvspec.ir.spec import Clause, Spec, Variable

EVENTS = (2, 1, 2)  # event axes of a matrix, an offset and a covariance


def gaussian_chain_body(program: Program, integration: Integration) -> None:
    """The statements of the method, up to its `return`."""
    low, scope = program.low, program.scope
    latent = low.spec.variable(integration.latent)
    lead, plate = ("B", *latent.plates[:-1]), latent.plates[-1]
    first = [_first(low, plate, v) for v in coefficients(program, latent, latent, latent.initial[0])[1:]]
    start = [align(v, lead, e).code for v, e in zip(first, EVENTS[1:], strict=True)]
    transition = coefficients(program, latent, latent, latent.general)
    emissions = [_emission(program, low.spec.variable(n), latent, (*lead, plate)) for n in integration.observed]
    rows = [
        f"return {scope.use('GaussianChain')}(",
        f"start=({', '.join(start)}),",
        f"transition=({', '.join(aligned_coefficients(transition, (*lead, plate)))}),",
        f"emissions=({', '.join(f'({e})' for e in emissions)},),",
        f"mask={low.mask(plate)},",
        *(["scalar=True,"] if not latent.type.shape else []),
        ")",
    ]
    scope.line(" ".join(rows).replace("( ", "(").replace(", )", ")"))


def length_of(variable: Variable) -> Dim:
    """How many entries; a number is a vector of one."""
    return variable.type.shape[0] if variable.type.shape else ONE


def coefficients(program: Program, variable: Variable, latent: Variable, clause: Clause) -> list[Value]:
    """(matrix, offset, covariance) of one clause, each under a name."""
    low = program.low

    def lower(c: Clause) -> list[Value]:
        found = affine_in(low.spec, latent.name, clause, c.dist.argument("loc"))
        offset = Value("0", number=True) if found.offset is None else low.real(low.concrete(low.lower(found.offset)))
        matrix = with_rows(low, lower_matrix(low, found.matrix, length_of(latent)), length_of(variable))
        return [matrix, as_tensor(offset), covariance(program, c, length_of(variable))]

    site = "" if clause.initial is None else f"_at_{clause.initial}"
    labels = (f"matrix_{variable.name}{site}", f"offset_{variable.name}{site}", f"covariance_{variable.name}{site}")
    values = low.with_bindings(without_latent(low.spec, latent, clause), lower)
    return [_named(program, label, v) for label, v in zip(labels, values, strict=True)]


def without_latent(spec: Spec, latent: Variable, clause: Clause) -> Clause:
    """The clause without the names that depend on the latent: their coefficients are part of the others'."""
    apart = (b for b in clause.bindings if not reads_variable(spec, latent.name, clause, b.value))
    return replace(clause, bindings=tuple(apart))


def _named(program: Program, label: str, value: Value) -> Value:
    plain = value.code.replace(".", "").replace("_", "").isalnum()
    return value if plain else program.scope.assign(label, value)


def covariance(program: Program, clause: Clause, size: Dim) -> Value:
    """The covariance [N, N] of a Normal or MultivariateNormal clause."""
    low, use = program.low, program.scope.use
    name, expr = clause.dist.arguments[1]
    value = low.real(low.concrete(low.lower(expr)))
    if name == "covariance_matrix":
        return value
    if name == "scale_tril":
        return value.with_(code=f"{use('tril_covariance')}({value.code})", binds=ATOM)
    value = as_tensor(value)
    scale = align(value, value.axes, 1 if value.axes or value.shape else 0)
    code = f"{use('diagonal_covariance')}({scale.code}, {low.size(size)})"
    return value.with_(code=code, shape=(size, size), binds=ATOM)


def aligned_coefficients(values: list[Value], axes: tuple[str, ...]) -> list[str]:
    return [align(v, axes, e if v.axes else len(v.shape)).code for v, e in zip(values, EVENTS, strict=True)]


def _first(low, plate: str, value: Value) -> Value:
    """What the first site's clause gives, at the first site where it varies over them."""
    if plate not in value.axes:
        return value
    at = value.axes.index(plate)
    code = f"{low.scope.use('first_site')}({value.code}, dim={at})"
    return value.with_(code=code, axes=tuple(a for a in value.axes if a != plate), binds=ATOM)


def _emission(program: Program, variable: Variable, latent: Variable, axes: tuple[str, ...]) -> str:
    """`C, d, R, x, batch["x.mask"]`; the first sites by clauses of their own where there are some."""
    low = program.low
    values = coefficients(program, variable, latent, variable.general)
    for clause in reversed(variable.initial):
        first = coefficients(program, variable, latent, clause)
        values = [
            a if a.code == b.code else low.replace_site(a, b, variable.along, clause.initial)
            for a, b in zip(values, first, strict=True)
        ]
    seen = observed_vector(low.known[variable.name])
    return ", ".join([*aligned_coefficients(values, axes), seen.code, f'batch["{variable.name}.mask"]'])


def observed_vector(value: Value) -> Value:
    """What was seen, a number as a vector of one."""
    if value.shape:
        return value
    return value.with_(code=f"{value.at(ATOM)}.unsqueeze(-1)", shape=(ONE,), binds=ATOM)
