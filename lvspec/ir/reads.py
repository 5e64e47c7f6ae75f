"""How each factor of a model reaches each random variable, let variables looked through.

x[t]: Categorical(logits=emission[z[t]])          x reads z at this site
z[t]: Categorical(logits=transition[z[t-1]])      z reads z one site back
x[t]: Normal(sum(mean[l, z[t, l]] over l), 1)     x reads z over all sites of plate l
x[t]: Categorical(logits=e[z[0, t], z[1, t]])     the same, some of them by their numbers
h[t]: writer(words(x[<t]))                        h reads x over a stretch
h[t]: writer(words(x[<t in z]))                   h reads x over a stretch, and z at this site: where its segment began
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lvspec.ir.components import sources_first
from lvspec.ir.distributions import family_of
from lvspec.ir.expr import At, Call, Dist, Here, Lag, Number, Site, Stretch, VariableRef, walk
from lvspec.ir.spec import Clause, Spec, Variable

# along one plate: this site, k sites back (or ahead), all sites of a fixed plate together, a stretch or a computed site
HERE, LAG, OVER, WIDE = "here", "lag", "over", "wide"


@dataclass(frozen=True)
class Read:
    """name is read; ways: (plate, way, k) for each of its plates. inside: the latent in whose segment a stretch of it
    begins."""

    name: str
    ways: tuple[tuple[str, str, int], ...]
    inside: str | None = None

    def way(self, plate: str) -> tuple[str, int]:
        return next(((w, k) for p, w, k in self.ways if p == plate), (HERE, 0))

    @property
    def lag(self) -> int:
        return max((k for _, w, k in self.ways if w == LAG), default=0)


def is_improper(variable: Variable) -> bool:
    """Whether the variable has a density without a total mass in place of a distribution."""
    return any(isinstance(c.body, Dist) and family_of(c.body.family).improper for c in variable.clauses)


def bodies(clause: Clause) -> list:
    """A clause's own expressions: what its `where` binds, then its body."""
    return [b.value for b in clause.bindings] + ([clause.body] if clause.body is not None else [])


def reader_of(spec: Spec, guide: tuple[Variable, ...] = ()) -> Reader:
    """The reader of a spec with such a guide: one for all who ask, since it keeps what it has found."""
    key = tuple(map(id, guide))  # which the reader keeps alive, so that no others have them
    readers: dict[tuple[int, ...], Reader] = spec.kept.setdefault("readers", {})
    if key not in readers:
        readers[key] = Reader(spec, guide)
    return readers[key]


class Reader:
    """Collects reads. `lets`: definitions by name, the guide's own included."""

    def __init__(self, spec: Spec, guide: tuple[Variable, ...] = ()):
        self.spec, self.guide = spec, guide
        self.variables = spec.named
        self.lets = spec.lets | {v.name: v for v in guide if v.role == "let"}
        self._cache: dict[str, tuple[Read, ...]] = {}
        self._found: dict[int, tuple[tuple[Read, ...], Variable]] = {}  # by the variable's place in the memory
        self._named: dict[str, tuple[str, ...]] = {}

    def of_variable(self, variable: Variable) -> tuple[Read, ...]:
        if id(variable) not in self._found:
            self._found[id(variable)] = self._of_variable(variable), variable
        return self._found[id(variable)][0]

    def _of_variable(self, variable: Variable) -> tuple[Read, ...]:
        found = dict.fromkeys(r for c in variable.clauses for b in bodies(c) for r in self.of(b, frozenset()))
        if variable.role in ("latent", "term"):  # which of its sites count
            lengths = (self.spec.plate(p).length for p in variable.plates)
            found |= {Read(n, ()): None for n in lengths if n in self.variables and n not in self.lets}
        return tuple(found)

    def of_clause(self, clause: Clause) -> tuple[Read, ...]:
        return tuple(dict.fromkeys(r for body in bodies(clause) for r in self.of(body, frozenset())))

    def of(self, node, over: frozenset[str]) -> list[Read]:
        if isinstance(node, VariableRef):
            return self._reference(node, over)
        if isinstance(node, Call) and node.over:
            over = over | {node.over}
        return [r for child in node.children() for r in self.of(child, over)]

    def _reference(self, node: VariableRef, over: frozenset[str]) -> list[Read]:
        found = [r for site in node.at if isinstance(site, At) for r in self.of(site.index, over)]
        definition = self.lets.get(node.name) or self.variables[node.name]
        ways = {p: _way(site, p in over, self._ragged(p)) for p, site in zip(definition.plates, node.at, strict=True)}
        inside = next((s.inside for s in node.at if isinstance(s, Stretch) and s.inside), None)
        if inside is not None:  # where a segment begins is read with it
            here = {p: ways[p] if not isinstance(s, Stretch) else (HERE, 0) for p, s in zip(ways, node.at, strict=True)}
            found.append(Read(inside, tuple((p, *w) for p, w in here.items())))
        if node.name not in self.lets:
            return [*found, Read(node.name, tuple((p, *w) for p, w in ways.items()), inside)]
        return [*found, *(_through(r, ways) for r in self._let(node.name))]

    def _let(self, name: str) -> tuple[Read, ...]:
        for let in () if name in self._cache else self.lets_below(name, self._cache.__contains__):
            self._cache[let] = ()
            self._cache[let] = self._of_variable(self.lets[let])
        return self._cache[name]

    def lets_below(self, name: str, done: Callable[[str], bool]) -> Iterator[str]:
        """The let variables that one stands on and that are not done, itself included: each behind those that it reads,
        so that what is found of one of them is found once, and with no recursion from one into the next."""
        return sources_first(name, self.lets_in, done)

    def lets_in(self, name: str) -> tuple[str, ...]:
        """The let variables that a let variable names, in the order of its text."""
        if name not in self._named:
            nodes = (n for c in self.lets[name].clauses for b in bodies(c) for n in walk(b))
            named = dict.fromkeys(n.name for n in nodes if isinstance(n, VariableRef) and n.name in self.lets)
            self._named[name] = tuple(named)
        return self._named[name]

    def _ragged(self, plate: str) -> bool:
        return self.spec.plate(plate).ragged


def _way(site, over: bool, ragged: bool) -> tuple[str, int]:
    if isinstance(site, Here):
        if not over:
            return (HERE, 0)
        return (WIDE, 0) if ragged else (OVER, 0)
    if isinstance(site, Lag):
        return (LAG, site.k)
    if not ragged and (isinstance(site, Stretch) or is_named(site)):
        return (OVER, 0)
    return (WIDE, 0)


def number_of(site: Site) -> int | None:
    """The number that a site is named by: `z[0]`."""
    return int(site.index.value) if isinstance(site, At) and isinstance(site.index, Number) else None


def is_named(site: Site) -> bool:
    """Whether a site is named by a number."""
    return number_of(site) is not None


def _through(read: Read, outer: dict[str, tuple[str, int]]) -> Read:
    """A read inside a let variable, seen from where the let variable is read."""
    if not read.ways:  # of a variable without plates: many factors may read many of them
        return read
    ways = []
    for plate, way, k in read.ways:
        way_out, k_out = outer.get(plate, (HERE, 0))
        if WIDE in (way, way_out):
            ways.append((plate, WIDE, 0))
        elif OVER in (way, way_out):
            ways.append((plate, OVER, 0))
        elif LAG in (way, way_out):
            ways.append((plate, LAG, k + k_out) if k + k_out else (plate, HERE, 0))
        else:
            ways.append((plate, HERE, 0))
    return Read(read.name, tuple(ways), read.inside)
