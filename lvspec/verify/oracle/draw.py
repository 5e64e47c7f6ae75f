"""Random parameters, batches and noise for a comparison: small, ragged, with rubbish where nothing may be read."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from lvspec.ir.dims import ragged_plate
from lvspec.ir.expr import Dist
from lvspec.ir.numbered import numbered
from lvspec.ir.plan import Plan
from lvspec.ir.spec import Spec, Variable
from lvspec.ir.structured import structure_of
from lvspec.ir.types import Range, Support
from lvspec.verify.oracle.instance import enumerated_parents
from lvspec.verify.oracle.numbers import NUMBERS
from lvspec.verify.oracle.possible import never_empty
from lvspec.verify.oracle.structured import TREES, labelled_trees
from lvspec.verify.oracle.world import Instance

F = torch.float64
RUBBISH = {True: float("nan"), False: 1_000_003}  # by whether it is floating point


def randomize(module: nn.Module, generator: torch.Generator, spread: float = 0.5, gently: Collection[str] = ()) -> None:
    """Every parameter that moves ~ Normal(0, spread), in place; wide networks less, so that nothing saturates, and half as much
    those of the parts `gently`: a value that comes back through steep flows is as large as no number should be."""
    with torch.no_grad():
        for name, parameter in (p for p in module.named_parameters() if p[1].requires_grad):
            fan_in = parameter.shape[-1] if "." in name and parameter.dim() > 1 else 1
            scale = min(spread, 2 * spread / fan_in**0.5) * (0.5 if name.partition(".")[0] in gently else 1)
            parameter.copy_(scale * torch.randn(parameter.shape, dtype=F, generator=generator))


def ragged_lengths(spec: Spec, rows: int, length: int, sizes: Mapping[str, int], generator) -> dict[str, Tensor]:
    """Lengths of every ragged plate: the first row is full; of the others one is short, and one is empty, but never along
    two plates at once. Of a plate whose sites are the values of a latent, or are summed up in a logarithm, no row is empty."""
    found: dict[str, Tensor] = {}
    summed_up = never_empty(spec.variables)
    least = {p.name: 0 for p in spec.plates} | dict.fromkeys(summed_up, 1)
    for n in numbered(spec, spec.guide):  # a site that is read by its number has to be there
        least[n.plate] = max(least[n.plate], n.site + 1)
    supports = {position_plate(v) for v in spec.variables} | summed_up
    least |= {p: max(least[p], 1) for p in supports if p is not None}
    framed = [v for v in spec.of_role("observed") if (s := structure_of(v)) is not None and s.framed]
    spelled = {v.general.dist.over for v in framed}
    standing = {p for v in spec.variables for p in v.plates}  # of others a batch does not speak
    for plate in (p for p in spec.plates if p.ragged and p.name in standing):
        most = padded_extent(spec, plate.name, sizes, length)
        if plate.within is not None:
            drawn = torch.randint(
                most + 1, (rows, padded_extent(spec, plate.within, sizes, length)), generator=generator
            )
            drawn[0, 0] = most
            found[plate.name] = drawn.clamp_min(least[plate.name])
            continue
        own = [most, 1, 0, max(most - 1, 1)] if len(found) % 2 == 0 else [most, max(most - 1, 1), 1, 0]
        if plate.name in supports:
            own = [most, max(most - 1, 1), 1, 2]
        if spelled:  # fewer symbols than frames
            own = [max(most // 2, 1), 0, 1, 0] if plate.name in spelled else [most, max(most - 1, 1), 1, 0]
        found[plate.name] = torch.tensor([own[r % 4] for r in range(rows)]).clamp_min(least[plate.name])
    return found


def random_batch(spec: Spec, sizes: Mapping[str, int], rows: int, length: int, generator) -> dict[str, Tensor]:
    """A batch of every observed and given variable, padded with rubbish beyond the lengths."""
    lengths = ragged_lengths(spec, rows, length, sizes, generator)
    batch = {p: n for p, n in lengths.items() if p in counted_plates(spec)}
    for variable in spec.variables:
        if variable.role in ("observed", "given"):
            batch[variable.name] = random_column(spec, variable, sizes, rows, length, lengths, generator)
    if not any(name in batch for name in (*lengths, *(v.name for v in spec.variables if not v.outside_batch))):
        batch["weight"] = torch.ones(rows, dtype=F)  # nothing else says how many examples there are
    return batch


def counted_plates(spec: Spec) -> set[str]:
    """The plates of which a batch gives lengths: one without a variable has no sites to count."""
    found = {p for v in spec.variables for p in v.plates}
    return found | {within for p in found if (within := spec.plate(p).within)}


def random_column(spec: Spec, variable: Variable, sizes, rows: int, length: int, lengths, generator) -> Tensor:
    """Values of one variable for every row, padded with rubbish."""
    extents = tuple(padded_extent(spec, p, sizes, length) for p in variable.plates)
    lead = extents if variable.outside_batch else (rows, *extents)
    shape = (*lead, *(d.evaluate(sizes) for d in variable.type.shape))
    value = random_value(variable.type.support, extended(spec, sizes, length), shape, generator)
    if variable.role != "given" and getattr(variable.general.body, "family", "") == "OneHotCategorical":
        value = torch.nn.functional.one_hot(value.argmax(-1), shape[-1]).to(F)
    plate = position_plate(variable)
    if plate is not None:
        value = value % owned_sites(spec, variable.plates, plate, lengths, value.dim()).clamp_min(1)
    value = with_trees(variable, value, lengths, generator)
    real = real_sites(spec, variable, rows, extents, lengths)
    real = real.reshape(*real.shape, *[1] * (value.dim() - real.dim()))
    return torch.where(real, value, torch.full_like(value, RUBBISH[value.is_floating_point()]))


def with_trees(variable: Variable, value: Tensor, lengths: Mapping[str, Tensor], generator) -> Tensor:
    """The labels of random trees, where the variable's labels are those of trees."""
    body = variable.general.body if variable.role != "given" else None
    if not isinstance(body, Dist) or not body.over or body.family not in TREES or len(variable.plates) > 1:
        return value
    value = torch.zeros_like(value)
    for row, length in zip(value, lengths[body.over].tolist(), strict=True):
        every = labelled_trees(body.family, length)
        if every:
            chosen = int(torch.randint(len(every), (), generator=generator))
            row[:length] = torch.tensor(every[chosen][0], dtype=row.dtype)
    return value


def extended(spec: Spec, sizes: Mapping[str, int], length: int) -> dict[str, int]:
    """The sizes with the padded extents of ragged plates, `|t|`."""
    ragged = [p.name for p in spec.plates if p.ragged]
    return {**{f"|{p}|": padded_extent(spec, p, sizes, length) for p in ragged}, **sizes}


def position_plate(variable: Variable) -> str | None:
    """The ragged plate whose sites are a variable's values, or None."""
    size = variable.type.support.size
    return ragged_plate(size) if size is not None else None


def owned_sites(spec: Spec, plates: tuple[str, ...], plate: str, lengths, rank: int) -> Tensor:
    """How many sites of `plate` each row has, against the axes of a tensor (B, plates, ...)."""
    own = lengths[plate]
    around = spec.plate(plate).within
    shape = [own.shape[0], *[1] * (rank - 1)]
    if around is not None:
        shape[plates.index(around) + 1] = own.shape[1]
    return own.reshape(shape)


def padded_extent(spec: Spec, plate: str, sizes: Mapping[str, int], length: int) -> int:
    """How many sites a plate has at most. Every other ragged one has one fewer, or, where there are but two, one more: where
    one stands for the other, shapes differ."""
    found = spec.plate(plate)
    if found.size is not None:
        return found.size.evaluate(sizes)
    ragged = [p.name for p in spec.plates if p.ragged and p.like is None]
    return length if ragged.index(found.sites) % 2 == 0 else length - 1 if length > 2 else length + 1


def real_sites(spec: Spec, variable: Variable, rows: int, extents: tuple[int, ...], lengths) -> Tensor:
    """(B, plates...) bool: which sites of a variable lie within the lengths."""
    if variable.outside_batch:
        return torch.ones(extents, dtype=torch.bool)
    real = torch.ones(rows, *extents, dtype=torch.bool)
    for axis, name in enumerate(variable.plates, start=1):
        plate = spec.plate(name)
        if not plate.ragged:
            continue
        inside = torch.arange(extents[axis - 1]) < lengths[name][..., None]
        shape = [rows, *[1] * len(extents)]
        if plate.within is not None and plate.within in variable.plates:
            shape[variable.plates.index(plate.within) + 1] = inside.shape[1]
        shape[axis] = extents[axis - 1]
        real &= inside.reshape(shape)
    return real


def random_value(support: Support, sizes: Mapping[str, int], shape: tuple[int, ...], generator) -> Tensor:
    """Values of a support; reals are of unit size."""
    normal = torch.randn(shape, dtype=F, generator=generator)
    if support.kind == "integer":
        return torch.randint(support.values.evaluate(sizes), shape, generator=generator)
    if support.kind == "onehot":
        return torch.nn.functional.one_hot(normal.argmax(-1), shape[-1]).to(F)
    if support.kind == "boolean":
        return torch.randint(2, shape, generator=generator)
    if support.kind == "count":
        most = 4 if support.size is None else support.values.evaluate(sizes)
        return torch.randint(most, shape, generator=generator)
    if support.kind in ("real", "nonnegative", "unit") and support.known is not None:
        return _between(support.known, normal)
    if support.kind in ("positive", "nonnegative"):
        return normal.exp()
    if support.kind == "unit":
        return torch.sigmoid(normal)
    if support.kind == "sphere":
        return normal / normal.norm(dim=-1, keepdim=True)
    return torch.softmax(normal, -1) if support.kind == "simplex" else normal


def _between(values: Range, normal: Tensor) -> Tensor:
    """Values that lie in a range, of any real ones."""
    if values.low > -torch.inf and values.high < torch.inf:
        return values.low + (values.high - values.low) * torch.sigmoid(normal)
    if values.high < torch.inf:
        return values.high - normal.exp()
    return values.low + normal.exp() if values.low > -torch.inf else normal


def in_numbers(spec: Spec, drawn: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Draws with the numbers of categories for one-hot vectors of latents."""
    vectors = {v.name for v in spec.of_role("latent") if v.one_hot}
    return {n: x.argmax(-1) if n in vectors else x for n, x in drawn.items()}


def random_draws(plan: Plan, instance: Instance, rows: int, length: int, generator) -> dict[str, Tensor]:
    """Noise, or values, for every sampled latent: axes (S, B, plates as declared, parents summed under q, event)."""
    draws = {}
    for name in plan.sampled:
        variable = plan.spec.variable(name)
        draws[name] = _noise(plan, instance, variable, rows, length, generator)
        if plan.refined:  # of each step, too
            steps = range(plan.latent(plan.refined[0]).option("refine"))
            each = [_noise(plan, instance, variable, rows, length, generator) for _ in steps]
            draws[f"{name}.steps"] = torch.stack(each)
    return draws


def _noise(plan: Plan, instance: Instance, variable: Variable, rows: int, length: int, generator) -> Tensor:
    spec, sizes = plan.spec, instance.sizes
    declared = [p.name for p in spec.plates if p.name in variable.plates]
    parents = enumerated_parents(variable.name, instance)
    lead = (
        *(padded_extent(spec, p, sizes, length) for p in declared),
        *(spec.variable(p).type.support.values.evaluate(extended(spec, sizes, length)) for p in parents),
    )
    batch = () if variable.outside_batch else (rows,)
    shape = (plan.samples, *batch, *lead, *(d.evaluate(sizes) for d in variable.type.shape))
    if variable.name not in instance.noisy:
        weighed = instance.weighed
        if weighed is not None and not weighed.row.renormalised and weighed.name == variable.name:
            size, top = variable.type.support.values.evaluate(sizes), int(weighed.option("top", 0))
            return torch.stack([_different(size, top, plan.samples, generator) for _ in range(rows)], 1)
        value = random_value(drawn_from(plan, variable), extended(spec, sizes, length), shape, generator)
        plate = position_plate(variable)
        if plate is not None:
            value = value % owned_sites(spec, tuple(declared), plate, instance.batch, value.dim() - 1).clamp_min(1)
        return torch.stack([with_trees(variable, v, instance.batch, generator) for v in value])
    factor = next(v for v in plan.guide if v.name == variable.name and v.role == "guide")
    if plan.latent(variable.name).relaxed:
        if factor.general.dist.family == "Categorical":
            shape = (*shape, variable.type.support.values.evaluate(sizes))
        return -torch.log(-torch.log(0.05 + 0.9 * torch.rand(shape, dtype=F, generator=generator)))
    family = factor.general.dist.source.family
    if family in NUMBERS:
        return NUMBERS[family].noise(torch.rand(shape, dtype=F, generator=generator))
    return _NOISE.get(family, _standard_normal)(shape, generator)


def drawn_from(plan: Plan, variable: Variable) -> Support:
    """Where q may draw a latent: between narrower bounds than the model's, now and then."""
    factor = next((v for v in plan.guide if v.name == variable.name and v.role == "guide"), variable)
    narrow = factor.general.body.type.support if isinstance(factor.general.body, Dist) else variable.type.support
    return narrow if narrow.kind == variable.type.support.kind else variable.type.support


def _different(size: int, top: int, samples: int, generator) -> Tensor:
    """Different values as long as there are any; then those behind the `top` first ones once more."""
    values = torch.randperm(size, generator=generator)
    others = values[top:].repeat(samples)
    return torch.cat([values[:top], others])[:samples]


def _standard_normal(shape: tuple[int, ...], generator) -> Tensor:
    return 0.7 * torch.randn(shape, dtype=F, generator=generator)  # no test needs the tails


def _depth_and_normal(shape: tuple[int, ...], generator) -> Tensor:
    depth = 0.1 + 1.8 * torch.rand((*shape[:-1], 1), dtype=F, generator=generator)
    return torch.cat([depth, torch.randn(shape, dtype=F, generator=generator)], -1)


_NOISE = {
    "VonMisesFisher": _depth_and_normal,
    "Beta": lambda shape, g: torch.sigmoid(torch.randn(shape, dtype=F, generator=g)),
    "Gamma": lambda shape, g: torch.exp(torch.randn(shape, dtype=F, generator=g)),
    "Dirichlet": lambda shape, g: torch.softmax(torch.randn(shape, dtype=F, generator=g), -1),
    "StudentT": lambda shape, g: torch.stack(
        [torch.randn(shape, dtype=F, generator=g), torch.exp(torch.randn(shape, dtype=F, generator=g))], -1
    ),
}
