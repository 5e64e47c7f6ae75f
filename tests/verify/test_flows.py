"""Flows in guides and in models against the oracle, which differentiates the maps and solves for their inverses."""

import pytest
import torch

from lvspec.driver import compile_spec
from lvspec.errors import SpecError
from lvspec.verify.oracle.inverses import solve
from tests.verify.planted import assert_agrees, assert_agrees_on_average, assert_noticed

GUIDE = """
lvspec: 1
name: bent
sizes: {{P: 3, D: 2, H: 3}}
networks:
  encoder: MLP(P, 2*D)
  flow: {flow}
  other: Radial(D, steps=2)
  decoder: MLP(D, H, P)
latent:
  z: Normal(0, 1)[D]
observed:
  x: Bernoulli(logits=decoder(z))
guide:
  z: Normal(loc, softplus(scale)) through {through} where loc, scale = split(encoder(x))
infer:
  bound: {bound}
"""


def bent(flow="Planar(D, steps=2)", through="flow", bound="elbo(samples=2)"):
    return GUIDE.format(flow=flow, through=through, bound=bound)


COUPLING, IAF, MAF = "Coupling(D, H, steps=2)", "InverseAutoregressive(D, H, steps=2)", "MaskedAutoregressive(D, H)"
SPECS = {
    "planar": bent(),
    "planar_amortized": bent("Planar(D, P, steps=2)", "flow(x)"),
    "radial_amortized_after_a_free_one": bent("Radial(D, P)", "other through flow(x)"),
    "coupling_told_the_data": bent("Coupling(D, H, P, steps=3, activation=softplus)", "flow(x)"),
    "masked_autoregressive": bent(MAF),
    "importance_weighted": bent(bound="iwae(samples=2)"),
    "renyi": bent(IAF, bound="renyi(samples=2, alpha=0.3)"),
    "doubly_reparameterized": bent(COUPLING, bound="iwae(samples=2, gradient=doubly_reparameterized)"),
    "doubly_reparameterized_told_the_data": bent(
        "InverseAutoregressive(D, H, P)", "flow(x)", "iwae(samples=2, gradient=doubly_reparameterized)"
    ),
    "sticking": bent(IAF, bound="elbo(samples=2, gradient=sticking_the_landing)"),
    "prior": """
lvspec: 1
name: prior
sizes: {P: 3, D: 2, H: 3}
networks:
  encoder: MLP(P, 2*D)
  flow: MaskedAutoregressive(D, H, steps=2)
  bend: Planar(D)
  decoder: MLP(D, P)
latent:
  z: Normal(0, 1)[D] through flow
observed:
  x: Bernoulli(logits=decoder(z))
guide:
  z: Normal(loc, softplus(scale)) through bend where loc, scale = split(encoder(x))
""",
    # the components of a mixture, bent together: summed exactly
    "mixture": """
lvspec: 1
name: mixture
sizes: {K: 3, P: 2, H: 3}
params: {pi: [K], mu: [K, P]}
networks:
  flow: Coupling(P, H, steps=2)
latent:
  c: Categorical(logits=pi)
observed:
  x: Normal(mu[c], 0.5) through flow
""",
    # each component bent its own way: the context varies over what is summed
    "mixture_of_flows": """
lvspec: 1
name: mixture_of_flows
sizes: {K: 3, P: 2, H: 3}
params: {pi: [K]}
networks:
  flow: MaskedAutoregressive(P, H, K)
latent:
  c: Categorical(logits=pi)
observed:
  x: StudentT(3)[P] through flow(onehot(c))
""",
    "states": """
lvspec: 1
name: states
sizes: {K: 2, P: 2, H: 3}
plates: {t: sequence}
params: {start: [K], transition: [K, K], mu: [K, P]}
networks:
  flow: Coupling(P, H, steps=2)
latent:
  z[0]: Categorical(logits=start)
  z[t]: Categorical(logits=transition[z[t-1]])
observed:
  x[t]: Normal(mu[z[t]], 1) through flow
""",
    "sites": """
lvspec: 1
name: sites
sizes: {P: 2, D: 2, H: 3}
plates: {t: sequence}
networks:
  reader: GRU(P, H)
  head: Linear(H, 2*D)
  bend: Planar(D, H)
  flow: Coupling(P, H, D)
latent:
  z[t]: Normal(0, 1)[D]
observed:
  x[t]: Laplace(0, 1)[P] through flow(z[t])
guide:
  h[t]: reader(x[<=t])
  z[t]: Normal(loc, softplus(scale)) through bend(h[t]) where loc, scale = split(head(h[t]))
""",
    # z is drawn once for each value of c, and goes through a flow that is told c
    "under_a_class": """
lvspec: 1
name: under_a_class
sizes: {K: 2, P: 3, D: 2, H: 3}
networks:
  kind: Linear(P, K)
  head: Linear(P, 2*D)
  bend: Planar(D, K)
  decoder: MLP(D + K, P)
latent:
  c: Categorical(logits=0 * which)
  z: Normal(0, 1)[D]
params: {which: [K]}
observed:
  x: Bernoulli(logits=decoder(concat(z, onehot(c))))
guide:
  c: Categorical(logits=kind(x))
  z: Normal(loc, softplus(scale)) through bend(onehot(c)) where loc, scale = split(head(x))
""",
    "full_covariance_in_rows": """
lvspec: 1
name: two_rows
sizes: {M: 2, P: 2, H: 3}
params: {mu: [P], width: [P, P]}
networks:
  flow: Coupling(P, H)
observed:
  x: MultivariateNormal(mu, scale_tril=width)[M] through flow
""",
}


@pytest.mark.parametrize("name", SPECS)
def test_flow_agrees_with_the_oracle(name):
    assert_agrees(SPECS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["planar_amortized", "doubly_reparameterized", "sticking", "prior", "under_a_class"])
def test_gradient_is_right_on_average(name):
    assert_agrees_on_average(SPECS[name])


PLANTED = {
    "q forgets the determinant": ("planar", r"(log_q_z = log_base_z) - log_det_z", r"\1"),
    "q has it with the wrong sign": ("planar", r"log_base_z - log_det_z", "log_base_z + log_det_z"),
    "q is asked about what did not go through": ("planar", r"z, log_det_z = self\.flow\(z_base\)", "z, log_det_z = z_base, self.flow(z_base)[1]"),
    "p forgets the determinant": ("mixture", r"log_base_x - log_det_x", "log_base_x"),
    "p goes forwards": ("mixture", r"self\.flow\.inverse\(", "self.flow("),
    "q's parameters do not stand still": ("doubly_reparameterized", r"frozen\(self\.flow\)\.inverse", "self.flow.inverse"),
}  # fmt: skip


@pytest.mark.parametrize("name", [n for n in PLANTED if "stand still" not in n])
def test_planted_error_is_noticed(name):
    model, *change = PLANTED[name]
    assert_noticed(SPECS[model], *change)


@pytest.mark.slow
def test_parameters_that_move_are_noticed_on_average():
    model, *change = PLANTED["q's parameters do not stand still"]
    assert_noticed(SPECS[model], *change, draws=20_000)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (bent(bound="iwae(samples=2, gradient=doubly_reparameterized)"), "Planar has no inverse in closed form"),
        (bent(bound="elbo(gradient=sticking_the_landing)"), "gradient=pathwise, or `flow: Coupling(D, H)`"),
        (bent(bound="reweighted_wake_sleep(samples=2)"), "the gradient passes through its draws"),
        (bent(COUPLING).replace("infer:", "infer:\n  z: reinforce"), "reinforce is not legal for z: q(z) runs through a flow"),
    ],
)  # fmt: skip
def test_what_a_flow_cannot_do_is_refused_with_the_reason(text, reason):
    with pytest.raises(SpecError) as error:
        compile_spec(text)
    assert reason in str(error.value)


def test_oracle_solves_for_what_a_map_came_from():
    """Newton's method on a map that is nearly flat somewhere, and the implicit gradient."""
    a = torch.tensor(-0.98, dtype=torch.float64, requires_grad=True)
    value = torch.tensor([0.3, -1.2], dtype=torch.float64)
    z = solve(lambda one: one + a * torch.tanh(one), value)
    assert torch.allclose(z + a * torch.tanh(z), value, atol=1e-12)
    (found,) = torch.autograd.grad(z.sum(), a)
    slope = 1 + a * (1 - torch.tanh(z) ** 2)
    assert torch.allclose(found, (-torch.tanh(z) / slope).sum())
