"""Stated variables → typed ones. Types are found first, round by round, then every clause is read for good.

`x[t]` needs the type of `h[t]`, which reads `x[<t]`: in a round each variable is read against what the
round before knew, until nothing changes; only the last reading's problems count.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from lvspec.front import densities, supports
from lvspec.front import syntax as S
from lvspec.front.context import UNKNOWN, Context, Seen, broken, unknown
from lvspec.front.cycles import tell_cycle
from lvspec.front.declarations import call_of
from lvspec.front.dependence import Edge, components, loop, mentions
from lvspec.front.dims import to_extent
from lvspec.front.expressions import elaborate
from lvspec.front.flows import check_inverse
from lvspec.front.names import did_you_mean
from lvspec.front.problems import Problems
from lvspec.front.ranges import Range, widen
from lvspec.front.story import StoryClause, StoryEntry
from lvspec.ir import types as T
from lvspec.ir.distributions import family_of
from lvspec.ir.expr import Choice, Dist, Expr, SiteOf
from lvspec.ir.spec import Clause, Variable
from lvspec.ir.types import Support, Type

MAX_ROUNDS = 60
# how a given variable is declared: word -> (support, whether an argument is its size)
INTEGER = Support("integer")  # of the size that is given
GIVEN: dict[str, tuple[Support, bool]] = {
    "token": (INTEGER, True), "category": (INTEGER, True), "real": (T.REAL, False), "positive": (T.POSITIVE, False),
    "unit": (T.UNIT, False), "count": (T.COUNT, False), "boolean": (T.BOOLEAN, False),
}  # fmt: skip


class Known(dict):
    """What is known of variables by now; asked: of which of them somebody wanted to know."""

    asked: set[str] = set()

    def __getitem__(self, name: str) -> Seen:
        self.asked.add(name)
        return super().__getitem__(name)


def find_types(stated: dict[str, StoryEntry], ctx: Context) -> dict[str, Seen]:
    """What is known of every variable, as far as anything fixes it; a round reads whose last reading is out of date."""
    stated, widened = _by_mention(stated), dict[str, Range]()
    seen = {n: Seen(n, t.role, t.plates, UNKNOWN, t.outside_batch) for n, t in stated.items()}
    known, quiet = Known(ctx.variables | seen), Problems(ctx.problems.source, quiet=True)
    inside = ctx.with_(variables=known, problems=quiet, guessing=True)
    stale = set(stated)
    readers: dict[str, set[str]] = {n: set() for n in known}
    for _ in range(MAX_ROUNDS):
        before = dict(seen)
        for name, one in stated.items():
            if name not in stale:
                continue
            stale.remove(name)
            known.asked = set()
            types = [kind for c in one.clauses if not unknown(kind := _clause(one, c, inside)[1])]
            for other in known.asked:
                readers[other].add(name)
            if types:
                support = supports.of_clauses(one.role, tuple(t.support for t in types))
                support = supports.widened(support, widened[name]) if name in widened else support
                found = replace(seen[name], type=types[0].with_(support=support, plates=one.plates, reach=None))
                if found != seen[name] or support.known != seen[name].type.support.known:
                    known[name] = seen[name] = found
                    stale |= readers[name]
        ranges = {
            n: (before[n].type.support.range, s.type.support.range) for n, s in seen.items() if s is not before[n]
        }
        moved = {n: pair for n, pair in ranges.items() if pair[0] != pair[1]}
        if seen == before and not moved:
            break
        if seen == before:  # the range of a value that reads its own earlier sites: it would move on
            widened |= {n: widen(*pair) for n, pair in moved.items()}
            stale |= set(moved)
    return seen


def _by_mention(stated: dict[str, StoryEntry]) -> dict[str, StoryEntry]:
    """Variables after those that their clauses mention, as far as that goes: few rounds are needed then."""
    among = [
        Edge(n, word, "same", one.span)
        for n, one in stated.items()
        for c in one.clauses
        if c.value
        for word in S.names_in(c.value)
    ]
    return {n: stated[n] for part in components(stated, among) for n in part}


def build(stated: dict[str, StoryEntry], ctx: Context) -> dict[str, Variable]:
    """Every variable with its clauses read for good; `ctx.variables` holds the types found."""
    return {name: _variable(one, ctx) for name, one in stated.items()}


def _variable(one: StoryEntry, ctx: Context) -> Variable:
    kind = ctx.variables[one.name].type
    clauses = []
    for told_clause in one.clauses:
        clause, found = _clause(one, told_clause, ctx)
        clauses.append(clause)
        differs = found.shape != kind.shape or not supports.among_clauses(found.support, kind.support)
        # a guide is compared with its latent, by check_guide
        if one.role != "guide" and differs and not unknown(found) and not unknown(kind):
            ctx.problems.error(
                "bad-clause",
                clause.span,
                f"this clause gives {supports.show(found)}, another one of `{one.name}` gives {supports.show(kind)}",
                help=_copies_too_many(clause, kind, found) or "all clauses of a variable have one shape and support",
            )
    clauses.sort(key=lambda c: (c.initial is None, c.initial or 0))
    kind = kind.with_(plates=one.plates, reach=None)
    return Variable(
        one.name,
        one.role,
        one.plates,
        kind,
        tuple(clauses),
        one.outside_batch,
        one.span,
        along=one.initial_plate,
        classes=one.role == "given" and any(_word(c.value) == "category" for c in one.clauses),
    )


def _copies_too_many(clause: Clause, kind: Type, found: Type) -> str:
    """`x[t]: Normal(a * x[t-1], 1)[D]`, where x[t-1] has D entries already."""
    copies = clause.body.copies if isinstance(clause.body, Dist) else ()
    if not copies or found.shape != (*copies, *kind.shape):
        return ""
    shown = ", ".join(map(str, copies))
    return f"leave out `[{shown}]`: the arguments have as many entries already, and it makes copies of them"


def check_determined(variables: Iterable[Variable], stated: dict[str, StoryEntry], problems: Problems) -> None:
    """Where nothing else is wrong, every variable has a shape; the first one without is the cause of the others."""
    open_ended = {v.name: v for v in variables if unknown(v.type)}
    closed = loop([e for e in mentions({n: t for n, t in stated.items() if n in open_ended}) if e.how == "same"])
    lost = next(iter(open_ended.values()), None)
    if problems.errors or lost is None:
        return
    if closed:
        tell_cycle(closed, problems)
    else:
        problems.error(
            "undetermined",
            lost.span,
            f"nothing fixes the shape of `{lost.name}`",
            help=_first_site(stated[lost.name]) or "say how many entries it has, e.g. `Normal(0, 1)[D]`",
        )


def _first_site(one: StoryEntry) -> str:
    """What a variable needs that reads its own earlier site, and whose first site has no clause."""
    value = one.general.value if one.general and one.initial_plate is None else None
    indices = [
        i
        for n in (S.walk(value) if value else ())
        if isinstance(n, S.Access)
        for i in n.indices
        if n.base == S.Name(one.name)
    ]
    for index in indices:
        match index:
            case S.Binary("subtract", S.Name(plate), S.Literal()):
                place = ", ".join("0" if p == plate else p for p in one.plates)
                return f"add `{one.name}[{place}]: ...`: the first site has none before it, and says how many entries there are"
    return ""


def _clause(one: StoryEntry, stated: StoryClause, ctx: Context) -> tuple[Clause, Type]:
    """A clause read, and the type of one site that it gives."""
    inner = clause_context(one, stated, ctx)
    empty = Clause(None, stated.initial, (), stated.span)
    if stated.value is None:
        return empty, UNKNOWN
    if one.role == "given":
        return empty, given_type(stated.value, inner)
    if isinstance(stated.value, S.ChoiceNode):
        _refuse_where(stated.value, inner)
        body: Dist | Choice | Expr | None = densities.choice(stated.value, inner)
        return Clause(body, stated.initial, (), stated.span), body.type if body else UNKNOWN
    bindings, inner = densities.where(stated.value, inner)
    if one.role in ("let", "term"):
        body, kind = _let(one, stated, inner)
    else:
        body = densities.distribution(stated.value, inner, stated.over)
        kind = body.type if body else UNKNOWN
        if body is not None:
            _same_plates(one, body, inner)
            check_inverse(one.role, body, inner)
            _observed_alone(one, body, inner)
            kind = _drawn_together(stated, one.name, body, kind)
    return Clause(body, stated.initial, bindings, stated.span), kind


def _observed_alone(one: StoryEntry, body: Dist, ctx: Context) -> None:
    family = family_of(body.family)
    if family.observed and one.role != "observed":
        what = "what is censored" if family.censored else f"what is {family.name}"
        help = "leave `Censored` out: values that are drawn are known" if family.censored else ""
        ctx.problems.error("no-distribution", body.span, f"{what} is observed, and `{one.name}` is drawn", help=help)


def clause_context(one: StoryEntry, stated: StoryClause, ctx: Context) -> Context:
    """The plates that the clause's left side binds."""
    plate = one.initial_plate if stated.initial is not None else None
    bound = tuple(p for p in one.plates if p != plate)
    return ctx.with_(
        bound=bound, initial=(plate, stated.initial) if plate is not None and stated.initial is not None else None
    )


def _refuse_where(node: S.ChoiceNode, ctx: Context) -> None:
    for side in (node.condition, node.then, node.otherwise):
        if side.where:
            ctx.problems.error(
                "misplaced-suffix",
                side.where[0].names[0].span,
                "a mixture has no `where`",
                help="name the value under `let:`",
            )


def _let(one: StoryEntry, stated: StoryClause, ctx: Context) -> tuple[Expr | None, Type]:
    """A computed variable: a stretch along its own plate is taken at its site."""
    value = stated.value
    if not isinstance(value, S.RightSide):
        return None, UNKNOWN
    for suffix in (*value.through, *value.parts):
        ctx.problems.error("misplaced-suffix", suffix.span, "`through` and `with` belong to distributions")
    if stated.over is not None:
        ctx.problems.error(
            "misplaced-suffix",
            stated.span,
            "`over` left of the colon belongs to structured distributions",
            help=f"write `{one.name}[{stated.over}]`",
        )
    body = elaborate(value.body, ctx)
    if unknown(body):
        return body, UNKNOWN
    own = set(one.plates)
    reach = body.type.reach
    if reach is not None:
        if reach.plate not in own or reach.reach != "whole":
            ctx.problems.error(
                "whole-as-site",
                body.span,
                f"`{one.name}` is one value, and this is a stretch of `{reach.plate}`",
                label=supports.show(body.type),
                help=f"name one value per site, `{one.name}[{reach.plate}]`, or reduce the stretch, e.g. with `last(...)`",
            )
            return broken(body.span), UNKNOWN
        plates = ctx.in_order((*body.type.plates, reach.plate))
        body = SiteOf(body, reach.plate, type=body.type.with_(reach=None, plates=plates), span=body.span)
    _within_clause(one, (body,), ctx)
    return body, body.type


def _same_plates(one: StoryEntry, body: Dist, ctx: Context) -> None:
    _within_clause(one, tuple(body.children()), ctx)
    if body.over is not None and body.over not in one.plates:
        ctx.problems.error(
            "misplaced-suffix",
            body.span,
            f"a distribution over `{body.over}` belongs to a variable over it",
            help=f"write `{one.name} over {body.over}: ...`",
        )


def _within_clause(one: StoryEntry, values: tuple[Expr, ...], ctx: Context) -> None:
    """Whatever a clause reads must be there for each of its sites: it varies over the clause's own plates only."""
    for value in values:
        extra = [p for p in value.type.plates if p not in one.plates] if not unknown(value) else []
        if extra:
            ctx.problems.error(
                "unbound-plate",
                value.span,
                f"this differs between the sites of `{', '.join(extra)}`, which `{one.name}` has not",
                help=f"name the variable `{one.name}[{', '.join((*one.plates, *extra))}]`, or reduce with `... over {extra[0]}`",
            )


def _drawn_together(stated: StoryClause, name: str, body: Dist, kind: Type) -> Type:
    """Of `(mu, Sigma): NormalInverseWishart(...)` the second is a matrix."""
    if body.family == "NormalInverseWishart" and stated.together and stated.together.index(name) == 1 and kind.shape:
        return kind.with_(shape=(*kind.shape, kind.shape[-1]), support=T.COVARIANCE)
    return kind


# ---------------------------------------------------------------- given variables
def _word(value: S.RightSide | S.ChoiceNode | None) -> str:
    """`category` of `category(K)` and `category(K)[D]`."""
    if not isinstance(value, S.RightSide):
        return ""
    body = value.body
    return call_of(S.RightSide(body.base if isinstance(body, S.Access) else body))[0]


def given_type(value: S.RightSide | S.ChoiceNode, ctx: Context) -> Type:
    """`token(V)`, `real[D]`, `count` as a type."""
    wrong = ("bad-given", value.span, "a given variable is declared by what it holds")
    usage = "write `token(V)`, `category(K)`, `real[D]`, `positive[D]`, `unit[D]`, `count` or `boolean`"
    if not isinstance(value, S.RightSide) or value.where or value.through or value.parts:
        ctx.problems.error(*wrong, help=usage)
        return UNKNOWN
    shape: tuple = ()
    body = value.body
    if isinstance(body, S.Access):
        dims = [to_extent(i, ctx.declared.sizes, ctx.problems) for i in body.indices]
        if any(d is None for d in dims):
            return UNKNOWN
        shape, body = tuple(dims), body.base
    word, call = call_of(S.RightSide(body, span=value.span))
    if word not in GIVEN:
        ctx.problems.error(*wrong, help=did_you_mean(word, GIVEN, usage))
        return UNKNOWN
    support, sized = GIVEN[word]
    arguments = call.arguments if call else ()
    if len(arguments) != int(sized) or (call and call.keywords):
        ctx.problems.error(
            "bad-given",
            value.span,
            f"`{word}` {'takes its size' if sized else 'has no argument'}",
            help=f"write `{word}(K)`" if sized else usage,
        )
        return UNKNOWN
    if not sized:
        return Type(shape, support)
    size = to_extent(arguments[0], ctx.declared.sizes, ctx.problems)
    return Type(shape, Support("integer", size)) if size is not None else UNKNOWN
