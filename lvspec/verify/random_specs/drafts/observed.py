"""Observations of a random spec: x, which depends on the latents that nothing else reads, and further ones."""

from __future__ import annotations

from lvspec.ir.distributions import FAMILIES
from lvspec.verify.random_specs.coverage import LATER, SUM
from lvspec.verify.random_specs.drafts.chains import site
from lvspec.verify.random_specs.drafts.draft import Draft, Parent, named
from lvspec.verify.random_specs.drafts.families import distribution, through
from lvspec.verify.random_specs.drafts.scores import score
from lvspec.verify.random_specs.drafts.structures import labels

SYMBOLS = ("Categorical",)
NUMBERS = {
    "Normal": 4, "Laplace": 1, "StudentT": 1, "LogNormal": 1, "Bernoulli": 3, "Geometric": 1, "Binomial": 1, "Poisson": 2,
    "Exponential": 1, "Gamma": 1, "Beta": 1, "Uniform": 0.5,
    **{n: 0 for n in LATER if FAMILIES[n].event == "scalar"},
}  # fmt: skip
VECTORS = {
    "OneHotCategorical": 1, "Dirichlet": 1, "MultivariateNormal": 1, "NormalMixture": 1, "VonMisesFisher": 1,
    "SphericalUniform": 0.3, "Flow": 1,
}  # fmt: skip
UNREAD = ("told", "own")  # latents that are read where they were drawn, or by a term alone
YIELDS = ("PCFG", "LowRankPCFG", "DMV", "CTC")
ANY = {**NUMBERS, **VECTORS, "Categorical": 4}


def declare(d: Draft) -> None:
    """What kind of thing x is."""
    families = d.wished("observed {}", list(ANY))
    d.symbols = (d.chance(0.5) and families != ["Categorical"]) if not families else families[0] == "Categorical"
    if "!yield" in d.wishes or d.wished("{}", ("!history", "log_prob in a term", SUM)):
        d.symbols = True
    d.width = d.size("V", 3, 4) if d.symbols else d.size("P", 2, 3)


def observe(d: Draft) -> None:
    """x, which depends on the latents; at least on those that nothing else reads."""
    used = [p for p in d.latents if p.family not in UNREAD and not d.mentions(p) and d.meets(p, d.here)]
    near = [p for p in d.parents if p not in used and d.meets(p, d.here)]
    over = used + d.some(near, 1 if used else 2)
    if "!yield" in d.wishes:  # what stands on sites is for another observation to read
        over = [p for p in over if not p.plates]
    yields = d.alone and d.symbols and not any(p.plates for p in over)
    if yields and not d.extra and SUM not in d.wishes and (d.wants("!yield") or d.chance(0.2)):
        d.observed[f"{d.x} over {d.line}"] = tree(d, over)
        return
    d.binds = True
    if d.symbols:
        summed = SUM in d.wishes and not d.extra and d.wants(SUM)
        text = mixture(d, over) if summed else distribution(d, "observed", "Categorical", over, d.here, d.width)
        if d.extra:
            text = f"Categorical(logits={' + '.join([score(d, over, d.width, d.here), *d.extra])})"
        d.observed[named(d.x, d.here)] = d.where(text)
        return
    add(d, d.x, over, d.here, d.width)


def mixture(d: Draft, over: list[Parent]) -> str:
    """Symbols that are drawn anew, copied from a sequence that is given, told by a latent, or of a table."""
    size, numbers = d.width, [p for p in over if p.finite]
    anew, kind = f"softmax({score(d, over, size, d.here)})", d.choose("copied", "copied", "number", "table")
    if kind == "number" and numbers:
        other = f"onehot(clip({d.choose(*numbers).ref}, {size}))"
    elif kind == "copied" and not d.mark:
        at = f"m_{d.x}"
        d.plates[at], d.given[f"s_{d.x}[{at}]"], d.given[f"r_{d.x}[{at}]"] = "sequence", f"category({size})", "real"
        shares = d.choose(f"softmax({d.param()} * r_{d.x}[{at}] over {at})", f"sigmoid(r_{d.x}[{at}])")
        other = f"sum({shares} * onehot(s_{d.x}[{at}]) over {at})"
    else:
        other = f"softmax({d.param(size)})"
    gate = d.choose(f"sigmoid({d.param()})", "0.3", f"softmax({d.param('2')})[0]")
    if d.chance(0.3):
        return f"Categorical(probs={d.choose('2', f'exp({d.param()})')} * {anew} + {other})"
    return f"Categorical(probs={gate} * {other} + (1 - {gate}) * {anew})"


def add(d: Draft, name: str, over: list[Parent], plates: tuple[str, ...], width: str) -> None:
    """An observed variable of any family, that follows its own earlier sites in some specs."""
    families = {**NUMBERS, **VECTORS} if name == d.x else ANY
    family = d.pick("observed {}", list(families), list(families.values()))
    number = family in NUMBERS and d.chance(0.2)
    d.binds = True
    if family == "Flow":
        base = (
            "Normal(0, 1)" + f"[{width}]"
            if not over or d.chance(0.3)
            else distribution(d, "observed", "Normal", over, plates, width)
        )
        d.observed[named(name, plates)] = d.where(through(d, "observed", base, width, over, plates))
        return
    size = "" if number else width
    d.observed[named(name, plates)] = d.where(distribution(d, "observed", family, over, plates, size))
    if name == d.x and number:
        d.width = ""


def chain(d: Draft) -> None:
    """y[t] given y[t-1]: an observed Markov chain or autoregression, with first sites of its own."""
    along = d.choose(*(p for p in d.here if d.kinds[p] == "sequence"))
    plates: tuple[str, ...] = (d.nested[along], along) if along in d.nested else (along,)
    others = [p for p in d.near if p not in plates and p not in d.nested and along not in d.nested]
    if others and d.chance(0.3):
        plates = d.order((*plates, d.choose(*others)))
    over = d.readable(plates, 1)
    kind = d.choose("symbols", "numbers", "vectors")
    name = d.fresh("y")
    if kind == "symbols":
        size = d.size("C", 2, 3)
        here = Parent(name, plates, "category", size)
        before = site(here, along, f"{along}-1")
        drive = f" + {score(d, over, size, plates)}" if over else ""
        d.observed[site(here, along, "0")] = f"Categorical(logits={d.param(size)})"
        body = f"Categorical(logits={d.param(size, size)}[{before}]{drive})"
    else:
        size = d.size("P", 2, 3) if kind == "vectors" else ""
        here = Parent(name, plates, kind[:-1], size)
        before = site(here, along, f"{along}-1")
        copies = f"[{size}]" if size else ""
        d.observed[site(here, along, "0")] = f"Normal(0, 1){copies}"
        drive = f" + {score(d, over, size, plates)}" if over and size else ""
        weight = f"tanh({d.param(*([size] if size else []))})"
        body = f"Normal({weight} * {before}{drive}, {d.choose('1', '0.7')})"
    if kind != "symbols" and d.wants("second clause of observed", 0.2):
        d.observed[site(here, along, "1")] = d.observed[site(here, along, "0")]
        body = body.replace(before, f"0.5 * ({before} - {site(here, along, f'{along}-2')})", 1)
    d.observed[here.ref] = d.where(body)
    if d.chance(0.3) or "observed reads observed" in d.wishes:
        d.parents.append(here)


def again(d: Draft) -> None:
    """A second observation: one for each example, or on some plates."""
    if d.alone and (
        d.wished("observed {}", ("LinearChain", "SemiMarkov", "DependencyCRF", "NonProjectiveCRF", "TreeCRF"))
        or d.chance(0.05)
    ):
        return labels(d, "observed")
    ordered = any(d.kinds[p] == "sequence" for p in d.here)
    if ordered and (d.wished("{}", ("first clause of observed", "second clause of observed")) or d.chance(0.25)):
        d.wants("first clause of observed")
        return chain(d)
    plates = d.stand("observed", 3)
    over = [p for p in d.parents if d.meets(p, plates)]
    if not over:
        return None
    needed = [p for p in over if p in d.latents and p.family not in UNREAD and not d.mentions(p)]
    if x := seen(d, plates):
        needed = [*needed[:1], x]
    add(d, d.fresh("y"), needed or d.rng.sample(over, 1), plates, d.size("C", 2, 3))


def seen(d: Draft, plates: tuple[str, ...]) -> Parent | None:
    """An observation for another one to read at its site, in some specs."""
    x = Parent(d.x, d.here, "category" if d.symbols else "vector", d.width) if d.width else None
    there = x is not None and x.ref in d.observed and set(x.plates) <= set(plates)
    return x if there and d.wants("observed reads observed", 0.1) else None


def tree(d: Draft, over: list[Parent]) -> str:
    """x as the yield of a hidden tree, or spelled by frames."""
    # one word has no derivation under a grammar: log p(x) = -inf is no reward to average
    numbers = any(p.finite for p in over)
    family = d.pick("observed {}", ("DMV", "CTC") if numbers else YIELDS)
    part = " with tree" if d.wants("with tree", 0.7) else ""
    if family == "DMV":
        root = score(d, over, d.width, ())
        return (
            d.where(
                f"DMV(root={root}, stop={d.param(d.width, '2', '2', '2')}, attach={d.param(d.width, '2', d.width)})"
            )
            + part
        )
    if family == "CTC":
        f, A = d.own("f"), d.size("A", 2, 3)
        frame = f"{d.own('frame')}[{f}]"
        d.plates[f] = "sequence"
        d.given[frame] = "real[A]"
        logits = f"matmul({d.param(d.width, A)}, {frame})"
        if over:
            logits += f" + {score(d, over, d.width, ())}"
        return d.where(f"CTC(logits={logits} over {f}, blank=dot({d.param(A)}, {frame}) over {f})") + part
    N, P = d.size("N", 1, 2), d.size("Q", 1, 2)
    both = f"{N} + {P}"
    root, terminals = score(d, over, N, ()), d.param(P, d.width)
    if family == "PCFG":
        return d.where(f"PCFG(root={root}, rules={d.param(N, both, both)}, terminals={terminals})") + part
    R = d.size("R", 2, 2)
    left, right = d.param(R, both), d.param(R, both)
    return (
        d.where(f"LowRankPCFG(root={root}, head={d.param(N, R)}, left={left}, right={right}, terminals={terminals})")
        + part
    )
