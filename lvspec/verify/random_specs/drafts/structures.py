"""Labels of a whole sequence drawn as one, and what is read through them."""

from __future__ import annotations

from lvspec.verify.random_specs.drafts.draft import Draft, Parent
from lvspec.verify.random_specs.drafts.layout import give
from lvspec.verify.random_specs.drafts.scores import score

TREES = {"DependencyCRF": "arcs", "NonProjectiveCRF": "arcs", "TreeCRF": "spans"}


def labels(d: Draft, role: str = "latent") -> None:
    """z over t, of any structure whose values are labels: a latent, or observed."""
    t = d.line
    family = d.pick(role + " {}", ("LinearChain",) * 4 + ("SemiMarkov",) * 2 + tuple(TREES))
    if family in TREES:
        return tree(d, role, family)
    size = d.size("K", 2, 2 if family == "SemiMarkov" else 3)
    if role == "latent" and not d.room(d.number(size) * (2 if family == "SemiMarkov" else 1), (t,)):
        return None  # borders are hidden too
    here = Parent(d.fresh("z" if role == "latent" else "y"), (t,), "category", size, family=family)
    plates = (t,) if family == "LinearChain" else ()
    # all labels are one variable: what it reads may not read the words, which read the labels
    over = [p for p in d.readable(plates) if not d.follows_words(p)]
    if role == "observed":
        over = [p for p in over if not p.finite or not p.plates]
    getattr(d, role)[f"{here.name} over {t}"] = d.where(text(d, family, over, size, plates))
    return d.remember(here) if role == "latent" else None


def text(d: Draft, family: str, over: list[Parent], size: str, plates: tuple[str, ...]) -> str:
    """The scores of labels along a sequence."""
    unary = score(d, over, size, plates)
    if family == "LinearChain":
        return f"LinearChain(unary={unary}, pairwise={d.param(size, size)})"
    return f"SemiMarkov(start={unary}, transition={d.param(size, size)}, length={d.param(size, d.size('L', 2, 3))})"


def tree(d: Draft, role: str, family: str) -> None:
    """Labels that say which tree it is: each site names another one."""
    t = d.line
    if role == "latent" and not d.room(3, (t,)):
        return
    d.plates[d.own("j")] = f"copy({t})"
    size = d.size("A", 2, 3)
    h = next((p for p in d.parents if p.plates == (t,) and p.kind == "vector" and p.name in str(list(d.given))), None)
    if h is None or d.chance(0.5):
        h = Parent(d.own("h"), (t,), "vector", size)
        d.given[h.ref] = f"real[{size}]"
    name = d.fresh("z" if role == "latent" else "y")
    getattr(d, role)[f"{name} over {t}"] = scored_trees(d, family, h)
    if role == "latent":
        d.remember(Parent(name, (t,), "vector", h.size, f"{h.name}[{name}[{t}]]", family))


def scored_trees(d: Draft, family: str, h: Parent) -> str:
    """A distribution over trees, by a score of each pair of words."""
    (t,), size = h.plates, d.size("A", 2, 3)
    j = next(p for p, declared in d.plates.items() if declared == f"copy({t})")
    arcs = f"dot(matmul({d.param(size, h.size)}, {h.ref}), matmul({d.param(size, h.size)}, {h.name}[{j}]))"
    if d.chance(0.3):
        arcs += f" + equal({j}, {t}) * {d.param()}"
    return f"{family}({TREES[family]}={arcs} over {j})"


__all__ = ["give", "labels", "scored_trees", "text", "tree"]
