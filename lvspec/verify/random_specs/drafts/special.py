"""Parts of a random spec that come as wholes: a plate as long as a latent says, a risk under the model's own distribution,
networks that share their matrices."""

from __future__ import annotations

from lvspec.verify.random_specs.drafts.draft import Draft, Parent, named
from lvspec.verify.random_specs.drafts.scores import linear, mapping

BY_DRAWS = ("Normal", "Bernoulli", "Categorical")  # families whose draws some estimators are made for


def latent_length(d: Draft) -> None:
    """n, and z[i] for as many sites as it says; what is read of them all together."""
    D, M, H = d.size("D", 1, 2), d.size("M", 2, 3), d.size("H", 3, 4)
    if not d.room(d.number(M), ()):
        return
    n, z = d.fresh("n"), d.fresh("z")
    more = d.chance(0.5)
    i, seen = d.own("i"), d.own("seen")
    d.plates[i], d.kinds[i] = f"{{length: {n}{' + 1, max: M' if more else ', max: M - 1'}}}", "fixed"
    logits = f"log(0.8) * {i} over {i}" if more and d.chance(0.5) else d.param(M)
    d.latent[n] = f"Categorical(logits={logits})"
    d.latent[f"{z}[{i}]"] = f"Normal(0, 1)[{D}]"
    each = f"{z}[{i}]"
    weighted = f"sum(softmax(dot({d.param(D)}, {each}) over {i}) * {each} over {i})"
    text = d.choose(f"sum({each} over {i})", weighted, f"sum({each} over {i})")
    d.parents.append(Parent(z, (), "vector", D, text, "length"))
    d.latents.append(d.parents[-1])
    count, encode, begin = linear(d, H, M), linear(d, f"{H} + {D}", f"2*{D}"), d.param(D)
    d.guide[seen] = d.param(H)
    if d.chance(0.7):
        d.guide[n] = f"Categorical(logits={count}({seen}))"
    else:
        del d.networks[count]
    onwards = n in d.guide and d.chance(0.5)
    d.guide.update({f"{z}[0]": f"Normal({begin}, 1)"} if onwards else {})
    past = f"{z}[{i}-1]" if onwards else begin
    d.guide[each] = f"Normal(loc, softplus(scale)) where loc, scale = split({encode}(concat({seen}, {past})))"


def risk(d: Draft) -> None:
    """A latent of which nothing observed depends, and a term that reads it: averaged under the model's own distribution."""
    K, U = d.size("K", 2, 3), d.size("U", 2, 3)
    t = d.line if d.alone and "nothing given either" not in d.wishes and d.chance(0.6) else ""
    u, y = d.fresh("u"), d.fresh("y")
    at = f"[{t}]" if t else ""
    if not d.room(d.number(K), (t,) if t else ()):
        return
    if not t and d.wants("nothing given either"):
        d.latent[y] = f"Categorical(logits={d.param(K)})"
    else:
        d.given[u + at] = f"real[{U}]"
        d.latent[y + at] = f"Categorical(logits={mapping(d, U, K).format(u + at)})"
    worth = f"{d.param(K)}[{y}{at}]"
    d.objective[d.own("reward") + at] = worth
    d.latents.append(Parent(y, (t,) if t else (), "category", K, family="own"))


def crossing(d: Draft) -> None:
    """A switch at each site of two plates that cross, each with a q of its own, read together: averages under q split, the sum of
    both does not."""
    plates = [p for p in d.here if p not in d.nested and p not in d.nested.values()][:2]
    if len(plates) < 2 or not d.room(2 ** sum(map(d.extent, plates)), ()):
        return
    for plate in plates:
        z = Parent(d.fresh("z"), (plate,), "switch", "2", family="averaged")
        d.latent[z.ref] = f"Bernoulli(logits={d.param()})"
        d.guide[z.ref] = f"Bernoulli(logits={d.param()})"
        d.remember(z)


def tied_words(d: Draft, h: Parent, words: str) -> str:
    """The symbols' own vectors as the matrix under the softmax."""
    return f"{d.network(f'Linear(E, V, tied={words})')}(tanh({linear(d, h.size, 'E')}({h.ref})))"


def tied_encoder(d: Draft) -> None:
    """A vector of each example, with an encoder whose matrices the decoder has, the other way round."""
    D, P, H = d.size("D", 1, 2), d.size("P", 2, 3), d.size("H", 3, 4)
    g, v = d.fresh("g"), named(d.fresh("v"), ())
    encoder = d.network(f"MLP(P, {H}, D, activation=tanh)")
    decoder = d.network(f"MLP(D, {H}, P, activation=tanh, tied={encoder})")
    d.latent[g] = f"Normal(0, 1)[{D}]"
    d.observed[v] = f"Normal({decoder}({g}), softplus({d.param(P)}))"
    d.guide[g] = f"Normal({encoder}({v}), softplus({d.param(D)}))"
    d.latents.append(Parent(g, (), "vector", D, family="told"))


def by_draws(d: Draft, family: str) -> None:
    """A latent of each example with a q of its own, and a vector that reads it as an estimator of its gradient asks for."""
    P, size = d.size("P", 2, 3), {"Normal": d.size("D", 1, 2), "Bernoulli": ""}.get(family) or d.size("K", 2, 3)
    if family != "Normal" and not d.room(2 if family == "Bernoulli" else d.number(size), ()):
        return
    z, v = d.fresh("g" if family == "Normal" else "z"), d.fresh("v")
    if family == "Normal":
        C = d.size("C", 2, 2)
        d.latent[z], seen = f"Normal(0, 1)[{size}]", f"{linear(d, size, P)}({z})"
        loc, scale = d.param(C, size), d.param(C, size)
        q = f"NormalMixture(logits={d.param(C)}, loc={loc} + {linear(d, P, size)}({v}), scale=softplus({scale}))"
    elif family == "Bernoulli":
        d.latent[z], seen = f"Bernoulli(logits={d.param()})", f"{d.param(P)} * {z}"
        q = f"Bernoulli(logits=dot({d.param(P)}, {v}))"
    else:
        d.latent[z], seen = f"Categorical(logits={d.param(size)})", f"{linear(d, size, P)}(onehot({z}))"
        q = f"Categorical(logits={linear(d, P, size)}({v}))"
    d.observed[v] = f"Normal({seen}, softplus({d.param(P)}))"
    d.guide[z] = q
    kind = {"Normal": "vector", "Bernoulli": "switch", "Categorical": "category"}[family]
    d.latents.append(Parent(z, (), kind, size or "2", family="told"))
