"""`lvspec compile --self-check`: the end of a file that compares log p(x) and p(z | x) with plain enumeration when it is run.

log Σ_z p(x, z) over every assignment z of a tiny batch, whose log p(x, z) is written out factor by factor: no dynamic program. Of
labels alone, p(z | g) with g given, it is whether they add up to 1. The marginals of `posterior` are held against how much of that
sum has each value at each site. Where the two differ the file's exit status is 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from lvspec.emit.factors.eliminate import EliminationCode
from lvspec.emit.factors.structures import log_factors
from lvspec.emit.lowering.one_example import Unwritten
from lvspec.emit.lowering.program import Program, input_value
from lvspec.emit.methods import bound_check
from lvspec.emit.objective.loss import of_data
from lvspec.emit.text.text import statement, wrap
from lvspec.errors import UsageError
from lvspec.ir.dims import Dim, ragged_plate
from lvspec.ir.plan import Plan
from lvspec.ir.spec import Variable
from lvspec.ir.structured import structure_of

SITES, SYMBOLS, MOST = 3, 4, 20_000


def check_lines(plan: Plan, imports: set[str]) -> list[str]:
    """The lines behind the class; refused where there are no few values to go through."""
    if plan.objective == "elbo":
        return _of_a_bound(plan, imports)
    if reason := _reason(plan):
        raise UsageError(f"--self-check: {reason}")
    spec, told = plan.spec, plan.spec.of_role("latent")
    few = {n for v in told for n in _size(v).names}
    fixed = {n for p in plan.unrolled if (size := spec.plate(p).size) is not None for n in size.names}
    declared = {s.name for s in spec.sizes}
    sizes = {s.name: SYMBOLS for s in spec.sizes if s.source != "number"}
    sizes |= {n: 2 for n in sorted((few - fixed) & declared)} | of_data(spec)
    numbers = dict(plan.sizes) | sizes | {f"|{p.name}|": SITES for p in spec.plates}
    shapes = {v.name: [_sites(plan, p) for p in v.plates] for v in told}
    values = {v.name: _size(v).evaluate(numbers) for v in told}
    count = prod(values[n] ** prod(shape) for n, shape in shapes.items())
    if count > MOST:
        raise UsageError(f"--self-check: {count:,} assignments of a tiny batch are too many to go through")
    whole = {ragged_plate(_size(v)) for v in told}  # plates whose sites are values: as many in each example
    lengths = {p.name: SITES if p.name in whole else SITES - 1 for p in spec.plates if p.ragged}
    again = [
        f'({SITES} - batch["{p}"]).double() * math.log({values[v.name] ** (prod(shapes[v.name]) // SITES)})'
        for v in told
        for p in v.plates
        if spec.plate(p).ragged and p not in whole
    ]
    given = {v.name: _made_up(plan, v, numbers) for v in spec.of_role("given")}
    joint = bool(spec.of_role("observed"))  # else the labels have a distribution of their own, which adds up to 1
    about = "log p(x)" if joint else f"log Σ p({', '.join(shapes)} | {', '.join(given)})"
    return [
        'if __name__ == "__main__":',
        *(["    import math"] if again else []),
        "    from itertools import product",
        "",
        *([*_log_joint(plan, imports, told), ""] if joint else []),
        f"    # {about} against plain enumeration{': log Σ_z p(x, z) over every z' if joint else ''}",
        "    torch.manual_seed(0)",
        *wrap(f"model = {{class}}({_entries(sizes, '{}={}')}).double().eval()", 1),
        *(wrap(f"given = {{{_entries(given)}}}", 1) if given else []),
        *wrap(f"lengths = {{{_entries(lengths, LENGTHS)}}}", 1),
        f"    batch = {'given | model.sample(2, given, lengths)' if given else 'model.sample(2, lengths=lengths)'}",
        *_every(values, shapes),
        "    log_p = []",
        f"    for i in range({count}):",
        "        z = {n: values[i].expand(2, *values[i].shape) for n, values in every.items()}",
        f"        log_p.append({'log_joint(model, model.prepare(batch | z))' if joint else 'model.log_prob(batch | z)'})",
        *_comparison(plan, about, again),
    ]


def _comparison(plan: Plan, about: str, again: list[str]) -> list[str]:
    """The module's answers, the same out of `every` assignment and its log_p, and what is off. again: by what factors, in logs,
    assignments of sites that do not count repeat those that do."""
    names = [v.name for v in plan.spec.of_role("latent")]
    known = [v.name for role in ("observed", "given") for v in plan.spec.of_role(role)]
    answers = {f"marginals of {n}": f'model.posterior(batch)["{n}"].marginals' for n in names}
    return [
        "    batch = model.prepare({n: x for n, x in batch.items() if n not in every})",
        *wrap(f'found = {{"{about}": model.log_prob(batch), {_entries(answers)}}}', 1),
        f'    expected = {{"{about}": torch.stack(log_p).logsumexp(0)}}',
        *(
            s
            for code in again
            for s in statement(f'expected["{about}"] -= {code}', "values at sites that do not count", 1)
        ),
        f"    p = torch.stack(log_p).softmax(0)  # p({', '.join(names)} | {', '.join(known)}) of each assignment",
        *(line for v in plan.spec.of_role("latent") for line in _marginals(plan, v)),
        "    for name in found:",
        '        print(f"{name}: off by {(found[name] - expected[name]).abs().max():.1e}")',
        "    if not all(torch.allclose(found[name], expected[name]) for name in found):",
        '        raise SystemExit("they differ")',
        '    print("they agree")',
    ]


def _of_a_bound(plan: Plan, imports: set[str]) -> list[str]:
    """The same of a model with a guide: its objective's terms, at given draws."""
    if reason := bound_check.refused(plan) or _not_made_up(plan):
        raise UsageError(f"--self-check: {reason}")
    sizes = {s.name: SYMBOLS if s.source != "number" else 3 + i for i, s in enumerate(plan.spec.sizes)}
    numbers = dict(plan.sizes) | sizes | {f"|{p.name}|": SITES for p in plan.spec.plates}
    given = {v.name: _made_up(plan, v, numbers) for v in plan.spec.of_role("given")}
    try:
        return bound_check.bound_check_lines(plan, imports, numbers, given)
    except Unwritten as reason:
        raise UsageError(f"--self-check: {reason}") from None


def _every(values: dict[str, int], shapes: dict[str, list[int]]) -> list[str]:
    """`every = {"z": (assignments, *sites)}`: all values of all latents together."""
    sites = {n: prod(shape) for n, shape in shapes.items()}
    ranges = ", ".join(
        f"*[range({values[n]})] * {count}" if count > 1 else f"range({values[n]})" for n, count in sites.items()
    )
    table, rows, at = f"torch.tensor(list(product({ranges})))", [], 0
    if len(sites) > 1:
        rows, table = [*wrap(f"rows = {table}", 1)], "rows"
    every = {}
    for name, shape in shapes.items():
        own = f"{table}[:, {at}:{at + sites[name]}]" if len(sites) > 1 else table
        every[name] = own if len(shape) == 1 else f"{own}.reshape({', '.join(map(str, [-1, *shape]))})"
        at += sites[name]
    return [*rows, *statement(f"every = {{{_entries(every)}}}", "(assignments, *sites)", 1)]


def _marginals(plan: Plan, latent: Variable) -> list[str]:
    """p(z[t] = k | x): how much of p(x) have the assignments in which z[t] is k; 0 at sites that do not count."""
    letters = {plate: chr(ord("i") + i) for i, plate in enumerate(latent.plates)}
    sites, ragged = "".join(letters.values()), [p for p in latent.plates if plan.spec.plate(p).ragged]
    terms = ",".join(["ab", f"a{sites}v", *(f"b{letters[p]}" for p in ragged)])
    there = "".join(f', batch["{p}.mask"].double()' for p in ragged)
    return [
        f'    each = torch.nn.functional.one_hot(every["{latent.name}"]).double()',
        *wrap(f'expected["marginals of {latent.name}"] = torch.einsum("{terms}->b{sites}v", p, each{there})', 1),
    ]


LENGTHS = f'"{{}}": torch.tensor([{SITES}, {{}}])'


def _entries(rows: Mapping[str, object], form: str = '"{}": {}') -> str:
    return ", ".join(form.format(name, value) for name, value in rows.items())


def _made_up(plan: Plan, variable: Variable, sizes: dict[str, int]) -> str:
    """Values of a given variable for two examples, as Python."""
    shape = [2, *(_sites(plan, p) for p in variable.plates), *(d.evaluate(sizes) for d in variable.type.shape)]
    extents = f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
    support = variable.type.support
    if support.kind == "real":
        return f"torch.randn{extents}.double()" if len(shape) > 1 else f"torch.randn({shape[0]}).double()"
    return f"torch.randint({_size(variable).evaluate(sizes)}, {extents})"


def _log_joint(plan: Plan, imports: set[str], latents: tuple[Variable, ...]) -> list[str]:
    """log p(x, z) of a prepared batch that gives all of z."""
    program = Program(plan, imports, set(), ("batch",))
    low, spec = program.low, plan.spec
    low.unrolled, program.inputs = (), [*program.inputs, *latents]
    for latent in latents:
        low.known[latent.name] = input_value(latent)
    factors = [f for v in (*latents, *spec.of_role("observed")) for f in log_factors(low, v)]
    total = EliminationCode(low, "LOG").run(factors, [])
    program.scope.returned(total)
    return ["    def log_joint(self, batch: dict) -> torch.Tensor:", *program.text()]


def _size(latent: Variable) -> Dim:
    return latent.type.support.values


def _sites(plan: Plan, name: str) -> int:
    plate = plan.spec.plate(name)
    return SITES if plate.size is None else plate.size.evaluate(dict(plan.sizes))


def _not_made_up(plan: Plan) -> str:
    """Which variable has values that `_made_up` has none of."""
    kinds = ("real", "integer", "boolean")
    odd = next((v for v in plan.spec.of_role("given") if v.type.support.kind not in kinds), None)
    return f"values of {odd.name}, which is given, are not made up" if odd else ""


def _reason(plan: Plan) -> str:
    """Why latents cannot be gone through, or nothing."""
    spec = plan.spec
    latents = spec.of_role("latent")
    if plan.objective != "log_marginal" or plan.integrations or not latents:
        return "log p(x) is no sum over latents that have finitely many values"
    if reason := _not_made_up(plan):
        return reason
    for v in latents:
        if not v.type.support.finite:
            return f"the values of {v.name} are not the same few at each of its sites"
        if structure_of(v) and spec.of_role("observed"):
            return f"what is observed reads {v.name}, whose labels are one structure"
        if sum(spec.plate(p).ragged for p in v.plates) > 1:
            return f"{v.name} stands on two plates of different lengths"
    if plan.structures:
        return "a hidden structure is no value that can be given"
    return ""
