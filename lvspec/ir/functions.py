"""The functions that an expression can call, as data.

kind says how shapes and plates go through:
  elementwise  shapes broadcast from the right; the result varies over all plates of its arguments
  reduce       the last event axis, or the plate after `over`, or a whole stretch, is removed
  objective    of terms of the objective only
  normalise    the last event axis, or the plate after `over`, is kept and normalised along
  shape        rules of their own, in front/shapes.py
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Function:
    """arity: (least, most); None is any number. support: of the result ("same" as the argument's).
    symbol: how it is written in a spec when it is an operator."""

    name: str
    kind: str
    arity: tuple[int, int | None] = (1, 1)
    support: str = "real"
    symbol: str = ""


FUNCTIONS: dict[str, Function] = {
    f.name: f
    for f in (
        Function("add", "elementwise", (2, 2), symbol="+"),
        Function("subtract", "elementwise", (2, 2), symbol="-"),
        Function("multiply", "elementwise", (2, 2), symbol="*"),
        Function("divide", "elementwise", (2, 2), symbol="/"),
        Function("power", "elementwise", (2, 2), symbol="**"),
        Function("negative", "elementwise"),
        Function("exp", "elementwise", support="positive"),
        Function("log", "elementwise"),
        Function("sqrt", "elementwise", support="nonnegative"),
        Function("square", "elementwise", support="nonnegative"),
        Function("abs", "elementwise", support="nonnegative"),
        Function("softplus", "elementwise", support="positive"),
        Function("sigmoid", "elementwise", support="unit"),
        Function("tanh", "elementwise"),
        Function("relu", "elementwise", support="nonnegative"),
        Function("detach", "elementwise", support="same"),
        # equal(i, j), less(i, j): 1 where i = j, or i < j, of two integers, else 0
        Function("equal", "elementwise", (2, 2), support="boolean"),
        Function("less", "elementwise", (2, 2), support="boolean"),
        Function("sum", "reduce"),
        Function("mean", "reduce", support="same"),
        Function("max", "reduce", support="same"),
        Function("min", "reduce", support="same"),
        Function("prod", "reduce"),
        Function("logsumexp", "reduce"),
        Function("softmax", "normalise", support="simplex"),
        Function("log_softmax", "normalise"),
        # concat(a, b, ...): joins last axes.  split(a, n): n equal parts of the last axis, bound by `where`
        Function("concat", "shape", (1, None)),
        Function("split", "shape", (1, 2)),
        # reshape(a, I, J): the last axis as [I, J].  flatten(a): all event axes as one; flatten(a over l)
        Function("reshape", "shape", (2, None), support="same"),
        Function("flatten", "shape", support="same"),
        # stack: what a bare `e over m` means: plate m as a new first event axis
        Function("stack", "shape", support="same"),
        # dot(a, b): inner product of the last axes.  matmul(W, v): matrix times vector
        Function("dot", "shape", (2, 2)),
        Function("matmul", "shape", (2, 2)),
        # clip(i, K): the integer below K that is nearest to i
        Function("clip", "shape", (2, 2), support="integer"),
        # ordered(w): w_0, w_0 + softplus(w_1), ...: entries that increase.  ordered_logits(eta, c): of the category whose cutpoints
        # lie around eta + logistic noise, log(sigmoid(c_k - eta) - sigmoid(c_(k-1) - eta))
        Function("ordered", "shape", support="increasing"),
        Function("ordered_logits", "shape", (2, 2)),
        # onehot(z): an integer below K as a vector [K]
        Function("onehot", "shape", support="simplex"),
        # of terms of the objective only. expected(e): averaged over the latents that are summed under their q.
        # known(y): 1 where the batch gives the latent y, else 0
        Function("expected", "objective", support="same"),
        Function("known", "objective", support="boolean"),
        # last(s), first(s): one site of a stretch.  length(s): how many sites it has
        Function("last", "shape", support="same"),
        Function("first", "shape", support="same"),
        Function("length", "shape", support="count"),
    )
}
