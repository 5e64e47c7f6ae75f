"""Small random graphs of finite and Gaussian latents on two plates, d and t, every way of reading among them: what sums hold together.

z[d], a[d, t] after a[d-1, t], b: any two or three latents, each on none, one or both plates, after itself or not, reading those
before it at its own sites or at the site before; what is observed reads some of them, and q is written of none or of some. The
generator of whole specs (generate.py) draws the language; this one draws the order in which plates and chains are summed out.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

PLATES = ("bag", "sequence", "2", "sequence(within=d)", "bag(within=d)")


@dataclass
class Graph:
    """The lines of a spec as they come about. plates: d, a sequence, and t. numbers: latents that are Normal."""

    rng: random.Random
    plates: dict[str, str]
    params: list[str] = field(default_factory=list)
    latents: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    numbers: set[str] = field(default_factory=set)
    lines: dict[str, list[str]] = field(default_factory=lambda: {"latent": [], "observed": [], "guide": []})

    def param(self, *shape: str) -> str:
        name = f"w{len(self.params)}"
        self.params.append(f"{name}: [{', '.join(shape)}]")
        return name

    def read(self, reference: str, *shape: str) -> str:
        """A term of a score: a row of a table, or a multiple of a number."""
        if reference[0] in self.numbers:
            return f"{self.param(*shape)} * {reference}"
        return f"{self.param('K', *shape)}[{reference}]"

    def ordered(self, plates: tuple[str, ...]) -> list[str]:
        return [p for p in plates if self.plates[p].startswith("sequence")]

    def places(self) -> list[tuple[str, ...]]:
        return [(), ("d",), ("d", "t"), *([] if "within" in self.plates["t"] else [("t",)])]

    def reads(self, plates: tuple[str, ...]) -> tuple[list[str], list[str], str]:
        """What a variable on these plates reads here, what it reads at the site before, and along which plate that is."""
        here, before = [], []
        along = self.rng.choice([*self.ordered(plates), ""])
        for name, own in self.latents:
            if set(own) <= set(plates) and self.rng.random() < 0.55:
                if along in own and self.rng.random() < 0.4:
                    before.append(site(name, own, along, f"{along}-1"))
                else:
                    here.append(site(name, own))
        return here, before, along if before else ""


def site(name: str, plates: tuple[str, ...], along: str = "", index: str = "") -> str:
    return f"{name}[{', '.join(index if p == along else p for p in plates)}]" if plates else name


def at_first(reference: str, along: str) -> str:
    """What is read at the first site along a plate."""
    name, _, inside = reference.rstrip("]").partition("[")
    return site(name, tuple("0" if p == along else p for p in inside.split(", "))) if inside else name


def small_graph(seed: int) -> str:
    """The text of the spec with this number; with q of some latents where it is odd."""
    rng = random.Random(seed)
    graph = Graph(rng, {"d": "sequence", "t": rng.choice(PLATES)})
    for name in "zab"[: rng.choice((2, 3, 3))]:
        _latent(graph, name, rng.choice(graph.places()))
    for name in "xyu"[: rng.choice((1, 2, 3))]:
        _observed(graph, name, rng.choice(graph.places()))
    if not graph.lines["observed"]:
        graph.lines["observed"].append("x: Normal(0, 1)")
    for name, plates in graph.latents if seed % 2 else ():
        if rng.random() < 0.5:
            q = f"Normal({graph.param()}, 0.7)" if name in graph.numbers else f"Categorical(logits={graph.param('K')})"
            graph.lines["guide"].append(f"{site(name, plates)}: {q}")
    declared = ", ".join(f'{p}: "{kind}"' if kind != "2" else f"{p}: 2" for p, kind in graph.plates.items())
    head = f"lvspec: 1\nsizes: {{K: 2}}\nplates: {{{declared}}}\nparams: {{{', '.join(graph.params)}}}\n"
    return head + "".join(f"{s}:\n" + "".join(f"  {row}\n" for row in rows) for s, rows in graph.lines.items() if rows)


def _latent(graph: Graph, name: str, plates: tuple[str, ...]) -> None:
    here, before, along = graph.reads(plates)
    ordered = [along] if along else graph.ordered(plates)
    if ordered and graph.rng.random() < 0.6:
        along = graph.rng.choice(ordered)
        before.append(site(name, plates, along, f"{along}-1"))

    def score(read: list[str]) -> str:
        return " + ".join([graph.param("K"), *(graph.read(r, "K") for r in read)])

    number = graph.rng.random() < 0.3
    if number:
        graph.numbers.add(name)

    def drawn(read: list[str]) -> str:
        if number:
            return f"Normal({' + '.join(graph.read(r) for r in read) or '0'}, 1)"
        return f"Categorical(logits={score(read)})"

    if along:
        graph.lines["latent"].append(f"{site(name, plates, along, '0')}: {drawn([at_first(r, along) for r in here])}")
    graph.lines["latent"].append(f"{site(name, plates)}: {drawn([*here, *before])}")
    graph.latents.append((name, plates))


def _observed(graph: Graph, name: str, plates: tuple[str, ...]) -> None:
    here, before, along = graph.reads(plates)

    def mean(read: list[str]) -> str:
        return " + ".join(graph.read(r) for r in read) or "0"

    if along:
        first = mean([at_first(r, along) for r in here])
        graph.lines["observed"].append(f"{site(name, plates, along, '0')}: Normal({first}, 1)")
    if here or before:
        graph.lines["observed"].append(f"{site(name, plates)}: Normal({mean([*here, *before])}, 1)")
