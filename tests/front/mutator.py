"""Changes of a spec that keep its form: what `mutants.py` runs."""

import random
import re
from bisect import bisect
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

import yaml

from lvspec.ir.distributions import FAMILIES
from lvspec.ir.functions import FUNCTIONS
from lvspec.verify.random_specs.generate import generate
from tests import SPECS
from tests.front import mutant_templates as T
from tests.front.good_specs import CONSTRUCTS

MODEL = ("latent", "let", "observed", "guide", "objective")


@dataclass
class Spec:
    """A spec as a tree of sections, and what its expressions may name."""

    tree: dict

    def names(self, *sections: str) -> list[str]:
        found = [str(key) for s in sections for key in entries(self.tree, s)]
        return [re.split(r"[\[ ]", key.removeprefix("global "))[0].strip("(,") for key in found]

    def text(self) -> str:
        return yaml.dump(self.tree, Dumper=yaml.CSafeDumper, sort_keys=False, width=10**6, allow_unicode=True)


def entries(tree: dict, section: str) -> dict:
    found = tree.get(section)
    return found if isinstance(found, dict) else {}


class Seeds:
    """The trees to start from, small ones more often: what goes wrong in a large one does so in a small one, in less time."""

    def __init__(self, trees: list[dict]):
        self.trees = trees
        self.weights = list(accumulate(1 / (200 + len(Spec(tree).text())) for tree in trees))

    def one(self, rng: random.Random) -> dict:
        return self.trees[bisect(self.weights, rng.random() * self.weights[-1], hi=len(self.trees) - 1)]


@cache
def seeds(drawn: int) -> Seeds:
    """The zoo, a spec for each construct, so many random specs."""
    texts = [p.read_text(encoding="utf-8") for p in sorted(SPECS.glob("*.yaml"))]
    texts += ["lvspec: 1\n" + "\n".join(r[8:] for r in t.split("\n")) for t in CONSTRUCTS.values()]
    texts += [generate(seed) for seed in range(drawn)]
    return Seeds([yaml.load(text, yaml.CSafeLoader) for text in texts])


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

    def __init__(self, rng: random.Random, others: Seeds):
        self.rng, self.others = rng, others
        self.spec = Spec(copied(others.one(rng)))
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
                return self.filled(choose(T.EXPRESSIONS))
            if kind == "d":
                return self.distribution()
            if kind == "i":
                return self.filled(choose(T.INDICES))
        finally:
            self.depth -= 1
        named = {
            "p": names("plates"),
            "s": [*names("sizes"), "2", "3"],
            "v": names("latent", "observed", "let", "given"),
            "q": names("params"),
            "n": names("networks"),
            "f": list(FUNCTIONS),
            "number": [str(n) for n in T.NUMBERS if n != 10**400],
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
        found = list(entries(self.others.one(self.rng), section).items())
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
            section[key] = text[:a] + self.rng.choice(T.WRAPS).format(e=text[a:b]) + text[b:]

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
        other = entries(self.others.one(self.rng), section)
        if other and self.rng.random() < 0.5:
            self._section(section).update(copied(other))
        elif found := self._foreign(section):
            self._section(section)[found[0]] = copied(found[1])

    def plate(self) -> None:
        name = self._one("p") if self.rng.random() < 0.85 else "extra"
        self._section("plates")[name] = self.filled(self.rng.choice(T.PLATES))

    def size(self) -> None:
        self._section("sizes")[self._one("s")] = self.filled(self.rng.choice(T.SIZES))

    def parameter(self) -> None:
        shape = self.filled(self.rng.choice(T.SHAPES))
        whole = {"shape": shape, "init": self.rng.choice(T.RULES)}
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
        self._section("networks")[name] = self.filled(self.rng.choice(T.NETWORKS))

    def given(self) -> None:
        place = self._entry("given")
        key = place[1] if place else self.filled("new[{p}]")
        self._section("given")[key] = self.filled(self.rng.choice(T.GIVEN))

    def method(self) -> None:
        latents = self.spec.names("latent") or ["z"]
        self._section("infer")[self.rng.choice(latents)] = self.rng.choice(T.METHODS)

    def option(self) -> None:
        section, table = self.rng.choice((("infer", T.INFER), ("infer", T.INFER), ("train", T.TRAIN)))
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
            section[key] = self.rng.choice(T.NUMBERS)
        elif isinstance(section[key], str):
            numbers = list(re.finditer(r"\b\d+\.?\d*\b", section[key]))
            if numbers:
                m = self.rng.choice(numbers)
                section[key] = section[key][: m.start()] + str(self.rng.choice(T.NUMBERS)) + section[key][m.end() :]

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

    def deep(self) -> None:
        """A part of an expression stands within many layers, or a value within many lists."""
        place = self._entry(*MODEL)
        if place is None or not isinstance(place[0][place[1]], str):
            return
        section, key = place
        layers = self.rng.choice((5, 20, 40, 62, 70, 1000))
        if self.rng.random() < 0.1:
            for _ in range(min(layers, 100)):
                section[key] = [section[key]] if self.rng.random() < 0.5 else {"x": section[key]}
        elif spans := parts(section[key]):
            a, b = self.rng.choice(spans)
            before, after = self.rng.choice([w.split("{e}") for w in T.WRAPS if w.count("{e}") == 1])
            section[key] = section[key][:a] + before * layers + section[key][a:b] + after * layers + section[key][b:]

    def wide(self) -> None:
        """An expression is a sum, a product or a list of many of its parts."""
        place = self._entry(*MODEL)
        if place is None or not isinstance(place[0][place[1]], str):
            return
        section, key = place
        if spans := parts(section[key]):
            a, b = self.rng.choice(spans)
            between = self.rng.choice((" + ", " * ", ", ", " - ", " ** "))
            many = between.join([section[key][a:b]] * self.rng.choice((3, 10, 50, 300, 2000)))
            section[key] = f"{section[key][:a]}{many}{section[key][b:]}"

    def rename(self) -> None:
        """Something has another name everywhere: a long one, one that nobody would take, or that of another thing."""
        names = self.spec.names("sizes", "plates", "params", "networks", "given", *MODEL)
        if names:
            old = self.rng.choice(names)
            new = self.rng.choice((old * 30, f"{old}_" * 5000, *T.NAMES, *T.NAMES, *names))
            word = re.compile(rf"\b{re.escape(old)}\b")
            self.spec.tree = everywhere(self.spec.tree, lambda text: word.sub(lambda _: new, text))

    def order(self) -> None:
        """Two plates change their places: in one index, in all, or in what they are."""
        plates = self._section("plates")
        if len(plates) < 2:
            return
        one, other = self.rng.sample(list(plates), 2)
        if self.rng.random() < 0.3:
            plates[one], plates[other] = plates[other], plates[one]
            return
        share = self.rng.choice((0.3, 1.0))
        pair = re.compile(r"\[([^\[\],]+), ([^\[\],]+)\]")
        self.spec.tree = everywhere(
            self.spec.tree, lambda text: pair.sub(r"[\2, \1]", text) if self.rng.random() < share else text
        )


CHANGES = (
    *[Mutator.wrap] * 8, *[Mutator.alike] * 4, *[Mutator.expression] * 6, *[Mutator.function] * 3, *[Mutator.body] * 3, *[Mutator.index] * 3, *[Mutator.target] * 2, *[Mutator.foreign] * 2,
    *[Mutator.plate] * 2, *[Mutator.method] * 2, *[Mutator.option] * 2, *[Mutator.number] * 2, *[Mutator.parameter] * 2, *[Mutator.factor] * 2,
    *[Mutator.size] * 2, *[Mutator.order] * 2, Mutator.deep, Mutator.wide, Mutator.rename, Mutator.network, Mutator.given, Mutator.swap, Mutator.move, Mutator.drop, Mutator.drop_section, Mutator.empty_section, Mutator.more,
)  # fmt: skip


def copied(tree):
    if isinstance(tree, dict):
        return {k: copied(v) for k, v in tree.items()}
    return [copied(v) for v in tree] if isinstance(tree, list) else tree


def everywhere(tree, change):
    """A tree whose texts and keys are changed."""
    if isinstance(tree, dict):
        return {everywhere(k, change): everywhere(v, change) for k, v in tree.items()}
    if isinstance(tree, list):
        return [everywhere(v, change) for v in tree]
    return change(tree) if isinstance(tree, str) else tree


def renamed(section: dict, key: object, new: object) -> None:
    pairs = [(new if k == key else k, v) for k, v in section.items()]
    section.clear()
    section.update(pairs)


def mutant(seed: object, number: int, others: Seeds) -> str:
    return Mutator(random.Random(f"{seed}/{number}"), others).mutate()
