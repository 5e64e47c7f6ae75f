"""`guide:` → q-factors q(z | x, ...) and the let variables that they share, checked against the model's latents."""

from __future__ import annotations

from dataclasses import replace
from math import isinf

from lvspec.front import supports
from lvspec.front import syntax as S
from lvspec.front.context import Declarations, unknown
from lvspec.front.dependence import Edge, check_first_sites, check_outside, check_recursion, components, edges
from lvspec.front.names import did_you_mean
from lvspec.front.problems import Problems
from lvspec.front.story import StoryEntry
from lvspec.ir.distributions import FAMILIES, family_of
from lvspec.ir.expr import Dist, Number, SizeRef
from lvspec.ir.spec import Variable

_NARROWER = ("Delta", "Pointer")  # families whose support may be a part of the latent's


def split_guide(
    guide: dict[str, StoryEntry], stated: dict[str, StoryEntry], problems: Problems
) -> tuple[dict[str, StoryEntry], dict[str, StoryEntry]]:
    """The q-factors, and the let variables of the guide."""
    parts = {p.name for p in named_parts(stated)}
    latents = {n for n, t in stated.items() if t.role == "latent"} | parts
    factors, lets = {}, {}
    for name, one in guide.items():
        if name in latents:
            outside = name in stated and stated[name].outside_batch
            factors[name] = replace(one, role="guide", outside_batch=outside)
        elif name in problems.wrong:
            continue
        elif name in stated:
            problems.error(
                "guide-not-latent",
                one.span,
                f"`{name}` is {_role(stated[name].role)}, and a guide is for latent variables",
                help="give what the guide computes a name of its own",
            )
        elif any(_random(c.value) for c in one.clauses):
            problems.error(
                "guide-not-latent",
                one.span,
                f"there is no latent `{name}` to guide",
                help=did_you_mean(name, latents, "name one of the latents"),
            )
        else:
            lets[name] = replace(one, role="let")
    return factors, lets


def named_parts(stated: dict[str, StoryEntry]) -> tuple[S.Name, ...]:
    """The latent parts of structured distributions: `tree` in `x over t: PCFG(...) with tree`."""
    return tuple(
        p for t in stated.values() for c in t.clauses if isinstance(c.value, S.RightSide) for p in c.value.parts
    )


def _role(role: str) -> str:
    return {"let": "computed", "observed": "observed", "given": "given"}[role]


def _random(value: S.RightSide | S.ChoiceNode | None) -> bool:
    node = value.body if isinstance(value, S.RightSide) else None
    node = node.body if isinstance(node, S.Along) else node
    node = node.base if isinstance(node, S.Access) else node
    return isinstance(node, S.Application) and isinstance(node.base, S.Name) and node.base.name in FAMILIES


def check_guide(
    written: dict[str, Variable],
    stated: dict[str, StoryEntry],
    variables: dict[str, Variable],
    declared: Declarations,
    problems: Problems,
) -> tuple[Variable, ...]:
    """The guide in an order in which it can be drawn; notes where it cannot."""
    for name, factor in written.items():
        if name in variables and name in stated:
            _matches(factor, variables[name], problems)
            _first_sites(factor, stated[name], problems)
    computed = {n: v for n, v in variables.items() if v.role == "let"}
    found = edges((*written.values(), *computed.values()))
    nodes = {**written, **computed}
    for part in components(nodes, found):
        inside = [e for e in found if e.reader in part and e.source in part]
        if inside:
            _drawable(inside, problems)
        if not any(nodes[n].role == "guide" for n in part):
            check_recursion([n for n in part if n in written], found, problems)
    check_outside(written, {**variables, **written}, problems)
    close = [e for e in found if e.how in ("same", "any", "whole")]
    return tuple(written[n] for part in components(nodes, close) for n in part if n in written)


def _first_sites(factor: Variable, stated: StoryEntry, problems: Problems) -> None:
    check_first_sites(factor, stated, problems)


def _matches(factor: Variable, latent: Variable, problems: Problems) -> None:
    if factor.plates != latent.plates:
        shown = f"`{latent.name}[{', '.join(latent.plates)}]`" if latent.plates else f"`{latent.name}`"
        problems.error(
            "guide-mismatch",
            factor.span,
            f"the latent is {shown}, and its guide has other indices",
            help=f"write {shown}",
        )
    for clause in factor.clauses:
        body = clause.body
        if not isinstance(body, Dist) or unknown(body.type) or unknown(latent.type):
            continue
        a, b = body.type, latent.type
        narrow = body.family in _NARROWER
        if not narrow and (bounds := _moving_bounds(latent)) and not all(family_of(body.family).between):
            problems.error(
                "guide-mismatch",
                body.span,
                f"`{latent.name}` lies between {bounds}, which are no numbers, and its guide draws {supports.show(a)}",
                help=f"draw it from {latent.general.dist.family}, or draw a `Uniform(0, 1)` and compute `{latent.name}` of it",
            )
            continue
        if a.shape != b.shape or not (narrow or supports.covers(b.support, a.support)):
            problems.error(
                "guide-mismatch",
                body.span,
                f"the latent `{latent.name}` is {_values(b, a)}, and its guide draws {_values(a, b)}",
                help=_mend(body, a, b),
            )


def _values(kind, other) -> str:
    """Which values, where shapes agree and both lie between numbers by these."""
    known = [k.support.known for k in (kind, other)]
    if kind.shape != other.shape or any(r is None or isinf(r.low) or isinf(r.high) for r in known):
        return supports.show(kind)
    return f"between {known[0].low:g} and {known[0].high:g}"


def _moving_bounds(latent: Variable) -> str:
    """The arguments that bound a latent's values, where these are no numbers."""
    body = latent.general.body
    if not isinstance(body, Dist) or latent.type.support.discrete or body.base is not None:
        return ""
    found = [body.argument(name) for name in FAMILIES[body.family].between if name]
    return " and ".join(f"`{n}`" for n in FAMILIES[body.family].between) if not all(map(_number, found)) else ""


def _number(value) -> bool:
    return isinstance(value, (Number, SizeRef))


def _mend(body: Dist, found, wanted) -> str:
    if found.shape == wanted.shape and wanted.support.kind == "count" and wanted.support.size is not None:
        return f"draw it from Binomial, of {wanted.support.size + -1} tries as the latent is"
    if found.shape == wanted.shape and (known := wanted.support.known) is not None:
        return f"draw it between {known.low:g} and {known.high:g}, e.g. from Uniform"
    if found.support.kind != wanted.support.kind:
        drawn = [f for f in FAMILIES.values() if f.engine and not (f.improper or f.pair or f.observed)]
        families = [f.name for f in drawn if f.variate.kind == wanted.support.kind]
        return f"draw it from {' or '.join(families)}" if families else ""
    return (
        "give the guide's arguments the latent's shape"
        if found.shape != wanted.shape
        else "give the guide the latent's number of categories"
    )


def _drawable(inside: list[Edge], problems: Problems) -> None:
    """Within a component of the guide every reading must be of sites drawn before, in one direction."""
    ways = {e.how for e in inside}
    stuck = (
        next((e for e in inside if e.how in ("same", "any", "whole")), None)
        if _closed([e for e in inside if e.how in ("same", "any", "whole")]) or ways & {"any", "whole"}
        else None
    )
    if stuck is not None:
        what = f"`{stuck.source}`" if stuck.source != stuck.reader else "itself"
        problems.error(
            "guide-unavailable",
            stuck.span,
            f"the guide of `{stuck.reader}` reads {what}, which is not drawn before it",
            help="let one of them read the data only, or an earlier site such as `[t-1]`",
        )
    elif {"strict", "later"} <= ways:
        later = next(e for e in inside if e.how == "later")
        problems.error(
            "guide-both-ways",
            later.span,
            "the guide reads earlier sites and later ones: it can be drawn in neither direction",
            help="run it forwards, `[t-1]`, or backwards, `[t+1]`",
        )


def _closed(among: list[Edge]) -> bool:
    """Whether these readings close a circle."""
    names = tuple(dict.fromkeys(n for e in among for n in (e.reader, e.source)))
    return any(e.reader == e.source for e in among) or any(len(c) > 1 for c in components(names, among))
