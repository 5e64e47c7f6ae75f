"""What several methods compute alike is one method, which they call.

    forward    x = batch["x"]                                   guide      x = batch["x"]
               state = last(self.reader(self.words(x)))                    state = last(self.reader(self.words(x)))
               loc, scale = self.head(state).chunk(2, -1)                  loc, scale = self.head(state).chunk(2, -1)
               z = Normal(loc, ...).draw(noise)          ->               return loc, scale
    encode     x = batch["x"]                                   forward    loc, scale = self.guide(batch)
               state = last(self.reader(self.words(x)))                    z = Normal(loc, ...).draw(noise)
               ...                                              encode     loc, scale = self.guide(batch)

Three kinds: what q takes of the batch alone (`guide`), what objective and importance weights alike compute at the draws
(`at_draws`), and what any two methods compute of the batch alone (`computed`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import combinations

from lvspec.emit.text.statements import PREPARED, Method, Result, Statement, StatementReader
from lvspec.emit.text.text import wrap
from lvspec.ir.plan import Plan
from lvspec.ir.spec import Network, Param, Size

MOST_LINES = 8_000  # of a class that somebody reads; sharing costs a longer one half a second, and helps nobody
OBJECTIVES = ("forward", "elbo_at")  # where the objective may stand
OF_Q = ("posterior", "encode")  # what reads q itself, not its draws
ANNOTATIONS = {"batch": "dict", "draws": "dict", "samples": "int", "parameters": "dict"}


def with_shared_methods(body: str, plan: Plan) -> str:
    """The class's body, in which what several methods compute stands once."""
    if body.count("\n") > MOST_LINES:
        return body
    reader, spec = StatementReader(), plan.spec
    methods = reader.methods(body)
    declared: Iterable[Param | Network | Size] = (*spec.params, *spec.networks, *spec.sizes)
    sharing = Sharing(reader, methods, {v.name for v in declared} | {m.name for m in methods})
    if plan.guide:
        sharing.guide()
    sharing.at_draws()
    sharing.computed()
    return "\n\n".join("\n".join(m.lines()) for m in sharing.methods) if sharing.calls else body


@dataclass(frozen=True)
class SharedCall:
    """A call of a shared method. line: what follows its names; results: what it gives, in order."""

    method: str
    line: str
    results: tuple[Result, ...]


class Sharing:
    """The methods of a class while they are rewritten. calls: of the shared methods, by likeness of the statement."""

    def __init__(self, reader: StatementReader, methods: list[Method], taken: set[str]):
        self.reader, self.methods, self.taken = reader, methods, taken
        self.calls: dict[int, SharedCall] = {}

    def named(self, names: Iterable[str]) -> list[Method]:
        return [m for m in self.methods if m.name in names]

    # ------------------------------------------------------------ the three kinds
    def guide(self) -> None:
        """What q takes of the batch alone, of all methods that read q."""
        for first in self.named(OBJECTIVES):
            of_q = self.named(OF_Q)
            about = "What the guide computes from a prepared batch, before any draw."
            alike = self.alike(first, of_q, {"batch"})
            self.share("guide", about, first, [*self.named(["log_weights"]), *of_q], alike)

    def at_draws(self) -> None:
        for first in self.named(OBJECTIVES):
            weights = self.named(["log_weights"])
            about = (
                "Draws of q for a prepared batch, and the terms at them that the ELBO and the importance weights share."
            )
            alike = self.alike(first, weights, set(PREPARED))
            if any("draws" in s.given for s in first.statements if s.like in alike):
                self.share("at_draws", about, first, weights, alike)

    def computed(self) -> None:
        """What any two methods compute of the batch alone."""
        tried: set[tuple[str, str]] = set()
        while pair := next((p for p in self.pairs() if p not in tried), None):
            tried.add(pair)
            first, second = self.named(pair)
            alike = self.alike(first, [second], {"batch"}) & {s.like for s in first.statements if not s.asks}
            others = [m for m in self.methods if m is not first and alike <= {s.like for s in m.statements}]
            of_batch = any(s.given for s in first.statements if s.like in alike)
            about = (
                f"Functions of {'a prepared batch' if of_batch else 'the parameters'} alone that several methods share."
            )
            self.share("computed", about, first, others, alike, least=2)

    def pairs(self) -> list[tuple[str, str]]:
        """Two methods with enough in common, in the class's order."""
        owners: dict[int, list[str]] = {}
        for method in self.methods:
            for like in {s.like for s in method.statements if self.of_batch(s)}:
                owners.setdefault(like, []).append(method.name)
        common = Counter(pair for names in owners.values() for pair in combinations(names, 2))
        place = {m.name: i for i, m in enumerate(self.methods)}
        found = [pair for pair, count in common.items() if count > 1]
        return sorted(found, key=lambda pair: (place[pair[0]], place[pair[1]]))

    def of_batch(self, statement: Statement) -> bool:
        """Whether it computes something of the batch or of the parameters alone, here and now."""
        own = statement.moves and not statement.input and not statement.asks
        return own and statement.given <= {"batch"}

    def alike(self, first: Method, others: list[Method], given: set[str]) -> set[int]:
        """Likeness of statements of `first` that one of the others has as well, and that need no more than is given."""
        found = {s.like for m in others for s in m.statements}
        return {s.like for s in first.statements if s.like in found and s.moves and not s.input and s.given <= given}

    # ------------------------------------------------------------ one method more
    def share(
        self, base: str, about: str, first: Method, others: list[Method], alike: set[int], least: int = 1
    ) -> None:
        """Takes these statements out of the methods, where that changes nothing and is worth it."""
        chosen = movable(first, others, set(alike))
        callers = [m for m in (first, *others) if any(s.like in chosen for s in m.statements)]
        moved = [s for s in first.statements if s.like in chosen]
        if len(moved) < least or len(callers) < 2:
            return
        read = {r for s in moved for r in s.reads.values()}
        body = [s for s in first.statements if s.like in chosen or s.input and read & {*s.writes.values()}]
        last = {n: r for s in moved for n, r in s.writes.items()}
        wanted = {r for m in callers for s in m.statements if s.like not in chosen for r in s.reads.values()}
        results = {n: r for n, r in last.items() if r in wanted}
        name, i = base, 2
        while name in self.taken:
            name, i = f"{base}_{i}", i + 1
        self.taken.add(name)
        arguments = [a for a in ANNOTATIONS if any(a in s.reads.values() for s in body)]
        call = SharedCall(name, f"self.{name}({', '.join(arguments)})", tuple(results.values()))
        like = self.reader.likeness(("call", name))
        self.calls[like] = call
        given = frozenset().union(*(s.given for s in body))
        for method in callers:
            self.calls_in(
                method, chosen, Statement((), "", False, like, {a: a for a in arguments}, {}, given, asks=True), call
            )
        listed = "".join(f", {a}: {ANNOTATIONS[a]}" for a in arguments)
        head = wrap(f"def {name}(self{listed}){' -> tuple' if len(results) > 1 else ''}:", 1)
        head.append(f'        """{about}"""')
        if len({s.title for s in moved}) == 1:
            body = [replace(s, title="") for s in body]
        lines = tuple(wrap(f"return {', '.join(results)}", 2))
        end = Statement(lines, "", False, self.reader.likeness(("return", name)), results, {}, given, moves=False)
        self.methods.insert(self.methods.index(first), Method(name, head, [*body, end]))
        for method in self.methods:
            self.spell_calls(method)

    def calls_in(self, method: Method, chosen: set[int], call: Statement, what: SharedCall) -> None:
        """The method with a call where the first of these statements stood."""
        gone = [s for s in method.statements if s.like in chosen]
        names = {r: n for s in gone for n, r in s.writes.items()}
        titles = {s.title for s in gone}
        title = titles.pop() if len(titles) == 1 else ""
        call = replace(call, title=title, writes={names[r]: r for r in what.results if r in names})
        rest = [call if s is gone[0] else s for s in method.statements if s is gone[0] or s.like not in chosen]
        read = {r for s in rest for r in s.reads.values()}
        method.statements = [s for s in rest if not s.input or read & {*s.writes.values()}]

    def spell_calls(self, method: Method) -> None:
        """Calls with names for what is read in the method, and none for the rest."""
        read = {r for s in method.statements for r in s.reads.values()}
        for i, statement in enumerate(method.statements):
            call = self.calls.get(statement.like)
            if call is None:
                continue
            names = {r: n for n, r in statement.writes.items() if r in read}
            listed = ", ".join(names.get(r, "_") for r in call.results)
            method.statements[i] = replace(statement, lines=tuple(wrap(f"{listed} = {call.line}", 2)))


def movable(first: Method, others: list[Method], chosen: set[int]) -> set[int]:
    """Those of the chosen statements that can be computed before all others of the methods, as `first` spells them."""
    while True:
        stay = {like for m in (first, *others) for like in staying(m, first, chosen)}
        if not stay:
            return chosen
        chosen = chosen - stay


def staying(method: Method, first: Method, chosen: set[int]) -> set[int]:
    """Chosen statements that need what stays, follow another value of their name, would give their name another value too
    early, or would be drawn before what stays (a seed means the same draws)."""
    later: dict[Result, int] = {}  # results that a chosen statement replaces, and which
    now: dict[str, Result] = {}
    for s in (s for s in first.statements if s.like in chosen):
        later |= {now[n]: s.like for n in s.writes if n in now}
        now |= s.writes
    ready = {r for s in method.statements if s.like in chosen or s.input for r in s.writes.values()}
    found, named, drawn = set(), set(), False
    for s in method.statements:
        read, draws = {*s.reads.values()}, "draws" in s.reads.values()
        if s.like not in chosen:
            found |= {later[r] for r in read if r in later}
            named |= set() if s.input else {*s.writes}
            drawn = drawn or draws
        elif named & {*s.writes} or drawn and draws or any(r not in ready for r in read if not isinstance(r, str)):
            found.add(s.like)
    return found | {s.like for s in method.statements if s.like in chosen and empty(s) and not feeds(s, method, chosen)}


def empty(statement: Statement) -> bool:
    """Whether it only makes lists, for others to fill."""
    return not statement.reads and statement.lines[-1].split("=")[-1].strip(" [],") == ""


def feeds(statement: Statement, method: Method, chosen: set[int]) -> bool:
    made = {*statement.writes.values()}
    return any(s.like in chosen and made & {*s.reads.values()} for s in method.statements)
