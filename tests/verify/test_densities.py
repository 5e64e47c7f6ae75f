"""The oracle's own densities, divergences and networks against torch's and against sums and integrals."""

import math

import pytest
import torch
from torch import distributions as D

from lvspec.ir.dims import Dim
from lvspec.ir.distributions import FAMILIES
from lvspec.ir.networks import ACTIVATIONS
from lvspec.ir.spec import Network
from lvspec.verify.oracle.densities import log_density
from lvspec.verify.oracle.divergences import divergence, has_divergence
from lvspec.verify.oracle.networks import AT_A_SITE, recurrent

F = torch.float64
ANALYTIC = {f.name for f in FAMILIES.values() if f.kl != "none"}


def t(*values):
    return torch.tensor(values, dtype=F)


CASES = {
    "Categorical": ({"logits": t(0.3, -1.0, 2.0)}, torch.tensor(1)),
    "OneHotCategorical": ({"logits": t(0.3, -1.0, 2.0)}, t(0, 0, 1)),
    "Bernoulli": ({"logits": t(0.7)}, t(1.0)),
    "Binomial": ({"total_count": t(5.0), "logits": t(0.4)}, t(3.0)),
    "Geometric": ({"logits": t(-0.4)}, t(4.0)),
    "Poisson": ({"rate": t(2.5)}, t(3.0)),
    "NegativeBinomial": ({"total_count": t(2.5), "logits": t(0.4)}, t(3.0)),
    "Cauchy": ({"loc": t(0.5), "scale": t(1.7)}, t(-0.3)),
    "HalfNormal": ({"scale": t(1.7)}, t(0.4)),
    "HalfCauchy": ({"scale": t(1.7)}, t(0.4)),
    "Weibull": ({"scale": t(1.7), "concentration": t(0.8)}, t(0.4)),
    "Normal": ({"loc": t(0.5), "scale": t(1.7)}, t(-0.3)),
    "Laplace": ({"loc": t(0.5), "scale": t(1.7)}, t(-0.3)),
    "LogNormal": ({"loc": t(0.5), "scale": t(1.7)}, t(0.3)),
    "StudentT": ({"df": t(3.0), "loc": t(0.5), "scale": t(1.7)}, t(0.3)),
    "Exponential": ({"rate": t(1.3)}, t(0.4)),
    "Gamma": ({"concentration": t(2.2), "rate": t(1.3)}, t(0.4)),
    "Beta": ({"concentration1": t(2.2), "concentration0": t(0.8)}, t(0.4)),
    "Dirichlet": ({"concentration": t(2.2, 0.8, 1.1)}, t(0.2, 0.3, 0.5)),
    "MultivariateNormal": (
        {"loc": t(0.5, -1.0), "scale_tril": torch.tensor([[1.2, 0.0], [-0.4, 0.7]], dtype=F)},
        t(0.2, 0.3),
    ),
    "Uniform": ({"low": t(-1.0), "high": t(2.0)}, t(0.4)),
}
VECTORS = ("OneHotCategorical", "Dirichlet", "MultivariateNormal")


def shape_of(family, value):
    return tuple(value.shape) if family in VECTORS else (() if value.dim() == 0 else tuple(value.shape))


def test_every_family_with_an_engine_has_a_density():
    elsewhere = {"NormalInverseWishart"}  # test_together.py
    elsewhere |= {"VonMisesFisher", "NormalMixture", "ZeroInflatedPoisson", "TruncatedNormal"}  # below
    elsewhere |= {"HurdlePoisson", "ZeroInflatedNegativeBinomial"}
    elsewhere |= {f.name for f in FAMILIES.values() if f.observed}  # tests/emit: test_censored.py, test_multinomial.py
    elsewhere |= {f.name for f in FAMILIES.values() if f.improper}  # 1 everywhere
    assert set(CASES) | elsewhere == {f.name for f in FAMILIES.values() if f.engine and f.event != "structure"}


@pytest.mark.parametrize("family", CASES)
def test_density_is_that_of_torch(family):
    arguments, value = CASES[family]
    expected = getattr(D, family)(**arguments).log_prob(value).sum()
    assert abs(log_density(family, arguments, value, shape_of(family, value)) - expected) < 1e-12


def test_density_on_the_circle_is_that_of_torch():
    loc, kappa, angle = t(0.6, -0.8), t(1.7)[0], t(0.9)[0]
    value = torch.stack([angle.cos(), angle.sin()])
    expected = D.VonMises(torch.atan2(loc[1], loc[0]), kappa).log_prob(angle)
    found = log_density("VonMisesFisher", {"loc": 3 * loc, "concentration": kappa}, value, (2,))
    assert abs(found - expected) < 1e-6  # torch's Bessel function is a polynomial with so many digits


def test_density_on_the_sphere():
    """C_3(κ) = κ / (4π sinh κ)."""
    loc, kappa, value = t(0, 0, 2), t(1.7)[0], t(0.6, 0, 0.8)
    found = log_density("VonMisesFisher", {"loc": loc, "concentration": kappa}, value, (3,))
    assert abs(found - (torch.log(kappa / (4 * math.pi * torch.sinh(kappa))) + 0.8 * kappa)) < 1e-9


def test_density_of_a_mixture_is_that_of_torch():
    logits, loc, scale, value = (
        t(0.3, -1.0),
        t(0.5, -1, 2, 0.3).reshape(2, 2),
        t(1, 0.4, 0.7, 2).reshape(2, 2),
        t(0.2, 0.9),
    )
    expected = D.MixtureSameFamily(D.Categorical(logits=logits), D.Independent(D.Normal(loc, scale), 1)).log_prob(value)
    found = log_density("NormalMixture", {"logits": logits, "loc": loc, "scale": scale}, value, (2,))
    assert abs(found - expected) < 1e-12


@pytest.mark.parametrize("loc", [-12.0, 0.5, 9.0])
def test_density_between_two_bounds_is_that_of_a_normal_over_its_mass(loc):
    low, high = -1.0, 2.0
    x = low + (torch.arange(200_000, dtype=F) + 0.5) * (high - low) / 200_000
    normal = D.Normal(t(loc)[0], t(1.7)[0])
    mass = normal.log_prob(x).exp().mean() * (high - low)
    a = {"loc": t(loc)[0], "scale": t(1.7)[0], "low": t(low)[0], "high": t(high)[0]}
    for value in (-0.9, 1.9):
        expected = normal.log_prob(t(value)[0]) - mass.log()
        assert abs(log_density("TruncatedNormal", a, t(value)[0], ()) - expected) < 1e-7
    assert log_density("TruncatedNormal", a, t(2.1)[0], ()) == -math.inf


@pytest.mark.parametrize("gate", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("count", [0, 3])
def test_density_of_a_count_with_more_zeros(gate, count):
    expected = gate * (count == 0) + (1 - gate) * math.exp(D.Poisson(t(2.5)).log_prob(t(count)).item())
    found = log_density("ZeroInflatedPoisson", {"gate": t(gate)[0], "rate": t(2.5)[0]}, t(count)[0], ())
    assert abs(found.exp() - expected) < 1e-12


@pytest.mark.parametrize("gate", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("count", [0, 3])
def test_density_of_a_count_behind_a_gate(gate, count):
    above = math.exp(D.Poisson(t(2.5)).log_prob(t(count)).item()) / (1 - math.exp(-2.5))
    found = log_density("HurdlePoisson", {"gate": t(gate)[0], "rate": t(2.5)[0]}, t(count)[0], ())
    assert abs(found.exp() - (gate if count == 0 else (1 - gate) * above)) < 1e-12
    n, logits = t(2.5), t(0.4)
    expected = gate * (count == 0) + (1 - gate) * math.exp(
        D.NegativeBinomial(n, logits=logits).log_prob(t(count)).item()
    )
    a = {"gate": t(gate)[0], "total_count": n[0], "logits": logits[0]}
    assert abs(log_density("ZeroInflatedNegativeBinomial", a, t(count)[0], ()).exp() - expected) < 1e-12


@pytest.mark.parametrize(
    "family", ["Categorical", "OneHotCategorical", "Bernoulli", "Geometric", "Binomial", "NegativeBinomial"]
)
def test_probs_and_logits_agree(family):
    arguments, value = CASES[family]
    logits = arguments["logits"]
    probs = torch.softmax(logits, -1) if "Categorical" in family else torch.sigmoid(logits)
    other = {**{k: v for k, v in arguments.items() if k != "logits"}, "probs": probs}
    shape = shape_of(family, value)
    assert abs(log_density(family, other, value, shape) - log_density(family, arguments, value, shape)) < 1e-12


def test_copies_are_summed_over_the_event():
    value = t(0.1, 0.2, 0.3)
    one = sum(log_density("Normal", {"loc": t(0)[0], "scale": t(2)[0]}, v, ()) for v in value)
    assert abs(log_density("Normal", {"loc": t(0)[0], "scale": t(2)[0]}, value, (3,)) - one) < 1e-12


PAIRS = {
    "Categorical": ({"logits": t(0.3, -1.0, 2.0)}, {"probs": t(0.2, 0.5, 0.3)}),
    "OneHotCategorical": ({"logits": t(0.3, -1.0, 2.0)}, {"probs": t(0.2, 0.5, 0.3)}),
    "Bernoulli": ({"logits": t(0.7)}, {"probs": t(0.2)}),
    "Normal": ({"loc": t(0.5), "scale": t(1.7)}, {"loc": t(-0.5), "scale": t(0.7)}),
    "LogNormal": ({"loc": t(0.5), "scale": t(0.7)}, {"loc": t(-0.5), "scale": t(0.9)}),
    "Laplace": ({"loc": t(0.5), "scale": t(1.7)}, {"loc": t(-0.5), "scale": t(0.7)}),
    "Cauchy": ({"loc": t(0.5), "scale": t(1.7)}, {"loc": t(-0.5), "scale": t(0.7)}),
    "Gamma": ({"concentration": t(2.2), "rate": t(1.3)}, {"concentration": t(1.2), "rate": t(0.3)}),
    "Exponential": ({"rate": t(1.3)}, {"rate": t(0.4)}),
    "Beta": (
        {"concentration1": t(2.2), "concentration0": t(1.8)},
        {"concentration1": t(1.2), "concentration0": t(3.8)},
    ),
    "Dirichlet": ({"concentration": t(2.2, 1.8)}, {"concentration": t(1.2, 3.8)}),
    "Poisson": ({"rate": t(1.3)}, {"rate": t(3.4)}),
    "VonMisesFisher": (
        {"loc": t(1, 2), "concentration": t(1.7)[0]},
        {"loc": t(-1, 0.3), "concentration": t(0.4)[0]},
    ),
}


def support(family):
    """Points and the weight of each, for a sum or a midpoint rule over the support."""
    if family == "Categorical":
        return torch.arange(3), torch.ones(3, dtype=F)
    if family == "OneHotCategorical":
        return torch.eye(3, dtype=F), torch.ones(3, dtype=F)
    if family == "Bernoulli":
        return t(0, 1), torch.ones(2, dtype=F)
    if family == "Poisson":
        return torch.arange(80, dtype=F), torch.ones(80, dtype=F)
    u = (torch.arange(200_000, dtype=F) + 0.5) / 200_000
    if family == "VonMisesFisher":
        return 2 * math.pi * u, torch.full_like(u, 2 * math.pi / 200_000)
    if family == "Cauchy":
        x = torch.tan(math.pi * (u - 0.5))
        return x, math.pi * (1 + x * x) / 200_000
    if family in ("Beta", "Dirichlet"):
        return u, torch.full_like(u, 1 / 200_000)
    if family in ("Normal", "Laplace"):
        return (u - 0.5) * 80, torch.full_like(u, 80 / 200_000)
    x = torch.exp((u - 0.5) * 40)  # positive families: a grid on the logarithm
    return x, x * 40 / 200_000


@pytest.mark.parametrize("family", sorted(ANALYTIC))
def test_divergence_is_the_sum_or_integral(family):
    q, p = PAIRS[family]
    x, weight = support(family)
    if family == "Dirichlet":
        x = torch.stack([x, 1 - x], -1)
        log_q, log_p = (D.Dirichlet(**a).log_prob(x) for a in (q, p))
    elif family == "VonMisesFisher":
        log_q, log_p = (
            D.VonMises(torch.atan2(a["loc"][1], a["loc"][0]), a["concentration"]).log_prob(x) for a in (q, p)
        )
    elif family == "Categorical":
        log_q, log_p = (D.Categorical(**a).log_prob(x) for a in (q, p))
    else:
        log_q, log_p = (getattr(D, family)(**a, validate_args=False).log_prob(x) for a in (q, p))
    expected = (weight * log_q.exp() * (log_q - log_p).nan_to_num(0.0)).sum()
    shape = {"Dirichlet": (2,), "VonMisesFisher": (2,), "Categorical": ()}.get(family, (1,))
    shape = (3,) if family == "OneHotCategorical" else shape
    assert abs(divergence(family, q, p, shape) - expected) < 1e-6
    assert has_divergence(family, family)


def test_every_family_with_a_closed_form_has_a_divergence():
    assert set(PAIRS) == ANALYTIC
    assert all(has_divergence(family, family) for family in ANALYTIC)


def named(module):
    return {n: p.detach() for n, p in module.named_parameters()}


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("layers", [1, 2])
def test_recurrent_networks_are_those_of_torch(kind, layers):
    torch.manual_seed(0)
    module = getattr(torch.nn, kind)(3, 4, layers, batch_first=True, dtype=F)
    x = torch.randn(5, 3, dtype=F)
    network = Network("r", kind, (Dim.of(3), Dim.of(4)), (("layers", layers),))
    found = torch.stack(recurrent(network, named(module), x.unbind(0)))
    assert (found - module(x[None])[0][0]).abs().max() < 1e-12


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_bidirectional_networks_are_those_of_torch(kind):
    torch.manual_seed(0)
    module = getattr(torch.nn, kind)(3, 4, 2, batch_first=True, bidirectional=True, dtype=F)
    x = torch.randn(5, 3, dtype=F)
    network = Network("r", f"Bi{kind}", (Dim.of(3), Dim.of(4)), (("layers", 2),))
    weights = {}
    for name, value in named(module).items():  # weight_ih_l1_reverse is back.1.weight_ih_l0
        stem, level = name.removesuffix("_reverse").rsplit("_l", 1)
        weights[f"{'back' if name.endswith('_reverse') else 'forth'}.{level}.{stem}_l0"] = value
    found = torch.stack(recurrent(network, weights, x.unbind(0)))
    assert (found - module(x[None])[0][0]).abs().max() < 1e-12


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_mlp_is_that_of_torch(activation):
    torch.manual_seed(0)
    between = {
        "relu": "ReLU",
        "tanh": "Tanh",
        "sigmoid": "Sigmoid",
        "softplus": "Softplus",
        "gelu": "GELU",
        "elu": "ELU",
        "silu": "SiLU",
    }[activation]
    module = torch.nn.Sequential(
        torch.nn.Linear(3, 4, dtype=F), getattr(torch.nn, between)(), torch.nn.Linear(4, 2, dtype=F)
    )
    network = Network("f", "MLP", (Dim.of(3), Dim.of(4), Dim.of(2)), (("activation", activation),))
    x = torch.randn(3, dtype=F)
    assert (AT_A_SITE["MLP"](network, named(module), x) - module(x)).abs().max() < 1e-12


def test_layer_norm_is_that_of_torch():
    module = torch.nn.LayerNorm(4, dtype=F)
    x = t(1, 2, -3, 4)
    network = Network("n", "LayerNorm", (Dim.of(4),))
    assert (AT_A_SITE["LayerNorm"](network, named(module), x) - module(x)).abs().max() < 1e-12


def test_poisson_density_sums_to_one():
    total = sum(math.exp(log_density("Poisson", {"rate": t(2.5)[0]}, t(float(k))[0], ())) for k in range(60))
    assert abs(total - 1) < 1e-12
