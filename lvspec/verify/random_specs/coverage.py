"""Which constructs random specs have to hold, alone and in pairs, and how often they do.

    python -m benchmarks.constructs --specs 10000 --pairs --ask

What no random spec can hold is left out by a rule that says why, and so is a pair that no one spec can hold.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import cache
from itertools import combinations

from lvspec.ir.distributions import FAMILIES
from lvspec.ir.estimators import STRATEGIES
from lvspec.ir.flows import FLOWS
from lvspec.ir.networks import NETWORKS
from lvspec.ir.structures import STRUCTURES
from lvspec.verify.random_specs.constructs import listed

LABELS = tuple(n for n, s in STRUCTURES.items() if s.value == "labels")
YIELDS = tuple(n for n, s in STRUCTURES.items() if s.value == "yield")
NO_ENGINE = tuple(
    n for n, f in FAMILIES.items() if not f.engine and n not in ("SphericalUniform", "Delta", "OrderedLogistic")
)
FIRST = (
    "Categorical", "OneHotCategorical", "Bernoulli", "Binomial", "Geometric", "Poisson", "Normal", "Laplace", "LogNormal", "StudentT",
    "Exponential", "Gamma", "Beta", "Dirichlet", "Uniform", "MultivariateNormal", "NormalInverseWishart", "VonMisesFisher",
    "SphericalUniform", "ImproperUniform", "NormalMixture",
)  # fmt: skip
LATER = tuple(
    n for n, f in FAMILIES.items() if f.engine and f.event != "structure" and n not in FIRST and not f.observed
)
SUM = "probabilities as a sum"
# families, networks and forms that came after the numbers of random specs were given: no spec is drawn with them that is not asked for them by name,
# so that the texts of the others stay
LATE_NETWORKS = ("Transformer", "BiTransformer", "Convolution", "Residual", "Convolution2d", "TransposedConvolution2d")
LATECOMERS = (*LATER, *LATE_NETWORKS, SUM)
COUNTED = ("integer", "onehot", "boolean", "count")
ONE_WAY = tuple(n for n, f in FLOWS.items() if f.inverse is None)


def latecomers(kind: str, bounded: bool = False) -> tuple[str, ...]:
    """Those of single numbers of this kind, between two that are arguments or not."""
    return tuple(
        n for n in LATER
        if (f := FAMILIES[n]).event == "scalar" and f.variate.kind == kind and all(f.between) == bounded
    )  # fmt: skip


def _any(*names: Iterable[str]) -> str:
    return "|".join(re.escape(n) for group in names for n in group)


# (constructs, why no random spec holds them)
LEFT_OUT: tuple[tuple[str, str], ...] = (
    (
        rf".*\b({_any(NO_ENGINE)})\b.*|if then else|views|tied parameter",
        "read, without an engine yet",
    ),
    (rf"(.* )?({_any(n for n, f in FAMILIES.items() if f.observed)})(\..*)?", "observed alone: has tests of its own"),
    (r"(.* )?OrderedLogistic(\..*)?|ordered|ordered_logits", "read as a Categorical: has tests of its own"),
    (rf"(latent|guide|global) ({_any(YIELDS)})", "a yield is observed"),
    (
        rf"global ({_any(n for n, f in FAMILIES.items() if f.variate.kind in COUNTED)})",
        "no score term of a draw that all examples share has an engine yet",
    ),
    (rf"global ({_any(STRUCTURES)})", "a structure stands on a plate of an example"),
    (
        rf"(observed|guide|global) ({_any(n for n, f in FAMILIES.items() if f.improper)})",
        "no distribution: a prior of a point alone",
    ),
    (r"(latent|observed|global) Delta|Delta\.value = number", "a point is a guide"),
    (rf"({_any(ONE_WAY)}) of a (latent|observed)", "a given value has no density under a flow without an inverse"),
    (r"(observed|guide) NormalInverseWishart", "a pair is a latent whose q is in closed form"),
    (r"zuko\.NAF of a (latent|observed)|zuko\.MAF\(inverted\)|Module.*", "beside brute force: has tests of its own"),
    (r"plate bag\(counts\)", "read, without an engine yet"),
    (r"observed on latent length", "what a variable counts is latent"),
    (r"size of the data|per_example", "of data and their readers: has tests of its own"),
)


@cache
def drawn() -> tuple[str, ...]:
    """The constructs that random specs hold."""
    return tuple(c for c in listed() if left_out(c) is None)


@cache
def sought() -> tuple[str, ...]:
    """Those of them that a spec is asked to hold if nobody says which."""
    return tuple(c for c in drawn() if not re.fullmatch(rf"(.* )?({_any(LATECOMERS)})([.(].*)?", c))


def left_out(construct: str) -> str | None:
    """Why no random spec holds a construct; None where some do."""
    return next((why for pattern, why in LEFT_OUT if re.fullmatch(pattern, construct)), None)


# ---------------------------------------------------------------- pairs
OF_THE_ELBO = [n for n, row in STRATEGIES.items() if row.uncoupled and not row.renormalised]
OTHERS = [n for n, row in STRATEGIES.items() if row.draws and not row.uncoupled]
SHARES = [n for n, row in STRATEGIES.items() if row.shares and not row.renormalised]
POINT = r"latent ImproperUniform|guide Delta|infer point_estimate"
SCORED = rf"(infer )?({_any(OF_THE_ELBO)})(\(.*)?"
DRAWN = rf"infer ({_any(OTHERS)})|({_any(OTHERS)})\(.*|{SCORED}"
OWN = r"infer subset|subset\(.*"  # a latent that follows the model alone, and is drawn from it
NOTHING = r"no observation|nothing given either"
COUPLED = r"bound (iwae|renyi|reweighted_wake_sleep)\b.*|bound elbo\(gradient\)|infer wake_sleep|wake_sleep\(.*"
OPTIMUM = r"(infer )?(structured_)?mean_field(\(.*)?"
ALONG = r"(first|second) clause of .*|.*\[.*t.*\].*|x|chains within a plate|.* of a stretch|first|last|length|with tree"
ON_PLATES = (
    rf"plate .*|.*plate.*|.* on .*|.* within .*|{ALONG}|(.* )?({_any(STRUCTURES)})|h\[j\]|.* m|m as .*|0 over m|"
    r"clip|less|term on a plate|.* value of a (chain|structure)|first clause (of guide )?that .*|z\[0\]|"
    rf"({_any(n for n, kind in NETWORKS.items() if kind.reads in ('causal', 'whole'))})(\(.*)?|"
    r"infer (dynamic_programming|linear_gaussian|marginals|structured_mean_field|mean_field|subset)|structured_.*|"
    r"mean_field\(.*|subset\(.*|Linear\(tied\)|latent reads observed"
)
# (one, the other, why no spec holds both)
APART: tuple[tuple[str, str, str], ...] = (
    (r"\d.* latents", r"\d.* latents", "a model has one number of latents"),
    (
        r"0 latents",
        r"(latent|guide|global|infer|bound|kl_weight|free_bits|known value) .*|first clause of guide.*|.* of a (latent|guide)",
        "no latent",
    ),
    (r"no plate at all", ON_PLATES, "no plate"),
    (NOTHING, r"observed .*|.* of a observed|.* clause of observed|index by observed|with tree", "none"),
    (NOTHING, r"latent reads observed|log_prob in a term|missing value .*", "none"),
    (r"nothing given either", r"given .*|.* reads given|index by given|x|.*\[.*t.*\].*", "none"),
    (
        POINT,
        rf"{DRAWN}|{OPTIMUM}|{OWN}|bound .*|kl_weight .*|free_bits .*|guide: .*",
        "a point beside draws has no engine yet",
    ),
    (
        OWN,
        rf"{DRAWN}|{OPTIMUM}|bound .*|kl_weight .*|free_bits .*",
        "draws that are weighed by their own p stand alone",
    ),
    (OPTIMUM, rf"{DRAWN}|bound .*|free_bits .*|kl_weight .*", "an optimum beside draws has no engine yet"),
    (
        r"(infer )?structured_mean_field(\(.*)?",
        r"latent (?!Categorical|on|alone).*|guide .*|global.*|[023].* latents",
        "alone",
    ),
    (r"bound (iwae|renyi)\b.*", rf"{SCORED}|infer wake_sleep|wake_sleep\(.*", "the bound takes no such draws"),
    (
        r"bound reweighted_wake_sleep.*",
        rf"{SCORED}|(infer )?(reparameterization|reinforce)(\(.*)?",
        "it takes draws of its own",
    ),
    (r"bound elbo.*", r"infer wake_sleep|wake_sleep\(.*", "a bound of another"),
    (COUPLED, r"global.*", "an example has no importance weight of its own for what all share"),
    (
        COUPLED,
        r"kl_weight .*|free_bits .*|term.*|log_prob in a term|known|expected|missing value read by a term",
        "a bound of the weights of all draws has no KL apart, and terms stand beside an ELBO",
    ),
    (
        rf"(infer )?({_any(SHARES)})(\(.*)?",
        r"global.*",
        "examples have weights, what they share has none",
    ),
    (r"guide: .*", r"guide: .*", "one family of derived guides"),
    (r"memory: .*", r"memory: .*", "one setting"),
    (r"bound \w+.*", r"bound \w+.*", "one bound"),
)


def apart(a: str, b: str) -> str | None:
    """Why no spec holds both constructs; None where one can, as a setting and its own options."""
    if a.partition("(")[0] == b.partition("(")[0]:
        return None
    for first, second, why in APART:
        if (re.fullmatch(first, a) and re.fullmatch(second, b)) or (re.fullmatch(first, b) and re.fullmatch(second, a)):
            return why
    return None


# what is kept apart where specs are asked for constructs, and which some hold all the same: a setting that changes nothing beside the
# other one, or a line of another part
MET: tuple[tuple[str, str], ...] = (
    (POINT, r"guide: .*"),
    (rf"{OWN}|(infer )?mean_field(\(.*)?", r"kl_weight .*"),
    (r"(infer )?structured_mean_field(\(.*)?", r"latent reads latent"),
    (r"0 latents", r"infer budget_.*"),
    (r"nothing given either", r"z\[t-1\]|g\[t, 2\]"),
    (r"no plate at all", r"less|clip|g\[t, 2\]"),
)


def sensible(a: str, b: str) -> bool:
    """Whether a spec can hold both constructs."""
    return apart(a, b) is None or _matches(MET, a, b)


def _matches(rules: Iterable[tuple[str, str]], a: str, b: str) -> bool:
    return any(re.fullmatch(f, x) and re.fullmatch(s, y) for f, s in rules for x, y in ((a, b), (b, a)))


# ---------------------------------------------------------------- the tables
class Coverage:
    """How many specs hold each construct, and each pair."""

    def __init__(self) -> None:
        self.specs = 0
        self.single: Counter[str] = Counter()
        self.pairs: Counter[tuple[str, str]] = Counter()

    def add(self, found: frozenset[str]) -> None:
        self.specs += 1
        ordered = sorted(found)
        self.single.update(ordered)
        self.pairs.update(combinations(ordered, 2))

    def update(self, other: Coverage) -> None:
        self.specs += other.specs
        self.single.update(other.single)
        self.pairs.update(other.pairs)

    def rare(self, share: float) -> list[tuple[str, int]]:
        """Constructs in a smaller share of the specs."""
        return [(c, self.single[c]) for c in drawn() if self.single[c] < share * self.specs]

    def missing(self) -> list[tuple[str, str]]:
        """Sensible pairs that no spec holds."""
        return [(a, b) for a, b in combinations(sorted(drawn()), 2) if (a, b) not in self.pairs and sensible(a, b)]
