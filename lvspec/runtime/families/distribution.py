"""What is asked of a distribution. Each family is a class of this kind in a file of its own, called as in a spec.

    Normal(loc, scale).log_prob(x)         q_z.kl(Normal(0, 1))         q_z.draw(q_z.noise((samples,)))

Arguments and their order are those of torch.distributions, with logits for probs, and broadcast. Nothing is validated.
"""

from __future__ import annotations

from typing import Self

from torch import Tensor

Parameters = tuple[Tensor, ...]  # of a distribution, in order


class Distribution:
    """Reparameterized families define `noise` and `draw`, the others `sample`; where there is a closed form, `kl` and `entropy`."""

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x), of each variate. At the border of the support it is finite or -inf, never NaN."""
        raise NotImplementedError

    def noise(self, lead: tuple[int, ...] = ()) -> Tensor:
        """Base noise of `draw`, `lead` in front of the arguments' common shape; without gradient."""
        raise NotImplementedError

    def draw(self, noise: Tensor | None = None) -> Tensor:
        """The value that the noise stands for, with its pathwise gradient."""
        raise NotImplementedError

    def sample(self, lead: tuple[int, ...] = ()) -> Tensor:
        """Values without gradient, `lead` in front of the arguments' common shape; int64 where they are whole numbers."""
        return self.draw(self.noise(lead)).detach()

    @property
    def mean(self) -> Tensor | None:
        """E x, where it is a number with a closed form."""
        return None


class ExponentialFamily(Distribution):
    """exp(Σ_i η_i t_i(x) - A), with natural parameters η and statistics t: a conjugate prior, or a factor of a mean field."""

    event = 0  # axes of one value

    @property
    def parameters(self) -> Parameters:
        """The arguments in order."""
        return tuple(vars(self).values())

    @property
    def mean(self) -> Tensor:
        """E x."""
        raise NotImplementedError

    @property
    def variance(self) -> Tensor:
        """Of each entry."""
        raise NotImplementedError

    def entropy(self) -> Tensor:
        """-E log p(x)."""
        raise NotImplementedError

    def natural(self) -> Parameters:
        """η, up to an offset that is the same for all members of the family."""
        raise NotImplementedError

    @classmethod
    def from_natural(cls, *natural: Tensor) -> Self:
        """The member with this η."""
        raise NotImplementedError

    def statistics(self) -> Parameters:
        """E t(x)."""
        raise NotImplementedError

    def scattered(self) -> Self:
        """A member near this one, no two alike: where coordinate ascent may start for alike components."""
        raise NotImplementedError

    def log_normaliser(self) -> Tensor:
        """A, as a function of the arguments."""
        raise NotImplementedError

    def merged(self, seen: Parameters) -> Self:
        """The posterior whose prior this is, given the statistics of what was seen: arguments that add up."""
        return type(self)(*(p + s for p, s in zip(self.parameters, seen, strict=True)))
