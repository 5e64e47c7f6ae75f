"""Every construct of the language, by name, and which of them a checked spec holds.

The list is made of the tables that the front end itself reads (distributions, functions, networks, flows, structures,
settings), so that what is added to the language is a construct that some random spec has to hold: held.py
says which a spec holds.

    latent Poisson      Gamma.rate = number      sum over a plate      z[t-1]      latent on sequence × fixed
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product

from lvspec.front.params import INITS
from lvspec.front.sections import INFER
from lvspec.front.variables import GIVEN
from lvspec.ir.bounds import BOUNDS
from lvspec.ir.distributions import FAMILIES
from lvspec.ir.estimators import STRATEGIES
from lvspec.ir.flows import FLOWS
from lvspec.ir.functions import FUNCTIONS
from lvspec.ir.networks import ACTIVATIONS, NETWORKS
from lvspec.ir.priors import prior_families
from lvspec.ir.structures import STRUCTURES

ROLES = ("latent", "observed", "guide")
SITES = ("sequence", "bag", "fixed")  # kinds of plates that a variable of several stands on
COUNTS = {
    "0": (0, 0),
    "1": (1, 1),
    "2": (2, 2),
    "3": (3, 3),
    "4 to 9": (4, 9),
    "10 to 24": (10, 24),
    "25 to 40": (25, 40),
}
ACCESS = (
    "z[t-1]",
    "z[t-2]",
    "z[t+1]",
    "x[<t]",
    "x[<=t]",
    "x[>t]",
    "x[>=t]",
    "x",
    "x[<t in z]",
    "x[<=t in z]",
    "z[0]",
    "z[a[t]]",
    "T[s[a[t]]]",
    "h[j]",
    "m as an axis",
    "reader(x)[t]",
    "g[t, 2]",
    "m as a number",
    "0 over m",
    "e over m",
)
READ = ("latent", "observed", "given")  # of what an index or a score is a function
HIDDEN = ("alone", "on a plate", "of a structure", "read by the model", "read by a guide", "read by a term")
KNOWN = ("alone", "on a plate", "of a chain", "of a structure", "with a guide")
PLATES = (
    "sequence",
    "bag",
    "fixed",
    "latent length",
    "sequence(end)",
    "sequence(null)",
    "bag(counts)",
    "number",
    "copy",
)


# ---------------------------------------------------------------- the list
@cache
def listed() -> tuple[str, ...]:
    """The names of all constructs, in a fixed order."""
    return tuple(dict.fromkeys((*_of_distributions(), *_of_expressions(), *_of_plates(), *_of_sections())))


def _of_distributions() -> Iterator[str]:
    families = (*FAMILIES, "Flow")
    yield from (f"{role} {family}" for role in (*ROLES, "global") for family in families)
    scalars = ((f.name, a.name) for f in FAMILIES.values() for a in f.arguments if a.axes == "scalar")
    yield from (f"{f}.{a} = number" for f, a in scalars if f not in STRUCTURES and a != "dimension")
    yield from (
        "copies of numbers",
        "several flows",
        "flow with a context",
        "drawn together",
        "with tree",
        "if then else",
    )
    yield from (f"{kind} of a {role}" for kind, role in product(FLOWS, ROLES))


def _of_expressions() -> Iterator[str]:
    for f in FUNCTIONS.values():
        if f.name != "stack":  # never written: it is what a bare `e over m` means
            yield f.name
        if f.kind in ("reduce", "normalise"):
            yield f"{f.name} over a plate"
        if f.kind == "reduce":
            yield f"{f.name} of a stretch"
    for n in NETWORKS.values():
        yield n.name
        yield from (f"{n.name}({o})" for o, _ in n.options if o != "activation")
    yield from (f"activation {a}" for a in ACTIVATIONS)
    yield from ("bank of networks", "detached network")
    yield from ACCESS
    yield from (f"{reader} reads {read}" for reader in ("latent", "observed") for read in READ)
    yield from (f"index by {read}" for read in (*READ, "number"))
    yield "probabilities as a sum"
    yield from ("index of two", "where", "where of parts", "let of a let", "size in an expression")
    yield from ("number beside a vector", "probability 0", "rate 0")


def _of_plates() -> Iterator[str]:
    yield from (f"plate {p}" for p in PLATES)
    yield from (f"{inner} within {outer}" for inner, outer in product(("sequence", "bag"), repeat=2))
    for role in ("latent", "observed"):
        yield f"{role} alone"
        yield from (f"{role} on {kind}" for kind in (*SITES, "latent length"))
        yield from (f"{role} on {a} × {b}" for a, b in product(SITES, repeat=2))
        yield f"{role} on three plates"
        yield from (f"first clause of {role}", f"second clause of {role}")
    yield from (
        "first clause of guide",
        "first clause that reads a latent",
        "first clause that reads all sites",
        "first clause of guide that reads all sites",
        "global",
        "global on a plate",
        "chains within a plate",
        "chains that share a regime",
        "no plate at all",
    )
    yield from (f"{n} latents" for n in COUNTS)


def _of_sections() -> Iterator[str]:
    yield from ("class", "description", "phases", "views", "size of the data", "no observation", "nothing given either")
    yield from (f"missing value {where}" for where in HIDDEN)
    yield from (f"known value {where}" for where in KNOWN)
    yield from (f"given {word}" for word in GIVEN)
    yield from ("given vector", "given on a plate")
    yield from (f"init {rule}" for rule in INITS)
    yield from ("number as a parameter", "frozen", "per_example", "tied parameter")
    yield from (f"prior {f}" for f in prior_families())
    for name, strategy in STRATEGIES.items():
        yield f"infer {name}"
        yield from (f"{name}({o.name})" for o in strategy.keys)
    for name, form in BOUNDS.items():
        yield f"bound {name}"
        yield from (f"bound {name}({o.name})" for o in form.keys)
    for key in INFER:
        yield from (f"{key.name}: {c}" for c in key.choices)
        if not key.choices and key.name != "bound":
            yield f"infer {key.name}"
    yield from ("guide of some", "guide on plates that cross", "computed in the guide")
    yield from (f"kl_weight {kind}" for kind in ("constant", "linear", "cyclical", "by latent"))
    yield from (f"free_bits {unit}" for unit in ("node", "dimension"))
    yield from ("term", "term on a plate", "log_prob in a term")
