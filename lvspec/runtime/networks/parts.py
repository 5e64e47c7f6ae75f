"""Networks of vectors that lie on unlike axes, side by side: W [a; b] + c = W_a a + (W_b b + c), each at its own sites."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["of_parts"]


def of_parts(network: nn.Linear | nn.Sequential, *parts: Tensor) -> Tensor:
    """network(concat(parts)): (*lead_i, D_i), whose leading axes broadcast, -> (*lead, out). The first layer is linear, and is applied
    to each part where it is; the rest sees their sum."""
    first, *rest = network if isinstance(network, nn.Sequential) else (network,)
    assert isinstance(first, nn.Linear)
    columns = first.weight.split([part.shape[-1] for part in parts], -1)
    found = nn.functional.linear(parts[0], columns[0], first.bias)
    for part, own in zip(parts[1:], columns[1:], strict=True):
        found = found + nn.functional.linear(part, own)
    for layer in rest:
        found = layer(found)
    return found
