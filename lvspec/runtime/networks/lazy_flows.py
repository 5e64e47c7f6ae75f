"""A library's flow: a module that builds its transformation when it is told the context.

z = f(z_0),    transform(context) is f, with call_and_ladj(z_0) -> (z, log|det df/dz_0|) and .inv
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["LazyFlow"]


class LazyFlow(nn.Module):
    """The transformation of a flow, without its base distribution, as lvspec's own flows are called.

    forward(z_0, context) -> (z, log|det df/dz_0|), inverse(z, context) -> (z_0, the same at z_0), over (*lead, D) and
    (*lead,). The context (*lead, C), where there is one, broadcasts. flow: has `transform`, a module. inverted: the
    transformation leads from z to z_0.
    """

    def __init__(self, flow: nn.Module, inverted: bool = False):
        super().__init__()
        self.transform, self.inverted = flow.transform, inverted

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.follow(z, context, self.inverted)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        base, log_det = self.follow(z, context, not self.inverted)
        return base, -log_det

    def follow(self, value: Tensor, context: Tensor | None, back: bool) -> tuple[Tensor, Tensor]:
        """Through the transformation or back, with log|det| of that way."""
        if context is not None:
            lead = torch.broadcast_shapes(value.shape[:-1], context.shape[:-1])
            value, context = value.expand(*lead, -1), context.expand(*lead, -1)
        if not value.numel():  # torch's transformations ask for at least one vector
            return value, value.sum(-1)
        transform: Any = self.transform  # a class of the library
        way = transform(context)
        value, log_det = (way.inv if back else way).call_and_ladj(value)
        # slopes found by differentiation leave a graph behind where nobody asked for one
        return (value, log_det) if torch.is_grad_enabled() else (value.detach(), log_det.detach())
