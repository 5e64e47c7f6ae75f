"""The maps of a library's flow, from named weights: the library's own, in float64, at one vector.

Its class is built anew from what the spec says, and given the weights that the emitted module has.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from lvspec.errors import InternalError
from lvspec.ir.spec import Network
from lvspec.verify.oracle.networks import Weights

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "softplus": nn.Softplus}
ACTIVATIONS |= {"gelu": nn.GELU, "elu": nn.ELU, "silu": nn.SiLU}


def maps_of_library(
    network: Network, sizes: tuple[int, ...], weights: Weights, context: Tensor | None
) -> list[Callable[[Tensor], Tensor]]:
    """(D,) -> (D,) each, in the order in which the base goes through them. sizes: D, H and, where there is one, that of the
    context."""
    transform, places = _built(network, sizes)
    if weights.keys() != places.keys():
        raise InternalError(f"the weights of {network.name} are not those of {network.kind}")

    def move(z: Tensor, k: int) -> Tensor:
        for key, (parameters, name) in places.items():  # others may have been there since
            parameters[name] = weights[key]
        return transform(context).transforms[k](z)

    every: list[Callable[[Tensor], Tensor]] = [partial(move, k=k) for k in range(len(transform.transforms))]
    return every[::-1] if network.option("inverted") else every


@cache
def _built(network: Network, sizes: tuple[int, ...]) -> tuple[Any, dict[str, tuple[dict, str]]]:
    """The module without numbers of its own (its first ones are drawn apart from all other draws, and never used), and where
    each of its parameters stands."""
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
        transform = flow.transform.to(torch.float64)
    inside = dict(transform.named_modules())
    every = {key: key.rpartition(".") for key, _ in transform.named_parameters()}
    return transform, {key: (inside[owner]._parameters, name) for key, (owner, _, name) in every.items()}
