"""log Z of a grammar as one opaque operator of a compiled graph, which must not look into a guard that depends on the
data."""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.core.operators import OP_NAMESPACE
from lvspec.runtime.core.semiring import widest
from lvspec.runtime.trees.inside_outside import certain_inside
from lvspec.runtime.trees.outside import outside
from lvspec.runtime.trees.outside_log import inside_in_logs, log_cells, log_outside


def inside_value(root: Tensor, rules: Tensor, terminals: Tensor, lengths: Tensor) -> Tensor:
    """log Z (B)."""
    found = certain_inside(root, rules, terminals, lengths)
    value = inside_in_logs(root, rules, terminals, lengths) if found is None else found.value
    return value.to(terminals.dtype, copy=True)


def inside_gradient(grad: Tensor, root: Tensor, rules: Tensor, terminals: Tensor, lengths: Tensor) -> list[Tensor]:
    """grad . d log Z / d (root, rules, terminals). The cells are computed again: an operator keeps nothing."""
    found = certain_inside(root, rules, terminals, lengths)
    if found is None:
        root, rules, terminals = widest(root), widest(rules), widest(terminals)
        value, cells = log_cells(root, rules, terminals, lengths)
        grads = log_outside(value, cells, root, rules, terminals, lengths, widest(grad))
    else:
        grads = outside(found, lengths, grad, root, rules, terminals)
    return [g.to(terminals.dtype, memory_format=torch.contiguous_format, copy=True) for g in grads]


def inside_operator():
    """Registers the operator, with the shapes of its results and its gradient."""
    arguments = "Tensor root, Tensor rules, Tensor terminals, Tensor lengths"
    value = torch.library.custom_op(
        f"{OP_NAMESPACE}::inside_value", inside_value, mutates_args=(), schema=f"({arguments}) -> Tensor"
    )
    gradient = torch.library.custom_op(
        f"{OP_NAMESPACE}::inside_gradient",
        inside_gradient,
        mutates_args=(),
        schema=f"(Tensor grad, {arguments}) -> Tensor[]",
    )
    value.register_fake(lambda root, rules, terminals, lengths: terminals.new_empty(lengths.shape[0]))
    gradient.register_fake(lambda grad, *inputs: [x.new_empty(x.shape) for x in inputs[:3]])

    def keep(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    def backward(ctx, grad):
        return *gradient(grad, *ctx.saved_tensors), None

    value.register_autograd(backward, setup_context=keep)
    return value


INSIDE_OPERATOR = inside_operator()
