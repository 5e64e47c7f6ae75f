"""`x[<t in z]`: the sites before t since the segment of z around t began.

h[t]: writer(concat(words(x[<t in z]), state[z[t]]))     a network that begins anew in each segment, told its state

What such a network reads at all of its sites must be the same throughout the segment: of values at a single site that
is the segment's state, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable

from lvspec.front.dependence import expressions, references
from lvspec.front.names import did_you_mean
from lvspec.front.problems import Problems
from lvspec.ir.expr import Apply, Expr, Here, Stretch, VariableRef, walk
from lvspec.ir.spec import Variable
from lvspec.ir.structured import has_segments


def check_segments(readers: Iterable[Variable], variables: dict[str, Variable], problems: Problems) -> None:
    """Stretches that begin with a segment: of a latent that has segments, read in order, and beside its state alone."""
    for variable in readers:
        for _, ref in references(variable):
            for site in ref.at:
                if isinstance(site, Stretch) and site.inside is not None:
                    _latent_with_segments(ref, site, site.inside, variables, problems)
        for clause in variable.clauses:
            for expr in expressions(clause):
                if isinstance(expr, Apply) and expr.type.reach is None:
                    _constant_inside(expr, problems)


def _latent_with_segments(
    ref: VariableRef, site: Stretch, inside: str, variables: dict[str, Variable], problems: Problems
) -> None:
    found = variables.get(inside)
    untold = found is not None and found.role != "given" and any(c.body is None for c in found.clauses)
    if inside in problems.wrong or untold:
        return  # its own mistake has been told
    known = [n for n, v in variables.items() if has_segments(v) and v.plates[-1] == site.plate]
    if found is None or inside not in known:
        usage = f"draw it as `{inside} over {site.plate}: SemiMarkov(...)`"
        problems.error(
            "not-segments",
            ref.span,
            f"`{inside}` has no segments along `{site.plate}`",
            help=did_you_mean(inside, known, usage) if known else usage,
        )
    elif variables[ref.name].plates != found.plates:
        problems.error(
            "not-segments",
            ref.span,
            f"`{ref.name}[{', '.join(variables[ref.name].plates)}]` is read within segments of "
            f"`{found.name}[{', '.join(found.plates)}]`: both are to have the same plates",
        )
    elif site.reach not in ("before", "through"):
        problems.error(
            "not-segments",
            ref.span,
            "a stretch that begins with its segment ends before the site, or with it",
            help=f"write `[<{site.plate} in {inside}]` or `[<={site.plate} in {inside}]`",
        )


def _constant_inside(network: Apply, problems: Problems) -> None:
    reach = next((a.type.reach for a in network.args if a.type.reach is not None), None)
    if reach is None or reach.inside is None:
        return
    for expr in (e for part in network.children() for e in walk(part)):
        if reach.plate in expr.type.plates and _changes(expr, reach.inside):
            problems.error(
                "mixed-stretch",
                expr.span,
                f"`{network.network}` begins anew in each segment of `{reach.inside}`, and this is a value of the single "
                f"site `{reach.plate}`",
                help=f"beside the stretch it may read the segment's state, `{reach.inside}[{reach.plate}]`, alone",
            )


def _changes(expr: Expr, latent: str) -> bool:
    """Whether a leaf has a value of its own at each site of a segment."""
    if not isinstance(expr, VariableRef):
        return False
    return expr.name != latent or not all(isinstance(s, Here) for s in expr.at)
