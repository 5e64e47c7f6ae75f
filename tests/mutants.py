"""Mutants of whole models: a spec is read as a tree, its parts are changed, it is printed again and goes all the way.

python tests/mutants.py 10000 0 faults/     how many, the seed, and a folder for the texts: each distinct fault once

Changes of characters break a text before it means anything: of a hundred such mutants fourteen are specs. These keep the form: a part
of an expression gives way to one of another spec, an argument to a literal, a plate becomes one of another kind, an option
takes a value that nobody would write. So they reach the types, the planner, its prices and the emitter.
"""

import mmap
import os
import random
import re
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).parent / "front"))
from good_specs import CONSTRUCTS

from lvspec import driver
from lvspec.emit import emit
from lvspec.errors import SpecError, UsageError
from lvspec.explain import as_data, as_text
from lvspec.graph import draw
from lvspec.ir.distributions import FAMILIES
from lvspec.ir.functions import FUNCTIONS
from lvspec.verify.random_specs.generate import generate

LONGEST = 2.0  # seconds of the processor that one spec may take
LARGEST = 500 << 20  # bytes that it may take
CHUNK = 200  # mutants of one process
SPECS = Path(__file__).parents[1] / "specs"
MODEL = ("latent", "let", "observed", "guide", "objective")
NUMBERS = (0, 1, 2, -1, 3, 0.5, -0.0, 1e30, -1e30, 1e-300, 1e308, 3000000, 300000000, 10**15, 10**400, 2.5, 26, 27)
PLATES = (
    "sequence", "bag", "sequence(end=EOS)", "bag(counts=true)", "sequence(null=true)", "sequence(within={p})", "copy({p})", "segments({p}, max=3)",
    "bag(within={p})", 1, 2, 3, 0, 40, 1000000, "{s}", {"length": "{v}", "max": 3}, {"length": "{v} + 1", "max": "{s}"}, "sequence(within={p}, end=EOS)",
)  # fmt: skip
SIZES = (
    0, 1, 2, 3, 27, 64, 10**4, 10**6, 10**9, 10**14, -1, 1.5, "vocabulary({v})", "categories({v})", "features({v})", "vocabulary({v}, nominal=3)",
    "{s}", "2*{s}", "{s} - 1", "{s} * {s} * {s}",
)  # fmt: skip
SHAPES = ([], [1], ["{s}"], ["{s}", "{s}"], ["{s}", "{s}", "{s}"], [0], [10**9], ["2*{s}"], [3, "{s}"], ["{p}"])
RULES = (
    "constant(-1)", "constant(1e400)", "zeros", "ones", "normal(0, -1)", "normal(0, 0)", "uniform(1, 0)", "orthogonal", "eye(2)", "eye", "xavier",
    "constant", "normal(0, 1, 2)", -1, "unigram(0.1)",
)  # fmt: skip
NETWORKS = (
    "Linear({s}, {s})", "Linear({s}, {s}, {s})", "MLP({s}, {s}, {s})", "MLP({s}, 0)", "Embedding({s}, {s})", "LSTM({s}, {s})", "GRU({s}, {s}, layers=0)",
    "BiLSTM({s}, {s}, layers=100000)", "DilatedConvolution({s}, {s}, layers=60)", "DilatedConvolution({s}, {s}, kernel=1000000)", "Dropout({s}, p=2)",
    "LayerNorm({s})", "Planar({s})", "Radial({s}, {s})", "Coupling({s}, {s}, steps=100000)", "InverseAutoregressive({s}, {s})", "zuko.NSF({s}, {s}, bins=0)",
    "MaskedAutoregressive({s}, {s}, {s})", "Linear({s}, {s}, tied={n})", "MLP({s}, {s}, tied={n}, activation=foo)", "Module(a.B, in=[{s}], out=[{s}])",
    "Module(a.B, in=[{s}], out=[{s}], reads=whole)", "Embedding({s}, {s}, tied={n})",
)  # fmt: skip
GIVEN = (
    "token({s})",
    "category({s})",
    "real[{s}]",
    "positive[{s}]",
    "unit[{s}]",
    "count",
    "boolean",
    "real[{s}, {s}]",
    "real",
    "token(0)",
)
METHODS = (
    "enumeration", "dynamic_programming", "marginals", "mean_field", "structured_mean_field", "reparameterization", "reinforce", "reinforce(samples=1)",
    "reinforce(samples=0)", "reinforce(samples=1000000, baseline=learned)", "relax", "disarm", "gumbel_softmax(temperature=linear(1, 0.1, steps=10000))",
    "gumbel_softmax(temperature=0)", "straight_through", "sum_and_sample(samples=1)", "without_replacement(samples=30)", "subset(samples=2)", "stratified",
    "stratified(samples=7)", "reparameterization(refine=5, rate=0.1)", "reparameterization(samples=3)", "kalman", "linear_gaussian", "conjugate", "conjugacy",
    "mean_field(steps=0)", "reinforce(baseline=moving_average, samples=1)", "reparameterization(refine=1000000)", 3, None, "nothing",
)  # fmt: skip
INFER = {
    "guide": ("mean_field", "structured", "inverse", "odd"),
    "samples": NUMBERS,
    "budget_flops": NUMBERS,
    "budget_bytes": NUMBERS,
    "memory": ("lean", "fat", 1),
    "B": NUMBERS,
    "|t|": NUMBERS,
    "bound": (
        "elbo", "elbo(gradient=sticking_the_landing)", "iwae(samples=5)", "iwae(samples=0)", "renyi(samples=2, alpha=0.5)", "renyi(alpha=1)",
        "reweighted_wake_sleep", "iwae(gradient=doubly_reparameterized)", "iwae(samples=10000000)", "odd",
    ),
}  # fmt: skip
TRAIN = {
    "kl_weight": (
        0,
        1,
        -1,
        "linear(0, 1, steps=0)",
        "linear(0, 1, steps=10)",
        "cyclical(0, 1, period=0)",
        "cyclical(0, 1, period=5)",
        {"{v}": 0.5},
        "x",
    ),
    "free_bits": (0, 3, -1, "dimension(0.25)", "node(3)", "dimension(-1)", {"{v}": "node(3)"}, "x"),
    "epochs": NUMBERS,
    "method": ("em", "hard_em", "gradient"),
    "inference": ("aggressive", "alternating"),
    "learning_rate": NUMBERS,
    "word_dropout": NUMBERS,
}
INDICES = (
    "{p}",
    "{p}-1",
    "{p}-2",
    "{p}+1",
    "<{p}",
    "<={p}",
    ">={p}",
    ">{p}",
    "0",
    "1",
    "7",
    "{p} - 3000000",
    "<{p} in {v}",
    "-1",
    "{v}",
    "{v}[{p}]",
)
EXPRESSIONS = (
    "{v}", "{v}[{i}]", "{v}[{i}, {i}]", "{q}", "{q}[{v}]", "{q}[{v}[{i}]]", "{n}({e})", "{n}({e})[{p}]", "{f}({e})", "{f}({e}, {e})", "{f}({e} over {p})",
    "{e} + {e}", "{e} * {e}", "{e} - {e}", "{e} / {e}", "{e} ** {e}", "-{e}", "{number}", "{s}", "1 / {s}", "log({e})", "exp({e})", "softplus({e})",
    "onehot({v}[{i}])", "onehot({v})", "last({v})", "length({v})", "concat({e}, {e})", "{p}", "0 over {p}", "clip({e}, {s})", "equal({e}, {e})",
    "less({p}, {e})", "matmul({q}, {e})", "dot({e}, {e})", "softmax({e} over {p})", "reshape({e}, {s}, {s})", "detach({e})", "known({v})",
    "log_prob({v}[{i}], {d})", "expected({e})", "{n}[{v}]({e})",
)  # fmt: skip
WRAPS = (
    "exp({e})", "softplus({e})", "sigmoid({e})", "tanh({e})", "detach({e})", "(-{e})", "({e} + {e})", "({e} * {e})", "({e} + 1)", "(0.5 * {e})", "({e} / 3)",
    "({e} - {e})", "square({e})", "abs({e})", "relu({e})", "(1 - sigmoid({e}))", "log(1 + exp({e}))", "sum({e})", "max({e})", "softmax({e})",
    "log_softmax({e})", "concat({e}, {e})", "{e}[0]", "0", "1", "0.5", "(2 * {e} ** 2)", "logsumexp({e})", "onehot({e})", "mean({e})", "prod({e})",
)  # fmt: skip


@dataclass
class Spec:
    """A spec as a tree of sections, and what its expressions may name."""

    tree: dict

    def names(self, *sections: str) -> list[str]:
        found = [str(key) for s in sections for key in entries(self.tree, s)]
        return [re.split(r"[\[ ]", key.removeprefix("global "))[0].strip("(,") for key in found]

    def text(self) -> str:
        return yaml.safe_dump(self.tree, sort_keys=False, width=10**6, allow_unicode=True)


def entries(tree: dict, section: str) -> dict:
    found = tree.get(section)
    return found if isinstance(found, dict) else {}


@cache
def seeds(drawn: int) -> list[dict]:
    """The trees to start from: the zoo, a spec for each construct, so many random specs."""
    texts = [p.read_text(encoding="utf-8") for p in sorted(SPECS.glob("*.yaml"))]
    texts += ["lvspec: 1\n" + "\n".join(r[8:] for r in t.split("\n")) for t in CONSTRUCTS.values()] * 2
    texts += [generate(seed) for seed in range(drawn)]
    return [yaml.load(text, yaml.CSafeLoader) for text in texts]


# ---------------------------------------------------------------- parts of an expression
WORD = re.compile(r"[A-Za-z_]\w*(?:\.\w+)*|\d+\.?\d*(?:e[-+]?\d+)?")


def parts(text: str) -> list[tuple[int, int]]:
    """Where the parts of an expression are: each name or number with the brackets behind it, each bracket's arguments."""
    closing, stack, arguments = {}, [], []
    for i, c in enumerate(text):
        if c in "([{":
            stack.append((i, [i + 1]))
        elif c == "," and stack:
            arguments.append((stack[-1][1][-1], i))
            stack[-1][1].append(i + 1)
        elif c in ")]}" and stack:
            begin, marks = stack.pop()
            closing[begin] = i + 1
            arguments.append((marks[-1], i))
    found = []
    for word in WORD.finditer(text):
        end = word.end()
        found.append((word.start(), end))
        while end in closing:
            end = closing[end]
            found.append((word.start(), end))
    return found + [(a, b) for a, b in arguments if b > a]


class Mutator:
    """Changes of one spec, by one generator of random numbers."""

    def __init__(self, rng: random.Random, others: list[dict]):
        self.rng, self.others = rng, others
        self.spec = Spec(copied(rng.choice(others)))
        self.depth = 0

    def mutate(self) -> str:
        for _ in range(self.rng.choice((1, 1, 1, 1, 2, 2, 4))):
            self.rng.choice(CHANGES)(self)
        return self.spec.text()

    # -- what a template stands for
    def filled(self, template: object) -> object:
        if isinstance(template, dict):
            return {self.filled(k): self.filled(v) for k, v in template.items()}
        if isinstance(template, list):
            return [self.filled(v) for v in template]
        if not isinstance(template, str):
            return template
        return re.sub(r"\{(\w+)\}", lambda m: str(self._one(m[1])), template)

    def _one(self, kind: str) -> object:
        choose, names = self.rng.choice, self.spec.names
        if kind in ("e", "d") and self.depth > 2:
            return choose(["0.5", *names("latent", "observed", "let", "given", "params")])
        self.depth += 1
        try:
            if kind == "e":
                return self.filled(choose(EXPRESSIONS))
            if kind == "d":
                return self.distribution()
            if kind == "i":
                return self.filled(choose(INDICES))
        finally:
            self.depth -= 1
        named = {
            "p": names("plates"),
            "s": [*names("sizes"), "2", "3"],
            "v": names("latent", "observed", "let", "given"),
            "q": names("params"),
            "n": names("networks"),
            "f": list(FUNCTIONS),
            "number": [str(n) for n in NUMBERS if n != 10**400],
        }
        return choose(named[kind] or ["nothing"])

    def distribution(self) -> str:
        family = self.rng.choice(list(FAMILIES))
        wanted = [a.name for a in FAMILIES[family].arguments]
        count = self.rng.choice((len(wanted), len(wanted), len(wanted) - 1, 1, 2, 3))
        kept = [f"{a}=" if self.rng.random() < 0.6 or a in ("logits", "probs") else "" for a in wanted]
        arguments = [f"{(kept + [''] * 9)[i]}{self._one('e')}" for i in range(max(0, count))]
        shape = self.rng.choice(("", "", "", self.filled("[{s}]"), " with tree", self.filled(" through {n}")))
        return f"{family}({', '.join(arguments)}){shape}"

    # -- places
    def _entry(self, *sections: str) -> tuple[dict, object] | None:
        found = [(entries(self.spec.tree, s), key) for s in sections for key in entries(self.spec.tree, s)]
        return self.rng.choice(found) if found else None

    def _foreign(self, section: str) -> tuple[object, object] | None:
        found = list(entries(self.rng.choice(self.others), section).items())
        return self.rng.choice(found) if found else None

    def _section(self, name: str) -> dict:
        if not isinstance(self.spec.tree.get(name), dict):
            self.spec.tree[name] = {}
        return self.spec.tree[name]

    # -- changes
    def expression(self) -> None:
        """A part of an expression becomes another one."""
        place = self._entry(*MODEL)
        if place is None or not isinstance(place[0][place[1]], str):
            return
        section, key = place
        text = section[key]
        spans = parts(text)
        if not spans:
            return
        a, b = self.rng.choice(spans)
        other = self._entry(*MODEL)
        theirs = str(other[0][other[1]])
        begin, end = self.rng.choice(parts(theirs) or [(0, len(theirs))])
        new = self.rng.choice(
            (
                self._one("e"),
                self._one("e"),
                self._one("number"),
                theirs[begin:end],
                f"{text[a:b]}, {self._one('e')}",
                "",
            )
        )
        section[key] = text[:a] + str(new) + text[b:]

    def wrap(self) -> None:
        """A part of an expression goes through a function of each entry, or stands beside itself or a literal."""
        place = self._entry(*MODEL)
        if place is None or not isinstance(place[0][place[1]], str):
            return
        section, key = place
        text = section[key]
        spans = [(a, b) for a, b in parts(text) if text[a:b] not in FAMILIES and text[b : b + 1] not in ("(", "=", "[")]
        if spans:
            a, b = self.rng.choice(spans)
            section[key] = text[:a] + self.rng.choice(WRAPS).format(e=text[a:b]) + text[b:]

    def alike(self) -> None:
        """A name gives way to one of another thing that is declared alike."""
        section = self.rng.choice(("params", "networks", "sizes", "latent", "let", "observed", "given", "plates"))
        found = entries(self.spec.tree, section)
        pairs = [(a, b) for a in found for b in found if a != b and str(found[a]) == str(found[b])]
        pairs = pairs or [(a, b) for a in found for b in found if a != b]
        place = self._entry(*MODEL)
        if pairs and place and isinstance(place[0][place[1]], str):
            old, new = (re.split(r"[\[ ]", str(name).removeprefix("global "))[0] for name in self.rng.choice(pairs))
            place[0][place[1]] = re.sub(rf"\b{re.escape(old)}\b", new, place[0][place[1]])

    def function(self) -> None:
        """A function or a distribution becomes another one, its arguments stay."""
        place = self._entry(*MODEL)
        if place is None:
            return
        section, key = place
        names = sorted({m[0] for m in re.finditer(r"[A-Za-z_]\w*(?=\()", str(section[key]))})
        if names:
            old = self.rng.choice(names)
            new = self.rng.choice(list(FAMILIES) if old in FAMILIES else [*FUNCTIONS, *self.spec.names("networks")])
            section[key] = re.sub(rf"\b{old}(?=\()", new, str(section[key]), count=1)

    def body(self) -> None:
        """A clause gets another distribution or expression."""
        place = self._entry(*MODEL)
        if place:
            section, key = place
            section[key] = self.distribution() if self.rng.random() < 0.7 else self._one("e")

    def swap(self) -> None:
        one, other = self._entry(*MODEL), self._entry(*MODEL)
        if one and other:
            one[0][one[1]], other[0][other[1]] = other[0][other[1]], one[0][one[1]]

    def target(self) -> None:
        """A variable is on other plates, at its first site only, global, or has another name."""
        place = self._entry(*MODEL, "given")
        if place is None:
            return
        section, key = place
        name = str(key).split("[")[0]
        indices = self.rng.choice(
            ("", "[{p}]", "[{p}, {p}]", "[{p}, {p}, {p}]", "[0]", "[{p}, 0]", "[0, {p}]", "[{p}-1]", "[1]", " over {p}")
        )
        prefix = self.rng.choice(("", "", "", "global "))
        renamed(section, key, prefix + name.removeprefix("global ") + str(self.filled(indices)))

    def move(self) -> None:
        """An entry goes to another section, or stands in both."""
        place = self._entry(*MODEL, "given")
        if place:
            section, key = place
            self._section(self.rng.choice((*MODEL, "given")))[key] = section[key]
            if self.rng.random() < 0.7:
                section.pop(key, None)

    def drop(self) -> None:
        place = self._entry("sizes", "plates", "params", "networks", "given", *MODEL)
        if place:
            del place[0][place[1]]

    def drop_section(self) -> None:
        if len(self.spec.tree) > 1:
            del self.spec.tree[self.rng.choice(list(self.spec.tree))]

    def empty_section(self) -> None:
        self.spec.tree[self.rng.choice(list(self.spec.tree))] = self.rng.choice((None, {}, [], 0, "x", True))

    def more(self) -> None:
        """Entries once more under other names, up to forty of them."""
        place = self._entry("params", "networks", "plates", *MODEL)
        if place:
            section, key = place
            name, bracket, rest = str(key).partition("[")
            for i in range(self.rng.choice((1, 1, 1, 2, 5, 40))):
                section[f"{name}{i}{bracket}{rest}"] = section[key]

    def foreign(self) -> None:
        """Entries of another spec, or a whole section of it."""
        section = self.rng.choice((*MODEL, *MODEL, "plates", "params", "networks", "given", "infer", "train", "phases"))
        other = entries(self.rng.choice(self.others), section)
        if other and self.rng.random() < 0.5:
            self._section(section).update(copied(other))
        elif found := self._foreign(section):
            self._section(section)[found[0]] = copied(found[1])

    def plate(self) -> None:
        name = self._one("p") if self.rng.random() < 0.85 else "extra"
        self._section("plates")[name] = self.filled(self.rng.choice(PLATES))

    def size(self) -> None:
        self._section("sizes")[self._one("s")] = self.filled(self.rng.choice(SIZES))

    def parameter(self) -> None:
        shape = self.filled(self.rng.choice(SHAPES))
        whole = {"shape": shape, "init": self.rng.choice(RULES)}
        extra = self.rng.choice(
            (
                {},
                {},
                {"frozen": True},
                {"per_example": True},
                {"frozen": 1},
                {"tied": self._one("q")},
                {"prior": self.distribution()},
            )
        )
        self._section("params")[self._one("q")] = self.rng.choice((shape, whole | extra))

    def network(self) -> None:
        name = self._one("n") + self.rng.choice(("", "", "", "[3]", str(self.filled("[{s}]"))))
        self._section("networks")[name] = self.filled(self.rng.choice(NETWORKS))

    def given(self) -> None:
        place = self._entry("given")
        key = place[1] if place else self.filled("new[{p}]")
        self._section("given")[key] = self.filled(self.rng.choice(GIVEN))

    def method(self) -> None:
        latents = self.spec.names("latent") or ["z"]
        self._section("infer")[self.rng.choice(latents)] = self.rng.choice(METHODS)

    def option(self) -> None:
        section, table = self.rng.choice((("infer", INFER), ("infer", INFER), ("train", TRAIN)))
        key = self.rng.choice(list(table))
        self._section(section)[key] = self.filled(self.rng.choice(table[key]))

    def factor(self) -> None:
        """The guide has a factor of a latent: its own prior, or another distribution."""
        place = self._entry("latent")
        if place:
            section, key = place
            self._section("guide")[key] = section[key] if self.rng.random() < 0.4 else self.distribution()

    def number(self) -> None:
        """A number anywhere becomes an extreme one."""
        place = self._entry(*(s for s in self.spec.tree if isinstance(self.spec.tree[s], dict)))
        if place is None:
            return
        section, key = place
        if isinstance(section[key], (int, float)) and not isinstance(section[key], bool):
            section[key] = self.rng.choice(NUMBERS)
        elif isinstance(section[key], str):
            numbers = list(re.finditer(r"\b\d+\.?\d*\b", section[key]))
            if numbers:
                m = self.rng.choice(numbers)
                section[key] = section[key][: m.start()] + str(self.rng.choice(NUMBERS)) + section[key][m.end() :]

    def index(self) -> None:
        """A site is reached in another way."""
        place = self._entry(*MODEL)
        if place is None or not isinstance(place[0][place[1]], str):
            return
        section, key = place
        found = list(re.finditer(r"\[[^\[\]]*\]", section[key]))
        if found:
            m = self.rng.choice(found)
            section[key] = (
                section[key][: m.start()]
                + str(self.filled(self.rng.choice(("[{i}]", "[{i}, {i}]", ""))))
                + section[key][m.end() :]
            )


CHANGES = (
    *[Mutator.wrap] * 8, *[Mutator.alike] * 4, *[Mutator.expression] * 6, *[Mutator.function] * 3, *[Mutator.body] * 3, *[Mutator.index] * 3, *[Mutator.target] * 2, *[Mutator.foreign] * 2,
    *[Mutator.plate] * 2, *[Mutator.method] * 2, *[Mutator.option] * 2, *[Mutator.number] * 2, *[Mutator.parameter] * 2, *[Mutator.factor] * 2,
    Mutator.size, Mutator.network, Mutator.given, Mutator.swap, Mutator.move, Mutator.drop, Mutator.drop_section, Mutator.empty_section, Mutator.more,
)  # fmt: skip


def copied(tree):
    if isinstance(tree, dict):
        return {k: copied(v) for k, v in tree.items()}
    return [copied(v) for v in tree] if isinstance(tree, list) else tree


def renamed(section: dict, key: object, new: object) -> None:
    pairs = [(new if k == key else k, v) for k, v in section.items()]
    section.clear()
    section.update(pairs)


def mutant(seed: object, number: int, others: list[dict]) -> str:
    return Mutator(random.Random(f"{seed}/{number}"), others).mutate()


# ---------------------------------------------------------------- all the way, watched
class Slow(BaseException):
    """A spec takes longer than a person waits."""


def all_the_way(text: str) -> str:
    """check, explain, graph, compile: how far a spec comes."""
    try:
        plan = driver.plan_spec(text + "\n")
    except (SpecError, UsageError) as error:
        str(error)
        return "declined"
    as_text(plan)
    as_data(plan)
    draw(plan, "svg")
    try:
        source = emit(plan)
    except (SpecError, UsageError) as error:
        str(error)
        return "declined by compile"
    compile(source, "<mutant>", "exec")
    return "compiled"


def watched(text: str) -> tuple[str, str]:
    """(what became of it, the fault's place) within the limits of time and memory."""

    def too_slow(number, frame):
        raise Slow("".join(traceback.format_stack(frame)[-1:]).strip())

    signal.signal(signal.SIGPROF, too_slow)
    signal.setitimer(signal.ITIMER_PROF, LONGEST)
    try:
        return all_the_way(text), ""
    except BaseException as error:
        signal.setitimer(signal.ITIMER_PROF, 0)
        frames = [f for f in traceback.extract_tb(error.__traceback__) if "lvspec" in f.filename]
        last = frames[-1] if frames else None
        where = f"{Path(last.filename).parent.name}/{Path(last.filename).name}:{last.lineno}" if last else "?"
        return f"{type(error).__name__}", f"{where}: {str(error)[:120]}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def chunk(seed: object, numbers: range, others: list[dict], told: Path, current: mmap.mmap) -> None:
    """What one process does."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + LARGEST, size + LARGEST))
    lines = []
    for number in numbers:
        current[:8] = struct.pack("q", number)
        text = mutant(seed, number, others)
        what, where = watched(text)
        lines.append(f"{number}\t{what}\t{' '.join(where.split())}\n")
    told.write_text("".join(lines))


def ended(child: int, current: mmap.mmap) -> None:
    """Wait for a process; one that is at the same mutant for long, in a call of a library that looks at no signal, has to end."""
    seen, since = -1, 0.0
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        now, used = struct.unpack("q", current[:8])[0], processor(child)
        if now != seen:
            seen, since = now, used
        if used - since > 10 * LONGEST:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.01)


def processor(child: int) -> float:
    """Seconds of the processor that a process has used."""
    fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(count: int, seed: object, drawn: int = 150) -> tuple[Counter, dict[tuple[str, str], tuple[str, str]]]:
    """How far the mutants came, and the faults: (kind, place) -> what it says, and the shortest text that shows it."""
    others, outcomes, faults = seeds(drawn), Counter(), {}
    number, current = 0, mmap.mmap(-1, 8)
    all_the_way(mutant(seed, 0, others))  # what is imported on the way is not a mutant's own time and memory
    with tempfile.TemporaryDirectory() as folder:
        while number < count:
            numbers = range(number, min(number + CHUNK, count))
            told = Path(folder) / str(number)
            if (child := os.fork()) == 0:
                try:
                    chunk(seed, numbers, others, told, current)
                finally:
                    os._exit(0)
            ended(child, current)
            number = numbers.stop
            rows = [line.split("\t", 2) for line in told.read_text().splitlines()] if told.exists() else []
            if not told.exists():  # what the process was at when it ended is a fault
                at = struct.unpack("q", current[:8])[0]
                rows, number = [[str(at), "ended", f"{at}"]], at + 1
            for which, what, where in rows:
                outcomes[what] += 1
                if where:
                    text = mutant(seed, int(which), others)
                    known = faults.get((what, where.split(": ")[0]))
                    if known is None or len(text) < len(known[1]):
                        faults[what, where.split(": ")[0]] = where, text
    return outcomes, faults


def main(count: int, seed: int, folder: Path | None) -> int:
    """A thousand at a time, so that what was found is told on the way."""
    known: set[tuple[str, str]] = set()
    for begin in range(0, count, 1000):
        outcomes, faults = run(min(1000, count - begin), f"{seed}.{begin}")
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(begin, dict(outcomes), f"{used.ru_utime + used.ru_stime:.0f} s of the processor", flush=True)
        for (what, place), (where, text) in faults.items():
            if (what, place) not in known:
                known.add((what, place))
                print(f"{what} at {where}", flush=True)
                if folder:
                    folder.mkdir(exist_ok=True)
                    (folder / f"{seed}-{len(known)}-{what}.yaml").write_text(text)
    return bool(known)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None))
