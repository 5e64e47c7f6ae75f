"""A mean-field guide for latents that nobody wrote one for: q(z | x) with a default reader network.

What is read decides the network: a vector through an MLP, a sequence through an LSTM (a BiLSTM where the latent
has a site per token), a bag through the mean of its word vectors. The parameters of q come out of one MLP.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import prod

from lvspec.errors import NOWHERE
from lvspec.ir.dims import Dim, ragged_plate
from lvspec.ir.expr import (
    Apply,
    Binding,
    Call,
    Dist,
    Expr,
    Here,
    Index,
    LocalRef,
    Number,
    PlateIndex,
    SiteOf,
    Stretch,
    VariableRef,
)
from lvspec.ir.plan import Baseline
from lvspec.ir.spec import Clause, Network, Spec, Variable
from lvspec.ir.types import NONNEGATIVE, POSITIVE, REAL, Reach, Type
from lvspec.ir.words import LISTED
from lvspec.plan.guides.families import HEADS, guide_family, taken_over

WIDTH = 64  # of derived word vectors, states and hidden layers


@dataclass
class Readers:
    """Networks made on the way, each once, under names that nothing of the spec has. prefix: of their names, which keeps them
    apart from those of other readers. lets: what several factors of a guide read, computed once. seen: all that is observed as
    one vector, by the plates of what reads it."""

    spec: Spec
    prefix: str = ""
    by_name: dict[str, Network] = field(default_factory=dict)
    lets: dict[str, Variable] = field(default_factory=dict)
    seen: dict[tuple[bool, tuple[str, ...]], Expr] = field(default_factory=dict)

    @property
    def networks(self) -> tuple[Network, ...]:
        return tuple(self.by_name.values())

    def add(self, name: str, kind: str, *arguments: Dim) -> Network:
        network = Network(self.unused(self.prefix + name), kind, arguments, derived=True)
        return self.by_name.setdefault(network.name, network)

    def computed(self, name: str, value: Expr) -> VariableRef:
        """A value of an example as a variable of the guide."""
        let = Variable(self.unused(name), "let", (), value.type, (Clause(value),))
        return VariableRef(self.lets.setdefault(let.name, let).name, (), type=value.type)

    def unused(self, name: str) -> str:
        while name in self.spec.names:
            name += "_2"
        return name


def derive_guide(spec: Spec, latent: Variable, readers: Readers) -> Variable:
    """q(latent | x); the networks and the let variables that it needs are in readers."""
    family = guide_family(latent)
    heads = HEADS[family]
    vector = (latent.type.support.values,) if family == "Categorical" else latent.type.shape
    size = prod(vector, start=Dim.of(1))
    raw = site_vector(spec, latent, size * len(heads), f"guide_{latent.name}", readers)
    body, bindings = _factor(family, raw, heads, vector, size, latent)
    body = replace(body, arguments=(*taken_over(latent), *body.arguments))
    clause = Clause(body, bindings=bindings)
    return Variable(latent.name, "guide", latent.plates, latent.type, (clause,), latent.outside_batch)


def derive_baseline(spec: Spec, latent: Variable) -> Baseline:
    """B(x; ψ): a number for each site of the latent, by networks that nothing else reads."""
    readers = Readers(spec, f"baseline_{latent.name}_")
    raw = site_vector(spec, latent, Dim.of(1), "guess", readers)
    value = Index(raw, (Number(0),), type=Type((), REAL, raw.type.plates))
    return Baseline(latent.name, value, readers.networks)


def derive_control(spec: Spec, latent: Variable) -> Baseline:
    """c(x, point; φ): the vector of all that is observed, and the network that reads it beside relaxed values."""
    readers = Readers(spec, f"control_{latent.name}_")
    seen = observed_vector(spec, latent, readers)
    values = latent.type.support.values * prod(latent.type.shape, start=Dim.of(1))
    sites = prod((spec.plate(p).extent for p in latent.plates if p not in seen.type.plates), start=Dim.of(1))
    readers.add("variate", "MLP", seen.type.shape[-1] + values * sites, Dim.of(WIDTH), Dim.of(1))
    return Baseline(latent.name, seen, readers.networks)


def control_reason(spec: Spec, latent: Variable) -> str | None:
    """Why one network cannot see the relaxed values of a latent beside what is observed, or None."""
    if (plate := ragged_plate(latent.type.support.values)) is not None:
        return f"the values of {latent.name} are the sites of plate {plate}: no network is as wide as each example has sites"
    seen = next(_features(spec, latent, Readers(spec)), None)
    own = seen.type.plates if seen else ()  # it is one network a site there, else of all sites
    joint = [p for p in latent.plates if p not in own]
    if any(spec.plate(p).ragged for p in joint):
        return f"nothing is observed along {joint[0]}: a network of all its sites has no engine yet"
    if latent.plates[len(latent.plates) - len(joint) :] != tuple(joint):
        return f"a network of the sites of {joint[0]} at each site of {latent.plates[-1]} has no engine yet"
    return None


def site_vector(spec: Spec, latent: Variable, size: Dim, name: str, readers: Readers) -> Expr:
    """All that is observed, through one MLP of this name, as a vector for each site of the latent."""
    joined = observed_vector(spec, latent, readers)
    fixed = [p for p in latent.plates if not spec.plate(p).ragged and p not in joined.type.plates]
    copies = prod((spec.plate(p).extent for p in fixed), start=Dim.of(1))
    out = size * copies
    head = readers.add(name, "MLP", joined.type.shape[-1], Dim.of(WIDTH), out)
    plates = joined.type.plates
    raw: Expr = Apply(head.name, (), (joined,), type=Type((out,), REAL, plates))
    shape = (*(spec.plate(p).extent for p in fixed), size)
    if fixed:
        raw = Call("reshape", (raw, *(Number(0) for _ in shape)), type=Type(shape, REAL, plates))
        raw = Index(raw, tuple(PlateIndex(p) for p in fixed), type=Type(shape[-1:], REAL, latent.plates))
    return raw


def observed_vector(spec: Spec, latent: Variable, readers: Readers) -> Expr:
    """All that is observed as one vector, at each site of the latent's plates that it can be read along."""
    key = (latent.outside_batch, latent.plates)
    if key not in readers.seen:
        readers.seen[key] = _observed_vector(spec, latent, readers)
    return readers.seen[key]


def _observed_vector(spec: Spec, latent: Variable, readers: Readers) -> Expr:
    features = list(_features(spec, latent, readers))
    if not features:
        features = [Call("onehot", (Number(0),), type=Type((Dim.of(1),)))]
    if len(features) == 1:
        return features[0]
    plates = tuple(dict.fromkeys(p for f in features for p in f.type.plates))
    joined = _call("concat", features, _width(features), plates)
    shared = len(features) > LISTED and not plates and not readers.prefix  # written once, for all factors that read it
    return readers.computed("seen", joined) if shared else joined


def _features(spec: Spec, latent: Variable, readers: Readers) -> Iterator[Expr]:
    """What is observed and given, each as a vector."""
    sequence = next((p for p in latent.plates if spec.plate(p).ragged), None)
    for variable in () if latent.outside_batch else spec.of_role("observed") + spec.of_role("given"):
        yield from _read(spec, variable, latent, sequence, readers)


def _factor(family: str, raw: Expr, heads, vector, size: Dim, latent: Variable):
    """The distribution over its parameters, split off one vector."""
    part = Type(vector if family != "Bernoulli" or vector else (), REAL, latent.plates)
    names = tuple(n for n, _ in heads)
    if family == "VonMisesFisher":
        head, raw = raw, LocalRef("way", type=raw.type)
        if len(vector) > 1:
            raw = Call("reshape", (raw, *(Number(0) for _ in vector)), type=part)
        length = part.with_(shape=vector[:-1], support=NONNEGATIVE)
        squares = Call("sum", (Call("square", (raw,), type=part.with_(support=NONNEGATIVE)),), type=length)
        arguments = (("loc", raw), ("concentration", Call("sqrt", (squares,), type=length)))
        return Dist(family, arguments, type=latent.type), (Binding(("way",), head),)
    if len(heads) == 1 and not vector:
        raw = Index(raw, (Number(0),), type=part)
    if len(heads) == 1 and len(vector) > 1:
        raw = Call("reshape", (raw, *(Number(0) for _ in vector)), type=part)
    if len(heads) == 1:
        only = raw if heads[0][1] is None else Call(heads[0][1], (raw,), type=part.with_(support=POSITIVE))
        return Dist(family, ((heads[0][0], only),), type=latent.type), ()
    binding = Binding(names, Call("split", (raw, Number(len(heads))), type=raw.type))
    found: list[tuple[str, Expr]] = []
    for name, function in heads:
        value: Expr = LocalRef(name, type=Type((size,), REAL, latent.plates))
        if not vector:
            value = Index(value, (Number(0),), type=part)
        elif len(vector) > 1:
            value = Call("reshape", (value, *(Number(0) for _ in vector)), type=part)
        found.append((name, value if function is None else Call(function, (value,), type=part.with_(support=POSITIVE))))
    return Dist(family, tuple(found), type=latent.type), (binding,)


def _width(features: list[Expr]) -> Dim:
    return sum((f.type.shape[-1] for f in features), start=Dim.of(0))


def _call(function: str, args: list[Expr], size: Dim, plates: tuple[str, ...]) -> Call:
    return Call(function, tuple(args), type=Type((size,), REAL, plates))


def _read(spec: Spec, x: Variable, latent: Variable, sequence: str | None, readers: Readers) -> list[Expr]:
    """x as a vector for this latent, or nothing where it cannot be read (a plate that they do not share)."""
    values = x.type.support.cardinality
    if x.outside_batch or values is not None and ragged_plate(values) is not None:
        return []  # places have no vectors of their own
    ragged = [p for p in x.plates if spec.plate(p).ragged]
    if len(ragged) > 1:
        return [_over_all(spec, x, latent, readers)]
    shared = tuple(p for p in x.plates if p in latent.plates and not spec.plate(p).ragged)
    rest = tuple(p for p in x.plates if p not in shared and not spec.plate(p).ragged)
    sites = tuple(Here(p) if p in shared else Stretch(p, "whole") for p in x.plates)
    reach = Reach(ragged[0], "whole") if ragged else None
    shape = (*(spec.plate(p).extent for p in rest), *x.type.shape)
    value: Expr = VariableRef(x.name, sites, type=Type(shape, x.type.support, shared, reach))
    value = _as_vector(spec, x, value, readers)
    if reach is None:
        return [value]
    if sequence == reach.plate and not spec.plate(reach.plate).ordered:  # its own site, and all of them
        plates = tuple(p for p in x.plates if p in (*shared, reach.plate))
        here = tuple(Here(p) if p in plates else Stretch(p, "whole") for p in x.plates)
        own = VariableRef(x.name, here, type=Type(shape, x.type.support, plates))
        return [_as_vector(spec, x, own, readers), _summary(spec, x, value, reach, None, readers)]
    return [_summary(spec, x, value, reach, sequence, readers)]


def _over_all(spec: Spec, x: Variable, latent: Variable, readers: Readers) -> Expr:
    """x on nested plates: its mean over those that the latent does not have, innermost first."""
    value: Expr = VariableRef(x.name, tuple(Here(p) for p in x.plates), type=x.type.with_(plates=x.plates))
    value = _as_vector(spec, x, value, readers)
    for plate in reversed(x.plates):
        if plate not in latent.plates:
            plates = tuple(p for p in value.type.plates if p != plate)
            value = Call("mean", (value,), over=plate, type=value.type.with_(plates=plates))
    return value


def _as_vector(spec: Spec, x: Variable, value: Expr, readers: Readers) -> Expr:
    """Symbols as vectors, several event axes as one."""
    kind = value.type
    if x.type.support.kind == "integer" and not kind.shape:
        network = readers.add(f"read_{x.name}", "Embedding", x.type.support.values, Dim.of(WIDTH))
        return Apply(network.name, (), (value,), type=kind.with_(shape=(Dim.of(WIDTH),), support=REAL))
    if len(kind.shape) == 1:
        return value
    total = prod(kind.shape, start=Dim.of(1))
    return Call("flatten", (value,), type=kind.with_(shape=(total,), support=REAL))


def _summary(spec: Spec, x: Variable, value: Expr, reach: Reach, sequence: str | None, readers: Readers) -> Expr:
    """A stretch as one vector, or as one vector per site where the latent has such sites."""
    size = value.type.shape[-1]
    plates = value.type.plates
    if not spec.plate(reach.plate).ordered and sequence != reach.plate:
        return Call("mean", (value,), type=Type((size,), REAL, plates))
    per_site = sequence == reach.plate
    name, kind = ("sites", "BiLSTM") if per_site else ("scan", "LSTM")
    apart = [p for p in x.plates if p in plates]  # of several plates, those of which each site is read by itself
    network = readers.add("_".join((name, x.name, *apart)), kind, size, Dim.of(WIDTH))
    out = Dim.of(WIDTH) * (2 if per_site else 1)
    states = Apply(network.name, (), (value,), type=Type((out,), REAL, plates, reach))
    if per_site:
        return SiteOf(states, reach.plate, type=Type((out,), REAL, (*plates, reach.plate)))
    return Call("last", (states,), type=Type((out,), REAL, plates))


__all__ = ["NOWHERE", "Readers", "control_reason", "derive_baseline", "derive_control", "derive_guide"]
