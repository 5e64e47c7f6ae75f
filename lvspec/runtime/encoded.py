"""q(z | x) of a batch as an object: what diagnostics ask of a guide."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


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
        """E z where the family is placed at its mean (Normal, Laplace), else None."""
        return None if {"logits", "concentration"} & set(self.arguments) else self.arguments.get("loc")

    def log_prob_of_each(self, value: Tensor) -> Tensor:
        """log q(value_i | x_j), (I, J), of values (I, sites, event) under every example's q."""
        wide = tuple(a[None] for a in self.arguments.values())
        found = self._log_prob(value[:, None], *wide)
        return found.flatten(2).sum(2) if found.dim() > 2 else found
