"""log softmax(h W' + b)[x] for large vocabularies: a few rows of logits at a time.

A block of ROWS x V stays in the cache; the weights' gradient is accumulated in place. Without an enumerated axis the
normalised rows are kept for the backward pass while they are few; with one they are computed again.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.core.operators import OP_NAMESPACE
from lvspec.runtime.core.semiring import apart, full_precision, plain_arithmetic
from lvspec.runtime.families.categorical import categorical_rows

__all__ = ["categorical_head"]

ROWS = 128  # rows of logits at a time: more lose the cache, fewer lose the matrix product
PLAIN_ENTRIES = 2**16  # below this many logits one plain product is cheapest
KEPT_ENTRIES = 2**24  # at most this many normalised logits are kept for the backward pass


def block_rows(like: Tensor, symbols: int) -> int:
    """Rows of logits at a time: by the cache on a CPU, by memory elsewhere."""
    return ROWS if like.device.type == "cpu" else max(ROWS, 2**26 // max(symbols, 1))


def block_logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor) -> Tensor:
    """hidden @ weight.T + bias into `out`."""
    if bias is None:
        return torch.mm(hidden, weight.t(), out=out)
    return torch.addmm(bias, hidden, weight.t(), out=out)


def head_scores(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, kept: Tensor | None = None
) -> Tensor:
    """log softmax of each row at its targets: hidden (M, H), targets (M, R) -> (M, R); `kept` (M, V) takes the rows."""
    M, V = hidden.shape[0], weight.shape[0]
    size = min(block_rows(hidden, V), max(M, 1))
    scores = hidden.new_empty(targets.shape)
    logits = hidden.new_empty(size, V)
    spare = hidden.new_empty(0 if kept is not None else size, V)
    for a in range(0, M, size):
        b = min(a + size, M)
        rows = block_logits(hidden[a:b], weight, bias, logits[: b - a])
        normal = torch.log_softmax(rows, -1, out=spare[: b - a] if kept is None else kept[a:b])
        torch.gather(normal, 1, targets[a:b], out=scores[a:b])
    return scores


def head_gradient(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, kept: Tensor | None, grad: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    """d / d (hidden, weight, bias) of sum(grad * scores)."""
    M, V = hidden.shape[0], weight.shape[0]
    size = min(block_rows(hidden, V), max(M, 1))
    d_hidden, d_weight = torch.empty_like(hidden), torch.zeros_like(weight)
    d_bias = None if bias is None else torch.zeros_like(bias)
    buffer = hidden.new_empty(size, V)
    spare = hidden.new_empty(0 if kept is not None else size, V)
    for a in range(0, M, size):
        b = min(a + size, M)
        d = buffer[: b - a]
        if kept is not None:
            torch.exp(kept[a:b], out=d)
        else:
            rows = block_logits(hidden[a:b], weight, bias, spare[: b - a])
            torch.softmax(rows, -1, out=d)
        d.mul_(-grad[a:b].sum(1, keepdim=True)).scatter_add_(1, targets[a:b], grad[a:b])
        torch.mm(d, weight, out=d_hidden[a:b])
        d_weight.addmm_(d.t(), hidden[a:b])
        if d_bias is not None:
            d_bias.add_(d.sum(0))
    return d_hidden, d_weight, d_bias


def plain_head(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    """The same by torch's own operations, all rows at once."""
    return torch.nn.functional.linear(hidden, weight, bias).log_softmax(-1).gather(1, targets)


class HeadScores(torch.autograd.Function):
    """head_scores with head_gradient as its gradient."""

    @staticmethod
    def forward(ctx, hidden, weight, bias, targets, keep):
        kept = hidden.new_empty(hidden.shape[0], weight.shape[0]) if keep else None
        scores = head_scores(hidden, weight, bias, targets, kept)
        ctx.save_for_backward(hidden, weight, bias, targets, kept)
        return scores

    @staticmethod
    def backward(ctx, grad):
        hidden, weight, bias, targets, kept = ctx.saved_tensors
        with plain_arithmetic(grad):
            if torch.is_grad_enabled():
                with torch.enable_grad():
                    hidden, weight, bias = apart(hidden, weight, bias)
                    value = plain_head(hidden, weight, bias, targets)
                    wanted = [x for x in (hidden, weight, bias) if x is not None and x.requires_grad]
                    found = iter(torch.autograd.grad(value, wanted, grad, create_graph=True))
                d = [next(found) if x is not None and x.requires_grad else None for x in (hidden, weight, bias)]
                return (*d, None, None)
            return (*head_gradient(hidden, weight, bias, targets, kept, grad.contiguous()), None, None)


def head_operator():
    """head_scores as one opaque operator of a compiled graph, which would else unroll every block."""
    arguments = "Tensor hidden, Tensor weight, Tensor? bias, Tensor targets"
    value = torch.library.custom_op(
        f"{OP_NAMESPACE}::head_scores", head_scores, mutates_args=(), schema=f"({arguments}) -> Tensor"
    )
    gradient = torch.library.custom_op(
        f"{OP_NAMESPACE}::head_gradient",
        head_gradient_list,
        mutates_args=(),
        schema=f"({arguments}, Tensor grad) -> Tensor[]",
    )
    value.register_fake(lambda hidden, weight, bias, targets: hidden.new_empty(targets.shape))
    gradient.register_fake(
        lambda hidden, weight, bias, targets, grad: [
            x.new_empty(x.shape) for x in (hidden, weight, bias) if x is not None
        ]
    )

    def keep(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    def backward(ctx, grad):
        hidden, weight, bias, targets = ctx.saved_tensors
        d_hidden, d_weight, *d_bias = gradient(hidden, weight, bias, targets, grad.contiguous())
        return d_hidden, d_weight, d_bias[0] if d_bias else None, None

    value.register_autograd(backward, setup_context=keep)
    return value


def head_gradient_list(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, grad: Tensor
) -> list[Tensor]:
    """head_gradient without what is not there."""
    return [d for d in head_gradient(hidden, weight, bias, targets, None, grad) if d is not None]


HEAD_OPERATOR = head_operator()


def scored_rows(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, enumerated: bool) -> Tensor:
    """log softmax(hidden @ weight.T + bias) at each row's targets, (M, R), by the way that suits the size."""
    entries = hidden.shape[0] * weight.shape[0]
    if entries <= PLAIN_ENTRIES:
        return plain_head(hidden, weight, bias, targets)
    if torch.compiler.is_compiling():
        return HEAD_OPERATOR(hidden, weight, bias, targets)
    learns = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in (hidden, weight, bias))
    keep = learns and not enumerated and entries <= KEPT_ENTRIES
    return HeadScores.apply(hidden, weight, bias, targets, keep)


def categorical_head(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    x: Tensor,
    sites: Tensor | None = None,
    dim: int = 1,
) -> Tensor:
    """log softmax(hidden @ weight.T + bias)[x]: hidden (*lead, H), x (*lead) int64 -> (*lead); axes of 1 broadcast.

    sites (N,): the real sites, as flat indices into the axes dim - 1 and dim of x, (B, T); only these are computed, others
    give 0.
    """
    hidden, weight, bias = (
        full_precision(hidden),
        full_precision(weight),
        bias if bias is None else full_precision(bias),
    )
    axes = max(hidden.dim() - 1, x.dim())
    first = axes - x.dim() + dim - 1
    hidden = hidden.reshape(*[1] * (axes + 1 - hidden.dim()), *hidden.shape)
    x = x.reshape(*[1] * (axes - x.dim()), *x.shape)
    with plain_arithmetic(hidden):
        if sites is None:
            return all_sites(hidden, weight, bias, x)
        lead = torch.broadcast_shapes(hidden.shape[:-1], x.shape)
        extents = lead[first : first + 2]
        if hidden.shape[first : first + 2] != extents:  # one row for many sites: nothing is saved by leaving some out
            scores = all_sites(hidden, weight, bias, x).flatten(first, first + 1)
            found = scores.index_select(first, sites)
        else:
            symbols = x.expand(*x.shape[:first], *extents, *x.shape[first + 2 :]).flatten(first, first + 1)
            chosen = hidden.flatten(first, first + 1).index_select(first, sites)
            found = all_sites(chosen, weight, bias, symbols.index_select(first, sites))
        total = found.new_zeros(*lead[:first], extents.numel(), *lead[first + 2 :])
        return total.index_copy(first, sites, found).unflatten(first, extents)


def all_sites(hidden: Tensor, weight: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    """categorical_head with equally many lead axes on both sides and every site real."""
    lead = hidden.shape[:-1]
    if hidden.numel() == 0 or x.numel() == 0:
        return categorical_rows(torch.nn.functional.linear(hidden, weight, bias), x)
    shared = [d for d in range(x.dim()) if lead[d] == 1 and x.shape[d] != 1]
    varied = [d for d in range(x.dim()) if d not in shared]
    enumerated = any(x.shape[d] == 1 and lead[d] != 1 for d in varied)
    symbols = x.permute(*varied, *shared).expand(*[lead[d] for d in varied], *[x.shape[d] for d in shared])
    rows = hidden.reshape(-1, hidden.shape[-1])
    found = scored_rows(rows, weight, bias, symbols.reshape(rows.shape[0], -1), enumerated).view(symbols.shape)
    order = varied + shared
    return found.permute(*[order.index(d) for d in range(len(order))])
