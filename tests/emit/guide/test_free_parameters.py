"""Free parameters for each example, and point estimates: against brute force, and fitted for examples that are new."""

import pytest
import torch

from lvspec.driver import compile_spec, plan_spec
from lvspec.errors import SpecError
from lvspec.verify import verify

ROWS = """
params:
  loc: {shape: [D], per_example: true}
  scale: {shape: [D], per_example: true, init: zeros}
"""

SPECS = {
    "one vector": ROWS
    + """
networks:
  emit: Linear(D, P)
latent:
  z: Normal(0, 1)[D]
observed:
  x[t]: Normal(emit(z), 1)
guide:
  z: Normal(loc, softplus(scale))
""",
    "in a chain": """
params:
  shift: {shape: [D], per_example: true}
networks:
  move: Linear(D, D)
  emit: Linear(D, P)
  read: Linear(P + D, 2*D)
latent:
  z[0]: Normal(0, 1)[D]
  z[t]: Normal(tanh(move(z[t-1])), 1)
observed:
  x[t]: Normal(emit(z[t]), 1)
guide:
  z[0]: Normal(shift, 1)
  z[t]: Normal(shift + loc, softplus(scale)) where loc, scale = split(read(concat(x[t], z[t-1])))
""",
    "a point for each example": ROWS.replace("scale", "other")
    + """
networks:
  emit: Linear(D, P)
latent:
  z: Normal(other_mean, 1)
  other_mean: Normal(0, 1)[D]
observed:
  x[t]: Normal(emit(z), 1)
guide:
  z: Delta(loc)
  other_mean: Delta(other)
""",
    "points from a network, beside a chain that is summed": """
params:
  start: [K]
  transition: [K, K]
  emission: [K, P]
networks:
  read: Linear(P, D)
  emit: Linear(D, P)
latent:
  g[t]: Normal(0, 1)[D]
  z[0]: Categorical(logits=start)
  z[t]: Categorical(logits=transition[z[t-1]])
observed:
  x[t]: Normal(emission[z[t]] + emit(g[t]), 1)
guide:
  g[t]: Delta(tanh(read(x[t])))
""",
}


def text(body: str, **sizes: int) -> str:
    sizes = {"P": 2, "D": 2, "K": 2} | sizes
    used = "".join(f"  {n}: {v}\n" for n, v in sizes.items() if any(f"{a}{n}" in body for a in ("[", "(", " ", "*")))
    plates = "plates:\n  t: sequence\n" if "[t" in body else ""
    return f"lvspec: 1\nname: small\nsizes:\n{used}{plates}{body}"


@pytest.mark.parametrize("name", SPECS)
def test_agrees_with_brute_force(name):
    found = compile_spec(text(SPECS[name]))
    report = verify(found.spec, found.plan, found.Model, seed=3, draws=0)
    assert report.passed, [str(c) for c in report.checks if not c.passed]
    assert len(report.checks) > 5


def test_a_point_estimate_has_a_joint_density_and_no_bound():
    found = compile_spec(text(SPECS["a point for each example"]))
    model = found.Model(dataset_size=5)
    objective = model({"x": torch.randn(3, 4, 2), "index": torch.tensor([0, 4, 2])})
    assert found.plan.objective == "log_joint"
    assert objective.log_joint.shape == (3,) and objective.elbo is None and objective.log_prob is None
    assert torch.allclose(objective.loss, -objective.log_joint.mean())
    objective.loss.backward()
    assert model.loc.grad[[1, 3]].eq(0).all() and model.loc.grad[[0, 2, 4]].ne(0).all()


CONJUGATE = """
params:
  loc: {shape: [D], per_example: true, init: zeros}
  scale: {shape: [D], per_example: true, init: zeros}
latent:
  z: Normal(0, 1)[D]
observed:
  x: Normal(z, 1)
guide:
  z: Q
"""


def test_rows_of_new_examples_are_fitted_to_the_mode_and_nothing_else_moves():
    """x ~ N(z, 1), z ~ N(0, 1): log p(x, z) is largest at x / 2."""
    body = CONJUGATE.replace("  scale: {shape: [D], per_example: true, init: zeros}\n", "").replace("Q", "Delta(loc)")
    model = compile_spec(text(body)).Model(dataset_size=2)
    before = {n: p.clone() for n, p in model.named_parameters()}
    x = torch.randn(6, 2)
    with torch.no_grad():
        batch = model.fit_rows({"x": x}, steps=500)
    assert torch.allclose(model.posterior(batch)["z"].mode, x / 2, atol=1e-3)
    assert all(torch.equal(p, before[n]) and p.grad is None for n, p in model.named_parameters())


def test_a_fitted_distribution_comes_near_the_posterior():
    """p(z | x) = N(x / 2, 1 / 2), so that the bound reaches log p(x) = log N(x; 0, 2)."""
    torch.manual_seed(0)
    model = compile_spec(text(CONJUGATE.replace("Q", "Normal(loc, softplus(scale))"))).Model(dataset_size=2)
    model.samples = 64
    x = torch.randn(6, 2)
    batch = model.fit_rows({"x": x}, steps=400)
    assert torch.allclose(batch["loc"], x / 2, atol=0.1)
    exact = torch.distributions.Normal(0.0, 2**0.5).log_prob(x).sum(-1)
    log_prob = model.importance(batch, 500).log_prob
    assert torch.allclose(log_prob, exact, atol=0.02)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("emit(z)", "emit(z + loc)"), "other examples have none"),
        (("z: Normal(loc, softplus(scale))", "z: Delta(loc)\ntrain:\n  kl_weight: 0.5"), "no KL"),
        (("z: Normal(loc, softplus(scale))", "z: Delta(loc)\ninfer:\n  z: reinforce"), "nothing is drawn"),
    ],
)
def test_what_is_not_legal_is_declined(change, reason):
    body = SPECS["one vector"].replace("  scale:", "  scale:") if "Delta" not in change[1] else SPECS["one vector"]
    with pytest.raises(SpecError) as error:
        plan_spec(text(body.replace(*change)))
    assert reason in str(error.value)


def test_a_point_beside_a_draw_is_declined():
    body = SPECS["a point for each example"].replace("other_mean: Delta(other)", "other_mean: Normal(other, 1)")
    with pytest.raises(SpecError, match="no engine yet for both"):
        plan_spec(text(body))
