"""`given:`, `latent:`, `let:`, `observed:`, `guide:` → one `StoryEntry` for each variable: its plates and its clauses, still as syntax."""

from __future__ import annotations

from dataclasses import dataclass, field

from lvspec.errors import Span
from lvspec.front import scalars
from lvspec.front import syntax as S
from lvspec.front.declarations import entries
from lvspec.front.names import check_axis_name, check_name, did_you_mean
from lvspec.front.nodes import Entry, Listing, Mapping, Node, Text
from lvspec.front.parser import parse_target, parse_value
from lvspec.front.problems import Problems
from lvspec.ir.spec import Plate

ROLES = ("given", "latent", "let", "observed")


@dataclass(frozen=True)
class StoryClause:
    """place: the left of the colon. value: None where it could not be read. initial: the number in `z[0]`."""

    place: S.IndexedName
    value: S.RightSide | S.ChoiceNode | None
    initial: int | None
    over: str | None
    span: Span
    together: tuple[str, ...] = ()


@dataclass
class StoryEntry:
    """A variable as it was told. plates: of its general clause."""

    name: str
    role: str
    plates: tuple[str, ...]
    clauses: list[StoryClause] = field(default_factory=list)
    outside_batch: bool = False
    span: Span = Span(0, 0, 0, 0)

    @property
    def general(self) -> StoryClause | None:
        return next((c for c in self.clauses if c.initial is None), None)

    @property
    def initial_plate(self) -> str | None:
        """The plate that the clauses for first sites are numbered along."""
        for clause in self.clauses:
            if clause.initial is not None:
                return next(
                    (p for p, i in zip(self.plates, clause.place.indices, strict=False) if isinstance(i, S.Literal)),
                    None,
                )
        return None


def read_story(section: Node | None, role: str, plates: dict[str, Plate], problems: Problems) -> dict[str, StoryEntry]:
    """The variables of one section, in its order; those that cannot be put together are noted."""
    clauses: dict[str, list[tuple[S.Target, S.IndexedName, StoryClause]]] = {}
    for entry in entries(section, role, problems):
        target = parse_target(entry.key, problems)
        if target is None:
            continue
        value = _value(entry, role, problems)
        for place in target.places:
            check = check_axis_name if len(target.places) == 1 else check_name  # `(mu, S)` has the axes of `mu_S`
            if not check(place.name.name, place.name.span, problems):
                continue
            together = tuple(p.name.name for p in target.places) if len(target.places) > 1 else ()
            over = target.over.name if target.over else None
            clause = StoryClause(place, value, _initial(place), over, entry.key.span, together)
            clauses.setdefault(place.name.name, []).append((target, place, clause))
    found = {name: _told(name, role, rows, plates, problems) for name, rows in clauses.items()}
    fine = {name: stated for name, stated in found.items() if stated is not None}
    problems.wrong |= set(found) - set(fine)
    return fine


def _initial(place: S.IndexedName) -> int | None:
    return next((i.value for i in place.indices if isinstance(i, S.Literal) and isinstance(i.value, int)), None)


def _value(entry: Entry, role: str, problems: Problems) -> S.RightSide | S.ChoiceNode | None:
    node = entry.value
    if isinstance(node, Mapping):
        return _choice(node, role, problems)
    if isinstance(node, Listing):
        problems.error(
            "wrong-value",
            node.span,
            "a variable has one distribution or expression, not a list",
            help="quote an expression that starts with `[`",
        )
        return None
    if scalars.empty(node):
        problems.error("missing-value", entry.key.span, f"`{entry.key.value[:60]}` has no value")
        return None
    return parse_value(node, problems)


def _choice(node: Mapping, role: str, problems: Problems) -> S.ChoiceNode | None:
    keys = ("if", "then", "else")
    for e in node.entries:
        if e.key.value not in keys:
            problems.error(
                "choice",
                e.key.span,
                f"a mixture has `if`, `then` and `else`, not `{e.key.value[:40]}`",
                help=did_you_mean(e.key.value, keys),
            )
    sides = [node.get(k) for k in keys]
    if not all(isinstance(s, Text) for s in sides):
        missing = next((k for k, s in zip(keys, sides, strict=False) if not isinstance(s, Text)), "if")
        problems.error(
            "choice",
            node.span,
            f"a mixture needs `{missing}:` with an expression",
            help="write `if:`, `then:` and `else:`, one a line",
        )
        return None
    if role == "let":
        problems.error(
            "distribution-in-let",
            node.span,
            "`if`, `then`, `else` is a mixture of distributions, and here a value is meant",
        )
        return None
    parsed = [parse_value(s, problems) for s in sides if isinstance(s, Text)]
    condition, then, otherwise = parsed
    if condition is None or then is None or otherwise is None:
        return None
    return S.ChoiceNode(condition, then, otherwise, span=node.span)


def _told(name: str, role: str, rows: list, plates: dict[str, Plate], problems: Problems) -> StoryEntry | None:
    """One variable out of its clauses, or None where they cannot be put together (then noted)."""
    fine = [_place_is_readable(place, plates, problems) for _, place, _ in rows]
    if not all(fine):
        return None
    general = [(t, p, c) for t, p, c in rows if c.initial is None]
    if len(general) != 1:
        _, place, _ = rows[-1] if not general else general[1]
        if general:
            notes = ((general[0][1].name.span, "the first one is here"),)
            problems.error(
                "bad-clause", place.name.span, f"`{name}` has two general clauses", notes=notes, help="keep one"
            )
        else:
            ordered = [p for p in plates.values() if p.ordered]
            index = ordered[0].name if ordered else "t"
            problems.error(
                "bad-clause",
                place.name.span,
                f"`{name}` has a clause for a first site, but none for the others",
                help=f"add `{name}[{index}]: ...`",
            )
        return None
    target, place, clause = general[0]
    own = _plates(target, place, clause, plates, problems)
    if own is None:
        return None
    stated = StoryEntry(name, role, own, [c for _, _, c in rows], target.outside_batch, place.name.span)
    numbers = [c.initial for _, _, c in rows if c.initial is not None]
    if len(set(numbers)) < len(numbers):
        problems.error("bad-clause", place.name.span, f"`{name}` has two clauses for one first site", help="keep one")
    fitting = all([_initial_fits(stated, p, c, plates, problems) for _, p, c in rows if c.initial is not None])
    if stated.outside_batch and any(plates[p].ragged for p in own):
        problems.error(
            "bad-target",
            place.name.span,
            f"`{name}` is one for the whole data set, but `{', '.join(own)}` differs between examples",
        )
    return stated if fitting else None


def _plates(
    target: S.Target, place: S.IndexedName, clause: StoryClause, plates: dict[str, Plate], problems: Problems
) -> tuple[str, ...] | None:
    """The plates that a general clause speaks of, or None where it cannot (then noted)."""
    name = place.name.name
    own = tuple(i.name for i in place.indices if isinstance(i, S.Name))
    own += (clause.over,) if clause.over and clause.over not in own else ()
    if target.over and clause.over and clause.over not in plates:
        problems.error(
            "unknown-name",
            target.over.span,
            f"`{clause.over}` is no plate",
            help=did_you_mean(clause.over, plates, "declare it under `plates:`"),
        )
        return None
    if clause.over and target.over and not _not_a_copy(target.over, plates, problems):
        return None
    if len(set(own)) < len(own):
        problems.error("bad-target", place.name.span, f"`{name}` has one index twice")
        return None
    apart = ((p, plates[p].within) for p in own if plates[p].within not in own)
    lost, around = next(((p, around) for p, around in apart if around and around in plates), (None, None))
    if lost is not None and around is not None:
        problems.error(
            "bad-target",
            place.name.span,
            f"`{lost}` lies within `{around}`: its sites are those of one site of `{around}`",
            help=f"write `{name}[{', '.join(q for p in own for q in ((around, p) if p == lost else (p,)))}]`",
        )
        return None
    return own


def _not_a_copy(index: S.Name, plates: dict[str, Plate], problems: Problems) -> bool:
    like = plates[index.name].like
    if like is not None:
        problems.error(
            "bad-target",
            index.span,
            f"`{index.name}` runs over the sites of `{like}` again: no variable stands on it",
            help=f"write `[{like}]` here, and read it with `[{index.name}]`",
        )
    return like is None


def _place_is_readable(place: S.IndexedName, plates: dict[str, Plate], problems: Problems) -> bool:
    """Whether each index left of a colon is a plate or the number of a first site."""
    fine, numbers = True, 0
    for index in place.indices:
        match index:
            case S.Name(name) if name in plates:
                fine = _not_a_copy(index, plates, problems) and fine
            case S.Name(name):
                problems.error(
                    "unknown-name",
                    index.span,
                    f"`{name}` is no plate",
                    help=did_you_mean(name, plates, "declare it under `plates:`"),
                )
                fine = False
            case S.Literal(_, k) if isinstance(k, int):
                numbers += 1
                if k > 16:
                    problems.error("bad-target", index.span, "at most the sites 0 to 16 have clauses of their own")
                    fine = False
            case _:
                problems.error(
                    "bad-target",
                    index.span,
                    "left of the colon an index is a plate or the number of a first site",
                    help=f"write `{place.name.name}[t]` and reach other sites on the right",
                )
                fine = False
    if numbers > 1:
        problems.error("bad-target", place.name.span, "one index at most is the number of a first site")
        fine = False
    return fine


def _initial_fits(
    stated: StoryEntry, place: S.IndexedName, clause: StoryClause, plates: dict[str, Plate], problems: Problems
) -> bool:
    shown = f"`{stated.name}[{', '.join(stated.plates)}]`" if stated.plates else f"`{stated.name}`"
    same = len(place.indices) == len(stated.plates) and all(
        isinstance(i, S.Literal) or i.name == p
        for i, p in zip(place.indices, stated.plates, strict=False)
        if isinstance(i, S.Literal | S.Name)
    )
    if not same:
        problems.error(
            "bad-clause", place.name.span, f"this clause does not have the indices of the general one, {shown}"
        )
        return False
    plate = next(p for i, p in zip(place.indices, stated.plates, strict=False) if isinstance(i, S.Literal))
    if not plates[plate].ordered:
        problems.error(
            "unordered-plate",
            place.name.span,
            f"`{plate}` is a plate of kind {plates[plate].kind}, which has no first site",
            help=f"declare it as `{plate}: sequence`",
        )
        return False
    if plate != (stated.initial_plate or plate):
        problems.error(
            "bad-clause", place.name.span, f"first sites of `{stated.name}` are counted along `{stated.initial_plate}`"
        )
        return False
    return True
