"""Alignments of a random spec: a latent whose values are the sites of a ragged plate n, and w at the site that it names."""

from __future__ import annotations

import random
from collections.abc import Callable

from lvspec.verify.draft import Draft, Parent

CHANCE = 0.08  # of a spec with such a latent


def aligned(d: Draft, parents: list[Parent], room: Callable[[int, int], bool]) -> Parent | None:
    """w[a[t]], which reads what is given at the position that a names; None in most specs.

    The chance comes from a stream of its own: specs without such a latent are what they were without this file.
    """
    own = random.Random(f"{d.name} aligned")
    if own.random() > CHANCE or not room(3, 3 + len(d.outer) if d.line else 1):
        return None
    outside, d.rng = d.rng, own
    found = _position(d, parents)
    d.rng = outside
    return found


def _position(d: Draft, parents: list[Parent]) -> Parent:
    kind, size = d.choose("category", "vector"), d.size("S", 2, 3)
    d.plates["n"] = d.choose("sequence", "bag")
    d.given["w[n]"] = "category(S)" if kind == "category" else "real[S]"
    plates = d.here if d.chance(0.8) else ()
    here = Parent(d.fresh("a"), plates, kind, size)
    a, t = here.name, d.line
    near = [p for p in parents if p.kind == "category" and set(p.plates) <= set(plates)]
    if plates == (t,) and d.ordered and d.chance(0.6):
        d.latent[f"{a}[0]"] = f"Categorical(logits={_score(d, kind, [])} over n)"
        d.latent[here.ref] = f"Categorical({_move(d, f'{a}[{t}-1]')} over n)"
    else:
        d.latent[here.ref] = f"Categorical(logits={_score(d, kind, d.some(near, 1))} over n)"
        if d.chance(0.3):
            d.guide[here.ref] = f"Categorical(logits={_score(d, kind, [])} over n)"
            if d.chance(0.5):
                d.infer[a] = "reinforce"
    return Parent(a, plates, kind, size, f"w[{here.ref}]")


def _score(d: Draft, kind: str, over: list[Parent]) -> str:
    """A number for each site of n."""
    if over and kind == "category":
        return f"{d.param(over[0].size, 'S')}[{over[0].ref}, w[n]]"
    if over:
        return f"dot({d.param(over[0].size, 'S')}[{over[0].ref}], w[n])"
    return d.choose("0", f"{d.param('S')}[w[n]]" if kind == "category" else f"dot({d.param('S')}, w[n])")


def _move(d: Draft, before: str) -> str:
    """A jump from the position before: by its width, forwards alone, or by at most one."""
    form = d.choose("jump", "jump", "forward", "step")
    if form == "jump":
        return f"logits={d.param('3')}[clip(n - {before} + 1, 3)]"
    if form == "forward":
        return f"probs=(1 - less(n, {before})) * exp({d.param('2')}[clip(n - {before}, 2)])"
    stay = f"sigmoid({d.param()})"
    return f"probs={stay} * equal(n, {before}) + (1 - {stay}) * equal(n, {before} + 1)"
