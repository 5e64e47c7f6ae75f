"""Distributions of a spec as log-densities, draws and divergences over tensors with named axes.

The form of a categorical likelihood is chosen by what its logits vary over, so that no tensor ever holds a
token axis, an enumerated axis and the vocabulary together:

    logits over states only (emission[z])      categorical_at     one table, gathered at the tokens
    ... and the tokens of a bag are summed     categorical_bag    gathered and added up
    logits are rows of a table (T[s])      categorical_lookup one table, gathered at rows and tokens
    logits per example, tokens inside (W z)    categorical_rows   one softmax an example
    logits = Linear(h[t])                      categorical_head   real tokens only, in chunks
    logits = Linear(concat(h[t], m[s]))        categorical_pairs  logits of each part alone, one contraction
    probs are a sum of vectors                 log_mixture        an entry of each (mixtures.py)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lvspec.emit.lowering.distribution import distribution
from lvspec.emit.lowering.flows import FlowCall, Origin, back, contexts, lower_flows, minus_volume
from lvspec.emit.lowering.forms import addends, lookup, mixed
from lvspec.emit.lowering.indexing import Places, entry, indexed, numbers_at, places_of, turned
from lvspec.emit.lowering.lower import Lowering
from lvspec.emit.lowering.mixtures import MixtureCode
from lvspec.emit.lowering.relaxed import relaxed_density
from lvspec.emit.lowering.side_by_side import read_by_a_layer
from lvspec.emit.lowering.value import ATOM, PRODUCT, SUM, Value, align, as_tensor, join_draws, permute, spelled
from lvspec.ir.dims import Dim, Shape, ragged_plate
from lvspec.ir.distributions import FAMILIES, Argument, argument_rank, event_axes
from lvspec.ir.expr import Apply, Call, Dist, Expr, Index
from lvspec.ir.mixtures import MixturePart, by_logits
from lvspec.ir.spec import Network
from lvspec.ir.types import Range, Type

OF_NUMBERS = ("Normal",)  # families that take numbers of Python as they are: the prior of most models
INNER = Range(0, 1, open=(True, True))  # probabilities of what may be and may not be
LONG = 60  # characters of an argument from which on it gets a name of its own


@dataclass(frozen=True)
class Term:
    """A distribution with its arguments lowered: what a density, a draw or a divergence is made of.

    head: for logits that are a linear layer's output, (hidden, network), so that the layer can be fused. pair: where that is a
    vector beside another, each with axes that the other lacks, the two.
    addends: for logits that are a sum, what varies over summed latents only and what varies over examples only.
    lookup: for logits that are rows of a table named by integers of the data, the table and the integers.
    parts: for probabilities that are a sum, what is added up.
    flows: what is drawn goes through them; dist and arguments are those of the base. origin: where the value at hand
    came from, where it is a draw that came out of them.
    """

    dist: Dist
    arguments: tuple[Value, ...]
    head: tuple[Value, Network] | None = None
    pair: tuple[Value, ...] = ()
    addends: tuple[Value, Value] | None = None
    lookup: tuple[Value, list[Value]] | None = None
    parts: tuple[MixturePart, ...] = ()
    flows: tuple[FlowCall, ...] = ()
    origin: Origin | None = None

    @property
    def reads(self) -> tuple[Value, ...]:
        """All that the distribution varies with."""
        return (*self.arguments, *contexts(self.flows))


def lower_term(low: Lowering, dist: Dist, name: str, fuse: bool = False) -> Term:
    """Arguments by value; probs become logits. `fuse` keeps a final linear layer apart, of a value that is one number."""
    if dist.base is not None:
        return replace(lower_term(low, dist.base, name), flows=lower_flows(low, dist, name))
    fuse = fuse and not dist.type.shape
    dist = by_logits(dist, low.meaning)
    if fuse and (found := mixed(low, dist)) is not None:
        return Term(dist, found[:1], parts=found[1])
    values, head = [], None
    pair: tuple[Value, ...] = ()
    for argument, expr in dist.arguments:
        logits = fuse and dist.family == "Categorical" and argument == "logits"
        if logits and isinstance(expr, Apply) and _is_linear(low, expr):
            network = low.networks[expr.network]
            hidden, pair = read_by_a_layer(low, expr.args[0])
            head = (low.real(hidden), network)
            values.append(Value("", head[0].axes, (network.arguments[1],), draws=head[0].draws))
            continue
        splits = logits and _positions(expr.type) is None
        if logits and (rows := lookup(low, expr)) is not None:
            axes, draws = low.order.union(rows[0], *rows[1]), join_draws(rows[0], *rows[1])
            return Term(dist, (Value("", axes, rows[0].shape[-1:], draws=draws),), lookup=rows)
        if splits and (parts := addends(low, expr, name)) is not None:
            axes = low.order.union(*parts)
            return Term(dist, (Value("", axes, parts[0].shape, draws=join_draws(*parts)),), addends=parts)
        value = low.real(low.concrete(low.lower(expr)))
        if dist.family not in OF_NUMBERS:
            value = as_tensor(value)
        if argument == "probs" and (logits_of := _of_probs(dist)):
            value = value.with_(code=f"{low.scope.use(logits_of)}({value.code})", binds=ATOM)
        if argument == "covariance_matrix":
            value = value.with_(code=f"{low.scope.use('cholesky')}({value.code})", binds=ATOM)
        if FAMILIES[dist.family].pair and argument == "scale_tril":
            value = value.with_(code=f"{low.scope.use('tril_covariance')}({value.code})", binds=ATOM)
        if dist.family == "Categorical" and (plate := _positions(value)) is not None:
            value = _inside(low, value, plate)
        if len(value.code) > LONG:
            value = low.scope.assign(f"{argument}_{name}{low.scope.at_first}", value)
        values.append(value)
    return Term(dist, tuple(values), head, pair)


def _of_probs(dist: Dist) -> str | None:
    """How a family's logits follow from its probabilities, which may be 0 or 1 themselves or by rounding alone."""
    probs = dist.find("probs")
    if probs is None:
        return None
    if FAMILIES[dist.family].argument("probs").axes == "vector":
        return "logits_from_probs"
    base = probs.base if isinstance(probs, Index) else probs
    rounded = probs.type.support.range.within(INNER) or isinstance(base, Call) and base.function == "softmax"
    return "bernoulli_logits_from_probs" if rounded else "certain_logits_from_probs"


def _positions(vector: Value | Type) -> str | None:
    """The ragged plate whose sites a vector has its entries for, or None."""
    return ragged_plate(vector.shape[-1]) if vector.shape else None


def _inside(low: Lowering, logits: Value, plate: str) -> Value:
    """Logits over the sites of a ragged plate, with no mass beyond each example's own."""
    mask = Value(low.mask(plate), low.plate_axes(plate)[:-1], logits.shape)
    axes, _, (x, real) = low.broadcast(logits, mask)
    code = f"{low.scope.use('inside_plate')}({x.code}, {real.code})"
    return logits.with_(code=code, axes=axes, binds=ATOM)


def _is_linear(low: Lowering, expr: Expr) -> bool:
    return isinstance(expr, Apply) and low.networks[expr.network].kind == "Linear" and not expr.bank


def unfused(low: Lowering, term: Term) -> Term:
    """The term with its linear layer applied, or its addends added."""
    if term.addends is not None:
        return Term(term.dist, (low.plus(list(term.addends)),))
    if term.lookup is not None:
        return Term(term.dist, (entry(low, *term.lookup),))
    if term.parts:
        return lower_term(low, term.dist, low.scope.subject[0], fuse=False)
    if term.head is None:
        return term
    hidden, network = term.head
    logits = hidden.with_(code=f"{low.module(network)}({hidden.code})", shape=(network.arguments[1],), binds=ATOM)
    return Term(term.dist, (logits,))


# ---------------------------------------------------------------- log-densities
def log_density(low: Lowering, term: Term, value: Value, name: str, bag: str | None = None) -> Value:
    """log p(value | arguments), event axes summed. `bag`: a ragged plate over whose sites the caller sums anyway."""
    if value.relaxed:
        return relaxed_density(low, unfused(low, term), name)
    if term.flows:
        origin = term.origin or back(low, term.flows, value, name)
        base = low.scope.assign(f"log_base_{name}", log_density(low, replace(term, flows=()), origin.base, name))
        return minus_volume(low, base, origin)
    if term.dist.family in ("Categorical", "OneHotCategorical"):
        return _categorical(low, term, value, name, bag)
    if value.enumerated is not None and term.dist.family == "Bernoulli":
        return _possible(low, term, _enumerated_bernoulli(low, term, value))
    if value.enumerated is not None:  # counts, each value at its place along the axis
        value = low.concrete(value)
    return _possible(low, term, _elementwise(low, term, value))


def _possible(low: Lowering, term: Term, log_p: Value) -> Value:
    """-inf where a probability of 0 or 1, if there may be one, leaves the value impossible."""
    if _of_probs(term.dist) != "certain_logits_from_probs":
        return log_p
    return log_p.with_(code=f"{low.scope.use('possible')}({log_p.code})", binds=ATOM)


def _categorical(low: Lowering, term: Term, value: Value, name: str, bag: str | None) -> Value:
    if value.enumerated is not None or term.dist.family == "OneHotCategorical":
        logits = unfused(low, term).arguments[0]
        if value.enumerated is None:
            return _one_hot_categorical(low, logits, value)
        code = f"{logits.at(ATOM)}.log_softmax(-1)"
        if _positions(logits) is not None:
            code = f"{low.scope.use('log_softmax')}({logits.code})"
        return indexed(low, logits.with_(code=code, binds=ATOM), value)
    varies = set(term.arguments[0].axes)
    draws = join_draws(term.arguments[0], value)
    if value.shape or any(low.order.is_enumerated(a) for a in varies & set(value.axes)):
        return _plain_categorical(low, term, value, draws)  # a draw that was made once per value of a summed parent
    if term.parts:
        return MixtureCode(low, term.parts, name, lambda d: _softmax_density(low, d, value, name)).log_prob(value)
    if term.addends is not None:
        return _from_sum(low, term, value, draws)
    if term.lookup is not None:
        return _from_lookup(low, term.lookup, value, draws)
    if not any(not low.order.is_enumerated(a) for a in varies):
        return _from_table(low, term, value, name, bag, draws)
    if (
        "B" not in varies
        and "S" not in varies
        and all(a in value.axes for a in varies if not low.order.is_enumerated(a))
    ):
        return _from_shared_tables(low, term, value, draws)
    if not set(value.axes) <= varies:
        return _from_rows(low, term, value, draws)
    if term.head is not None:
        return _from_head(low, term, value, draws)
    return _plain_categorical(low, term, value, draws)


def _softmax_density(low: Lowering, dist: Dist, value: Value, name: str) -> Value:
    """log softmax(logits)[value], of a part of a mixture."""
    return log_density(low, lower_term(low, dist, name, fuse=True), value, name)


def _one_hot_categorical(low: Lowering, logits: Value, value: Value) -> Value:
    axes, _, (a, b) = low.broadcast(logits, value)
    code = f"{distribution(low.scope, 'OneHotCategorical', [a.code])}.log_prob({b.code})"
    return sum_event(Value(code, axes, value.shape, draws=join_draws(logits, value)), 1)


def _from_lookup(low: Lowering, lookup: tuple[Value, list[Value]], value: Value, draws) -> Value:
    table, indices = lookup[0], [*lookup[1], value]
    places = places_of(table, indices)
    assert places is not None  # the value's axes are none of the table's
    axes, at = numbers_at(low, indices, places)
    names = tuple(a for n in places.named for a in indices[n].axes)
    rows = turned(table, indices[:-1], Places(places.gathered[:-1], places.named))
    code = f"{low.scope.use('categorical_lookup')}({rows}, {', '.join(i.code for i in at)})"
    return Value(code, (*axes, *table.axes, *names), draws=draws)


def _from_sum(low: Lowering, term: Term, value: Value, draws) -> Value:
    """log softmax(u_z + w)[x] = u_z[x] + w[x] - log Σ_v exp(u_zv + w_v): the normaliser is one contraction over v."""
    assert term.addends is not None
    states, sites = term.addends
    log_p = low.scope.assign("log_site", sites.with_(code=f"{sites.at(ATOM)}.log_softmax(-1)", binds=ATOM))
    letters = dict(zip((*states.axes, *sites.axes), "abcdefghijklmnopqrst", strict=False))
    spell = ["".join(letters[a] for a in axes) for axes in (states.axes, sites.axes)]
    equation = f"{spell[0]}v,{spell[1]}v->{spell[1]}{spell[0]}"
    code = f'{low.scope.use("contract")}("{equation}", {states.code}, {log_p.code})'
    normaliser = low.scope.assign("log_normaliser", Value(code, (*sites.axes, *states.axes), draws=draws))
    table = f"{low.scope.use('symbol_scores')}({states.code}, {value.code})"
    chosen = Value(table, (*value.axes, *states.axes))
    own = Term(term.dist, (log_p,))
    site = (
        _from_rows(low, own, value, draws)
        if not set(value.axes) <= set(sites.axes)
        else _plain_categorical(low, own, value, draws)
    )
    axes, _, (a, b, c) = low.broadcast(chosen, site, normaliser)
    return Value(f"{a.code} + {b.code} - {c.code}", axes, binds=SUM, draws=draws)


def _from_table(low: Lowering, term: Term, value: Value, name: str, bag: str | None, draws) -> Value:
    logits = unfused(low, term).arguments[0]
    if bag is not None and value.axes == ("B", bag):
        code = f'{low.scope.use("categorical_bag")}({logits.code}, {value.code}, batch["{name}.mask"])'
        return Value(code, ("B", *logits.axes), draws=draws)
    return Value(
        f"{low.scope.use('categorical_at')}({logits.code}, {value.code})", (*value.axes, *logits.axes), draws=draws
    )


def _from_shared_tables(low: Lowering, term: Term, value: Value, draws) -> Value:
    logits = unfused(low, term).arguments[0]
    shared = [a for a in logits.axes if not low.order.is_enumerated(a)]
    if len(shared) > 1 or value.axes[-1] != shared[0]:
        return _plain_categorical(low, term, value, draws)
    rest = tuple(a for a in logits.axes if a != shared[0])
    table = permute(logits, (shared[0], *rest))
    code = f"{low.scope.use('categorical_shared')}({table.code}, {value.code})"
    return Value(code, (*value.axes, *rest), draws=draws)


def _from_rows(low: Lowering, term: Term, value: Value, draws) -> Value:
    """Symbols of one example share its logits: log-softmax once, then gather."""
    varied = term.arguments[0] if term.head is None else term.head[0]
    lead = low.order.sort(a for a in varied.axes)
    inner = low.order.sort(a for a in value.axes if a not in lead)
    if any(low.order.is_enumerated(a) for a in lead) or low.order.sort((*lead, *inner)) != (*lead, *inner):
        return (_plain_categorical if term.head is None else _from_head)(low, term, value, draws)
    logits = unfused(low, term).arguments[0]
    logits = align(logits, lead)
    code = f"{low.scope.use('categorical_rows')}({logits.code}, {spelled(value, (*lead, *inner))})"
    return Value(code, (*lead, *inner), draws=draws)


def _from_head(low: Lowering, term: Term, value: Value, draws) -> Value:
    """A state of each row, which several symbols may share."""
    assert term.head is not None
    hidden, network = term.head
    axes = low.order.sort({*hidden.axes, *value.axes})
    hidden = align(hidden, axes)
    symbols = align(value, axes, 0)
    bias = f"self.{network.name}.bias"
    sites = ""
    ragged = [a for a in axes if a in low.order.plates and low.spec.plate(a).ragged]
    if len(ragged) == 1 and low.spec.plate(ragged[0]).within is None and axes.index(ragged[0]) == axes.index("B") + 1:
        at = axes.index(ragged[0]) - min(
            (axes.index(a) for a in value.axes), default=len(axes)
        )  # its axis of the symbols
        if at > 0:
            sites = f', sites=batch["{ragged[0]}.sites"]' + (f", dim={at}" if at > 1 else "")
    read, function = hidden.code, low.scope.use("categorical_pairs" if term.pair else "categorical_head")
    if term.pair:
        read = ", ".join(align(v, axes).code for v in term.pair)
    code = f"{function}({read}, self.{network.name}.weight, {bias}, {symbols.code}{sites})"
    return Value(code, axes, draws=draws)


def _plain_categorical(low: Lowering, term: Term, value: Value, draws) -> Value:
    logits = unfused(low, term).arguments[0]
    axes = low.order.union(logits, value)
    rank = len(value.shape)
    # one event axis more than the symbols: the vocabulary
    aligned = align(logits, axes, rank + 1)
    symbols = align(value, axes, rank)
    code = f"{distribution(low.scope, 'Categorical', [aligned.code])}.log_prob({symbols.code})"
    return sum_event(Value(code, axes, value.shape, draws=draws))


def _enumerated_bernoulli(low: Lowering, term: Term, value: Value) -> Value:
    logits = term.arguments[0]
    code = f"{distribution(low.scope, 'Bernoulli', [logits.code])}.table()"
    return indexed(low, Value(code, logits.axes, (Dim.of(2),), draws=logits.draws), value)


def _elementwise(low: Lowering, term: Term, value: Value) -> Value:
    if term.dist.family == "Normal" and len(value.shape) == 1 and _states_only(low, term, value):
        return _gaussian_table(low, term, value)
    axes = {a.axes for a in _used(term.dist)}
    if axes & {"square", "table"} or axes >= {"scalar", "vector"}:
        return _by_axes(low, term, value)
    values = (value, *term.arguments)
    common, _, aligned = low.broadcast(*values)
    shape = max((v.shape for v in values), key=len)
    return _summed_density(low, term, aligned, common, shape)


def _used(dist: Dist) -> list[Argument]:
    return [FAMILIES[dist.family].argument(name) for name, _ in dist.arguments]


def _by_axes(low: Lowering, term: Term, value: Value) -> Value:
    """Numbers, vectors and matrices beside each other: each has the event axes that the family takes of it, and copies."""
    rank = len(value.shape)
    axes = low.order.union(value, *term.arguments)
    listed = [align(value, axes, rank), *_arguments_by_axes(term, axes, rank)]
    return _summed_density(low, term, listed, axes, value.shape)


def _summed_density(low: Lowering, term: Term, aligned: list[Value], axes: tuple[str, ...], shape: Shape) -> Value:
    """log p of a value, the first of what is aligned, under arguments, the others; independent copies added up."""
    family, (value, *arguments) = term.dist.family, aligned
    code = f"{distribution(low.scope, family, (a.code for a in arguments))}.log_prob({value.code})"
    return sum_event(Value(code, axes, shape, draws=join_draws(*aligned)), event_axes(family))


def _arguments_by_axes(term: Term, axes: tuple[str, ...], rank: int) -> list[Value]:
    """Arguments aligned to the axes and to a variate of `rank` event axes."""
    family = term.dist.family
    return [
        align(v, axes, argument_rank(family, name, rank))
        for v, (name, _) in zip(term.arguments, term.dist.arguments, strict=True)
    ]


def _states_only(low: Lowering, term: Term, value: Value) -> bool:
    """Whether loc and scale, vectors, vary over summed latents alone, and the value over none of them."""
    axes = [a for v in term.arguments for a in v.axes]
    summed = bool(axes) and all(low.order.is_enumerated(a) for a in axes)
    vectors = any(v.shape for v in term.arguments)  # and no copies of one number
    return summed and vectors and value.enumerated is None and not set(axes) & set(value.axes)


def _gaussian_table(low: Lowering, term: Term, value: Value) -> Value:
    axes, _, (loc, scale) = low.broadcast(*term.arguments)
    loc, scale = as_tensor(loc), as_tensor(scale)
    code = f"{distribution(low.scope, 'Normal', (loc.code, scale.code))}.table({value.code})"
    return Value(code, (*value.axes, *axes), draws=join_draws(value, *term.arguments))


def sum_event(value: Value, consumed: int = 0) -> Value:
    """Σ over the event axes that the density left."""
    rank = len(value.shape) - consumed
    if rank <= 0:
        return value.with_(shape=())
    dims = "-1" if rank == 1 else f"({', '.join(str(-i) for i in range(rank, 0, -1))})"
    return value.with_(code=f"{value.at(ATOM)}.sum({dims})", shape=(), binds=ATOM)


# ---------------------------------------------------------------- divergences
def analytic_kl(low: Lowering, q: Term, p: Term, summed: bool = True) -> Value:
    """KL(q ‖ p) in closed form; event axes summed, or of each entry."""
    q, p = unfused(low, q), unfused(low, p)
    values = (*map(as_tensor, q.arguments), *p.arguments)
    axes, _, aligned = low.broadcast(*values)
    shape = max((v.shape for v in values), key=len)
    if q.dist.family == "VonMisesFisher":
        aligned = [v for term in (q, p) for v in _arguments_by_axes(term, axes, len(shape))]
    own = len(q.arguments)
    of_q, of_p = (distribution(low.scope, q.dist.family, (v.code for v in a)) for a in (aligned[:own], aligned[own:]))
    value = Value(f"{of_q}.kl({of_p})", axes, shape, draws=join_draws(*values))
    of_vectors = FAMILIES[q.dist.family].kl == "whole"
    value = value.with_(shape=shape[:-1] if of_vectors else shape)
    event = q.dist.type.shape[:-1] if of_vectors else q.dist.type.shape
    return _of_copies(low, value, event[: len(event) - len(value.shape)], summed)


def _of_copies(low: Lowering, value: Value, copies: Shape, summed: bool) -> Value:
    """The divergence of independent copies whose parameters are all the same: that of one, times how many there are."""
    if not summed:
        for size in reversed(copies):
            place = len(value.axes)
            kept = "".join("-1, " for _ in range(place)), "".join(", -1" for _ in value.shape)
            code = f"{value.at(ATOM)}.unsqueeze({place}).expand({kept[0]}{low.size(size)}{kept[1]})"
            value = value.with_(code=code, shape=(size, *value.shape), binds=ATOM)
        return value
    value = sum_event(value)
    for size in copies:
        value = value.with_(code=f"{value.at(PRODUCT)} * {low.size(size)}", binds=PRODUCT)
    return value
