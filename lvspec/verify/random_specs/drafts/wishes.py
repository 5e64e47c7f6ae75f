"""What a wish for a construct takes for granted: an argument its distribution, a flow's option the flow, a strategy its latent.

A demand, with `!` before it, is for a part of a spec that no construct is alone: `!line` is one sequence for x, `!beside` a fixed
plate beside it, `!crossing` two plates apart, `!history` what came before x, `!given` a given sequence, `!again` a second observation, `!points` no draws.
"""

from __future__ import annotations

import random
import re
from functools import cache

from lvspec.ir.distributions import FAMILIES
from lvspec.ir.estimators import STRATEGIES
from lvspec.ir.flows import FLOWS
from lvspec.ir.networks import NETWORKS
from lvspec.ir.structures import STRUCTURES
from lvspec.verify.random_specs.coverage import DRAWN, LATECOMERS, SUM, apart, left_out, sought
from lvspec.verify.random_specs.drafts.guides import OF

SOUGHT, WISHES = 6, 11  # constructs that a spec is asked to hold: those that another attempt is made for, and all
TOGETHER = 0.3  # of the specs have two parts
TOGETHER_APART = 0.85  # of those in which some constructs want a sequence, and some other plates
# of the whole spec, which then has one part
WHOLE = r"[0-3] latents|10 to 24 latents|25 to 40 latents|no plate at all|no observation|nothing given either"
LONELY = (
    r"nothing given either|global NormalInverseWishart|latent ImproperUniform|infer (point_estimate|structured_mean_field)|"
    r"structured_mean_field\(.*|0 latents|no plate at all"
)
# of which a spec can hold several, and does not if it is asked for several
RIVALS = (
    r"(latent|observed) on .*|.* within .*|chains within a plate",
    r"infer (?!samples|budget).*",
    r"\w+_\w+\((samples|top|temperature|density|sharpness|rate|refine|steps|tolerance)\)",
    r"latent (.*CRF|SemiMarkov|LinearChain|ImproperUniform|NormalInverseWishart)",
    rf"{LONELY}|no observation|infer (mean_field|subset)|25 to 40 latents",
)
# (what leaves little room, what finds none beside it): in random specs, where many are wished for; two that are asked for may meet
NARROW = (
    (
        r"nothing given either",
        rf"(guide|global|latent|infer|known|plate|Linear\(|z\[|T\[|free_bits|kl_weight) ?.*|{DRAWN}|.*CRF.*|MLP\(tied\)|.* × .*|"
        r".* (over|within|of) .*|!(given|give|history|ragged|position|line|tied|length|draws.*)",
    ),
    (
        r"global NormalInverseWishart",
        rf"(guide|global|known|term|bound|kl_weight|free_bits) ?.*|latent (?!Norm).*|infer .*|{DRAWN}|mean_field\(.*|expected|!(length|tied|draws.*|risk)",
    ),
    (
        r"latent ImproperUniform|infer point_estimate",
        r"global.*|guide (?!Delta).*|!(length|tied|draws.*|risk|position)",
    ),
)
# of the plates of one part, where most others want a sequence
LAYOUT = r"guide on plates that cross|chains that share a regime|(observed|latent) (on .*|alone)|.* within .*|chains within a plate|plate (bag|fixed|number)"
STRATEGY = {
    **{row.name: (f"!draws of {row.family}",) for row in STRATEGIES.values() if row.family},
    "relax": ("!draws of Bernoulli",),
    **dict.fromkeys(("sum_and_sample", "without_replacement"), ("!draws of Categorical",)),
    **dict.fromkeys(("gumbel_softmax", "straight_through"), ("!draws of Categorical",)),
    "stratified": ("!draws of Normal",),
    "subset": ("!risk", "!line", "!only"),
    "point_estimate": ("guide Delta", "latent Normal", "!points"),
    "marginals": ("guide LinearChain", "!chain", "!line"),
    "dynamic_programming": ("!chain", "!line"),
    "structured_mean_field": ("!factorial", "!line", "!only", "!sole"),
    "linear_gaussian": ("!kalman", "!line"),
    "conjugacy": ("!conjugate",),
    "joint_gaussian": ("!joint",),
    "mean_field": ("!proportions", "!line", "!only"),
    "reparameterization": ("latent Normal", "guide Normal"),
    "wake_sleep": ("bound reweighted_wake_sleep", "latent Categorical", "guide Categorical"),
    "reinforce": ("latent Categorical",),
    "enumeration": ("latent Categorical",),
}
# how often constructs are sought that specs would seldom hold otherwise: so often that each is in 2 % of them
SELDOM: tuple[tuple[str, float], ...] = (
    (r"infer structured_mean_field|structured_mean_field\(.*", 1),  # of those that come first
    (r"0 latents|no plate at all", 1.5),
    (LONELY, 2),
    (r"without_replacement\(samples\)|reparameterization\(rate\)|expected", 12),
    (r"guide on plates that cross|chains that share a regime", 12),
    (r"first clause that reads all sites", 9),
    (r"wake_sleep\(samples\)", 8),
    (r"bound (iwae|renyi)\(gradient\)|enumeration\(chunk\)", 9),
    (r"subset\(.*|sum_and_sample\(top\)|(latent|guide) OneHotCategorical", 8),
    (r"zuko\.NSF\(inverted\)|Planar\(steps\)|global (Uniform|SphericalUniform)", 6),
    (r"zuko\.NAF\(layers\)|infer linear_gaussian|bound (iwae|reweighted_wake_sleep)(\(samples\))?", 4),
    (r"(MaskedAutoregressive|zuko\.MAF) of a latent|InverseAutoregressive of a observed|infer wake_sleep", 4),
    (r"observed (SphericalUniform|on fixed × bag)|guide Binomial|z\[0\]", 3.5),
    (r"latent on bag × bag|Binomial.* = number|without_replacement\(samples\)|free_bits .*|infer point_estimate", 10),
    (r"(stratified|gumbel_softmax|straight_through)\(.*\)|latent (ImproperUniform|reads observed)", 9),
    (r"(latent|observed) on (bag × bag|three plates)|infer (stratified|marginals)|nothing given either|expected", 8),
    (r"(relax|disarm|subset|sum_and_sample)\(.*\)|guide Delta|x\[<.* in z\]|known|no plate at all", 6),
    (r"(Bernoulli|Geometric|Poisson|Exponential)\..* = number|reparameterization\(r.*\)|bound .*\(gradient\)", 6),
    (r"(latent|observed) on (sequence|bag) × .*|bag within .*|infer (without_replacement|structured_mean_field)", 6),
    (r"zuko\.NSF\(inverted\)|guide (SemiMarkov|TreeCRF)|BiGRU\(layers\)|zuko\.NAF\(steps\)|no observation", 5),
    (r"(infer )?mean_field(\(.*\))?|global NormalInverseWishart|(wake_sleep|reparameterization)\(.*\)", 5),
    (r"guide LogNormal|global (LogNormal|Dirichlet|Flow)|plate sequence\(null\)|Radial\(.*\)|BiLSTM\(layers\)", 5),
    (
        r"(sum_and_sample|wake_sleep|enumeration)\(.*\)|Planar\(.*|Coupling\(.*|0 latents|25 to 40 latents|bound renyi\(.*",
        4.5,
    ),
    (
        r"guide (.*CRF|OneHotCategorical|LinearChain|.*Fisher|SphericalUniform|MultivariateNormal|StudentT|Gamma|Poisson)",
        4,
    ),
    (r"latent (OneHot.*|LinearChain|Geometric|LogNormal)|(min|prod|logsumexp) of a stretch|LogNormal\..* = number", 4),
    (
        r"z\[t\+1\]|m as an axis|init eye|observed (.*PCFG|TreeCRF|CTC|Dep.*)|structured_mean_field\(.*\)|zuko\.NAF\(si.*",
        3.5,
    ),
    (r"global .*|length|log_prob in a term|Planar.*|probability 0|sequence within .*|T\[s\[a\[t\]\]\]|memory: fast", 3),
    (
        r"infer (linear_gaussian|joint_gaussian|straight_through|disarm|budget_.*|sum.*)|missing value .*(term|structure)",
        3,
    ),
    (r"number beside a vector|(DilatedConvolution|BiGRU)\(.*\)|.* of a (latent|observed)|z\[0\]|guide: mean_field", 2),
    (
        r"(observed|latent) on .* × .*|(latent|observed) (SemiMarkov|.*CRF|LinearChain|DMV)|first clause that .*|Radial.*",
        2,
    ),
    (
        r"observed SphericalUniform|(StudentT\.loc|Gamma\.conc).*|.*\((layers|dropout)\)|Linear\(tied\)|infer (subset|con.*)",
        2,
    ),
    (
        r"guide (Geometric|Dirichlet|Binomial)|latent Poisson|init orthogonal|given count|phases|memory: lean|.* over a plate",
        1.5,
    ),
    (r"infer (?!mean_field).*|bound .*|.* clause of .*|zuko.*|(Inverse|Masked)Auto.*|second clause of latent", 1),
    (r"guide: .*|kl_weight (linear|by latent)|latent (NormalMixture|on latent length)|.* latents", 1.5),
    (r"(missing|known) value .*|.* = number|(observed|latent) (on bag|Uniform)", 1),
)
CAUSAL, WHOLE_ONES = ([n for n, kind in NETWORKS.items() if kind.reads == reads] for reads in ("causal", "whole"))
# (constructs, what they need)
NEEDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (rf"(observed|latent) ({'|'.join(STRUCTURES)})|with tree|plate copy|h\[j\]", ("!line",)),
    (rf"observed ({'|'.join(n for n, s in STRUCTURES.items() if s.value == 'labels')})", ("!again",)),
    (rf"observed ({'|'.join(n for n, s in STRUCTURES.items() if s.value == 'yield')})|with tree", ("!yield",)),
    (r"plate copy|h\[j\]", ("latent DependencyCRF",)),
    (r"guide (LinearChain|SemiMarkov)", ("!line", "!chain")),
    *((f"guide {n}", ("!line", f"latent {n}")) for n in ("DependencyCRF", "NonProjectiveCRF", "TreeCRF")),
    (r"MLP(\(.*\))?|activation .*|Embedding", ("latent Normal", "latent Categorical")),
    (r"index by number", ("g[t, 2]",)),
    (r"observed reads observed", ("!again",)),
    (rf"({'|'.join(CAUSAL)})(\(.*\))?", ("!line", "!history")),
    (rf"({'|'.join(WHOLE_ONES)})(\(.*\))?", ("!line", "!given", "reader(x)[t]")),
    (r"reader\(x\)\[t\]|x|x\[>?<?=?t\]|x\[>=t\]|z\[t\+1\]|.* of a stretch|length|last|first|let of a let|z\[0\]", ("!line", "!given")),
    (r"x\[<t\]", ("!history",)),
    (r"x\[<=?t in z\]", ("!line", "latent SemiMarkov", "!history")),
    (r"length|last|first", ("reduced",)),
    (r".* of a stretch", ("reduced",)),
    (r"z\[t-[12]\]|(first|second) clause of latent", ("!line", "!chain")),
    (r"(first|second) clause of observed|index by observed", ("!line", "!again", "first clause of observed")),
    (r"first clause of guide.*", ("!line", "!chain", "guide Categorical")),
    (r"first clause of guide that .*", ("first clause of guide",)),
    (r"first clause that reads a latent", ("!line", "!chain")),
    (r"first clause that reads all sites", ("!line", "!chain", "!give")),
    (r".* over a plate|[em] (over m|as an axis)|m as an axis", ("!beside", "latent on fixed", "latent Normal")),
    (r"max|min|prod|logsumexp|dot|mean|g\[t, 2\]|number as a parameter", ("latent Bernoulli",)),
    (r"plate sequence\(null\)|clip|less|z\[a\[t\]\]|T\[s\[a\[t\]\]\]|0 over m", ("!ragged", "!position")),
    (r"split|where of parts", ("guide Normal", "latent Normal")),
    (r"Dropout\(p\)", ("Dropout",)),
    (r"Linear\(tied\)", ("!line", "!history")),
    (r"MLP\(tied\)", ("!tied",)),
    (r"latent reads observed", ("!line", "!history")),
    (r"guide Delta|latent ImproperUniform", ("!points",)),
    (r".* reads given|given .*|index by given", ("!give",)),
    (r"index by given", ("given category",)),
    (r"plate latent length|latent on latent length", ("!length",)),
    (r"global NormalInverseWishart", ("latent NormalInverseWishart", "!only")),
    (r"global on a plate", ("latent Categorical", "global Normal")),
    (r"no observation", ("!risk",)),
    (r"nothing given either", ("!risk", "no observation", "!only")),
    (r"probability 0", ("!line", "!chain")),
    (r"number beside a vector", ("latent Normal", "latent Categorical")),
    (r"missing value alone", ("observed alone", "!again")),
    (r"known value alone", ("latent alone",)),
    (r"missing value read by the model", ("observed reads observed", "!line", "!again")),
    (r"missing value read by a guide", ("latent Normal", "guide Normal")),
    (r"missing value read by a term", ("log_prob in a term",)),
    (r"missing value of a structure", ("!line", "!yield")),
    (r"known value of a structure", ("!line", "latent LinearChain")),
    (r"known value of a chain", ("!line", "!chain")),
    (r"known value with a guide", ("latent Categorical", "guide Categorical")),
    (r"(expected|known|free_bits|term|log_prob|kl_weight).*", ("latent Normal", "guide Normal")),
    (r"free_bits dimension", ("latent alone",)),
    (r"expected|known", ("latent Categorical", "latent alone", "guide Categorical")),
    (SUM, ("observed Categorical",)),
    (r"index of two", ("latent Categorical", "latent Bernoulli")),
    (r"guide of some", ("latent Categorical", "guide Normal", "latent Normal")),
    (r"guide on plates that cross", ("!crossing",)),
    (r"chains that share a regime", ("!chain",)),
    (r"rate 0", ("observed Poisson",)),
    (r"bank of networks|matmul", ("latent Normal", "latent Categorical")),
    (r"bound .*", ("latent Normal", "guide Normal")),
    (r"first clause of guide.*", ("!line", "!chain")),
    (r"several flows|flow with a context", ("guide Flow", "latent Normal")),
)  # fmt: skip


def chosen(rng: random.Random) -> list[str]:
    """Constructs, no two of which a spec cannot hold together: a few that are seldom held, and any. First what leaves little
    room for others."""
    found: list[str] = []
    first = sorted(rng.choices(sought(), weights(), k=3 * SOUGHT), key=lambda c: not re.fullmatch(LONELY, c))
    options = first + [c for c in rng.choices(sought(), k=3 * WISHES) if not re.fullmatch(LONELY, c)]
    for i, wish in enumerate(options):
        rivals = [o for o in found for pattern in RIVALS if re.fullmatch(pattern, o) and re.fullmatch(pattern, wish)]
        full = len(found) >= (SOUGHT if i < 3 * SOUGHT else WISHES)
        if not full and not rivals and all(wish != o and apart(wish, o) is None and fits(wish, o) for o in found):
            found.append(wish)
    return found


@cache
def fits(a: str, b: str) -> bool:
    """Whether neither leaves no room for the other, or for what that needs."""
    return not any(
        re.fullmatch(alone, x) and any(re.fullmatch(rest, n) for n in (y, *needs(y, random.Random(0))))
        for alone, rest in NARROW
        for x, y in ((a, b), (b, a))
    )


@cache
def weights() -> tuple[float, ...]:
    """How often each construct is among those that are sought."""
    return tuple(map(weight, sought()))


@cache
def weight(construct: str) -> float:
    return next((w for pattern, w in SELDOM if re.fullmatch(pattern, construct)), 0.2)


def shared_out(wishes: list[str], rng: random.Random, alone: bool) -> list[set[str]]:
    """What each part of the spec is asked for, with what that needs: one part, or a second one on other plates."""
    asked = {w: (w, *needs(w, rng)) for w in wishes}
    whole = any(re.fullmatch(WHOLE, w) or "!only" in names for w, names in asked.items())
    torn = any("!line" in names for names in asked.values()) and any(re.fullmatch(LAYOUT, w) for w in asked)
    if alone or whole or rng.random() > (TOGETHER_APART if torn else TOGETHER):
        return [{n for names in asked.values() for n in names}]
    parts: list[set[str]] = [set(), set()]
    for wish, names in asked.items():
        if any(n in ("!line", "!history") for n in names):
            parts[0].update(names)
        elif re.fullmatch(LAYOUT, wish):
            parts[1].update(names)
        else:
            rng.choice(parts).update(names)
    return parts


def needs(wish: str, rng: random.Random) -> list[str]:
    """Constructs and demands without which there is no room for it."""
    found = [n for pattern, names in NEEDS if re.fullmatch(pattern, wish) for n in names]
    word, _, rest = wish.partition(".")
    if rest and word in FAMILIES:
        roles = [r for r in ("latent", "observed") if left_out(f"{r} {word}") is None]
        return [f"{rng.choice(roles)} {word}"]
    family = wish.removeprefix("guide ")
    if family != wish and family not in STRUCTURES:
        families = [f for f, guides in OF.items() if family in guides and f not in LATECOMERS]
        found += [f"latent {rng.choice(families)}"] if families else []
    kind, _, role = wish.partition(" of a ")
    name = wish.partition("(")[0]
    if kind in FLOWS and role:
        return ["guide Flow", "latent Normal"] if role == "guide" else [f"{role} Flow"]
    if name in FLOWS:
        return [f"{name} of a guide", "guide Flow", "latent Normal"]
    strategy = wish.removeprefix("infer ").partition("(")[0]
    return [*found, *STRATEGY.get(strategy, ())]
