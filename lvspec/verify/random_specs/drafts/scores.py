"""Expressions of a random spec: what parents contribute to a score, and functions around it."""

from __future__ import annotations

from lvspec.ir.functions import FUNCTIONS
from lvspec.ir.networks import ACTIVATIONS, NETWORKS
from lvspec.verify.random_specs.coverage import LATECOMERS
from lvspec.verify.random_specs.drafts.draft import Draft, Parent, named

# each keeps a real vector one of its length, and small numbers small
AROUND = {
    "exp": "exp(tanh({e}))",
    "log": "log(0.1 + softplus({e}))",
    "sqrt": "sqrt(1 + square({e}))",
    "square": "square(tanh({e}))",
    "abs": "abs({e})",
    "softplus": "softplus({e})",
    "sigmoid": "sigmoid({e})",
    "tanh": "tanh({e})",
    "relu": "relu({e})",
    "negative": "-({e})",
    "detach": "detach({e})",
    "subtract": "{e} - {w}",
    "multiply": "0.7 * ({e})",
    "divide": "({e}) / softplus({w})",
    "power": "sigmoid({e}) ** 2",
    "add": "{e} + {w}",
    "softmax": "softmax({e})",
    "log_softmax": "log_softmax({e})",
    "concat": "{joined}(concat({e}, {w}))",
    "reshape": "reshape({twice}({e}), 2, {n})[1]",
    "flatten": "{back}(flatten(reshape({twice}({e}), 2, {n})))",
    "matmul": "matmul({square}, {e})",
    "size in an expression": "({e}) / {n}",
    "LayerNorm": "{LayerNorm}({e})",
    "Dropout": "{Dropout}({e})",
}

# a vector as one number
REDUCE = {
    "sum": "sum({e})",
    "mean": "mean({e})",
    "max": "max({e})",
    "min": "min({e})",
    "prod": "prod(tanh({e}))",
    "logsumexp": "logsumexp({e})",
    "dot": "dot({e}, {w})",
    "g[t, 2]": "({e})[0]",
}
OVER = ("sum", "mean", "max", "min", "prod", "logsumexp", "softmax", "log_softmax", "flatten", "stack", "axis")


def score(d: Draft, parents: list[Parent], out: str, here: tuple[str, ...]) -> str:
    """A vector of length `out` at one site: a free table, or contributions of the parents, with functions around."""
    parts = _table(d, out, here) if not parents else _parts(d, list(parents), out, here)
    text = " + ".join(parts)
    if here and d.wants("m as a number", 0.04):
        text = f"{text} + 0.3 * {d.choose(*here)}"
    forms = [f for f in AROUND if f != "size in an expression" or out.isidentifier()]
    if d.wished("{}", forms) or d.chance(0.2):
        text = around(d, d.pick("{}", forms), text, out)
    if d.binds and d.wants("where", 0.03):
        name = d.fresh("b")
        d.bindings.append(f"{name} = {text}")
        return name
    return text


def around(d: Draft, name: str, text: str, out: str) -> str:
    """A function of a vector, as long as that."""
    form = AROUND[name]
    fill = {"e": text, "n": out}
    if "{w}" in form:
        fill["w"] = d.param(out)
    if "{joined}" in form:
        fill["joined"] = linear(d, f"2*{out}", out)
    if "{twice}" in form:
        fill["twice"] = linear(d, out, f"2*{out}")
    if "{back}" in form:
        fill["back"] = linear(d, f"2*{out}", out)
    if "{square}" in form:
        fill["square"] = d.param(out, out)
    if "{LayerNorm}" in form:
        fill["LayerNorm"] = d.network(f"LayerNorm({out})")
    if "{Dropout}" in form:
        p = ", p=0.3" if d.wants("Dropout(p)", 0.4) else ""
        fill["Dropout"] = d.network(f"Dropout({out}{p})")
    return form.format(**fill)


def number_score(d: Draft, parents: list[Parent], here: tuple[str, ...]) -> str:
    """One real number at a site."""
    if not parents and not d.wished("{}", list(REDUCE)) and ("number as a parameter" in d.wishes or d.chance(0.4)):
        fixed = [p for p in here if d.kinds[p] == "fixed"]
        shape = tuple(d.plates[p] for p in fixed)
        d.wants("number as a parameter")
        return named(d.param(*shape), fixed)
    width = d.size("P", 2, 3)
    form = REDUCE[d.pick("{}", list(REDUCE))]
    return form.format(e=score(d, parents, width, here), w=d.param(width) if "{w}" in form else "")


# ------------------------------------------------------------ contributions
def _table(d: Draft, out: str, here: tuple[str, ...]) -> list[str]:
    """Free numbers, for each site of fixed plates."""
    fixed = [p for p in here if d.kinds[p] == "fixed"]
    return [named(d.param(*(d.plates[p] for p in fixed), out), fixed)]


def _parts(d: Draft, parents: list[Parent], out: str, here: tuple[str, ...]) -> list[str]:
    near = [p for p in parents if set(p.plates) <= set(here)]
    indices = [p for p in near if p.finite]
    vectors = [p for p in near if p.kind == "vector"]
    parts: list[str] = []
    if len(indices) >= 2 and (d.wants("index of two") or d.chance(0.4)):
        a, b = indices[:2]
        parts.append(f"{d.param(a.size, b.size, out)}[{a.ref}, {b.ref}]")
        parents = [p for p in parents if p not in (a, b)]
    elif indices and vectors and ("bank of networks" in d.wishes or d.chance(0.4)):
        parts.append(_mixed(d, indices[0], vectors[0], out))
        parents = [p for p in parents if p not in (indices[0], vectors[0])]
    elif len(vectors) > 1 and d.chance(0.4):
        a, b = vectors[:2]  # which may stand on unlike plates
        parts.append(mapping(d, f"{a.size} + {b.size}", out).format(f"concat({a.ref}, {b.ref})"))
        parents = [p for p in parents if p not in (a, b)]
    besides = [p for p in near if p in parents and (p.finite or p.kind == "number")]
    if besides and len(parts) + len(parents) > 1 and d.wants("number beside a vector", 0.1):
        parents = [p for p in parents if p is not besides[-1]]
        return parts + [contribution(d, p, out, here) for p in parents] + [one_number(d, besides[-1])]
    return parts + [contribution(d, p, out, here) for p in parents]


def one_number(d: Draft, p: Parent) -> str:
    """What a parent adds to each entry of a vector alike."""
    if p.finite:
        return f"{d.param(p.size)}[{p.ref}]"
    return d.choose("{}", "tanh({})", "0.5 * {}").format(p.ref)


def _mixed(d: Draft, index: Parent, vector: Parent, out: str) -> str:
    """One of a bank of networks, or one network that reads both."""
    if index.kind == "category" and d.wants("bank of networks", 0.5):
        return f"{d.network(f'Linear({vector.size}, {out})', 'bank', index.size)}[{index.ref}]({vector.ref})"
    if d.chance(0.4):
        return f"matmul({d.param(index.size, out, vector.size)}[{index.ref}], {vector.ref})"
    both = d.network(f"Linear({index.size} + {vector.size}, {out})")
    return f"{both}(concat(onehot({index.ref}), {vector.ref}))"


def contribution(d: Draft, p: Parent, out: str, here: tuple[str, ...]) -> str:
    """What one parent adds to a vector."""
    away = [q for q in p.plates if q not in here]
    if p.finite:
        return _summed_index(d, p, out, away[0]) if away else _index(d, p, out)
    if p.kind == "number":
        each = f"{d.param(out)} * {d.choose('{}', 'tanh({})', '0.5 * {}').format(p.ref)}"
        return _over(d, p, each, out, away[0]) if away else each
    if away:
        return _over(d, p, mapping(d, p.size, out).format(p.ref), out, away[0])
    if p.size == out and d.chance(0.3):
        return p.ref
    form = d.choose("map", "map", "map", "matmul", "dot")
    if form == "matmul":
        return f"matmul({d.param(out, p.size)}, {p.ref})"
    if form == "dot":
        return f"dot({d.param(p.size)}, {p.ref}) * {d.param(out)}"
    return mapping(d, p.size, out).format(p.ref)


def _index(d: Draft, p: Parent, out: str) -> str:
    """An index at its site."""
    forms = ["table", "table", "onehot", "Embedding", "number"]
    if p.kind == "category":
        forms += ["clip", "equal", "less"]
    named_site = p.family == "position" and d.wants("T[s[a[t]]]", 0.3)
    form = "table" if named_site else d.pick("{}", forms)
    if form == "table":
        return f"{d.param(p.size, out)}[{p.ref}]"
    if form == "onehot":
        return mapping(d, p.size, out).format(f"onehot({p.ref})")
    if form == "number":
        return f"{d.param(out)} * {d.choose('2 * ', '0.5 * ', '')}{p.ref}"
    if form == "clip":
        return f"{d.param(p.size, out)}[clip({p.ref} + 1, {p.size})]"
    if form in ("equal", "less"):
        return f"{form}({p.ref}, 1) * {d.param(out)}"
    words = d.network(f"Embedding({p.size}, {d.size('E', 2, 3)})", "emb")
    return f"{linear(d, 'E', out)}(tanh({words}({p.ref})))"


def _over(d: Draft, p: Parent, each: str, out: str, plate: str) -> str:
    """A vector of each site of a plate, as one."""
    forms = [f for f in OVER if d.kinds[plate] == "fixed" or f not in ("flatten", "stack", "axis", "log_softmax")]
    form = next((f for f, w in (("stack", "e over m"), ("axis", "m as an axis")) if d.wants(w)), None)
    form = form if form in forms else d.pick("{} over a plate", forms)
    if form == "softmax":
        w = d.param(out)
        return f"sum(softmax(dot({w}, {each}) over {plate}) * ({each}) over {plate})"
    if form == "log_softmax":
        w = d.param(out)
        return f"sum(log_softmax(dot({w}, {each}) over {plate}) * ({each}) over {plate})"
    if form == "flatten":
        return linear(d, f"{d.plates[plate]}*{out}", out) + f"(flatten({each} over {plate}))"
    if form in ("stack", "axis"):
        if form == "axis" and p.kind == "vector" and p.plates == (plate,) and not p.text:
            return linear(d, f"{d.plates[plate]}*{p.size}", out) + f"(flatten({p.name}))"
        return f"{linear(d, d.plates[plate], out)}(mean(({each})) over {plate})"
    if form == "logsumexp":  # very negative over no sites
        return f"tanh(logsumexp({each} over {plate}))"
    inner = f"tanh({each})" if form == "prod" else each
    return f"{form}({inner} over {plate})"


def _summed_index(d: Draft, p: Parent, out: str, plate: str) -> str:
    """All sites of a fixed plate together."""
    form = d.pick("{} over a plate", ("sum", "mean", "flatten"))
    extent = d.plates[plate]
    if form == "sum" and d.chance(0.5):
        return f"sum({d.param(extent, p.size, out)}[{plate}, {p.ref}] over {plate})"
    if form in ("sum", "mean"):
        return f"{form}({d.param(p.size, out)}[{p.ref}] over {plate})"
    return f"{linear(d, f'{extent}*{p.size}', out)}(flatten(onehot({p.ref}) over {plate}))"


# ------------------------------------------------------------ networks
def linear(d: Draft, size: str, out: str) -> str:
    bias = ", bias=false" if d.wants("Linear(bias)", 0.05) else ""
    return applied(d, d.network(f"Linear({size}, {out}{bias})"))


def applied(d: Draft, name: str) -> str:
    """A network as it is called; now and then its parameters stand still there."""
    return f"detach({name})" if d.wants("detached network", 0.01) else name


def residual(d: Draft, size: str) -> str:
    """A residual block, around its argument, where it is asked for."""
    if not d.wished("{}", ("Residual", "Residual(dropout)", "Residual(bias)")):
        return "{}"
    d.wants("Residual", 0.0)
    options = [o for o in ("dropout=0.2", "bias=false") if d.wants(f"Residual({o.partition('=')[0]})", 0.0)]
    return d.network(f"Residual({', '.join([size, d.size('H', 3, 4), *options])})") + "({})"


def image(d: Draft, size: str) -> str:
    """A convolution of a vector as an image of one row, around its argument, where it is asked for."""
    kinds = ("Convolution2d", "TransposedConvolution2d")
    kind = next((k for k in kinds if d.wished(k + "{}", ("", "(kernel)", "(stride)"))), None)
    if kind is None:
        return "{}"
    d.wants(kind, 0.0)
    options = ["kernel=5"] if d.wants(f"{kind}(kernel)", 0.0) else []
    strides = d.wants(f"{kind}(stride)", 0.0)
    network = d.network(f"{kind}({', '.join(['1', '1', '1', size, *options, *['stride=2'] * strides])})")
    if not strides:
        return f"flatten({network}(reshape({{}}, 1, 1, {size})))"
    if kind == "Convolution2d":
        return f"flatten({network}(reshape({linear(d, size, f'4*{size}')}({{}}), 1, 2, 2*{size})))"
    return f"{linear(d, f'4*{size}', size)}(flatten({network}(reshape({{}}, 1, 1, {size}))))"


def mapping(d: Draft, size: str, out: str) -> str:
    """A linear layer or a small perceptron, around its argument."""
    return image(d, out).format(residual(d, out).format(_mapping(d, size, out)))


def _mapping(d: Draft, size: str, out: str) -> str:
    wished = d.wished("activation {}", ACTIVATIONS) or d.wished("{}", ("MLP", "MLP(dropout)", "MLP(bias)"))
    if not wished and d.chance(0.6):
        return linear(d, size, out) + "({})"
    options = [f"activation={d.pick('activation {}', ACTIVATIONS)}"]
    if d.wants("MLP(dropout)", 0.05):
        options.append("dropout=0.2")
    if d.wants("MLP(bias)", 0.05):
        options.append("bias=false")
    return applied(d, d.network(f"MLP({size}, {d.size('H', 3, 4)}, {out}, {', '.join(options)})")) + "({})"


RECURRENT = tuple(name for name, kind in NETWORKS.items() if kind.reads == "causal")
FEW = {"layers": "2", "kernel": "2", "dropout": "0.2", "heads": "2", "positions": "70", "dilation": "2"}


def recurrent(d: Draft, size: str, out: str, kinds: tuple[str, ...] = RECURRENT, bank: str = "") -> tuple[str, str]:
    """A network over a stretch, and how long a vector it gives."""
    kind = d.pick("{}", kinds, [k not in LATECOMERS for k in kinds])
    for option in FEW:
        kind = next((k for k in kinds if f"{k}({option})" in d.wishes), kind)
    known = [o for o, _ in NETWORKS[kind].options if o in FEW]
    options = [f"{o}={FEW[o]}" for o in known if d.wants(f"{kind}({o})", 0.1)]
    if kind == "DilatedConvolution" and not any(o.startswith("layers") for o in options) and d.chance(0.5):
        options.append("layers=1")
    if f"heads={FEW['heads']}" in options:  # a part for each
        out = f"2*{out}"
    text = f"{kind}({', '.join([size, out, *options])})"
    return d.network(text, "rnn", bank), NETWORKS[kind].output.replace("out", out)


assert set(REDUCE) - {"g[t, 2]"} <= set(FUNCTIONS)
