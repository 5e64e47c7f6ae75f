"""Plates of a random spec: those of x, up to three of every kind, nested or apart, and a fixed one beside them."""

from __future__ import annotations

from itertools import product

from lvspec.verify.random_specs.drafts.draft import Draft, Parent

NAMES = ("d", "t", "e")  # of the plates of x, outermost first; the last of two or three is t
KINDS = ("sequence", "bag", "fixed")


def lay_out(d: Draft) -> None:
    """The plates of x, and in some specs m."""
    kinds = _kinds(d)
    names = {0: (), 1: ("t",), 2: ("d", "t"), 3: ("d", "e", "t")}[len(kinds)]
    names = tuple(d.own(n) for n in names)
    d.here = names
    d.kinds |= dict(zip(names, kinds, strict=True))
    for outer, inner in zip(names, names[1:], strict=False):
        ragged = d.kinds[outer] != "fixed" and d.kinds[inner] != "fixed"
        wished = f"{d.kinds[inner]} within {d.kinds[outer]}" in d.wishes
        apart = not d.wishes.isdisjoint({"!crossing", "chains that share a regime"}) and not wished
        if ragged and outer not in d.nested and not apart and (wished or d.chance(0.6)):
            d.nested[inner] = outer
    for name in names:
        d.plates[name] = _declared(d, name)
    if (
        "!beside" in d.wishes
        or any(w.endswith("fixed") for w in d.wishes if w.startswith("latent on"))
        or d.chance(0.3)
    ):
        beside(d)


def _kinds(d: Draft) -> tuple[str, ...]:
    """The kinds of x's plates, outermost first."""
    one, two = [(k,) for k in KINDS], list(product(KINDS, repeat=2))
    three = [k for k in product(KINDS, repeat=3) if k.count("fixed") <= 1 or d.chance(0.3)]
    forms = {
        "!line": ("sequence",),
        "!ragged": (d.choose("sequence", "bag"),),
        "!crossing": d.choose(*two),
        **{f"observed on {' × '.join(k)}": k for k in (*one, *two)},
        "observed on three plates": d.choose(*three),
        "observed alone": (),
        "no plate at all": (),
        **{f"{b} within {a}": (a, b) for a, b in product(KINDS[:2], repeat=2)},
        **{f"latent on {' × '.join(k)}": k for k in (*one, *two)},
        "latent on three plates": d.choose(*three),
        "chains that share a regime": d.choose(("fixed", "sequence"), ("bag", "sequence"), ("sequence", "bag")),
        "chains within a plate": d.choose(("fixed", "sequence"), ("bag", "sequence"), ("sequence", "fixed")),
    }
    wished = [form for form in forms if form in d.wishes]
    if "!line" in wished and d.chance(0.8):
        wished = ["!line"]
    if wished:
        return forms[d.choose(*wished)]
    if d.chance(0.12):
        return ()
    if d.chance(0.7):
        return d.choose(("sequence",), ("sequence",), ("sequence",), ("bag",), ("fixed",))
    return d.choose(*two, *two, *three[:4])


def _declared(d: Draft, name: str) -> str:
    """A plate as its section writes it."""
    kind = d.kinds[name]
    if kind == "fixed":
        return "2" if d.wants("plate number", 0.3) else d.size("N" + name, 2, 2)
    options = [f"within={d.nested[name]}"] if name in d.nested else []
    if kind == "sequence" and d.wants("plate sequence(end)", 0.1):
        options.append("end=EOS")
    return f"{kind}({', '.join(options)})" if options else kind


def beside(d: Draft) -> str:
    """The fixed plate m."""
    if not d.plate:
        number = d.wants("plate number", 0.2)
        d.plate, d.plate_size = "m", "2" if number else d.size("M", 2, 2)
        d.plates["m"], d.kinds["m"] = d.plate_size, "fixed"
    return d.plate


def extent_of(d: Draft, plate: str) -> str:
    """The size of a fixed plate, as a parameter's axis."""
    return d.plates[plate]


# ------------------------------------------------------------ what every example brings along
WORDS = ("token", "category", "real", "positive", "unit", "count", "boolean")
GIVEN = {"token": "token(U)", "category": "category(U)"}


def give(d: Draft) -> Parent:
    """u: of any kind, on plates of x's or none."""
    words = ("real", "positive", "unit") if "given vector" in d.wishes else WORDS
    word = d.pick("given {}", words)
    plates = d.here if d.wants("given on a plate", 0.5) else ()
    name = d.fresh("u")
    here = (name, plates)
    size = d.size("U", 2, 3)
    if word in GIVEN:
        found = Parent(*here, "category", size)
        d.given[found.ref] = GIVEN[word]
    elif word == "boolean":
        found = Parent(*here, "switch", "2")
        d.given[found.ref] = word
    elif word in ("count",) or not d.wants("given vector", 0.6):
        found = Parent(*here, "number", "")
        d.given[found.ref] = word
    else:
        found = Parent(*here, "vector", size)
        d.given[found.ref] = f"{word}[{size}]"
    d.parents.append(found)
    return found
