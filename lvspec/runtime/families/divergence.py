"""KL(q || p) in closed form, elementwise: arguments of q, then of p."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from lvspec.runtime.core.averages import average
from lvspec.runtime.core.semiring import full_precision, may_look


def log_of(ratio: Tensor | float) -> Tensor | float:
    """log, also of what two plain numbers of a spec give."""
    return ratio.log() if isinstance(ratio, Tensor) else math.log(ratio)


def normal_kl(q_loc: Tensor, q_scale: Tensor, p_loc: Tensor, p_scale: Tensor) -> Tensor:
    """log(s_p / s_q) + (s_q^2 + (m_q - m_p)^2) / (2 s_p^2) - 1/2."""
    ratio = q_scale / p_scale
    return 0.5 * (ratio**2 + ((q_loc - p_loc) / p_scale) ** 2 - 1) - log_of(ratio)


def log_normal_kl(q_loc: Tensor, q_scale: Tensor, p_loc: Tensor, p_scale: Tensor) -> Tensor:
    """That of the underlying normals."""
    return normal_kl(q_loc, q_scale, p_loc, p_scale)


def categorical_kl(q_logits: Tensor, p_logits: Tensor) -> Tensor:
    """sum_k q_k (log q_k - log p_k) over the last axis; 0 where q_k = 0, +inf where only p_k = 0."""
    log_q, log_p = (full_precision(logits).log_softmax(-1) for logits in (q_logits, p_logits))
    if may_look(log_q):
        found = (log_q.exp() * (log_q - log_p)).sum(-1)
        if math.isfinite(float(found.detach().sum())):  # a q_k of 0 makes a NaN
            return found
    gone = log_q.detach() == -torch.inf
    return average(log_q.exp(), log_q.masked_fill(gone, 0.0) - log_p.masked_fill(gone, 0.0), -1)


def one_hot_categorical_kl(q_logits: Tensor, p_logits: Tensor) -> Tensor:
    """The same as categorical_kl."""
    return categorical_kl(q_logits, p_logits)


def bernoulli_kl(q_logits: Tensor, p_logits: Tensor) -> Tensor:
    """q (l_q - l_p) - softplus(l_q) + softplus(l_p)."""
    return q_logits.sigmoid() * (q_logits - p_logits) - softplus(q_logits) + softplus(p_logits)


def laplace_kl(q_loc: Tensor, q_scale: Tensor, p_loc: Tensor, p_scale: Tensor) -> Tensor:
    """log(s_p / s_q) + |m_q - m_p| / s_p + s_q / s_p exp(-|m_q - m_p| / s_q) - 1."""
    gap = (q_loc - p_loc).abs()
    ratio = q_scale / p_scale
    return -log_of(ratio) + gap / p_scale + ratio * torch.exp(-gap / q_scale) - 1


def gamma_kl(q_concentration: Tensor, q_rate: Tensor, p_concentration: Tensor, p_rate: Tensor) -> Tensor:
    """a_p log(b_q / b_p) + log Gamma(a_p) - log Gamma(a_q) + (a_q - a_p) digamma(a_q) + a_q (b_p / b_q - 1)."""
    a, c = q_concentration, p_concentration
    ratio = p_rate / q_rate
    return -c * log_of(ratio) + torch.lgamma(c) - torch.lgamma(a) + (a - c) * torch.digamma(a) + a * (ratio - 1)


def exponential_kl(q_rate: Tensor, p_rate: Tensor) -> Tensor:
    """log(b_q / b_p) + b_p / b_q - 1."""
    ratio = p_rate / q_rate
    return ratio - log_of(ratio) - 1


def dirichlet_kl(q_concentration: Tensor, p_concentration: Tensor) -> Tensor:
    """log B(p) - log B(q) + sum_k (q_k - p_k) (digamma(q_k) - digamma(q_0)), over the last axis."""
    q, p = torch.broadcast_tensors(q_concentration, p_concentration)
    log_b_q = torch.lgamma(q).sum(-1) - torch.lgamma(q.sum(-1))
    log_b_p = torch.lgamma(p).sum(-1) - torch.lgamma(p.sum(-1))
    expected_log = torch.digamma(q) - torch.digamma(q.sum(-1, keepdim=True))
    return log_b_p - log_b_q + ((q - p) * expected_log).sum(-1)


def beta_kl(
    q_concentration1: Tensor, q_concentration0: Tensor, p_concentration1: Tensor, p_concentration0: Tensor
) -> Tensor:
    """The Dirichlet divergence of the pairs."""
    a, b = torch.broadcast_tensors(q_concentration1, q_concentration0)
    c, d = torch.broadcast_tensors(p_concentration1, p_concentration0)
    return dirichlet_kl(torch.stack([a, b], -1), torch.stack([c, d], -1))


def poisson_kl(q_rate: Tensor, p_rate: Tensor) -> Tensor:
    """q log(q / p) - q + p; p at q = 0."""
    return torch.special.xlogy(q_rate, q_rate / p_rate) - q_rate + p_rate
