"""Which observed variable of a spec can be decoded: written symbol by symbol along a plate that an end symbol closes.

    t: sequence(end=EOS)            h[t]: writer(concat(words(x[<t]), z))           x[t]: Categorical(logits=output(h[t]))

p(x[t] | x[<t]) needs what x reads, and what that reads in turn: its ancestors. Those along the same plate are drawn with it.
"""

from __future__ import annotations

from dataclasses import dataclass

from lvspec.ir.expr import Dist
from lvspec.ir.reads import HERE, reader_of
from lvspec.ir.spec import Plate, Spec, Variable
from lvspec.ir.structured import structure_of


@dataclass(frozen=True)
class Decodable:
    """symbol: the observed variable, of `plate`. above: its random ancestors that do not stand on the plate. along: those that
    do, itself among them."""

    plate: str
    symbol: str
    above: tuple[str, ...]
    along: tuple[str, ...]


def decodable(spec: Spec) -> Decodable | str:
    """What can be decoded, or why nothing can."""
    ending = [p for p in spec.plates if p.end]
    if len(ending) != 1:
        many = f"the plates {', '.join(p.name for p in ending)} end with a symbol, each by itself"
        return many if ending else "no plate ends with a symbol, as `t: sequence(end=EOS)` does"
    plate = ending[0]
    if plate.within:
        return f"plate {plate.name} is nested in {plate.within}"
    written = [v for v in spec.of_role("observed") if plate.name in v.plates]
    if len(written) != 1:
        names = ", ".join(v.name for v in written)
        return f"{names} are observed along {plate.name}" if written else f"nothing is observed along {plate.name}"
    return _of(spec, plate, written[0])


def _of(spec: Spec, plate: Plate, symbol: Variable) -> Decodable | str:
    if structure_of(symbol) is not None or not all(map(_symbols, symbol.clauses)) or symbol.type.shape:
        return f"{symbol.name} is no Categorical that is written site by site"
    if symbol.plates != (plate.name,):
        return f"{symbol.name} stands on other plates than {plate.name}, too"
    random = {v.name: v for v in spec.variables if v.role in ("latent", "observed")}
    reader, found = reader_of(spec), [symbol.name]
    for name in found:  # which grows
        found += [
            n for n in dict.fromkeys(r.name for r in reader.of_variable(random[name])) if n in random if n not in found
        ]
    for name in found:
        variable = random[name]
        if variable.outside_batch:
            return f"{name}, which {symbol.name} depends on, is shared by all examples"
        if plate.name in variable.plates and structure_of(variable) is not None:
            return f"{name} is one structure over {plate.name}, normalised over all of its sites"
        reads = (r for r in reader.of_variable(variable) if r.name == symbol.name)
        if any(r.way(plate.name)[0] == HERE for r in reads):
            return f"{name} reads {symbol.name} at its own site"
    along = tuple(n for n in random if n in found and plate.name in random[n].plates)
    return Decodable(plate.name, symbol.name, tuple(n for n in random if n in found and n not in along), along)


def _symbols(clause) -> bool:
    return isinstance(clause.body, Dist) and clause.body.family == "Categorical" and not clause.body.through
