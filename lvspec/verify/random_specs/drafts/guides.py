"""Guides of a random spec: a factor for some latents, of any family over the latent's values, from what of x it can read."""

from __future__ import annotations

import re
from dataclasses import replace

from lvspec.verify.random_specs.coverage import LATECOMERS, latecomers
from lvspec.verify.random_specs.drafts.draft import Draft, Parent, named
from lvspec.verify.random_specs.drafts.families import distribution
from lvspec.verify.random_specs.drafts.latents import body
from lvspec.verify.random_specs.drafts.scores import linear, recurrent, score
from lvspec.verify.random_specs.drafts.structures import TREES, scored_trees, text

# families of a guide, by that of the latent
REAL = (
    "Normal", "Normal", "Normal", "Laplace", "StudentT", "Flow", "MultivariateNormal", "NormalMixture", *latecomers("real"),
)  # fmt: skip
BOUNDED = ("Uniform", *latecomers("real", bounded=True))
POSITIVE, SPHERE, COUNT = (
    ("LogNormal", "Exponential", "Gamma", *latecomers("positive")),
    ("VonMisesFisher", "SphericalUniform"),
    ("Poisson", "Geometric", *latecomers("count")),
)
OF = {
    **dict.fromkeys(
        ("Normal", "Laplace", "StudentT", "MultivariateNormal", "NormalMixture", "Flow", *latecomers("real")), REAL
    ),
    **dict.fromkeys(BOUNDED, BOUNDED),
    **dict.fromkeys(POSITIVE, POSITIVE),
    "Beta": ("Beta",),
    "Dirichlet": ("Dirichlet",),
    **dict.fromkeys(SPHERE, SPHERE),
    **dict.fromkeys((*COUNT,), COUNT),
    "Binomial": ("Binomial",),
    "OneHotCategorical": ("OneHotCategorical",),
    "Categorical": ("Categorical",),
    "Bernoulli": ("Bernoulli",),
    "ImproperUniform": ("Delta",),
}
LABELS = ("LinearChain", "SemiMarkov")


def guide_for(d: Draft, latent: Parent, before: list[Parent], surely: bool = False) -> None:
    """A guide factor for some latents; of what is to have points, for all that have no sum."""
    points = "!points" in d.wishes
    if points and latent.finite:
        return None
    first = any(key.startswith(f"{latent.name}[") and re.search(r"\[(.*, )?0[\],]", key) for key in d.latent)
    wished = d.wished("guide {}", OF.get(latent.family, ())) or (first and d.wished("{}", ("first clause of guide",)))
    likely = 0.15 if latent.finite and first else 0.3 if latent.finite else 0.6
    likely = {"ImproperUniform": 1.0, **dict.fromkeys(BOUNDED, 0.9), **dict.fromkeys(COUNT, 0.9)}.get(
        latent.family, likely
    )
    if latent.family in TREES:
        wished = d.wished("guide {}", (latent.family,))
        return over_trees(d, latent) if surely or wished or d.chance(0.03) else None
    if latent.family in LABELS or latent.family == "position" or not (wished or surely or points or d.chance(likely)):
        there = d.alone and latent.plates == d.here and latent.kind == "category" and not latent.text
        asked = there and bool(d.wished("guide {}", LABELS))
        return labelled(d, latent) if asked or (latent.family in LABELS and d.chance(0.3)) else None
    if latent.text or latent.family not in OF:
        return None
    summary = [summarise(d, latent.plates)] if d.spoken else []
    near = [p for p in d.some(before, 1) if set(p.plates) <= set(latent.plates) and p.ref in d.guide]
    if first and latent.plates == (d.line,) and latent.kind != "number" and d.wants("first clause of guide", 0.5):
        near.append(earlier(d, latent))
    return factor(d, latent, [*summary, *near])


def earlier(d: Draft, latent: Parent) -> Parent:
    """z[t-1] for its own guide, with a clause of free parameters for the first site."""
    family = "Categorical" if latent.kind == "category" else "Normal"
    read = []
    if d.spoken and d.alone and d.wants("first clause of guide that reads all sites", 0.3):
        summary = summarise(d, ())
        read.append(replace(summary, text=d.guide.pop(summary.name)))
    d.guide[f"{latent.name}[0]"] = d.where(distribution(d, "guide", family, read, (), latent.size))
    return Parent(latent.name, latent.plates, latent.kind, latent.size, f"{latent.name}[{d.line}-1]")


def factor(d: Draft, latent: Parent, over: list[Parent]) -> None:
    """q(latent | over)."""
    chain = any(p.name == latent.name for p in over)  # no label reads another one
    if latent.kind == "category" and latent.plates == (d.line,) and d.alone and not chain and d.chance(0.4):
        return labelled(d, latent, over)
    size = latent.size if latent.kind not in ("switch", "number") else ""
    families = OF[latent.family]
    if chain:
        families = ("Categorical",) if latent.kind == "category" else ("Normal",)
    if not size:
        families = tuple(f for f in families if f not in ("Flow", "MultivariateNormal", "NormalMixture"))
    if (
        latent.family != "ImproperUniform"
        and not latent.finite
        and ("!points" in d.wishes or d.wants("guide Delta", 0.03))
    ):
        families = ("Delta",)
    family = d.pick("guide {}", families, [f not in LATECOMERS for f in families])
    if family == "Delta":
        return point(d, latent, over)
    if family == "Normal" and size and (d.wants("split", 0.25) or d.wants("where of parts", 0.25)):
        both = score(d, over, f"2*{size}", latent.plates)
        d.guide[latent.ref] = f"Normal(loc, softplus(scale)) where loc, scale = split({both})"
        return None
    d.guide[latent.ref] = d.where(body(d, "guide", family, over, latent.plates, size))
    return None


def point(d: Draft, latent: Parent, over: list[Parent]) -> None:
    """q is a point, within the latent's support."""
    value = score(d, over, latent.size or "1", latent.plates)
    form = {"positive": "softplus({})", "unit": "sigmoid({})", "simplex": "softmax({})"}
    kind = "positive" if latent.family in POSITIVE else {"Beta": "unit", "Dirichlet": "simplex"}.get(latent.family, "")
    text = form.get(kind, "{}").format(value)
    d.guide[latent.ref] = d.where(f"Delta({text})" if latent.size else f"Delta(({text})[0])")


def over_trees(d: Draft, latent: Parent) -> None:
    """q over the trees of a sequence, by its own scores of the same words."""
    (t,) = latent.plates
    d.wants(f"guide {latent.family}")
    words = Parent(latent.text.partition("[")[0], latent.plates, "vector", latent.size)
    d.guide[f"{latent.name} over {t}"] = scored_trees(d, latent.family, words)


def labelled(d: Draft, latent: Parent, over: list[Parent] | None = None) -> None:
    """q over all labels of a sequence at once."""
    family = d.pick("guide {}", LABELS)
    plates = latent.plates if family == "LinearChain" else ()
    over = ([summarise(d, plates)] if d.spoken else []) if over is None or not plates else over
    d.guide[f"{latent.name} over {d.line}"] = d.where(text(d, family, over, latent.size, plates))


# ------------------------------------------------------------ what is read of x
def summarise(d: Draft, plates: tuple[str, ...]) -> Parent:
    """One vector for each site of the plates that x has too: x there, or all of x, or what lies on one side."""
    own = tuple(p for p in d.here if p in plates)
    name, width = d.fresh("s"), d.size("H", 3, 4)
    seen = named(d.x, d.here)
    if d.symbols:
        read = d.network(f"Embedding(V, {width})", "read") + "({})"
    elif d.width:
        read = linear(d, d.width, width) + "({})"
    else:
        read = f"{d.param(width)} * ({{}})"
    if d.alone and d.width:
        return _of_sequence(d, name, read, width, own)
    text = f"tanh({read.format(seen)})"
    for p in reversed(d.here):
        if p not in own:
            text = f"{d.choose('sum', 'mean')}({text} over {p})"
    d.guide[named(name, own)] = text
    return Parent(name, own, "vector", width)


def _of_sequence(d: Draft, name: str, read: str, width: str, own: tuple[str, ...]) -> Parent:
    t = d.line
    if not own:
        if d.chance(0.5):
            rnn, out = recurrent(d, width, width, ("LSTM", "GRU", "BiLSTM"))
            d.guide[name] = f"{d.pick('{}', ('last', 'last', 'first'))}({rnn}({read.format(d.x)}))"
            return Parent(name, (), "vector", out)
        d.guide[name] = f"{d.choose('sum', 'mean', 'max')}({read.format(d.x)})"
        return Parent(name, (), "vector", width)
    form = d.pick("{}", ("here", "x", "reader(x)[t]", "x[<=t]", "x[>=t]", "x[>t]"))
    if form == "here":
        d.guide[named(name, own)] = f"tanh({read.format(f'{d.x}[{t}]')})"
        return Parent(name, own, "vector", width)
    whole = form in ("x", "reader(x)[t]")
    of_all = ("LSTM", "GRU", "BiLSTM", "BiGRU", "BiTransformer")
    so_far = ("LSTM", "GRU", "RNN", "DilatedConvolution", "Transformer")
    rnn, out = recurrent(d, width, width, of_all if whole else so_far)
    stretch = d.x if whole else f"{d.x}[{form[2:-1].replace('t', t)}]"
    d.guide[named(name, own)] = f"{rnn}({read.format(stretch)})" + (f"[{t}]" if whole else "")
    return Parent(name, own, "vector", out)
