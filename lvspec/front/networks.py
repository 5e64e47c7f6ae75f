"""`networks:` → declared networks: `writer[K]: LSTM(E + D, H, layers=2)`."""

from __future__ import annotations

from collections.abc import Iterable

from lvspec.front.declarations import call_of, entries, expression
from lvspec.front.dims import to_dim, to_extent
from lvspec.front.names import check_name, did_you_mean
from lvspec.front.nodes import Entry, Node
from lvspec.front.parser import parse_target
from lvspec.front.problems import Help, Problems
from lvspec.front.user_networks import plain, user_network
from lvspec.ir.dims import Shape
from lvspec.ir.networks import ACTIVATIONS, NETWORKS, OPTIONS, REFUSED, Kind, head_widths, heads_fit
from lvspec.ir.spec import Network, Size


def read_networks(
    section: Node | None, sizes: dict[str, Size], allowed: Iterable[str], problems: Problems
) -> dict[str, Network]:
    found: dict[str, Network] = {}
    for entry in entries(section, "networks", problems):
        target = parse_target(entry.key, problems)
        if target is None:
            continue
        if len(target.places) != 1 or target.over or target.outside_batch:
            problems.error(
                "bad-target",
                entry.key.span,
                "a network is declared as `name: Kind(sizes)`, a bank of K alike ones as `name[K]: Kind(sizes)`",
            )
            continue
        place = target.places[0]
        name = place.name.name
        if not check_name(name, place.name.span, problems):
            continue
        if name in found:
            problems.error(
                "duplicate-key",
                place.name.span,
                f"the network `{name}` is declared twice",
                notes=((found[name].span, "the first one is here"),),
            )
            continue
        bank = [to_extent(i, sizes, problems) for i in place.indices]
        network = _network(name, tuple(b for b in bank if b is not None), entry, sizes, tuple(allowed), problems)
        if network is None:
            problems.wrong.add(name)
        else:
            found[name] = network
    return {name: one for name, one in found.items() if _tied_fits(one, found, problems)}


def _network(
    name: str, bank: Shape, entry: Entry, sizes: dict[str, Size], allowed: tuple[str, ...], problems: Problems
) -> Network | None:
    value = expression(entry, "a network such as `Linear(H, V)`", problems)
    if value is None:
        return None
    kind_name, call = call_of(value)
    kind = NETWORKS.get(kind_name)
    if kind is None or call is None:
        help: Help
        if kind_name in REFUSED:
            message, help = f"there is no network `{kind_name}`", REFUSED[kind_name]
        elif kind is not None:
            message, help = f"`{kind_name}` needs its sizes", f"write `{kind_name}({', '.join(kind.sizes)})`"
        else:
            message = f"there is no network `{kind_name}`" if kind_name else "this is no network"
            help = did_you_mean(kind_name, NETWORKS, f"the networks are {', '.join(NETWORKS)}")
        problems.error("unknown-network" if kind is None else "network-arguments", entry.value.span, message, help=help)
        return None
    if value.where or value.through or value.parts:
        problems.error(
            "misplaced-suffix", entry.value.span, "a network's declaration has no `where`, `through` or `with`"
        )
    if kind.name == "Module":
        return user_network(name, bank, call, entry, sizes, allowed, problems)
    dims = [to_dim(a, sizes, problems) for a in call.arguments]
    options = _options(kind, call.keywords, problems)
    if any(d is None for d in dims):
        return None
    most, open_ended = len(kind.sizes), any(s.endswith("...") for s in kind.sizes)
    least = most - sum(s.endswith(("...", "?")) for s in kind.sizes)
    if len(dims) < least or (len(dims) > most and not open_ended):
        problems.error(
            "network-arguments",
            entry.value.span,
            f"`{kind.name}` takes {', '.join(kind.sizes)}, and {len(dims)} {'size is' if len(dims) == 1 else 'sizes are'} given",
            help=f"write `{kind.name}({', '.join(kind.sizes)})`",
        )
        return None
    if any(d.constant is not None and d.constant < 1 for d in dims if d is not None):
        problems.error("network-arguments", entry.value.span, "a size is at least 1")
        return None
    if kind.reads == "draw" and bank:
        problems.error(
            "network-arguments",
            entry.value.span,
            "a flow is one network, and this is a bank",
            help=f"give it a context that tells them apart: `{kind.name}({', '.join(map(str, dims))}, C)`",
        )
        return None
    network = Network(name, kind.name, tuple(d for d in dims if d is not None), options, bank, span=entry.key.span)
    _dropout_between(network, entry, problems)
    return network if _heads_fit(network, sizes, entry, problems) and _image_fits(network, entry, problems) else None


def _image_fits(network: Network, entry: Entry, problems: Problems) -> bool:
    """Whether a network of images is one network, and has a middle where it keeps their size."""
    uncentred = network.option("stride") == 1 and network.option("kernel") % 2 == 0
    if NETWORKS[network.kind].shapes is None or not (network.bank or uncentred):
        return True
    about = "is one network, and this is a bank" if network.bank else "with a stride of 1 has an odd `kernel`"
    problems.error("network-arguments", entry.value.span, f"`{network.kind}` {about}")
    return False


def _heads_fit(network: Network, sizes: dict[str, Size], entry: Entry, problems: Problems) -> bool:
    """Whether the numbers that a network gives are equal parts, one for each of its heads."""
    found = head_widths(network, {n: s.value for n, s in sizes.items()})
    if found is None or heads_fit(*found):
        return True
    heads, numbers = found
    fitting = ", ".join(str(n) for n in range(1, min(numbers // 2, 64) + 1) if heads_fit(n, numbers))
    problems.error(
        "network-arguments",
        entry.value.span,
        f"`{network.kind}` gives each of its {heads} heads an equal part of the {numbers} numbers that come out, two at least",
        help=f"for {numbers} numbers `heads` may be {fitting}" if fitting else "let it give more numbers",
    )
    return False


def _dropout_between(network: Network, entry: Entry, problems: Problems) -> None:
    """Dropout of a network lies between its layers, as torch's does: one layer has none."""
    sizes = len(network.arguments)
    layers = sizes - 1 if network.kind == "MLP" else network.option("layers", sizes)
    within = NETWORKS[network.kind].work is not None and network.option("layers")  # each layer has it
    if network.option("dropout") and layers == 1 and not within:
        message = f"`dropout` of {network.kind} lies between its layers, and `{network.name}` has one: it does nothing"
        more = "`layers=2`" if network.option("layers") else "more sizes"
        help = (
            f"declare `drop: Dropout({network.arguments[-1]})` and write `drop({network.name}(...))`, or give it {more}"
        )
        problems.warning("no-effect", entry.value.span, message, help=help)


def _options(kind: Kind, keywords, problems: Problems) -> tuple[tuple[str, object], ...]:
    """Every option of the kind, written or default."""
    found = dict(kind.options)
    for keyword, node in keywords:
        name = keyword.name
        if name not in found:
            problems.error(
                "network-arguments",
                keyword.span,
                f"`{kind.name}` has no option `{name}`",
                help=did_you_mean(name, found, f"it has {', '.join(found)}" if found else "it has none"),
            )
            continue
        value = plain(node)
        wrong = _wrong_option(name, value, kind)
        if wrong:
            problems.error(
                "network-arguments",
                node.span,
                wrong,
                help=did_you_mean(str(value), ACTIVATIONS) if name == "activation" else "",
            )
        else:
            found[name] = value
    return tuple(found.items())


def _tied_fits(network: Network, every: dict[str, Network], problems: Problems) -> bool:
    """Whether a network whose matrices are another's has the other's sizes, in the opposite order."""
    name = network.option("tied")
    other = every.get(name)
    if name is None or name in problems.wrong:
        return True
    sizes = ", ".join(map(str, network.arguments[::-1]))
    help: Help
    kinds = ("Linear", "Embedding") if len(network.arguments) == 2 else ("MLP",)
    if other is None:
        about, help = f"there is no network `{name}`", did_you_mean(str(name), every, "name one of the networks")
    elif other.kind not in (*kinds, "MLP") or other.bank or network.bank or other.option("tied"):
        about = f"`{network.name}` cannot have the matrices of `{name}` ({other.kind}{' of a bank' * bool(other.bank)})"
        help = f"tie it to a network of its own: `{name}: {' or '.join(f'{k}({sizes})' for k in kinds)}`"
    elif other.arguments != network.arguments[::-1]:
        shown = ", ".join(map(str, other.arguments))
        about = f"`{network.name}` has the matrices of `{name}`, which is {other.kind}({shown})"
        help = f"declare `{network.name}: {network.kind}({', '.join(map(str, other.arguments[::-1]))}, tied={name})`"
    else:
        return True
    problems.error("network-arguments", network.span, about, help=help)
    problems.wrong.add(network.name)
    return False


def _wrong_option(name: str, value: object, kind: Kind) -> str:
    """What is wrong with an option's value, or nothing."""
    takes, default = OPTIONS.get(name), dict(kind.options)[name]
    whole = isinstance(value, int) and not isinstance(value, bool)
    if name == "tied":
        return "" if isinstance(value, str) else "`tied` is the name of a network"
    if takes is not None:
        numbered = f", or a whole number from 1 to {takes.most}" if takes.most else ""
        fine = value in takes.words or (whole and 1 <= value <= takes.most)  # type: ignore[operator]  # it is whole
        few = f"one of {', '.join(takes.words)}" if len(takes.words) > 1 else takes.words[0]
        return "" if fine else f"{'an activation' if name == 'activation' else f'`{name}`'} is {few}{numbered}"
    if isinstance(default, bool):
        return "" if isinstance(value, bool) else f"`{name}` is true or false"
    if isinstance(default, int):
        fine = whole and 1 <= value <= kind.most  # type: ignore[operator]  # it is whole
        return "" if fine else f"`{name}` is a whole number from 1 to {kind.most}"
    fine = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1
    return "" if fine else f"`{name}` is a probability below 1"
