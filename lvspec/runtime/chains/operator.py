"""The chain as one opaque operator of a compiled graph, which must not look into a guard that depends on the data."""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.chains.backward import chain_backward, chain_forward
from lvspec.runtime.chains.scaled import ChainProgram, program_for
from lvspec.runtime.chains.steps import Step, read_steps
from lvspec.runtime.core.operators import OP_NAMESPACE


def program_text(steps: tuple[Step, ...], openings: int, normalized: bool) -> str:
    """A chain's program as one string, since an operator takes tensors, numbers and strings."""
    texts = [f"{s.message},{s.lead}{s.factor}->{s.output}" for s in steps]
    return f"{';'.join(texts)} {openings} {int(normalized)}"


def program_from(text: str, potentials: Tensor, factors: list[Tensor]) -> ChainProgram:
    """The inverse of program_text, for tensors of these sizes."""
    texts, openings, normalized = text.split(" ")
    steps = read_steps(tuple(texts.split(";")))
    return program_for(steps, int(openings), normalized == "1", potentials, factors[-len(steps) :])


def chain_sum_value(start: Tensor, potentials: Tensor, mask: Tensor | None, factors: list[Tensor], text: str) -> Tensor:
    """log Z (B,)."""
    return chain_forward(program_from(text, potentials, factors), start, potentials, mask, factors)[0].clone()


def chain_sum_gradient(
    grad: Tensor, start: Tensor, potentials: Tensor, mask: Tensor | None, factors: list[Tensor], text: str
) -> list[Tensor]:
    """d log Z / d (start, potentials, *factors). The messages are computed again: an operator keeps nothing."""
    program = program_from(text, potentials, factors)
    _, scan, messages = chain_forward(program, start, potentials, mask, factors)
    inputs = (start, potentials, mask, factors)
    d_start, d_potentials, found = chain_backward(program, scan, messages, inputs, grad)
    return [d.clone(memory_format=torch.contiguous_format) for d in (d_start, d_potentials, *found)]


def chain_operator():
    """Registers the operator, with the shapes of its results and its gradient."""
    arguments = "Tensor start, Tensor potentials, Tensor? mask, Tensor[] factors, str text"
    value = torch.library.custom_op(
        f"{OP_NAMESPACE}::chain_sum", chain_sum_value, mutates_args=(), schema=f"({arguments}) -> Tensor"
    )
    gradient = torch.library.custom_op(
        f"{OP_NAMESPACE}::chain_sum_gradient",
        chain_sum_gradient,
        mutates_args=(),
        schema=f"(Tensor grad, {arguments}) -> Tensor[]",
    )
    value.register_fake(lambda start, potentials, *rest: potentials.new_empty(potentials.shape[0]))
    gradient.register_fake(
        lambda grad, start, potentials, mask, factors, text: [
            x.new_empty(x.shape) for x in (start, potentials, *factors)
        ]
    )

    def keep(ctx, inputs, output):
        start, potentials, mask, factors, ctx.text = inputs
        ctx.save_for_backward(start, potentials, mask, *factors)

    def backward(ctx, grad):
        start, potentials, mask, *factors = ctx.saved_tensors
        d_start, d_potentials, *found = gradient(grad, start, potentials, mask, factors, ctx.text)
        return d_start, d_potentials, None, found, None

    value.register_autograd(backward, setup_context=keep)
    return value


CHAIN_OPERATOR = chain_operator()
