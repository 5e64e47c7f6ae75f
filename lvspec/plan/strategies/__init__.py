"""The strategies, in the order of preference: exact ones first, then unbiased ones, biased ones only on request.

Each row of ir/estimators.py has a module of its name here, with `consider(view, latent) -> Claim | Declined`: it proves that
the strategy may be used for this latent and what it costs, or says which condition failed. One that asks for no more than a q
of some family, whose draws are made together, has none.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module

from lvspec.ir.estimators import BY_TURN, Strategy
from lvspec.ir.spec import Variable
from lvspec.plan.claims import Claim, Declined, View
from lvspec.plan.schemes import consider_scheme

Consider = Callable[[View, Variable], Claim | Declined]


def _of(row: Strategy) -> Consider:
    return partial(consider_scheme, row) if row.family else import_module(f"{__name__}.{row.name}").consider


CONSIDER: dict[str, Consider] = {row.name: _of(row) for row in BY_TURN}
