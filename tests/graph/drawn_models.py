"""Small planned models made by hand, so that the drawing is tested without the rooms before it."""

from lvspec.errors import Source
from lvspec.ir.dims import Dim
from lvspec.ir.expr import Apply, Call, Dist, Here, Index, Lag, Number, ParamRef, PlateIndex, Stretch, VariableRef
from lvspec.ir.plan import Cost, LatentPlan, Plan
from lvspec.ir.spec import Clause, Param, Plate, Spec, Variable
from lvspec.ir.types import Type

T = Plate("t", "sequence")
L = Plate("l", "fixed", size=Dim.of("L"))


def ref(name, *at):
    return VariableRef(name, at)


def categorical(logits):
    return Dist("Categorical", (("logits", logits),))


def normal(loc):
    return Dist("Normal", (("loc", loc), ("scale", Number(1))))


def variable(name, role, body, plates=(), first=None):
    clauses = ((Clause(first, 0),) if first else ()) + (Clause(body),)
    return Variable(name, role, plates, Type(plates=plates), clauses, along=plates[-1] if first else None)


def planned(name, variables, strategies, params=(), plates=(), objective="log_marginal"):
    params = tuple(Param(p, (Dim.of("K"),)) for p in params)
    spec = Spec(Source(f"{name}.yaml", ""), name, name.title(), "", (), plates, params, (), variables, ())
    latents = tuple(
        LatentPlan(latent, strategy, "collapsed", True, False, "because", Cost(1.0, 1.0), ())
        for latent, strategy in strategies.items()
    )
    return Plan(spec, latents, (), (), (), objective, "log p(x)", 1, (("K", 5),), ())


def hmm():
    z = categorical(Index(ParamRef("transition"), (ref("z", Lag("t", 1)),)))
    x = categorical(Index(ParamRef("emission"), (ref("z", Here("t")),)))
    nodes = (
        variable("z", "latent", z, ("t",), first=categorical(ParamRef("start"))),
        variable("x", "observed", x, ("t",)),
    )
    return planned("hmm", nodes, {"z": "dynamic_programming"}, ("start", "transition", "emission"), (T,))


def factorial_hmm():
    own = (PlateIndex("l"),)
    z = categorical(Index(ParamRef("transition"), (*own, ref("z", Lag("t", 1), Here("l")))))
    mean = Index(ParamRef("mean"), (*own, ref("z", Here("t"), Here("l"))))
    x = Dist("Normal", (("loc", Call("sum", (mean,), over="l")), ("scale", ParamRef("noise"))))
    nodes = (
        variable("z", "latent", z, ("t", "l"), first=categorical(Index(ParamRef("start"), own))),
        variable("x", "observed", x, ("t",)),
    )
    names = ("start", "transition", "mean", "noise")
    return planned("factorial_hmm", nodes, {"z": "dynamic_programming"}, names, (T, L))


def _writer(*vectors):
    words = Apply("words", (), (ref("x", Stretch("t", "before")),))
    return variable("h", "let", Apply("writer", (), (Call("concat", (words, *vectors)),)), ("t",))


def sentence_vae():
    x = categorical(Apply("output", (), (ref("h", Here("t")),)))
    nodes = (variable("z", "latent", normal(Number(0))), _writer(ref("z")), variable("x", "observed", x, ("t",)))
    return planned("sentence_vae", nodes, {"z": "reparameterization"}, (), (T,), "elbo")


def gm_vae():
    z = Dist("Normal", tuple((a, Index(ParamRef(p), (ref("c"),))) for a, p in (("loc", "mu"), ("scale", "sigma"))))
    x = categorical(Apply("output", (), (ref("h", Here("t")),)))
    nodes = (
        variable("c", "latent", categorical(ParamRef("prior"))),
        variable("z", "latent", z),
        _writer(ref("z")),
        variable("x", "observed", x, ("t",)),
    )
    strategies = {"c": "enumeration", "z": "reparameterization"}
    return planned("gm_vae", nodes, strategies, ("prior", "mu", "sigma"), (T,), "elbo")


def crossing_plates():
    """a[m], b[t] and c[m, t]: neither plate holds the other."""
    m = Plate("m", "sequence")
    body = normal(Call("add", (ref("a", Here("m")), ref("b", Here("t")))))
    nodes = (
        variable("a", "latent", normal(Number(0)), ("m",)),
        variable("b", "latent", normal(Number(0)), ("t",)),
        variable("c", "observed", body, ("m", "t")),
    )
    return planned("crossing", nodes, {"a": "reparameterization", "b": "none"}, (), (m, T), "elbo")


def skipping():
    """A chain of four, whose first is read by all others: edges must go round the nodes between."""
    nodes = [variable("first", "latent", normal(Number(0)))]
    for name, above in (("second_one", "first"), ("third", "second_one"), ("x", "third")):
        role = "observed" if name == "x" else "latent"
        nodes.append(variable(name, role, normal(Call("add", (ref(above), ref("first"))))))
    given = variable("source", "given", None)
    strategies = {n.name: "reinforce" for n in nodes[:-1]}
    return planned("skipping", (given, *nodes), strategies, (), (), "elbo")


MODELS = {f.__name__: f for f in (hmm, factorial_hmm, sentence_vae, gm_vae, crossing_plates, skipping)}
