"""What a random spec asks of inference and training: overrides, bounds, schedules, terms; and lines that change no number."""

from __future__ import annotations

import re

from lvspec.ir.bounds import BOUNDS
from lvspec.ir.estimators import STRATEGIES
from lvspec.ir.plan import Plan
from lvspec.verify.random_specs.drafts.draft import Draft
from lvspec.verify.random_specs.drafts.families import distribution
from lvspec.verify.random_specs.drafts.scores import number_score
from lvspec.verify.random_specs.text import matched

OPTIONS = {
    "samples": ("2", "3"),
    "baseline": ("leave_one_out", "moving_average", "learned", "none"),
    "balance": ("0.5",),
    "sharpness": ("0.5",),
    "temperature": ("0.7", "linear(1, 0.5, steps=10)"),
    "density": ("original", "relaxed"),
    "top": ("1",),
    "refine": ("2",),
    "rate": ("0.001",),  # where slopes are steep, longer steps leave the numbers
    "chunk": ("1", "2"),
    "steps": ("10000",),
    "tolerance": ("1e-13",),
    "alpha": ("0.5", "0.25"),
}
DRAWN = tuple(row.name for row in STRATEGIES.values() if row.draws_values)


SMOOTH = ("Normal(", "Laplace", "LogNormal", "Exponential")  # families of q whose draws have second derivatives
EXACT = ("log_marginal", "log_joint")  # objectives that are no bound


def overrides(d: Draft, plan: Plan) -> None:
    """`infer:` of some latents: strategies that the planner would take."""
    names = {matched(re.match(r"(global )?(\w*)", key))[2] for key in d.latent}
    for latent in (p for p in plan.latents if p.name in names):  # of those drawn together nothing is said
        legal = [latent.strategy, *(name for name, why in latent.declined if why.startswith("legal"))]
        options = {s: _options(d, latent.name, s) for s in legal}
        wished = d.wished("infer {}", legal) or [s for s in legal if any(f"{s}({o})" in d.wishes for o in options[s])]
        if not wished and not d.chance(0.2):
            continue
        drawn = [s for s in legal if s in DRAWN]
        strategy = d.choose(*(wished or (drawn if drawn and d.chance(0.5) else legal)))
        d.wishes.discard(f"infer {strategy}")
        d.infer[latent.name] = _call(d, strategy, strategy, options[strategy])


def pinned(d: Draft, plan: Plan) -> None:
    """Factors at an optimum are found to the digits that are compared, whether `infer:` speaks of them or not."""
    names = {matched(re.match(r"(global )?(\w*)", key))[2] for key in d.latent}
    for name in (n for n in (*plan.mean_field, *plan.structured) if n in names):
        d.infer[name] = _call(d, plan.latent(name).strategy, plan.latent(name).strategy, [])


def _options(d: Draft, name: str, strategy: str) -> list[str]:
    """What a strategy may be told of this latent. A q is refined where each example has one whose draws bend smoothly."""
    q = d.guide.get(next((key for key in d.guide if re.match(rf"{name}\b", key)), ""), "Normal(")
    refined = not any(key.startswith(f"global {name}") for key in d.latent) and q.startswith(SMOOTH)
    return [o.name for o in STRATEGIES[strategy].keys if refined or o.name not in ("refine", "rate")]


def _call(d: Draft, form: str, name: str, options: list[str], must: tuple[str, ...] = ()) -> str:
    """A strategy or bound with some of its options."""
    chosen = [o for o in options if d.wants(f"{form}({o})", 0.15) or o in must]
    if "rate" in chosen and "refine" not in chosen:
        chosen.insert(0, "refine")
    if "mean_field" in name:
        chosen = ["steps", "tolerance"]  # at the optimum to the digits that are compared
    values = [f"{o}={d.choose(*_values(name, o))}" for o in chosen if o in OPTIONS]
    return f"{name}({', '.join(values)})" if values else name


def _values(name: str, option: str) -> tuple[str, ...]:
    """What an option may be: of pairs, and of draws one for each of two components, there are two."""
    row = STRATEGIES.get(name)
    even = option == "samples" and row is not None and (row.multiple == 2 or row.options[option] is None)
    return ("2",) if even else OPTIONS[option]


def bound(d: Draft, plan: Plan) -> bool:
    """Another bound, where the plan has one."""
    wished = d.wished("bound {}", list(BOUNDS)) or [
        b for b, form in BOUNDS.items() if any(f"bound {b}({o.name})" in d.wishes for o in form.keys)
    ]
    shared = any(key.startswith("global") for key in d.latent)  # it has no importance weight for each example
    wished = [b for b in wished if b == "elbo" or not shared]
    if plan.objective in EXACT or not (wished or (d.guide and d.chance(0.15))):
        return False
    name = d.choose(*(wished or (["elbo"] if shared else list(BOUNDS))))
    d.wishes.discard(f"bound {name}")
    text = _call(d, f"bound {name}", name, [o.name for o in BOUNDS[name].keys if o.name != "gradient"], ("samples",))
    gradients = BOUNDS[name].gradients
    if len(gradients) > 1 and not shared and (d.wants(f"bound {name}(gradient)", 0.3)):
        text = text[:-1] + f", gradient={d.choose(*gradients[1:])})"
    d.infer["bound"] = text
    return True


def _coupled(d: Draft) -> bool:
    """Whether its bound is one of all draws of an example together."""
    text = d.infer.get("bound", "elbo")
    return not text.startswith("elbo") or "gradient=" in text


def settings(d: Draft, plan: Plan) -> None:
    """All that stands behind the model."""
    if any(v.startswith(DRAWN) for v in d.infer.values()) or d.wants("infer samples", 0.03):
        if "bound" not in d.infer and not any("samples=" in v for v in d.infer.values()):
            d.infer["samples"] = "2"
    if d.wished("guide: {}", ("mean_field", "structured", "inverse")) or d.chance(0.08):
        d.infer["guide"] = d.pick("guide: {}", ("mean_field", "structured", "inverse"))
    if d.wished("memory: {}", ("lean", "fast")) or d.chance(0.04):
        d.infer["memory"] = d.pick("memory: {}", ("lean", "lean", "fast"))
    for budget in ("flops", "bytes"):
        if d.wants(f"infer budget_{budget}", 0.01):
            d.infer[f"budget_{budget}"] = d.choose("1e9", "1e9", "100")
    exact = plan.objective in EXACT
    if not exact and not _coupled(d):
        weights(d, plan)
    if exact or not _coupled(d):
        terms(d, plan)
    plain(d)


def weights(d: Draft, plan: Plan) -> None:
    """Schedules of KL terms, and what of them is free."""
    kinds = {"constant": "0.5", "linear": "linear(0, 1, steps=10)", "cyclical": "cyclical(0, 1, period=10)"}
    named = [p.name for p in d.latents if p.family and not p.text]
    if d.wished("kl_weight {}", [*kinds, "by latent"]) or d.chance(0.12):
        kind = d.pick("kl_weight {}", list(kinds))
        weight = kinds[kind]
        by_latent = named and d.wants("kl_weight by latent", 0.3)
        d.train["kl_weight"] = (
            f"{{{d.choose(*named)}: {weight if kind == 'constant' else repr(weight)}}}" if by_latent else weight
        )
    free = [p.name for p in plan.latents if p.kl == "analytic" and p.treated.drawn and p.name in named]
    if free and (d.wished("free_bits {}", ("node", "dimension")) or d.chance(0.02)):
        unit = d.pick("free_bits {}", ("node", "dimension"))
        own = [n for n in free if d.guide.get(n, "").startswith("Normal(")]
        whole = unit == "node" and d.chance(0.5)
        of = d.choose(*(own if unit == "dimension" and own else free))
        d.train["free_bits"] = f"{unit}(0.1)" if whole else f'{{{of}: "{unit}(0.2)"}}'


def terms(d: Draft, plan: Plan) -> None:
    """Numbers that are added to the objective: of latents that have a value there, or are summed under a q."""
    names = ("term", "term on a plate", "log_prob in a term", "known", "expected")
    if not d.wished("{}", names) and not d.chance(0.04):
        return
    form = d.pick("{}", names)
    treated = {p.name: p.treatment for p in plan.latents}
    there = [p for p in d.latents if treated.get(p.name) in ("sampled", "enumerated", "point")]
    summed = [p for p in there if treated[p.name] == "enumerated" and p.name not in d.infer]
    vectors = [p for p in there if p.kind == "vector" and not p.text and not p.plates]
    if form == "log_prob in a term" and d.symbols and d.x in {k.partition("[")[0] for k in d.observed}:
        index = f"[{', '.join(d.here)}]" if d.here else ""
        over = [p for p in there if d.meets(p, d.here) and set(p.plates) <= set(d.here)][:1]
        d.objective[f"bag{index}"] = d.where(
            f"0.5 * log_prob({d.x}{index}, {distribution(d, 'term', 'Categorical', over, d.here, 'V')})"
        )
    elif form == "known" and (finite := [p for p in there if p.finite and not p.plates]):
        d.objective["told"] = f"0.3 * known({finite[0].name})"
    elif form == "expected" and (finite := [p for p in summed if p.finite and not p.plates and not p.text]):
        d.objective["spread"] = f"square(expected({d.param(finite[0].size)}[{finite[0].ref}]))"
    elif form == "term on a plate" and (placed := [p for p in there if p.plates and not p.text]):
        p = d.choose(*placed)
        d.objective[f"extra[{', '.join(p.plates)}]"] = d.where(f"0.1 * tanh({number_score(d, [p], p.plates)})")
    elif vectors:
        p = d.choose(*vectors)
        d.objective["extra"] = f"-0.1 * sum(square({p.ref}))"
    else:
        d.objective["extra"] = f"-0.1 * square({d.param()})"


def plain(d: Draft) -> None:
    """Lines that change no number of the module."""
    if d.wants("class", 0.03):
        d.head.append("class: RandomOne")
    if d.wants("description", 0.03):
        d.head.append("description: a model that nobody thought of")
    if d.wants("phases", 0.03) and d.params:
        d.tail += ["phases:", f"  first: [{d.choose(*d.params)}]"]
