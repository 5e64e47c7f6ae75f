"""What is computed along a plate: histories of x, and summaries of given sequences by every way to reach a site."""

from __future__ import annotations

from lvspec.verify.random_specs.drafts.draft import Draft, Parent, named
from lvspec.verify.random_specs.drafts.scores import linear, recurrent
from lvspec.verify.random_specs.drafts.special import tied_words

OF_ALL = ("LSTM", "GRU", "BiLSTM", "BiGRU", "Transformer", "BiTransformer")  # networks that are given whole sequences
REDUCED = ("sum", "mean", "max", "min", "prod", "logsumexp", "last", "first", "length")


def history(d: Draft, writers: list[Parent], inside: str = "") -> None:
    """h[t]: what came before x[t], as one of the writers would put it; since a segment of `inside` began."""
    words = d.network(f"Embedding(V, {d.size('E', 2, 3)})", "emb")
    bank = d.choose(*writers) if writers else None
    writer, width = recurrent(d, "E", d.size("H", 3, 4), bank=bank.size if bank else "")
    if bank:
        writer += f"[{bank.ref}]"
    name = d.fresh("h")
    t = d.line
    if inside and d.wants("x[<=t in z]", 0.3):  # of what is given, which may be read at its own site
        u = d.fresh("u")
        d.given[f"{u}[{t}]"] = "token(V)"
        d.let[named(name, d.here)] = f"{writer}({words}({u}[<={t} in {inside}]))"
    else:
        d.let[named(name, d.here)] = f"{writer}({words}({d.x}[<{t}{f' in {inside}' if inside else ''}]))"
    found = Parent(name, d.here, "vector", width)
    d.parents.append(found)
    if bank or inside:
        d.latents.append(found)
    elif d.wants("Linear(tied)", 0.1):
        d.extra.append(tied_words(d, found, words))


def given_sequence(d: Draft) -> None:
    """Something of a given sequence on t: a summary, a site further on, a stretch, states of a network."""
    t = d.line
    name, _ = d.fresh("u"), d.size("U", 2, 3)
    category = d.chance(0.4)
    d.given[f"{name}[{t}]"] = "token(U)" if category else "real[U]"
    read = d.network("Embedding(U, E)", "emb") if category else linear(d, "U", "E")
    d.size("E", 2, 3)
    form = d.pick(
        "{}", ("x", "x[<t]", "x[<=t]", "x[>t]", "x[>=t]", "z[t-1]", "z[t+1]", "reader(x)[t]", "reduced", "z[0]")
    )
    if form == "z[t-1]" and d.chance(0.5):
        form = "reduced"
    if form in ("x[<t]", "x[<=t]", "x[>t]", "x[>=t]"):
        network, width = recurrent(d, "E", d.size("H", 3, 4))
        return _let(d, (t,), f"{network}({read}({name}[{form[2:-1].replace('t', t)}]))", width)
    if form == "reader(x)[t]":
        network, width = recurrent(d, "E", d.size("H", 3, 4), OF_ALL)
        return _let(d, (t,), f"{network}({read}({name}))[{t}]", width)
    if form == "z[t+1]":
        return _let(d, (t,), f"tanh({read}({name}[{t}+1]))", "E")
    if form == "z[t-1]":
        h = d.fresh("h")
        d.let |= {f"{h}[0]": d.param("E"), f"{h}[{t}]": f"tanh({read}({name}[{t}-1]))"}
        return d.parents.append(Parent(h, (t,), "vector", "E"))
    if form == "z[0]":
        return _let(d, (t,), f"tanh({read}({name}[0]))", "E")
    if form == "x":
        network, width = recurrent(d, "E", d.size("H", 3, 4), OF_ALL)
        return _let(d, (t,), f"{network}({read}({name}))", width)
    how = next((f for f in ("length", "last", "first") if d.wants(f)), None) or d.pick("{} of a stretch", REDUCED)
    if how == "length":
        return _let(d, (), f"0.1 * length({name}) * {d.param('E')}", "E")
    if how in ("last", "first") and d.chance(0.5):
        network, width = recurrent(d, "E", d.size("H", 3, 4))
        return _let(d, (), f"{how}({network}({read}({name})))", width)
    text = f"{how}(tanh({read}({name})))"
    return _let(d, (), f"tanh({text})" if how == "logsumexp" else text, "E")  # very negative over no sites


def _let(d: Draft, plates: tuple[str, ...], text: str, width: str) -> None:
    name = d.fresh("h")
    d.let[named(name, plates)] = text
    found = Parent(name, plates, "vector", width)
    if d.wants("let of a let", 0.2):
        more = d.fresh("h")
        d.let[named(more, plates)] = f"tanh({linear(d, width, 'E')}({found.ref}))"
        found = Parent(more, plates, "vector", "E")
    d.parents.append(found)
