"""What a wish for a construct takes for granted: an argument its distribution, a flow's option the flow, a strategy its latent.

A demand, with `!` before it, is for a part of a spec that no construct is alone: `!line` is one sequence for x, `!beside` a fixed
plate beside it, `!history` what came before x, `!given` a given sequence, `!again` a second observation.
"""

from __future__ import annotations

import random
import re

from lvspec.ir.distributions import FAMILIES
from lvspec.ir.flows import FLOWS
from lvspec.ir.structures import STRUCTURES
from lvspec.verify.random_specs.drafts.guides import OF

STRATEGY = {
    "disarm": ("latent Bernoulli",),
    "relax": ("latent Bernoulli",),
    "sum_and_sample": ("latent Categorical",),
    "without_replacement": ("latent Categorical",),
    "subset": ("!risk", "!line"),
    "gumbel_softmax": ("latent Categorical", "onehot"),
    "straight_through": ("latent Categorical",),
    "stratified": ("guide NormalMixture", "latent Normal"),
    "point_estimate": ("guide Delta", "latent Normal", "!few"),
    "marginals": ("guide LinearChain", "!chain", "!line"),
    "dynamic_programming": ("!chain", "!line"),
    "structured_mean_field": ("!factorial", "!line"),
    "linear_gaussian": ("!kalman", "!line"),
    "conjugacy": ("!conjugate",),
    "joint_gaussian": ("!joint",),
    "mean_field": ("!proportions",),
    "reparameterization": ("latent Normal", "guide Normal"),
    "wake_sleep": ("bound reweighted_wake_sleep", "latent Categorical", "guide Categorical"),
    "reinforce": ("latent Categorical",),
    "enumeration": ("latent Categorical",),
}
# (constructs, what they need)
NEEDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (rf"(observed|latent) ({'|'.join(STRUCTURES)})|with tree|plate copy|h\[j\]", ("!line",)),
    (rf"observed ({'|'.join(n for n, s in STRUCTURES.items() if s.value == 'labels')})", ("!again",)),
    (rf"observed ({'|'.join(n for n, s in STRUCTURES.items() if s.value == 'yield')})|with tree", ("!yield",)),
    (r"plate copy|h\[j\]", ("latent DependencyCRF",)),
    (r"guide (LinearChain|SemiMarkov|DependencyCRF|NonProjectiveCRF|TreeCRF)", ("!line", "!chain")),
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
    (r"global NormalInverseWishart", ("latent NormalInverseWishart",)),
    (r"global on a plate", ("latent Categorical", "global Normal")),
    (r"no observation", ("!risk",)),
    (r"(expected|known|free_bits|term|log_prob|kl_weight).*", ("latent Normal", "guide Normal")),
    (r"expected|known", ("latent Categorical", "latent alone", "guide Categorical")),
    (r"index of two", ("latent Categorical",)),
    (r"bank of networks|matmul", ("latent Normal", "latent Categorical")),
    (r"bound .*", ("latent Normal", "guide Normal")),
    (r"first clause of guide", ("!line", "!chain")),
    (r"several flows|flow with a context", ("guide Flow", "latent Normal")),
)  # fmt: skip


def needs(wish: str, rng: random.Random) -> list[str]:
    """Constructs and demands without which there is no room for it."""
    found = [n for pattern, names in NEEDS if re.fullmatch(pattern, wish) for n in names]
    word, _, rest = wish.partition(".")
    if rest and word in FAMILIES:
        return [f"{rng.choice(('latent', 'observed'))} {word}"]
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
