"""What a network learns and multiplies that reads a site, or a stretch from state to state."""

from __future__ import annotations

from lvspec.ir.networks import NETWORKS
from lvspec.ir.spec import Network


def multiplications_of(network: Network, sizes: list[int]) -> float:
    """Multiply-adds for one output number."""
    kind = NETWORKS[network.kind]
    if kind.gates:
        directions = 2 if kind.reads == "whole" else 1
        deeper = (layers_of(network) - 1) * (directions + 1) * sizes[1]
        return kind.gates * (sizes[0] + sizes[1] + deeper)
    if network.kind == "Embedding":
        return 1
    return max(1.0, sum(a * b for a, b in zip(sizes, sizes[1:], strict=False)) / sizes[-1])


def parameters_of(network: Network, sizes: list[int]) -> float:
    """How many numbers a network learns."""
    kind = NETWORKS[network.kind]
    if not kind.gates:
        return sum((a + 1) * b for a, b in zip(sizes, sizes[1:], strict=False))
    directions, (read, out) = (2 if kind.reads == "whole" else 1), sizes[:2]
    layers = [read] + [directions * out] * (layers_of(network) - 1)
    return directions * kind.gates * sum((n + out + 2) * out for n in layers)


def layers_of(network: Network) -> int:
    return int(dict(network.options).get("layers", 1))
