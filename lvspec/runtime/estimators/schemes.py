"""Draws of discrete latents that are made together, and what each of them is worth.

    antithetic   b = 1[u < p], b' = 1[1 - u < p]: pairs, draws s and s + S/2                 Dong, Mnih & Tucker 2020
    top          the most probable values, each once, then draws of the others               Liu et al. 2019
    distinct     S different values, one after the other                                     Kool, van Hoof & Welling 2020
A share is a draw's weight in the average over draws, so that Σ_s share_s f(z_s) has the mean E_q f; shares add up to 1
and have no gradient. What is drawn in these ways has no plates: logits (B, K), draws (S, B).
"""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.core.semiring import full_precision, gumbel
from lvspec.runtime.estimators.baselines import worth
from lvspec.runtime.families.categorical import Categorical
from lvspec.runtime.families.noise import standard_uniform

__all__ = [
    "against_opposite",
    "against_others",
    "against_top",
    "bernoulli_antithetic_draw",
    "categorical_distinct_draw",
    "categorical_top_draw",
    "disarm_score",
    "distinct_weights",
    "subset_shares",
    "top_shares",
]

FAINT = 1e-30  # probability of a value that has none, so that a set with such values still has one


# ---------------------------------------------------------------- pairs
def bernoulli_antithetic_draw(logits: Tensor, samples_shape: tuple[int]) -> Tensor:
    """Pairs of opposite draws, int64: those of the first half of S and of the second."""
    (samples,) = samples_shape
    if samples % 2:
        raise ValueError(f"antithetic draws are pairs, and {samples} draws are an odd number")
    u = standard_uniform((logits,), (samples // 2,))
    p = logits.detach().sigmoid()
    return torch.cat([u < p, 1 - u < p]).to(torch.int64)


def opposite(x: Tensor) -> Tensor:
    """x_s - x of the other draw of the pair: (S, ...)."""
    return x - x.roll(x.shape[0] // 2, 0)


def against_opposite(signal: Tensor) -> Tensor:
    """(signal_s - that of the other draw of the pair) / 2."""
    return worth(0.5 * opposite(signal))


def disarm_score(z: Tensor, logits: Tensor) -> Tensor:
    """(z - z') σ(|logits|) logits, whose gradient times (f(z) - f(z')) / 2 is that of E f, on average over pairs."""
    difference = opposite(z).to(logits.dtype)
    return difference * logits.detach().abs().sigmoid() * logits


# ---------------------------------------------------------------- the most probable values, and draws of the others
def categorical_top_draw(logits: Tensor, samples: int, top: int) -> Tensor:
    """The `top` most probable values in order, then samples - top draws of the others, int64."""
    logits = logits.detach()
    best = logits.topk(top, -1).indices
    others = Categorical(logits.scatter(-1, best, -torch.inf)).sample((samples - top,))
    return torch.cat([best.movedim(-1, 0), others])


def top_shares(logits: Tensor, z: Tensor, top: int) -> Tensor:
    """q of the most probable values; what is left of 1 for the draws, in equal parts."""
    q = full_precision(logits.detach()).softmax(-1)
    first = q.expand(top, *q.shape).gather(-1, z[:top, ..., None])[..., 0]
    others = z.shape[0] - top
    rest = ((1.0 - first.sum(0)) / others).clamp_min(0.0)
    return torch.cat([first, rest.expand(others, *rest.shape)]).to(logits.dtype)


def against_top(signal: Tensor, share: Tensor, top: int) -> Tensor:
    """signal_s - b_s: b_s estimates E f without draw s, by the most probable values and the other draws; where there is one
    draw alone, by the most probable values."""
    weighed = share * signal
    others = signal.shape[0] - top
    known = weighed[:top].sum(0)
    if others < 2:
        return worth(signal - known / share[:top].sum(0))
    drawn = weighed[top:]
    without = (drawn.sum(0) - drawn) * (others / (others - 1))
    return worth(signal - torch.cat([(known + drawn.sum(0)).expand_as(signal[:top]), known + without]))


# ---------------------------------------------------------------- different values
def categorical_distinct_draw(logits: Tensor, samples: int) -> Tensor:
    """S different values, one after the other by their probabilities among those that are left, int64 (Gumbel top-k)."""
    logits = full_precision(logits.detach())
    return (logits + gumbel(logits.shape, logits)).topk(samples, -1).indices.movedim(-1, 0)


def set_chances(q: Tensor, rest: Tensor) -> Tensor:
    """p(the draws are this set): q (..., S) the set's probabilities, rest (...) that of all other values, in any scale.

    Σ over orders of Π q_i / (what is left before i), built up set by set: every term is positive. Entries of q that are 0
    stand for values that are not there. Gives the chance of each subset, (..., 2^S), by the bits of its number: that of
    drawing these first.
    """
    size = q.shape[-1]
    lead = q.shape[:-1]
    left = rest.unsqueeze(-1).expand(*lead, 1)
    for i in range(size):  # what is left where a subset is gone
        left = torch.cat([left + q[..., i : i + 1], left], -1)
    chance = torch.zeros_like(left)
    chance[..., 0] = 1.0
    total, tiny = chance, torch.finfo(q.dtype).tiny
    for _ in range(size):  # subsets of one element more
        ratio = chance / left.clamp_min(tiny)
        chance = torch.zeros_like(chance)
        for i in range(size):
            grown = chance.unflatten(-1, (2 ** (size - 1 - i), 2, 2**i))
            grown[..., 1, :] += ratio.unflatten(-1, (2 ** (size - 1 - i), 2, 2**i))[..., 0, :] * q[..., i, None, None]
        total = total + chance
    return total


def distinct_weights(logits: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Shares of S different draws, (S, B), q(z_s) p(the other draws | z_s first) / p(all draws); and (S, S, B), the weights of
    all signals in what draw s is held against: E f by what the others say of the values besides z_s."""
    table = logits.detach().double().softmax(-1).clamp_min(FAINT)
    samples, full = z.shape[0], 2 ** z.shape[0] - 1
    q = table.gather(-1, z.movedim(0, -1))  # (B, S)
    rest = table.scatter(-1, z.movedim(0, -1), 0.0).sum(-1)  # (B,)
    apart = 1.0 - torch.eye(samples, dtype=q.dtype, device=q.device)
    pairs = (apart[:, None] * apart[None]).flatten(0, 1)  # (S S, S): which values are there
    kept = torch.cat([torch.ones_like(apart[:1]), apart, pairs])
    chances = set_chances(kept * q.unsqueeze(-2), rest.unsqueeze(-1).expand(*rest.shape, len(kept)))  # (B, ., 2^S)
    bits = [1 << i for i in range(samples)]
    without = torch.stack([chances[..., 1 + i, full ^ bits[i]] for i in range(samples)], -1)  # (B, S)
    two = [
        torch.stack(
            [chances[..., 1 + samples + samples * i + j, full & ~(bits[i] | bits[j])] for j in range(samples)], -1
        )
        for i in range(samples)
    ]
    share = q * without / chances[..., 0, full].unsqueeze(-1) / (rest + q.sum(-1)).unsqueeze(-1)
    others = apart * q.unsqueeze(-2) * torch.stack(two, -2) / without.unsqueeze(-1) + torch.diag_embed(q)
    return share.movedim(-1, 0).to(logits.dtype), others.movedim((-2, -1), (0, 1)).to(logits.dtype)


def against_others(signal: Tensor, others: Tensor) -> Tensor:
    """signal_s - Σ_r others_sr signal_r."""
    return worth(signal - (others * signal).sum(1))


# ---------------------------------------------------------------- q over the values that were drawn
def subset_shares(log_q: Tensor, z: Tensor, sharpness: float = 1.0) -> Tensor:
    """q^sharpness of each value over the sum of those of all different ones, (S, B), with a gradient: Shen et al. 2016.

    log_q: (S, B) of draws z (S, B, ...). A draw that repeats an earlier one has no share."""
    S, B = log_q.shape
    same = (z[:, None] == z[None]).unsqueeze(-1).flatten(3).all(-1)
    earlier = torch.ones(S, S, dtype=torch.bool, device=z.device).tril(-1)
    repeated = (same & earlier[:, :, None]).any(1)
    return (sharpness * log_q).masked_fill(repeated, -torch.inf).softmax(0)
