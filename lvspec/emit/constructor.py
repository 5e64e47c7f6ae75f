"""The constructor of an emitted module: sizes, parameters, networks; and what a batch is prepared with."""

from __future__ import annotations

from lvspec.emit.sizes import begin_embeddings, size_code
from lvspec.emit.text import statement, wrap
from lvspec.ir.networks import NETWORKS
from lvspec.ir.plan import Plan
from lvspec.ir.spec import Network, Param


def constructor(plan: Plan, imports: set[str]) -> list[str]:
    spec = plan.spec
    required = [s for s in spec.sizes if s.source != "number"]
    defaults = [s for s in spec.sizes if s.source == "number"]
    arguments = [f"{s.name}: int" for s in required]
    has_global = any(v.outside_batch for v in spec.of_role("latent"))
    if has_global:
        arguments.append("dataset_size: int")
    sizes = dict(plan.sizes)
    arguments += [f"{s.name}: int = {sizes[s.name]}" for s in defaults]
    rows = wrap(f"def __init__({', '.join(['self', *arguments])}):", 1)
    rows.append("        super().__init__()")
    fixed = sorted({n for p in plan.unrolled for n in spec.plate(p).size.names})
    for name in fixed:
        rows.append(f"        if {name} != {sizes[name]}:  # its sites are written out below")
        rows += wrap(
            f'raise ValueError("{name} is {sizes[name]} in this module: compile the spec again for another number")', 3
        )
    for size in spec.sizes:
        rows.append(f"        self.{size.name} = {size.name}")
    if has_global:
        rows.append("        self.dataset_size = dataset_size")
    if plan.sampled:
        rows.append(f"        self.samples = {plan.samples}  # draws per example, S")
    for param in spec.params:
        rows += _param(param)
    begins = begin_embeddings(plan)
    used = _used_networks(plan)
    for network in plan.networks:
        if network.name in used:
            rows += _network(network, begins, imports)
    for latent in (p for p in plan.latents if p.option("baseline") in ("moving_average", "learned")):
        imports.add("MovingAverage")
        rows += statement(f"self.average_{latent.name} = MovingAverage()", "of what draws were worth, step by step", 2)
    rows.append(
        '        self.register_buffer("step", torch.zeros((), dtype=torch.int64))  # advanced by the training loop'
    )
    rows.append('        self.register_buffer("zero", torch.zeros(()), persistent=False)  # carries dtype and device')
    if any(v.name in plan.mean_field and v.outside_batch for v in spec.of_role("latent")):
        imports.add("SharedFactors")
        rows.append(
            "        self.shared = SharedFactors(self.shared_prior())  # q of what the data set shares, near its prior"
        )
    return rows


def _used_networks(plan: Plan) -> set[str]:
    return {n.name for n in plan.networks}


def _local(size) -> str:
    return size_code(size).replace("self.", "")


def _param(param: Param) -> list[str]:
    shape = ", ".join(_local(d) for d in param.shape) or "()"
    kind, numbers = param.init or ("normal", (0.0, 1.0))
    values = {
        "normal": f"torch.randn({shape})",
        "uniform": f"torch.rand({shape})",
        "zeros": f"torch.zeros({shape})",
        "ones": f"torch.ones({shape})",
        "orthogonal": f"nn.init.orthogonal_(torch.empty({shape}))",
        "eye": f"{numbers[0]:g} * torch.eye({shape})" if numbers else "",
        "constant": f"torch.full(({shape},), {numbers[0] if numbers else 0.0!r})",
    }
    code = values[kind]
    if kind == "normal" and tuple(numbers) not in ((), (0.0, 1.0)):
        code = f"{numbers[0]:g} + {numbers[1]:g} * {code}" if numbers[0] else f"{numbers[1]:g} * {code}"
    if kind == "uniform" and tuple(numbers) not in ((), (0.0, 1.0)):
        code = f"{numbers[0]:g} + {numbers[1] - numbers[0]:g} * {code}"
    extra = ", requires_grad=False" if param.frozen else ""
    comment = f"({', '.join(map(str, param.shape))}{',' if len(param.shape) == 1 else ''})"
    return statement(f"self.{param.name} = nn.Parameter({code}{extra})", comment, 2)


def user_class(network: Network) -> str:
    """The name that a user's class has in the emitted file."""
    return network.path.rpartition(".")[2]


BANKS = {"Linear": "LinearBank", "MLP": "MLPBank", "Embedding": "EmbeddingBank"}


def _literal(value) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _network(network: Network, begins: set[str], imports: set[str]) -> list[str]:
    sizes = [_local(d) for d in network.arguments]
    usual = dict(NETWORKS[network.kind].options)
    options = [f"{k}={_literal(v)}" for k, v in network.options if k != "reads" and v != usual.get(k)]
    if network.kind == "Embedding" and network.name in begins:
        options.append("begin=True")
    if network.kind == "Module":
        return statement(
            f"self.{network.name} = {user_class(network)}({', '.join(sizes)})", "a class of the user's own", 2
        )
    count = " * ".join(_local(d) if len(d.terms) == 1 else f"({_local(d)})" for d in network.bank)
    if network.bank and network.kind in BANKS:
        imports.add(BANKS[network.kind])
        code = f"{BANKS[network.kind]}({', '.join([count, *sizes, *options])})"
    elif network.bank:
        imports.update(("Bank", network.kind))
        code = f"Bank([{network.kind}({', '.join([*sizes, *options])}) for _ in range({count})])"
    elif network.kind in ("Linear", "LayerNorm", "Dropout"):
        sizes = [] if network.kind == "Dropout" else sizes
        code = f"nn.{network.kind}({', '.join([*sizes, *options])})"
    else:
        imports.add(network.kind)
        code = f"{network.kind}({', '.join([*sizes, *options])})"
    note = (
        "the last row is the begin symbol"
        if "begin=True" in options
        else "derived for the guide"
        if network.derived
        else ""
    )
    return statement(f"self.{network.name} = {code}", note, 2)


def prepare(plan: Plan, imports: set[str]) -> list[str]:
    spec = plan.spec
    rows = [
        "    def prepare(self, batch: dict) -> dict:",
        '        """Adds masks and the places of real sites, from host-side lengths: once per batch, outside the step."""',
        '        if "rows" in batch:',
        "            return batch",
    ]
    readable = [f'"{v.name}"' for v in spec.variables if v.role in ("observed", "given")]
    axes = [
        f'"{v.name}": {1 + len(v.plates)}'
        for v in spec.of_role("latent")
        if v.type.support.finite and not v.outside_batch
    ]
    rows += wrap(f"batch = fill_missing(batch, {', '.join(readable)}, latents={{{', '.join(axes)}}})", 2)
    current = "batch"
    for plate in (p for p in spec.plates if p.ragged):
        axes = [
            f'"{v.name}": {v.plates.index(plate.name) + 1}'
            for v in spec.variables
            if v.role in ("observed", "given", "latent") and plate.name in v.plates and not v.outside_batch
        ]
        if not axes:
            continue  # nothing is on it, so no batch says how many sites it has
        imports.add("prepare_plate")
        within = f', within="{plate.within}"' if plate.within else ""
        rows += wrap(f'batch = prepare_plate({current}, "{plate.name}", {{{", ".join(axes)}}}{within})', 2)
    masks = []
    for variable in spec.of_role("observed"):
        plates = "".join(f'"{p}", ' for p in variable.plates)
        masks.append(f'"{variable.name}": ({plates[:-1] if len(variable.plates) == 1 else plates[:-2]})')
    rows += wrap(f"batch = observed_sites(batch, {{{', '.join(masks)}}})", 2)
    imports.update(("fill_missing", "observed_sites"))
    safe = {"positive": "1.0", "unit": "0.5", "simplex": "0.5"}
    inside = [f"{v.name}={safe[v.type.support.kind]}" for v in spec.of_role("observed") if v.type.support.kind in safe]
    if inside:
        imports.add("inside_support")
        rows += wrap(f"batch = inside_support(batch, {', '.join(inside)})", 2)
    anchor = next(v for v in spec.variables if v.role in ("observed", "given") and not v.outside_batch)
    rows += wrap(f'rows = torch.arange(len(batch["{anchor.name}"]), device=batch["{anchor.name}"].device)', 2)
    rows.append('        return {**batch, "rows": rows}  # its presence says that the batch is prepared')
    return rows
