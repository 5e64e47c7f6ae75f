"""What a compiled spec and its emitted class offer, for a reader and a type checker: training and checks ask for nothing else.

A class has those of the methods that its plan gives a meaning to: `encode` where q is written down, `log_weights` where
something is drawn, `optimum` and `ascend` where q stands at its optimum, `fit_rows` where examples have rows of their own,
`decode` where strings are written symbol by symbol.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Protocol

from torch import Tensor, nn

from lvspec.ir.plan import Plan
from lvspec.ir.spec import Spec

Batch = dict[str, Tensor]


class EmittedModel(nn.Module):
    """step: how many steps have been taken, of a model with schedules. samples: draws for each example."""

    step: Tensor
    samples: int

    @abstractmethod
    def prepare(self, batch: Batch) -> Batch: ...

    @abstractmethod
    def log_prob(self, batch: Batch, samples: int | None = None) -> Tensor: ...

    @abstractmethod
    def posterior(self, batch: Batch, samples: int | None = None) -> dict[str, Any]: ...

    @abstractmethod
    def sample(self, n: int, **asked: dict[str, Any] | None) -> Batch: ...

    @abstractmethod
    def decode(self, n: int, *asked: Any, **how: Any) -> Any: ...

    @abstractmethod
    def encode(self, batch: Batch) -> dict[str, Any]: ...

    @abstractmethod
    def importance(self, batch: Batch, samples: int = 100) -> Any: ...

    @abstractmethod
    def predictive(self, *asked: Any, **more: Any) -> Any: ...

    @abstractmethod
    def log_weights(self, batch: Batch, samples: int, draws: Batch | None = None) -> tuple[Any, ...]: ...

    @abstractmethod
    def optimum(self, batch: Batch | None = None) -> Any: ...

    @abstractmethod
    def ascend(self, batch: Batch, share: float, factors: dict[str, Any]) -> None: ...

    @abstractmethod
    def fit_rows(self, batch: Batch) -> Batch: ...


class CompiledSpec(Protocol):
    """See lvspec/driver.py, which training does not import."""

    @property
    def spec(self) -> Spec: ...

    @property
    def plan(self) -> Plan: ...

    @property
    def symbols(self) -> dict: ...

    @property
    def Model(self) -> type: ...
