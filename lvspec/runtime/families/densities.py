"""log p(value | arguments), elementwise and without validation; arguments as in torch.distributions, logits for probs.

At the border of a support the value is finite or -inf, never NaN.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from lvspec.runtime.core.semiring import log_sum_exp

LOG_TWO_PI = math.log(2 * math.pi)


def as_tensor(value, like: Tensor) -> Tensor:
    """A number or a tensor as a tensor of like's dtype and device."""
    if isinstance(value, Tensor):
        return value.to(like.dtype)
    return torch.full((), value, dtype=like.dtype, device=like.device)


def x_log_y(x: Tensor, y: Tensor) -> Tensor:
    """x log y, 0 where both are 0, with gradient 0 there (torch.xlogy's is NaN)."""
    nothing = (x == 0) & (y == 0)
    return x * torch.where(nothing, torch.ones_like(y), y).log()


def x_log_one_minus_y(x: Tensor, y: Tensor) -> Tensor:
    """x log(1 - y), 0 where x is 0 and y is 1, with gradient 0 there."""
    nothing = (x == 0) & (y == 1)
    return x * torch.log1p(-torch.where(nothing, torch.zeros_like(y), y))


def logits_from_probs(probs: Tensor) -> Tensor:
    """log probs, for a Categorical; -inf at 0 with gradient 0."""
    zero = probs <= 0
    return probs.masked_fill(zero, 1.0).log().masked_fill(zero, -torch.inf)


def bernoulli_logits_from_probs(probs: Tensor) -> Tensor:
    """log p - log(1 - p) of a probability that is 0 or 1 by rounding alone: it is kept as near to them as numbers are."""
    limits = torch.finfo(probs.dtype)
    inner = probs.clamp(limits.tiny, 1 - limits.eps / 2)
    return inner.log() - torch.log1p(-inner)


CERTAIN = 1e30  # the log-odds of what is certain: what is impossible is that far below, and differences stay numbers


def certain_logits_from_probs(probs: Tensor) -> Tensor:
    """log p - log(1 - p); of 0 and 1, which have no gradient, -CERTAIN and CERTAIN."""
    sure = (probs <= 0) | (probs >= 1)
    inner = probs.masked_fill(sure, 0.5)
    return torch.where(sure, CERTAIN * (2 * probs.detach() - 1), inner.log() - torch.log1p(-inner))


def possible(log_prob: Tensor) -> Tensor:
    """log_prob, -inf where a probability of 0 or 1 says that the value cannot be, with gradient 0 there."""
    return log_prob.masked_fill(log_prob < -CERTAIN / 2, -torch.inf)


def one_hot_categorical_log_prob(value: Tensor, logits: Tensor) -> Tensor:
    """sum_k value_k log softmax(logits)_k over the last axis; a forbidden entry counts only where value is not 0."""
    scores = logits.log_softmax(-1)
    taken = value != 0
    return torch.where(taken, value * scores.masked_fill(~taken, 0.0), torch.zeros_like(scores)).sum(-1)


def binomial_log_prob(value: Tensor, total_count: Tensor, logits: Tensor) -> Tensor:
    """log C(n, value) + value l - n softplus(l)."""
    n, value = as_tensor(total_count, logits), value.to(logits.dtype)
    possible = (value >= 0) & (value <= n)
    k = torch.where(possible, value, torch.zeros_like(value))
    count = torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
    return (count + k * logits - n * softplus(logits)).masked_fill(~possible, -torch.inf)


def geometric_log_prob(value: Tensor, logits: Tensor) -> Tensor:
    """value log(1 - p) + log p, p = sigmoid(l): the number of failures before the first success."""
    value = value.to(logits.dtype)
    return (-value * softplus(logits) - softplus(-logits)).masked_fill(value < 0, -torch.inf)


def poisson_log_prob(value: Tensor, rate: Tensor) -> Tensor:
    """value log rate - rate - log value!."""
    value = value.to(rate.dtype)
    safe = value.clamp_min(0)
    return (x_log_y(safe, rate) - rate - torch.lgamma(safe + 1)).masked_fill(value < 0, -torch.inf)


def normal_log_prob(value: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """-(value - loc)^2 / (2 scale^2) - log scale - log(2 pi) / 2."""
    like = value if isinstance(value, Tensor) and value.is_floating_point() else torch.as_tensor(loc)
    scale = as_tensor(scale, like)
    return -0.5 * ((value - loc) / scale) ** 2 - scale.log() - 0.5 * LOG_TWO_PI


def laplace_log_prob(value: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """-|value - loc| / scale - log(2 scale)."""
    scale = as_tensor(scale, value)
    return -(value - loc).abs() / scale - scale.log() - math.log(2)


def improper_uniform_log_prob(value: Tensor) -> Tensor:
    """log 1 of each vector, (*, D) -> (*): no distribution, as its integral is infinite."""
    return value.new_zeros(value.shape[:-1])


def given_alone(name: str) -> Tensor:
    """What stands for a draw where nothing can be drawn: ValueError."""
    raise ValueError(
        f"{name} is a code with no distribution of its own, so that nothing can be drawn: give it, "
        f'`sample(n, given={{"{name}": ...}})`'
    )


def log_normal_log_prob(value: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """Normal(log value; loc, scale) - log value; -inf outside value > 0."""
    inside = value > 0
    log_value = torch.where(inside, value, torch.ones_like(value)).log()
    return (normal_log_prob(log_value, loc, scale) - log_value).masked_fill(~inside, -torch.inf)


def student_t_log_prob(value: Tensor, df: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """log Gamma((df + 1) / 2) / (Gamma(df / 2) sqrt(pi df) scale) - (df + 1) / 2 log(1 + y^2 / df)."""
    df, scale = as_tensor(df, value), as_tensor(scale, value)
    y = (value - loc) / scale
    norm = torch.lgamma(0.5 * (df + 1)) - torch.lgamma(0.5 * df) - 0.5 * (df * math.pi).log() - scale.log()
    return norm - 0.5 * (df + 1) * torch.log1p(y**2 / df)


def exponential_log_prob(value: Tensor, rate: Tensor) -> Tensor:
    """log rate - rate value; -inf below 0."""
    rate = as_tensor(rate, value)
    return (rate.log() - rate * value).masked_fill(value < 0, -torch.inf)


def gamma_log_prob(value: Tensor, concentration: Tensor, rate: Tensor) -> Tensor:
    """a log rate + (a - 1) log value - rate value - log Gamma(a)."""
    a, rate = as_tensor(concentration, value), as_tensor(rate, value)
    inside = value >= 0
    v = torch.where(inside, value, torch.ones_like(value))
    density = x_log_y(a, rate) + x_log_y(a - 1, v) - rate * v - torch.lgamma(a)
    return density.masked_fill(~inside, -torch.inf)


def beta_log_prob(value: Tensor, concentration1: Tensor, concentration0: Tensor) -> Tensor:
    """(a - 1) log value + (b - 1) log(1 - value) - log B(a, b)."""
    a, b = as_tensor(concentration1, value), as_tensor(concentration0, value)
    inside = (value >= 0) & (value <= 1)
    v = torch.where(inside, value, torch.full_like(value, 0.5))
    norm = torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)
    return (x_log_y(a - 1, v) + x_log_one_minus_y(b - 1, v) - norm).masked_fill(~inside, -torch.inf)


def dirichlet_log_prob(value: Tensor, concentration: Tensor) -> Tensor:
    """sum_k (a_k - 1) log value_k - log B(a), over the last axis."""
    a = as_tensor(concentration, value)
    norm = torch.lgamma(a).sum(-1) - torch.lgamma(a.sum(-1))
    return x_log_y(a - 1, value).sum(-1) - norm


def uniform_log_prob(value: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """-log(high - low) within low <= value < high (as torch.distributions), else -inf."""
    low, high = as_tensor(low, value), as_tensor(high, value)
    inside = (value >= low) & (value < high)
    return (-(high - low).log()).expand(inside.shape).masked_fill(~inside, -torch.inf)


def categorical_entropy(logits: Tensor) -> Tensor:
    """-sum_k p_k log p_k over the last axis; forbidden entries (-inf) contribute 0."""
    scores = logits - log_sum_exp(logits, -1).unsqueeze(-1)
    gone = scores.detach() == -torch.inf
    return -(scores.exp() * scores.masked_fill(gone, 0.0)).sum(-1)


def one_hot_categorical_entropy(logits: Tensor) -> Tensor:
    """The same as categorical_entropy."""
    return categorical_entropy(logits)


def bernoulli_entropy(logits: Tensor) -> Tensor:
    """softplus(l) - l sigmoid(l)."""
    return softplus(logits) - logits * logits.sigmoid()


def normal_entropy(loc: Tensor, scale: Tensor) -> Tensor:
    """log scale + (1 + log 2 pi) / 2."""
    return (scale.log() + 0.5 * (1 + LOG_TWO_PI)) + torch.zeros_like(loc)


def laplace_entropy(loc: Tensor, scale: Tensor) -> Tensor:
    """1 + log(2 scale)."""
    return 1 + math.log(2) + scale.log() + torch.zeros_like(loc)


def log_normal_entropy(loc: Tensor, scale: Tensor) -> Tensor:
    """loc + log scale + (1 + log 2 pi) / 2."""
    return loc + normal_entropy(loc, scale)


def exponential_entropy(rate: Tensor) -> Tensor:
    """1 - log rate."""
    return 1 - rate.log()


def gamma_entropy(concentration: Tensor, rate: Tensor) -> Tensor:
    """a - log rate + log Gamma(a) + (1 - a) digamma(a)."""
    a = concentration
    return a - rate.log() + torch.lgamma(a) + (1 - a) * torch.digamma(a)


def beta_entropy(concentration1: Tensor, concentration0: Tensor) -> Tensor:
    """The Dirichlet entropy of the pair."""
    a, b = torch.broadcast_tensors(concentration1, concentration0)
    return dirichlet_entropy(torch.stack([a, b], -1))


def dirichlet_entropy(concentration: Tensor) -> Tensor:
    """log B(a) - (K - a_0) digamma(a_0) - sum_k (a_k - 1) digamma(a_k), a_0 = sum_k a_k."""
    a, total = concentration, concentration.sum(-1)
    log_b = torch.lgamma(a).sum(-1) - torch.lgamma(total)
    return log_b - (a.shape[-1] - total) * torch.digamma(total) - ((a - 1) * torch.digamma(a)).sum(-1)
