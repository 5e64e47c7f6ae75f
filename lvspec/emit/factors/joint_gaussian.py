"""Jointly Gaussian latents as one call of the runtime: the coefficients of every factor, level by level.

effect[j]: Normal(mu, 2)            LinearGaussian({"mu": 1}, 0, 4)
y[j]: Normal(effect[j], s[j])       LinearGaussian({"effect": 1}, 0, s[j]^2, y, batch["y.mask"])
"""

from __future__ import annotations

from dataclasses import replace

from lvspec.emit.factors.linear_gaussian import EVENTS, covariance, length_of, observed_vector
from lvspec.emit.lowering.affine import ONE, lower_matrix, with_rows
from lvspec.emit.lowering.extents import chosen_mask, extent_code
from lvspec.emit.lowering.lower import Lowering
from lvspec.emit.lowering.program import Program
from lvspec.emit.lowering.value import Value, align, as_tensor, permute
from lvspec.ir.affine import affine_in_all, variables_in
from lvspec.ir.chosen import plates_seen
from lvspec.ir.joint_gaussian import Level
from lvspec.ir.plan import Integration
from lvspec.ir.spec import Clause, Variable

Key = tuple[str, int]  # what is read, and how many sites back
Coefficients = tuple[dict[Key, Value], Value, Value]


def evidence_axes(integration: Integration) -> tuple[str, ...]:
    """The axes of log p of what is observed: those of the outermost level, but of its chain."""
    root = integration.levels[0]
    return ("B", *integration.choices, *(p for p in root.plates if p != root.chain))


def gaussian_block_body(program: Program, integration: Integration) -> None:
    """The statements of the method, up to its `return`."""
    scope, outermost = program.scope, ("B", *integration.choices)
    axes: dict[int, tuple[str, ...]] = {}
    rows: list[str] = []
    for i, level in enumerate(integration.levels):
        outer = outermost if level.above is None else axes[level.above]
        axes[i] = (*outer, *(p for p in level.plates if p not in outer))
        rows.append(_level(program, integration, level, axes[i], len(axes[i]) - len(outer)))
    block = scope.use("OrderedGaussianBlock" if integration.steps else "GaussianBlock")
    more = f", choices={len(integration.choices)}" if integration.choices else ""
    order = ", ".join(f'"{s.axis}"' for s in integration.steps)
    more += f", order=({order})" if order else ""
    scope.line(f"return {block}(levels=({', '.join(rows)},), like=self.zero{more})")


def _level(program: Program, integration: Integration, level: Level, axes: tuple[str, ...], inner: int) -> str:
    spec = program.low.spec
    latents = [f'"{n}": {_factor(program, integration, spec.variable(n), axes)}' for n in level.latents]
    observed = [_factor(program, integration, spec.variable(n), axes) for n in level.observed]
    arguments = [
        f"latents={{{', '.join(latents)}}}",
        f"observed=({', '.join(observed)}{',' if len(observed) == 1 else ''})",
        f"mask={_own_sites(program, level, axes)}",
    ]
    if level.above is not None:
        arguments += [f"above={level.above}", f"inner={inner}"]
    if level.chain:
        depth = ", ".join(f'"{n}": {d}' for n, d in zip(level.latents, level.depths, strict=True))
        arguments.append(f"depth={{{depth}}}")
    scalars = [f'"{n}"' for n in level.latents if not spec.variable(n).type.shape]
    if scalars:
        arguments.append(f"scalars=frozenset(({', '.join(scalars)},))")
    return f"{program.scope.use('GaussianLevel')}({', '.join(arguments)})"


def _own_sites(program: Program, level: Level, axes: tuple[str, ...]) -> str:
    """The mask of the level's own sites, along its axes: all of them, so that what differs along none is as wide."""
    low = program.low
    ragged = [p for p in level.plates if low.spec.plate(p).ragged]
    masks = [Value(low.mask(p), ("B", *((w,) if (w := low.spec.plate(p).within) else ()), p)) for p in ragged]
    if masks and masks[-1].axes == axes:
        return masks[-1].code
    shape = ", ".join(extent_code(program, a) for a in axes)
    ones = f"torch.ones({shape}, dtype=torch.bool, device=self.zero.device)"
    return " & ".join([ones, *(align(m, axes, 0).code for m in masks)])


def _factor(program: Program, integration: Integration, variable: Variable, axes: tuple[str, ...]) -> str:
    """`LinearGaussian({"mu": matrix}, offset, covariance)` under a name; of what is observed with its value and mask."""
    low, scope = program.low, program.scope
    axes = (*axes, *(p for p in variable.plates if p not in axes))
    ways = plates_seen(low.spec, variable, integration.latents)[1] if variable.role == "observed" else ()
    matrices, offset, spread = _coefficients(program, integration, variable, variable.general)
    for clause in reversed(variable.initial):
        first = _coefficients(program, integration, variable, clause)
        matrices, offset, spread = _at_site(low, variable, clause, (matrices, offset, spread), first)
    read = [f'"{_spelt(k)}": {_aligned(m, axes, EVENTS[0])}' for k, m in matrices.items()]
    arguments = [f"{{{', '.join(read)}}}", _aligned(offset, axes, EVENTS[1]), _aligned(spread, axes, EVENTS[2])]
    if variable.role == "observed":
        plates = ("B", *(p for p in axes if p in variable.plates))
        seen = permute(observed_vector(low.known[variable.name]), plates)
        mask = permute(Value(f'batch["{variable.name}.mask"]', ("B", *variable.plates)), plates)
        arguments += [align(seen, axes, 1).code, chosen_mask(program, ways, mask, axes)]
    factor = Value(f"{scope.use('LinearGaussian')}({', '.join(arguments)})")
    name = scope.names.fresh(f"factor_{variable.name}")
    scope.line(f"{name} = {factor.code}")
    return name


def _spelt(key: Key) -> str:
    """`z`, or `z@1` one site back."""
    return f"{key[0]}@{key[1]}" if key[1] else key[0]


def _aligned(value: Value, axes: tuple[str, ...], event: int) -> str:
    return align(value, axes, event if value.axes else len(value.shape)).code


def _coefficients(program: Program, integration: Integration, variable: Variable, clause: Clause) -> Coefficients:
    """Matrices, offset and covariance of one clause, each under a name."""
    low, names = program.low, integration.latents
    found = affine_in_all(low.spec, names, clause, clause.dist.argument("loc"))
    apart = [b for b in clause.bindings if not variables_in(low.spec, clause, b.value) & set(names)]

    def lower(c: Clause) -> Coefficients:
        matrices = {}
        for key, matrix in found.matrices.items():
            size = length_of(low.spec.variable(key[0]))
            matrices[key] = with_rows(low, lower_matrix(low, matrix, size), length_of(variable))
        offset = Value("0", number=True) if found.offset is None else low.real(low.concrete(low.lower(found.offset)))
        return matrices, _vector(as_tensor(offset)), covariance(program, c, length_of(variable))

    return low.with_bindings(replace(clause, bindings=tuple(apart)), lower)


def _vector(offset: Value) -> Value:
    """A number for each site as a vector of one, where it differs over sites."""
    return offset if offset.shape or not offset.axes else align(offset, offset.axes, 1).with_(shape=(ONE,))


def _at_site(low: Lowering, variable: Variable, clause: Clause, general: Coefficients, first: Coefficients):
    """The general coefficients, with those of a first site's clause in its place; what only one of them reads has the
    matrix 0 in the other."""

    def put(a: Value, b: Value) -> Value:
        return a if a.code == b.code else low.replace_site(a, b, variable.along, clause.initial)

    matrices = {}
    for key in dict.fromkeys([*general[0], *first[0]]):
        size, rows = length_of(low.spec.variable(key[0])), length_of(variable)
        zero = Value(f"self.zero.expand({low.size(rows)}, {low.size(size)})", shape=(rows, size))
        matrices[key] = put(general[0].get(key, zero), first[0].get(key, zero))
    return matrices, put(general[1], first[1]), put(general[2], first[2])
