"""Guides of a random spec: a factor for some latents, from what of x they can read and from latents before them."""

from __future__ import annotations

from lvspec.verify.draft import Draft, Parent


def guide_for(d: Draft, latent: Parent, before: list[Parent]) -> None:
    """A guide factor, an override, both or neither."""
    chained = latent.kind != "vector" and f"{latent.name}[0" in " ".join(d.latent)
    written = d.chance(0.6 if latent.kind == "vector" else 0.15 if chained else 0.3)
    if latent.kind != "vector" and d.chance(0.15 if chained else 0.3):
        d.infer[latent.name] = "reinforce"
    if not written or (d.line in latent.plates and d.plate in latent.plates):
        return
    if d.outer and d.outer not in latent.plates:
        return
    summary = summarise(d, latent.plates)
    near = [p for p in d.some(before, 1) if set(p.plates) <= set(latent.plates) and p.ref in d.guide]
    if f"{latent.name}[0]" in d.latent and latent.plates == (d.line,) and d.chance(0.5):
        near.append(earlier_site(d, latent))
    factor(d, latent, [summary, *near])


def earlier_site(d: Draft, latent: Parent) -> Parent:
    """z[t-1] for its own guide, with a clause of free parameters for the first site."""
    d.guide[f"{latent.name}[0]"] = first_site(d, latent)
    return Parent(latent.name, latent.plates, latent.kind, latent.size, f"{latent.name}[{d.line}-1]")


def first_site(d: Draft, latent: Parent) -> str:
    if latent.kind == "category":
        return f"Categorical(logits={d.param(latent.size)})"
    return f"Normal({d.param(latent.size)}, softplus({d.param(latent.size)}))"


def factor(d: Draft, latent: Parent, over: list[Parent]) -> None:
    """q(latent | over)."""
    line = latent.plates == (d.line,) and not any(p.name == latent.name for p in over)  # no label reads another one
    if latent.kind == "category" and d.ordered and not d.outer and line and d.chance(0.5):
        pairs = d.param(latent.size, latent.size)
        unary = d.score(over, latent.size, latent.plates)
        d.guide[f"{latent.name} over {d.line}"] = f"LinearChain(unary={unary}, pairwise={pairs})"
        return
    if latent.kind == "category":
        d.guide[latent.ref] = f"Categorical(logits={d.score(over, latent.size, latent.plates)})"
        return
    if latent.kind == "switch":
        d.guide[latent.ref] = f"Bernoulli(logits={d.number_score(over, latent.plates)})"
        return
    family = d.latent[latent.ref].split("(")[0]
    # positive arguments of sums of counts would leave the range of numbers: tanh keeps them near one
    if family in ("Exponential", "Dirichlet"):
        d.guide[latent.ref] = f"{family}(softplus(tanh({d.score(over, latent.size, latent.plates)})))"
        return
    first, second = {
        "Normal": ("loc", "softplus(scale)"),
        "Laplace": ("loc", "softplus(scale)"),
        "LogNormal": ("tanh(loc)", "softplus(tanh(scale))"),
    }.get(family, ("softplus(tanh(loc))", "softplus(tanh(scale))"))
    both = d.score(over, f"2*{latent.size}", latent.plates)
    d.guide[latent.ref] = f"{family}({first}, {second}) where loc, scale = split({both})"


def summarise(d: Draft, plates: tuple[str, ...]) -> Parent:
    """What the guide reads of x: all of it, its site, or its site with what stands before or after it."""
    name, width = d.fresh("s"), d.size("H", 3, 4)
    read = d.network(f"Embedding(V, {width})" if d.symbols else f"Linear({d.width}, {width})", "read")
    if not d.line:
        d.guide[name] = f"tanh({read}(x))"
        return Parent(name, (), "vector", width)
    if d.outer:
        inner = f"tanh({read}({d.x}))" if d.line in plates else f"sum({read}({d.x}) over {d.line})"
        d.guide[f"{name}[{', '.join(plates)}]"] = inner
        return Parent(name, plates, "vector", width)
    return site_summary(d, name, read, width) if d.line in plates else whole_summary(d, name, read, width)


def site_summary(d: Draft, name: str, read: str, width: str) -> Parent:
    """One vector for each site."""
    t = d.line
    form = d.choose("here", "whole", "both", "through", "from") if d.ordered else "here"
    here = Parent(name, (t,), "vector", f"2*{width}" if form == "both" else width)
    if form == "here":
        d.guide[here.ref] = f"tanh({read}(x[{t}]))"
        return here
    kind = d.choose("LSTM", "GRU")
    rnn = d.network(f"{'Bi' if form == 'both' else ''}{kind}({width}, {width})", "rnn")
    stretch = {"through": f"x[<={t}]", "from": f"x[>={t}]"}.get(form, "x")
    d.guide[here.ref] = f"{rnn}({read}({stretch}))" + ("" if form in ("through", "from") else f"[{t}]")
    return here


def whole_summary(d: Draft, name: str, read: str, width: str) -> Parent:
    """One vector for all of x."""
    if d.ordered and d.chance(0.5):
        kind = d.choose("LSTM", "GRU", "BiLSTM")
        rnn = d.network(f"{kind}({width}, {width})", "rnn")
        d.guide[name] = f"{d.choose('last', 'last', 'first')}({rnn}({read}(x)))"
        return Parent(name, (), "vector", f"2*{width}" if kind == "BiLSTM" else width)
    d.guide[name] = f"{d.choose('sum', 'mean', 'max')}({read}(x))"
    return Parent(name, (), "vector", width)
