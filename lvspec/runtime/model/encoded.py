"""q(z | x) of a batch as an object: what diagnostics ask of a guide."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# E z in a family's arguments, by the name of its draw
MEANS: dict[str, Callable[..., Tensor]] = {
    "normal_draw": lambda loc, scale: loc,
    "laplace_draw": lambda loc, scale: loc,
    "multivariate_normal_draw": lambda loc, *_: loc,
    "student_t_draw": lambda df, loc, scale: torch.where(df > 1, loc, torch.nan),
    "log_normal_draw": lambda loc, scale: (loc + scale**2 / 2).exp(),
    "exponential_draw": lambda rate: 1 / rate,
    "gamma_draw": lambda concentration, rate: concentration / rate,
    "beta_draw": lambda concentration1, concentration0: concentration1 / (concentration1 + concentration0),
    "dirichlet_draw": lambda concentration: concentration / concentration.sum(-1, keepdim=True),
}


class Encoded:
    """arguments: by name, (B, sites, event) each. Draws are (n, B, sites, event)."""

    def __init__(self, log_prob: Callable, draw: Callable, noise: Callable | None, **arguments: Tensor):
        self._log_prob, self._draw, self._noise = log_prob, draw, noise
        self.arguments = arguments

    def sample(self, n: int) -> Tensor:
        """n draws, without gradient."""
        values = tuple(self.arguments.values())
        if self._noise is None:
            return self._draw(*values, (n,))
        wide = tuple(v.expand(n, *v.shape) for v in values)
        return self._draw(*wide, self._noise(*wide)).detach()

    @property
    def mean(self) -> Tensor | None:
        """E z, (B, sites, event), of families of numbers that have one in closed form, else None."""
        mean = MEANS.get(self._draw.__name__)
        return None if mean is None else mean(*self.arguments.values())

    def log_prob_of_each(self, value: Tensor) -> Tensor:
        """log q(value_i | x_j), (I, J), of values (I, sites, event) under every example's q."""
        wide = tuple(a[None] for a in self.arguments.values())
        found = self._log_prob(value[:, None], *wide)
        return found.flatten(2).sum(2) if found.dim() > 2 else found
