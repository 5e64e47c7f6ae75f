"""Latents that are integrated in closed form: a conjugate prior, and an observation in which it stands as the table of pairs says."""

from __future__ import annotations

from lvspec.ir.conjugate import PAIRS
from lvspec.verify.random_specs.drafts.draft import Draft, Parent, named
from lvspec.verify.random_specs.drafts.families import distribution

OWN = tuple(p for p in PAIRS if p.link in ("itself", "scaled") or (p.prior, p.likelihood) == ("Normal", "Normal"))


def conjugate(d: Draft, with_topics: bool = False) -> None:
    """A prior alone, on a plate or outside the batch, and what is observed of it; or a mixture of proportions between them."""
    pair = d.choose(*OWN)
    if with_topics:
        return proportions(d)
    vector = pair.prior == "Dirichlet" or (pair.prior == "Normal" and d.chance(0.7))
    size = d.size("A", 2, 3) if vector else ""
    plates = d.choose((), (), (d.here[0],) if d.here else ())
    outside = not plates and d.chance(0.2)
    name = d.fresh("g")
    prior = Parent(name, plates, "vector" if vector else "number", size, family="Integrated")
    d.latent[f"global {name}" if outside else prior.ref] = d.where(
        distribution(d, "latent", pair.prior, [], plates, size)
    )
    d.latents.append(prior)
    seen = named(d.fresh("v"), d.here)
    d.observed[seen] = likelihood(d, pair.likelihood, pair.argument, prior)
    return None


def likelihood(d: Draft, family: str, argument: str, prior: Parent) -> str:
    """The observation's distribution, with the latent in its place."""
    if family == "Normal":
        if not prior.size:
            mean = d.choose("{}", "2 * {}", "{} + 0.5").format(prior.ref)
            return f"Normal({mean}, {d.choose('1', '0.7')})"
        out = d.size("P", 2, 3)
        mean = f"matmul({d.param(out, prior.size)}, {prior.ref})" if d.chance(0.7) else f"0.5 * {prior.ref}"
        return f"Normal({mean}, {d.choose('1', '0.7')})"
    if argument == "probs":
        count = "4, " if family == "Binomial" else ""
        return f"{family}({count}probs={prior.ref})"
    rate = d.choose("{}", "{}", "0.5 * {}").format(prior.ref)
    return f"Gamma({d.choose('2', '1.5')}, {rate})" if family == "Gamma" else f"{family}({rate})"


def proportions(d: Draft) -> None:
    """theta ~ Dirichlet, a category of each site by theta, a symbol by the category: latent Dirichlet allocation."""
    K, V = d.size("K", 2, 3), d.size("V", 3, 4)
    if not d.room(d.number(K), d.here):
        return
    theta, z = d.fresh("g"), d.fresh("z")
    d.latent[theta] = d.where(distribution(d, "latent", "Dirichlet", [], (), K))
    d.latent[named(z, d.here)] = f"Categorical(probs={theta})"
    d.latents.append(Parent(z, d.here, "category", K, family="Integrated"))
    d.observed[named(d.fresh("v"), d.here)] = f"Categorical(logits={d.param(K, V)}[{named(z, d.here)}])"


def factorial(d: Draft) -> None:
    """Chains side by side on a fixed plate, whose sum is observed."""
    t, l, K, P = d.line, d.own("l"), d.size("J", 2, 2), d.size("P", 2, 3)
    if l in d.plates or not d.room(d.number(K), (t,), 2):
        return
    d.plates[l], d.kinds[l] = "2", "fixed"
    z = d.fresh("z")
    d.latent[f"{z}[0, {l}]"] = f"Categorical(logits={d.param('2', K)}[{l}])"
    d.latent[f"{z}[{t}, {l}]"] = f"Categorical(logits={d.param('2', K, K)}[{l}, {z}[{t}-1, {l}]])"
    d.latents.append(Parent(z, (t, l), "category", K, family="Integrated"))
    mean = f"sum({d.param('2', K, P)}[{l}, {z}[{t}, {l}]] over {l})"
    sole = d.wants("!sole")  # nothing else is observed
    if sole:
        d.symbols, d.width = False, P
    seen = d.x if sole else d.fresh("v")
    d.observed[named(seen, (t,))] = f"Normal({mean}, softplus({d.param(P)}))"


def kalman(d: Draft) -> None:
    """A linear-Gaussian chain, observed through a matrix."""
    t, D, P = d.line, d.size("D", 1, 2), d.size("P", 2, 3)
    g = d.fresh("g")
    d.latent[f"{g}[0]"] = f"Normal({d.param(D)}, 1)"
    d.latent[f"{g}[{t}]"] = f"Normal(matmul({d.param(D, D)}, {g}[{t}-1]), {d.choose('1', '0.5')})"
    d.latents.append(Parent(g, (t,), "vector", D, family="Integrated"))
    d.observed[named(d.fresh("v"), (t,))] = f"Normal(matmul({d.param(P, D)}, {g}[{t}]), softplus({d.param(P)}))"


def joint(d: Draft) -> None:
    """A mean and effects around it, on a plate of the observation or beside each other: jointly Gaussian with what is seen."""
    mean, effect = d.fresh("g"), d.fresh("g")
    plates = (
        d.choose(*((d.nested[p], p) if p in d.nested else (p,) for p in d.here)) if d.here and d.chance(0.8) else ()
    )
    around = d.choose(mean, f"0.5 * {mean} + {d.param()}", "0")
    both = around == "0" or d.chance(0.3)
    d.latent[mean] = f"Normal({d.choose('0', d.param())}, 2)"
    d.latent[named(effect, plates)] = f"Normal({around}, {d.choose('1', '0.5')})"
    for name, where in ((mean, ()), (effect, plates)):
        d.latents.append(Parent(name, where, "number", "", family="Integrated"))
    seen = f"{named(effect, plates)} + {mean}" if both else f"2 * {named(effect, plates)}"
    d.observed[named(d.fresh("v"), d.here)] = f"Normal({seen}, {d.choose('1', '0.7')})"
