"""p(z | x) of jointly Gaussian latents, asked of the conditionals that elimination left.

    p(z | x) = p(outermost | x) prod over levels p(level | levels above, x)         each factor is N(G u + c, W W')

Moments and draws pass through the conditionals from the outermost level inwards, along a chain from the first site to the
last; entropies add up.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from lvspec.runtime.conjugate.chosen_values import ChosenValues, LogMarginal, WeighedValues
from lvspec.runtime.core.semiring import plain_arithmetic
from lvspec.runtime.core.undefined import Undefined
from lvspec.runtime.families.special import LOG_TWO_PI
from lvspec.runtime.gaussian.elimination import Conditional
from lvspec.runtime.gaussian.joint_gaussian import GaussianBlock, GaussianLevel, width
from lvspec.runtime.gaussian.linear_gaussian import apply_matrix, sandwich


@dataclass(frozen=True)
class GaussianBlockPosterior:
    """Of all latents of a block together."""

    block: GaussianBlock

    @cached_property
    def moments(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Mean (*lead, sites, D) and covariance (*lead, sites, D, D) of each latent at each of its sites."""
        with plain_arithmetic(self.block.like):
            _, conditionals, priors = self.block.solved
            found: dict[str, tuple[Tensor, Tensor]] = {}
            every: list[tuple[Tensor, Tensor]] = []
            for level, own, prior in zip(self.block.levels, conditionals, priors, strict=True):
                mean, covariance = _moments(level, own, None if level.above is None else every[level.above])
                every.append((mean, covariance))
                mean = prior.mean + mean
                for name, (begin, end) in _places(level).items():
                    found[name] = mean[..., begin:end], covariance[..., begin:end, begin:end]
        return found

    def sample(self, n: int) -> dict[str, Tensor]:
        """n joint draws of all latents, reparameterized: (n, *lead, sites, D) each, of a number (n, *lead, sites)."""
        return {name: shaped(self.block, name, z) for name, z in self.drawn(n).items()}

    def drawn(self, n: int) -> dict[str, Tensor]:
        """The same, a number as a vector of one entry."""
        with plain_arithmetic(self.block.like):
            _, conditionals, priors = self.block.solved
            found: dict[str, Tensor] = {}
            every: list[Tensor] = []
            for level, own, prior in zip(self.block.levels, conditionals, priors, strict=True):
                above = None if level.above is None else every[level.above]
                every.append(_draws(level, own, above, n, prior.mean))
                drawn = prior.mean + every[-1]
                found |= {name: drawn[..., begin:end] for name, (begin, end) in _places(level).items()}
        return found

    @cached_property
    def entropy(self) -> Tensor:
        """H[p(z | x)] of all sites of an example together: (B,)."""
        total: Any = None
        _, conditionals, priors = self.block.solved
        for level, own, prior in zip(self.block.levels, conditionals, priors, strict=True):
            narrowed = torch.stack([c.log_det for c in own], -1) if level.chain and own else None
            narrowed = own[0].log_det if narrowed is None and own else narrowed
            each = prior.log_det - (0.0 if narrowed is None else narrowed) + width(level.new) * (1 + LOG_TWO_PI)
            each = torch.where(level.mask, 0.5 * each, 0.0)
            each = each.flatten(1).sum(-1) if each.dim() > 1 else each
            total = each if total is None else total + each
        return total.to(self.block.like.dtype)


def shaped(block: GaussianBlock, name: str, value: Tensor) -> Tensor:
    """In the module's dtype; of a number, without its axis of one entry."""
    value = value.to(block.like.dtype)
    return value.squeeze(-1) if any(name in level.scalars for level in block.levels) else value


@dataclass(frozen=True)
class BlockLatent:
    """p(z | x) of one latent of a block; `sample` and `entropy` are those of the joint posterior of all of them."""

    joint: GaussianBlockPosterior
    name: str

    @property
    def mean(self) -> Tensor:
        """E[z | x]: (*lead, sites, D)."""
        return shaped(self.joint.block, self.name, self.joint.moments[self.name][0])

    @property
    def mode(self) -> Tensor:
        """The joint mode, which of a Gaussian is the mean."""
        return self.mean

    @property
    def covariance(self) -> Tensor:
        """Cov[z | x] at each site: (*lead, sites, D, D)."""
        return self.joint.moments[self.name][1].to(self.joint.block.like.dtype)

    @property
    def variance(self) -> Tensor:
        """Of each entry: (*lead, sites, D)."""
        return shaped(self.joint.block, self.name, self.joint.moments[self.name][1].diagonal(dim1=-2, dim2=-1))

    @property
    def entropy(self) -> Tensor:
        return self.joint.entropy

    def sample(self, n: int) -> Tensor:
        """n draws, (n, *lead, sites, D), reparameterized; `joint.sample(n)` draws all latents together."""
        return self.joint.sample(n)[self.name]

    # What a chain by the Kalman filter answers: here another batch is asked, at the same site.

    @property
    def filtered(self) -> Tensor:
        raise Undefined(
            f"filtered: {self._eliminated}; at t it is the posterior of a batch that observes nothing behind t"
        )

    def forecast(self, steps: int) -> Tensor:
        raise Undefined(
            f"forecast: {self._eliminated}; give lengths of {steps} sites more, with x_observed false there: the moments at "
            f"these sites are it"
        )

    def cross_entropy(self, other: BlockLatent) -> Tensor:
        raise Undefined(f"cross_entropy: {self._eliminated}")

    def kl(self, other: BlockLatent) -> Tensor:
        raise Undefined(f"kl: {self._eliminated}")

    @property
    def _eliminated(self) -> str:
        return f"{self.name} is integrated out of a block of joint Gaussians, not by a Kalman filter"


def block_posterior(block: GaussianBlock) -> dict[str, BlockLatent]:
    """p(z | x) of every latent of a block, by name."""
    joint = GaussianBlockPosterior(block)
    return {name: BlockLatent(joint, name) for level in block.levels for name in level.latents}


@dataclass(frozen=True)
class MixedBlockPosterior:
    """p(z | x) = sum_c p(c | x) p(z | c, x), where discrete latents c choose the block's coefficients."""

    block: GaussianBlock
    chosen: ChosenValues

    @cached_property
    def given(self) -> GaussianBlockPosterior:
        """p(z | c, x), for each value of c."""
        return GaussianBlockPosterior(self.block)

    @property
    def weights(self) -> Tensor:
        """p(c | x): (B, values of c, outermost sites)."""
        return self.chosen.weights

    @cached_property
    def moments(self) -> dict[str, tuple[Tensor, Tensor]]:
        found = {}
        for name, (mean, covariance) in self.given.moments.items():
            centre = self.chosen.averaged(self.weights, mean, 1)
            gap = mean - self.chosen.spread(centre)
            spread = covariance + gap.unsqueeze(-1) * gap.unsqueeze(-2)
            found[name] = centre, self.chosen.averaged(self.weights, spread, 2)
        return found

    def sample(self, n: int) -> dict[str, Tensor]:
        """n joint draws of all latents: (n, B, sites, D) each, of a number (n, B, sites)."""
        weights = self.chosen.drawn(n)
        found = {name: self.chosen.averaged(weights, z, 1, draws=1) for name, z in self.given.drawn(n).items()}
        return {name: shaped(self.block, name, z) for name, z in found.items()}


@dataclass(frozen=True)
class MixedLatent(BlockLatent):
    """p(z | x) of one latent of such a block: a mixture of Gaussians, whose mode and entropy have no closed form."""

    joint: MixedBlockPosterior  # type: ignore[assignment]  # it answers the same questions but the mode's

    @property
    def mode(self) -> Tensor:
        raise Undefined(f"the mode of {self.name}, whose posterior is a mixture of Gaussians")

    @property
    def entropy(self) -> Tensor:
        raise Undefined(f"the entropy of {self.name}, whose posterior is a mixture of Gaussians")


def mixed_block_posterior(
    block: GaussianBlock, log_marginal: LogMarginal, tilts: dict[str, Tensor], name: str
) -> dict[str, MixedLatent]:
    """p(z | x) of every latent of a block whose coefficients discrete latents choose; name: of the first of them."""
    return _mixed(block, ChosenValues.of(block.log_prob(), block.choices, log_marginal, tilts, name))


def weighed_block_posterior(block: GaussianBlock, weights: Tensor, name: str) -> dict[str, MixedLatent]:
    """The same by the weights p(c | x) of its components."""
    return _mixed(block, WeighedValues(weights, name, block.choices))


def _mixed(block: GaussianBlock, chosen: ChosenValues) -> dict[str, MixedLatent]:
    joint = MixedBlockPosterior(block, chosen)
    return {name: MixedLatent(joint, name) for level in block.levels for name in level.latents}


def _places(level: GaussianLevel) -> dict[str, tuple[int, int]]:
    """Where the entries of each latent begin and end in the state."""
    found, at = {}, 0
    for name, size in level.new:
        found[name] = at, at + size
        at += size
    return found


def _inwards(x: Tensor, level: GaussianLevel, event: int) -> Tensor:
    """What stands at the sites of the level above, at those of the level; of a chain, at each of its sites."""
    for _ in range(level.inner - level.chain):
        x = x.unsqueeze(-event - 1)
    return x


def _onwards(c: Conditional, dropped: int) -> Tensor:
    """(z, u without its first entries) as a matrix times u."""
    m = c.matrix.shape[-1]
    eye = torch.eye(m, dtype=c.matrix.dtype, device=c.matrix.device)[dropped:]
    return torch.cat([c.matrix, eye.expand(*c.matrix.shape[:-2], *eye.shape)], -2)


def _ahead(c: Conditional, mean: Tensor, covariance: Tensor, dropped: int) -> tuple[Tensor, Tensor]:
    """Moments of (z, u without its first entries) of those of u."""
    onwards, kept = _onwards(c, dropped), c.matrix.shape[-1] - dropped
    mean = apply_matrix(onwards, mean) + pad(c.offset, (0, kept))
    return mean, sandwich(onwards, covariance) + pad(c.root @ c.root.mT, (0, kept, 0, kept))


def _moments(
    level: GaussianLevel, own: list[Conditional], above: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, Tensor]:
    """Of the level's state with the levels above behind it, about the prior's means, at each site."""
    D, found = width(level.slots) if level.chain else 0, []
    zero = torch.zeros(0, dtype=torch.float64, device=level.mask.device)
    mean, covariance = (zero, zero.new_zeros(0, 0)) if above is None else above
    mean, covariance = _inwards(mean, level, 1), _inwards(covariance, level, 2)
    mean, covariance = pad(mean, (D, 0)), pad(covariance, (D, 0, D, 0))
    for c in own:
        mean, covariance = _ahead(c, mean, covariance, D)
        found.append((mean, covariance))
    if level.chain:
        mean = _along(level, [m for m, _ in found], mean, 1)
        covariance = _along(level, [v for _, v in found], covariance, 2)
    here = level.mask.unsqueeze(-1)
    return torch.where(here, mean, 0.0), torch.where(here.unsqueeze(-1), covariance, 0.0)


def _draws(level: GaussianLevel, own: list[Conditional], above: Tensor | None, n: int, like: Tensor) -> Tensor:
    """Draws of the level's state with those of the levels above behind them, about the prior's means, at each site."""
    D, found = width(level.slots) if level.chain else 0, []
    z = like.new_zeros(n, *[1] * (level.mask.dim() - level.chain), 0) if above is None else _inwards(above, level, 1)
    z = pad(z, (D, 0))
    for c in own:
        noise = torch.randn(n, *c.offset.shape[:-1], c.root.shape[-1], dtype=like.dtype, device=like.device)
        moved = apply_matrix(_onwards(c, D), z) + pad(c.offset, (0, z.shape[-1] - D))
        z = moved + pad(apply_matrix(c.root, noise), (0, z.shape[-1] - D))
        found.append(z)
    z = _along(level, found, z, 1) if level.chain else z
    return torch.where(level.mask.unsqueeze(-1), z, 0.0)


def _along(level: GaussianLevel, found: list[Tensor], like: Tensor, event: int) -> Tensor:
    """The sites of a chain as one axis, the last of the sites'."""
    if found:
        return torch.stack(found, -event - 1)
    return like.new_zeros(*level.mask.shape, *like.shape[-event:])
