"""How the draws of a latent move its q, as data: the strategies, and the control variates of a score term."""

from __future__ import annotations

from lvspec.ir.spec import Schedule

SCORED = ("reinforce", "disarm", "sum_and_sample", "without_replacement", "relax")  # a draw moves q by what it is worth
PATHWISE = ("reparameterization", "stratified")  # gradients pass through a draw
WEIGHED = ("sum_and_sample", "without_replacement", "subset", "stratified")  # whose draws have shares of their own
WITHOUT_LOG_Q = ("disarm", "relax")  # whose score term moves the logits themselves
RELAXED = ("gumbel_softmax", "straight_through")  # what the model sees of a draw moves with q
RENORMALISED = ("subset",)  # q of the values drawn, over its sum, weighs them, and moves with q
DRAWN = SCORED + RELAXED + RENORMALISED  # that draw a finite latent

DEFAULTS: dict[str, object] = {
    "baseline": "leave_one_out",
    "balance": 1.0,
    "sharpness": 1.0,
    "temperature": Schedule("constant", (0.5,)),
    "density": "original",
    "top": 1,
    "rate": 0.1,
}


def text_of(value: object) -> str:
    """An option's value as a spec writes it."""
    if isinstance(value, Schedule):
        return value.text
    return f"{value:g}" if isinstance(value, float) else str(value)


# control variate: what a draw is held against
BASELINES = {
    "leave_one_out": "each of {samples} draws against the others' mean",
    "moving_average": "each draw against the mean of earlier steps",
    "learned": "each draw against what a network of the data expects (NVIL)",
    "none": "without a control variate",
}
