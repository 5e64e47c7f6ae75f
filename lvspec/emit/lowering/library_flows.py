"""Flows of a library, constructed by its own class.

flow: zuko.NSF(D, H, C, steps=3)      LazyFlow(zuko.flows.NSF(D, C, transforms=3, hidden_features=[H] * 2, bins=8))
"""

from __future__ import annotations

from lvspec.ir.flows import library_of
from lvspec.ir.spec import Network

ACTIVATIONS = {  # classes of torch.nn
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
    "softplus": "Softplus",
    "gelu": "GELU",
    "elu": "ELU",
    "silu": "SiLU",
}
SHARED = ("steps", "layers", "activation", "inverted")  # under lvspec's names; other options have the library's


def library_flow(network: Network, sizes: list[str]) -> str:
    """The code that constructs a flow: sizes are those of ir/networks.py, as text."""
    library, _, name = network.kind.rpartition(".")
    dim, hidden, *context = sizes
    widths = f"[{hidden}] * {network.option('layers')}"
    arguments = [dim, *context, f"transforms={network.option('steps')}", f"hidden_features={widths}"]
    if network.kind == "zuko.NAF":
        arguments.append(f'network={{"hidden_features": {widths}}}')  # that rises, of each entry
    if (activation := ACTIVATIONS.get(str(network.option("activation")))) is not None:
        arguments.append(f"activation=nn.{activation}")
    arguments += [f"{key}={value}" for key, value in network.options if key not in SHARED]
    turned = ", inverted=True" * bool(network.option("inverted"))
    return f"LazyFlow({library}.flows.{name}({', '.join(arguments)}){turned})"


def libraries(networks: tuple[Network, ...]) -> list[str]:
    """The packages that an emitted file imports for its flows."""
    return sorted({found for n in networks if (found := library_of(n))})
