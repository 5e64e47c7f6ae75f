"""A plan in words: the objective as a formula, each latent's strategy, its price, and why the others lost."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import wrap

from lvspec.ir.expr import Choice, Dist, VariableRef, walk
from lvspec.ir.plan import LatentPlan, Plan
from lvspec.ir.spec import Schedule, Spec, Variable

WIDTH = 100
FLOPS = ("", "k", "M", "G", "T", "P", "E")
BYTES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
OBJECTIVES = {
    "log_marginal": "the log marginal likelihood, exact",
    "elbo": "the evidence lower bound",
    "log_joint": "the log-density of data and point estimates: no bound of log p(x)",
}

Paint = Callable[[str, str], str]


def as_data(plan: Plan) -> dict:
    """`explain --json`. `objective` and `latents` are stable; what stands beside them may grow."""
    return {
        "objective": plan.objective,
        "latents": {p.name: _latent_data(p) for p in plan.latents},
        "model": plan.spec.name,
        "formula": plan.formula,
        "kind": kind(plan.spec),
        "samples": plan.samples,
        "bound": plan.bound.text if plan.sampled else None,
        "terms": [t.name for t in plan.spec.terms],
        "nodes": {
            v.name: {"role": v.role, "plates": list(v.plates), "seen": seen, "value": value}
            for v, seen, value in nodes(plan.spec)
        },
        "eliminations": [
            {"latents": list(e.latents), "chain": e.chain, "order": e.order, "cost": _cost(e.cost)}
            for e in plan.eliminations
        ],
        "derived": plan.derived,
        "structures": [
            {"variable": s.name, "family": s.family, "part": s.part, "algorithm": s.algorithm, "cost": _cost(s.cost)}
            for s in plan.structures
        ],
        "step": _cost(plan.step) | {"dispatches": plan.step.dispatches, "seconds": plan.step.seconds},
        "sizes": dict(plan.sizes),
        "nominal": list(plan.nominal),
    }


def _latent_data(p: LatentPlan) -> dict:
    return {
        "strategy": p.strategy,
        "options": {n: v.text if isinstance(v, Schedule) else v for n, v in p.options},
        "exact": p.exact,
        "why": p.why,
        "cost": _cost(p.cost),
        "declined": dict(p.declined),
        "treatment": p.treatment,
        "biased": p.biased,
        "guide": p.guide,
        "kl": p.kl,
        "kl_why": p.kl_why,
    }


def _cost(cost) -> dict:
    return {"flops": cost.flops, "bytes": cost.bytes, "learned_bytes": cost.learned}


# ---------------------------------------------------------------- what the nodes are
def kind(spec: Spec) -> str:
    """generative, p(x, z): all that is observed is modelled. discriminative, p(x, z | s): something is given."""
    return "discriminative" if spec.of_role("given") else "generative"


def nodes(spec: Spec) -> list[tuple[Variable, str, str]]:
    """Each variable on both axes: observed or latent, random or deterministic.

    A `let` variable is deterministic; it is known, like an observed one, unless a latent reaches it.
    """
    hidden: set[str] = set()
    rows = []
    for v in spec.variables:
        reached = v.role == "let" and any(name in hidden for name in reads(v))
        if v.role == "latent" or reached:
            hidden.add(v.name)
        value = "deterministic" if v.role in ("let", "given") else "random"
        rows.append((v, "latent" if v.name in hidden else "observed", value))
    return rows


def reads(v: Variable) -> list[str]:
    """Names of the variables in v's clauses, its own lagged ones included."""
    found = []
    for clause in v.clauses:
        bodies = [b.value for b in clause.bindings] + ([clause.body] if clause.body is not None else [])
        found += [e.name for body in bodies for e in walk(body) if isinstance(e, VariableRef)]
    return list(dict.fromkeys(found))


def family(v: Variable) -> str:
    """The distribution of its general clause, `mixture` for a choice, the type for the others."""
    body = v.general.body if v.clauses else None
    if isinstance(body, Dist):
        return body.shown
    return "mixture" if isinstance(body, Choice) else ""


def site(v: Variable) -> str:
    """`z[t, l]`."""
    return v.at(v.plates)


# ---------------------------------------------------------------- as text
def as_text(plan: Plan, paint: Paint = lambda text, style: text) -> str:
    spec = plan.spec
    parts = [[paint(spec.name, "bold"), *(f"  {line}" for line in spec.description.split("\n") if line)]]
    parts.append(_objective(plan, paint))
    if plan.latents:
        parts.append(_latents(plan, paint))
    if plan.latents or plan.structures:
        parts.append(_reasons(plan, paint))
    if plan.derived:
        parts.append([paint("guide, derived", "bold"), *(f"  {line}" for line in plan.derived.splitlines())])
    parts.append(_nodes(spec, paint))
    parts.append(_sizes(plan, paint))
    return "\n\n".join("\n".join(part) for part in parts)


def _objective(plan: Plan, paint: Paint) -> list[str]:
    spec = plan.spec
    modelled = ", ".join(v.name for role in ("observed", "latent") for v in spec.of_role(role))
    given = ", ".join(v.name for v in spec.of_role("given"))
    meaning = OBJECTIVES.get(plan.objective, plan.objective)
    if plan.coupled:
        meaning = plan.bound.form.meaning
        if plan.bound.path.detached:
            meaning += f", {plan.bound.gradient.replace('_', ' ')} gradient" + (", biased" if plan.bound.biased else "")
    bound = plan.objective == "elbo"
    if spec.terms and bound and not spec.of_role("observed"):
        meaning = "expected terms: nothing is observed"
    if not plan.latents:
        meaning = "the log-likelihood, exact" if plan.structures else "the log-likelihood: nothing is latent"
    rows = [paint("objective", "bold"), *_indented(plan.formula, 2), f"  {meaning}"]
    if plan.mean_field or plan.structured:
        rows.append(
            "  a bound with an exact gradient, not the likelihood: q is a product of factors, each at its optimum"
        )
    if plan.sampled:
        rows.append(f"  {plan.samples} draw{'s' if plan.samples > 1 else ''} per example of {', '.join(plan.sampled)}")
    if spec.terms:
        rows.append(f"  in the loss{_apart(plan)}: + {' + '.join(map(site, spec.terms))}")
    conditional = f"{modelled} | {given}" if given else modelled
    return [*rows, f"  {kind(spec)} model, p({conditional})"]


def _apart(plan: Plan) -> str:
    """What the terms of the objective are not part of."""
    if plan.objective != "elbo":
        return ", not in log p"
    return ", not in the ELBO" if plan.spec.of_role("observed") else ""


def _latents(plan: Plan, paint: Paint) -> list[str]:
    head = ("latent", "strategy", "treatment", "exact", "guide", "KL", "flops", "memory")
    rows = [
        (
            p.name,
            p.strategy,
            p.treatment,
            _exactness(p),
            p.guide if p.guide != "none" else "-",
            p.kl if p.kl != "none" else "-",
            amount(p.cost.flops, 1000, FLOPS),
            amount(p.cost.bytes, 1024, BYTES),
        )
        for p in plan.latents
    ]
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    text = ["  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)]
    return [paint(text[0], "bold"), *text[1:]]


def _exactness(p: LatentPlan) -> str:
    if p.treated.optimal:
        return "no, a bound"
    return "yes" if p.exact else ("no, biased" if p.biased else "no, unbiased")


def _reasons(plan: Plan, paint: Paint) -> list[str]:
    rows = [paint("why", "bold")]
    for p in plan.latents:
        rows += _indented(f"{p.name}: {p.text}. {p.why}", 2)
        if p.kl_why and p.kl != "none":
            rows += _indented(f"its KL is {p.kl}: {p.kl_why}", 4)
        for strategy, reason in p.declined:
            rows += _indented(f"not {strategy}: {reason}", 4)
    for e in plan.eliminations:
        along = f" along {e.chain}" + (f", order {e.order}" if e.order else "") if e.chain else ""
        rows += _indented(f"summed together{along}: {', '.join(e.latents)}", 2)
    for s in plan.structures:
        rows += _indented(f"{s.part or 'the structure'} behind {s.name}: summed exactly, {s.algorithm}", 2)
        cost = f"{amount(s.cost.flops, 1000, FLOPS)} flops, {amount(s.cost.bytes, 1024, BYTES)}"
        rows += _indented(cost, 4)
    return rows


def _nodes(spec: Spec, paint: Paint) -> list[str]:
    rows = nodes(spec)
    names = max((len(site(v)) for v, _, _ in rows), default=0)
    text = [paint("nodes", "bold")]
    for v, seen, value in rows:
        outside = ", one for the whole data set" if v.outside_batch else ""
        text.append(f"  {site(v):<{names}}  {seen:<8}  {value:<13}  {family(v) or v.role}{outside}")
    return text


def _sizes(plan: Plan, paint: Paint) -> list[str]:
    text = ", ".join(f"{name} = {value:,}{'*' if name in plan.nominal else ''}" for name, value in plan.sizes)
    rows = [paint("sizes behind the prices", "bold"), *_indented(text, 2)]
    if plan.nominal:
        rows.append(f"  * assumed, since only data know it; e.g. --set 'sizes.{plan.nominal[0]}=...' changes it")
    step = plan.step
    rows.append(
        f"  a step: {amount(step.flops, 1000, FLOPS)} flops in {amount(step.dispatches, 1000, FLOPS)} dispatches, "
        f"{amount(step.bytes, 1024, BYTES)}; about {amount(1000 * step.seconds, 1000, ('ms', 's'))} on one core"
    )
    rows.append(
        f"  beside it: {amount(step.learned, 1024, BYTES)} of parameters, their gradients and what Adam keeps of them"
    )
    rows.append("  flops: multiply-adds of one step, forward and backward; memory: its temporaries at their peak")
    return rows


def _indented(text: str, by: int) -> list[str]:
    rows = []
    for line in text.split("\n"):
        if len(line) <= WIDTH - 2 * by and line == line.strip():  # most are: wrapping takes its time with thousands
            rows.append(" " * by + line if line else "")
            continue
        rows += wrap(line, WIDTH - by, initial_indent=" " * by, subsequent_indent=" " * (by + 2)) or [""]
    return rows


def amount(value: float, base: int, units: tuple[str, ...]) -> str:
    """1.2 M: three figures at most, and the unit."""
    for unit in units:
        if value < base * 0.9995 or unit == units[-1]:
            figures = f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
            return f"{figures} {unit}".rstrip()
        value /= base
    return f"{value:.0f}"
