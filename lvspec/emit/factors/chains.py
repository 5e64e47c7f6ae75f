"""Collapsed latents along an ordered plate: a dynamic program over the interface of the two-slice graph.

    α_t(z_t) = p(x_t | z_t) Σ_{z_{t-1}} α_{t-1}(z_{t-1}) p(z_t | z_{t-1})

The state is what the next site reads: z_t for a first-order chain, (z_t, z_{t-1}) for a second-order one, all L
chains of a factorial model. A step multiplies the message by the transition factors one after the other, in the
order that opt_einsum finds: L chains cost L·K^(L+1) a site, not K^(2L). Latents that the next site does not read
are summed out of each site beforehand, all sites at once.
Murphy 2002, "Dynamic Bayesian networks", section 3 (the interface algorithm).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lvspec.emit.factors.factors import Factor, masked, plate_mask
from lvspec.emit.lowering.scope import short
from lvspec.emit.lowering.value import ATOM, Value, align, join_draws, permute, select, spelled
from lvspec.ir.axes import at_present, lag_of, latent_of, shift_axis
from lvspec.ir.components import connected
from lvspec.ir.dims import ragged_plate

LETTERS = "ijklmnopqrsuvwxyzacdefgh"


@dataclass(frozen=True)
class Interface:
    """plate: the ordered one. order: how many sites back each latent is read.
    after: axes of the state once a site is done; before: the same, seen from the next site."""

    plate: str
    order: dict[str, int]
    after: tuple[str, ...]
    before: tuple[str, ...]


def chain_sum(elimination, component: list[str], factors: list[Factor]) -> Value:
    """log Σ over all sites of the component's latents."""
    low = elimination.low
    plate = chain_plate(low, component)
    factors = [elimination.along(f, plate) for f in factors]
    read_back = {at_present(a) for f in factors for a in f.axes if lag_of(a)}
    factors = without_local_latents(elimination, component, factors, read_back)
    interface = _interface(low, plate, component, factors)
    factors = [_with_first_site(f, interface) for f in factors]
    moves = [f for f in factors if _leaves(f, interface)]
    stays = [f for f in factors if not _leaves(f, interface)]
    lead = _lead(elimination, factors, plate, component)
    if elimination.blocks == plate:
        potentials = _in_blocks(elimination, (*lead, plate, *interface.after))
    else:
        potentials = elimination.potentials = potentials_of(elimination, interface, stays, lead)
    start = _start(low, interface, factors, stays, lead)
    moves = [_led_first(_counting(low, _with_later_sites(low, f, interface)), lead, plate) for f in moves]
    message, steps, operands = _steps(elimination, interface, moves, lead)
    openings = _openings(low, interface, operands, moves)
    # expected log-probabilities sum to less than one
    normalized = all(f.own is not None for f in moves) and not elimination.low.statistics
    value = _call(elimination, component, lead, plate, start, operands, potentials, steps, openings, normalized)
    if _sums_to_one(low, component, {f.own for f in factors if f.initial and f not in stays}):
        return value
    return _with_sites(low, value, plate, elimination.semiring)


def chain_plate(low, component: list[str]) -> str:
    """The ordered plate along which the component's earlier sites are read."""
    return next(p for a in component if (p := low.plan.latent(latent_of(a)).along) is not None)


def without_local_latents(
    elimination, component: list[str], factors: list[Factor], read_back: set[str]
) -> list[Factor]:
    """Sums out, at every site at once, the latents that no other site reads: all but `read_back`."""
    local = [a for a in component if a not in read_back]
    for group in map(list, connected(local, map(elimination.touched, factors))):
        touched = [f for f in factors if elimination.touches(f, group)]
        rest = [f for f in factors if not elimination.touches(f, group)]
        factors = [*rest, _summed_sites(elimination, group, touched)]
    component[:] = [a for a in component if a in read_back]
    return factors


def _summed_sites(elimination, group: list[str], touched: list[Factor]) -> Factor:
    """One group of a site's own latents summed out, by the general clauses and by the initial ones."""
    low = elimination.low
    name = elimination.sum_name(group)
    # a tilt goes to a factor that all sites share, so that it is counted once; where there is none, to zeros
    hosted = {a for f in touched if not f.initial for a in f.value.axes}
    zeros = [Factor(latent_of(a), _zeros(low, (a,)), ()) for a in group if a not in hosted]
    plain = [*zeros, *sorted(touched, key=lambda f: len(f.initial))]
    values = [elimination.named(masked(low, f.value, f.observed_mask)) for f in plain]
    shared = [i for i, f in enumerate(plain) if not f.initial]
    tilted = elimination.tilt(group, [values[i] for i in shared])
    values = [*tilted, *values[len(shared) :]]
    initial = []
    for site in range(max(len(f.initial) for f in plain)):
        row = [
            masked(low, f.initial[site], f.observed_mask) if site < len(f.initial) else v
            for f, v in zip(plain, values, strict=True)
        ]
        first = elimination.summed(group, row)
        # a factor that had its first sites in place says nothing of sites before them
        for axis in [a for a in first.axes if low.order.is_enumerated(a) and lag_of(a) > site]:
            first = select(first, axis, "0")
        initial.append(low.scope.assign(f"{name}_at_{site}", first))
    value, along = low.scope.assign(name, elimination.summed(group, values)), plain[-1].along
    return Factor(name, value, tuple(initial), along=along)


def _interface(low, plate: str, component: list[str], factors: list[Factor]) -> Interface:
    order = {}
    for axis in component:
        order[axis] = max(
            lag_of(a) for f in factors for a in f.axes if low.order.is_enumerated(a) and at_present(a) == axis
        )
    after = tuple(shift_axis(a, j) for a in component for j in range(order[a]))
    return Interface(plate, order, after, tuple(shift_axis(a, 1) for a in after))


def _leaves(factor: Factor, interface: Interface) -> bool:
    """Whether the factor reads a state that the message forgets at this site."""
    return any(a in interface.before and a not in interface.after for a in factor.value.axes)


def _with_first_site(factor: Factor, interface: Interface) -> Factor:
    """The factor with its first site apart: the sum of others that had theirs in place, which read no site before it."""
    if factor.initial or interface.plate not in factor.value.axes or not _leaves(factor, interface):
        return factor
    value = factor.value
    for axis in [a for a in value.axes if a in interface.before and a not in interface.order]:
        value = select(value, axis, "0")
    return replace(factor, initial=(value,), along=interface.plate)


def _lead(elimination, factors: list[Factor], plate: str, component: list[str]) -> tuple[str, ...]:
    """Axes over which whole chains differ: batch, draws, the latents' own outer plates (what is known of them differs there),
    latents that are summed later."""
    low = elimination.low
    axes = {
        a
        for f in factors
        for a in f.axes
        if a != plate and (not low.order.is_enumerated(a) or at_present(a) not in component)
    }
    own = {p for a in component for p in elimination.plates(a)} - {plate}
    return low.order.sort(axes | own | {"B"})


def potentials_of(elimination, interface: Interface, stays: list[Factor], lead: tuple[str, ...]) -> Value:
    """Everything that a site's own state decides, (lead, T, state), 0 where sites do not count."""
    low = elimination.low
    full = (*lead, interface.plate, *interface.after)
    values = [masked(low, elimination.settled(f), f.observed_mask) for f in stays]
    tilts = [(a, elimination.tilt_of(a, ("B", *low.order.sort(elimination.plates(a)), a))) for a in interface.order]
    if not values:
        values = [Value("self.zero", ())]
    axes = tuple(a for a in full if any(a in v.axes for v in values))
    total = Value(" + ".join(align(v, full).code for v in values), axes, draws=join_draws(*values))
    if len(values) == 1:
        total = values[0].with_(code=align(values[0], full).code, axes=axes)
    missing = [a for a in full if a not in axes]
    if missing:
        aligned = total if len(values) > 1 else align(values[0], full)
        extents = [elimination.extent(a) if a in missing else "-1" for a in full]
        total = total.with_(
            code=f"{aligned.at(ATOM) if len(values) == 1 else f'({total.code})'}.expand({', '.join(extents)})"
        )
    whose = short("_".join(latent_of(a) for a in interface.order))  # where other chains have potentials, too
    total = low.scope.named("log_potential", total.with_(axes=full), other=f"log_potential_{whose}")
    for axis, tilt in tilts:
        with low.scope.when(f'"{latent_of(axis)}" in tilt'):
            name = f"tilt_{axis.replace('.', '_')}"
            added = low.scope.assign(name, masked(low, tilt, plate_mask(low, interface.plate)))
            low.scope.line(f"{total.code} = {total.code} + {align(added, full).code}")
    return total


def _in_blocks(elimination, axes: tuple[str, ...]) -> Value:
    """`self.log_potential` of some sites at a time: the entries of the batch that have sites are cut."""
    low, plate = elimination.low, elimination.blocks
    there = [v for v in low.spec.variables if plate in v.plates and v.role != "let"]
    names = [f"{plate}.mask", *(v.name for v in there), *(f"{v.name}.mask" for v in there if v.role == "observed")]
    along = _tuple([f'"{n}"' for n in names])
    blocks = low.scope.use("SiteBlocks")
    low.scope.comment("sites are computed some at a time, and once more in the backward pass")
    code = f"{blocks}(self.log_potential, batch, tilt, {along}, tuple(self.parameters()))"
    return low.scope.assign("log_potential", Value(code, axes))


def _states(low, axis: str) -> str:
    """How many values a latent has, as Python."""
    return low.size(low.spec.variable(latent_of(axis)).type.support.cardinality)


def _zeros(low, axes: tuple[str, ...]) -> Value:
    """A factor of these latents that says nothing."""
    return Value(f"self.zero.expand({', '.join(_states(low, a) for a in axes)})", axes)


def _start(low, interface: Interface, factors: list[Factor], stays: list[Factor], lead: tuple[str, ...]) -> Value:
    """The message before the first site's potentials: its initial clauses, with no mass on sites before it."""
    values = []
    for factor in factors:
        if not factor.initial or factor in stays:
            continue
        value = factor.initial[0]
        if factor.own is None:
            value = masked(low, value, factor.mask)
        if interface.plate in value.axes:
            at = value.axes.index(interface.plate)
            code = f"{low.scope.use('first_site')}({value.code}, dim={at})"
            value = value.with_(code=code, axes=tuple(a for a in value.axes if a != interface.plate), binds=ATOM)
        values.append(value)
    if not values:
        # the first site's own factors are among the potentials: every state starts with weight one
        values = [_zeros(low, tuple(interface.order))]
    axes = (*(a for a in lead if any(a in v.axes for v in values)), *interface.order)
    total = Value(
        " + ".join(align(v, axes).code for v in values),
        axes,
        (),
        0 if len(values) > 1 else ATOM,
        draws=join_draws(*values),
    )
    if any(all(a not in v.axes for v in values) for a in interface.order):  # a latent whose clause all sites share
        extents = ["-1" if a in lead else _states(low, a) for a in axes]
        total = total.with_(code=f"{total.at(ATOM)}.expand({', '.join(extents)})", binds=ATOM)
    earlier = [a for a in interface.after if lag_of(a)]
    for axis in earlier:
        total = total.with_(
            code=f"{low.scope.use('pin_first')}({total.code}, {_states(low, axis)})",
            axes=(*total.axes, axis),
            binds=ATOM,
        )
    target = (*(a for a in total.axes if a in lead), *interface.after)
    if total.axes != target:
        total = permute(total, target)
    return low.scope.named("log_start", total)


def _counting(low, factor: Factor) -> Factor:
    """The factor with 0 where its own sites do not count: what is not observed does not weigh a step."""
    if factor.observed_mask is None:
        return factor
    return replace(factor, value=low.scope.assign("log_step", masked(low, factor.value, factor.observed_mask)))


def _with_later_sites(low, factor: Factor, interface: Interface) -> Factor:
    """For order n: the factor with the clauses of sites 1 .. n-1 among its sites, where they are no tables of states alone
    (`_openings`). Site 0 belongs to the start."""
    later = factor.initial[1:]
    states = {*interface.before, *interface.after}
    if all(set(v.axes) <= states & set(factor.value.axes) for v in later) and (
        not later or set(factor.value.axes) <= states
    ):
        return factor
    value = factor.value
    for site in range(len(later), 0, -1):
        value = low.replace_site(value, factor.initial[site], interface.plate, site)
    return replace(
        factor,
        value=low.scope.assign(f"log_p_{factor.name}", value, other=f"log_p_{factor.name}_from_1"),
        initial=factor.initial[:1],
    )


def _led_first(factor: Factor, lead: tuple[str, ...], plate: str) -> Factor:
    """The factor with its axes as the chain takes them: lead, plate, states."""
    axes = factor.value.axes
    outer = tuple(a for a in (*lead, plate) if a in axes)
    return replace(factor, value=permute(factor.value, (*outer, *(a for a in axes if a not in outer))))


def _steps(elimination, interface: Interface, moves: list[Factor], lead: tuple[str, ...]):
    """The transition factors in an order that keeps messages small, and how each acts on the message."""
    plate = interface.plate
    values = [f.value for f in moves]
    axes = list(dict.fromkeys([*interface.before, *interface.after]))
    letter = dict(zip(axes, LETTERS, strict=False))

    def spell(some) -> str:
        return "".join(letter[a] for a in some if a in letter)

    operands = [tuple(interface.before), *(tuple(a for a in v.axes if a in letter) for v in values)]
    read = {a for axes in operands for a in axes}
    equation = ",".join(map(spell, operands)) + "->" + spell(a for a in interface.after if a in read)
    shapes = [tuple(elimination.nominal(a) for a in axes) for axes in operands]
    order = _best_order(equation, shapes)
    message, steps, chosen = list(interface.before), [], []
    for position, index in enumerate(order):
        value = values[index]
        own = [a for a in value.axes if a in letter]
        later = {a for i in order[position + 1 :] for a in values[i].axes} | set(interface.after)
        out = [a for a in message if a in later]
        place = next((i for i, a in enumerate(message) if a in own and a not in later), len(out))
        arriving = [a for a in own if a not in message and a in later]
        out[place:place] = arriving
        if position == len(order) - 1:
            out = list(interface.after)
        capitals = ("B" if any(a in lead for a in value.axes) else "") + ("T" if plate in value.axes else "")
        steps.append(f"{spell(message)},{capitals}{spell(own)}->{spell(out)}")
        chosen.append((moves[index], value))
        message = out
    return message, steps, chosen


def _best_order(equation: str, shapes: list[tuple[int, ...]]) -> list[int]:
    """Which factor acts on the message first, second, ...; the message is operand 0 of the equation."""
    if len(shapes) == 2:
        return [0]  # a single factor: nothing to search, and the library is not loaded
    import opt_einsum

    optimize = "optimal" if len(shapes) < 9 else "greedy"
    path, _ = opt_einsum.contract_path(equation, *shapes, shapes=True, optimize=optimize)
    return _linear(path, len(shapes))


def _linear(path, count: int) -> list[int]:
    """The order in which a contraction path reaches the factors, starting from the message (operand 0)."""
    groups = [[i] for i in range(count)]
    for step in path:
        merged = [i for position in sorted(step) for i in groups[position]]
        groups = [g for position, g in enumerate(groups) if position not in step] + [
            sorted(merged, key=lambda i: i == 0) if 0 not in merged else [0, *(i for i in merged if i)]
        ]
    return [i - 1 for i in groups[0] if i]


def _openings(low, interface: Interface, operands, moves: list[Factor]) -> list[tuple[Value, ...]]:
    """For order n: the factors of the steps into sites 1 .. n-1, whose clauses read fewer sites back."""
    steps = max(interface.order.values()) - 1
    openings = []
    for site in range(1, steps + 1):
        row = []
        for factor, value in operands:
            if site < len(factor.initial):
                aligned = align(factor.initial[site], value.axes)
                row.append(value.with_(code=f"{aligned.at(ATOM)}.expand_as({value.code})", binds=ATOM))
            else:
                row.append(value)
        openings.append(tuple(row))
    return openings


def _call(elimination, component, lead, plate, start, operands, potentials, steps, openings, normalized) -> Value:
    low = elimination.low
    draws = join_draws(start, potentials, *(v for _, v in operands))
    transitions = [v for _, v in operands]
    notes = _recursion(plate, start, transitions, potentials, steps, normalized)
    mask = low.mask(plate)
    if len(lead) > 1:
        shape = low.scope.names.fresh("lead")
        low.scope.line(f"{shape} = {potentials.code}.shape[:{len(lead)}]")
        merge = low.scope.use("merge_lead")

        def flat(v: Value) -> Value:
            if not any(a in lead for a in v.axes):
                return v
            return v.with_(code=f"{merge}({spelled(v, (*lead, *(a for a in v.axes if a not in lead)))}, {shape})")

        start, potentials, transitions = flat(start), flat(potentials), [flat(v) for v in transitions]
        openings = [tuple(flat(v) for v in row) for row in openings]
        outer = ("B", *([within] if (within := low.spec.plate(plate).within) else []), plate)
        mask = f"{merge}({spelled(Value(mask, outer), (*lead, plate))}, {shape})"
    each = _tuple if len(steps) > 1 else "".join  # of one step it is that
    arguments = [
        start.code,
        each([v.code for v in transitions]),
        potentials.code,
        each([f'"{s}"' for s in steps]),
        f"mask={mask}",
    ]
    if openings:
        arguments.append(f"openings={_tuple([each([v.code for v in row]) for row in openings])}")
    semiring = elimination.semiring
    if len(lead) > 1 and semiring == "semiring":
        semiring = f"{low.scope.use('merge_semiring')}(semiring, {shape})"
    arguments.append(f"semiring={semiring}")
    if normalized:
        arguments.append("normalized=True")
    if low.plan.lean:
        arguments.append('memory="lean"')
    code = f"{low.scope.use('chain')}({', '.join(arguments)})"
    for note in notes if elimination.told else ():
        low.scope.comment(note)
    if len(lead) > 1:
        flat_sum = low.scope.names.fresh("log_sum_flat")
        low.scope.line(f"{flat_sum} = {code}")
        code = f"{flat_sum}.unflatten(0, {shape})"
    value = Value(code, lead, draws=draws)
    return value


def _recursion(
    plate: str, start: Value, transitions: list[Value], potentials: Value, steps: list[str], normalized: bool
) -> list[str]:
    """How a message comes from the one before it, in log space as it is computed: a line for each step."""

    def at(name: str, letters: str, site: str = "") -> str:
        return f"{name}[{', '.join([*([site] if site else []), *letters])}]"

    first = start.code if start.is_name else "log_start"
    potential = potentials.code if potentials.is_name else "log_potential"
    states = steps[-1].partition("->")[2]
    rows = [
        f"forward algorithm along {plate}, in log space:",
        f"    {at('alpha_0', states)} = {at(first, states)} + {at(potential, states, '0')}",
    ]
    for i, (step, factor) in enumerate(zip(steps, transitions, strict=True)):
        (message, own), out = step.partition("->")[0].split(","), step.partition("->")[2]
        letters = own.lstrip("BT")
        gone = "".join(c for c in dict.fromkeys(message + letters) if c not in out)
        name = factor.code if factor.is_name else f"log_factor_{i}"
        read = at("alpha_{t-1}" if i == 0 else "message", message)
        product = f"{read} + {at(name, letters, 't' if 'T' in own else '')}"
        total = f"logsumexp_{gone}({product})" if gone else product
        if i < len(steps) - 1:
            rows.append(f"    {at('message', out)} = {total}")
        else:
            rows.append(f"    {at('alpha_t', out)} = {total} + {at(potential, out, 't')}")
    rows.append("the sum is the logsumexp of alpha at the last site; where `mask` is false, alpha_t = alpha_{t-1}")
    if normalized:
        rows.append(
            "`normalized`: transitions sum to one over the new state, so that padding, of potential 0, adds nothing"
        )
    return rows


def _sums_to_one(low, component: list[str], started: set[str | None]) -> bool:
    """Whether the start does by itself, so that a sequence without sites is worth 1. started: the latents whose own factors it
    has. Expected ones do not sum to one, and where values are sites there may be no value."""
    sizes = [low.spec.variable(latent_of(a)).type.support.cardinality for a in component]
    return set(component) <= started and not low.statistics and not any(ragged_plate(size) for size in sizes)


def _with_sites(low, value: Value, plate: str, semiring: str) -> Value:
    """One empty assignment for examples without a site along the chain."""
    axes = low.plate_axes(plate)[:-1]
    some = Value(f"{low.mask(plate)}.any(-1)", axes)
    value = low.scope.assign("log_sum", value)
    return value.with_(code=f"{semiring}.at_sites({value.code}, {align(some, value.axes, 0).code})", binds=ATOM)


def _tuple(items: list[str]) -> str:
    """Python for a tuple."""
    return f"({', '.join(items)}{',' if len(items) == 1 else ''})"
