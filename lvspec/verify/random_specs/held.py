"""Which constructs a checked spec holds: each is read off the `Spec`, never claimed by whoever wrote it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import combinations

from lvspec.front.variables import GIVEN
from lvspec.ir import expr as E
from lvspec.ir.mixtures import meaning_of, parts_of
from lvspec.ir.networks import NETWORKS
from lvspec.ir.reads import Reader
from lvspec.ir.spec import Clause, Network, Override, Plate, Spec, Variable
from lvspec.ir.structured import structure_of
from lvspec.plan.coupled import coupled
from lvspec.plan.graph import dependency_graph
from lvspec.verify.random_specs.constructs import COUNTS, listed
from lvspec.verify.random_specs.coverage import SUM

HUGE = 100  # subtracted from a score, it leaves no probability


def constructs_of(spec: Spec) -> frozenset[str]:
    """The constructs that a checked spec holds."""
    found = {name for rule in RULES for name in rule(spec)}
    return frozenset(found & set(listed()))


def _variables(spec: Spec) -> tuple[Variable, ...]:
    return (*spec.variables, *spec.guide, *spec.terms)


def _bodies(clause: Clause) -> Iterator[E.Expr | E.Dist | E.Choice]:
    yield from (b.value for b in clause.bindings)
    if clause.body is not None:
        yield clause.body


def _dists(clause: Clause) -> Iterator[E.Dist]:
    body = clause.body
    for dist in (body.then, body.otherwise) if isinstance(body, E.Choice) else (body,):
        if isinstance(dist, E.Dist):
            yield dist


def _expressions(spec: Spec) -> Iterator[tuple[Variable, E.Expr]]:
    for v in _variables(spec):
        for clause in v.clauses:
            for body in _bodies(clause):
                yield from ((v, e) for e in E.walk(body))


def family(dist: E.Dist) -> str:
    """As it was written: a uniform direction is read as a von Mises-Fisher of concentration 0."""
    concentration = dist.find("concentration")
    uniform = dist.family == "VonMisesFisher" and isinstance(concentration, E.Number) and concentration.value == 0
    return "SphericalUniform" if uniform else dist.family


def distributions(spec: Spec) -> Iterator[str]:
    networks = {n.name: n for n in spec.networks}
    for v in _variables(spec):
        for clause in v.clauses:
            if isinstance(clause.body, E.Choice):
                yield "if then else"
            for dist in _dists(clause):
                name = "OneHotCategorical" if v.one_hot else family(dist)
                yield f"{v.role} {name}"
                if v.outside_batch and v.role == "latent":
                    yield f"global {name}"
                yield from _arguments(dist.source)
                yield from (f"{networks[name].kind} of a {v.role}" for name, _ in dist.through)
                if dist.through:
                    yield f"{v.role} {family(dist.source)}"
                if len(dist.through) > 1:
                    yield "several flows"
                if any(args for _, args in dist.through):
                    yield "flow with a context"
                if dist.parts:
                    yield "with tree"
                if any(_excludes(name, value) for name, value in dist.source.arguments):
                    yield "probability 0"
                if any(name == "rate" and value.type.support.kind == "nonnegative" for name, value in dist.arguments):
                    yield "rate 0"
        if v.parts:
            yield "drawn together"


def _arguments(dist: E.Dist) -> Iterator[str]:
    for name, value in dist.arguments:
        if _is_number(value):
            yield f"{family(dist)}.{name} = number"
    if dist.copies and all(_is_number(v) for _, v in dist.arguments):
        yield "copies of numbers"


def _is_number(value: E.Expr) -> bool:
    if isinstance(value, E.Call) and value.function == "negative":
        value = value.args[0]
    return isinstance(value, E.Number)


def _excludes(argument: str, value: E.Expr) -> bool:
    """Whether some values are ruled out: probs=equal(j, z[t-1]), logits=w[j] + log(1 - less(j, z[t-1]))."""
    inside = list(E.walk(value))
    calls = {e.function for e in inside if isinstance(e, E.Call)}
    large = any(isinstance(e, E.Number) and abs(e.value) >= HUGE for e in inside)
    never = argument == "probs" or (argument == "logits" and ("log" in calls or large))
    return never and bool(calls & {"equal", "less"})


def functions(spec: Spec) -> Iterator[str]:
    for _, e in _expressions(spec):
        if isinstance(e, E.Call):
            yield e.function
            if e.over:
                yield f"{e.function} over a plate"
            elif e.args and e.args[0].type.reach is not None:
                yield f"{e.function} of a stretch"
            if e.function == "stack":
                yield "0 over m" if isinstance(e.args[0], E.Number) else "e over m"
            if e.function in ("add", "subtract") and {len(a.type.shape) for a in e.args} == {0, 1}:
                if not any(_is_number(a) for a in e.args):
                    yield "number beside a vector"
        elif isinstance(e, E.SizeRef):
            yield "size in an expression"


def networks(spec: Spec) -> Iterator[str]:
    for n in spec.networks:
        if n.derived:
            continue
        if n.option("detached"):
            yield "detached network"
            continue
        yield n.kind
        if n.bank:
            yield "bank of networks"
        yield from _options(n)


def _options(n: Network) -> Iterator[str]:
    for option, default in NETWORKS[n.kind].options:
        value = n.option(option, default)
        if option == "activation":
            yield f"activation {value}"
        elif value != default:
            yield f"{n.kind}({option})"


def access(spec: Spec) -> Iterator[str]:
    variables = {v.name: v for v in _variables(spec) if v.role != "guide"}
    for _, e in _expressions(spec):
        match e:
            case E.VariableRef():
                for site in e.at:
                    yield from _site(spec, site)
            case E.SiteOf():
                yield "reader(x)[t]"
            case E.PlateIndex():
                yield "m as a number"
            case E.Index(base, indices):
                yield from _index(variables, base, indices)


def _site(spec: Spec, site: E.Site) -> Iterator[str]:
    match site:
        case E.Lag(_, k):
            yield f"z[t-{k}]" if k > 0 else "z[t+1]"
        case E.Again():
            yield "h[j]"
        case E.At(_, E.Number()):
            yield "z[0]"
        case E.At():
            yield "z[a[t]]"
        case E.Stretch(plate, reach, inside):
            if not spec.plate(plate).ragged:
                yield "m as an axis"
            else:
                written = {"whole": "x", "before": "x[<t]", "through": "x[<=t]", "after": "x[>t]", "from": "x[>=t]"}
                yield written[reach].replace("t]", "t in z]") if inside else written[reach]


def _index(variables: dict[str, Variable], base: E.Expr, indices: tuple[E.Expr, ...]) -> Iterator[str]:
    if isinstance(base, E.VariableRef | E.Call | E.Apply) and all(isinstance(i, E.Number) for i in indices):
        yield "g[t, 2]"
    for i in indices:
        if isinstance(i, E.Number):
            yield "index by number"
        for e in E.walk(i):
            if isinstance(e, E.VariableRef) and e.name in variables:
                yield f"index by {variables[e.name].role}"
                if any(isinstance(s, E.At) for s in e.at):
                    yield "T[s[a[t]]]"
    if len(indices) > 1:
        yield "index of two"


def sums(spec: Spec) -> Iterator[str]:
    for v in spec.of_role("observed"):
        for clause in v.clauses:
            names = {b.names[0]: b.value for b in clause.bindings if len(b.names) == 1}
            told = partial(meaning_of, lets=spec.lets, names=names)
            if any(len(parts_of(dist, told, frozenset(v.plates))) > 1 for dist in _dists(clause)):
                yield SUM


def clauses(spec: Spec) -> Iterator[str]:
    reader, roles = Reader(spec, spec.guide), {v.name: v.role for v in spec.variables}
    lets = {v.name for v in (*spec.variables, *spec.guide) if v.role == "let"}
    for v in _variables(spec):
        if v.role in ("latent", "observed"):
            yield from (f"{v.role} reads {roles[r.name]}" for r in reader.of_variable(v) if r.name in roles)
        for clause in v.clauses:
            if clause.initial == 0 and any(roles.get(r.name) == "latent" for r in reader.of_clause(clause)):
                yield "first clause that reads a latent"
            if clause.initial is not None:
                yield f"{('first', 'second')[min(clause.initial, 1)]} clause of {v.role}"
            if clause.bindings:
                yield "where of parts" if any(len(b.names) > 1 for b in clause.bindings) else "where"
            inside = [e for b in _bodies(clause) for e in E.walk(b)]
            if (
                clause.initial is not None
                and v.role in ("latent", "guide")
                and any(_of_all(e, v.plates) for e in inside)
            ):
                yield f"first clause {'of guide ' if v.role == 'guide' else ''}that reads all sites"
            if v.role == "let" and any(isinstance(e, E.VariableRef) and e.name in lets for e in inside):
                yield "let of a let"


def _of_all(expr: E.Expr, plates: Sequence[str]) -> bool:
    """Whether it is made of all sites along one of the plates."""
    if isinstance(expr, E.Call) and expr.over in plates:
        return True
    reaches = [a.type.reach for a in expr.args] if isinstance(expr, E.Call | E.Apply) else []
    return any(r is not None and r.plate in plates for r in reaches)


def plates(spec: Spec) -> Iterator[str]:
    for p in spec.plates:
        yield from _plate(p)
        if p.within:
            yield f"{p.kind} within {spec.plate(p.within).kind}"
    if spec.copies:
        yield "plate copy"
    if not spec.plates:
        yield "no plate at all"


def _plate(p: Plate) -> Iterator[str]:
    options = dict(p.options)
    yield f"plate {'latent length' if p.kind == 'latent_length' else p.kind}"
    if p.like:
        yield "plate copy"
    if p.end:
        yield "plate sequence(end)"
    if options.get("null"):
        yield "plate sequence(null)"
    if options.get("counts"):
        yield "plate bag(counts)"
    if p.kind == "fixed" and p.extent.constant is not None:
        yield "plate number"


def standing(spec: Spec) -> Iterator[str]:
    """Where variables stand."""
    latents = spec.of_role("latent")
    yield from (f"{name} latents" for name, (least, most) in COUNTS.items() if least <= len(latents) <= most)
    if not spec.of_role("observed"):
        yield "no observation"
        if not spec.of_role("given"):
            yield "nothing given either"
    for v in spec.variables:
        kinds = [spec.plate(p).kind.replace("latent_length", "latent length") for p in v.plates]
        if v.outside_batch:
            yield "global on a plate" if kinds else "global"
        elif v.role in ("latent", "observed"):
            yield f"{v.role} on {' × '.join(kinds)}" if kinds else f"{v.role} alone"
            if len(kinds) == 3:
                yield f"{v.role} on three plates"
            if v.role == "latent" and v.initial and len(kinds) > 1:
                yield "chains within a plate"
    if any(coupled(spec, dependency_graph(spec), [v.name for v in spec.of_role("latent") if v.type.support.finite])):
        yield "chains that share a regime"


def givens(spec: Spec) -> Iterator[str]:
    for v in spec.of_role("given"):
        kind = v.type.support
        for word, (support, sized) in GIVEN.items():
            if kind.kind == "integer" if sized else kind == support:
                yield f"given {word}"
        if v.type.shape:
            yield "given vector"
        if v.plates:
            yield "given on a plate"


def params(spec: Spec) -> Iterator[str]:
    for p in spec.params:
        if p.init:
            yield f"init {p.init[0]}"
        if not p.shape:
            yield "number as a parameter"
        if p.frozen:
            yield "frozen"
        if p.prior:
            yield f"prior {p.prior.family}"
        yield from (
            name
            for option, name in (
                ("per_example", "per_example"),
                ("tied", "tied parameter"),
            )
            if dict(p.options).get(option)
        )


def sections(spec: Spec) -> Iterator[str]:
    text = spec.source.text
    yield from (name for name in ("class", "description", "phases", "views") if f"\n{name}:" in f"\n{text}")
    if any(s.source != "number" for s in spec.sizes):
        yield "size of the data"
    yield from (name for o in spec.overrides for name in _override(o))
    for key, value in spec.infer:
        if key == "bound":
            yield f"bound {value.name}"
            given = {"samples": value.samples, "alpha": value.alpha, "gradient": value.path.detached}
            yield from (f"bound {value.name}({o})" for o, there in given.items() if there)
        elif isinstance(value, str):
            yield f"{key}: {value}"
        elif value is not None:
            yield f"infer {key}"
    weights = dict(spec.kl_weight)
    yield from (f"kl_weight {w.kind}" for w in weights.values())
    if any(weights):
        yield "kl_weight by latent"
    yield from (f"free_bits {bits.unit}" for _, bits in spec.free_bits)


def _override(o: Override) -> Iterator[str]:
    yield f"infer {o.strategy}"
    yield from (f"{o.strategy}({name})" for name, _ in o.options)


def guides(spec: Spec) -> Iterator[str]:
    factors = {v.name for v in spec.guide if v.role == "guide"}
    latents = {v.name for v in spec.of_role("latent")}
    if factors and latents - factors:
        yield "guide of some"
    if any(_crossing(spec, v, factors) for v in spec.variables):
        yield "guide on plates that cross"
    if any(v.role == "let" for v in spec.guide):
        yield "computed in the guide"
    for term in spec.terms:
        yield "term on a plate" if term.plates else "term"
        if any(isinstance(e, E.LogProb) for c in term.clauses for b in _bodies(c) for e in E.walk(b)):
            yield "log_prob in a term"


def _crossing(spec: Spec, v: Variable, guided: set[str]) -> bool:
    """Whether it reads finite latents with a q, on plates neither of which lie within the other's."""
    read = (spec.variable(r.name) for r in Reader(spec).of_variable(v) if r.name in guided)
    plates = [set(z.plates) for z in read if z.type.support.finite and not z.type.shape]
    return any(a - b and b - a for a, b in combinations(plates, 2))


def batches(spec: Spec) -> Iterator[str]:
    """What a batch may leave open of what is observed, and may know of what is latent."""
    reader = Reader(spec, spec.guide)
    readers = {"model": spec.variables, "guide": spec.guide, "term": spec.terms}
    read = {by: {r.name for v in group for r in reader.of_variable(v)} for by, group in readers.items()}
    guided = {v.name for v in spec.guide if v.role == "guide"}
    for v in spec.of_role("observed"):
        yield f"missing value {_whereabouts(v)}"
        yield from (
            f"missing value read by {'the' if by == 'model' else 'a'} {by}" for by in read if v.name in read[by]
        )
    for v in spec.of_role("latent"):
        if v.outside_batch or v.type.shape or not v.type.support.finite:
            continue  # what is real is not given
        yield f"known value {_whereabouts(v)}"
        if v.initial:
            yield "known value of a chain"
        if v.name in guided:
            yield "known value with a guide"


def _whereabouts(v: Variable) -> str:
    return "of a structure" if structure_of(v) else "on a plate" if v.plates else "alone"


RULES: tuple[Callable[[Spec], Iterator[str]], ...] = (
    distributions,
    functions,
    networks,
    access,
    clauses,
    sums,
    plates,
    standing,
    givens,
    params,
    sections,
    guides,
    batches,
)
