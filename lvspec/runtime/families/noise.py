"""Base noise of draws: `lead` in front of the arguments' broadcast shape."""

from __future__ import annotations

import torch
from torch import Tensor


def base_shape(arguments: tuple, lead: tuple[int, ...]) -> tuple[torch.Size, Tensor]:
    """The broadcast shape of the arguments, behind `lead`; and one argument, for dtype and device."""
    tensors = [a for a in arguments if isinstance(a, Tensor)]
    like = next((a for a in tensors if a.is_floating_point()), tensors[0])
    return torch.Size((*lead, *torch.broadcast_shapes(*[a.shape for a in tensors]))), like


def standard_normal(arguments: tuple, lead: tuple[int, ...]) -> Tensor:
    """Normal(0, 1) of the arguments' shape."""
    shape, like = base_shape(arguments, lead)
    return torch.randn(shape, dtype=like.dtype, device=like.device)


def standard_uniform(arguments: tuple, lead: tuple[int, ...]) -> Tensor:
    """Uniform(0, 1) of the arguments' shape."""
    shape, like = base_shape(arguments, lead)
    return torch.rand(shape, dtype=like.dtype, device=like.device)


def standard_exponential(arguments: tuple, lead: tuple[int, ...]) -> Tensor:
    """Exponential(1) of the arguments' shape."""
    shape, like = base_shape(arguments, lead)
    return torch.empty(shape, dtype=like.dtype, device=like.device).exponential_()


def standard_gamma(concentration: Tensor) -> Tensor:
    """Gamma(concentration, 1), without gradient; kept off 0, where log densities are infinite."""
    concentration = concentration.detach()
    if concentration.device.type == "meta":
        return torch.empty_like(concentration)
    return torch._standard_gamma(concentration).clamp_min(torch.finfo(concentration.dtype).tiny)
