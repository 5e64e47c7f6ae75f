"""Answers read off gradients, against enumeration of all configurations."""

from __future__ import annotations

import itertools

import pytest
import torch

from lvspec.runtime import (
    LOG,
    MAX,
    SAMPLE,
    ExactPosterior,
    chain,
    contract,
    exact_posterior,
    tempered,
    weighted_posterior,
)

DOUBLE = torch.float64
LENGTHS = torch.tensor([4, 2, 0])
MASK = torch.arange(4) < LENGTHS.unsqueeze(1)


@pytest.fixture
def parts():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(*s, generator=generator, dtype=DOUBLE) for s in ((3,), (3, 3), (3, 4, 3))]


def chain_marginal(parts):
    start, arc, potentials = parts

    def log_marginal(tilt, semiring):
        tilted = (potentials + tilt.get("z", 0)) * MASK.unsqueeze(-1)
        arguments = (start.log_softmax(-1), (arc.log_softmax(-1),), tilted, ("i,ij->j",))
        return chain(*arguments, mask=MASK, semiring=semiring, normalized=True)

    return log_marginal


def enumerated(parts, row):
    """All sequences of a row's length, with their posterior probabilities."""
    start, arc, potentials = parts[0].log_softmax(-1), parts[1].log_softmax(-1), parts[2]
    sequences = list(itertools.product(range(3), repeat=int(LENGTHS[row])))
    scores = []
    for z in sequences:
        score = torch.zeros((), dtype=DOUBLE)
        for t, k in enumerate(z):
            score = score + (arc[z[t - 1], k] if t else start[k]) + potentials[row, t, k]
        scores.append(score)
    return sequences, torch.stack(scores).softmax(0)


def test_marginals_mode_and_entropy_of_a_chain(parts):
    found = exact_posterior(chain_marginal(parts), {"z": torch.zeros(3, 4, 3, dtype=DOUBLE)})["z"]
    with torch.no_grad():
        marginals, mode, entropy = found.marginals, found.mode, found.entropy
    for row, length in enumerate(LENGTHS.tolist()):
        sequences, probability = enumerated(parts, row)
        expected = torch.zeros(4, 3, dtype=DOUBLE)
        for z, p in zip(sequences, probability, strict=True):
            for t, k in enumerate(z):
                expected[t, k] += p
        assert torch.allclose(marginals[row], expected, atol=1e-12)
        assert tuple(mode[row, :length].tolist()) == sequences[int(probability.argmax())]
        assert (mode[row, length:] == 0).all()
        assert entropy[row].item() == pytest.approx(float(-(probability * probability.log()).sum()), abs=1e-10)


def test_draws_of_a_chain_have_the_joint_frequencies(parts):
    torch.manual_seed(0)
    n = 6000
    drawn = exact_posterior(chain_marginal(parts), {"z": torch.zeros(3, 4, 3, dtype=DOUBLE)})["z"].sample(n)
    assert drawn.shape == (n, 3, 4) and drawn.dtype == torch.int64
    sequences, probability = enumerated(parts, 1)
    codes = drawn[:, 1, 0] * 3 + drawn[:, 1, 1]
    frequency = torch.bincount(codes, minlength=9).double() / n
    # 5 standard errors for each of nine joint outcomes
    assert ((frequency - probability).abs() < 5 * (probability * (1 - probability) / n).sqrt() + 1e-3).all()
    assert (drawn[:, 2] == 0).all() and (drawn[:, 1, 2:] == 0).all()


def test_two_latents_answer_jointly():
    generator = torch.Generator().manual_seed(1)
    a, b = torch.randn(5, 3, generator=generator, dtype=DOUBLE), torch.randn(3, 4, generator=generator, dtype=DOUBLE)

    def log_marginal(tilt, semiring):
        inner = contract("bi,ij,bj->b", a + tilt["u"], b, tilt["v"], semiring=semiring)
        return inner

    tilts = {"u": torch.zeros(5, 3, dtype=DOUBLE), "v": torch.zeros(5, 4, dtype=DOUBLE)}
    joint = ExactPosterior(log_marginal, tilts)
    table = (a.unsqueeze(-1) + b).flatten(1).softmax(1).view(5, 3, 4)
    assert torch.allclose(joint.marginals()["u"], table.sum(2)) and torch.allclose(joint.marginals()["v"], table.sum(1))
    best = table.flatten(1).argmax(1)
    assert torch.equal(joint.mode()["u"] * 4 + joint.mode()["v"], best)
    assert torch.allclose(joint.entropy(), -(table * table.log()).sum((1, 2)))
    torch.manual_seed(0)
    drawn = joint.sample(4000)
    codes = drawn["u"] * 4 + drawn["v"]
    frequency = torch.nn.functional.one_hot(codes, 12).double().mean(0)
    assert (frequency - table.flatten(1)).abs().max() < 5 * 0.5 / 4000**0.5
    assert joint.sample(0)["u"].shape == (0, 5)


def test_marginals_can_be_differentiated(parts):
    leaves = [p.clone().requires_grad_() for p in parts]
    found = exact_posterior(chain_marginal(leaves), {"z": torch.zeros(3, 4, 3, dtype=DOUBLE)})["z"].marginals
    assert found.requires_grad

    def of_arc(arc):
        posterior = exact_posterior(
            chain_marginal([parts[0], arc, parts[2]]), {"z": torch.zeros(3, 4, 3, dtype=DOUBLE)}
        )
        return posterior["z"].marginals

    assert torch.autograd.gradcheck(of_arc, (parts[1].clone().requires_grad_(),))


@pytest.mark.parametrize("semiring", [LOG, MAX, SAMPLE, tempered(torch.ones(2, dtype=DOUBLE))])
def test_impossible_slices_give_minus_infinity_and_no_gradient(semiring):
    x = torch.tensor([[-torch.inf] * 3, [-torch.inf, 0.0, 1.0]], dtype=DOUBLE, requires_grad=True)
    value = semiring.sum(x, -1)
    assert value[0] == -torch.inf and value[1].isfinite()
    (g,) = torch.autograd.grad(value.sum(), x)
    assert (g[0] == 0).all() and g[1].isfinite().all() and g[1, 0] == 0


@pytest.mark.parametrize("dim", [0, -1, (0, 2), (1, 2), (0, 1, 2), ()])
def test_reductions_over_several_axes(dim):
    x = torch.randn(2, 3, 4, dtype=DOUBLE, requires_grad=True)
    axes = (dim,) if isinstance(dim, int) else dim
    expected = x.logsumexp(dim) if axes else x
    assert torch.allclose(LOG.sum(x, dim), expected) and torch.allclose(SAMPLE.sum(x, dim), expected)
    assert torch.equal(MAX.sum(x, dim), x.amax(dim) if axes else x)
    if 0 not in [a % 3 for a in axes]:
        beta = torch.tensor([0.5, 2.0], dtype=DOUBLE)
        scaled = beta.view(2, 1, 1) * x
        cold = tempered(beta).sum(x, dim)
        b = beta.reshape(2, *[1] * (cold.dim() - 1))
        assert torch.allclose(cold, scaled.logsumexp(dim) / b if axes else x)


def test_ties_go_to_the_first():
    x = torch.tensor([[1.0, 1.0, 0.0]], requires_grad=True)
    (g,) = torch.autograd.grad(MAX.sum(x, -1).sum(), x)
    assert g.tolist() == [[1.0, 0.0, 0.0]]


def test_logsumexp_is_differentiable_twice():
    x = torch.randn(2, 3, 4, dtype=DOUBLE, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: LOG.sum(x, (0, 2)), (x,))


def test_weighted_draws():
    values = torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]])
    log_weights = torch.tensor([[0.0, 0.0], [torch.log(torch.tensor(3.0)), -torch.inf]])
    counts = torch.tensor([[0, 2], [1, 2]])
    found = weighted_posterior({"z": values, "k": counts}, log_weights, states={"k": 3})
    assert torch.allclose(found["z"].mean, torch.tensor([[2.5], [2.0]]))
    assert torch.allclose(found["z"].variance, torch.tensor([[0.75], [0.0]]))
    assert found["z"].mode.tolist() == [[3.0], [2.0]]
    assert torch.allclose(found["k"].marginals, torch.tensor([[0.25, 0.75, 0.0], [0.0, 0.0, 1.0]]))
    assert torch.allclose(found["z"].effective_sample_size, torch.tensor([1 / 0.625, 1.0]))
    torch.manual_seed(0)
    drawn = found["z"].sample(4000)
    assert drawn.shape == (4000, 2, 1) and (drawn[:, 1] == 2).all()
    assert drawn[:, 0].mean().item() == pytest.approx(2.5, abs=0.08)
