"""Random well-formed specs: `generate(seed)` is the YAML text of a small model that nobody thought of.

Latents come one after the other, each with parents among those before it: categories and switches alone, on fixed
plates, along chains of several kinds, and real vectors. Observations add up contributions of some of them. Guides
and overrides are written for some. Sizes are small enough for brute force as they are.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from lvspec.verify.draft import Draft, Parent
from lvspec.verify.draft_guide import guide_for
from lvspec.verify.draft_observed import observe, observe_again
from lvspec.verify.draft_position import aligned

BOUNDS = (
    "iwae(samples=2)",
    "renyi(samples=2, alpha=0.5)",
    "elbo(samples=2, gradient=sticking_the_landing)",
    "reweighted_wake_sleep(samples=2)",
)


def generate(seed: int) -> str:
    """The text of the spec with this number."""
    return Story(Draft(random.Random(seed), f"random_{seed}")).tell()


@dataclass
class Story:
    """One spec in the making. parents: what later variables may depend on, in order. segments: latents that have some."""

    draft: Draft
    parents: list[Parent] = field(default_factory=list)
    latents: list[Parent] = field(default_factory=list)
    segments: list[Parent] = field(default_factory=list)
    states: int = 1  # joint assignments of the categories so far, at three sites a sequence

    def tell(self) -> str:
        d = self.draft
        d.line_plate(d.choose("sequence", "sequence", "bag"))
        if d.chance(0.35):
            d.fixed_plate()
        self.observe_first()
        if d.chance(0.07):
            self.add_global()
        for _ in range(d.choose(1, 1, 2, 2, 3)):
            self.add_latent()
        position = aligned(d, self.parents, self.room)
        if position:
            self.remember(position)
        self.read_the_past()
        if d.chance(0.07):
            self.global_table()
        observe(d, self.parents, must=self.latents)
        if d.chance(0.3):
            observe_again(d, self.parents)
        latents = [p for p in self.latents if p.ref in d.latent]
        for i, latent in enumerate(latents):
            guide_for(d, latent, latents[:i])
        d.weighted = d.chance(0.2)
        if d.guide and not d.weighted and not any(name.startswith("global") for name in d.latent) and d.chance(0.25):
            d.bound = d.choose(*BOUNDS[: 3 if d.infer else 4])
        if d.chance(0.1):
            self.pair()
        return d.text()

    def observe_first(self) -> None:
        """What kind of thing x is, whether its own past is read, and what is given."""
        d = self.draft
        d.declare_observed()
        if d.ordered and d.symbols and d.chance(0.25):
            self.parents.append(d.history([]))
        if d.chance(0.2):
            self.parents.append(d.give())

    def read_the_past(self) -> None:
        """A history that one of a bank of networks reads, chosen by a latent, or that begins with each segment."""
        d = self.draft
        if d.ordered and d.symbols and not d.let and self.segments and d.chance(0.7):
            z = d.choose(*self.segments)
            self.parents.append(d.history([z] if d.chance(0.5) else [], z.name))
            self.latents.append(self.parents[-1])
        writers = [p for p in self.latents if p.kind == "category" and not p.plates]
        if d.ordered and d.symbols and not d.let and writers and d.chance(0.3):
            self.parents.append(d.history(writers))
            self.latents.append(self.parents[-1])

    # ------------------------------------------------------------ what all examples share
    def add_global(self) -> None:
        """A vector outside the batch, with free parameters as its guide."""
        d = self.draft
        size = d.size("D", 1, 2)
        here = Parent(d.fresh("g"), (), "vector", size)
        d.latent[f"global {here.name}"] = f"Normal(0, 1)[{size}]"
        d.guide[here.name] = f"Normal({d.param(size)}, softplus({d.param(size)}))"
        self.remember(here)

    def global_table(self) -> None:
        """One vector for each value of a category, all of them outside the batch: mu[z]."""
        d = self.draft
        indices = [p for p in self.latents if p.kind == "category" and d.fits(p) and d.plate not in p.plates]
        if not indices:
            return
        index, size = d.choose(*indices), d.size("D", 1, 2)
        name = d.fresh("g")
        d.plates["k"] = index.size
        d.latent[f"global {name}[k]"] = f"Normal(0, 1)[{size}]"
        d.guide[f"{name}[k]"] = f"Normal({d.param(index.size, size)}[k], softplus({d.param(index.size, size)}[k]))"
        d.extra.append(f"{d.linear(size, d.width)}({name}[{index.ref}])")

    # ------------------------------------------------------------ what is drawn together
    def pair(self) -> None:
        """A mean and its covariance, and vectors that are drawn around them: last, so that the rest is as without it."""
        d, size = self.draft, self.draft.size("D", 1, 2)
        plates = d.choose((), (d.outer,) if d.outer else (), (d.plate,) if d.plate else ())
        mu, sigma = (Parent(d.fresh(stem), plates, "vector", size).ref for stem in ("m", "s"))
        arguments = (
            f"{d.param(size)}, softplus({d.param()}), {size} + softplus({d.param()}), scale_tril={d.param(size, size)}"
        )
        d.latent[f"({mu}, {sigma})"] = f"NormalInverseWishart({arguments})"
        seen = Parent(d.fresh("v"), tuple(dict.fromkeys((*d.here, *plates))), "vector", size)
        d.observed[seen.ref] = f"MultivariateNormal({mu}, covariance_matrix={sigma})"

    # ------------------------------------------------------------ latents
    def add_latent(self) -> None:
        d = self.draft
        kinds = ["category", "vector", "vector", "switch"]
        if d.ordered:
            kinds += ["chain"] * 5
        if d.line:
            kinds += ["token"]
        if d.outer:
            kinds += ["group", "group"]
        if d.plate:
            kinds += ["plated"]
        kind = d.choose(*kinds)
        if kind == "vector":
            self.vector()
        elif kind == "chain":
            self.chain()
        else:
            self.category(kind)

    def room(self, values: int, sites: int) -> bool:
        """Whether brute force can bear another latent; counts it if so."""
        if self.states * values**sites > 300:
            return False
        self.states *= values**sites
        return True

    def remember(self, *found: Parent) -> None:
        self.parents.extend(found)
        self.latents.extend(found)

    def category(self, kind: str) -> None:
        d = self.draft
        plates = {"token": d.here, "plated": (d.plate,), "group": (d.outer,)}.get(kind, ())
        switch = kind == "switch" or (kind != "category" and d.chance(0.2))
        size = "2" if switch else d.size("K", 2, 3)
        sites = {"token": 3 + len(d.outer), "plated": 2, "group": 2}.get(kind, 1)
        if not self.room(d.number(size), sites):
            return self.vector()
        here = Parent(d.fresh("z"), plates, "switch" if switch else "category", size)
        over = [p for p in d.some(self.parents, 2) if set(p.plates) <= {*plates, d.plate}]
        if switch:
            d.latent[here.ref] = f"Bernoulli(logits={d.number_score(over, plates)})"
        elif not over and d.chance(0.3):
            d.latent[here.ref] = f"Categorical(probs=softmax({d.score(over, size, plates)}))"
        else:
            d.latent[here.ref] = f"Categorical(logits={d.score(over, size, plates)})"
        return self.remember(here)

    def vector(self) -> None:
        d = self.draft
        plates = d.choose((), (), d.here, (d.outer,) if d.outer else (), (d.plate,) if d.plate else ())
        size = d.size("D", 1, 2)
        here = Parent(d.fresh("g"), plates, "vector", size)
        over = [p for p in d.some(self.parents, 2) if set(p.plates) <= {*plates, d.plate}]
        markov = plates == (d.line,) and d.ordered and d.chance(0.5)
        if markov:
            past = d.linear(size, size)
            d.latent[f"{here.name}[0]"] = f"Normal(0, 1)[{size}]"
            d.latent[here.ref] = f"Normal(tanh({past}({here.name}[{d.line}-1])), {d.scale(size)})"
        elif not over and d.chance(0.5):
            d.latent[here.ref] = f"Normal(0, 1)[{size}]"
        else:
            d.latent[here.ref] = self.vector_prior(over, size, plates)
        self.remember(here)

    def vector_prior(self, over: list[Parent], size: str, plates: tuple[str, ...]) -> str:
        d = self.draft
        family = d.choose(
            "Normal", "Normal", "Normal", "Laplace", "LogNormal", "Exponential", "Gamma", "Beta", "Dirichlet"
        )
        score = d.score(over, size, plates)
        if family in ("Exponential", "Dirichlet"):
            return f"{family}(softplus(tanh({score})))"
        if family in ("Gamma", "Beta"):
            return f"{family}(softplus(tanh({score})), softplus({d.param(size)}))"
        location = f"tanh({score})" if family == "LogNormal" else score
        return f"{family}({location}, {d.scale(size)})"

    # ------------------------------------------------------------ chains
    def chain(self) -> None:
        d = self.draft
        size = d.size("K", 2, 3)
        kinds = ["first", "first", "second", "neural", "driven"]
        static = [p for p in self.latents if p.kind == "category" and not p.plates]
        kinds += ["switching", "switching"] if static else []
        kinds += ["coupled", "factorial", "labels", "segments"]
        kind = d.choose(*kinds)
        if kind in ("labels", "segments"):
            return self.structure(kind, size)
        if not self.room(d.number(size), 6 if kind in ("coupled", "factorial") else 3):
            return self.vector()
        if kind in ("coupled", "factorial"):
            return self.coupled(size) if kind == "coupled" else self.factorial(size)
        here = Parent(d.fresh("z"), (d.line,), "category", size)
        z, t = here.name, d.line
        d.latent[f"{z}[0]"] = f"Categorical(logits={d.param(size)})"
        if kind == "second":
            d.latent[f"{z}[1]"] = f"Categorical(logits={d.param(size, size)}[{z}[0]])"
            d.latent[here.ref] = f"Categorical(logits={d.param(size, size, size)}[{z}[{t}-1], {z}[{t}-2]])"
        elif kind == "neural":
            state, arrive = d.param(size, d.size("E", 2, 3)), d.linear("E", size)
            d.latent[here.ref] = f"Categorical(logits={arrive}(tanh({state}[{z}[{t}-1]])))"
        elif kind == "switching":
            c = d.choose(*static)
            d.latent[here.ref] = f"Categorical(logits={d.param(c.size, size, size)}[{c.name}, {z}[{t}-1]])"
        else:
            over = [p for p in d.some(self.parents, 2) if set(p.plates) <= {t, d.plate}]
            drive = f" + {d.score(over, size, (t,))}" if over else ""
            d.latent[here.ref] = f"Categorical(logits={d.param(size, size)}[{z}[{t}-1]]{drive})"
        return self.remember(here)

    def structure(self, kind: str, size: str) -> None:
        """States of all sites drawn as one."""
        d = self.draft
        if d.outer or not self.room(d.number(size) * (2 if kind == "segments" else 1), 3):  # borders are hidden too
            return self.vector()
        here = Parent(d.fresh("z"), (d.line,), "category", size)
        plates = (d.line,) if kind == "labels" else ()
        over = [p for p in d.some(self.parents, 2) if set(p.plates) <= {*plates, d.plate}]
        # all labels are one variable: what it reads may not read the words, which read the labels
        score = d.score([p for p in over if not d.follows_words(p)], size, plates)
        if kind == "labels":
            body = f"LinearChain(unary={score}, pairwise={d.param(size, size)})"
        else:
            length = d.param(size, d.size("L", 2, 3))
            body = f"SemiMarkov(start={score}, transition={d.param(size, size)}, length={length})"
            self.segments.append(here)
        d.latent[f"{here.name} over {d.line}"] = body
        return self.remember(here)

    def coupled(self, size: str) -> None:
        d, t = self.draft, self.draft.line
        a, b = Parent(d.fresh("a"), (t,), "category", size), Parent(d.fresh("b"), (t,), "category", size)
        crossed = f"{a.name}[{t}]" if d.chance(0.5) else f"{a.name}[{t}-1]"
        d.latent[f"{a.name}[0]"] = f"Categorical(logits={d.param(size)})"
        d.latent[a.ref] = f"Categorical(logits={d.param(size, size)}[{a.name}[{t}-1]])"
        d.latent[f"{b.name}[0]"] = f"Categorical(logits={d.param(size)})"
        d.latent[b.ref] = f"Categorical(logits={d.param(size, size, size)}[{crossed}, {b.name}[{t}-1]])"
        self.remember(a, b)

    def factorial(self, size: str) -> None:
        d, t = self.draft, self.draft.line
        m = d.fixed_plate()
        z = Parent(d.fresh("z"), (t, m), "category", size)
        d.latent[f"{z.name}[0, {m}]"] = f"Categorical(logits={d.param(d.plate_size, size)}[{m}])"
        table = d.param(d.plate_size, size, size)
        d.latent[z.ref] = f"Categorical(logits={table}[{m}, {z.name}[{t}-1, {m}]])"
        self.remember(z)
