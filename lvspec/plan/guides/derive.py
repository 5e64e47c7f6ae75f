"""A guide that nobody wrote: what each factor reads decides its networks.

    z[t] reads z[t-1] and x[>=t]        q(z[t]): Normal(...) where ... = split(guide_z(concat(z[t-1], after_x(read_x(x[>=t])))))

| read is                      | as a vector                                                                  |
|------------------------------|------------------------------------------------------------------------------|
| a symbol                     | its embedding; of a latent that is summed or drawn, the one-hot vector       |
| a vector, a number           | itself                                                                       |
| a stretch of a sequence      | the state of an LSTM; of all of it at each site, that of one in both ways    |
| all of a bag                 | the mean over its sites; beside it, where the latent has such sites, its own |
| all of a fixed plate         | its sites side by side                                                       |
The factor's parameters come out of one MLP; where there is nothing to be read, they are free. as_text.py says the same as
the lines of a spec.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import TypeVar

from lvspec.ir.dims import Dim, Shape, ragged_plate
from lvspec.ir.expr import (
    Apply,
    At,
    Binding,
    Call,
    Dist,
    Expr,
    Here,
    Index,
    Lag,
    LocalRef,
    Number,
    ParamRef,
    PlateIndex,
    Site,
    SiteOf,
    Stretch,
    VariableRef,
)
from lvspec.ir.plan import Baseline
from lvspec.ir.spec import Clause, Network, Param, Spec, Variable
from lvspec.ir.types import NONNEGATIVE, POSITIVE, REAL, SIMPLEX, Reach, Type
from lvspec.ir.words import LISTED
from lvspec.plan.guides.families import HEADS, guide_family, taken_over
from lvspec.plan.guides.inverse import BEFORE, FAMILIES, FROM, HERE_ONLY, THROUGH, WHOLE, Reading, datum, is_read

WIDTH = 64  # of derived word vectors, states and hidden layers
Made = TypeVar("Made", Param, Network, Variable)
ONE_SIDE = {FROM: "after", THROUGH: "until"}  # stretches on one side of a site, as networks that read them are called


class Underivable(Exception):
    """Why a guide has to be written by hand."""


@dataclass(frozen=True)
class Feature:
    """What a factor is given: a vector, and how many sites earlier it is of."""

    value: Expr
    earlier: int = 0


@dataclass
class DerivedGuide:
    """Parameters, networks and guide variables made on the way, each once, by name, under names that nothing of the spec has.

    prefix: of networks, which keeps them apart from those of a guide: what they read is not computed for several factors then.
    together: many readings, as one vector. partial: (latent, what it would have to read more of to be faithful).
    """

    spec: Spec
    prefix: str = ""
    params: dict[str, Param] = field(default_factory=dict)
    networks: dict[str, Network] = field(default_factory=dict)
    guide: dict[str, Variable] = field(default_factory=dict)
    together: dict[tuple[Reading, ...], Expr] = field(default_factory=dict)
    partial: list[tuple[str, str]] = field(default_factory=list)

    def of_role(self, role: str) -> tuple[Variable, ...]:
        return tuple(v for v in self.guide.values() if v.role == role)

    def network(self, name: str, kind: str, *sizes: Dim) -> str:
        """The name of a network."""
        return self._unused(self.networks, self.prefix + name, lambda n: Network(n, kind, sizes, derived=True))

    def param(self, name: str, shape: Shape) -> ParamRef:
        """A free tensor."""
        return ParamRef(self._unused(self.params, name, lambda n: Param(n, shape, derived=True)), type=Type(shape))

    def computed(self, name: str, value: Expr) -> Expr:
        """A value of an example, computed once for all factors that read it: a variable of the guide."""
        if self.prefix:
            return value
        kind = value.type
        name = self._unused(self.guide, name, lambda n: Variable(n, "let", kind.plates, kind, (Clause(value),)))
        return VariableRef(name, tuple(Here(p) for p in kind.plates), type=kind)

    def _unused(self, rows: dict[str, Made], name: str, make: Callable[[str], Made]) -> str:
        while name in self.spec.names or name in rows and rows[name] != make(name):
            name += "_2"
        rows[name] = make(name)
        return name

    # ------------------------------------------------------------ factors
    def free(self, latent: Variable) -> None:
        """What all examples share has no example to be read from: the parameters of its factor are free."""
        self._add(latent, [Clause(self._of_parameters(latent))])

    def factor(self, latent: Variable, reads: Sequence[Reading]) -> None:
        """q of a latent that reads these; where it reads earlier sites, a clause for each of the first ones, which lack some."""
        features = self.features(latent, reads)
        chain = chain_of(self.spec, latent)
        first = range(max((f.earlier for f in features), default=0))
        clauses = [self._clause(latent, [f for f in features if f.earlier <= i], "first_", chain, i) for i in first]
        self._add(latent, [*clauses, self._clause(latent, features, "guide_", chain)], chain if clauses else None)
        self.partial += [(latent.name, r.name) for r in reads if r.partial]

    def _add(self, latent: Variable, clauses: list[Clause], along: str | None = None) -> None:
        self.guide[latent.name] = Variable(
            latent.name, "guide", latent.plates, latent.type, tuple(clauses), latent.outside_batch, along=along
        )

    def _clause(
        self, latent: Variable, features: list[Feature], head: str, chain: str, site: int | None = None
    ) -> Clause:
        """The family of the latent's support over the parameters that an MLP gives."""
        if not features:
            return Clause(self._of_parameters(latent, head), site)
        family, vector = guide_family(latent), _vector_of(latent)
        size, values = prod(vector, start=Dim.of(1)), [f.value for f in features]
        if site is not None:
            values = [_at_site(v, chain, site) for v in values]
        raw = self.site_vector(latent, _joined(values), size * len(HEADS[family]), head + latent.name, chain, site)
        body, bindings = _distribution(family, raw, vector, size, latent)
        return Clause(replace(body, arguments=(*taken_over(latent), *body.arguments)), site, bindings)

    def _of_parameters(self, latent: Variable, head: str = "") -> Dist:
        """The family of the latent's support with free parameters, of each site of plates of a known size."""
        family, plates = guide_family(latent), [p for p in latent.plates if not self.spec.plate(p).ragged]
        vector = _vector_of(latent)
        shape = (*(self.spec.plate(p).extent for p in plates), *vector)
        values: dict[str, Expr] = {}
        for name, _ in HEADS[family]:
            value: Expr = self.param(f"{head}{name}_{latent.name}", shape)
            if plates:
                value = Index(value, tuple(PlateIndex(p) for p in plates), type=Type(vector, REAL, tuple(plates)))
            values[name] = value
        body = _of_family(family, values, latent)
        return replace(body, arguments=(*taken_over(latent), *body.arguments))

    def site_vector(
        self, latent: Variable, read: Expr, size: Dim, name: str, chain: str = "", site: int | None = None
    ) -> Expr:
        """What is read, through one MLP of this name, as a vector for each site of the latent."""
        plate, plates = self.spec.plate, read.type.plates
        fixed = [p for p in latent.plates if not plate(p).ragged and p not in plates and (site is None or p != chain)]
        extents = [plate(p).extent for p in fixed]
        out = prod(extents, start=size)
        head = self.network(name, "MLP", read.type.shape[-1], Dim.of(WIDTH), out)
        raw: Expr = Apply(head, (), (read,), type=Type((out,), REAL, plates))
        if fixed:
            shape = (*extents, size)
            raw = Call("reshape", (raw, *(Number(0) for _ in shape)), type=Type(shape, REAL, plates))
            raw = Index(raw, tuple(PlateIndex(p) for p in fixed), type=Type((size,), REAL, latent.plates))
        return raw

    # ------------------------------------------------------------ what is read
    def observed_vector(self, latent: Variable) -> Expr | None:
        """All that is observed as one vector, at each site of the latent's plates that it can be read along."""
        features = self.features(latent, FAMILIES["mean_field"](self.spec, [latent.name])[latent.name])
        return _joined([f.value for f in features]) if features else None

    def features(self, latent: Variable, reads: Sequence[Reading]) -> list[Feature]:
        """What is read, as vectors; of many data one, written once for all factors that read it."""
        data = [] if latent.plates else [r for r in reads if self.spec.variable(r.name).role != "latent"]
        found = []
        if len(data) > LISTED and not self.prefix:
            found, reads = [Feature(self._together(latent, tuple(data)))], reads[len(data) :]
        own = tuple((p, HERE_ONLY) for p in latent.plates)  # other sites of an unordered plate are told by nothing
        return found + [f for r in reads if r.name != latent.name or r.ways != own for f in self._features(latent, r)]

    def _together(self, latent: Variable, data: tuple[Reading, ...]) -> Expr:
        if data not in self.together:
            seen = _joined([f.value for r in data for f in self._features(latent, r)])
            self.together[data] = self.computed(f"seen_{latent.name}" if self.together else "seen", seen)
        return self.together[data]

    def _features(self, latent: Variable, reading: Reading) -> list[Feature]:
        """A reading as vectors."""
        source, chain = self.spec.variable(reading.name), chain_of(self.spec, latent)
        far = [(p, way) for p, way in reading.ways if way != HERE_ONLY]
        if all(way == WHOLE for _, way in far):
            return [Feature(v) for v in self._whole(latent, source, [p for p, _ in far])]
        if len(far) > 1 or far[0][0] != source.plates[-1] or len(source.plates) > 1 and far[0][1] != BEFORE:
            raise Underivable(over_several(latent.name, source.name, [p for p, _ in far]))
        ((plate, way),) = far
        if way in ONE_SIDE:
            return [Feature(self._states(source, self._reached(source, {plate: Stretch(plate, way)}), plate, way))]
        now = [Feature(self._reached(source, {}))] if reading.both else []
        return now + [Feature(self._reached(source, {chain: Lag(chain, k)}), k) for k in reading.back]

    def _whole(self, latent: Variable, source: Variable, far: list[str]) -> list[Expr]:
        """All sites of some plates: side by side, as one vector, or as one vector per site where the latent has such sites."""
        plate = self.spec.plate
        along = [p for p in far if plate(p).ragged or plate(p).ordered and p in latent.plates]
        if len(along) > 1:
            return [self._mean_over(latent, source)]
        value = self._reached(source, {p: Stretch(p, WHOLE) for p in far})
        if not along:
            return [value]
        (reach,) = along
        if plate(reach).ordered and reach in latent.plates:
            return [self._states(source, value, reach, WHOLE)]
        size, plates = value.type.shape[-1], value.type.plates
        if plate(reach).ordered:
            scan = self.network("_".join(("scan", source.name, *plates)), "LSTM", size, Dim.of(WIDTH))
            states = Apply(scan, (), (value,), type=Type((Dim.of(WIDTH),), REAL, plates, value.type.reach))
            return [Call("last", (states,), type=Type((Dim.of(WIDTH),), REAL, plates))]
        rest = {p: Stretch(p, WHOLE) for p in far if p != reach}
        own = [self._reached(source, rest)] if reach in latent.plates else []
        return [*own, Call("mean", (value,), type=Type((size,), REAL, plates))]

    def _mean_over(self, latent: Variable, source: Variable) -> Expr:
        """What lies on nested plates: its mean over those that the latent does not have, innermost first."""
        value = self._reached(source, {})
        for plate in (p for p in reversed(source.plates) if p not in latent.plates):
            plates = tuple(p for p in value.type.plates if p != plate)
            value = Call("mean", (value,), over=plate, type=value.type.with_(plates=plates))
        return value

    def _states(self, source: Variable, value: Expr, plate: str, way: str) -> Expr:
        """What lies on one side of each site, or on both, as a variable of the guide."""
        both, apart = way == WHOLE, value.type.plates
        word = "sites" if both else ONE_SIDE[way]
        kind, width = ("BiLSTM", Dim.of(2 * WIDTH)) if both else ("LSTM", Dim.of(WIDTH))
        network = self.network("_".join((word, source.name, *apart)), kind, value.type.shape[-1], Dim.of(WIDTH))
        each = Type((width,), REAL, tuple(p for p in source.plates if p in (*apart, plate)))
        states: Expr = Apply(network, (), (value,), type=each)
        if both:
            states = Apply(network, (), (value,), type=Type((width,), REAL, apart, value.type.reach))
            states = SiteOf(states, plate, type=each)
        name = "states" if both else f"states_{word}"
        return self.computed("_".join((name, source.name, *apart)), states)

    def _reached(self, source: Variable, far: Mapping[str, Site]) -> Expr:
        """Sites of a variable as a vector: this one, but for the plates that are named."""
        plate, sites = self.spec.plate, tuple(far.get(p, Here(p)) for p in source.plates)
        plates = tuple(s.plate for s in sites if not isinstance(s, Stretch))
        stretches = [s for s in sites if isinstance(s, Stretch)]
        along = [s for s in stretches if plate(s.plate).ragged or plate(s.plate).ordered]
        shape = (*(plate(s.plate).extent for s in stretches if s not in along), *source.type.shape)
        reach = Reach(along[0].plate, along[0].reach) if along else None
        return self._vector(
            source, VariableRef(source.name, sites, type=Type(shape, source.type.support, plates, reach))
        )

    def _vector(self, source: Variable, value: Expr) -> Expr:
        """Symbols as vectors, several event axes as one."""
        support, kind = source.type.support, value.type
        if support.kind == "integer" and not source.type.shape:
            if (plate := ragged_plate(support.values)) is not None:
                raise Underivable(
                    f"the values of {source.name} are the sites of plate {plate}, which have no vectors of their own"
                )
            if source.role == "latent":
                kind = kind.with_(shape=(*kind.shape, support.values), support=SIMPLEX)
                value = Call("onehot", (value,), type=kind)
            else:
                kind = kind.with_(shape=(*kind.shape, Dim.of(WIDTH)), support=REAL)
                embedding = self.network(f"read_{source.name}", "Embedding", support.values, Dim.of(WIDTH))
                value = Apply(embedding, (), (value,), type=kind)
        if len(kind.shape) == 1:
            return value
        return Call("flatten", (value,), type=kind.with_(shape=(prod(kind.shape, start=Dim.of(1)),), support=REAL))


def derive_guide(spec: Spec, latents: Sequence[str], family: str = "mean_field") -> DerivedGuide:
    """q of latents that have none, by the family that is named. Underivable where there is none."""
    found = DerivedGuide(spec)
    for name in (n for n in latents if spec.variable(n).outside_batch):
        found.free(spec.variable(name))
    for name, reads in FAMILIES[family](spec, [n for n in latents if not spec.variable(n).outside_batch]).items():
        found.factor(spec.variable(name), reads)
    return found


def derive_baseline(spec: Spec, latent: Variable) -> Baseline:
    """B(x; ψ): a number for each site of the latent, by networks that nothing else reads."""
    found = DerivedGuide(spec, f"baseline_{latent.name}_")
    raw = found.site_vector(latent, found.observed_vector(latent) or NOTHING, Dim.of(1), "guess")
    value = Index(raw, (Number(0),), type=Type((), REAL, raw.type.plates))
    return Baseline(latent.name, value, tuple(found.networks.values()))


def derive_control(spec: Spec, latent: Variable) -> Baseline:
    """c(x, point; φ): the vector of all that is observed, and the network that reads it beside relaxed values."""
    found = DerivedGuide(spec, f"control_{latent.name}_")
    seen = found.observed_vector(latent) or NOTHING
    values = latent.type.support.values * prod(latent.type.shape, start=Dim.of(1))
    sites = prod((spec.plate(p).extent for p in latent.plates if p not in seen.type.plates), start=Dim.of(1))
    found.network("variate", "MLP", seen.type.shape[-1] + values * sites, Dim.of(WIDTH), Dim.of(1))
    return Baseline(latent.name, seen, tuple(found.networks.values()))


def control_reason(spec: Spec, latent: Variable) -> str | None:
    """Why one network cannot see the relaxed values of a latent beside what is observed, or None."""
    if (plate := ragged_plate(latent.type.support.values)) is not None:
        return f"the values of {latent.name} are the sites of plate {plate}: no network is as wide as each example has sites"
    seen = next((v for v in spec.of_role("observed") + spec.of_role("given") if is_read(v)), None)
    fixed = [p for p in latent.plates if not spec.plate(p).ragged]
    found = DerivedGuide(spec, "control_").features(latent, [datum(seen, fixed)]) if seen is not None else []
    own = found[0].value.type.plates if found else ()  # it is one network a site there, else of all sites
    joint = [p for p in latent.plates if p not in own]
    if any(spec.plate(p).ragged for p in joint):
        return f"nothing is observed along {joint[0]}: a network of all its sites has no engine yet"
    if latent.plates[len(latent.plates) - len(joint) :] != tuple(joint):
        return f"a network of the sites of {joint[0]} at each site of {latent.plates[-1]} has no engine yet"
    return None


NOTHING = Call("onehot", (Number(0),), type=Type((Dim.of(1),)))  # what a network reads where nothing is observed


def chain_of(spec: Spec, v: Variable) -> str:
    """The ordered plate of a variable, or nothing."""
    return next((p for p in v.plates if spec.plate(p).ordered), "")


def over_several(reader: str, read: str, plates: Sequence[str]) -> str:
    """Why a reading has no words in the language."""
    return f"q({reader}) has to read {read} over {' and over '.join(plates)}"


def _vector_of(latent: Variable) -> Shape:
    """The event axes of a factor's parameters."""
    return (latent.type.support.values,) if guide_family(latent) == "Categorical" else latent.type.shape


def _joined(values: Sequence[Expr]) -> Expr:
    if len(values) == 1:
        return values[0]
    plates = tuple(dict.fromkeys(p for v in values for p in v.type.plates))
    width = sum((v.type.shape[-1] for v in values), start=Dim.of(0))
    return Call("concat", tuple(values), type=Type((width,), REAL, plates))


def _at_site(value: Expr, chain: str, site: int) -> Expr:
    """The same at a site of a chain that is told by its number."""
    kind = value.type.with_(plates=tuple(p for p in value.type.plates if p != chain))
    if isinstance(value, VariableRef):
        numbered = (
            At(chain, Number(site - (s.k if isinstance(s, Lag) else 0)))
            if isinstance(s, Here | Lag) and s.plate == chain
            else s
            for s in value.at
        )
        return replace(value, at=tuple(numbered), type=kind)
    assert isinstance(value, Call | Apply)  # what features are made of
    return replace(value, args=tuple(_at_site(a, chain, site) for a in value.args), type=kind)


def _distribution(
    family: str, raw: Expr, vector: Shape, size: Dim, latent: Variable
) -> tuple[Dist, tuple[Binding, ...]]:
    """The distribution over its parameters, split off one vector."""
    part, heads = Type(vector, REAL, latent.plates), HEADS[family]

    def shaped(value: Expr) -> Expr:
        if not vector:
            return Index(value, (Number(0),), type=part)
        return Call("reshape", (value, *(Number(0) for _ in vector)), type=part) if len(vector) > 1 else value

    if len(heads) == 1 and family != "VonMisesFisher":
        return _of_family(family, {heads[0][0]: shaped(raw)}, latent), ()
    if len(heads) == 1:  # its arguments both read the vector
        way = shaped(LocalRef("way", type=raw.type))
        return _of_family(family, {heads[0][0]: way}, latent), (Binding(("way",), raw),)
    names = tuple(n for n, _ in heads)
    values = {n: shaped(LocalRef(n, type=Type((size,), REAL, latent.plates))) for n in names}
    split = Call("split", (raw, Number(len(heads))), type=raw.type)
    return _of_family(family, values, latent), (Binding(names, split),)


def _of_family(family: str, values: dict[str, Expr], latent: Variable) -> Dist:
    """`Normal(loc=..., scale=softplus(...))`, each parameter from a real number or a vector of them."""
    if family == "VonMisesFisher":
        loc = values["loc"]
        length = loc.type.with_(shape=loc.type.shape[:-1], support=NONNEGATIVE)
        squares = Call("sum", (Call("square", (loc,), type=loc.type.with_(support=NONNEGATIVE)),), type=length)
        return Dist(family, (("loc", loc), ("concentration", Call("sqrt", (squares,), type=length))), type=latent.type)
    arguments = (
        (n, Call(f, (values[n],), type=values[n].type.with_(support=POSITIVE)) if f else values[n])
        for n, f in HEADS[family]
    )
    return Dist(family, tuple(arguments), type=latent.type)
