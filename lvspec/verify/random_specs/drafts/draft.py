"""The sections of a random spec as they fill up: declarations made on demand, names, and chance that heeds wishes."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import prod

from lvspec.verify.random_specs.coverage import LATECOMERS
from lvspec.verify.random_specs.text import matched

STATES = 150  # joint assignments of the finite latents of one example at most: brute force names each
STATES_OF_PARTS = 64  # where other parts are there to be computed, too
PRIORS = {  # of parameters, by family
    "Normal": "Normal(0.5, 2)",
    "Laplace": "Laplace(0, scale=0.5)",
    "StudentT": "StudentT(3)",
    "Beta": "Beta(2, 1.5)",
    "Dirichlet": "Dirichlet(1.5)",
    "Cauchy": "Cauchy(0.5, 2)",
}
SETTINGS = ("infer", "objective", "train")  # sections without which the model is the same
SECTIONS = (
    "sizes",
    "plates",
    "given",
    "params",
    "networks",
    "latent",
    "let",
    "observed",
    "guide",
    "objective",
    "infer",
)


@dataclass(frozen=True)
class Parent:
    """What a score may depend on. kind: category | switch (an index) | number | vector. size: of its support, or its length.
    text: how it is read, where that is not by its name and its plates. family: that it is drawn from, of a latent."""

    name: str
    plates: tuple[str, ...]
    kind: str
    size: str
    text: str = ""
    family: str = ""

    def __post_init__(self) -> None:
        assert bool(self.size) == (self.kind != "number"), self

    @property
    def ref(self) -> str:
        return self.text or named(self.name, self.plates)

    @property
    def finite(self) -> bool:
        return self.kind in ("category", "switch")


def named(name: str, indices: Sequence[str]) -> str:
    return f"{name}[{', '.join(indices)}]" if indices else name


@dataclass
class Draft:
    """wishes: constructs (constructs.py) that the spec should hold; a choice between several falls on them."""

    rng: random.Random
    name: str
    wishes: set[str] = field(default_factory=set)
    sizes: dict[str, int] = field(default_factory=dict)
    plates: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    networks: dict[str, str] = field(default_factory=dict)
    latent: dict[str, str] = field(default_factory=dict)
    let: dict[str, str] = field(default_factory=dict)
    observed: dict[str, str] = field(default_factory=dict)
    guide: dict[str, str] = field(default_factory=dict)
    objective: dict[str, str] = field(default_factory=dict)
    infer: dict[str, str] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)
    train: dict[str, str] = field(default_factory=dict)
    head: list[str] = field(default_factory=list)  # lines before the sections
    tail: list[str] = field(default_factory=list)  # and after them
    parts: int = 1  # that the spec is made of
    x: str = "x"  # what the part that is being written observes first
    mark: str = ""  # behind the names that this part alone has
    here: tuple[str, ...] = ()  # the plates of x
    kinds: dict[str, str] = field(default_factory=dict)  # of each plate: sequence | bag | fixed
    nested: dict[str, str] = field(default_factory=dict)  # a plate -> the one that it lies within
    plate: str = ""  # a fixed plate beside those of x, if there is one
    plate_size: str = ""
    symbols: bool = False  # whether x is categorical
    width: str = ""  # of x: its vocabulary, or length; "" of a single number
    states: int = 1  # joint assignments of the finite latents so far
    parents: list[Parent] = field(default_factory=list)  # what later variables may depend on, in order
    latents: list[Parent] = field(default_factory=list)
    bindings: list[str] = field(default_factory=list)  # `where` of the clause that is being written
    binds: bool = False  # whether that clause may have a `where`
    ranks: dict[str, float] = field(default_factory=dict)  # of plates, in the order that variables have them in
    guiding: bool = False  # whether the distribution that is being written is a guide's
    extra: list[str] = field(default_factory=list)  # further contributions to the score of x
    zest: float = 1.0  # how much is drawn that nobody asked for
    counter: int = 0

    def another(self, mark: str) -> None:
        """A second part begins, with an x of its own, which may read what is there."""
        self.mark, self.x, self.here, self.width, self.symbols = mark, f"x{mark}", (), "", False
        self.extra = []
        self.wishes = {w for w in self.wishes if not w.startswith("!") or w == "!points"}

    # ------------------------------------------------------------ chance and names
    def chance(self, p: float) -> bool:
        return self.rng.random() < p * self.zest

    def choose(self, *options):
        return self.rng.choice(options)

    def wants(self, construct: str, p: float = 0.0) -> bool:
        """Whether to draw it: with this probability, or because it is wished for."""
        wished = construct in self.wishes
        self.wishes.discard(construct)
        return self.rng.random() < (0.95 if wished else p * self.zest)

    def pick(self, form: str, options: Sequence[str], weights: Sequence[float] | None = None) -> str:
        """One of the options; of those whose construct, `form` with the option in its braces, is wished for, where there are any."""
        wished = [o for o in options if form.format(o) in self.wishes]
        chosen = self.rng.choice(wished) if wished else self.rng.choices(options, weights)[0]
        self.wishes.discard(form.format(chosen))
        return chosen

    def wished(self, form: str, options: Sequence[str]) -> list[str]:
        return [o for o in options if form.format(o) in self.wishes]

    def some(self, options: Sequence[Parent], most: int) -> list[Parent]:
        return self.rng.sample(list(options), self.rng.randint(0, min(most, len(options))))

    def own(self, name: str) -> str:
        """A name that each part has once."""
        return name + self.mark

    def fresh(self, stem: str) -> str:
        self.counter += 1
        return f"{stem}{self.counter}"

    # ------------------------------------------------------------ declarations
    def size(self, name: str, least: int, most: int) -> str:
        """The size of that name, declared on first use."""
        self.sizes.setdefault(name, self.rng.randint(least, most))
        return name

    def number(self, size: str) -> int:
        return int(size) if size.isdigit() else self.sizes[size]

    def extent(self, plate: str) -> int:
        """Sites of a plate, as brute force will meet them."""
        if self.kinds[plate] == "fixed":
            return 2
        return 3 if sum(self.kinds[p] != "fixed" for p in self.kinds) == 1 else 2

    def room(self, values: int, plates: Sequence[str], times: int = 1) -> bool:
        """Whether brute force can bear another finite latent; counts it if so."""
        joint = values ** (times * prod(self.extent(p) for p in plates))
        if self.states * joint > (STATES_OF_PARTS if self.parts > 1 else STATES):
            return False
        self.states *= joint
        return True

    def param(self, *shape: str) -> str:
        name = self.fresh("w")
        self.params[name] = self._declared(shape)
        return name

    def _declared(self, shape: tuple[str, ...]) -> str:
        """A parameter's shape, and now and then how it begins or that it stands still."""
        axes = f"[{', '.join(shape)}]"
        rules = {
            "normal": "normal(0, 0.5)",
            "uniform": "uniform(-1, 1)",
            "constant": self.choose("constant(1)", "constant(-1)"),
            "zeros": "zeros",
            "ones": "ones",
        }
        if len(shape) == 2:
            rules["orthogonal"] = "orthogonal"
            if shape[0] == shape[1]:
                rules["eye"] = "eye(0.5)"
        entries = [f"shape: {axes}"]
        if self.wished("init {}", list(rules)) or self.chance(0.04):
            entries.append(f'init: "{rules[self.pick("init {}", list(rules))]}"')
        if self.wants("frozen", 0.02):
            entries.append("frozen: true")
        elif (of := [f for f in PRIORS if shape or f != "Dirichlet"]) and (
            self.wished("prior {}", of) or self.chance(0.01)
        ):
            family = self.pick("prior {}", of, [f not in LATECOMERS for f in of])
            entries.append(f'prior: "{PRIORS[family]}"')
        return f"{{{', '.join(entries)}}}" if len(entries) > 1 else axes

    def network(self, text: str, stem: str = "f", bank: str = "") -> str:
        name = self.fresh(stem)
        self.networks[f"{name}[{bank}]" if bank else name] = text
        return name

    def remember(self, *found: Parent) -> None:
        self.parents.extend(found)
        self.latents.extend(found)

    # ------------------------------------------------------------ what a site can read
    @property
    def near(self) -> tuple[str, ...]:
        """The plates that a factor of x can meet: its own, and the one beside."""
        return (*self.here, *((self.plate,) if self.plate else ()))

    @property
    def line(self) -> str:
        """The last ordered plate of x, or none."""
        return next((p for p in reversed(self.here) if self.kinds[p] == "sequence"), "")

    @property
    def spoken(self) -> bool:
        """Whether x is written already."""
        return any(matched(re.match(r"\w+", key))[0] == self.x for key in self.observed)

    @property
    def alone(self) -> bool:
        """Whether x stands on one sequence and nothing else."""
        return self.here == (self.line,) and bool(self.line)

    def order(self, plates: Iterable[str]) -> tuple[str, ...]:
        """The plates in the order that all variables have them in."""
        return tuple(sorted(plates, key=lambda p: (self.ranks.setdefault(p, self.rank_of(p)), p)))

    def rank_of(self, plate: str) -> float:
        """Those of x as x has them; another one anywhere among them."""
        return self.here.index(plate) if plate in self.here else self.rng.uniform(-1, len(self.here))

    def stand(self, role: str, most: int = 2) -> tuple[str, ...]:
        """Plates for another variable: none, some of x's with what they lie within, the one beside."""
        options: list[tuple[str, ...]] = [()]
        chain = list(self.here)
        for p in self.near:
            around = (self.nested[p], p) if p in self.nested else (p,)
            options += [around, *((*around, q) for q in self.near if q not in around and q not in self.nested)]
        options += [tuple(chain)] if chain else []
        options += [self.near] if self.plate else []
        options = [self.order(o) for o in options if len(o) <= most]
        wished = [o for o in options if self._standing(role, o) & self.wishes]
        chosen = self.choose(*(wished or options))
        self.wishes -= self._standing(role, chosen)
        return chosen

    def _standing(self, role: str, plates: tuple[str, ...]) -> set[str]:
        """The constructs that a variable on these plates is."""
        three = {f"{role} on three plates"} if len(plates) == 3 else set()
        return three | {f"{role} on {' × '.join(self.kinds[p] for p in plates)}" if plates else f"{role} alone"}

    def readable(self, plates: Sequence[str], most: int = 2, among: Sequence[Parent] | None = None) -> list[Parent]:
        """Some parents that a site on these plates can read: at the site, or over a plate that it does not stand on."""
        found = self.parents if among is None else among
        return self.some([p for p in found if self.meets(p, plates)], most)

    def meets(self, p: Parent, plates: Sequence[str]) -> bool:
        away = [q for q in p.plates if q not in plates]
        if away and not self.spoken and self.follows_words(p):
            return False  # words would depend on a latent that reads all of them
        over = [q for q in away if self.kinds[q] == "fixed" or not p.finite]
        return away == over and len(away) <= 1

    def mentions(self, p: Parent) -> bool:
        """Whether some clause of the model other than its own reads it."""
        clauses = {
            k: v
            for k, v in {**self.latent, **self.let, **self.observed}.items()
            if matched(re.match(r"\W*(\w+)", k))[1] != p.name
        }
        return any(re.search(rf"\b{p.name}\b", v) for v in clauses.values())

    def follows_words(self, p: Parent) -> bool:
        """Whether a site of p depends on words, by itself or through a latent that it reads."""
        names, before = {key.partition("[")[0] for key in (*self.let, *self.observed)}, set[str]()
        while names != before:
            before = names
            names = names | {
                key.partition("[")[0] for key, body in self.latent.items() if names & set(re.findall(r"\w+", body))
            }
        return p.name in names

    # ------------------------------------------------------------ text
    def where(self, text: str) -> str:
        """A clause with what its expressions have bound."""
        bound, self.bindings, self.binds = self.bindings, [], False
        return f"{text} where {'; '.join(bound)}" if bound else text

    def guided(self, name: str) -> bool:
        """Whether a latent has a q of its own."""
        return any(re.match(rf"\W*{name}\b", key) for key in self.guide)

    def take_back(self, refused: Sequence[tuple[int, str]]) -> bool:
        """Without the settings that are refused, each by the line of the text that it stands on, or by what is said of it, or
        without the last one where that tells of none."""
        places = {}
        for number, line in enumerate(self.text().splitlines(), start=1):
            if not line.startswith(" "):
                section = line.partition(":")[0]
            elif section in SETTINGS:
                places[number] = (section, line.strip().partition(": ")[0])
        gone = []
        for at, why in refused:
            words = set(re.findall(r"\w+", why.replace("free bits", "free_bits").replace("gradient", "bound")))
            said = [p for p in places.values() if matched(re.match(r"\w+", p[1]))[0] in words]
            gone += [places[at]] if at in places else said[-1:]
        gone = gone or list(places.values())[-1:]
        for section, key in gone:
            getattr(self, section).pop(key, None)
        return bool(gone)

    def text(self) -> str:
        rows = ["lvspec: 1", f"name: {self.name}", *self.head]
        for section in SECTIONS:
            entries = getattr(self, section)
            if entries:
                rows.append(f"{section}:")
                rows += [f"  {key}: {value}" for key, value in entries.items()]
        rows += self.tail
        if self.train:
            rows += ["train:", *(f"  {key}: {value}" for key, value in self.train.items())]
        return "\n".join(rows) + "\n"
