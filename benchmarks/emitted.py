"""An emitted module as one training step on somebody else's parameters: value, and gradients under their names.

A workload names its leaf tensors as its reference does; a `Binding` says which of the module's parameters each one is.
The module's parameters share storage with them, so nothing is copied in a step, with one exception: an embedding
that owns a row for the begin symbol is filled once, and that row's gradient is added to the symbol's that stands for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from lvspec.driver import compile_spec

SPECS = Path(__file__).resolve().parent / "specs"


@dataclass(frozen=True)
class Binding:
    """spec: a file of specs/. sizes: name of the size -> name in the workload's configuration. parameters: the
    workload's name -> the module's; a prefix binds everything below it. begin: (parameter, symbol that stands for begin).
    constant: what the reference leaves out of its loss, as a function of the workload's configuration.
    seed: set before each step, where draws must agree. given: the workload's name of a leaf tensor -> the variable of the
    batch that it stands for."""

    spec: str
    sizes: dict[str, str]
    parameters: dict[str, str]
    begin: tuple[str, int] | None = None
    constant: Callable[[dict], float] = field(default=lambda cfg: 0.0)
    seed: int | None = None
    given: dict[str, str] = field(default_factory=dict)


def module_of(binding: Binding, cfg: dict) -> nn.Module:
    """The emitted module at the workload's sizes."""
    sizes = {name: cfg[key] for name, key in binding.sizes.items()}
    return compile_spec(SPECS / f"{binding.spec}.yaml", sizes=sizes).Model(**sizes)


def bound_name(name: str, parameters: dict[str, str]) -> str:
    """The module's name of a parameter that the workload calls `name`."""
    prefix = max((p for p in parameters if name == p or name.startswith(p + ".")), key=len)
    return parameters[prefix] + name[len(prefix) :]


def emitted_step(binding: Binding, cfg: dict, batch: dict, params: dict[str, Tensor]) -> Callable[[], tuple]:
    """One value+gradient step of the summed loss: () -> (loss, {workload's name: gradient})."""
    model = module_of(binding, cfg)
    inputs = {name: params[name].detach().requires_grad_() for name in binding.given}
    own = {name: model.get_parameter(bound_name(name, binding.parameters)) for name in params if name not in inputs}
    for name, parameter in own.items():
        value = params[name].detach()
        if binding.begin and name == binding.begin[0]:
            value = torch.cat([value, value[binding.begin[1]].unsqueeze(0)])
        if parameter.shape != value.shape:
            raise ValueError(f"{name}: the module has {tuple(parameter.shape)}, the workload {tuple(value.shape)}")
        parameter.data = value
    given = {binding.given[name]: leaf for name, leaf in inputs.items()}
    prepared = model.prepare({**batch, **{key: leaf.detach() for key, leaf in given.items()}}) | given
    rows, constant = torch.tensor(float(len(next(iter(batch.values()))))), binding.constant(cfg)
    trained = [*(p for p in model.parameters() if p.requires_grad), *inputs.values()]

    def step() -> tuple[Tensor, dict[str, Tensor]]:
        for parameter in trained:
            parameter.grad = None
        if binding.seed is not None:
            torch.manual_seed(binding.seed)
        loss = model(prepared).loss
        loss.backward(rows)  # of the sum, not the mean
        grads = {name: tensor.grad for name, tensor in (own | inputs).items()}
        if binding.begin:
            name, symbol = binding.begin
            whole = grads[name]
            whole[symbol] += whole[-1]
            grads[name] = whole[:-1]
        return loss.detach() * rows - constant, grads

    return step
