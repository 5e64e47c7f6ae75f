"""Numbers written in a spec: as any argument of any distribution, of what is observed, latent or drawn by a guide, for each
example and for the data set; in what is computed; and as a parameter's first value. A module in float64 stays there."""

import math

import pytest
import torch
from torch import distributions as D

from lvspec.driver import compile_spec
from lvspec.ir.distributions import FAMILIES
from lvspec.verify import render, verify

F = torch.float64


def t(*values):
    return torch.tensor(values, dtype=F)


VECTOR = t(0.1, 0.2, 0.3, 0.4)
UNIT = VECTOR / VECTOR.norm()
FOUR = torch.zeros(4, dtype=F)
# family -> for each list of literal arguments: the density by torch, or None where it has none; and a value
ROWS = {
    "Categorical": {
        "logits=0 over m": (D.Categorical(logits=FOUR), torch.tensor(2)),
        "probs=0.25 over m": (D.Categorical(logits=FOUR), torch.tensor(2)),
    },
    "OneHotCategorical": {
        "logits=0 over m": (D.OneHotCategorical(logits=FOUR), t(0, 0, 1, 0)),
        "probs=0.25 over m": (D.OneHotCategorical(logits=FOUR), t(0, 0, 1, 0)),
    },
    "OrderedLogistic": {"0.5, ordered(0 over m)": (None, torch.tensor(4)), "C, ordered(-1 over c)": (None, torch.tensor(0))},
    "Bernoulli": {
        "logits=1": (D.Bernoulli(logits=t(1)[0]), torch.tensor(1)),
        "probs=0.3": (D.Bernoulli(probs=t(0.3)[0]), torch.tensor(0)),
    },
    "Binomial": {
        "6, logits=1": (D.Binomial(6, logits=t(1)[0]), torch.tensor(4)),
        "6, probs=0.3": (D.Binomial(6, probs=t(0.3)[0]), torch.tensor(4)),
        "C, logits=-1": (D.Binomial(2, logits=t(-1)[0]), torch.tensor(1)),
    },
    "Multinomial": {
        "6, logits=0 over m": (D.Multinomial(6, logits=FOUR), torch.tensor([1, 0, 3, 2])),
        "C, probs=0.25 over m": (D.Multinomial(2, logits=FOUR), torch.tensor([1, 0, 0, 1])),
    },
    "Geometric": {
        "logits=1": (D.Geometric(logits=t(1)[0]), torch.tensor(4)),
        "probs=0.3": (D.Geometric(probs=t(0.3)[0]), torch.tensor(0)),
    },
    "Poisson": {"3": (D.Poisson(t(3)[0]), torch.tensor(4)), "C": (D.Poisson(t(2)[0]), torch.tensor(0))},
    "NegativeBinomial": {
        "2.5, logits=1": (D.NegativeBinomial(t(2.5)[0], logits=t(1)[0]), torch.tensor(4)),
        "C, probs=0.3": (D.NegativeBinomial(t(2)[0], probs=t(0.3)[0]), torch.tensor(0)),
    },
    "ZeroInflatedPoisson": {"0.3, 3": (None, torch.tensor(4)), "0.3, C": (None, torch.tensor(0))},
    "Cauchy": {"0, 1": (D.Cauchy(t(0)[0], 1), t(0.4)[0]), "2": (D.Cauchy(t(2)[0], 1), t(0.4)[0])},
    "HalfCauchy": {"2": (D.HalfCauchy(t(2)[0]), t(0.4)[0]), "": (D.HalfCauchy(t(1)[0]), t(0.4)[0])},
    "TruncatedNormal": {"0, 1, 0, 1": (None, t(0.4)[0]), "0.5, C, 0, 1": (None, t(0.4)[0])},
    "HurdlePoisson": {"0.3, 3": (None, torch.tensor(4)), "0.3, C": (None, torch.tensor(0))},
    "ZeroInflatedNegativeBinomial": {
        "0.3, 3, logits=1": (None, torch.tensor(4)),
        "0.3, C, probs=0.2": (None, torch.tensor(0)),
    },
    "HalfNormal": {"2": (D.HalfNormal(t(2)[0]), t(0.4)[0]), "": (D.HalfNormal(t(1)[0]), t(0.4)[0])},
    "Weibull": {"2, 1.5": (D.Weibull(t(2)[0], t(1.5)[0]), t(0.4)[0])},
    "Normal": {"0, 1": (D.Normal(t(0)[0], 1), t(0.4)[0]), "1": (D.Normal(t(1)[0], 1), t(0.4)[0])},
    "Laplace": {"0, 1": (D.Laplace(t(0)[0], 1), t(0.4)[0]), "2": (D.Laplace(t(2)[0], 1), t(0.4)[0])},
    "StudentT": {
        "3": (D.StudentT(t(3)[0]), t(0.4)[0]),
        "3, 1, 2": (D.StudentT(t(3)[0], 1, 2), t(0.4)[0]),
    },
    "Uniform": {"": (D.Uniform(t(0)[0], 1), t(0.4)[0]), "0, 1": (D.Uniform(t(0)[0], 1), t(0.4)[0])},
    "LogNormal": {"0, 1": (D.LogNormal(t(0)[0], 1), t(0.4)[0]), "0.5": (D.LogNormal(t(0.5)[0], 1), t(0.4)[0])},
    "Exponential": {"2": (D.Exponential(t(2)[0]), t(0.4)[0])},
    "Gamma": {"2, 1": (D.Gamma(t(2)[0], 1), t(0.4)[0]), "0.5": (D.Gamma(t(0.5)[0], 1), t(0.4)[0])},
    "Beta": {"2, 1": (D.Beta(t(2)[0], t(1)[0]), t(0.4)[0])},
    "Dirichlet": {"1 over m": (D.Dirichlet(FOUR + 1), VECTOR), "0.5 over m": (D.Dirichlet(FOUR + 0.5), VECTOR)},
    "MultivariateNormal": {"0 over m, scale_tril=L": (D.MultivariateNormal(FOUR, scale_tril=torch.eye(4, dtype=F) / 2), VECTOR)},
    "VonMisesFisher": {"1 over m, 3": (None, UNIT)},
    "SphericalUniform": {"4": (None, UNIT)},
    "NormalMixture": {
        "logits=0 over c, loc=R, scale=exp(R)": (
            D.MixtureSameFamily(D.Categorical(torch.ones(2, dtype=F)), D.Independent(D.Normal(torch.zeros(2, 4, dtype=F), 1), 1)),
            VECTOR,
        )
    },
}  # fmt: skip
VECTORS = {f.name for f in FAMILIES.values() if f.event == "vector"}
CASES = [(family, arguments) for family, row in ROWS.items() for arguments in row]
HEAD = """lvspec: 1
name: m
sizes: {C: 2, Q: 4, P: 3}
plates: {m: Q, c: C, i: P, t: sequence}
params: {w: [P], A: [P, Q], L: {shape: [Q, Q], init: eye(0.5), frozen: true}, R: {shape: [C, Q], init: zeros}}
"""


def test_every_family_has_a_row():
    unread = {"TruncatedGeometric", "Delta", "Pointer"}  # no engine, or of guides alone
    unread |= {"NormalInverseWishart", "ImproperUniform"}  # test_drawn_together.py, test_codes.py
    unread |= {f.name for f in FAMILIES.values() if f.censored}  # test_censored.py
    assert set(ROWS) == {f.name for f in FAMILIES.values() if f.event != "structure"} - unread


@pytest.mark.parametrize(("family", "arguments"), CASES)
def test_density_of_an_observed_variable_is_that_of_torch(family, arguments):
    expected, value = ROWS[family][arguments]
    model = compile_spec(f"{HEAD}observed:\n  k: {family}({arguments})\n").Model().to(F)
    found = model.log_prob({"k": value[None]})
    assert found.dtype == F
    assert found.shape == (1,)
    if expected is not None:
        assert float(found.detach()) == pytest.approx(float(expected.log_prob(value.to(F))), abs=1e-12)
    drawn = model.sample(5)["k"]
    assert drawn.shape == (5, *value.shape)
    assert drawn.dtype == (torch.int64 if not value.is_floating_point() else F)


@pytest.mark.parametrize(("family", "arguments"), CASES)
def test_independent_copies_and_sites_add_up(family, arguments):
    value = ROWS[family][arguments][1]
    one = compile_spec(f"{HEAD}observed:\n  k: {family}({arguments})\n").Model().to(F)
    for line, key in ((f"k: {family}({arguments})[P]", {}), (f"k[i]: {family}({arguments})", {}), (f"k[t]: {family}({arguments})", {"t": torch.tensor([3])})):  # fmt: skip
        model = compile_spec(f"{HEAD}observed:\n  {line}\n").Model().to(F)
        found = model.log_prob({"k": value.expand(1, 3, *value.shape), **key})
        assert found.shape == (1,)
        torch.testing.assert_close(found, 3 * one.log_prob({"k": value[None]}), rtol=1e-12, atol=1e-12)
        assert model.sample(2, lengths={"t": torch.tensor([3, 3])})["k"].shape == (2, 3, *value.shape)


def reading(family):
    """A value of the family as a vector [P]."""
    return "matmul(A, k)" if family in VECTORS else "w * equal(k, 1)" if family == "Categorical" else "k * w"


def of_latent(family, arguments, guide, glob=""):
    """A model with a latent of that family, which what is observed reads."""
    name = "(k, S)" if family == "NormalInverseWishart" else "k"
    factor = f"guide:\n  {glob}{name}: {family}({arguments})\n" if guide else ""
    return (
        f"{HEAD}latent:\n  {glob}{name}: {family}({arguments})\nobserved:\n  x: Normal({reading(family)}, 1)\n{factor}"
    )


LATENTS = [
    (family, arguments, guide)
    for family, arguments in CASES
    if not FAMILIES[family].observed
    for guide in (False, True)
    if family not in ("SphericalUniform", "OneHotCategorical")
]


@pytest.mark.parametrize(("family", "arguments", "guide"), LATENTS)
def test_latent_of_literals_agrees_with_brute_force(family, arguments, guide):
    compiled = compile_spec(of_latent(family, arguments, guide))
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=1, draws=0)
    assert report.passed, render(report)
    model = compiled.Model().to(F)
    batch = {"x": torch.tensor([[0.3, 0.9, 1.0], [1.0, -1.0, 0.0]], dtype=F)}
    step = model(batch)
    value = step.log_prob if step.log_prob is not None else step.elbo
    assert value.dtype == F
    assert value.isfinite().all()
    step.loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    assert model.log_prob(batch).isfinite().all()
    assert model.posterior(batch)


COMPUTED = {
    "0.3 * k": lambda k: 0.3 * k,
    "k / 3": lambda k: k / 3,
    "k ** 0.7": lambda k: k**0.7,
    "(k + 1) ** (0 - 1)": lambda k: 1 / (k + 1),
    "exp(0.6 * k)": lambda k: math.exp(0.6 * k),
    "log(k + 1)": lambda k: math.log(k + 1),
    "softplus(k)": lambda k: math.log1p(math.exp(k)),
    "sqrt(k) - 0.1": lambda k: math.sqrt(k) - 0.1,
    "abs(k - 2) * 0.1": lambda k: abs(k - 2) * 0.1,
    "0.1 * (k - M / 3)": lambda k: 0.1 * (k - 4 / 3),
    "tanh(k) + 1 / M": lambda k: math.tanh(k) + 1 / 4,
    "square(k) * 0.1 + equal(k, 2) * 0.3": lambda k: k * k * 0.1 + 0.3 * (k == 2),
}


@pytest.mark.parametrize("expression", COMPUTED)
def test_whole_numbers_in_expressions_have_the_modules_precision(expression):
    """log Σ_k p(k) N(x; f(k), 1), k a latent, and Σ_k log N(x; f(k), 1), k a plate's number, to 1e-12."""
    f, x = COMPUTED[expression], 0.7
    density = [math.exp(-0.5 * (x - f(k)) ** 2) / math.sqrt(2 * math.pi) for k in range(4)]
    prior = [0.8**k for k in range(4)]
    sizes = "lvspec: 1\nname: m\nsizes: {M: 4}\n"
    latent = "plates: {i: M}\nlatent:\n  k: Categorical(logits=log(0.8) * i over i)\n"
    found = log_prob(f"{sizes}{latent}observed:\n  x: Normal({expression}, 1)\n", t(x))
    expected = math.log(sum(p * d for p, d in zip(prior, density, strict=True)) / sum(prior))
    assert found == pytest.approx(expected, abs=1e-12)
    found = log_prob(f"{sizes}plates: {{k: M}}\nobserved:\n  x[k]: Normal({expression}, 1)\n", t(x, x, x, x)[None])
    assert found == pytest.approx(sum(map(math.log, density)), abs=1e-12)


TOGETHER = {
    "dot(W, z)": lambda z: 0.3 * z[0] - 0.7 * z[1],
    "dot(z, n) * 0.1": lambda z: 0.1 * (3 * z[0] + 2 * z[1]),
    "exp(0.1 * dot(n, n))": lambda z: math.exp(1.3),
    "matmul(V, z + n)[1]": lambda z: 0.2 * (z[0] + 3) + 0.4 * (z[1] + 2),
    "0.6 * sum(z[h] over h)": lambda z: 0.6 * (z[0] + z[1]),
    "1 / (1 + sum(z[h] over h))": lambda z: 1 / (1 + z[0] + z[1]),
    "0.6 * prod(1 + z[h] over h)": lambda z: 0.6 * (1 + z[0]) * (1 + z[1]),
    "mean(z) + 0.1 * mean(n[h] over h)": lambda z: (z[0] + z[1]) / 2 + 0.25,
    "logsumexp(z)": lambda z: math.log(math.exp(z[0]) + math.exp(z[1])),
    "softmax(z)[0]": lambda z: math.exp(z[0]) / (math.exp(z[0]) + math.exp(z[1])),
    "0.1 * flatten(z[h] over h)[1]": lambda z: 0.1 * z[1],
    "0.1 * concat(z, n)[1] + 0.1 * max(z)": lambda z: 0.1 * z[1] + 0.1 * max(z),
}


@pytest.mark.parametrize("strategy", ["enumeration", "reinforce"])
@pytest.mark.parametrize("expression", TOGETHER)
def test_whole_numbers_that_are_read_together_have_the_modules_precision(expression, strategy):
    """log Σ_z p(z) N(x; f(z, n), 1) over two truth values, or log N(x; f(z, n), 1) at drawn ones, to 1e-12."""
    f, x = TOGETHER[expression], 0.7
    frozen = "{shape: [H], init: zeros, frozen: true}"
    compiled = compile_spec(f"""
lvspec: 1
name: m
sizes: {{H: 2}}
plates: {{h: H}}
params: {{a: {frozen}, W: [H], V: [H, H]}}
given:
  n[h]: count
latent:
  z[h]: Bernoulli(logits=a[h])
observed:
  x: Normal({expression}, 1)
infer:
  z: {strategy}
""")
    model = compiled.Model().to(F)
    with torch.no_grad():
        if hasattr(model, "W"):
            model.W.copy_(t(0.3, -0.7))
        if hasattr(model, "V"):
            model.V.copy_(t(0.5, 0.5, 0.2, 0.4).reshape(2, 2))
    values = [(i, j) for i in (0, 1) for j in (0, 1)]
    batch = {"x": t(x, x, x, x), "n": torch.tensor([[3, 2]] * 4), "z": torch.tensor(values)}
    known = model(batch)
    found = known.elbo if known.log_prob is None else known.log_prob
    expected = t(*(math.log(0.25) - 0.5 * (x - f(z)) ** 2 - 0.5 * math.log(2 * math.pi) for z in values))
    torch.testing.assert_close(found.detach(), expected, rtol=0, atol=1e-12)
    if strategy == "enumeration":
        total = model.log_prob({k: v[:1] for k, v in batch.items() if k != "z"})
        torch.testing.assert_close(total.detach()[0], expected.logsumexp(0), rtol=0, atol=1e-12)


def log_prob(text, x):
    found = compile_spec(text).Model().to(F).log_prob({"x": x})
    assert found.dtype == F
    return float(found)


RULES = {
    "constant(-1)": -1.0,
    "constant(0.1234567890123)": 0.1234567890123,
    "constant(1)": 1.0,
    "zeros": 0.0,
    "ones": 1.0,
}


@pytest.mark.parametrize("shape", ["[]", "[D]", "[D, D]"])
@pytest.mark.parametrize("rule", RULES)
def test_parameters_begin_at_their_rule(rule, shape):
    spec = f'lvspec: 1\nname: m\nsizes: {{D: 2}}\nparams:\n  a: {{shape: {shape}, init: "{rule}"}}\nobserved:\n  x: Normal(sum(flatten(a)), 1)\n'
    torch.set_default_dtype(F)
    a = compile_spec(spec).Model().a
    torch.set_default_dtype(torch.float32)
    assert a.shape == (2,) * shape.count("D")
    assert (a == RULES[rule]).all()


STRUCTURED = """lvspec: 1
name: m
sizes: {K: 3, L: 2, N: 2, P: 2, V: 3, R: 2}
plates: {t: sequence, k: K, j: N, v: V}
params: {A: [K, K], e: [K, V], d: [K, L], r: [N, N + P, N + P], y: [P, V], s: [V, 2, 2, 2], a: [V, 2, V], h: [N, R], b: [R, N + P]}
"""
EMISSION = "observed:\n  x[t]: Categorical(logits=e[z[t]])\n"
STRUCTURES = (
    f"latent:\n  z over t: LinearChain(unary=0 over k, pairwise=A)\n{EMISSION}",
    "observed:\n  z over t: LinearChain(unary=0.5 over k, pairwise=A)\n",
    f"latent:\n  z over t: SemiMarkov(start=0 over k, transition=A, length=d)\n{EMISSION}",
    "observed:\n  x over t: PCFG(root=0 over j, rules=r, terminals=y)\n",
    "observed:\n  x over t: LowRankPCFG(root=0 over j, head=h, left=b, right=b, terminals=y)\n",
    "observed:\n  x over t: DMV(root=0 over v, stop=s, attach=a)\n",
    f"latent:\n  z[0]: Categorical(logits=0 over k)\n  z[t]: Categorical(logits=A[z[t-1]])\n{EMISSION}guide:\n  z over t: LinearChain(unary=0 over k, pairwise=A)\n",
)  # fmt: skip


@pytest.mark.parametrize("body", STRUCTURES)
def test_structures_of_literal_scores_agree_with_brute_force(body):
    compiled = compile_spec(STRUCTURED + body)
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=1, draws=0)
    assert report.passed, render(report)


SHARED = [(family, arguments) for family, arguments in CASES if family in ("Normal", "Laplace", "LogNormal", "Gamma", "Beta", "Dirichlet", "Exponential")]  # fmt: skip


@pytest.mark.parametrize("guide", [False, True])
@pytest.mark.parametrize(("family", "arguments"), SHARED)
def test_literals_of_what_all_examples_share_agree_with_brute_force(family, arguments, guide):
    text = of_latent(family, arguments, guide).replace("  k: ", "  global k: ", 1)
    compiled = compile_spec(text)
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=1, draws=0)
    assert report.passed, render(report)
    if not guide:
        torch.manual_seed(0)
        assert compiled.Model(dataset_size=10).to(F)({"x": torch.zeros(2, 3, dtype=F)}).loss.isfinite()


PRODUCTS = {
    "a matrix times truth values": ("matmul(W, x)[0]", 2.0),
    "a vector times truth values": ("dot(W[0], x)", 2.0),
    "truth values times themselves": ("dot(x, x) / 4", 0.5),
    "counts of two plates": ("sum(dot(n[i, j] over j, m[k, j] over j) over k)", 8.0),
}


@pytest.mark.parametrize("dtype", [torch.float32, F], ids=str)
@pytest.mark.parametrize("name", PRODUCTS)
def test_whole_numbers_in_products(name, dtype):
    """Data of truth values and counts are whole numbers in a batch, parameters are not."""
    formula, expected = PRODUCTS[name]
    text = f"""
lvspec: 1
name: products
plates: {{i: bag, k: bag, j: 3}}
params: {{W: {{shape: [2, 3], init: ones, frozen: true}}, b: [3]}}
given:
  n[i, j]: count
  m[k, j]: count
observed:
  x: Bernoulli(logits=b)
  y[i]: Normal({formula} * (1 / 3) + n[i, 0] + 0 * sum(m[k, 0] over k), 1)
"""
    model = compile_spec(text).Model().to(dtype)
    x, n, m = torch.tensor([[1, 0, 1]]), torch.tensor([[[1, 2, 0]]]), torch.tensor([[[2, 1, 0], [0, 2, 5]]])
    batch = {"x": x, "n": n, "m": m, "y": torch.full((1, 1), expected / 3 + 1, dtype=dtype)}
    found = model.log_prob(batch) - D.Bernoulli(logits=model.b).log_prob(x.to(dtype)).sum()
    torch.testing.assert_close(found, torch.full((1,), -0.5 * math.log(2 * math.pi), dtype=dtype))
