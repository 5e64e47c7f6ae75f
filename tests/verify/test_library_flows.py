"""Flows of a library: against the oracle where the library is installed; what needs none of it everywhere."""

import importlib.util
import re
import subprocess
import sys

import pytest
import torch

from lvspec.driver import compile_spec
from lvspec.errors import SpecError, UsageError
from lvspec.load import load_module
from lvspec.runtime import LazyFlow, frozen
from lvspec.verify.oracle.inverses import newton, solve
from tests.verify.planted import assert_agrees, assert_agrees_on_average, assert_noticed

HERE = importlib.util.find_spec("zuko") is not None
installed = pytest.mark.skipif(not HERE, reason="zuko is not installed: pip install 'lvspec[zuko]'")
F = torch.float64

GUIDE = """
lvspec: 1
name: bent
sizes: {{P: 3, D: 2, H: 3}}
networks:
  encoder: MLP(P, 2*D)
  flow: {flow}
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
STILL = "iwae(samples=2, gradient=doubly_reparameterized)"


def bent(flow, through="flow(x)", bound="elbo(samples=2)"):
    return GUIDE.format(flow=flow, through=through, bound=bound)


SPECS = {
    "spline": bent("zuko.NSF(D, H, P, steps=2, bins=4, activation=tanh)"),
    "spline_alone": bent("zuko.NSF(D, H, steps=2, layers=1)", "flow"),
    "spline_inverted": bent("zuko.NSF(D, H, P, inverted=true, bins=3, activation=softplus)"),
    "spline_still": bent("zuko.NSF(D, H, P, activation=elu)", bound=STILL),
    "spline_inverted_still": bent("zuko.NSF(D, H, P, inverted=true, activation=silu)", bound=STILL),
    "rising_networks": bent("zuko.NAF(D, H, P, steps=2, signal=4)"),
    "rising_networks_alone": bent("zuko.NAF(D, H, layers=1, activation=sigmoid)", "flow", "iwae(samples=2)"),
    "masked": bent("zuko.MAF(D, H, P)"),
    "masked_inverted": bent("zuko.MAF(D, H, P, steps=2, inverted=false, activation=gelu)", bound=STILL),
    "a_vector_of_one": bent("zuko.MAF(D, H, P, inverted=false)").replace("D: 2", "D: 1"),
    # of a given value, the context varying over what is summed
    "mixture_of_flows": """
lvspec: 1
name: mixture_of_flows
sizes: {K: 2, P: 2, H: 3}
params: {pi: [K]}
networks:
  flow: zuko.NSF(P, H, K, inverted=true)
latent:
  c: Categorical(logits=pi)
observed:
  x: StudentT(3)[P] through flow(onehot(c))
""",
    # prior and guide bent, sites of different numbers
    "sites": """
lvspec: 1
name: sites
sizes: {P: 2, D: 2, H: 3}
plates: {t: sequence}
networks:
  reader: GRU(P, H)
  head: Linear(H, 2*D)
  bend: zuko.NAF(D, H, H, signal=2)
  flow: zuko.NSF(P, H, D)
latent:
  z[t]: Normal(0, 1)[D]
observed:
  x[t]: Laplace(0, 1)[P] through flow(z[t])
guide:
  h[t]: reader(x[<=t])
  z[t]: Normal(loc, softplus(scale)) through bend(h[t]) where loc, scale = split(head(h[t]))
""",
}


@installed
@pytest.mark.parametrize("name", SPECS)
def test_flow_of_a_library_agrees_with_the_oracle(name):
    assert_agrees(SPECS[name])


@installed
@pytest.mark.slow
@pytest.mark.parametrize("name", ["spline", "spline_still", "rising_networks"])
def test_gradient_is_right_on_average(name):
    assert_agrees_on_average(SPECS[name])


PLANTED = {
    "q forgets the determinant": ("rising_networks", r"(log_q_z = log_base_z) - log_det_z", r"\1"),
    "q has it with the wrong sign": ("spline", r"log_base_z - log_det_z", "log_base_z + log_det_z"),
    "the flow is turned": ("spline", r"bins=4\)\)", "bins=4), inverted=True)"),
    "the context is left out": ("spline", r"self\.flow\(z_base, \w+\)", "self.flow(z_base, torch.zeros(3))"),
    "p goes forwards": ("mixture_of_flows", r"self\.flow\.inverse\(", "self.flow("),
    "q's parameters move": ("spline_still", r"frozen\(self\.flow\)\.inverse", "self.flow.inverse"),
}


@installed
@pytest.mark.parametrize("name", [n for n in PLANTED if "move" not in n])
def test_planted_error_is_noticed(name):
    model, *change = PLANTED[name]
    assert_noticed(SPECS[model], *change)


@installed
@pytest.mark.slow
def test_parameters_that_move_are_noticed_on_average():
    model, *change = PLANTED["q's parameters move"]
    assert_noticed(SPECS[model], *change, draws=20_000)


# ---------------------------------------------------------------- the adapter by itself
def lazy(name, D, C=None, seed=0):
    """A flow with numbers of unit size, so that it is far from the identity."""
    import zuko

    torch.manual_seed(seed)
    options = {"NSF": {"bins": 4}, "NAF": {"signal": 3}, "MAF": {}}[name.removesuffix("_inverted")]
    kind = getattr(zuko.flows, name.removesuffix("_inverted"))
    flow = LazyFlow(kind(D, C or 0, transforms=2, hidden_features=[5], **options), inverted="inverted" in name).to(F)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return flow


WITH_INVERSE = ["NSF", "NSF_inverted", "MAF", "MAF_inverted"]


@installed
@pytest.mark.parametrize("C", [None, 2])
@pytest.mark.parametrize("D", [1, 3])
@pytest.mark.parametrize("name", [*WITH_INVERSE, "NAF"])
def test_determinant_is_that_of_the_jacobian_and_the_inverse_undoes_the_flow(name, D, C):
    flow = lazy(name, D, C)
    z = torch.randn(3, 4, D, dtype=F)
    context = None if C is None else torch.randn(4, C, dtype=F)  # the same for the three
    value, log_det = flow(z, context)
    assert log_det.shape == (3, 4)
    for i in range(4):
        own = None if context is None else context[i]
        jacobian = torch.autograd.functional.jacobian(lambda one, c=own: flow(one, c)[0], z[1, i])
        assert torch.allclose(log_det[1, i], torch.linalg.slogdet(jacobian).logabsdet, atol=1e-9)
    if name in WITH_INVERSE:
        base, again = flow.inverse(value, context)
        assert torch.allclose(base, z, atol=1e-7)
        assert torch.allclose(again, log_det, atol=1e-7)


@installed
@pytest.mark.parametrize("name", [*WITH_INVERSE, "NAF"])
def test_more_contexts_than_values_empty_batches_and_no_graph_behind(name):
    flow, z, context = lazy(name, 1, 2), torch.randn(4, 1, dtype=F), torch.randn(3, 1, 2, dtype=F)
    value, log_det = flow(z, context)
    assert value.shape == (3, 4, 1) and log_det.shape == (3, 4)
    assert flow(z[:0], context[0])[1].shape == (0,)
    with torch.no_grad():
        assert not any(t.requires_grad for t in flow(z, context))


@installed
@pytest.mark.parametrize("name", WITH_INVERSE)
def test_frozen_flow_moves_its_input_alone(name):
    flow = lazy(name, 3)
    x = torch.randn(2, 3, dtype=F, requires_grad=True)
    base, log_det = frozen(flow).inverse(x)
    found = torch.autograd.grad(base.sum() + log_det.sum(), [x, *flow.parameters()], allow_unused=True)
    assert found[0].abs().sum() > 0
    assert all(g is None for g in found[1:])


# ---------------------------------------------------------------- without the library
def test_one_that_is_not_installed_is_told_with_the_way_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "zuko", None)
    one = compile_spec(SPECS["spline"])
    with pytest.raises(
        UsageError, match=r"`flow` is zuko.NSF, and zuko is not installed: pip install 'lvspec\[zuko\]'"
    ):
        load_module(one.source + "\n", one.spec, ())


def test_compiler_reads_its_table_and_never_the_library():
    text = "import sys; from lvspec.driver import plan_spec; from lvspec.emit import emit; p = plan_spec(sys.argv[1])\n"
    text += "assert 'import zuko' in emit(p, standalone=True); assert not {'torch', 'zuko'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", text, SPECS["spline"]], check=True)


@pytest.mark.parametrize("name", ["rising_networks", "rising_networks_alone"])
def test_bound_that_needs_an_inverse_is_refused_where_there_is_none(name):
    with pytest.raises(SpecError, match="zuko.NAF has no inverse in closed form"):
        compile_spec(re.sub(r"bound: .*", f"bound: {STILL}", SPECS[name]))


@installed
def test_standalone_file_needs_torch_and_the_library():
    one = compile_spec(SPECS["spline"], standalone=True)
    assert "lvspec.runtime" not in one.source and "import zuko" in one.source
    torch.manual_seed(0)
    alone, batch = one.Model(), {"x": torch.ones(2, 3)}
    usual = compile_spec(SPECS["spline"]).Model()
    usual.load_state_dict(alone.state_dict())
    draws = {"z": torch.randn(2, 2, 2)}
    assert torch.equal(alone(batch, draws=draws).elbo, usual(batch, draws=draws).elbo)


@installed
@pytest.mark.parametrize("seed", [0, 12, 26, 35])
def test_oracle_finds_what_a_spline_came_from_where_newton_runs_in_a_circle(seed):
    import zuko

    torch.manual_seed(seed)
    spline = zuko.flows.NSF(2, 0, transforms=1, hidden_features=[4]).to(F).transform
    with torch.no_grad():
        for parameter in spline.parameters():
            parameter.copy_(2 * torch.randn_like(parameter))
    move, value = spline().transforms[0], 2 * torch.randn(2, dtype=F)
    with torch.no_grad():
        assert newton(move, value)[1] > 0.1
    assert torch.allclose(move(solve(move, value)), value, atol=1e-12)
