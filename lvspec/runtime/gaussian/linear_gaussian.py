"""Linear-Gaussian chains, integrated exactly: the Kalman filter.

    z[0] ~ N(m0, S0)       z[t] ~ N(A z[t-1] + b, Q)       x[t] ~ N(C z[t] + d, R)

The filter goes forward once and gives log p(x) and p(z[t] | x[<=t]). Of covariances only roots are kept, P = L L', and
C P C' + R is never formed: a triangular root of an array that holds both is as exact as the noise is large beside the spread
of the state, where of the sum it is the square of that. Where float32 is too coarse even so, everything is done again in
float64. What follows about p(z | x) stands in kalman_posterior.py.
Kalman 1960; Kaminski, Bryson & Schmidt 1971; Särkkä 2013, "Bayesian filtering and smoothing", 4.3.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import isqrt
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from lvspec.runtime.core.semiring import apart, may_look, plain_arithmetic
from lvspec.runtime.families.multivariate_normal import cholesky
from lvspec.runtime.families.special import LOG_TWO_PI
from lvspec.runtime.gaussian.orthogonal import lower_root

COARSE = 1e3  # variance in units of the noise's, from which on what float32 costs shows beside the noise
LONG = 256  # sites beyond which the backward pass computes blocks of them once more, in float64
State = tuple[Tensor, Tensor]  # mean (*lead, D), root of the covariance (*lead, D, D)
EVENTS = (2, 1, 2)  # event axes of a matrix, an offset and a covariance


def apply_matrix(matrix: Tensor, vector: Tensor) -> Tensor:
    """matrix (..., N, D) times vector (..., D)."""
    return (matrix @ vector.unsqueeze(-1)).squeeze(-1)


def sandwich(matrix: Tensor, covariance: Tensor) -> Tensor:
    """M P M', exactly symmetric."""
    product = matrix @ covariance @ matrix.mT
    return 0.5 * (product + product.mT)


def at_site(x: Tensor, t: int, event: int) -> Tensor:
    """x[..., t, *event]; what has no axis for the sites, or one of size 1, is the same at every site."""
    if x.dim() <= event:
        return x
    axis = x.dim() - event - 1
    return x.select(axis, t if x.shape[axis] > 1 else 0)


@dataclass(frozen=True)
class GaussianEmission:
    """value ~ N(matrix z + offset, covariance) at each site, where mask is true.

    matrix (..., T, N, D), offset (..., T, N), covariance (..., T, N, N), value (*lead, T, N); mask (*lead, T), or
    (*lead, T, N) where single coordinates are missing. What is missing is integrated out; its fill value is never read.
    """

    matrix: Tensor
    offset: Tensor
    covariance: Tensor
    value: Tensor
    mask: Tensor

    def observed(self) -> Tensor:
        """Which coordinates are seen, (*lead, T, N)."""
        whole_sites = self.mask.dim() < self.value.dim()
        return self.mask.unsqueeze(-1).expand(self.value.shape) if whole_sites else self.mask


@dataclass(frozen=True)
class Filtered:
    """log_prob (*lead,): log p(x). means (*lead, T, D), roots (*lead, T, D, D): p(z[t] | x[<=t]), of covariance root root';
    predicted_means, predicted_roots: p(z[t] | x[<t])."""

    log_prob: Tensor
    means: Tensor
    roots: Tensor
    predicted_means: Tensor
    predicted_roots: Tensor


@dataclass(frozen=True)
class GaussianChain:
    """A linear-Gaussian chain with what was seen of it.

    start: (mean (..., D), covariance (..., D, D)) of z[0].
    transition: (matrix (..., T, D, D), offset (..., T, D), covariance (..., T, D, D)) of z[t] given z[t-1]; those of
        site 0 are not read. emissions: GaussianEmission arguments, one tuple for each observed variable.
    mask (*lead, T): the real sites, a prefix of each row. scalar: z is a number, and D = 1 is left out of answers.
    Axes in front of the event broadcast from the right: what is the same at all sites may lack the axis T, what is the
    same for all rows the axes *lead.
    """

    start: tuple[Tensor, Tensor]
    transition: tuple[Tensor, Tensor, Tensor]
    emissions: tuple[tuple[Tensor, Tensor, Tensor, Tensor, Tensor], ...]
    mask: Tensor
    scalar: bool = False

    @property
    def size(self) -> int:
        """D."""
        return self.start[1].shape[-1]

    def filter(self) -> Filtered:
        with plain_arithmetic(self.start[0]):
            if may_look(self.mask) or self.mask.device.type == "meta":
                found = kalman_filter(self.rooted())
                return kalman_filter(self.double().rooted()) if self.loses(found) else found
            return kalman_filter(self.double().rooted())  # looking would wait for the device

    @cached_property
    def filtered(self) -> Filtered:
        """The filter's answers, kept: questions of the posterior share them."""
        return self.filter()

    def log_prob(self) -> Tensor:
        """log p(x), z integrated out: (*lead,)."""
        if self.mask.shape[-1] > LONG and torch.is_grad_enabled() and not torch.compiler.is_compiling():
            with plain_arithmetic(self.start[0]):
                return long_log_prob(self.double().rooted()).to(self.start[0].dtype)
        # without the cache, whose lock no compiled graph can hold
        return self.filter().log_prob.to(self.start[0].dtype)

    def double(self) -> GaussianChain:
        """The same chain in float64."""

        def of(tensors: tuple[Tensor, ...]) -> Any:
            return tuple(x.double() if x.is_floating_point() else x for x in tensors)

        emissions = tuple(map(of, self.emissions))
        return replace(self, start=of(self.start), transition=of(self.transition), emissions=emissions)

    def rooted(self) -> GaussianChain:
        """The same chain with lower triangular roots where covariances stand."""
        emissions: Any = tuple((C, d, cholesky(R), *rest) for C, d, R, *rest in self.emissions)
        (mean, S), (A, b, Q) = self.start, self.transition
        return replace(self, start=(mean, cholesky(S)), transition=(A, b, cholesky(Q)), emissions=emissions)

    def loses(self, found: Filtered) -> bool:
        """Whether the arithmetic of the chain was too coarse for its noise."""
        if self.start[0].dtype == torch.float64 or not found.means.numel() or self.mask.device.type == "meta":
            return False
        states = found.predicted_roots.detach().square().sum(-1)
        for C, _, R, *_ in (map(torch.Tensor.detach, e) for e in self.emissions):
            spread = (C.square() @ states.flatten(0, -2).amax(0).unsqueeze(-1)).amax()
            if not bool(spread <= COARSE * R.diagonal(dim1=-2, dim2=-1).amin()):  # NaN as well
                return True
        return not bool(found.log_prob.detach().isfinite().all())


def kalman_filter(chain: GaussianChain) -> Filtered:
    """p(z[t] | x[<=t]) for every t, and log p(x) = sum_t log p(x[t] | x[<t]), of a chain of roots."""
    lead = chain.mask.shape[:-1]
    predicted: list[State] = []
    filtered: list[State] = []
    first = first_state(chain)
    total = kalman_sites(chain, first, first[0].new_zeros(lead), True, predicted, filtered)[1]
    return Filtered(total, *stacked_states(filtered, lead, first[0]), *stacked_states(predicted, lead, first[0]))


def long_log_prob(chain: GaussianChain) -> Tensor:
    """log p(x), (*lead,), of a chain of roots, with the graph of some sites at a time."""
    return LongFilter.apply(
        *first_state(chain), *chain.transition, *(x for e in chain.emissions for x in e), chain.mask
    )


def first_state(chain: GaussianChain) -> State:
    """The mean of z[0] and the root of its covariance, for every row."""
    lead, D = chain.mask.shape[:-1], chain.size
    return chain.start[0].expand(*lead, D), chain.start[1].expand(*lead, D, D)


def kalman_sites(
    chain: GaussianChain,
    state: State,
    total: Tensor,
    first: bool,
    predicted: list[State] | None = None,
    filtered: list[State] | None = None,
) -> tuple[State, Tensor]:
    """The filter over all sites of a chain, or of a part of one, whose first site is the chain's where `first` says so:
    the state behind them, and log p of what is seen there added to `total`. predicted, filtered: lists for the states."""
    emissions = [GaussianEmission(*e) for e in chain.emissions]
    seen = [e.observed() & chain.mask.unsqueeze(-1) for e in emissions]
    mean, root = state
    for t in range(chain.mask.shape[-1]):
        if t > 0 or not first:
            # padding is no site: the state stays what it was, however long it is and whatever A is
            here = chain.mask[..., t, None]
            ahead, spread = kalman_predict(chain, t, mean, root)
            mean = torch.where(here, ahead, mean)
            root = torch.where(here.unsqueeze(-1), spread, root)
        if predicted is not None:
            predicted.append((mean, root))
        for emission, observed in zip(emissions, seen, strict=True):
            mean, root, log_p = kalman_update(emission, t, observed[..., t, :], mean, root)
            total = total + log_p
        if filtered is not None:
            filtered.append((mean, root))
    return (mean, root), total


class LongFilter(torch.autograd.Function):
    """log p(x) of a long chain. A site is some hundred operations on small tensors, whose graph weighs more than what they
    compute: the forward pass keeps the states where blocks of about √T sites begin, and the backward pass has the graph of
    one block at a time. tensors: the transition's, each emission's, the mask."""

    @staticmethod
    def forward(ctx, mean: Tensor, covariance: Tensor, *tensors: Tensor) -> Tensor:
        sites = tensors[-1].shape[-1]
        state, total = (mean.detach(), covariance.detach()), mean.new_zeros(tensors[-1].shape[:-1])
        ctx.blocks = [(b, min(b + isqrt(sites), sites)) for b in range(0, sites, isqrt(sites))]
        begun: list[Tensor] = []
        for begin, end in ctx.blocks:
            begun += state
            state, total = kalman_sites(rebuilt(part_of(tensors, begin, end)), state, total, begin == 0)
        ctx.save_for_backward(mean, covariance, *tensors)
        ctx.begun = begun
        return total

    @staticmethod
    def backward(ctx, grad: Tensor):
        mean, covariance, *tensors = ctx.saved_tensors
        with plain_arithmetic(grad), torch.enable_grad() if torch.is_grad_enabled() else torch.no_grad():
            if torch.is_grad_enabled():  # for a second derivative: the graph of all sites
                mean, covariance, *tensors = apart(mean, covariance, *tensors)
                total = kalman_sites(rebuilt(tensors), (mean, covariance), torch.zeros_like(grad), True)[1]
                wanted = [x for x in (mean, covariance, *tensors) if x.requires_grad]
                found = iter(torch.autograd.grad(total, wanted, grad, create_graph=True, allow_unused=True))
                return tuple(next(found) if x.requires_grad else None for x in (mean, covariance, *tensors))
            return block_gradients(ctx, tensors, grad)


def block_gradients(ctx, tensors: list[Tensor], grad: Tensor) -> tuple[Tensor | None, ...]:
    """d log p / d (mean, covariance, tensors), block by block from the last one."""
    sums: list[Any] = [torch.zeros_like(x) if x.requires_grad else None for x in tensors]
    behind = [torch.zeros_like(x) for x in ctx.begun[:2]]
    for index in range(len(ctx.blocks) - 1, -1, -1):
        begin, end = ctx.blocks[index]
        with torch.enable_grad():
            parts = [
                x.detach().requires_grad_(s is not None)
                for x, s in zip(part_of(tensors, begin, end), sums, strict=True)
            ]
            state = [x.detach().requires_grad_() for x in ctx.begun[2 * index : 2 * index + 2]]
            after, total = kalman_sites(rebuilt(parts), tuple(state), torch.zeros_like(grad), begin == 0)
            wanted = [*state, *(x for x in parts if x.requires_grad)]
            found = torch.autograd.grad((*after, total), wanted, (*behind, grad), allow_unused=True)
        behind = [torch.zeros_like(x) if d is None else d for x, d in zip(state, found[:2], strict=True)]
        targets = (t for t, s in zip(part_of(sums, begin, end, like=tensors), sums, strict=True) if s is not None)
        for target, d in zip(targets, found[2:], strict=True):
            if d is not None:
                target += d
    return (*behind, *sums)


def part_of(tensors, begin: int, end: int, like=None) -> list[Any]:
    """Some sites of each tensor that has an axis for them; of those that are the same at every site all. like: tensors of
    the same shapes, where some are missing."""
    like = tensors if like is None else like
    events = [*EVENTS, *([*EVENTS, 1, None] * ((len(like) - 4) // 5)), 0]
    found = []
    for i, (x, shaped, event) in enumerate(zip(tensors, like, events, strict=True)):
        if event is None:  # the mask of a value: of sites, or of its coordinates
            event = 1 if shaped.dim() == like[i - 1].dim() else 0
        axis = shaped.dim() - event - 1
        sited = x is not None and axis >= 0 and shaped.shape[axis] > 1
        found.append(x.narrow(axis, begin, end - begin) if sited else x)
    return found


def rebuilt(tensors) -> GaussianChain:
    """The chain of these tensors; where it starts is told apart."""
    *parts, mask = tensors
    emissions = tuple(tuple(parts[i : i + 5]) for i in range(3, len(parts), 5))
    return GaussianChain(start=(parts[1], parts[2]), transition=tuple(parts[:3]), emissions=emissions, mask=mask)


def stacked_states(states: list[tuple[Tensor, Tensor]], lead: torch.Size, like: Tensor) -> tuple[Tensor, Tensor]:
    """Means and roots, or covariances, of all sites."""
    D = like.shape[-1]
    if not states:
        return like.new_zeros(*lead, 0, D), like.new_zeros(*lead, 0, D, D)
    means, roots = zip(*states, strict=True)
    return torch.stack(means, -2), torch.stack(roots, -3)


def kalman_predict(chain: GaussianChain, t: int, mean: Tensor, root: Tensor) -> tuple[Tensor, Tensor]:
    """N(A m + b, A P A' + Q), of a chain of roots."""
    A, b, Q = (at_site(x, t, event) for x, event in zip(chain.transition, EVENTS, strict=True))
    moved = A @ root
    return apply_matrix(A, mean) + b, lower_root(torch.cat([moved, Q.expand(moved.shape)], -1))


def kalman_update(
    emission: GaussianEmission, t: int, observed: Tensor, mean: Tensor, root: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """p(z | x) and log p(x) for z ~ N(mean, root root'), of an emission whose noise is a root as well:

        (C L  R^1/2)        (F  0 )                                             F F' = C P C' + R,  P' = L' L'^T,
        (L    0    ) = Q' . (K  L')  but for the orthogonal Q,  so that         E[z | x] = m + K F^-1 (x - C m - d)

    A coordinate that is not observed gets the row C = 0 and unit noise of its own: it says nothing, and nothing is
    added to the log-determinant.
    """
    coefficients = (emission.matrix, emission.offset, emission.covariance)
    C, d, R = (at_site(x, t, event) for x, event in zip(coefficients, EVENTS, strict=True))
    surprise = torch.where(observed, emission.value[..., t, :] - apply_matrix(C, mean) - d, 0.0)
    here, N = observed.unsqueeze(-1), observed.shape[-1]
    seen = [torch.where(here, C @ root, 0.0), torch.where(here, R, 0.0), torch.diag_embed((~observed).to(root.dtype))]
    array = pad(torch.cat(seen, -1), (0, 0, 0, root.shape[-1])) + pad(root, (0, 2 * N, N, 0))
    both = lower_root(array)
    factor, gain = both[..., :N, :N], both[..., N:, :N]
    whitened = torch.linalg.solve_triangular(factor, surprise.unsqueeze(-1), upper=False).squeeze(-1)
    log_det = factor.diagonal(dim1=-2, dim2=-1).abs().log().sum(-1)
    log_p = -0.5 * (whitened**2).sum(-1) - log_det - 0.5 * LOG_TWO_PI * observed.sum(-1, dtype=mean.dtype)
    return mean + apply_matrix(gain, whitened), both[..., N:, N:], log_p
