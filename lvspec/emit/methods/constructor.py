"""The constructor of an emitted module: sizes, parameters, networks."""

from __future__ import annotations

from lvspec.emit.lowering.library_flows import library_flow
from lvspec.emit.lowering.sizes import begin_embeddings, size_code
from lvspec.emit.text.text import statement, wrap
from lvspec.ir.dims import Dim
from lvspec.ir.flows import library_of
from lvspec.ir.networks import NETWORKS
from lvspec.ir.plan import Plan
from lvspec.ir.spec import Network, Param

STEP = statement(
    'self.register_buffer("step", torch.zeros((), dtype=torch.int64))',
    "+= 1 after each update",
    2,
)
ZERO = '        self.register_buffer("zero", torch.zeros(()), persistent=False)  # carries dtype and device'


def constructor(plan: Plan, imports: set[str]) -> list[str]:
    spec = plan.spec
    required = [s for s in spec.sizes if s.source != "number"]
    defaults = [s for s in spec.sizes if s.source == "number"]
    arguments = [f"{s.name}: int" for s in required]
    if spec.counts_examples:
        arguments.append("dataset_size: int")
    sizes = dict(plan.sizes)
    arguments += [f"{s.name}: int = {sizes[s.name]}" for s in defaults]
    rows = wrap(f"def __init__({', '.join(['self', *arguments])}):", 1)
    rows.append("        super().__init__()")
    fixed = sorted({n for p in plan.unrolled for n in spec.plate(p).extent.names})
    for name in fixed:
        rows.append(f"        if {name} != {sizes[name]}:  # its sites are written out below")
        rows += wrap(
            f'raise ValueError("{name} is {sizes[name]} in this module: compile the spec again for another number")', 3
        )
    for size in spec.sizes:
        rows.append(f"        self.{size.name} = {size.name}")
    if spec.counts_examples:
        rows.append("        self.dataset_size = dataset_size")
    if plan.sampled:
        rows.append(f"        self.samples = {plan.samples}  # draws per example, S")
    for param in spec.params:
        rows += _param(param)
    begins = begin_embeddings(plan)
    used = _used_networks(plan)
    for network in sorted(plan.networks, key=lambda n: bool(n.option("tied")) + 2 * bool(n.option("detached"))):
        # after those whose parameters they have
        if network.name in used:
            rows += _network(network, begins, imports)
    for latent in (p for p in plan.latents if p.averages):
        imports.add("MovingAverage")
        rows += statement(f"self.average_{latent.name} = MovingAverage()", "of what draws were worth, step by step", 2)
    rows.append(ZERO)
    if any(v.name in plan.mean_field and v.outside_batch for v in spec.of_role("latent")):
        imports.add("SharedFactors")
        rows.append(
            "        self.shared_factors = SharedFactors(self.shared_prior())  # q of what the data set shares, near its prior"
        )
    return rows


def _used_networks(plan: Plan) -> set[str]:
    return {n.name for n in plan.networks}


def _local(size) -> str:
    return size_code(size).replace("self.", "")


def _param(param: Param) -> list[str]:
    sizes = [*(["dataset_size"] if param.per_example else []), *(_local(d) for d in param.shape)]
    extra = ", requires_grad=False" if param.frozen else ""
    shown = ["N"] * param.per_example + [str(d) for d in param.shape]
    comment = f"({', '.join(shown)}{',' if len(shown) == 1 else ''})"
    comment += ", one row for each example of the training data" if param.per_example else ""
    return statement(f"self.{param.name} = nn.Parameter({first_values(param, sizes)}{extra})", comment, 2)


def first_values(param: Param, sizes: list[str], place: str = "") -> str:
    """A tensor by the parameter's rule; `place`: where it is."""
    plain = ", ".join(sizes)
    shape, whole = (plain or "()") + place, f"({plain}{',' if len(sizes) == 1 else ''})"
    kind, numbers = param.init or ("normal", (0.0, 1.0))
    first, *second = map(_shortest, numbers or (0.0,))
    values = {
        "normal": f"torch.randn({shape})",
        "uniform": f"torch.rand({shape})",
        "zeros": f"torch.zeros({shape})",
        "ones": f"torch.ones({shape})",
        "orthogonal": f"nn.init.orthogonal_(torch.empty({shape}))",
        "eye": f"{first} * torch.eye({shape})",
        "constant": f"torch.full({whole}, {numbers[0] if numbers else 0.0!r}{place})",
    }
    code = values[kind]
    if kind == "normal" and tuple(numbers) not in ((), (0.0, 1.0)):
        code = f"{first} + {second[0]} * {code}" if numbers[0] else f"{second[0]} * {code}"
    if kind == "uniform" and tuple(numbers) not in ((), (0.0, 1.0)):
        code = f"{first} + {_shortest(numbers[1] - numbers[0])} * {code}"
    return code


def _shortest(number: float) -> str:
    """The number as a person would write it, to all its digits."""
    return f"{number:g}" if float(f"{number:g}") == number else repr(number)


def fit_rows(plan: Plan, imports: set[str]) -> list[str]:
    """`fit_rows`: free parameters of examples that are none of the training data."""
    own = [p for p in plan.spec.params if p.per_example and not p.frozen]
    if not own:
        return []
    imports.add("fit_rows")
    place = ", device=self.zero.device"
    values = [(p.name, first_values(p, ["rows", *(size_code(d) for d in p.shape)], place)) for p in own]
    return [
        "    def fit_rows(self, batch: dict, steps: int = 200, rate: float = 0.05) -> dict:",
        '        """The batch with free parameters of its own examples, fitted with all others fixed."""',
        "        batch = self.prepare(batch)",
        '        rows = len(batch["rows"])',
        *wrap(f"first = {{{', '.join(f'{chr(34)}{n}{chr(34)}: {v}' for n, v in values)}}}", 2),
        "        return fit_rows(self, batch, first, steps, rate)",
    ]


def user_class(network: Network) -> str:
    """The name that a user's class has in the emitted file: no name of a spec, and none of the runtime, has two underscores."""
    assert network.path is not None
    return "__".join(network.path.rsplit(".", 1)).replace(".", "__")


def _made(network: Network, sizes: list[str], options: list[str], imports: set[str]) -> str:
    """A call of the network's class, of torch or of the runtime."""
    torch = NETWORKS[network.kind].torch
    if not torch:
        imports.add(network.kind)
    name = f"nn.{network.kind}" if torch else network.kind
    return f"{name}({', '.join([*(sizes if network.kind != 'Dropout' else ()), *options])})"


def _written(value: Dim | float) -> str:
    """A size, a number or a truth value that a class is made with."""
    return _local(value) if isinstance(value, Dim) else repr(value)


def _literal(value) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _network(network: Network, begins: set[str], imports: set[str]) -> list[str]:
    if (other := network.option("detached")) is not None:
        imports.add("frozen")
        return statement(f"self.{network.name} = frozen(self.{other})", "its parameters stand still", 2)
    sizes = [_local(d) for d in network.arguments]
    row = NETWORKS[network.kind]
    usual = dict(row.options)
    options = [f"{k}={_literal(v)}" for k, v in network.options if k not in ("reads", "tied") and v != usual.get(k)]
    if network.kind == "Embedding" and network.name in begins:
        options.append("begin=True")
    if network.kind == "Module":
        made = network.option("made")
        given = sizes if made is None else [f"{k}={v}" if k else v for k, v in ((k, _written(v)) for k, v in made)]
        return statement(
            f"self.{network.name} = {user_class(network)}({', '.join(given)})", "a class of the user's own", 2
        )
    count = " * ".join(_local(d) if len(d.terms) == 1 else f"({_local(d)})" for d in network.bank)
    if network.bank and row.bank:
        imports.add(row.bank)
        code = f"{row.bank}({', '.join([count, *sizes, *options])})"
    elif network.bank:
        imports.add("Bank")
        at_a_site = ", recurrent=False" if row.reads == "site" else ""
        code = f"Bank([{_made(network, sizes, options, imports)} for _ in range({count})]{at_a_site})"
    elif (other := network.option("tied")) is not None:
        imports.add("Tied")
        code = f"Tied({', '.join([f'self.{other}', *sizes, *options])})"
    elif library_of(network):
        imports.add("LazyFlow")
        code = library_flow(network, sizes)
    else:
        code = _made(network, sizes, options, imports)
    note = (
        "the last row is the begin symbol"
        if "begin=True" in options
        else f"the matrices of {network.option('tied')}"
        if network.option("tied")
        else "derived for the guide"
        if network.derived
        else ""
    )
    return statement(f"self.{network.name} = {code}", note, 2)
