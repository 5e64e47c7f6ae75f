"""Questions about chains of every kind, against enumeration: each step made a matrix by letting it act on one-hots."""

import itertools

import numpy as np
import pytest
import torch

from lvspec.runtime import chain
from lvspec.runtime.core.semiring import COUNT, BestSemiring, FilterSemiring
from tests.runtime.test_chain import PROGRAMS, draw

NAMES = ["hmm", "input_output", "second_order", "coupled_by_time", "factorial_by_time", "switching", "one_state"]
T, LENGTHS = 3, (3, 1, 0)


def drawn(name, forbidden):
    start, factors, potentials, steps = draw(name, T=T)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        if forbidden:
            for x in (start, *factors):
                x.masked_fill_(torch.rand(x.shape, generator=generator) < 0.3, -torch.inf)
    mask = torch.arange(T) < torch.tensor(LENGTHS).unsqueeze(1)
    zeroed = torch.where(mask.reshape(3, T, *[1] * (potentials.dim() - 2)), potentials.detach(), 0.0)
    return start.detach(), [f.detach() for f in factors], zeroed, steps, mask


def scored(name, start, factors, potentials, row, length):
    """Every sequence of joint states with the log of its weight, for one example."""
    states = list(itertools.product(*(range(n) for n in start.shape)))
    arcs = []
    for t in range(1, length):
        arc = np.zeros((len(states), len(states)))
        for i, state in enumerate(states):
            message = np.zeros(start.shape)
            message[state] = 1.0
            for step, factor in zip(PROGRAMS[name][1], factors, strict=True):
                inputs, output = step.split("->")
                old, new = inputs.split(",")
                values = factor.exp().numpy()
                if new.startswith("B"):
                    values, new = values[row], new[1:]
                if new.startswith("T"):
                    values, new = values[t], new[1:]
                message = np.einsum(f"{old},{new}->{output}", message, values)
            arc[i] = message.reshape(-1)
        arcs.append(np.log(arc, where=arc > 0, out=np.full_like(arc, -np.inf)))
    first, here = start.flatten().numpy(), potentials[row].flatten(1).numpy()
    found = {}
    for z in itertools.product(range(len(states)), repeat=length):
        score = first[z[0]] if z else 0.0
        score += sum(here[t, s] for t, s in enumerate(z)) + sum(
            a[i, j] for a, (i, j) in zip(arcs, itertools.pairwise(z), strict=True)
        )
        found[z] = score
    return found


@pytest.mark.parametrize("forbidden", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_k_best_and_number_of_sequences(name, forbidden):
    start, factors, potentials, steps, mask = drawn(name, forbidden)
    k = 7
    leaf = potentials.clone().requires_grad_()
    best = chain(start, tuple(factors), leaf, steps, mask, semiring=BestSemiring(k))
    count = chain(start, tuple(factors), potentials, steps, mask, semiring=COUNT)
    paths = [torch.autograd.grad(b.sum(), leaf, retain_graph=True)[0].flatten(2) for b in best]
    for row, length in enumerate(LENGTHS[:2]):
        scores = scored(name, start, factors, potentials, row, length)
        possible = sorted((s for s in scores.values() if s > -np.inf), reverse=True)
        expected = possible[:k] + [-np.inf] * (k - len(possible))
        np.testing.assert_allclose(best[:, row].detach().numpy(), expected, rtol=1e-9, atol=1e-9)
        assert float(count[row].exp()) == pytest.approx(len(possible), rel=1e-9)
        found = [tuple(p[row, :length].argmax(-1).tolist()) for p in paths[: len(possible)]]
        assert len(set(found)) == len(found)
        np.testing.assert_allclose([scores[z] for z in found], expected[: len(found)], rtol=1e-9, atol=1e-9)
        for p in paths:  # nothing is chosen behind the length, or where there is no further sequence
            assert ((p[row] == 0) | (p[row] == 1)).all() and p[row, length:].sum() == 0
    assert best[0, 2] == start.flatten().logsumexp(0) and (best[1:, 2] == -torch.inf).all()
    assert count[2] == 0


@pytest.mark.parametrize("forbidden", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_filtered_states(name, forbidden):
    start, factors, potentials, steps, mask = drawn(name, forbidden)
    leaf = potentials.clone().requires_grad_()
    value = chain(start, tuple(factors), leaf, steps, mask, semiring=FilterSemiring())
    found = torch.autograd.grad(value.sum(), leaf)[0].flatten(2)
    for row, length in enumerate(LENGTHS):
        assert found[row, length:].abs().sum() == 0
        for t in range(length):
            scores = scored(name, start, factors, potentials, row, t + 1)
            weights = np.zeros(found.shape[2])
            for z, score in scores.items():
                weights[z[t]] += np.exp(score)
            total = weights.sum() or 1.0  # no sequence at all: no state is likely
            np.testing.assert_allclose(found[row, t].numpy(), weights / total, rtol=1e-9, atol=1e-12)
