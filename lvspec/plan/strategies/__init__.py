"""The strategies, in the order of preference: exact ones first, then unbiased ones, biased ones only on request.

Each row of ir/estimators.py has a module of its name here, with `consider(view, latent) -> Claim | Declined`: it proves that
the strategy may be used for this latent and what it costs, or says which condition failed.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from lvspec.ir.estimators import BY_TURN
from lvspec.ir.spec import Variable
from lvspec.plan.claims import Claim, Declined, View

CONSIDER: dict[str, Callable[[View, Variable], Claim | Declined]] = {
    row.name: import_module(f"{__name__}.{row.name}").consider for row in BY_TURN
}
