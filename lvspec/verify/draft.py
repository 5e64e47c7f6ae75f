"""The sections of a random spec as they fill up: declarations made on demand, scores that add up contributions."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Parent:
    """What a score may depend on. kind: category | switch (an index), vector. size: of its support, or its length.
    text: how it is read, where that is not by its name and its plates."""

    name: str
    plates: tuple[str, ...]
    kind: str
    size: str
    text: str = ""

    @property
    def ref(self) -> str:
        return self.text or (f"{self.name}[{', '.join(self.plates)}]" if self.plates else self.name)


@dataclass
class Draft:
    rng: random.Random
    name: str
    sizes: dict[str, int] = field(default_factory=dict)
    plates: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    networks: dict[str, str] = field(default_factory=dict)
    latent: dict[str, str] = field(default_factory=dict)
    let: dict[str, str] = field(default_factory=dict)
    observed: dict[str, str] = field(default_factory=dict)
    guide: dict[str, str] = field(default_factory=dict)
    infer: dict[str, str] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)
    outer: str = ""  # the ragged plate that `line` lies within, if there is one
    line: str = ""  # the ragged plate, if x has one
    ordered: bool = False
    plate: str = ""  # the fixed plate, if there is one
    plate_size: str = ""
    symbols: bool = False  # whether x is categorical
    width: str = ""  # of x: its vocabulary or length
    extra: list[str] = field(default_factory=list)  # further contributions to the score of x
    weighted: bool = False  # whether the KL has a schedule
    bound: str = ""
    counter: int = 0

    # ------------------------------------------------------------ chance and names
    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def choose(self, *options):
        return self.rng.choice(options)

    def some(self, options: list[Parent], most: int) -> list[Parent]:
        return self.rng.sample(options, self.rng.randint(0, min(most, len(options))))

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

    def line_plate(self, kind: str) -> None:
        """The plate of x's sites: none, one, or one within another."""
        if self.chance(0.12):
            self.outer, self.line = "d", "t"
            self.plates |= {"d": kind, "t": "bag(within=d)"}
        elif self.chance(0.85):
            self.line, self.ordered = "t", kind == "sequence"
            self.plates["t"] = kind

    def give(self) -> Parent:
        """u: what every example brings along."""
        plates = self.choose((), self.here)
        if self.chance(0.5):
            here = Parent("u", plates, "vector", self.size("U", 2, 3))
            self.given[here.ref] = "real[U]"
        else:
            here = Parent("u", plates, "category", self.size("U", 2, 3))
            self.given[here.ref] = "category(U)"
        return here

    def fixed_plate(self) -> str:
        if not self.plate:
            self.plate, self.plate_size = "m", self.size("M", 2, 2)
            self.plates["m"] = "M"
        return self.plate

    def param(self, *shape: str) -> str:
        name = self.fresh("w")
        self.params[name] = f"[{', '.join(shape)}]"
        return name

    def network(self, text: str, stem: str = "f", bank: str = "") -> str:
        name = self.fresh(stem)
        self.networks[f"{name}[{bank}]" if bank else name] = text
        return name

    def linear(self, size: str, out: str) -> str:
        return self.network(f"Linear({size}, {out})")

    def mapping(self, size: str, out: str) -> str:
        """A linear layer or a small perceptron."""
        if self.chance(0.6):
            return self.linear(size, out)
        activation = self.choose("tanh", "softplus", "sigmoid", "silu")
        return self.network(f"MLP({size}, {self.size('H', 3, 4)}, {out}, activation={activation})")

    def scale(self, size: str) -> str:
        return self.choose("1", "0.7", f"softplus({self.param(size)})")

    # ------------------------------------------------------------ scores
    def score(self, parents: list[Parent], out: str, here: tuple[str, ...]) -> str:
        """A vector of length `out` at one site: a free table, or contributions of the parents."""
        if not parents:
            fixed = [p for p in here if p == self.plate]
            table = self.param(*[self.plate_size for _ in fixed], out)
            return f"{table}[{', '.join(fixed)}]" if fixed else table
        parents = list(parents)
        parts = []
        near = [p for p in parents if set(p.plates) <= set(here)]
        indices = [p for p in near if p.kind != "vector"]
        vectors = [p for p in near if p.kind == "vector"]
        if len(indices) == 2 and self.chance(0.4):
            table = self.param(indices[0].size, indices[1].size, out)
            parts.append(f"{table}[{indices[0].ref}, {indices[1].ref}]")
            parents = [p for p in parents if p not in indices]
        elif indices and vectors and self.chance(0.4):
            parts.append(self.mixed(indices[0], vectors[0], out))
            parents = [p for p in parents if p not in (indices[0], vectors[0])]
        parts += [self.contribution(p, out, here) for p in parents]
        return " + ".join(parts)

    def mixed(self, index: Parent, vector: Parent, out: str) -> str:
        """One of a bank of networks, or one network that reads both."""
        if self.chance(0.2):
            return f"matmul({self.param(index.size, out, vector.size)}[{index.ref}], {vector.ref})"
        if index.kind == "category" and self.chance(0.5):
            bank = self.network(f"Linear({vector.size}, {out})", "bank", index.size)
            return f"{bank}[{index.ref}]({vector.ref})"
        both = self.network(f"Linear({index.size} + {vector.size}, {out})")
        return f"{both}(concat(onehot({index.ref}), {vector.ref}))"

    def contribution(self, p: Parent, out: str, here: tuple[str, ...]) -> str:
        away = [m for m in p.plates if m not in here]
        if p.kind == "vector":
            matrix = self.chance(0.15)
            near = f"matmul({self.param(out, p.size)}, {p.ref})" if matrix else f"{self.mapping(p.size, out)}({p.ref})"
            return f"sum({near} over {away[0]})" if away else near
        if away:
            return self.summed_index(p, out, away[0])
        form = self.choose("table", "table", "onehot", "embedding")
        if form == "table":
            return f"{self.param(p.size, out)}[{p.ref}]"
        if form == "onehot":
            return f"{self.mapping(p.size, out)}(onehot({p.ref}))"
        words = self.network(f"Embedding({p.size}, {self.size('E', 2, 3)})", "emb")
        return f"{self.linear('E', out)}(tanh({words}({p.ref})))"

    def summed_index(self, p: Parent, out: str, plate: str) -> str:
        """All sites of a fixed plate together."""
        form = self.choose("table", "shared", "flat")
        if form == "table":
            return f"sum({self.param(self.plate_size, p.size, out)}[{plate}, {p.ref}] over {plate})"
        if form == "shared":
            return f"sum({self.param(p.size, out)}[{p.ref}] over {plate})"
        width = f"{self.plate_size}*{p.size}"
        return f"{self.linear(width, out)}(flatten(onehot({p.ref}) over {plate}))"

    def number_score(self, parents: list[Parent], here: tuple[str, ...]) -> str:
        """One real number at a site."""
        function = self.choose("sum", "sum", "mean", "max", "logsumexp")
        return f"{function}({self.score(parents, self.size('P', 2, 3), here)})"

    # ------------------------------------------------------------ what x is
    def declare_observed(self) -> None:
        self.symbols = self.chance(0.6)
        self.width = self.size("V", 3, 4) if self.symbols else self.size("P", 2, 3)

    @property
    def here(self) -> tuple[str, ...]:
        return tuple(p for p in (self.outer, self.line) if p)

    @property
    def x(self) -> str:
        return f"x[{', '.join(self.here)}]" if self.line else "x"

    def fits(self, p: Parent) -> bool:
        """Whether a site of x can depend on it."""
        return set(p.plates) <= {*self.here, self.plate}

    def follows_words(self, p: Parent) -> bool:
        """Whether a site of p depends on earlier words, by itself or through a latent that it reads."""
        names, before = {key.partition("[")[0] for key in self.let}, set()
        while names != before:
            before = names
            names = names | {
                key.partition("[")[0] for key, body in self.latent.items() if names & set(re.findall(r"\w+", body))
            }
        return p.name in names

    def history(self, writers: list[Parent], inside: str = "") -> Parent:
        """h[t]: what came before x[t], as one of the writers would put it; since a segment of `inside` began."""
        words = self.network(f"Embedding(V, {self.size('E', 2, 3)})", "emb")
        kind = self.choose("LSTM", "GRU", "RNN")
        hidden = self.size("H", 3, 4)
        if writers:
            who = self.choose(*writers)
            writer = self.network(f"{kind}(E, {hidden})", "rnn", who.size) + f"[{who.ref}]"
        else:
            writer = self.network(f"{kind}(E, {hidden})", "rnn")
        self.let[f"h[{self.line}]"] = f"{writer}({words}(x[<{self.line}{inside and f' in {inside}'}]))"
        return Parent("h", (self.line,), "vector", "H")

    # ------------------------------------------------------------ text
    def text(self) -> str:
        if self.infer:
            self.infer["samples"] = "2"
        if self.bound:
            self.infer["bound"] = self.bound
        sections = ("sizes", "plates", "given", "params", "networks", "latent", "let", "observed", "guide", "infer")
        rows = ["lvspec: 1", f"name: {self.name}"]
        for section in sections:
            entries = getattr(self, section)
            if entries:
                rows.append(f"{section}:")
                rows += [f"  {key}: {value}" for key, value in entries.items()]
        if self.weighted:
            rows += ["train:", "  kl_weight: linear(0, 1, steps=10)"]
        return "\n".join(rows) + "\n"
