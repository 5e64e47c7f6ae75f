"""Observations of a random spec: x, which depends on the latents that nothing else reads, and sometimes y."""

from __future__ import annotations

from lvspec.verify.draft import Draft, Parent

# likelihoods of a vector, with the arguments that scores and free parameters stand for
FAMILIES = {
    "Normal": "{score}, {scale}",
    "Laplace": "{score}, {scale}",
    "StudentT": "3, {score}, {scale}",
    "LogNormal": "{score}, {scale}",
    "Bernoulli": "logits={score}",
    "Geometric": "logits={score}",
    "Binomial": "4, logits={score}",
    # bounded: softplus of a score below -745 is the number 0, where the density of these is 0 or a point mass
    "Poisson": "softplus(tanh({score}))",
    "Exponential": "softplus(tanh({score}))",
    "Gamma": "softplus(tanh({score})), softplus({free})",
    "Beta": "softplus(tanh({score})), softplus({free})",
}


def observe(d: Draft, parents: list[Parent], must: list[Parent]) -> None:
    """x, which depends on the latents; at least on those that nothing else reads."""
    used = [p for p in must if not _is_read(d, p)]
    near = [p for p in parents if p not in used and d.fits(p)]
    over = [p for p in used if d.fits(p)] + d.some(near, 1)
    alone = d.ordered and not d.outer and d.symbols and not d.extra and not any(p.plates for p in over)
    if alone and d.chance(0.25):
        d.observed[f"x over {d.line}"] = tree(d, over)
        return
    d.observed[d.x] = likelihood(d, over or near[:1], d.here, d.symbols, d.width, d.extra)


def tree(d: Draft, over: list[Parent]) -> str:
    """x as the yield of a hidden tree, whose root depends on latents of the example."""
    # one word has no derivation under a grammar: log p(x) = -inf is no reward to average
    if d.chance(0.5) or any(p.kind != "vector" for p in over):
        score = d.score(over, d.width, ())
        return f"DMV(root={score}, stop={d.param(d.width, '2', '2', '2')}, attach={d.param(d.width, '2', d.width)}) with tree"
    N, P = d.size("N", 1, 2), d.size("Q", 1, 2)
    both = f"{N} + {P}"
    rules, terminals = d.param(N, both, both), d.param(P, d.width)
    return f"PCFG(root={d.score(over, N, ())}, rules={rules}, terminals={terminals}) with tree"


def observe_again(d: Draft, parents: list[Parent]) -> None:
    """A second observation: one for each example, or one for each site."""
    plates = d.choose((), d.here, (d.plate,) if d.plate else ())
    over = [p for p in parents if set(p.plates) <= {*plates, d.plate}]
    if not over:
        return
    symbols = d.chance(0.5)
    target = f"y[{', '.join(plates)}]" if plates else "y"
    d.observed[target] = likelihood(d, d.rng.sample(over, 1), plates, symbols, d.size("C", 2, 3))


def likelihood(d: Draft, over: list[Parent], here: tuple[str, ...], symbols: bool, width: str, extra=()) -> str:
    score = " + ".join([d.score(over, width, here), *extra])
    if symbols:
        return f"Categorical(logits={score})"
    family = d.choose("Normal", "Normal", "Bernoulli", "Poisson", *FAMILIES)
    free = d.param(width) if "free" in FAMILIES[family] else ""
    scale = d.scale(width) if "scale" in FAMILIES[family] else ""
    return f"{family}({FAMILIES[family].format(score=score, scale=scale, free=free)})"


def _is_read(d: Draft, p: Parent) -> bool:
    clauses = {k: v for k, v in {**d.latent, **d.let}.items() if not k.startswith(p.name)}
    return any(f"{p.name}[" in v or f"[{p.name}]" in v or f"{p.name})" in v for v in clauses.values())
