"""log softmax(W [g; h] + b)[x] of vectors that lie on unlike axes: targets g[t] and sources h[m], at each pair.

score   W_g[x] · g + W_h[x] · h + b[x]
log Z   log Σ_v exp(u_v + w_v), u = W_g g, w = W_h h + b: one contraction over v, of logits that are made once for each g and each h
"""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.core.contract import over_axes, product_sum
from lvspec.runtime.core.semiring import full_precision, plain_arithmetic
from lvspec.runtime.core.tensors import concat
from lvspec.runtime.families.categorical_head import categorical_head

__all__ = ["categorical_pairs"]


def categorical_pairs(
    first: Tensor,
    second: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    x: Tensor,
    sites: Tensor | None = None,
    dim: int = 1,
) -> Tensor:
    """categorical_head of concat(first, second): (*lead, G), (*lead, H), x (*lead) int64 -> (*lead); axes of 1 broadcast.

    Where the contraction may lose mass, on other devices, where looking would wait for them, and in compiled graphs it is
    categorical_head.
    """
    lead = torch.broadcast_shapes(first.shape[:-1], second.shape[:-1], x.shape)
    found = None
    if first.device.type == "cpu" and not torch.compiler.is_compiling() and 0 not in lead:
        found = contracted(lead, first, second, weight, bias, x)
    if found is None:
        return categorical_head(concat(first, second), weight, bias, x, sites, dim)
    if sites is None:
        return found
    at = len(lead) - x.dim() + dim - 1
    counts = torch.zeros(lead[at] * lead[at + 1], dtype=torch.bool).index_fill(0, sites, True)
    counts = counts.reshape(lead[at : at + 2] + (1,) * (len(lead) - at - 2))
    return torch.where(counts, found, 0.0)


def contracted(
    lead: torch.Size, first: Tensor, second: Tensor, weight: Tensor, bias: Tensor | None, x: Tensor
) -> Tensor | None:
    """The same with every site real, (*lead); None where mass may have been lost."""
    letters = "abcdefghijklmnopqrst"[: len(lead)]
    first, second, weight = map(full_precision, (first, second, weight))
    to_each = weight.split([first.shape[-1], second.shape[-1]], -1)
    of_x, symbols = own(x, lead, letters, 0)
    vectors = [own(v, lead, letters) for v in (first, second)]
    with plain_arithmetic(weight):
        biases = (None, bias if bias is None else full_precision(bias))
        one, other = (
            (f"{of}v", torch.nn.functional.linear(v, w, b))
            for (of, v), w, b in zip(vectors, to_each, biases, strict=True)
        )
        both = "".join(a for a in letters if any(a in of for of, _ in vectors))
        total = product_sum(one, other, "v", both)
        if total is None:
            return None
        found = -over_axes(total, both, letters)
        for (of, v), w in zip(vectors, to_each, strict=True):
            kept = "".join(a for a in letters if a in of or a in of_x)
            found = found + over_axes(torch.einsum(f"{of_x}v,{of}v->{kept}", w[symbols], v), kept, letters)
        return found if bias is None else found + over_axes(full_precision(bias)[symbols], of_x, letters)


def own(value: Tensor, lead: torch.Size, letters: str, event: int = 1) -> tuple[str, Tensor]:
    """A value without the axes of one along which it broadcasts, and the letters of its others; event axes stand last."""
    value = value.reshape(*[1] * (len(lead) + event - value.dim()), *value.shape)
    gone = [i for i, n in enumerate(lead) if value.shape[i] != n]
    return "".join(a for i, a in enumerate(letters) if i not in gone), value.squeeze(gone)
