"""Gradients that are graphs, for a second derivative: where one input was computed from another, each way counts once."""

import pytest
import torch

from lvspec.runtime import categorical_head, chain, pcfg_log_prob, semi_markov_sum

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


CASES = {
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
