"""Alignments of a random spec: a latent whose values are the sites of a ragged plate n, and w at the site that it names."""

from __future__ import annotations

from lvspec.verify.random_specs.drafts.draft import Draft, Parent, named


def aligned(d: Draft) -> Parent | None:
    """w[a[t]], which reads what is given at the position that a names; None where brute force cannot bear it."""
    if "n" in d.plates or any(d.kinds[p] == "fixed" for p in d.here):
        return None
    plates = d.here if d.chance(0.8) or "clip" in d.wishes else ()
    if not d.room(3, plates):
        return None
    kind = (
        "category" if d.wished("{}", ("T[s[a[t]]]", "plate sequence(null)", "clip")) else d.choose("category", "vector")
    )
    size = d.size("S", 2, 3)
    d.plates["n"] = (
        "sequence(null=true)"
        if d.wants("plate sequence(null)", 0.1) and kind == "category"
        else d.choose("sequence", "bag")
    )
    d.given["w[n]"] = "category(S)" if kind == "category" else "real[S]"
    here = Parent(d.fresh("a"), plates, kind, size, family="position")
    a, ref = here.name, named(here.name, plates)
    near = [p for p in d.parents if p.kind == "category" and set(p.plates) <= set(plates)]
    if plates and plates == (d.line,) and d.chance(0.6):
        d.latent[f"{a}[0]"] = f"Categorical(logits={_score(d, kind, [])} over n)"
        d.latent[ref] = f"Categorical({_move(d, f'{a}[{d.line}-1]')} over n)"
    else:
        d.latent[ref] = f"Categorical(logits={_score(d, kind, d.some(near, 1))} over n)"
        if d.chance(0.3):
            d.guide[ref] = f"Categorical(logits={_score(d, kind, [])} over n)"
    return Parent(a, plates, kind, size, f"w[{ref}]", "position")


def _score(d: Draft, kind: str, over: list[Parent]) -> str:
    """A number for each site of n."""
    if over and kind == "category":
        return f"{d.param(over[0].size, 'S')}[{over[0].ref}, w[n]]"
    if over:
        return f"dot({d.param(over[0].size, 'S')}[{over[0].ref}], w[n])"
    if d.wants("0 over m"):
        return "0"
    return d.choose("0", f"{d.param('S')}[w[n]]" if kind == "category" else f"dot({d.param('S')}, w[n])")


def _move(d: Draft, before: str) -> str:
    """A jump from the position before: by its width, forwards alone, or by at most one."""
    form = d.pick("{}", ("clip", "clip", "less", "equal"))
    if form == "clip":
        return f"logits={d.param('3')}[clip(n - {before} + 1, 3)]"
    if form == "less":
        return f"probs=(1 - less(n, {before})) * exp({d.param('2')}[clip(n - {before}, 2)])"
    stay = f"sigmoid({d.param()})"
    return f"probs={stay} * equal(n, {before}) + (1 - {stay}) * equal(n, {before} + 1)"
