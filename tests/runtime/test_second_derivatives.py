"""Gradients that are graphs, for a second derivative: where one input was computed from another, each way counts once."""

from functools import partial
from inspect import signature

import pytest
import torch

import lvspec.runtime as R
from lvspec.runtime import (
    Beta,
    Dirichlet,
    Gamma,
    NormalMixture,
    VonMisesFisher,
    categorical_head,
    chain,
    pcfg_log_prob,
    semi_markov_sum,
)

F = torch.float64


def start_from_the_table(memory):
    """A chain whose start is a row of its transitions, which differ from site to site, and whose potentials hold both."""

    def value(table):
        log_p = table.log_softmax(-1)
        potentials = table.sum(-1).tanh()
        return chain(log_p[:, 0, 0], (log_p,), potentials, ("i,BTij->j",), torch.ones(2, 5).bool(), memory=memory)

    return value, torch.randn(2, 5, 3, 3, dtype=F)


def tied_head():
    """Hidden states that are rows of the output's matrix."""
    x = torch.tensor([[0, 2], [1, 3]])
    return lambda weight: categorical_head(weight[x].tanh(), weight, weight.sum(-1), x), torch.randn(4, 3, dtype=F)


def grammar_of_one_table():
    """Root, rules and terminals that share their numbers."""
    x, mask = torch.tensor([[0, 2, 1], [1, 1, 0]]), torch.tensor([[True, True, True], [True, True, False]])

    def value(table):  # (3, 3, 3): two nonterminals, one preterminal, three symbols
        root, rules, terminals = table[0, :2, 0], table[:2].tanh(), table[2, :1]
        return pcfg_log_prob(x, mask, root + terminals[0, :2], rules * root[0], terminals + rules[0, 0])

    return value, torch.randn(3, 3, 3, dtype=F)


def segments_of_one_table():
    mask = torch.tensor([[True, True, True, True], [True, True, False, False]])

    def value(table):
        start, length = table[0].log_softmax(-1), table[:, :2].log_softmax(-1)
        potentials = start.expand(2, 4, 3) * table.sum()
        return semi_markov_sum(potentials, mask, start, table.log_softmax(-1), length)

    return value, torch.randn(3, 3, dtype=F)


def concentrations():
    """Constants of von Mises-Fisher distributions on a circle and on a sphere, of a small and a large concentration."""

    def value(table):  # (3, 3)
        kappa, loc = table[:, 0].exp() * torch.tensor([0.01, 1, 50], dtype=F), table.tanh()
        z, m = torch.eye(3, dtype=F), torch.ones(3, dtype=F)
        return VonMisesFisher(loc[:, :2], kappa).log_prob(z[:, :2]) + VonMisesFisher(loc, kappa).kl(
            VonMisesFisher(m, 1 + kappa[0])
        )

    return value, torch.randn(3, 3, dtype=F)


def of_family(name):
    """Every density, divergence and entropy of a family in one sum: their arguments are positive numbers, and vectors of them."""
    value = torch.tensor(VALUES.get(name, 0.3), dtype=F)

    family = getattr(R, name)
    size = len(signature(family).parameters)

    def total(table):  # (2, 3)
        arguments = table.exp() + 0.1
        rows = [arguments[i % 2] * (1 + i // 2) for i in range(2 * size)]
        one, other = family(*rows[:size]), family(*rows[size:])
        found = one.log_prob(value.expand(3)).sum()
        if hasattr(family, "kl"):
            found = found + one.kl(other).sum()
        return found + one.entropy().sum() if hasattr(family, "entropy") else found

    return total, torch.randn(2, 3, dtype=F)


VALUES = {
    "Categorical": 1.0,
    "Bernoulli": 1.0,
    "Poisson": 2.0,
    "Geometric": 2.0,
    "NegativeBinomial": 2.0,
    "Binomial": 1.0,
    "OneHotCategorical": [0.0, 1.0, 0.0],
}
FAMILIES = (
    "Normal Laplace LogNormal StudentT Exponential Gamma Beta Dirichlet Bernoulli Poisson Geometric NegativeBinomial HalfNormal Weibull "
    "Cauchy HalfCauchy"
).split()

CASES = {
    **{name: partial(of_family, name) for name in [*FAMILIES, "OneHotCategorical"]},
    "concentrations": concentrations,
    "chain": lambda: start_from_the_table("fast"),
    "lean_chain": lambda: start_from_the_table("lean"),
    "head": tied_head,
    "grammar": grammar_of_one_table,
    "segments": segments_of_one_table,
}


@pytest.mark.parametrize("name", CASES)
def test_gradient_as_a_graph_is_the_gradient(name):
    torch.manual_seed(0)
    value, table = CASES[name]()
    table.requires_grad_()
    (plain,) = torch.autograd.grad(value(table).sum(), table)
    (graph,) = torch.autograd.grad(value(table).sum(), table, create_graph=True)
    torch.testing.assert_close(graph, plain, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_second_derivative_is_that_of_finite_differences(name):
    torch.manual_seed(1)
    value, table = CASES[name]()
    direction, step = torch.randn(table.shape, dtype=F), 1e-5

    def slope(at):
        at = at.detach().requires_grad_()
        return torch.autograd.grad(value(at).sum(), at)[0]

    leaf = table.clone().requires_grad_()
    (graph,) = torch.autograd.grad(value(leaf).sum(), leaf, create_graph=True)
    (found,) = torch.autograd.grad(graph, leaf, direction)
    expected = (slope(table + step * direction) - slope(table - step * direction)) / (2 * step)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


DRAWS = {
    "gamma": lambda t: Gamma(t.exp(), torch.ones_like(t)).draw(),
    "beta": lambda t: Beta(t.exp(), t.exp() + 1).draw(),
    "dirichlet": lambda t: Dirichlet(t.exp()).draw(),
    "von_mises_fisher": lambda t: VonMisesFisher(torch.ones(3, 3, dtype=F), t[:, 0].exp()).draw(),
    "normal_mixture": lambda t: NormalMixture(t[0], t, t.exp()).draw(),
}


@pytest.mark.parametrize("name", DRAWS)
def test_second_derivative_of_a_draw_that_has_none_is_an_error(name):
    """Also where the gradient that comes in is a number without a graph."""
    t = torch.randn(3, 3, dtype=F).requires_grad_()
    (graph,) = torch.autograd.grad(DRAWS[name](t).sum(), t, create_graph=True)
    with pytest.raises(RuntimeError, match="first one alone"):
        torch.autograd.grad(graph.sum(), t)


@pytest.mark.parametrize("memory", ["fast", "lean"])
def test_gradient_as_a_graph_of_examples_of_one_site(memory):
    """Then nothing is read of the transitions, which alone are learned."""
    table = torch.randn(3, 3, dtype=F, requires_grad=True)
    start, potentials, mask = torch.zeros(3, dtype=F), torch.zeros(2, 1, 3, dtype=F), torch.ones(2, 1).bool()
    total = chain(start, (table,), potentials, ("i,ij->j",), mask, memory=memory).sum()
    (graph,) = torch.autograd.grad(total, table, create_graph=True)
    assert graph.eq(0).all()
