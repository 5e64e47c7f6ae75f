"""log p(words) of a grammar with the outside algorithm as its gradient.

Three programs for one sum, and the first that is certain to be right is taken: scaled probabilities in the inputs'
precision, scaled probabilities in float64, the log domain. On an accelerator the choice waits for it once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.core.semiring import apart, plain_arithmetic
from lvspec.runtime.trees.inside import Inside, scaled_inside
from lvspec.runtime.trees.inside_differentiable import inside_differentiable
from lvspec.runtime.trees.outside import outside
from lvspec.runtime.trees.outside_log import inside_in_logs
from lvspec.runtime.trees.spans import within


def inside_sum(root: Tensor, rules: Tensor, terminals: Tensor, lengths: Tensor) -> Tensor:
    """log Z (B)."""
    found = certain_inside(root.detach(), rules.detach(), terminals.detach(), lengths)
    if found is None:
        return inside_in_logs(root, rules, terminals, lengths)
    return InsideSum.apply(found, lengths, root, rules, terminals)


def certain_inside(root: Tensor, rules: Tensor, terminals: Tensor, lengths: Tensor) -> Inside | None:
    """The scaled forward pass in the first precision in which nothing is lost."""
    if terminals.shape[1] < 2 or not len(terminals) or terminals.device.type == "meta":
        return None
    places = by_place(terminals, lengths)
    for dtype in dict.fromkeys((terminals.dtype, torch.float64)):
        found = scaled_inside(root, rules, places, lengths, dtype)
        if found is not None:
            return found
    return None


def by_place(terminals: Tensor, lengths: Tensor) -> Tensor:
    """(B, T, P) as (T, B, P), 0 in padding."""
    return terminals.masked_fill(~within(lengths, terminals.shape[1]).unsqueeze(-1), 0.0).transpose(0, 1).contiguous()


class InsideSum(torch.autograd.Function):
    """log Z (B) of a forward pass, and its gradient in (root, rules, terminals)."""

    @staticmethod
    def forward(ctx, found, lengths, root, rules, terminals):
        ctx.found, ctx.lengths = found, lengths
        ctx.save_for_backward(root, rules, terminals)
        return found.value.to(terminals.dtype, copy=True)  # a tensor that ctx holds must not get a graph

    @staticmethod
    def backward(ctx, grad):
        inputs = ctx.saved_tensors
        with plain_arithmetic(grad):
            if not torch.is_grad_enabled():
                return None, None, *outside(ctx.found, ctx.lengths, grad, *inputs)
            root, rules, terminals = inputs = apart(*inputs)  # a second derivative will be asked for
            value = inside_differentiable(ctx.found, ctx.lengths, root, rules, by_place(terminals, ctx.lengths))
            wanted = [x for x in inputs if x.requires_grad]
            grads = iter(torch.autograd.grad(value, wanted, grad.to(value.dtype), create_graph=True))
            return None, None, *(next(grads) if x.requires_grad else None for x in inputs)
