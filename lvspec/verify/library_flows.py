"""The maps of a library's flow, from named weights: the library's own, in float64, at one vector.

Its class is built anew from what the spec says, and given the weights that the emitted module has.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

from lvspec.errors import InternalError
from lvspec.ir.spec import Network
from lvspec.verify.networks import Weights

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "softplus": nn.Softplus}
ACTIVATIONS |= {"gelu": nn.GELU, "elu": nn.ELU, "silu": nn.SiLU}


class _At(nn.Module):
    """One of the maps in transform(context) at a value: built and called while the weights are in place."""

    def __init__(self, transform: nn.Module):
        super().__init__()
        self.transform = transform

    def forward(self, value: Tensor, context: Tensor | None, place: int) -> Tensor:
        return self.transform(context).transforms[place](value)


def maps_of_library(
    network: Network, sizes: tuple[int, ...], weights: Weights, context: Tensor | None
) -> list[Callable[[Tensor], Tensor]]:
    """(D,) -> (D,) each, in the order in which the base goes through them. sizes: D, H and, where there is one, that of the
    context."""
    called = _built(network, sizes)
    named = {f"transform.{key}": value for key, value in weights.items()}
    if named.keys() != dict(called.named_parameters()).keys():
        raise InternalError(f"the weights of {network.name} are not those of {network.kind}")
    places = range(len(called.transform.transforms))
    every = [lambda z, k=k: torch.func.functional_call(called, named, (z, context, k)) for k in places]
    return every[::-1] if network.option("inverted") else every


@cache
def _built(network: Network, sizes: tuple[int, ...]) -> _At:
    """The module without numbers of its own: its first ones are drawn apart from all other draws, and never used."""
    library, _, name = network.kind.rpartition(".")
    options = dict(network.options)
    widths = (sizes[1],) * int(options["layers"])
    own = {
        "zuko.MAF": {},
        "zuko.NSF": {"bins": options.get("bins")},
        "zuko.NAF": {"signal": options.get("signal"), "network": {"hidden_features": widths}},
    }
    with torch._C._DisableFuncTorch(), torch.random.fork_rng(devices=[]):
        flow = getattr(importlib.import_module(f"{library}.flows"), name)(
            features=sizes[0],
            context=sizes[2] if len(sizes) > 2 else 0,
            transforms=int(options["steps"]),
            hidden_features=widths,
            activation=ACTIVATIONS[str(options["activation"])],
            **own[network.kind],
        )
        return _At(flow.transform).to(torch.float64)
