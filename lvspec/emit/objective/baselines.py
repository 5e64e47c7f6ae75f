"""What the worth of a draw is held against in its score term: the control variates.

advantage_s = signal_s - b_s            b_s does not read z_s, so that E[b_s ∇ log q(z_s)] = 0
leave_one_out     b_s the mean of the other draws' signals
moving_average    b the mean of earlier steps' signals
learned           b = B(x; ψ), and ψ moves along -(B(x; ψ) - signal)²
none              b = 0
"""

from __future__ import annotations

from collections.abc import Callable

from lvspec.emit.factors.factors import plate_mask
from lvspec.emit.guide.schemes import SCHEMES, scheme_advantage
from lvspec.emit.lowering.value import ATOM, PRODUCT, SUM, UNARY, Value, align, dim


def against(terms, name: str, signal: Value) -> tuple[Value, Value | None]:
    """The advantage of each draw, without gradient; and what moves a learned baseline."""
    plan = terms.plan.latent(name)
    if plan.strategy in SCHEMES:
        advantage = scheme_advantage(terms, plan, signal)
        return terms.scope.assign(f"advantage_{name}", advantage.with_(draws=())), None
    advantage, fit = _BASELINES[plan.option("baseline")](terms, name, signal)
    balance = plan.option("balance")
    if balance != 1:
        advantage = advantage.with_(code=f"{balance:g} * {advantage.at(UNARY)}", binds=PRODUCT)
    return terms.scope.assign(f"advantage_{name}", advantage.with_(draws=())), fit


def _leave_one_out(terms, name: str, signal: Value):
    code = f"{terms.scope.use('leave_one_out')}({signal.code}.detach())"
    return signal.with_(code=code, binds=ATOM), None


def _none(terms, name: str, signal: Value):
    return signal if signal.number else signal.with_(
        code=f"{terms.scope.use('worth')}({signal.code})", binds=ATOM
    ), None


def _moving_average(terms, name: str, signal: Value):
    real = _real(terms, signal)
    real = f", {real}" if real else ""
    return signal.with_(code=f"self.average_{name}({signal.code}.detach(){real})", binds=ATOM), None


def _real(terms, signal: Value) -> str:
    """Which of the signals count: those at real sites of the plates that they vary over."""
    plate = terms.low.spec.plate
    ragged = [a for a in signal.axes if a in terms.low.order.plates and plate(a).ragged]
    inner = [p for p in ragged if p not in {plate(q).within for q in ragged}]
    return " & ".join(align(plate_mask(terms.low, p).value(terms.low), signal.axes, 0).code for p in inner)


def centre(terms, name: str, signal: Value) -> Value:
    """The signal without its moving average, under a name of its own."""
    centred, _ = _moving_average(terms, name, signal)
    return terms.scope.assign(f"centred_{name}", centred.with_(draws=()))


def _learned(terms, name: str, signal: Value):
    low = terms.low
    signal = centre(terms, name, signal)
    guess = terms.scope.assign(f"baseline_{name}", _over(terms, low.lower(terms.plan.baseline(name).value), signal))
    _, _, (s, b) = low.broadcast(signal, guess)
    advantage = signal.with_(code=f"{s.code} - {low.detached(b).code}", binds=SUM)
    return advantage, signal.with_(code=f"-({b.code} - {s.code}).square()", binds=UNARY)


def _over(terms, guess: Value, signal: Value) -> Value:
    """Its mean over plates that the signal has added up."""
    for plate in [a for a in guess.axes if a in terms.low.order.plates and a not in signal.axes]:
        at = dim(guess, plate)
        code = f"{guess.at(ATOM)}.mean({at})"
        if terms.low.spec.plate(plate).ragged:
            code = f"{terms.scope.use('masked_mean')}({guess.code}, {terms.low.mask_along(guess, plate)}, {at})"
        guess = guess.with_(code=code, axes=guess.axes[:at] + guess.axes[at + 1 :], binds=ATOM)
    return guess


_BASELINES: dict[str, Callable[..., tuple[Value, Value | None]]] = {
    "leave_one_out": _leave_one_out,
    "moving_average": _moving_average,
    "learned": _learned,
    "none": _none,
}
