"""Which variable reads which, and from which sites: first sites, and an order to evaluate in (`cycles.py`: whether there is one).

strict   z[t-1], x[<t]          an earlier site: no cycle can close over it
same     z[t], x[<=t], z        the site itself
later    z[t+1], x[>t]          a later site (in guides that run backwards)
any      x (whole), memory[a]   sites that may be anywhere
whole    z over t               what a structure reads along its plate: all its sites are one variable
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lvspec.errors import Span
from lvspec.front import syntax as S
from lvspec.front.context import Declarations, unknown
from lvspec.front.problems import Problems
from lvspec.front.story import StoryEntry
from lvspec.ir.components import strongly_connected
from lvspec.ir.expr import Again, At, Choice, Dist, Expr, Lag, Number, Stretch, VariableRef, walk
from lvspec.ir.spec import Clause, Variable


@dataclass(frozen=True)
class Edge:
    """`reader` reads `source`. how: strict | same | later | any | whole."""

    reader: str
    source: str
    how: str
    span: Span


def expressions(clause: Clause) -> Iterator[Expr]:
    """Every expression of a clause, those that `where` binds too."""
    for binding in clause.bindings:
        yield from walk(binding.value)
    if isinstance(clause.body, Expr | Dist | Choice):
        yield from walk(clause.body)


def references(variable: Variable) -> Iterator[tuple[Clause, VariableRef]]:
    for clause in variable.clauses:
        for expr in expressions(clause):
            if isinstance(expr, VariableRef):
                yield clause, expr


def how(ref: VariableRef) -> str:
    """From which sites a reference reads, relative to the site that reads."""
    kinds = {_site(s) for s in ref.at}
    return next((k for k in ("strict", "later", "any") if k in kinds), "same")


def whole(clause: Clause, ref: VariableRef) -> bool:
    """Whether a structure reads what stands at the sites that it is a structure of: all of them are one variable."""
    return isinstance(clause.body, Dist) and bool(clause.body.over) and bool(ref.at)


def _site(site) -> str:
    match site:
        case Lag(_, k):
            return "strict" if k > 0 else "later"
        case Stretch(_, reach, _):
            return {"before": "strict", "through": "same", "from": "same", "after": "later"}.get(reach, "any")
        case At(_, index):
            return "strict" if isinstance(index, Number) else "any"
        case Again():
            return "any"
    return "same"


def edges(variables: Iterable[Variable]) -> tuple[Edge, ...]:
    found: dict[tuple[str, str, str], Edge] = {}
    for variable in variables:
        for clause, ref in references(variable):
            segments = [s.inside for s in ref.at if isinstance(s, Stretch) and s.inside is not None]
            own = "whole" if whole(clause, ref) else how(ref)
            for source, way in ((ref.name, own), *((z, "same") for z in segments)):
                found.setdefault((variable.name, source, way), Edge(variable.name, source, way, ref.span))
    return tuple(found.values())


# ---------------------------------------------------------------- components and order
def components(names: Iterable[str], among: Iterable[Edge]) -> tuple[tuple[str, ...], ...]:
    """Strongly connected components, sources before their readers."""
    sources: dict[str, list[str]] = {n: [] for n in names}
    for e in among:
        if e.reader in sources and e.source in sources:
            sources[e.reader].append(e.source)
    return strongly_connected(sources)


def in_dependence_order(variables: dict[str, Variable]) -> tuple[Variable, ...]:
    """Every variable after those that it reads at its own site; the spec's order where that leaves a choice."""
    close = [e for e in edges(variables.values()) if e.how != "strict"]
    return tuple(variables[n] for part in components(variables, close) for n in part)


# ---------------------------------------------------------------- checks
def check_graph(
    variables: dict[str, Variable], declared: Declarations, stated: dict[str, StoryEntry], problems: Problems
) -> None:
    """Clauses for first sites, what has no engine, and what stands outside the batch."""
    found = edges(variables.values())
    check_recursion({n for n, v in variables.items() if v.role == "let"}, found, problems)
    for variable in variables.values():
        check_first_sites(variable, stated[variable.name], problems)
    check_outside(variables, variables, problems)


def check_recursion(computed: Iterable[str], found: Iterable[Edge], problems: Problems) -> None:
    """Computed variables that read their own earlier sites, with nothing that is drawn in between, have no engine yet."""
    strict = [e for e in found if e.how in ("strict", "later")]
    for part in components(computed, found):
        inside = next((e for e in strict if e.reader in part and e.source in part), None)
        if inside is not None:
            problems.error(
                "recursive-let",
                inside.span,
                f"`{inside.reader}` is computed from other sites of {'its own' if len(part) == 1 else f'`{inside.source}`, which is computed from it'}: no engine yet",
                help="a recurrent network has a state for each site: `h[t]: cell(x[<t])` with `cell: GRU(E, H)`",
            )


def mentions(stated: dict[str, StoryEntry]) -> tuple[Edge, ...]:
    """The edges of clauses as they are written, for variables whose types nothing fixes."""
    found = []
    for name, one in stated.items():
        for value in (c.value for c in one.clauses if c.value):
            indexed = {id(n.base): n for n in S.walk(value) if isinstance(n, S.Access)}
            for node in S.walk(value):
                if isinstance(node, S.Name) and node.name in stated:
                    access = indexed.get(id(node))
                    found.append(Edge(name, node.name, _written(access), node.span))
    return tuple(found)


def _written(access: S.Access | None) -> str:
    for index in access.indices if access else ():
        match index:
            case S.Relation("before", _) | S.Binary("subtract", S.Name(), S.Literal()):
                return "strict"
    return "same"


def loop(among: list[Edge]) -> tuple[Edge, ...] | None:
    """One cycle among these edges, as short as the first that is found from any edge."""
    by_reader: dict[str, list[Edge]] = {}
    for e in among:
        by_reader.setdefault(e.reader, []).append(e)
    for start in among:
        ways: dict[str, tuple[Edge, ...]] = {start.source: (start,)}
        queue = [start.source]
        while queue and start.reader not in ways:
            node = queue.pop(0)
            for e in by_reader.get(node, ()):
                if e.source not in ways:
                    ways[e.source] = (*ways[node], e)
                    queue.append(e.source)
        if start.reader in ways:
            return ways[start.reader]
    return None


def check_first_sites(variable: Variable, stated: StoryEntry, problems: Problems) -> None:
    """Order n needs the clauses 0 .. n-1, and no more."""
    lags = [
        (s, ref)
        for clause, ref in references(variable)
        if clause.initial is None
        for s in ref.at
        if isinstance(s, Lag) and s.k > 0
    ]
    have = sorted(c.initial for c in variable.clauses if c.initial is not None)
    along = stated.initial_plate or (lags[0][0].plate if lags else None)
    order = max((s.k for s, _ in lags), default=0)
    missing = [k for k in range(order) if k not in have or any(s.plate != along for s, _ in lags)]
    if missing:
        ref = next(ref for s, ref in lags if s.k == order)
        named = [f"`{variable.name}[{_numbered(variable.plates, along, k)}]: ...`" for k in missing]
        wanted = ", ".join(named if len(named) <= 5 else [*named[:3], "...", named[-1]])
        problems.error(
            "missing-initial",
            ref.span,
            f"`{variable.name}` reads {order} site{'s' * (order > 1)} back, so its first {'site needs a clause of its own' if order == 1 else f'{order} sites need clauses of their own'}",
            help=f"add {wanted}"
            if along in variable.plates
            else f"nothing stands before the first site of `{along}`: reduce `{ref.name}` at its own sites",
        )
    surplus = [k for k in have if k >= order]
    if surplus and not _has_mistake(variable.general) and not _reads_itself(variable):
        clause = next(c for c in variable.clauses if c.initial == surplus[0])
        problems.error(
            "surplus-initial",
            clause.span,
            f"`{variable.name}` has a clause for site {surplus[0]}, but its general clause reads {order or 'no'} site{'s' * (order != 1)} back",
            help=f"remove it, or read `{variable.name}[{stated.initial_plate}-{surplus[-1] + 1}]` in the general clause",
        )


def _has_mistake(clause: Clause) -> bool:
    """Whether part of a clause is missing because of a mistake that has been told."""
    return clause.body is None or any(unknown(e) for e in expressions(clause))


def _reads_itself(variable: Variable) -> bool:
    return any(ref.name == variable.name and how(ref) != "strict" for _, ref in references(variable))


def _numbered(plates: tuple[str, ...], along: str | None, k: int) -> str:
    return ", ".join(str(k) if p == along else p for p in plates)


def check_outside(readers: dict[str, Variable], variables: dict[str, Variable], problems: Problems) -> None:
    """A variable of the whole data set reads only such variables."""
    for variable in readers.values():
        for _, ref in references(variable):
            source = variables.get(ref.name)
            if variable.outside_batch and source is not None and not source.outside_batch:
                problems.error(
                    "global-reads-local",
                    ref.span,
                    f"`{variable.name}` is one for the whole data set, but `{ref.name}` is one for each example",
                    help=f"write `global {ref.name}: ...`, or `{variable.name}` without `global`",
                )
