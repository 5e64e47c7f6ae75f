"""Latents of a random spec that follow each other along an ordered plate, alone or on other plates as well."""

from __future__ import annotations

from math import prod

from lvspec.verify.random_specs.drafts.draft import Draft, Parent, named
from lvspec.verify.random_specs.drafts.families import WRAPPED
from lvspec.verify.random_specs.drafts.scores import linear, score

MIXTURE = "first clause that reads a latent"
WHOLE = "first clause that reads all sites"
REGIME = "chains that share a regime"
SHARED_STATES = 512  # joint assignments of such chains, where nothing else is summed


def chain(d: Draft) -> None:
    """A latent on plates of which one is ordered, and its first sites."""
    along = d.choose(*(p for p in d.here if d.kinds[p] == "sequence"))
    plates = _plates(d, along)
    if along not in d.nested and len(plates) > 1 and d.wants(REGIME, 0.2) and regime(d, plates, along):
        return
    kinds = ["first", "first", "second", "neural", "driven", "mixture", "vector", "vector"]
    static = [p for p in d.latents if p.kind == "category" and not p.plates]
    kinds += ["switching"] * 2 if static else []
    kinds += ["coupled"] if plates == (along,) else []
    kinds += ["mixture"] if d.wants(MIXTURE) else []
    kinds += ["banded"] if d.wants("probability 0", 0.06) else []
    kind = (
        kinds[-1]
        if kinds[-1] in ("mixture", "banded")
        else "second"
        if d.wants("z[t-2]") or d.wants("second clause of latent")
        else d.choose(*kinds)
    )
    size = d.size("K", 2, 3)
    if kind == "vector" or not d.room(d.number(size), plates, 2 if kind == "coupled" else 1):
        return real_chain(d, plates, along)
    if kind == "coupled":
        return coupled(d, size, along)
    here = Parent(d.fresh("z"), plates, "category", size, family="Categorical")
    now, before = here.ref, site(here, along, f"{along}-1")
    d.latent[site(here, along, "0")] = start(d, here, along, kind, static)
    if kind == "second":
        two, first, second = (site(here, along, i) for i in (f"{along}-2", "0", "1"))
        d.latent[second] = f"Categorical(logits={d.param(size, size)}[{first}])"
        d.latent[now] = f"Categorical(logits={d.param(size, size, size)}[{before}, {two}])"
    elif kind == "neural":
        state, arrive = d.param(size, d.size("E", 2, 3)), linear(d, "E", size)
        d.latent[now] = f"Categorical(logits={arrive}(tanh({state}[{before}])))"
    elif kind == "switching":
        c = d.choose(*static)
        d.latent[now] = f"Categorical(logits={d.param(c.size, size, size)}[{c.name}, {before}])"
    elif kind == "banded":
        d.latent[now] = f"Categorical({banded(d, size, before)})"
    else:
        over = d.readable(plates)
        drive = f" + {score(d, over, size, plates)}" if over else ""
        d.latent[now] = d.where(f"Categorical(logits={_move(d, size, plates)}[{before}]{drive})")
    d.remember(here)


def site(p: Parent, along: str, index: str) -> str:
    """The variable at another site of one of its plates."""
    return named(p.name, [index if q == along else q for q in p.plates])


def start(d: Draft, here: Parent, along: str, kind: str, static: list[Parent]) -> str:
    """The first site: free, or of a latent that says which chain it is."""
    others = tuple(p for p in here.plates if p != along)
    if kind == "mixture" and (static or not others):
        c = d.choose(*static) if static else _which(d)
        return f"Categorical(logits={d.param(c.size, here.size)}[{c.name}])"
    if kind == "mixture":
        over = d.readable(others, 1)
        return d.where(f"Categorical(logits={score(d, over, here.size, others)})")
    longer = [p for p in d.parents if along in p.plates and d.meets(p, others)]
    if longer and d.wants(WHOLE, 0.4):
        return d.where(f"Categorical(logits={score(d, [d.choose(*longer)], here.size, others)})")
    fixed = [p for p in others if d.kinds[p] == "fixed"]
    table = named(d.param(*(d.plates[p] for p in fixed), here.size), fixed)
    return f"Categorical(logits={table})" if d.chance(0.8) else f"Categorical(probs=softmax({table}))"


def banded(d: Draft, size: str, before: str) -> str:
    """A move to the value before or those behind it: all others have probability 0."""
    j = d.fresh("j")
    d.plates[j], d.kinds[j] = size, "fixed"
    form = d.choose("stay", "log", "large")
    if form == "stay":
        stay = f"sigmoid({d.param(size)}[{before}])"
        return f"probs=({stay} * equal({j}, {before}) + (1 - {stay}) * equal({j}, clip({before} + 1, {size}))) over {j}"
    move = f"{d.param(size, size)}[{before}, {j}]"
    least = f"log(1 - less({j}, {before}))" if form == "log" else f"-1000 * less({j}, {before})"
    return f"logits=({move} + {least}) over {j}"


def _which(d: Draft) -> Parent:
    """A latent that says which chain it is."""
    c = Parent(d.fresh("c"), (), "category", d.size("K", 2, 3), family="Categorical")
    d.room(d.number(c.size), ())
    d.latent = {c.name: f"Categorical(logits={d.param(c.size)})", **d.latent}
    d.remember(c)
    return c


def _move(d: Draft, size: str, plates: tuple[str, ...]) -> str:
    fixed = [p for p in plates if d.kinds[p] == "fixed"] if d.chance(0.5) else []
    return named(d.param(*(d.plates[p] for p in fixed), size, size), fixed)


def _plates(d: Draft, along: str) -> tuple[str, ...]:
    """The ordered plate, with what it lies within, and sometimes another one."""
    plates = (d.nested[along], along) if along in d.nested else (along,)
    others = [p for p in d.near if p not in plates and p not in d.nested]
    if others and (d.wants("chains within a plate") or REGIME in d.wishes or d.chance(0.3)):
        return d.order((*plates, d.choose(*others)))
    return plates


def regime(d: Draft, plates: tuple[str, ...], along: str) -> bool:
    """Switches along an ordered plate, and for each site of another plate a chain that reads them at its own sites; false where brute
    force cannot bear it."""
    joint = 2 ** (d.extent(along) + prod(map(d.extent, plates)))
    if d.states * joint > SHARED_STATES:
        return False
    d.states *= joint
    shared, each = (Parent(d.fresh("z"), at, "switch", "2", family="Bernoulli") for at in ((along,), plates))
    move = ""
    if d.chance(0.5):
        d.latent[site(shared, along, "0")] = f"Bernoulli(logits={d.param()})"
        move = f" * {d.param('2')}[{site(shared, along, f'{along}-1')}]"
    d.latent[shared.ref] = f"Bernoulli(logits={d.param()}{move})"
    d.latent[site(each, along, "0")] = f"Bernoulli(logits={d.param()})"
    before = site(each, along, f"{along}-1")
    d.latent[each.ref] = f"Bernoulli(logits={d.param('2')}[{before}] + {d.param('2')}[{shared.ref}])"
    d.remember(shared, each)
    return True


def coupled(d: Draft, size: str, along: str) -> None:
    """Two chains, of which the second reads the first, at its site or at the one before."""
    a, b = (Parent(d.fresh(stem), (along,), "category", size, family="Categorical") for stem in "ab")
    crossed = a.ref if d.chance(0.5) else site(a, along, f"{along}-1")
    d.latent[f"{a.name}[0]"] = f"Categorical(logits={d.param(size)})"
    d.latent[a.ref] = f"Categorical(logits={d.param(size, size)}[{site(a, along, f'{along}-1')}])"
    d.latent[f"{b.name}[0]"] = f"Categorical(logits={d.param(size)})"
    d.latent[b.ref] = f"Categorical(logits={d.param(size, size, size)}[{crossed}, {site(b, along, f'{along}-1')}])"
    d.remember(a, b)


def real_chain(d: Draft, plates: tuple[str, ...], along: str) -> None:
    """A vector that follows the one before: affine, so that a Kalman filter may take it, or bent."""
    size = d.size("D", 1, 2)
    here = Parent(d.fresh("g"), plates, "vector", size, family="Normal")
    before = site(here, along, f"{along}-1")
    d.latent[site(here, along, "0")] = d.choose(f"Normal(0, 1)[{size}]", f"Normal({d.param(size)}, 1)")
    mean = d.choose(
        f"matmul({d.param(size, size)}, {before})",
        f"tanh({linear(d, size, size)}({before}))",
        f"{linear(d, size, size)}({before})",
        f"0.5 * {before}",
    )
    over = d.readable(plates, 1)
    if over and d.chance(0.4):
        mean = f"{mean} + {score(d, over, size, plates)}"
    scale = d.choose("1", "0.7", d.choose(*WRAPPED["positive"]).format(d.param(size)))
    d.latent[here.ref] = d.where(f"Normal({mean}, {scale})")
    d.remember(here)
