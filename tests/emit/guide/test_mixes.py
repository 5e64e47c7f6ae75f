"""Every pair of methods, one for each of two latents: the mix is unbiased where the planner says so, its bias is measured
where it says otherwise, and a term of non-zero mean that is dropped is noticed.

The methods come from the planner's own tables; a model is put together for each pair, with b apart from a, below it in
the model, or told of it by the guide. What a pair does not go with, it is refused with.
"""

import re
from itertools import product

import pytest

from lvspec.errors import SpecError
from lvspec.ir.bounds import BOUNDS
from lvspec.ir.estimators import BASELINES, STRATEGIES
from lvspec.verify.checks.chance import z_check
from lvspec.verify.checks.compare import averages, deterministic
from lvspec.verify.checks.expectation import NotNumerable
from lvspec.verify.checks.gradients import GRADIENT
from lvspec.verify.oracle.world import TooMany
from tests.emit.guide.test_estimators import ROWS, exact_error, subject_of, without_score

REINFORCE = tuple(f"reinforce(baseline={b}{', samples=2' * (b == 'leave_one_out')})" for b in BASELINES)
# kinds of latents: how p and q are written ({above}: what is read of a latent above it), what others read of it, how wide
# that is, and the methods that the kind is for
KINDS = {
    "categories": (
        "Categorical(logits={low})",
        "Categorical(logits={high})",
        "onehot({z})",
        3,
        ("enumeration", *REINFORCE, "sum_and_sample(samples=2)", "without_replacement(samples=2)", "relax", "straight_through", "gumbel_softmax", "wake_sleep"),
    ),
    "summed": ("Categorical(logits={low})", None, "onehot({z})", 2, ("enumeration",)),
    "bits": (
        "Bernoulli(logits={low})",
        "Bernoulli(logits={high})",
        "{z}",
        2,
        (*REINFORCE, "disarm(samples=2)", "relax", "straight_through", "gumbel_softmax(density=relaxed)", "wake_sleep"),
    ),
    "gaussian": (
        "Normal({low}, 0.8)",
        "Normal(loc, softplus(scale)) where loc, scale = split({high})",
        "{z}",
        1,
        ("reparameterization", "wake_sleep"),
    ),
    "gamma": (
        "Gamma(softplus({low}) + 1, 1)",
        "Gamma(softplus(concentration) + 1, softplus(rate) + 1) where concentration, rate = split({high})",
        "log({z})",
        1,
        ("reparameterization",),
    ),
    "mixture": (
        "Normal({low}, 0.8)",
        "NormalMixture(m, reshape(l, 2, 1), softplus(reshape(s, 2, 1))) where m, l, s = split({high})",
        "{z}",
        1,
        ("reparameterization", "stratified(samples=2)"),
    ),
    "chain": ("Categorical(logits=follow_{z}[{z}[t-1]])", None, "onehot({z}[t])", 2, ("dynamic_programming",)),
    "sites": (
        "Categorical(logits=follow_{z}[{z}[t-1]])",
        "Categorical(logits={high})",
        "onehot({z}[t])",
        2,
        ("enumeration", *REINFORCE, "relax", "straight_through"),
    ),
    "labelling": (
        "Categorical(logits=follow_{z}[{z}[t-1]])",
        "LinearChain(unary={high}, pairwise=links_{z})",
        "onehot({z}[t])",
        2,
        ("marginals", REINFORCE[0], REINFORCE[1]),
    ),
}  # fmt: skip
METHODS = [(kind, method) for kind, entry in KINDS.items() for method in entry[-1] if method != "wake_sleep"]
ASLEEP = [
    (kind, method) for kind, entry in KINDS.items() for method in entry[-1] if method in ("wake_sleep", "enumeration")
]
RELATIONS = ("apart", "below", "told")
COUPLED = (
    "iwae(samples=2)",
    "renyi(samples=2, alpha=0.4)",
    "elbo(samples=2, gradient=sticking_the_landing)",
    "iwae(samples=2, gradient=doubly_reparameterized)",
    "reweighted_wake_sleep(samples=2)",
)
ALONG = ("chain", "sites", "labelling")
REFUSED = (
    "the bound is", "discrete latents are drawn by", "what is averaged under q would", "another one in each draw", "both weigh the draws", "is drawn by",
    "reads earlier sites", "has several sites", "the latent is discrete", "baseline=leave_one_out (VIMCO) or none",
    "is a CRF", "all draws weigh the same", "so q(", "is drawn", "relaxed value", "in one factor", "has no KL of its values", "pairs", "have gradients of their own", "a component",
)  # fmt: skip


def written(first, second, relation, bound="elbo"):
    """The spec of two latents, each of a kind, drawn or summed by a method."""
    params, networks, latent, guide, features, infer = [], [], [], [], [], []
    above, told, width_above = "", "", 0
    for z, (kind, method) in (("a", first), ("b", second)):
        p, q, feature, width, _ = KINDS[kind]
        high_size = {"gaussian": 2, "gamma": 2, "mixture": 6}.get(kind, 1)
        if kind in ALONG:
            params += [f"start_{z}: [2]", f"follow_{z}: [2, 2]", f"links_{z}: [2, 2]"]
            seen = "reader(x[t])"
        else:
            seen = "mean(reader(x))"
        low = f"prior_{z}"
        if above and relation != "apart" and kind not in ALONG:
            networks.append(f"low_{z}: Linear({width_above}, {width})")
            low = f"low_{z}({above})"
        else:
            params.append(f"prior_{z}: [{width}]")
        high, size = f"high_{z}({seen})", "H"
        if told and relation == "told":
            high, size = f"high_{z}(concat({seen}, {told}))", f"H + {width_above}"
        networks.append(f"high_{z}: Linear({size}, {width * high_size})")
        site = f"{z}[t]" if kind in ALONG else z
        if kind in ALONG:
            latent.append(f"{z}[0]: Categorical(logits=start_{z})")
        latent.append(f"{site}: {p.format(low=low, z=z)}")
        if q is not None:
            over = f"{z} over t" if kind == "labelling" else site
            guide.append(f"{over}: {q.format(high=high, z=z)}")
        if method not in ("dynamic_programming",) and (kind, method) != ("summed", "enumeration"):
            infer.append(f"{z}: {method}")
        features.append((feature.format(z=z), width))
        if kind not in ALONG:
            above, width_above = feature.format(z=z), width
            told = above if q is not None else ""
    networks.append(f"out: Linear({sum(w for _, w in features)}, V)")
    used = " ".join(latent + guide)
    return "\n".join(
        [
            "lvspec: 1",
            "name: mix",
            "sizes: {V: 3, H: 3}",
            "plates: {t: sequence}",
            "params:",
            *(f"  {p}" for p in params if p.partition(":")[0] in used),
            "  nothing: [V]",
            "networks:",
            "  reader: Embedding(V, H)",
            *(f"  {n}" for n in networks if n.partition(":")[0] in used or n.startswith("out")),
            "latent:",
            *(f"  {line}" for line in latent),
            "observed:",
            f"  x[t]: Categorical(logits=out(concat({', '.join(f for f, _ in features)})) + nothing)",
            *(["guide:"] if guide else []),
            *(f"  {line}" for line in guide),
            "infer:",
            f"  bound: {bound}",
            *(f"  {line}" for line in infer),
            "",
        ]
    )


def mixes(bound="elbo"):
    """All pairs, the relation of their latents going round."""
    methods = ASLEEP if bound.startswith("reweighted") else METHODS
    for i, (first, second) in enumerate(product(methods, methods)):
        yield first, second, RELATIONS[(i + i // len(methods)) % 3], bound


def legal(mix):
    """The subject; None where the planner refuses, which it must do with a reason of its own."""
    text = written(*mix)
    try:
        return subject_of(text)
    except SpecError as error:
        said = str(error)
        assert {d.code for d in error.diagnostics} <= {"override-refused", "no-strategy"}, f"{said}\n{text}"
        assert any(reason in said for reason in REFUSED), f"{said}\n{text}"
        return None


def checked(mix, draws=0):
    """What is exact, then what is measured; the strength of what was shown: 'exact', 'measured', 'biased' or 'fixed'."""
    subject = legal(mix)
    if subject is None:
        return "refused"
    text = written(*mix)
    checks = deterministic(subject, 3, thorough=False)
    if subject.plan.scored:
        checks += averages(subject)[:2]
    assert all(c.passed for c in checks), f"{[c for c in checks if not c.passed]}\n{text}"
    averaged = [c for c in checks if c.name.startswith("gradient averaged")]
    exact = [row for row, c in enumerate(averaged) if c.figure is not None]
    if exact:
        assert exact_error(subject_of(text, without_score), exact[0]) > 1000 * GRADIENT, text
    if draws and subject.plan.sampled:
        try:
            check = z_check(subject, [*subject.plan.scored, *subject.plan.relaxed], 0, draws, seed=1)
        except (NotNumerable, TooMany):  # fixed draws have been compared
            return "exact" if exact else "fixed"
        assert check.passed, f"{check}\n{text}"
        if subject.plan.biased:
            off = float(re.search(r"off by ([\d.e+-]+)", check.note)[1])
            assert check.figure is None and off > 0, text
            return "biased"
        return "measured"
    return "exact" if exact else "biased" if subject.plan.biased else "fixed"


def named(mix):
    (a, x), (b, y), relation, bound = mix
    return f"{a}-{x}+{b}-{y}+{relation}+{bound}"


def some(bound, every, first):
    return list(mixes(bound))[first::every]


# each method as a and as b at least once: a step that has no divisor in common with how many methods there are
FEW = [m for i, m in enumerate(mixes()) if (i // len(METHODS) * 7 + 3) % len(METHODS) == i % len(METHODS)]
FEW += [m for bound in COUPLED for m in some(bound, 5 if "wake" in bound else 211, 2)]


# nothing is drawn; or of an expectation under the model's own distribution, beside no other draw
APART = {
    "linear_gaussian",
    "conjugacy",
    "joint_gaussian",
    "mean_field",
    "structured_mean_field",
    "point_estimate",
    "subset",
}


def test_every_method_and_bound_is_in_the_table():
    assert {m.partition("(")[0] for _, m in METHODS + ASLEEP} == set(STRATEGIES) - APART
    assert {b.partition("(")[0] for b in (*COUPLED, "elbo")} == set(BOUNDS)


@pytest.mark.parametrize("mix", FEW, ids=named)
def test_a_mix_of_methods(mix):
    checked(mix)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")  # of torch's vmap over gamma draws
@pytest.mark.parametrize("bound", ["elbo", *COUPLED])
def test_every_mix(bound):
    """All pairs: what can be averaged exactly is; of the others, and of some of those, the mean of many draws."""
    found = {}
    for i, mix in enumerate(mixes(bound)):
        strength = checked(mix)
        if strength == "fixed" or i % 20 == 0:
            strength = checked(mix, ROWS // 10)
        found.setdefault(strength, []).append(mix)
    print({strength: len(mixes) for strength, mixes in found.items()})
    assert ("biased" if "wake" in bound else "measured") in found
