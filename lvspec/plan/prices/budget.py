"""What a step may take (`infer: budget_flops`, `budget_bytes`), and whether a sum does."""

from __future__ import annotations

from lvspec.ir.plan import Cost
from lvspec.plan.model import Model
from lvspec.plan.prices.price import Pricer, priced
from lvspec.plan.prices.sums import drawing

OVER_BUDGET = "over the budget"


def over_budget(model: Model, cost: Cost) -> str | None:
    """Why a price is too high, with the line that raises the budget."""
    flops, bytes_ = model.budget
    if cost.flops > flops:
        return f"{cost.flops:.2g} operations a step are {OVER_BUDGET} of {flops:.2g} (infer: budget_flops)"
    if cost.bytes > bytes_:
        return f"{cost.bytes:.2g} bytes are {OVER_BUDGET} of {bytes_:.2g} (infer: budget_bytes)"
    return None


def nothing_is_smaller(model: Model, names: tuple[str, ...]) -> bool:
    """Whether draws of a latent, the way out of a sum over the budget, take more memory than it as well: K² transitions are
    as many whether they are summed or drawn. A budget that the spec sets is taken at its word."""
    if len(names) > 1 or model.settings.get("budget_flops") or model.settings.get("budget_bytes"):
        return False
    drawn = priced(Pricer(model, set()), drawing(names[0]))
    return drawn.bytes + drawn.learned > model.budget[1]
