"""log p of an observed category whose probabilities are a sum of parts (ir/mixtures.py), from the one entry of each that it reads.

    probs=copy[t] * copied[t] + (1 - copy[t]) * softmax(output(h[t]))
    ->  log_mixture((1.0, log_copy + log_copied), (1.0, log_rest + categorical_head(h, ...)))

No vector of probabilities is made. What is the exponential of something stays a logarithm; beside these stand weights.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from lvspec.emit.lowering.calls import reduced, with_examples
from lvspec.emit.lowering.indexing import entry, indices_of
from lvspec.emit.lowering.value import ATOM, PRODUCT, SUM, UNARY, Value, as_tensor, join_draws, negated
from lvspec.ir.expr import Call, Dist, Expr, Index, LocalRef, VariableRef
from lvspec.ir.mixtures import MixturePart, is_one_hot, is_softmax, log_of, named_by

NO_WEIGHT, NO_LOG = Value("1.0", number=True), Value("0.0", number=True)


@dataclass(frozen=True)
class Weighed:
    """The product of weights and of the exponentials of logs."""

    weights: tuple[Value, ...] = ()
    logs: tuple[Value, ...] = ()

    def __add__(self, other: Weighed) -> Weighed:
        return Weighed(self.weights + other.weights, self.logs + other.logs)

    def along(self, plate: str) -> tuple[Weighed, Weighed]:
        """What varies over a plate, and what does not."""
        both = (self.weights, self.logs)
        inner = (tuple(v for v in values if plate in v.axes) for values in both)
        outer = (tuple(v for v in values if plate not in v.axes) for values in both)
        return Weighed(*inner), Weighed(*outer)


class MixtureCode:
    """density: log p of the category under a softmax of its logits."""

    def __init__(self, low, parts: tuple[MixturePart, ...], name: str, density: Callable[[Dist], Value]):
        self.low, self.parts, self.name, self.density = low, parts, name, density
        logs = [(f, log) for p in parts for f in p.factors if (log := log_of(f, low.meaning)) is not None]
        read = Counter(_argument(log) for _, log in logs)
        for factor, log in logs:  # of `copy` and `1 - copy` the logit is one
            inner = _argument(log)
            if read[inner] > 1 and not isinstance(inner, LocalRef | VariableRef):
                low.repeated.setdefault(inner, "log_share" if inner is log else f"logit_{named_by(factor) or name}")
        self.shares: dict[str, str | None] = {}  # plates along which the exponentials of logs add up to 1
        self.factors = [self._factors(p) for p in parts]

    def log_prob(self, value: Value) -> Value:
        """The logarithm of the entries at the category, over the sum of all entries."""
        pairs = list(zip(self.parts, self.factors, strict=True))
        own = self._sum([self._reduced(p, f + self._entry(p, value), p.over) for p, f in pairs])
        totals = [self._reduced(p, f + self._total(p), p.over, whole=True) for p, f in pairs]
        if totals == [Weighed()]:
            return own
        own, whole = self.low.scope.assign(f"log_entry_{self.name}", own), self._sum(totals)
        axes, _, (a, b) = self.low.broadcast(own, whole)
        code = f"{self.low.scope.use('log_fraction')}({a.code}, {b.code})"
        return Value(code, axes, draws=join_draws(own, whole))

    # ------------------------------------------------------------ the product of a part
    def _factors(self, part: MixturePart) -> Weighed:
        found = Weighed()
        for factor in part.factors:
            log = log_of(factor, self.low.meaning)
            if log is None:
                found += Weighed(weights=(self._number(self.low.lower(factor)),))
            else:
                name = named_by(factor)
                value = self.low.scope.named(f"log_{name or 'share'}", self._number(self.low.lower(log)))
                found += Weighed(logs=(value,))
                if isinstance(log, Call) and log.function == "log_softmax":
                    self.shares[value.code] = log.over
        return found

    def _number(self, value: Value) -> Value:
        return self.low.real(self.low.concrete(value))

    def _entry(self, part: MixturePart, value: Value) -> Weighed:
        low, vector = self.low, part.vector
        if is_one_hot(vector):
            number = low.lower(vector.args[0])
            if not number.relaxed:
                axes, _, (a, b) = low.broadcast(number, value)
                code = f"({a.at(SUM)} == {b.at(SUM)}).to(self.zero.dtype)"
                return Weighed(weights=(Value(code, axes, draws=join_draws(number, value)),))
        elif is_softmax(vector):
            logits = Dist("Categorical", (("logits", vector.args[0]),))
            return Weighed(logs=(low.scope.assign(f"log_softmax_{self.name}", self.density(logits)),))
        base = vector.base if isinstance(vector, Index) else vector
        table = self._number(low.lower(base))
        rows = indices_of(low, table, vector) if isinstance(vector, Index) else []
        return Weighed(weights=(entry(low, table, [*rows, value]),))

    def _total(self, part: MixturePart) -> Weighed:
        vector = part.vector
        if vector.type.support.kind in ("simplex", "onehot"):
            return Weighed()
        value = self._number(self.low.lower(vector))
        return Weighed(weights=(value.with_(code=f"{value.at(ATOM)}.sum(-1)", shape=(), binds=ATOM),))

    # ------------------------------------------------------------ sums
    def _reduced(self, part: MixturePart, found: Weighed, plates: tuple[str, ...], whole: bool = False) -> Weighed:
        """The part added up over its plates, as one weight and one logarithm at most."""
        for plate in reversed(plates):
            inner, outer = found.along(plate)
            found = self._over(part, inner, plate, whole) + outer
        weights, logs = self._multiplied(found.weights), self.low.plus(list(found.logs)) if found.logs else None
        if part.negative:
            weights = negated(weights) if weights is not None else NO_WEIGHT.with_(code="-1.0", binds=UNARY)
        return Weighed((weights,) if weights is not None else (), (logs,) if logs is not None else ())

    def _multiplied(self, values: tuple[Value, ...]) -> Value | None:
        if len(values) < 2:
            return values[0] if values else None
        axes, _, aligned = self.low.broadcast(*values)
        code = " * ".join(v.at(UNARY) for v in aligned)
        return Value(code, axes, binds=PRODUCT, draws=join_draws(*values))

    def _over(self, part: MixturePart, inner: Weighed, plate: str, whole: bool) -> Weighed:
        low, ragged = self.low, self.low.spec.plate(plate).ragged
        if whole and not inner.weights and len(inner.logs) == 1 and self.shares.get(inner.logs[0].code) == plate:
            return Weighed(weights=(self._any_site(plate),)) if ragged else Weighed()
        if not inner.logs and not inner.weights:
            inner = Weighed(weights=(self._sites(plate),))
        weights = self._multiplied(inner.weights)
        if not inner.logs:
            assert weights is not None
            return Weighed(weights=(reduced(low, with_examples(low, weights, plate), plate, "sum"),))
        logs = low.plus(list(inner.logs))
        if weights is None:
            weights = self._sites(plate) if ragged else NO_WEIGHT
        elif ragged:
            axes, _, (x, real) = low.broadcast(weights, Value(low.mask(plate), low.plate_axes(plate)))
            weights = x.with_(code=f"{low.scope.use('real_sites')}({x.code}, {real.code})", axes=axes, binds=ATOM)
        axes, _, (w, x) = low.broadcast(weights, logs)
        w = w if not w.number else w.with_(code=f"torch.full_like(self.zero, {w.code})")
        at = axes.index(plate) - len(axes)
        code = f"{low.scope.use('log_weighted_sum')}({w.code}, {x.code}, {at})"
        found = Value(code, tuple(a for a in axes if a != plate), draws=join_draws(weights, logs))
        name = f"log_{'whole' if whole else 'entry'}_{part.name or plate}"
        return Weighed(logs=(low.scope.assign(name, found),))

    def _any_site(self, plate: str) -> Value:
        """1 where a ragged plate has sites at all."""
        axes = self.low.plate_axes(plate)[:-1]
        return Value(f"({self.low.lengths(plate, axes)} > 0).to(self.zero.dtype)", axes)

    def _sites(self, plate: str) -> Value:
        """1 at the sites of a plate that are there."""
        low = self.low
        if low.spec.plate(plate).ragged:
            return Value(f"{low.mask(plate)}.to(self.zero.dtype)", low.plate_axes(plate))
        return Value(f"self.zero.expand({low.extent_code(plate)}) + 1", (plate,), binds=SUM)

    def _sum(self, parts: list[Weighed]) -> Value:
        pairs = [((*p.weights, NO_WEIGHT)[0], (*p.logs, NO_LOG)[0]) for p in parts]
        if len(pairs) == 1 and not parts[0].weights:
            return pairs[0][1]
        if not any(p.logs for p in parts):
            weights = [w for w, _ in pairs]
            total = self.low.plus(
                [as_tensor(weights[0]) if all(w.number for w in weights) else weights[0], *weights[1:]]
            )
            return total.with_(code=f"{self.low.scope.use('logits_from_probs')}({total.code})", binds=ATOM)
        axes, _, aligned = self.low.broadcast(*(v for pair in pairs for v in pair))
        code = ", ".join(f"({w.code}, {x.code})" for w, x in zip(aligned[::2], aligned[1::2], strict=True))
        draws = join_draws(*(v for pair in pairs for v in pair))
        return Value(f"{self.low.scope.use('log_mixture')}({code})", axes, draws=draws)


def _argument(log: Expr) -> Expr:
    """What a log-sigmoid is of; any other logarithm itself."""
    while isinstance(log, Call) and log.function in ("negative", "softplus"):
        log = log.args[0]
    return log
