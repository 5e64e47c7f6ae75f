"""What a wish for a construct takes for granted: an argument its distribution, a flow's option the flow, a strategy its latent.

A demand, with `!` before it, is for a part of a spec that no construct is alone: `!line` is one sequence for x, `!beside` a fixed
plate beside it, `!history` what came before x, `!given` a given sequence, `!again` a second observation.
"""

from __future__ import annotations

import random
import re
from functools import cache

from lvspec.ir.distributions import FAMILIES
from lvspec.ir.flows import FLOWS
from lvspec.ir.structures import STRUCTURES
from lvspec.verify.random_specs.coverage import apart, drawn, left_out
from lvspec.verify.random_specs.drafts.guides import OF

SOUGHT, WISHES = 3, 10  # constructs that a spec is asked to hold: those that another attempt is made for, and all
TOGETHER = 0.35  # of the specs have two parts
# of the whole spec, which then has one part
WHOLE = r"[0-3] latents|10 to 24 latents|25 to 40 latents|no plate at all|no observation"
# of which a spec can hold several, and does not if it is asked for several
RIVALS = (
    r"(latent|observed) on .*|.* within .*|chains within a plate",
    r"infer (?!samples|budget).*",
    r"\w+_\w+\((samples|top|temperature|density|sharpness|rate|refine|steps|tolerance)\)",
    r"latent (.*CRF|SemiMarkov|LinearChain|ImproperUniform|NormalInverseWishart)",
)
# of the plates of one part, where most others want a sequence
LAYOUT = r"(observed|latent) (on .*|alone)|.* within .*|chains within a plate|plate (bag|fixed|number)"
STRATEGY = {
    "disarm": ("latent Bernoulli",),
    "relax": ("latent Bernoulli",),
    "sum_and_sample": ("latent Categorical", "guide Categorical", "latent alone"),
    "without_replacement": ("latent Categorical", "guide Categorical", "latent alone"),
    "subset": ("!risk", "!line", "!only"),
    "gumbel_softmax": ("latent Categorical", "onehot"),
    "straight_through": ("latent Categorical", "guide Categorical"),
    "stratified": ("guide NormalMixture", "latent Normal", "latent alone"),
    "point_estimate": ("guide Delta", "latent Normal", "!few"),
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
# constructs that come up less often than others when they are wished for
SELDOM: tuple[tuple[str, float], ...] = (
    (r"infer (mean_field|stratified|point_estimate|subset|sum_and_sample)", 4),
    (r"(mean_field|stratified|subset|sum_and_sample|straight_through|gumbel_softmax|without_replacement)\(.*\)", 3),
    (r"infer .*|.*_.*\(.*\)|bound .*|free_bits .*", 2),
    (r"(latent|observed) on (.* × .*|three plates)|(bag|sequence) within .*|no .*|0 latents", 3),
    (r"(Binomial|Poisson|Geometric|Bernoulli)\..*|latent ImproperUniform|guide .*CRF|global .*", 3),
    (r".* of a stretch|.* = number|.* of a (latent|observed)", 2),
)
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
    (r"(RNN|GRU|LSTM|DilatedConvolution)(\(.*\))?", ("!line", "!history")),
    (r"(BiGRU|BiLSTM)(\(.*\))?", ("!line", "!given", "reader(x)[t]")),
    (r"reader\(x\)\[t\]|x|x\[>?<?=?t\]|x\[>=t\]|z\[t\+1\]|.* of a stretch|length|last|first|let of a let|z\[0\]", ("!line", "!given")),
    (r"x\[<t\]", ("!history",)),
    (r"x\[<=?t in z\]", ("!line", "latent SemiMarkov", "!history")),
    (r"length|last|first", ("reduced",)),
    (r".* of a stretch", ("reduced",)),
    (r"z\[t-[12]\]|(first|second) clause of latent", ("!line", "!chain")),
    (r"(first|second) clause of observed|index by observed", ("!line", "!again", "first clause of observed")),
    (r"first clause of guide", ("!line", "!chain", "guide Categorical")),
    (r"first clause that reads a latent", ("!line", "!chain")),
    (r".* over a plate|[em] (over m|as an axis)|m as an axis", ("!beside", "latent on fixed", "latent Normal")),
    (r"max|min|prod|logsumexp|dot|mean|g\[t, 2\]|number as a parameter", ("latent Bernoulli",)),
    (r"plate sequence\(null\)|clip|less|z\[a\[t\]\]|T\[s\[a\[t\]\]\]|0 over m", ("!ragged", "!position")),
    (r"split|where of parts", ("guide Normal", "latent Normal")),
    (r"Dropout\(p\)", ("Dropout",)),
    (r"Linear\(tied\)", ("!line", "!history")),
    (r"MLP\(tied\)", ("!tied",)),
    (r"latent reads observed", ("!line", "!history")),
    (r".* reads given|given .*|index by given", ("!give",)),
    (r"index by given", ("given category",)),
    (r"plate latent length|latent on latent length", ("!length",)),
    (r"global NormalInverseWishart", ("latent NormalInverseWishart", "!only")),
    (r"global on a plate", ("latent Categorical", "global Normal")),
    (r"no observation", ("!risk",)),
    (r"(expected|known|free_bits|term|log_prob|kl_weight).*", ("latent Normal", "guide Normal")),
    (r"expected|known", ("latent Categorical", "latent alone", "guide Categorical")),
    (r"index of two", ("latent Categorical", "latent Bernoulli")),
    (r"guide of some", ("latent Categorical", "guide Normal", "latent Normal")),
    (r"bank of networks|matmul", ("latent Normal", "latent Categorical")),
    (r"bound .*", ("latent Normal", "guide Normal")),
    (r"first clause of guide", ("!line", "!chain")),
    (r"several flows|flow with a context", ("guide Flow", "latent Normal")),
)  # fmt: skip


def chosen(rng: random.Random) -> list[str]:
    """Constructs, no two of which a spec cannot hold together: a few that are seldom held, and any."""
    found: list[str] = []
    options = rng.choices(drawn(), weights(), k=3 * SOUGHT) + rng.choices(drawn(), k=3 * WISHES)
    for i, wish in enumerate(options):
        rivals = [o for o in found for pattern in RIVALS if re.fullmatch(pattern, o) and re.fullmatch(pattern, wish)]
        full = len(found) >= (SOUGHT if i < 3 * SOUGHT else WISHES)
        if not full and not rivals and all(wish != o and apart(wish, o) is None for o in found):
            found.append(wish)
    return found


@cache
def weights() -> tuple[float, ...]:
    """How often each construct is among those that are sought."""
    return tuple(next((w for pattern, w in SELDOM if re.fullmatch(pattern, c)), 0.3) for c in drawn())


def shared_out(wishes: list[str], rng: random.Random, alone: bool) -> list[set[str]]:
    """What each part of the spec is asked for, with what that needs: one part, or a second one on other plates."""
    asked = {w: (w, *needs(w, rng)) for w in wishes}
    whole = any(re.fullmatch(WHOLE, w) or "!only" in names for w, names in asked.items())
    if alone or whole or rng.random() > TOGETHER:
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
        families = [f for f, guides in OF.items() if family in guides]
        found += [f"latent {rng.choice(families)}"] if families else []
    kind, _, role = wish.partition(" of a ")
    name = wish.partition("(")[0]
    if kind in FLOWS and role:
        return ["guide Flow", "latent Normal"] if role == "guide" else [f"{role} Flow"]
    if name in FLOWS:
        return [f"{name} of a guide", "guide Flow", "latent Normal"]
    strategy = wish.removeprefix("infer ").partition("(")[0]
    return [*found, *STRATEGY.get(strategy, ())]
