"""REINFORCE: unbiased for any q whose log-density can be scored, whatever the draws are held against.

    ∇ E_q[f] = E[ 1/S Σ_s (f(z_s) - b_s) ∇ log q(z_s) ] + E[∇ f]           b_s does not read z_s
f carries only what lies downstream of the draw. b_s, the control variate, is by default the mean over the other draws
(Kool et al. 2019), else a mean of earlier steps, or B(x; ψ), a network that follows f (NVIL, Mnih & Gregor 2014). Where
all draws stand inside one bound, f is that bound, against itself with the draw's weight replaced by the geometric mean
of the others': Mnih & Rezende 2016. `balance` scales the term, which is biased then.
"""

from __future__ import annotations

from typing import Any

from lvspec.ir.estimators import BASELINES
from lvspec.ir.structures import STRUCTURES
from lvspec.plan.claims import Claim, Declined, View
from lvspec.plan.model import crf_guide, without_engine
from lvspec.plan.prices.sums import drawing
from lvspec.plan.sampling import guide_reason

NAME = "reinforce"


def consider(view: View, latent) -> Claim | Declined:
    model = view.model
    options = view.options(latent.name, NAME)
    baseline, balance = (view.option(latent.name, NAME, n) for n in ("baseline", "balance"))
    variate = BASELINES[baseline]
    reason = without_engine(model, latent) or guide_reason(model, latent) or _misfit(view, options, baseline)
    if reason:
        return Declined(reason)
    if latent.outside_batch:
        return Declined(f"{latent.name} lies outside the batch plate: its score term has no engine yet")
    samples = max(variate.least, view.asked or variate.samples)
    against = variate.meaning.format(samples=samples)
    if view.bound.coupled and variate.least > 1:
        against = f"each of {samples} draws against the geometric mean of the others' weights (VIMCO)"
    kind = "unbiased score function" if balance == 1 else f"score function scaled by {balance:g}, biased"
    why, factor = f"{kind}, {against}", crf_guide(model, latent.name)
    if factor is not None:
        exact = "H(q) exactly, " if STRUCTURES[factor.general.dist.family].one_to_one and not view.bound.coupled else ""
        why = f"q({latent.name}) is {factor.general.dist.family}, drawn as a whole: {exact}{why}"
    return Claim(
        "sampled",
        False,
        why,
        drawing(latent.name),
        biased=balance != 1,
        samples=samples,
        options=(("baseline", baseline), ("balance", float(balance))),
    )


def _misfit(view: View, options: dict[str, Any], baseline: str) -> str | None:
    """Options that do not go together, or not with the bound."""
    if BASELINES[baseline].least > 1 and options.get("samples") == 1:
        return "leave-one-out holds a draw against others: samples=2 or more, or baseline=moving_average"
    if view.bound.coupled and not BASELINES[baseline].coupled:
        return (
            f"under {view.bound.name} a draw is worth what the bound would lose without it: "
            "baseline=leave_one_out (VIMCO) or none"
        )
    return None
