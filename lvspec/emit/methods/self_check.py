"""`lvspec compile --self-check`: the end of a file that compares log p(x) with plain enumeration when it is run.

log Σ_z p(x, z) over every assignment z of a tiny batch, whose log p(x, z) is written out factor by factor: no dynamic program.
"""

from __future__ import annotations

from math import prod

from lvspec.emit.factors.eliminate import EliminationCode
from lvspec.emit.factors.structures import log_factors
from lvspec.emit.lowering.program import Program, input_value
from lvspec.emit.text.text import wrap
from lvspec.errors import UsageError
from lvspec.ir.dims import Dim, ragged_plate
from lvspec.ir.plan import Plan
from lvspec.ir.spec import Variable
from lvspec.ir.structured import structure_of

SITES, SYMBOLS, MOST = 3, 4, 20_000


def check_lines(plan: Plan, imports: set[str]) -> list[str]:
    """The lines behind the class; refused where latents cannot be enumerated by being given."""
    if reason := _reason(plan):
        raise UsageError(f"--self-check: {reason}")
    spec = plan.spec
    latents = spec.of_role("latent")
    few = {n for v in latents for n in _size(v).names}
    fixed = {n for p in plan.unrolled if (size := spec.plate(p).size) is not None for n in size.names}
    sizes = {s.name: SYMBOLS for s in spec.sizes if s.source != "number"} | {n: 2 for n in sorted(few - fixed)}
    shapes = {
        v.name: [SITES if p.ragged else _number(plan, p.size) for p in map(spec.plate, v.plates)] for v in latents
    }
    values = {v.name: _size(v).evaluate(dict(plan.sizes) | sizes) for v in latents}
    count = prod(values[n] ** prod(shape) for n, shape in shapes.items())
    if count > MOST:
        raise UsageError(f"--self-check: {count:,} assignments of a tiny batch are too many to go through")
    lengths = ", ".join(f'"{p.name}": torch.tensor([{SITES}, {SITES - 1}])' for p in spec.plates if p.ragged)
    every = ", ".join(f'"{n}": product(range({values[n]}), repeat={prod(shape)})' for n, shape in shapes.items())
    shaped = ", ".join(
        f'"{n}": ({", ".join(map(str, [1, *shape]))}{"" if shape else ","})' for n, shape in shapes.items()
    )
    again = [
        f'({SITES} - batch["{p}"]).double() * math.log({values[v.name] ** (prod(shapes[v.name]) // SITES)})'
        for v in latents
        for p in v.plates
        if spec.plate(p).ragged
    ]
    return [
        'if __name__ == "__main__":',
        *(["    import math"] if again else []),
        "    from itertools import product",
        "",
        *_log_joint(plan, imports, latents),
        "",
        "    # log p(x) against plain enumeration: log Σ_z p(x, z) over every z",
        "    torch.manual_seed(0)",
        *wrap(f"model = Model({', '.join(f'{n}={s}' for n, s in sizes.items())}).double()", 1),
        *wrap(f"batch = model.sample(2, lengths={{{lengths}}})", 1),
        *wrap(f"shapes = {{{shaped}}}", 1),
        *wrap(f"every = {{{every}}}", 1),
        "    log_p = []",
        "    for values in product(*every.values()):",
        "        z = {n: torch.tensor(v).reshape(s).expand(2, *s[1:]) for (n, s), v in zip(shapes.items(), values, strict=True)}",
        "        log_p.append(log_joint(model, model.prepare(batch | z)))",
        "    expected = torch.stack(log_p).logsumexp(0)",
        *(f"    expected = expected - {code}  # values at sites that do not count" for code in again),
        "    found = model.log_prob({n: x for n, x in batch.items() if n not in shapes})",
        '    print("log p(x):", found.tolist(), "by enumeration:", expected.tolist())',
        "    torch.testing.assert_close(found, expected)",
    ]


def _log_joint(plan: Plan, imports: set[str], latents: tuple[Variable, ...]) -> list[str]:
    """log p(x, z) of a prepared batch that gives all of z."""
    program = Program(plan, imports, set(), ("batch",))
    low, spec = program.low, plan.spec
    low.unrolled, program.inputs = (), [*program.inputs, *latents]
    for latent in latents:
        low.known[latent.name] = input_value(latent)
    factors = [f for v in (*latents, *spec.of_role("observed")) for f in log_factors(low, v)]
    total = EliminationCode(low, "LOG").run(factors, [])
    program.scope.line(f"return {total.code}", program.scope.shape_comment(total))
    return ["    def log_joint(self, batch: dict) -> torch.Tensor:", *program.text()]


def _size(latent: Variable) -> Dim:
    return latent.type.support.values


def _number(plan: Plan, size: Dim | None) -> int:
    assert size is not None  # of a plate that is not ragged
    return size.evaluate(dict(plan.sizes))


def _reason(plan: Plan) -> str:
    """Why latents cannot be gone through, or nothing."""
    spec = plan.spec
    latents = spec.of_role("latent")
    if plan.objective != "log_marginal" or plan.integrations or not latents:
        return "log p(x) is no sum over latents that have finitely many values"
    if spec.of_role("given"):
        return f"values of {spec.of_role('given')[0].name}, which is given, are not made up"
    for v in latents:
        if not v.type.support.finite or structure_of(v) or ragged_plate(_size(v)):
            return f"the values of {v.name} are not the same few at each of its sites"
        if sum(spec.plate(p).ragged for p in v.plates) > 1:
            return f"{v.name} stands on two plates of different lengths"
    if plan.structures:
        return "a hidden structure is no value that can be given"
    return ""
