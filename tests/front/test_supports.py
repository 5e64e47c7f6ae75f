"""The support of a distribution, as its arguments have it: what is summed, which q is derived, what is refused."""

import math

import pytest
import torch

from lvspec.driver import compile_spec, plan_spec, read_spec
from lvspec.errors import SpecError
from lvspec.ir.types import Range
from lvspec.verify import render, verify

F = torch.float64
HEAD = """lvspec: 1
name: m
sizes: {K: 3, D: 2, N: 6}
plates: {t: sequence, i: 3}
params: {a: [], b: [], w: [K], W: [D], mu: [D, K], A: [K, K], e: ["N + 1", D]}
"""


def agrees(body):
    """The compiled model, held against brute force."""
    compiled = compile_spec(HEAD + body)
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=1, draws=0)
    assert report.passed, render(report)
    return compiled


def treatment(compiled, name):
    return compiled.plan.latent(name).treatment


# ---------------------------------------------------------------- ranges
def range_of(expression):
    spec = read_spec(f"{HEAD}let:\n  y: {expression}\nobserved:\n  x: Normal(y, 1)\n")
    return spec.variable("y").type.support.range


OPEN = (True, True)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("exp(-softplus(a))", Range(0, 1, OPEN)),
        ("1 - exp(-softplus(b))", Range(0, 1, OPEN)),
        ("1 + exp(a)", Range(1, math.inf, OPEN)),
        ("1 / (1 + exp(a))", Range(0, 1, OPEN)),
        ("0.5 * (1 + tanh(a))", Range(0, 1, OPEN)),
        ("2 - sigmoid(a)", Range(1, 2, OPEN)),
        ("square(tanh(a))", Range(0, 1, (False, True))),
        ("sqrt(1 + square(a))", Range(1, math.inf, (False, True))),
        ("log(1 + exp(a))", Range(0, math.inf, OPEN)),
        ("softplus(a) ** b", Range(0, math.inf, OPEN)),
        ("sigmoid(a) ** 2", Range(0, 1, OPEN)),
        ("sum(square(W)) + 0.1", Range(0.1, math.inf, (False, True))),
        ("prod(sigmoid(W))", Range(0, 1, OPEN)),
        ("dot(softmax(w), sigmoid(w))", Range(0, 1, OPEN)),
        ("1 / abs(a)", Range(0, math.inf, (False, True))),
        ("exp(a) / (exp(a) - 1)", Range(-math.inf, math.inf, OPEN)),
        ("a * exp(b)", Range(-math.inf, math.inf, OPEN)),
        # averages
        ("sigmoid(a) + (1 - sigmoid(a)) * sigmoid(b)", Range(0, 1, (True, False))),
        ("(1 - sigmoid(a)) * tanh(b) * 0.5 + sigmoid(a) * 3", Range(-0.5, 3, (True, False))),
        ("0.9 * sigmoid(a) + (1 - 0.9) * sigmoid(b)", Range(0, 1, OPEN)),
        ("sigmoid(a) + (1 - sigmoid(b)) * sigmoid(b)", Range(0, 2, OPEN)),
        ("exp(a) + (1 - exp(a)) * sigmoid(b)", Range(-math.inf, math.inf, OPEN)),
    ],
)
def test_range_of_an_expression(expression, expected):
    found = range_of(expression)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    for end, out in zip((found.low, found.high), zip(found.open, expected.open, strict=True), strict=True):
        assert math.isinf(end) or out[0] == out[1]


@pytest.mark.parametrize("draws", [2000])
def test_values_lie_in_the_ranges_that_are_told(draws):
    """Expressions at random numbers, computed by the emitted module itself."""
    generator = torch.Generator().manual_seed(0)
    for expression in ("exp(-softplus(a))", "1 / (2 + tanh(a) * sigmoid(b))", "square(a) - sigmoid(b)", "abs(a) ** 1.5 - relu(b)", "log(1 + exp(a)) / (1 + exp(b))", "sigmoid(a) * tanh(b) + 2 * (1 - sigmoid(a))"):  # fmt: skip
        told = range_of(expression)
        model = compile_spec(f"{HEAD}given:\n  a: real\n  b: real\nobserved:\n  x: Normal({expression}, 1)\n".replace("a: [], b: [], ", "")).Model().to(F)  # fmt: skip
        a, b = 3 * torch.randn(2, draws, dtype=F, generator=generator)
        # the density of 0 tells the mean's square, and that of 1 its sign
        zeros = torch.zeros(draws, dtype=F)
        p0, p1 = (model.log_prob({"a": a, "b": b, "x": zeros + x}).detach() for x in (0, 1))
        mean = p1 - p0 + 0.5
        assert (mean >= told.low - 1e-9).all()
        assert (mean <= told.high + 1e-9).all()


def test_an_answer_that_is_guessed_is_an_average_of_two_chances():
    """The three-parameter logistic model of item responses."""
    body = """given:
  u: real
let:
  guess: sigmoid(a)
latent:
  k: Categorical(logits=w)
observed:
  y[i]: Bernoulli(probs=guess + (1 - guess) * sigmoid(w[k] + b * u))
"""
    one = agrees(body)
    model = one.Model().double()
    y, u = torch.tensor([[0, 1, 1], [0, 0, 0]]), torch.tensor([0.5, -2.0], dtype=F)
    g = model.a.sigmoid()
    p = g + (1 - g) * (model.w + model.b * u[:, None]).sigmoid()  # (B, K)
    seen = torch.where(y[:, :, None] == 1, p[:, None], 1 - p[:, None]).log().sum(1)
    torch.testing.assert_close(model.log_prob({"y": y, "u": u}), (model.w.log_softmax(0) + seen).logsumexp(1))


def test_frozen_parameters_have_the_range_of_their_rule():
    frozen = "params:\n  s: {shape: [], init: constant(0.5), frozen: true}\n  C: {shape: [D, D], init: eye(2), frozen: true}\n"
    text = "lvspec: 1\nname: m\nsizes: {D: 2}\n" + frozen
    compiled = compile_spec(
        f"{text}observed:\n  x: Normal(0, s)\n  y: MultivariateNormal(0 * s + C[0], covariance_matrix=C)\n"
    )
    x, y = torch.tensor([0.3], dtype=F), torch.tensor([[0.1, 0.2]], dtype=F)
    expected = torch.distributions.Normal(0, 0.5).log_prob(x)
    expected = expected + torch.distributions.Normal(torch.tensor([2.0, 0.0], dtype=F), math.sqrt(2)).log_prob(y).sum(
        -1
    )
    torch.testing.assert_close(compiled.Model().to(F).log_prob({"x": x, "y": y}).detach(), expected)


# ---------------------------------------------------------------- counts with an end
@pytest.mark.parametrize(
    ("p", "q"), [("Poisson(exp(a))", "Poisson(exp(b))"), ("Binomial(4, logits=a)", "Binomial(4, logits=b)")]
)
def test_a_written_count_that_leaves_what_is_observed_impossible_is_refused(p, q):
    """q(n = 0) > 0, and y successes of no tries have no probability: E_q log p(y | n) = -inf wherever y > 0."""
    text = f"lvspec: 1\nparams: {{a: [], b: []}}\nlatent:\n  n: {p}\nobserved:\n  y: Binomial(n, probs=0.3)\n"
    with pytest.raises(SpecError, match="which begins at 0: where y is more, the ELBO is -inf"):
        plan_spec(f"{text}guide:\n  n: {q}\n")
    inner = text.replace("observed:\n  y", "  m") + "observed:\n  x: Normal(m, 1)\n"
    plan_spec(f"{inner}guide:\n  n: {q}\n  m: Binomial(n, probs=0.5)\n")  # what is drawn among n tries is possible


def test_binomial_latent_is_summed():
    """log Σ_n Binomial(n; 6, σ(0.4)) Π_i Binomial(y_i; n, σ(-0.3)), by hand."""
    compiled = agrees("latent:\n  n: Binomial(6, logits=a)\nobserved:\n  y[i]: Binomial(n, logits=b)\n")
    model = compiled.Model().to(F)
    with torch.no_grad():
        model.a.fill_(0.4)
        model.b.fill_(-0.3)
    rows = [[1, 2, 0], [4, 5, 3]]
    p, q = (1 / (1 + math.exp(-v)) for v in (0.4, -0.3))

    def pmf(k, n, p):
        return math.comb(n, k) * p**k * (1 - p) ** (n - k) if k <= n else 0.0

    joint = [[pmf(n, 6, p) * math.prod(pmf(y, n, q) for y in row) for n in range(7)] for row in rows]
    batch = {"y": torch.tensor(rows)}
    assert model.log_prob(batch).tolist() == pytest.approx([math.log(sum(j)) for j in joint], abs=1e-12)
    marginals = model.posterior(batch)["n"].marginals
    assert marginals.flatten().tolist() == pytest.approx([v / sum(j) for j in joint for v in j], abs=1e-12)


@pytest.mark.parametrize(
    ("body", "name", "expected"),
    [
        ("latent:\n  n: Binomial(N, logits=a)\nobserved:\n  x: Normal(e[n], 1)\n", "n", "collapsed"),
        ("latent:\n  n: Binomial(N, logits=a)\n  m: Binomial(n, probs=0.3)\nobserved:\n  x: Normal(m * W + n, 1)\n", "m", "collapsed"),
        ("latent:\n  n[0]: Binomial(2, logits=a)\n  n[t]: Binomial(3, logits=0.5*n[t-1])\nobserved:\n  x[t]: Normal(0.3 * n[t] * W, 1)\n", "n", "collapsed"),
        ("latent:\n  n: Binomial(3, logits=a)\nobserved:\n  x: Normal(n * W, 1)\nguide:\n  n: Binomial(3, logits=x[0])\n", "n", "enumerated"),
        ("latent:\n  n: Binomial(3, logits=a)\nobserved:\n  x: Normal(n * W, 1)\ninfer: {n: reinforce}\n", "n", "sampled"),
    ],
)  # fmt: skip
def test_counts_with_an_end_agree_with_brute_force(body, name, expected):
    assert treatment(agrees(body), name) == expected


def test_q_of_too_many_values_for_a_sum_is_a_binomial_as_well():
    body = "latent:\n  n: Binomial(100000, logits=a)\nobserved:\n  x: Normal(0.00001 * n * W, 1)\ninfer: {budget_bytes: 10000}\n"
    compiled = agrees(body)
    assert compiled.plan.guide[0].general.body.family == "Binomial"
    torch.manual_seed(0)
    assert compiled.Model().to(F)({"x": torch.zeros(2, 2, dtype=F)}).elbo.isfinite().all()


def test_a_given_count_lies_below_the_end():
    model = compile_spec(f"{HEAD}latent:\n  n: Binomial(3, logits=a)\nobserved:\n  x: Normal(n * W, 1)\n").Model()
    with pytest.raises(ValueError, match="`n` holds 4 at .*from 0 to 3"):
        model({"x": torch.zeros(1, 2), "n": torch.tensor([4]), "n_observed": torch.tensor([True])})


# ---------------------------------------------------------------- one-hot vectors
ONE_HOT = [
    ("latent:\n  c: OneHotCategorical(logits=w)\nobserved:\n  x: Normal(matmul(mu, c), 1)\n", "collapsed"),
    ("latent:\n  c[0]: OneHotCategorical(logits=w)\n  c[t]: OneHotCategorical(logits=matmul(A, c[t-1]))\nobserved:\n  x[t]: Normal(matmul(mu, c[t]) + c[t, 1], 1)\n", "collapsed"),
    ("latent:\n  c: OneHotCategorical(logits=w)\nobserved:\n  x: Normal(matmul(mu, c), 1)\nguide:\n  c: OneHotCategorical(logits=x[0]*w)\n", "enumerated"),
    ("latent:\n  c: OneHotCategorical(logits=w)\nobserved:\n  x: Normal(matmul(mu, c), 1)\ninfer: {c: reinforce}\n", "sampled"),
    ("latent:\n  c[i]: OneHotCategorical(logits=w)\nobserved:\n  x: Normal(sum(matmul(mu, c[i]) over i), 1)\n", "collapsed"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "expected"), ONE_HOT)
def test_one_hot_latents_are_categories(body, expected):
    assert treatment(agrees(body), "c") == expected


def test_draws_of_one_hot_latents_have_their_frequencies():
    compiled = compile_spec(
        HEAD + ONE_HOT[0][0].replace("Normal(matmul(mu, c), 1)", "Categorical(logits=matmul(A, c))")
    )
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=1, draws=2000)
    assert report.passed, render(report)
    assert any(c.name == "z of the frequencies of samples" and c.figure is not None for c in report.checks)


def test_one_hot_latent_is_summed_and_is_a_vector_outside():
    model = compile_spec(HEAD + ONE_HOT[0][0]).Model().to(F)
    x = torch.tensor([[0.5, -1.0], [2.0, 0.3]], dtype=F)
    log_p = torch.distributions.Normal(model.mu.T, 1).log_prob(x[:, None]).sum(-1) + model.w.log_softmax(-1)
    torch.testing.assert_close(model.log_prob({"x": x}), log_p.logsumexp(-1))
    drawn = model.sample(5)
    assert drawn["c"].shape == (5, 3)
    assert (drawn["c"].sum(-1) == 1).all()
    assert torch.equal(model.sample(5, given={"c": drawn["c"]})["c"], drawn["c"])
    known = {"x": x, "c": torch.eye(3, dtype=F)[[2, 0]], "c_observed": torch.tensor([True, False])}
    torch.testing.assert_close(model.log_prob(known), torch.stack([log_p[0, 2], log_p[1].logsumexp(-1)]))
    with pytest.raises(ValueError, match="`c` holds -1.*a vector of zeros with a single 1"):
        model.log_prob(known | {"c": torch.full((2, 3), 0.5, dtype=F)})


# ---------------------------------------------------------------- what q is derived
def test_uniform_latent_between_0_and_1_has_a_beta_q():
    compiled = agrees("latent:\n  u: Uniform(0, 1)\nobserved:\n  x: Normal(u * W, 1)\n")
    assert compiled.plan.guide[0].general.body.family == "Beta"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("latent:\n  u: Uniform(0, 2)\nobserved:\n  x: Normal(u, 1)\n", "u lies between 0 and 2, and a derived q would not"),
        ("latent:\n  u: Uniform(a, b)\nobserved:\n  x: Normal(u, 1)\n", "`low` and `high` of Uniform bound u"),
        ("latent:\n  n: Poisson(exp(a))\nobserved:\n  y[i]: Binomial(n, logits=b)\n", "`total_count` of Binomial bounds y by n"),
        ("latent:\n  u: Gamma(2, 1)\nlet:\n  v: 2 * u\nobserved:\n  y: Uniform(0, v)\n", "`high` of Uniform bounds y by u"),
    ],
)  # fmt: skip
def test_no_q_is_derived_under_which_data_are_impossible(body, reason):
    with pytest.raises(SpecError) as found:
        compile_spec(HEAD + body)
    assert reason in str(found.value)
    assert "write its q" in str(found.value)


def test_written_guides_within_the_bounds_agree_with_brute_force():
    agrees("latent:\n  u: Uniform(0, 2)\nobserved:\n  x: Normal(u * W, 1)\nguide:\n  u: Uniform(0.5, 1.5)\n")


def test_counts_without_an_end_are_no_index():
    with pytest.raises(SpecError, match="nothing keeps this integer among them"):
        read_spec(f"{HEAD}latent:\n  n: Poisson(2)\nobserved:\n  x: Normal(e[n], 1)\n")


# ---------------------------------------------------------------- what is certain, and what cannot be
GATES = """
lvspec: 1
name: gates
params: {a: [], b: []}
latent:
  u: Bernoulli(logits=a)
  v: Bernoulli(logits=b)
  same: Bernoulli(probs=equal(u, v))
observed:
  x: Normal(2 * same + u, 1)
  y: Bernoulli(probs=0.5 * same)
  n: Binomial(3, probs=equal(u, v))
  k: Geometric(probs=1 - 0.5 * same)
"""


def test_probabilities_of_0_and_1_decide():
    """log Σ_u,v p(u) p(v) p(x, y, n, k given u, v), by hand: what is impossible has log p = -inf, and no gradient."""
    compiled = compile_spec(GATES)
    model = compiled.Model().to(F)
    with torch.no_grad():
        model.a.fill_(0.4)
        model.b.fill_(-0.3)
    batch = {"x": torch.tensor([0.3, 1.2, 0.1], dtype=F), "y": torch.tensor([1, 0, 1]), "n": torch.tensor([3, 0, 0]), "k": torch.tensor([2, 0, 0])}  # fmt: skip
    p, q = (1 / (1 + math.exp(-v)) for v in (0.4, -0.3))

    def joint(u, v, x, y, n, k):
        same = u == v
        chance = (p if u else 1 - p) * (q if v else 1 - q) * (0.5 if same else float(y == 0)) * float(n == 3 * same)
        chance *= 0.5 ** (k + 1) if same else float(k == 0)
        return chance * math.exp(-0.5 * (x - 2 * same - u) ** 2) / math.sqrt(2 * math.pi)

    rows = list(zip(*(v.tolist() for v in batch.values()), strict=True))
    chances = [sum(joint(u, v, *row) for u in (0, 1) for v in (0, 1)) for row in rows]
    found = model.log_prob(batch)
    assert found[:2].tolist() == pytest.approx([math.log(c) for c in chances[:2]], abs=1e-12)
    assert chances[2] == 0 and found[2] == -math.inf
    assert model.float().log_prob({k: v.float() if k == "x" else v for k, v in batch.items()})[2] == -math.inf
    found[:2].sum().backward()
    assert model.a.grad.isfinite() and model.b.grad.isfinite()
    report = verify(compiled.spec, compiled.plan, compiled.Model, draws=0)
    assert report.passed, render(report)


def test_small_probabilities_are_not_cut_off():
    """In single precision, too: log p = -20."""
    model = compile_spec(
        "lvspec: 1\nname: m\nparams: {a: []}\nobserved:\n  y: Bernoulli(probs=exp(-20 - relu(a)))\n"
    ).Model()
    with torch.no_grad():
        model.a.fill_(-1.0)
    assert model.log_prob({"y": torch.tensor([1, 0])}).tolist() == pytest.approx([-20, 0], abs=1e-6)


@pytest.mark.parametrize(("probability", "param"), [("sigmoid(a)", "a: []"), ("softmax(a)[0]", "a: [2]")])
def test_what_is_certain_by_rounding_alone_is_possible(probability, param):
    """1 - p is 1e-13, and p is 1 in single precision: a value of 0 is as likely as numbers near 1 can say, and no -inf."""
    text = f"lvspec: 1\nname: m\nparams: {{{param}}}\nobserved:\n  y: Bernoulli(probs={probability})\n"
    model = compile_spec(text).Model()
    with torch.no_grad():
        model.a.copy_(torch.tensor(30.0) if model.a.dim() == 0 else torch.tensor([30.0, 0.0]))
    found = model({"y": torch.tensor([0])})
    assert -30 < found.log_prob.item() < -15
    found.loss.backward()
    assert model.a.grad.isfinite().all()
