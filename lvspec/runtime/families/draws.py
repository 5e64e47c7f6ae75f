"""Draws. `F_noise(*args)` gives base noise, `F_draw(*args, noise)` turns it into a value with a pathwise gradient.

Normal, Laplace, LogNormal, Exponential, Uniform: the noise does not depend on the arguments
(standard normal, standard Laplace, standard normal, Exponential(1), Uniform(0, 1)).
StudentT: noise has one more, last axis of two: n ~ Normal(0, 1) and g ~ Gamma(df / 2, 1); value = loc + scale n sqrt(df / (2 g)).
Gamma, Beta, Dirichlet: the noise IS the value; `F_draw` returns it with its implicit pathwise gradient.
Discrete families: int64, no gradient. samples_shape comes in front of the arguments' broadcast shape.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lvspec.runtime.core.once import once_differentiable
from lvspec.runtime.core.semiring import full_precision


def base_shape(arguments: tuple, samples_shape: tuple[int, ...]) -> tuple[torch.Size, Tensor]:
    """The broadcast shape of the arguments, behind samples_shape; and one argument, for dtype and device."""
    tensors = [a for a in arguments if isinstance(a, Tensor)]
    like = next((a for a in tensors if a.is_floating_point()), tensors[0])
    return torch.Size((*samples_shape, *torch.broadcast_shapes(*[a.shape for a in tensors]))), like


def standard_normal(arguments: tuple, samples_shape: tuple[int, ...]) -> Tensor:
    """Normal(0, 1) of the arguments' shape."""
    shape, like = base_shape(arguments, samples_shape)
    return torch.randn(shape, dtype=like.dtype, device=like.device)


def standard_uniform(arguments: tuple, samples_shape: tuple[int, ...]) -> Tensor:
    """Uniform(0, 1) of the arguments' shape."""
    shape, like = base_shape(arguments, samples_shape)
    return torch.rand(shape, dtype=like.dtype, device=like.device)


def standard_exponential(arguments: tuple, samples_shape: tuple[int, ...]) -> Tensor:
    """Exponential(1) of the arguments' shape."""
    shape, like = base_shape(arguments, samples_shape)
    return torch.empty(shape, dtype=like.dtype, device=like.device).exponential_()


def standard_gamma(concentration: Tensor) -> Tensor:
    """Gamma(concentration, 1), without gradient; kept off 0, where log densities are infinite."""
    concentration = concentration.detach()
    if concentration.device.type == "meta":
        return torch.empty_like(concentration)
    return torch._standard_gamma(concentration).clamp_min(torch.finfo(concentration.dtype).tiny)


class ImplicitGamma(torch.autograd.Function):
    """value ~ Gamma(concentration, 1) as a function of the concentration: d value / d a = -(dF/da) / density."""

    @staticmethod
    def forward(ctx, concentration: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(concentration, value)
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        concentration, value = ctx.saved_tensors
        return grad * torch._standard_gamma_grad(concentration, value), None


class ImplicitDirichlet(torch.autograd.Function):
    """value ~ Dirichlet(a) over the last axis as a function of a."""

    @staticmethod
    def forward(ctx, concentration: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(concentration, value)
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        concentration, value = ctx.saved_tensors
        total = concentration.sum(-1, keepdim=True).expand_as(concentration)
        slope = torch._dirichlet_grad(value, concentration, total)
        return slope * (grad - (value * grad).sum(-1, keepdim=True)), None


def normal_noise(loc: Tensor, scale: Tensor | None = None, samples_shape: tuple[int, ...] = ()) -> Tensor:
    return standard_normal((loc, scale), samples_shape)


def normal_draw(loc: Tensor, scale: Tensor, noise: Tensor | None = None) -> Tensor:
    """loc + scale noise."""
    return loc + scale * (normal_noise(loc, scale) if noise is None else noise)


def laplace_noise(loc: Tensor, scale: Tensor | None = None, samples_shape: tuple[int, ...] = ()) -> Tensor:
    """A standard Laplace variate: an Exponential(1) with a random sign."""
    u = standard_uniform((loc, scale), samples_shape)
    return torch.where(u < 0.5, -1.0, 1.0).to(u.dtype) * standard_exponential((loc, scale), samples_shape)


def laplace_draw(loc: Tensor, scale: Tensor, noise: Tensor | None = None) -> Tensor:
    """loc + scale noise."""
    return loc + scale * (laplace_noise(loc, scale) if noise is None else noise)


def log_normal_noise(loc: Tensor, scale: Tensor | None = None, samples_shape: tuple[int, ...] = ()) -> Tensor:
    return standard_normal((loc, scale), samples_shape)


def log_normal_draw(loc: Tensor, scale: Tensor, noise: Tensor | None = None) -> Tensor:
    """exp(loc + scale noise)."""
    return normal_draw(loc, scale, log_normal_noise(loc, scale) if noise is None else noise).exp()


def exponential_noise(rate: Tensor, samples_shape: tuple[int, ...] = ()) -> Tensor:
    return standard_exponential((rate,), samples_shape)


def exponential_draw(rate: Tensor, noise: Tensor | None = None) -> Tensor:
    """noise / rate."""
    return (exponential_noise(rate) if noise is None else noise) / rate


def uniform_noise(low: Tensor, high: Tensor, samples_shape: tuple[int, ...] = ()) -> Tensor:
    return standard_uniform((low, high), samples_shape)


def uniform_draw(low: Tensor, high: Tensor, noise: Tensor | None = None) -> Tensor:
    """low + (high - low) noise."""
    return low + (high - low) * (uniform_noise(low, high) if noise is None else noise)


def student_t_noise(df: Tensor, loc: Tensor, scale: Tensor, samples_shape: tuple[int, ...] = ()) -> Tensor:
    """(..., 2): a standard normal and a Gamma(df / 2, 1) variate."""
    shape, like = base_shape((df, loc, scale), samples_shape)
    half = torch.as_tensor(df, dtype=like.dtype, device=like.device).expand(shape) / 2
    normal = torch.randn(shape, dtype=like.dtype, device=like.device)
    return torch.stack([normal, standard_gamma(half)], -1)


def student_t_draw(df: Tensor, loc: Tensor, scale: Tensor, noise: Tensor | None = None) -> Tensor:
    """loc + scale n sqrt(df / (2 g))."""
    normal, gamma = (student_t_noise(df, loc, scale) if noise is None else noise).unbind(-1)
    half = torch.as_tensor(df, dtype=gamma.dtype, device=gamma.device) / 2
    gamma = ImplicitGamma.apply(half.expand(gamma.shape), gamma)
    return loc + scale * normal * (half / gamma).sqrt()


def gamma_noise(concentration: Tensor, rate: Tensor, samples_shape: tuple[int, ...] = ()) -> Tensor:
    """A value of Gamma(concentration, rate), without gradient."""
    shape, like = base_shape((concentration, rate), samples_shape)
    return (
        standard_gamma(torch.as_tensor(concentration, dtype=like.dtype).expand(shape)) / torch.as_tensor(rate).detach()
    )


def gamma_draw(concentration: Tensor, rate: Tensor, noise: Tensor | None = None) -> Tensor:
    """The value `noise` ~ Gamma(concentration, rate), with its gradient to both."""
    value = gamma_noise(concentration, rate) if noise is None else noise
    rate = torch.as_tensor(rate, dtype=value.dtype, device=value.device)
    concentration = torch.as_tensor(concentration, dtype=value.dtype, device=value.device)
    return ImplicitGamma.apply(concentration.expand(value.shape), (value * rate).detach()) / rate


def dirichlet_noise(concentration: Tensor, samples_shape: tuple[int, ...] = ()) -> Tensor:
    """A value of Dirichlet(concentration), without gradient."""
    concentration = concentration.detach().expand(*samples_shape, *concentration.shape)
    if concentration.device.type == "meta":
        return torch.empty_like(concentration)
    tiny = torch.finfo(concentration.dtype).tiny
    value = torch._sample_dirichlet(concentration).clamp_min(tiny)
    return value / value.sum(-1, keepdim=True)


def dirichlet_draw(concentration: Tensor, noise: Tensor | None = None) -> Tensor:
    """The value `noise` ~ Dirichlet(concentration), with its gradient."""
    value = dirichlet_noise(concentration) if noise is None else noise
    return ImplicitDirichlet.apply(concentration.expand(value.shape), value.detach())


def beta_noise(concentration1: Tensor, concentration0: Tensor, samples_shape: tuple[int, ...] = ()) -> Tensor:
    """A value of Beta(concentration1, concentration0), without gradient."""
    pair = torch.stack(torch.broadcast_tensors(concentration1, concentration0), -1)
    value = dirichlet_noise(pair, samples_shape)[..., 0]
    # 1 itself has density 0 or infinity: the largest number below it stands for what rounding took away
    return value.clamp_max(1 - torch.finfo(value.dtype).eps / 2)


def beta_draw(concentration1: Tensor, concentration0: Tensor, noise: Tensor | None = None) -> Tensor:
    """The value `noise` ~ Beta(concentration1, concentration0), with its gradient to both."""
    value = beta_noise(concentration1, concentration0) if noise is None else noise
    a, b = torch.broadcast_tensors(concentration1, concentration0)
    return dirichlet_draw(torch.stack([a, b], -1), torch.stack([value, 1 - value], -1))[..., 0]


def categorical_draw(logits: Tensor, samples_shape: tuple[int, ...] = ()) -> Tensor:
    """k ~ softmax(logits), int64, of shape samples_shape + the logits' leading axes.

    The distribution function is inverted: one uniform variate a draw, and a row is normalised once for all its draws.
    """
    chances = full_precision(logits.detach()).softmax(-1)
    below = chances.cumsum(-1, dtype=torch.float64)
    *lead, K = below.shape
    uniform = torch.rand(*lead, math.prod(samples_shape), dtype=chances.dtype, device=below.device)
    # below the total however it rounds, so that neither a forbidden entry nor one past the last is found
    found = torch.searchsorted(below, uniform * (below[..., -1:] * (1.0 - 2.0**-50)), right=True)
    return found.clamp_(max=K - 1).movedim(-1, 0).reshape((*samples_shape, *lead))


def one_hot_categorical_draw(logits: Tensor, samples_shape: tuple[int, ...] = ()) -> Tensor:
    """A unit vector, k ~ softmax(logits), of the logits' dtype."""
    index = categorical_draw(logits, samples_shape)
    return torch.nn.functional.one_hot(index, logits.shape[-1]).to(logits.dtype)


def bernoulli_draw(logits: Tensor, samples_shape: tuple[int, ...] = ()) -> Tensor:
    """1 with probability sigmoid(logits), int64."""
    return (standard_uniform((logits,), samples_shape) < logits.detach().sigmoid()).to(torch.int64)


def binomial_draw(total_count: Tensor, logits: Tensor, samples_shape: tuple[int, ...] = ()) -> Tensor:
    """The number of successes in total_count tries, int64."""
    shape, like = base_shape((total_count, logits), samples_shape)
    count = torch.as_tensor(total_count, dtype=like.dtype, device=like.device).expand(shape)
    return torch.binomial(count, logits.detach().sigmoid().expand(shape)).to(torch.int64)


def geometric_draw(logits: Tensor, samples_shape: tuple[int, ...] = ()) -> Tensor:
    """The number of failures before the first success, int64: floor(-E / log(1 - p)), E ~ Exponential(1)."""
    waiting = standard_exponential((logits,), samples_shape)
    return (waiting / torch.nn.functional.softplus(logits.detach())).floor().clamp_max(2.0**53).to(torch.int64)


def poisson_draw(rate: Tensor, samples_shape: tuple[int, ...] = ()) -> Tensor:
    """int64."""
    return torch.poisson(rate.detach().expand(*samples_shape, *rate.shape)).to(torch.int64)


def leave_one_out(cost: Tensor) -> Tensor:
    """cost - mean of the other samples' costs, (S, ...), S >= 2: the score function's control variate."""
    samples = cost.shape[0]
    if samples < 2:
        raise ValueError("leave-one-out needs at least two samples")
    return worth((cost - cost.mean(0)) * (samples / (samples - 1)))


def worth(advantage: Tensor) -> Tensor:
    """What multiplies ∇ log q, without gradient: 0 where it is not finite. An example that a draw leaves impossible says so by its
    bound, -inf, and moves no q: the gradients of other examples stay numbers."""
    return advantage.detach().nan_to_num(0.0, 0.0, 0.0)
