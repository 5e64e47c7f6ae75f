"""Guides whose factors read their own earlier or later sites, against brute force; divergences that are not closed forms."""

from dataclasses import replace

import pytest
import torch

from lvspec.driver import compile_spec, plan_spec
from lvspec.emit import emit
from lvspec.errors import SpecError
from lvspec.load import load_module
from lvspec.verify import verify
from lvspec.verify.checks.chance import z_check
from lvspec.verify.checks.subject import Subject

DEEP = """
params:
  first: [D]
  before: [D]
networks:
  move: MLP(D, H, 2*D)
  emit: MLP(D, H, P)
  reader: GRU(P, H)
  combine: MLP(D + H, H, 2*D)
latent:
  z[0]: Normal(first, 1)
  z[t]: Normal(loc, softplus(scale)) where loc, scale = split(move(z[t-1]))
observed:
  x[t]: Bernoulli(logits=emit(z[t]))
guide:
  h[t]: reader(x[>=t])
  z[0]: Normal(loc, softplus(scale)) where loc, scale = split(combine(concat(before, h[0])))
  z[t]: Normal(loc, softplus(scale)) where loc, scale = split(combine(concat(z[t-1], h[t])))
"""

STATES = """
params:
  start: [K]
  transition: [K, K]
  emission: [K, P]
  begin: [K]
  follow: [K, K]
networks:
  read: Linear(P, K)
latent:
  z[0]: Categorical(logits=start)
  z[t]: Categorical(logits=transition[z[t-1]])
observed:
  x[t]: Normal(emission[z[t]], 1)
guide:
  z[0]: Categorical(logits=begin + read(x[0]))
  z[t]: Categorical(logits=follow[z[t-1]] + read(x[t]))
"""

PLAIN = """
params: {before: [D], width: []}
latent:
  z[t]: Normal(0, 1)[D]
observed:
  x[t]: Normal(sum(tanh(z[t])), 1)[P]
guide:
"""

SPECS = {
    "forwards": DEEP,
    "numbers_beside_vectors": PLAIN
    + """  z[0]: Normal(before, 0.5)
  z[t]: Normal(tanh(z[t-1]) + x[t, 0], softplus(width))
""",
    "computed_between_draws": PLAIN.replace(", width: []", "")
    + """  h[0]: before
  h[t]: tanh(h[t-1] + z[t-1] + x[t, 0])
  z[t]: Normal(h[t], 1)
""",
    "backwards": DEEP[: DEEP.index("guide:")].replace("  before: [D]\n", "")
    + """guide:
  z[t]: Normal(loc, softplus(scale)) where loc, scale = split(combine(concat(z[t+1], reader(x[<=t]))))
""",
    "implicit gradients": DEEP.replace("Normal(first, 1)", "Gamma(softplus(first), 1)").replace(
        "Normal(loc, ", "Gamma(softplus(loc), "
    ),
    "scored, continuous": DEEP + "infer: {z: reinforce(samples=2)}\n",
    "scored": STATES + "infer: {z: reinforce(samples=2)}\n",
    "second order": """
networks:
  move: Linear(D, D)
  emit: Linear(D, P)
  q0: Linear(P, 2*D)
  q1: Linear(D + P, 2*D)
  q: MLP(2*D + P, H, 2*D)
latent:
  z[0]: Normal(0, 1)[D]
  z[t]: Normal(tanh(move(z[t-1])), 1)
observed:
  x[t]: Normal(emit(z[t]), 1)
guide:
  z[0]: Normal(loc, softplus(scale)) where loc, scale = split(q0(x[0]))
  z[1]: Normal(loc, softplus(scale)) where loc, scale = split(q1(concat(z[0], x[1])))
  z[t]: Normal(loc, softplus(scale)) where loc, scale = split(q(concat(concat(z[t-1], z[t-2]), x[t])))
""",
    "two latents together": """
params:
  start: [K]
  transition: [K, K]
  begin: [K]
networks:
  move: Linear(D, D)
  emit: Linear(D, P)
  choose: Linear(D + P, K)
  q0: Linear(P + K, 2*D)
  q: MLP(D + K + P, H, 2*D)
latent:
  c[0]: Categorical(logits=start)
  c[t]: Categorical(logits=transition[c[t-1]])
  z[0]: Normal(0, 1)[D]
  z[t]: Normal(tanh(move(z[t-1])) * c[t], 1)
observed:
  x[t]: Normal(emit(z[t]), 1)
guide:
  c[0]: Categorical(logits=begin)
  c[t]: Categorical(logits=choose(concat(z[t-1], x[t])))
  z[0]: Normal(loc, softplus(scale)) where loc, scale = split(q0(concat(x[0], onehot(c[0]))))
  z[t]: Normal(loc, softplus(scale)) where loc, scale = split(q(concat(concat(z[t-1], onehot(c[t])), x[t])))
infer: {c: reinforce(samples=2)}
""",
    "through a let variable": """
networks:
  move: Linear(D, D)
  emit: Linear(D, P)
  begin: Linear(P, H)
  cell: Linear(H + D, H)
  q: MLP(H + P, H, 2*D)
latent:
  z[0]: Normal(0, 1)[D]
  z[t]: Normal(tanh(move(z[t-1])), 1)
observed:
  x[t]: Normal(emit(z[t]), 1)
guide:
  h[0]: begin(x[0])
  h[t]: tanh(cell(concat(h[t-1], z[t-1])))
  z[t]: Normal(loc, softplus(scale)) where loc, scale = split(q(concat(h[t], x[t])))
""",
    "beside an enumerated latent": """
params:
  prior: [K]
  shift: [K, D]
networks:
  move: Linear(D, D)
  emit: Linear(D + K, P)
  choose: Linear(P, K)
  q0: Linear(P, 2*D)
  q: MLP(D + K + P, H, 2*D)
latent:
  y: Categorical(logits=prior)
  z[0]: Normal(0, 1)[D]
  z[t]: Normal(tanh(move(z[t-1])), 1)
observed:
  x[t]: Normal(emit(concat(z[t], onehot(y))), 1)
guide:
  y: Categorical(logits=choose(sum(x)))
  z[0]: Normal(loc, softplus(scale)) where loc, scale = split(q0(x[0]))
  z[t]: Normal(shift[y] + loc, softplus(scale)) where loc, scale = split(q(concat(concat(z[t-1], onehot(y)), x[t])))
""",
    "on a fixed plate, too": """
plates:
  t: sequence
  l: 2
params:
  first: [2, D]
  factor: [2, D]
networks:
  move: Linear(D, D)
  emit: Linear(D, P)
  q: MLP(D + P, H, 2*D)
latent:
  z[0, l]: Normal(first[l], 1)
  z[t, l]: Normal(tanh(move(z[t-1, l])), 1)
observed:
  x[t]: Normal(emit(sum(z[t, l] over l)), 1)
guide:
  z[0, l]: Normal(first[l], 1)
  z[t, l]: Normal(loc * factor[l], softplus(scale)) where loc, scale = split(q(concat(sum(z[t-1, l] over l), x[t])))
""",
    "importance-weighted": DEEP + "infer:\n  bound: iwae(samples=2)\n",
    "sticking the landing": DEEP + "infer:\n  bound: elbo(samples=2, gradient=sticking_the_landing)\n",
    "doubly reparameterized": DEEP + "infer:\n  bound: iwae(samples=2, gradient=doubly_reparameterized)\n",
    "VIMCO": STATES + "infer:\n  z: reinforce\n  bound: iwae(samples=2)\n",
    "wake-sleep": STATES + "infer:\n  bound: reweighted_wake_sleep(samples=2)\n",
}

# a guide that goes through the model in the other direction: a is drawn after b, and looks at it
INVERSE = """
networks:
  below: MLP(D, H, D)
  emit: Linear(D, P)
  read: MLP(P, H, 2*D)
  above: MLP(D, H, 2*D)
latent:
  a: Normal(0, 1)[D]
  b: Normal(below(a), 1)
observed:
  x: Normal(emit(b), 1)
guide:
  b: Normal(loc, softplus(scale)) where loc, scale = split(read(x))
  a: Normal(loc, softplus(scale)) where loc, scale = split(above(b))
"""


def text(body: str, **sizes: int) -> str:
    sizes = {"P": 2, "D": 1, "H": 2, "K": 2} | sizes
    used = "".join(f"  {n}: {v}\n" for n, v in sizes.items() if any(f"{a}{n}" in body for a in ("[", "(", " ", "*")))
    plates = "" if "[t" not in body or "plates:" in body else "plates:\n  t: sequence\n"
    return f"lvspec: 1\nname: small\nsizes:\n{used}{plates}{body}"


@pytest.mark.parametrize("name", SPECS)
def test_a_guide_along_a_plate_agrees_with_brute_force(name):
    found = compile_spec(text(SPECS[name]))
    report = verify(found.spec, found.plan, found.Model, seed=1, draws=0)
    assert report.passed, [str(c) for c in report.checks if not c.passed]


@pytest.mark.parametrize("name", ["forwards", "backwards", "two latents together"])
def test_the_mean_gradient_is_that_of_the_expectation(name):
    found = compile_spec(text(SPECS[name]))
    subject = Subject.of(found.plan, found.Model, 2)
    scored = [p.name for p in found.plan.latents if p.strategy == "reinforce"]
    check = z_check(subject, scored, 0, 5_000, 2)
    assert check.passed and check.figure is not None, check


def test_networks_that_read_no_draw_run_once():
    source = compile_spec(text(SPECS["forwards"])).source
    loop = source[source.index("for t in range") : source.index("stack_sites(z_sites")]
    assert "self.combine" in loop and "self.reader" not in loop


def test_no_sites_and_no_rows():
    model = compile_spec(text(SPECS["forwards"])).Model()
    for rows, sites in ((2, 0), (0, 3)):
        found = model({"x": torch.zeros(rows, sites, 2), "t": torch.full((rows,), sites)})
        assert found.elbo.shape == (rows,) and not found.elbo.any()


def test_a_draw_that_a_later_factor_looks_at_has_no_divergence_in_closed_form():
    plan = plan_spec(text(INVERSE))
    assert (plan.latent("a").kl, plan.latent("b").kl) == ("analytic", "sampled")
    assert "a after it" in plan.latent("b").kl_why
    assert plan_spec(text(SPECS["forwards"])).latent("z").kl == "analytic"
    assert plan_spec(text(SPECS["backwards"])).latent("z").kl == "sampled"


def test_a_closed_form_that_is_not_legal_is_found_out():
    found = compile_spec(text(INVERSE))
    right = z_check(Subject.of(found.plan, found.Model, 0), [], 0, 5_000, 0)
    latents = tuple(replace(p, kl="analytic") for p in found.plan.latents)
    plan = replace(found.plan, latents=latents)
    wrong = z_check(Subject.of(plan, load_module(emit(plan), plan.spec).Model, 0), [], 0, 5_000, 0)
    assert right.passed and not wrong.passed, (right, wrong)


@pytest.mark.parametrize(
    ("guide", "reason"),
    [
        ("  z[t]: Normal(head(state(z[<t])), 1)", "reads a whole stretch of z"),
        ("  z[0]: Laplace(before, 1)\n  z[t]: Normal(head(z[t-1]), 1)", "several families"),
    ],
)
def test_what_cannot_be_drawn_site_by_site_is_declined(guide, reason):
    body = """
params:
  before: [D]
networks:
  head: Linear(D, D)
  state: GRU(D, D)
  emit: Linear(D, P)
latent:
  z[0]: Normal(0, 1)[D]
  z[t]: Normal(tanh(z[t-1]), 1)
observed:
  x[t]: Normal(emit(z[t]) + emit(before), 1)
guide:
"""
    with pytest.raises(SpecError) as error:
        plan_spec(text(body + guide + "\n"))
    assert reason in str(error.value)


def test_discrete_values_beyond_the_last_site_are_declined():
    body = STATES[: STATES.index("  z[0]: Categorical(logits=begin")].replace("  begin: [K]\n", "")
    with pytest.raises(SpecError, match="beyond the last site this is the begin symbol: no number below K"):
        plan_spec(text(body + "  z[t]: Categorical(logits=follow[z[t+1]] + read(x[t]))\ninfer: {z: reinforce}\n"))
