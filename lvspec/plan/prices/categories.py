"""What a category's density costs: logits that are normalised, or the parts of probabilities that are a sum (ir/mixtures.py)."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

from lvspec.ir.axes import latent_of
from lvspec.ir.expr import Apply, Call, Dist, Expr, Index, ParamRef, VariableRef
from lvspec.ir.mixtures import Meaning, MixturePart, by_logits, is_one_hot, is_softmax, log_of, meaning_of, parts_of
from lvspec.ir.spec import Clause, Variable
from lvspec.ir.structured import has_segments
from lvspec.plan.prices.parts import pair_apart

TRAINING = 3  # forward and backward, in forwards
# a linear layer under a softmax (runtime/families/categorical_head.py): rows of logits at a time, all at once, those that are kept
ROWS, PLAIN_ENTRIES, KEPT_ENTRIES = 128, 2**16, 2**24
EXPRESSION, HEAD = 3, 25  # dispatches, forward and backward, as counted: of an expression; of some rows of such a layer
OF_A_PART = 20  # of a part of a sum, and of each plate that it is added up over
GATHERED = 11  # exponentials that take as long as a row taken of a table, and its gradient put back


def told_by(pricer, clause: Clause, body):
    """A category's distribution in the form in which its density is written."""
    return by_logits(body, meaning(pricer, clause)) if isinstance(body, Dist) else body


def meaning(pricer, clause: Clause) -> Meaning:
    """What let variables and the clause's own names stand for."""
    if any(has_segments(v) for v in pricer.model.spec.of_role("latent")):
        return lambda expr: expr
    names = {b.names[0]: b.value for b in clause.bindings if len(b.names) == 1}
    return lambda expr: meaning_of(expr, pricer.lets, names)


def parts_read(pricer, variable: Variable, clause: Clause, body) -> tuple[MixturePart, ...]:
    """The parts of which an observed category reads one entry each: of probabilities that vary over examples."""
    if variable.role != "observed" or not isinstance(body, Dist) or "B" not in pricer.axes(body):
        return ()
    return parts_of(body, meaning(pricer, clause), frozenset((*variable.plates, *pricer.unrolled)))


def pay_parts(pricer, variable: Variable, clause: Clause, parts: tuple[MixturePart, ...]) -> None:
    """Factors, and one entry of each vector, at what these and the category vary over; sums over plates."""
    told, read = meaning(pricer, clause), frozenset(("B", *variable.plates))
    for part in parts:
        varied, vector = set(read), part.vector
        for factor in part.factors:
            paid = log_of(factor, told) or factor
            pricer.expression(paid)
            varied |= pricer.axes(paid)
        if is_softmax(vector):
            density = replace(variable.general.dist, arguments=(("logits", vector.args[0]),))
            pay_reads(pricer, density)
            pay_softmax(pricer, variable, density, read | pricer.axes(density))
        else:
            pricer.expression(vector.args[0] if is_one_hot(vector) else vector)
        numbers = pricer.extent(varied | pricer.axes(vector))
        pricer.flops += TRAINING * numbers
        pricer.calls(OF_A_PART * (1 + len(part.over)))
        pricer.holds((1 + 2 * len(part.over)) * numbers, 2 * numbers)


def pay_reads(pricer, body) -> None:
    """What a distribution is told: of a linear layer under a softmax what the layer reads."""
    if (rows := rows_of(pricer, body)) is not None:
        for read in (rows.base, *rows.indices):
            pricer.expression(read)
        return
    head = head_of(pricer, body)
    for read in (body,) if head is None else pair_apart(pricer, head) or (head.args[0],):
        pricer.expression(read)


def rows_of(pricer, body) -> Index | None:
    """Logits that are rows of a table, named by integers of which some differ by example: the table is normalised once."""
    logits = body.arguments[0][1] if isinstance(body, Dist) and body.family == "Categorical" else None
    if not isinstance(logits, Index) or body.type.shape or body.arguments[0][0] != "logits":
        return None
    whole = len(logits.indices) == len(logits.base.type.shape) - 1
    same = all(latent_of(a) in pricer.summed for a in pricer.axes(logits.base))
    return logits if whole and same and any("B" in pricer.axes(i) for i in logits.indices) else None


def head_of(pricer, body) -> Apply | None:
    """The linear layer directly under a softmax: it runs over real sites in chunks, and keeps what it reads."""
    logits = body.arguments[0][1] if isinstance(body, Dist) and body.family == "Categorical" else None
    if not isinstance(logits, Apply) or logits.bank or body.type.shape:
        return None
    return logits if pricer.networks[logits.network].kind == "Linear" else None


def pay_softmax(pricer, variable: Variable, body: Dist, axes: frozenset[str]) -> None:
    """Logits that are normalised, read at the values."""
    logits, head, table = body.arguments[0][1], head_of(pricer, body), rows_of(pricer, body)
    rows = pricer.extent(pricer.axes(logits))
    numbers = rows * pricer.events(logits.type.shape)
    gathered = table is not None and numbers < pricer.numbers(table.base)  # its rows are more than are asked for
    if table is not None and not gathered:
        numbers = pricer.numbers(table.base)
    pricer.flops += TRAINING * numbers
    inner = len(variable.plates) > 1 and any(latent_of(a) in pricer.summed for a in axes)
    pricer.holds(
        pricer.extent(axes), (2 if inner else 0) * pricer.extent(axes)
    )  # what is summed within a site is masked
    if head is not None and (pair := pair_apart(pricer, head)):
        symbols = numbers / rows
        for part in pair:
            alone = pricer.extent(pricer.axes(part)) * symbols
            pricer.flops += TRAINING * alone * pricer.events(part.type.shape)
            pricer.calls(EXPRESSION)
            pricer.holds(2 * alone, 4 * alone)  # logits and their exponentials
        pricer.learned[head.network] = (pricer.events(head.args[0].type.shape) + 1) * symbols
        return
    if head is not None:
        read = pricer.numbers(head.args[0])
        keeps = numbers <= KEPT_ENTRIES and not any(latent_of(a) in pricer.summed for a in pricer.axes(logits))
        blocks = 1 if numbers <= PLAIN_ENTRIES else ceil(rows / ROWS)
        pricer.calls(HEAD * blocks, 0.0)
        pricer.flops += TRAINING * read * numbers / rows
        pricer.learned[head.network] = (read / rows + 1) * numbers / rows
        pricer.holds(read + (numbers if keeps else 0.0), 2 * min(numbers, ROWS * numbers / rows) + 2 * read)
        return
    if gathered:
        pricer.exponentials += GATHERED * rows
        pricer.holds(numbers, 2 * numbers)
        return
    addends = logits.args if isinstance(logits, Call) and logits.function == "add" else (logits,)
    for part in addends:
        if isinstance(part, Index) and (part is table or isinstance(part.base, ParamRef)):
            summed = [i for i in part.indices if isinstance(i, VariableRef) and i.name in pricer.summed]
            laid_out = frozenset(a for i in summed for a in pricer.axes(i))
            pricer.exponentials += GATHERED * pricer.extent(axes - laid_out)
            part = part.base  # rows are taken of a table that is normalised once
        pay_normalised(pricer, part, 1)


def pay_normalised(pricer, logits: Expr, gradients: int) -> None:
    """What is normalised takes the place of the logits, and leaves a parameter's beside it. gradients: of the
    result; that of a parameter is the optimizer's."""
    numbers, given = pricer.numbers(logits), isinstance(logits, (Index, ParamRef))
    pricer.holds(numbers if given else 0.0, (gradients + (not given)) * numbers)
