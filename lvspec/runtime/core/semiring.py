"""Questions asked of one elimination program by the reduction that it uses.

sum_z exp(f(z))  is reduced by  logsumexp | max | a draw | (1/beta) logsumexp(beta f);
the gradient of the result with respect to f is then the answer: posterior marginals, the best
configuration, an exact posterior draw, and (with respect to beta) minus the posterior entropy.
"""

from __future__ import annotations

from contextlib import nullcontext
from math import isfinite

import torch
from torch import Tensor

from lvspec.runtime.core.undefined import Undefined


def full_precision(x: Tensor) -> Tensor:
    """x, where a half-precision tensor becomes float32: sums in log space need the bits."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def plain_arithmetic(x: Tensor):
    """A context in which autocast leaves the arithmetic on x's device alone."""
    kind = x.device.type
    if kind == "meta" or not torch.is_autocast_enabled(kind):
        return nullcontext()
    return torch.autocast(device_type=kind, enabled=False)


def apart(*tensors: Tensor | None) -> list:
    """The tensors as nodes of their own in a graph: the gradient with respect to one holds no way through another, where
    one was computed from the other."""
    return [x if x is None else x.view_as(x) for x in tensors]


def may_look(x: Tensor) -> bool:
    """Whether a branch may read numbers of x: elsewhere than on a CPU looking waits, and where a graph is traced it breaks it."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def axes_of(x: Tensor, dim: int | tuple[int, ...]) -> tuple[int, ...]:
    """The axes named by `dim`, counted from the left."""
    return tuple(d % x.dim() for d in ((dim,) if isinstance(dim, int) else dim))


def last_axis(x: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """x with the axes of `dim` moved to the end and merged into one."""
    axes = axes_of(x, dim)
    kept = [d for d in range(x.dim()) if d not in axes]
    return x.permute(*kept, *axes).flatten(len(kept)) if axes else x.unsqueeze(-1)


def finite_part(log_p: Tensor) -> Tensor:
    """log p as what is taken off the logarithm of a part of p: 0 where it is -inf, so that -inf is what comes out."""
    return log_p.masked_fill(log_p == -torch.inf, 0.0)


def log_sum_exp(x: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """log sum exp(x) over dim; a slice of -inf gives -inf with gradient 0 (torch's own gives NaN)."""
    x = full_precision(x)
    axes = axes_of(x, dim)
    if not axes:
        return x
    if any(x.shape[a] == 0 for a in axes):  # a sum of nothing
        return x.sum(axes) - torch.inf
    with plain_arithmetic(x):
        if may_look(x):
            value = torch.logsumexp(x, axes)
            if not value.requires_grad or isfinite(float(value.detach().sum())):
                return value
        empty = x.detach().amax(axes, keepdim=True) == -torch.inf
        value = torch.logsumexp(x.masked_fill(empty, 0.0), axes, keepdim=True)
        return value.masked_fill(empty, -torch.inf).squeeze(axes)


def gumbel(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Standard Gumbel variates, -log(Exponential(1)); finite, since inf - inf would win an argmax."""
    noise = torch.empty(shape, dtype=like.dtype, device=like.device).exponential_()
    return -noise.clamp_min_(torch.finfo(like.dtype).tiny).log_()


class DrawnReduction(torch.autograd.Function):
    """log sum exp(x) over the last axis, whose backward sends the gradient to one entry, drawn from softmax(x)."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        value = torch.logsumexp(x, -1)
        ctx.save_for_backward(x, value)
        return value

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        x, value = ctx.saved_tensors
        # Gumbel-max: argmax(x + g) is distributed as softmax(x)
        chosen = (x + gumbel(x.shape, x)).argmax(-1, keepdim=True)
        share = torch.zeros_like(x).scatter_(-1, chosen, 1.0)
        return (share * grad.unsqueeze(-1)).masked_fill_((value == -torch.inf).unsqueeze(-1), 0.0)


class Semiring:
    """Numbers that a program adds with `sum` and multiplies with `times`. Programs for structures lift their
    potentials first and name axes from the end, since a lifted number may have a further axis in front."""

    name = ""

    def lift(self, x: Tensor) -> Tensor:
        """A log-potential as a number of the semiring."""
        return x

    def at_sites(self, x: Tensor, mask: Tensor) -> Tensor:
        """x where there is a site, the number of one empty assignment elsewhere."""
        return torch.where(mask, x, self.lift(x.new_zeros(mask.shape)))

    def times(self, x: Tensor, y: Tensor) -> Tensor:
        """The product of two numbers, broadcast against one another."""
        return x + y

    def weigh(self, x: Tensor, potential: Tensor) -> Tensor:
        """A number times a log-potential that is not lifted."""
        return x + potential

    def sum(self, x: Tensor, dim: int | tuple[int, ...]) -> Tensor:
        """Over the axes of `dim`."""
        raise NotImplementedError

    def entered(self) -> Semiring:
        """What a chain reduces by."""
        return self

    def left(self, value: Tensor) -> Tensor:
        """What a chain that was entered comes to."""
        return value


class LogSemiring(Semiring):
    """sum = logsumexp; gradient = posterior marginals."""

    name = "log"

    def sum(self, x: Tensor, dim: int | tuple[int, ...]) -> Tensor:
        return log_sum_exp(x, dim)


class RealSemiring(Semiring):
    """Numbers themselves, + and *: the log semiring's sums without logarithms, as far as their range holds them."""

    name = "real"

    def lift(self, x: Tensor) -> Tensor:
        return x.exp()

    def times(self, x: Tensor, y: Tensor) -> Tensor:
        return x * y

    def weigh(self, x: Tensor, potential: Tensor) -> Tensor:
        return x * potential.exp()

    def sum(self, x: Tensor, dim: int | tuple[int, ...]) -> Tensor:
        return x.sum(axes_of(x, dim))


class MaxSemiring(Semiring):
    """sum = max; gradient = one-hot of the best configuration, the first one of several."""

    name = "max"

    def sum(self, x: Tensor, dim: int | tuple[int, ...]) -> Tensor:
        value = last_axis(full_precision(x), dim).max(-1).values
        return torch.where(value == -torch.inf, value.detach(), value)


class SampleSemiring(Semiring):
    """sum = logsumexp; gradient = one-hot of an exact posterior draw, a new one in every backward pass."""

    name = "sample"

    def sum(self, x: Tensor, dim: int | tuple[int, ...]) -> Tensor:
        with plain_arithmetic(x):
            return DrawnReduction.apply(last_axis(full_precision(x), dim))


class TemperedSemiring(Semiring):
    """sum = (1/beta) logsumexp(beta x) with beta (B,) along the first axis of x; d/dbeta at 1 is minus the entropy."""

    name = "tempered"

    def __init__(self, beta: Tensor):
        self.beta = beta

    def sum(self, x: Tensor, dim: int | tuple[int, ...]) -> Tensor:
        if not axes_of(x, dim):
            return x
        flat = last_axis(full_precision(x), dim)
        beta = self.beta.to(flat.dtype).reshape(-1, *[1] * (flat.dim() - 1))
        # -inf * beta has gradient -inf with respect to beta: such entries take no part
        gone = flat.detach() == -torch.inf
        scaled = (beta * flat.masked_fill(gone, 0.0)).masked_fill(gone, -torch.inf)
        value = log_sum_exp(scaled, -1)
        empty = value.detach() == -torch.inf
        return (value.masked_fill(empty, 0.0) / beta.squeeze(-1)).masked_fill(empty, -torch.inf)


class BestSemiring(Semiring):
    """The k best: a number is k scores in order, along a new first axis, -inf where there are fewer. The gradient of
    the i-th score is the one-hot of the i-th best structure. Axes are named from the end, and ranks are equal."""

    name = "best"

    def __init__(self, k: int):
        self.k = k

    def lift(self, x: Tensor) -> Tensor:
        x = full_precision(x)
        return torch.cat([x[None], x.new_full((self.k - 1, *x.shape), -torch.inf)])

    def times(self, x: Tensor, y: Tensor) -> Tensor:
        return self.best((x[:, None] + y[None]).flatten(0, 1))

    def sum(self, x: Tensor, dim: int | tuple[int, ...]) -> Tensor:
        axes = [d % x.dim() for d in ((dim,) if isinstance(dim, int) else dim)]
        return self.best(x.movedim(axes, tuple(range(1, len(axes) + 1))).flatten(0, len(axes)))

    def best(self, x: Tensor) -> Tensor:
        """(n, ...) -> (k, ...), in order; scores of -inf carry no gradient."""
        if x.shape[0] < self.k:
            x = torch.cat([x, x.new_full((self.k - x.shape[0], *x.shape[1:]), -torch.inf)])
        value = x.topk(self.k, dim=0).values
        return torch.where(value == -torch.inf, value.detach(), value)


class CountSemiring(LogSemiring):
    """The log of how many configurations are possible: their log-potentials are not -inf."""

    name = "count"

    def lift(self, x: Tensor) -> Tensor:
        return torch.where(x > -torch.inf, 0.0, -torch.inf).to(x.dtype)

    def weigh(self, x: Tensor, potential: Tensor) -> Tensor:
        return x + self.lift(potential)


class FilterSemiring(LogSemiring):
    """sum = logsumexp; a chain's gradient at site t = p(z_t | x_1 .. x_t). The value of such a chain is no log-probability of
    anything, so that no other sum may hold it: made anew for each question, it knows the chains it has passed."""

    name = "filter"

    def __init__(self):
        self.chains: set[object] = set()  # the nodes that their values come from

    def sum(self, x: Tensor, dim: int | tuple[int, ...]) -> Tensor:
        if axes_of(x, dim):
            self.refuse_chains(x)
        return super().sum(x, dim)

    def passed(self, value: Tensor) -> Tensor:
        """The value of a chain."""
        self.chains.add(value.grad_fn)
        return value

    def refuse_chains(self, *terms: Tensor) -> None:
        """Undefined, where one of the terms is computed from a chain."""
        ahead, seen = [x.grad_fn for x in terms], set[object]()
        while self.chains and ahead:
            node = ahead.pop()
            if node is None or node in seen:
                continue
            if node in self.chains:
                raise Undefined(
                    "filtered: only where no other latent is summed around the chain. The marginals at a site of a batch in "
                    "which nothing is observed at later ones are the same"
                )
            seen.add(node)
            ahead += [before for before, _ in node.next_functions]


class OneChain(Semiring):
    """A reduction for programs of one chain: numbers of several sums are not added. value: what that chain comes to,
    apart from the log-factors that no sum runs over."""

    def __init__(self, inner: Semiring, question: str):
        self.inner, self.question = inner, question
        self.asked = False
        self.value: Tensor | None = None

    def entered(self) -> Semiring:
        if self.asked:
            raise self.undefined
        self.asked = True
        return self.inner

    def left(self, value: Tensor) -> Tensor:
        self.value = value
        return value

    def at_sites(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.inner.at_sites(x, mask)

    def sum(self, x: Tensor, dim: int | tuple[int, ...]) -> Tensor:
        raise self.undefined

    lift = weigh = times = sum  # type: ignore[assignment]  # whatever else is asked for is undefined

    @property
    def undefined(self) -> Undefined:
        return Undefined(f"{self.question}: only where all latents that are summed form one chain over one plate")


def tempered(beta: Tensor) -> TemperedSemiring:
    """The reduction (1/beta) log sum exp(beta x)."""
    return TemperedSemiring(beta)


LOG = LogSemiring()
REAL = RealSemiring()
MAX = MaxSemiring()
SAMPLE = SampleSemiring()
COUNT = CountSemiring()


def widest(x: Tensor) -> Tensor:
    """x in float64 where the device has it: log messages grow along the chain, and a rounding of 1e5 is an error of e."""
    return x if x.device.type == "mps" else x.double()


def merge_semiring(semiring, lead: tuple[int, ...]):
    """The semiring for merged leading axes: a temperature per example is repeated over the others."""
    if isinstance(semiring, OneChain):
        raise semiring.undefined
    if not isinstance(semiring, TemperedSemiring):
        return semiring
    beta = semiring.beta.reshape(-1, *[1] * (len(lead) - 1))
    return tempered(beta.expand(lead).flatten())
