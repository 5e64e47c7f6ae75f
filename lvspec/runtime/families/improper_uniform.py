"""ImproperUniform(): 1 at every vector."""

from __future__ import annotations

from torch import Tensor

from lvspec.runtime.families.distribution import Distribution

__all__ = ["ImproperUniform", "given_alone"]


class ImproperUniform(Distribution):
    """log 1 of each vector, (*, D) -> (*): no distribution, as its integral is infinite."""

    def log_prob(self, x: Tensor) -> Tensor:
        return x.new_zeros(x.shape[:-1])


def given_alone(name: str) -> Tensor:
    """What stands for a draw where nothing can be drawn: ValueError."""
    raise ValueError(
        f"{name} is a code with no distribution of its own, so that nothing can be drawn: give it, "
        f'`sample(n, given={{"{name}": ...}})`'
    )
