"""A guide that nobody wrote, as the lines of a spec: what each factor reads decides its networks.

    z[t] reads z[t-1] and x[>=t]        networks:
                                          read_x: Embedding(V, 64)
                                          after_x: LSTM(64, 64)
                                          ...
                                        guide:
                                          z[t]: Normal(...) where ... = split(guide_z(concat(z[t-1], after_x(read_x(x[>=t])))))

| read is                      | as a vector                                                                  |
|------------------------------|------------------------------------------------------------------------------|
| a symbol                     | its embedding; of a latent that is summed or drawn, the one-hot vector       |
| a vector, a number           | itself                                                                       |
| a stretch of a sequence      | the state of an LSTM; of all of it at each site, that of one in both ways    |
| all of a bag                 | the mean over its sites; beside it, where the latent has such sites, its own  |
| all of a fixed plate         | its sites side by side                                                       |
The factor's parameters come out of one MLP.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import prod

from lvspec.ir.dims import Dim, ragged_plate
from lvspec.ir.expr import SizeRef
from lvspec.ir.spec import Spec, Variable
from lvspec.ir.words import LISTED
from lvspec.plan.guides.families import HEADS, family_reason, guide_family, taken_over
from lvspec.plan.guides.inverse import BEFORE, FAMILIES, FROM, HERE_ONLY, THROUGH, WHOLE, Reading
from lvspec.plan.guides.mean_field import WIDTH

STRETCH = {FROM: ">=", THROUGH: "<="}


class Underivable(Exception):
    """Why a guide has to be written by hand."""


@dataclass
class GuideLines:
    """params, networks and guide: lines by name, in order. together: many readings, as one vector of the guide."""

    spec: Spec
    params: dict[str, str] = field(default_factory=dict)
    networks: dict[str, str] = field(default_factory=dict)
    guide: dict[str, str] = field(default_factory=dict)
    together: dict[tuple[Reading, ...], Feature] = field(default_factory=dict)

    def network(self, name: str, kind: str, *sizes: object) -> str:
        """The name under which a network is declared, which no other thing of the spec has."""
        return self._declare(self.networks, name, f"{kind}({', '.join(map(str, sizes))})")

    def param(self, name: str, shape: tuple) -> str:
        """The name under which a free tensor is declared."""
        return self._declare(self.params, name, f"[{', '.join(map(str, shape))}]")

    def computed(self, name: str, text: str) -> str:
        """The name under which a value of an example stands in the guide."""
        return self._declare(self.guide, name, text)

    def _declare(self, rows: dict[str, str], name: str, text: str) -> str:
        while name in self.spec.names or rows.get(name, text) != text:
            name += "_2"
        rows[name] = text
        return name

    def text(self) -> str:
        """As they stand in a spec."""
        parts = [("params", self.params), ("networks", self.networks), ("guide", self.guide)]
        return "".join(f"{k}:\n" + "".join(f"  {n}: {t}\n" for n, t in rows.items()) for k, rows in parts if rows)


@dataclass(frozen=True)
class Feature:
    """What a factor is given: text, in which @ stands for its site along the ordered plate; its length; how many sites
    earlier it is of."""

    text: str
    size: Dim
    earlier: int = 0


def derived_guide(spec: Spec, latents: list[str], family: str) -> str:
    """`networks:` and `guide:` of the latents, by the family that is named. Underivable where there is none."""
    lines, partial = GuideLines(spec), []
    for name in (n for n in latents if spec.variable(n).outside_batch):
        _free(lines, spec.variable(name))
    for name, reads in FAMILIES[family](spec, [n for n in latents if not spec.variable(n).outside_batch]).items():
        _factor(lines, spec.variable(name), reads)
        partial += [
            f"# q({name}) is not faithful: it would read all sites of {r.name} before its own"
            for r in reads
            if r.partial
        ]
    return "".join(f"{line}\n" for line in partial) + lines.text()


def _factor(lines: GuideLines, latent: Variable, reads: list[Reading]) -> None:
    """The lines of one factor; where it reads earlier sites, one for each of the first sites, which lack some of them."""
    data = [] if latent.plates else [r for r in reads if lines.spec.variable(r.name).role != "latent"]
    features = []
    if len(data) > LISTED:
        features, reads = [_together(lines, latent, tuple(data))], reads[len(data) :]
    for reading in reads:
        if reading.name != latent.name or reading.ways != _own(latent):
            features += _features(lines, latent, reading)
    chain = chain_of(lines.spec, latent)
    for site in range(max((f.earlier for f in features), default=0)):
        _clause(lines, latent, [f for f in features if f.earlier <= site], "first_", chain, str(site))
    _clause(lines, latent, features, "guide_", chain, chain)


def _together(lines: GuideLines, latent: Variable, data: tuple[Reading, ...]) -> Feature:
    """What is read of the data, written once for all factors that read it."""
    if data not in lines.together:
        seen = [f for r in data for f in _features(lines, latent, r)]
        own = f"seen_{latent.name}" if lines.together else "seen"
        name = lines.computed(own, f"concat({', '.join(f.text for f in seen)})")
        lines.together[data] = Feature(name, sum((f.size for f in seen), start=Dim.of(0)))
    return lines.together[data]


def _free(lines: GuideLines, latent: Variable) -> None:
    """What all examples share has no example to be read from: the parameters of its factor are free."""
    lines.guide[_place(latent, latent.plates, "", "")] = _of_parameters(lines, latent)


def _of_parameters(lines: GuideLines, latent: Variable, head: str = "") -> str:
    """The family of the latent's support with free parameters, of each site of plates of a known size."""
    family, plates = guide_family(latent), [p for p in latent.plates if not lines.spec.plate(p).ragged]
    vector = (latent.type.support.values,) if family == "Categorical" else latent.type.shape
    shape = (*(lines.spec.plate(p).size for p in plates), *vector)
    at = f"[{', '.join(plates)}]" if plates else ""
    values = {n: lines.param(f"{head}{n}_{latent.name}", shape) + at for n, _ in HEADS[family]}
    return _of_family(_written(latent), _known(latent) | values)


def _written(latent: Variable) -> str:
    """The family as the language calls it, in which some categories are vectors."""
    return "OneHotCategorical" if latent.one_hot else guide_family(latent)


def _own(latent: Variable) -> tuple[tuple[str, str], ...]:
    """How other sites of an unordered plate are told: not at all."""
    return tuple((p, HERE_ONLY) for p in latent.plates)


def chain_of(spec: Spec, v: Variable) -> str:
    """The ordered plate of a variable, or nothing."""
    return next((p for p in v.plates if spec.plate(p).ordered), "")


def _place(v: Variable, plates: tuple[str, ...], chain: str, site: str) -> str:
    at = ", ".join(site if p == chain else p for p in plates)
    return f"{v.name}[{at}]" if at else v.name


def _clause(lines: GuideLines, latent: Variable, features: list[Feature], head: str, chain: str, site: str) -> None:
    """The family of the latent's support over the parameters that an MLP gives."""
    spec, family = lines.spec, guide_family(latent)
    if family == "Categorical" and latent.type.shape:
        raise Underivable(f"{latent.name} is a vector of categories")
    if reason := family_reason(spec, latent):
        raise Underivable(reason)
    vector = (latent.type.support.values,) if family == "Categorical" else latent.type.shape
    place, heads = _place(latent, latent.plates, chain, site), HEADS[family]
    if not features:
        lines.guide[place] = _of_parameters(lines, latent, head)
        return
    total = prod(vector, start=Dim.of(1)) * len(heads)
    joined = re.sub(r"@(-\d+)?", lambda m: _earlier(site, m[1] or ""), ", ".join(f.text for f in features))
    joined = f"concat({joined})" if len(features) > 1 else joined
    fixed = [p for p in latent.plates if not spec.plate(p).ragged and not re.search(rf"[\[ ]{p}\]", joined)]
    copies = [spec.plate(p).extent for p in fixed]
    width = sum((f.size for f in features), start=Dim.of(0))
    mlp = lines.network(f"{head}{latent.name}", "MLP", width, WIDTH, prod(copies, start=total))
    raw = f"{mlp}({joined})"
    if fixed:
        raw = f"reshape({raw}, {', '.join(map(str, (*copies, total)))})[{', '.join(fixed)}]"
    lines.guide[place] = _drawn(_written(latent), heads, raw, vector, _known(latent))


def _earlier(site: str, back: str) -> str:
    """`t-1`; of a site that is a number, the number."""
    return str(int(site) + int(back or 0)) if site.isdigit() else site + back


def _known(latent: Variable) -> dict[str, str]:
    """What q takes over from p, as text."""
    return {n: str(e.dim if isinstance(e, SizeRef) else e.value) for n, e in taken_over(latent)}


def _drawn(family: str, heads: tuple, raw: str, vector: tuple, known: dict[str, str]) -> str:
    """`Normal(loc, softplus(scale)) where loc, scale = split(raw)`."""

    def shaped(value: str) -> str:
        if not vector:
            return f"{value}[0]"
        return f"reshape({value}, {', '.join(map(str, vector))})" if len(vector) > 1 else value

    if family == "VonMisesFisher":
        return f"VonMisesFisher({shaped('way')}, sqrt(sum(square({shaped('way')})))) where way = {raw}"
    names = ", ".join(n for n, _ in heads)
    listed = _of_family(family, known | {n: shaped(n if len(heads) > 1 else raw) for n, _ in heads})
    return listed + (f" where {names} = split({raw})" if len(heads) > 1 else "")


def _of_family(family: str, values: dict[str, str]) -> str:
    """`Normal(loc=..., scale=softplus(...))`, each parameter from a real number or a vector of them."""
    if family == "VonMisesFisher":
        return f"VonMisesFisher({values['loc']}, sqrt(sum(square({values['loc']}))))"
    functions = dict(HEADS[family.removeprefix("OneHot")])
    listed = (f"{n}={functions[n]}({v})" if functions.get(n) else f"{n}={v}" for n, v in values.items())
    return f"{family}({', '.join(listed)})"


def _features(lines: GuideLines, latent: Variable, reading: Reading) -> list[Feature]:
    """A reading as vectors."""
    spec, source = lines.spec, lines.spec.variable(reading.name)
    far = [(p, way) for p, way in reading.ways if way != HERE_ONLY]
    chain = chain_of(spec, latent)
    if len(far) > 1 or far and (far[0][0] != source.plates[-1] or len(source.plates) > 1 and far[0][1] != BEFORE):
        raise Underivable(f"q({latent.name}) has to read {source.name} over {' and over '.join(p for p, _ in far)}")
    here = _place(source, source.plates, chain, "@")
    if not far:
        return [_vector(lines, source, here)]
    ((plate, way),) = far
    if way == BEFORE:
        now = [_vector(lines, source, here)] if reading.both else []
        before = {k: _vector(lines, source, _place(source, source.plates, chain, f"@-{k}")) for k in reading.back}
        return [*now, *(Feature(f.text, f.size, k) for k, f in before.items())]
    if way in STRETCH or spec.plate(plate).ordered and plate in latent.plates:
        return [_states(lines, source, plate, way)]
    whole = _vector(lines, source, source.name)
    if not spec.plate(plate).ragged:
        return [Feature(f"flatten({whole.text})", whole.size * spec.plate(plate).extent)]
    if not spec.plate(plate).ordered:  # its own site, where the latent has it, and all of them
        own = [_vector(lines, source, here)] if plate in latent.plates else []
        return [*own, Feature(f"mean({whole.text})", whole.size)]
    state = lines.network(f"scan_{source.name}", "LSTM", whole.size, WIDTH)
    return [Feature(f"last({state}({whole.text}))", Dim.of(WIDTH))]


def _states(lines: GuideLines, source: Variable, plate: str, way: str) -> Feature:
    """What lies on one side of each site, or on both, as a variable of the guide."""
    word = {FROM: "after", THROUGH: "until", WHOLE: "sites"}[way]
    stretch = f"{source.name}[{STRETCH[way]}{plate}]" if way in STRETCH else source.name
    inner = _vector(lines, source, stretch)
    kind, width = ("BiLSTM", 2 * WIDTH) if way == WHOLE else ("LSTM", WIDTH)
    network = lines.network(f"{word}_{source.name}", kind, inner.size, WIDTH)
    name = f"states_{source.name}" if way == WHOLE else f"states_{word}_{source.name}"
    lines.guide[f"{name}[{plate}]"] = f"{network}({inner.text})" + (f"[{plate}]" if way == WHOLE else "")
    return Feature(f"{name}[@]", Dim.of(width))


def _vector(lines: GuideLines, source: Variable, text: str) -> Feature:
    """One site, or a stretch, with a vector at each."""
    kind, shape = source.type.support, source.type.shape
    if kind.kind == "integer" and not shape:
        if (plate := ragged_plate(kind.values)) is not None:
            raise Underivable(
                f"the values of {source.name} are the sites of plate {plate}, which have no vectors of their own"
            )
        if source.role == "latent":
            return Feature(text if source.one_hot else f"onehot({text})", kind.values)
        return Feature(
            f"{lines.network(f'read_{source.name}', 'Embedding', kind.values, WIDTH)}({text})", Dim.of(WIDTH)
        )
    if len(shape) == 1:
        return Feature(text, shape[0])
    return Feature(f"flatten({text})", prod(shape, start=Dim.of(1)))
