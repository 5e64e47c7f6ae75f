"""Which family a q has that nobody wrote: one whose values are those of the latent, and all of them possible.

| latent                | q                                                                    |
|-----------------------|----------------------------------------------------------------------|
| Normal, ...           | that of its support in ir/distributions.py                           |
| Uniform(0, 1)         | Beta; between other values no family of the table lies               |
| Binomial(n, ...)      | Binomial(n, ...), where n is a number (too many values for a sum)    |

No q is derived where another variable's values are bounded by the latent's: of `y: Binomial(n, ...)` no y > n is possible, so that
a q(n) with values below y has an ELBO of -inf.
"""

from __future__ import annotations

from collections.abc import Iterator

from lvspec.ir.affine import reads_variable
from lvspec.ir.distributions import FAMILIES, GUIDE_FAMILY
from lvspec.ir.expr import Dist, Expr, Number, SizeRef
from lvspec.ir.spec import Clause, Spec, Variable

# parameters of a factor and how each comes from a real number
HEADS: dict[str, tuple[tuple[str, str | None], ...]] = {
    "Categorical": (("logits", None),),
    "Bernoulli": (("logits", None),),
    "Binomial": (("logits", None),),
    "Normal": (("loc", None), ("scale", "softplus")),
    "LogNormal": (("loc", None), ("scale", "softplus")),
    "Poisson": (("rate", "softplus"),),
    "Beta": (("concentration1", "softplus"), ("concentration0", "softplus")),
    "Dirichlet": (("concentration", "softplus"),),
    "VonMisesFisher": (("loc", None),),  # whose length is the concentration
}


def guide_family(latent: Variable) -> str:
    support = latent.type.support
    return "Binomial" if support.kind == "count" and support.finite else GUIDE_FAMILY[support.kind]


def taken_over(latent: Variable) -> tuple[tuple[str, Number | SizeRef], ...]:
    """The arguments of q that are those of p: how many tries a Binomial has."""
    names = [n for n in FAMILIES[guide_family(latent)].between if n]
    given = ((n, latent.general.dist.argument(n)) for n in names)
    return tuple((n, e) for n, e in given if isinstance(e, Number | SizeRef))  # see family_reason


def family_reason(spec: Spec, latent: Variable) -> str | None:
    """Why no family of the table fits a latent, or None."""
    name = latent.name
    for _, body in _distributions(latent):
        bounds = [body.argument(n) for n in FAMILIES[body.family].between if n] if body.family in FAMILIES else []
        if not all(isinstance(e, (Number, SizeRef)) for e in bounds):
            which = " and ".join(f"`{n}`" for n in FAMILIES[body.family].between if n)
            return f"{which} of {body.family} bound {name}, and no derived q knows of them: write its q in `guide:`"
    if len({tuple(e for _, e in _bounds(body)) for _, body in _distributions(latent)}) > 1:
        return f"the clauses of {name} have other bounds, one than the next: write its q in `guide:`"
    family = FAMILIES[guide_family(latent)]
    if not latent.type.support.discrete and not family.variate.range.within(latent.type.support.range):
        values = latent.type.support.range
        return (
            f"{name} lies between {values.low:g} and {values.high:g}, and a derived q would not: draw a `Uniform(0, 1)` and "
            "compute it of that, or write its q in `guide:`"
        )
    return bounded_reason(spec, latent)


def bounded_reason(spec: Spec, latent: Variable) -> str | None:
    """Why some values of a latent leave others impossible, or None."""
    for reader, argument, body in _bounded_by(spec, latent):
        return (
            f"`{argument}` of {body.family} bounds {reader.name} by {latent.name}: where a derived q({latent.name}) has values "
            f"that leave {reader.name} impossible, the ELBO is -inf, never finite: write its q in `guide:`, of values that "
            f"leave it possible{f', or give {latent.name} a distribution with a last value, which is summed' if latent.type.support.discrete else ''}"
        )
    return None


def counted_reason(spec: Spec, latent: Variable, guide: Variable | None) -> str | None:
    """Why a written q of a count, which begins at 0, leaves what is observed impossible, or None."""
    family = getattr(guide.general.body, "family", None) if guide is not None else None
    if family not in FAMILIES or FAMILIES[family].variate.kind != "count":
        return None
    for reader, argument, body in _bounded_by(spec, latent):
        if reader.role == "observed":
            mend = (
                f"leave q({latent.name}) out"
                if latent.type.support.finite
                else "give it a distribution with a last value"
            )
            return (
                f"`{argument}` of {body.family} bounds {reader.name} by {latent.name}, and q({latent.name}) is {family}, which begins at "
                f"0: where {reader.name} is more, the ELBO is -inf, never finite: {mend}, and {latent.name} is summed"
            )
    return None


def _bounded_by(spec: Spec, latent: Variable) -> Iterator[tuple[Variable, str, Dist]]:
    """What lies below or above a latent, and by which of its arguments."""
    for reader, clause, body in spec.bounded:
        for argument, value in _bounds(body):
            if reads_variable(spec, latent.name, clause, value):
                yield reader, argument, body


def _distributions(variable: Variable) -> Iterator[tuple[Clause, Dist]]:
    return ((c, c.body) for c in variable.clauses if isinstance(c.body, Dist))


def _bounds(body: Dist) -> list[tuple[str, Expr]]:
    between = FAMILIES[body.family].between if body.family in FAMILIES else ()
    return [(n, body.argument(n)) for n in between if n]
