"""Checks without chance: values, gradients and posteriors of the emitted module against the oracle's, at fixed draws."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lvspec.ir.structured import structure_of
from lvspec.verify.checks.gradients import VALUE, gradient_check, scored
from lvspec.verify.checks.subject import Subject
from lvspec.verify.oracle.draw import RUBBISH, counted_plates, owned_sites, padded_extent, position_plate, random_column
from lvspec.verify.oracle.enumerate import LIMIT
from lvspec.verify.oracle.missing import read_by_the_model
from lvspec.verify.oracle.possible import make_possible
from lvspec.verify.report import Check, relative_error
from lvspec.verify.shrink import joint_states

SINGLY = 12  # variables that are hidden one at a time


def exact_checks(subject: Subject, batch: Mapping[str, Tensor] | None = None, about: str = "") -> list[Check]:
    """log p(x), the loss and its gradient, where nothing is sampled and q is no distribution: points are known, all else is summed.
    batch: the subject's own, or that with weights."""
    objective, batch = subject.objective(batch), subject.batch if batch is None else batch
    found = objective.log_prob if objective.log_joint is None else objective.log_joint
    expected, terms = subject.log_marginals, subject.terms
    loss = subject.mean_loss(
        [value + sum(t.values()) for value, t in zip(expected, terms, strict=True)], batch.get("weight")
    )
    name = f"log p(x{', z' if subject.plan.points else ''}){about}"
    checks = [
        Check(name, relative_error(found, torch.stack(expected)), VALUE),
        *_terms(objective, terms, about),
        Check(f"loss{about}", relative_error(objective.loss, loss), VALUE),
    ]
    return [*checks, gradient_check(subject, about, (objective.loss, loss), (found, expected))]


def _terms(objective, terms: list[dict[str, Tensor]], about: str) -> list[Check]:
    """What `objective:` adds, of every example."""
    names = terms[0] if terms else ()
    expected = {n: torch.stack([t[n] for t in terms]) for n in names}
    return [Check(f"term {n}{about}", relative_error(objective.extras[n], e), VALUE) for n, e in expected.items()]


def bound_checks(subject: Subject, batch: Mapping[str, Tensor] | None = None, about: str = "") -> list[Check]:
    """The ELBO, its parts, and (where every draw is reparameterized) the loss and its gradient, at fixed draws.
    batch: the subject's own, or that with weights."""
    objective, bounds, batch = subject.objective(batch), subject.bounds, subject.batch if batch is None else batch
    rows = [b.elbo for b in bounds]
    parts = objective.reconstruction - sum(objective.kl.values())
    checks = [
        Check(f"ELBO{about}", relative_error(objective.elbo, torch.stack(rows)), VALUE),
        Check(f"ELBO = reconstruction − Σ KL{about}", relative_error(parts, objective.elbo), VALUE),
    ]
    # where latents are partly given, whether a log p counts as a KL is a convention: only the sum is compared
    given = any(v.name in batch for v in subject.spec.of_role("latent"))
    none = torch.zeros((), dtype=torch.float64)  # of an example without a site
    for name in [n for n in objective.kl if any(n in b.kl for b in bounds) and not given]:
        expected = torch.stack([b.kl.get(name, none) for b in bounds])
        checks.append(Check(f"KL of {name}{about}", relative_error(objective.kl[name], expected), VALUE))
    checks += _terms(objective, [b.terms for b in bounds], about)
    if scored(subject):
        return checks
    loss = subject.loss(bounds, batch.get("weight"))
    return [
        *checks,
        Check(f"loss{about}", relative_error(objective.loss, loss), VALUE),
        gradient_check(subject, about, (objective.loss, loss), (objective.elbo, rows)),
    ]


def log_prob_check(subject: Subject, about: str = "") -> Check:
    """`model.log_prob` where nothing is drawn: exact, guide or no guide."""
    found = subject.model.log_prob(dict(subject.batch))
    return Check(f"log_prob{about}", relative_error(found, torch.stack(subject.log_marginals)), VALUE)


def hidden_variants(subject: Subject, seed: int) -> list[tuple[str, dict[str, Tensor]]]:
    """Batches in which a finite latent is given, at some sites or at all, or an observed variable is missing at some; in
    which all of them are so together; and in which nothing is observed."""
    generator = torch.Generator().manual_seed(seed)
    spec = subject.spec
    variants: list[tuple[str, str, Tensor]] = []
    for latent in spec.of_role("latent"):
        if latent.type.support.finite and not latent.type.shape and not latent.outside_batch:
            value = random_column(spec, latent, subject.sizes, subject.rows, subject.length, subject.batch, generator)
            variants.append((latent.name, "given", value))
    seen = [v.name for v in spec.of_role("observed")]
    read = read_by_the_model(spec)
    variants += [(n, "missing", subject.batch[n]) for n in seen]  # where the model reads it, the batch may be refused
    whole = [
        (f", {name} given", {**subject.batch, name: value, **_placed(subject, name, value)})
        for name, what, value in variants
        if what == "given"
    ]
    kept = sorted(torch.randperm(len(variants), generator=generator).tolist()[: singly(subject)])
    partly = [_partly(subject, variants[i], generator) for i in kept]
    unread = [v for v in variants if v[1] == "given" or v[0] not in read]
    together = {name: value for v in unread for name, value in _partly(subject, v, generator)[1].items()}
    if len(unread) > 1:
        partly.append((", all partly known", {**subject.batch, **together}))
    if set(seen) == {name for name, what, _ in unread if what == "missing"}:
        partly.append((", nothing observed", {**subject.batch, **_unseen(subject, seen)}))
    return [*partly, *at_the_end(subject, read), *whole[:1], *full_length(subject, generator)]


def first_missing(subject: Subject) -> list[tuple[str, dict[str, Tensor]]]:
    """The batch without the first sites of what is observed, by the first variable that may be missing, if there is one."""
    read = read_by_the_model(subject.spec)
    for v in subject.spec.of_role("observed"):
        if v.name not in read and v.plates and structure_of(v) is None:
            observed = torch.ones(subject.batch[v.name].shape[: 1 + len(v.plates)], dtype=torch.bool)
            observed[..., :1] = False
            return [(f", {v.name} partly missing", {**subject.batch, f"{v.name}_observed": observed})]
    return []


def at_the_end(subject: Subject, read: set[str]) -> list[tuple[str, dict[str, Tensor]]]:
    """Batches in which the last sites of a finite variable are missing, which its own later ones may read and nothing else."""
    found = []
    for v in subject.spec.of_role("observed"):
        ordered = v.plates and subject.spec.plate(v.plates[-1]).ordered
        if not (ordered and v.type.support.finite and v.name in read) or structure_of(v) is not None:
            continue
        sites = subject.batch[v.name].shape[: 1 + len(v.plates)]
        observed = (torch.arange(sites[-1]) < max(sites[-1] - 2, 1)).expand(sites).clone()
        found.append((f", {v.name} missing at the end", {**subject.batch, f"{v.name}_observed": observed}))
    return found


def singly(subject: Subject) -> int:
    """How many variables are hidden one at a time: few, where each takes long."""
    states = joint_states(subject.spec, subject.sizes, subject.length)
    return SINGLY if states <= LIMIT else 2


def full_length(subject: Subject, generator: torch.Generator) -> list[tuple[str, dict[str, Tensor]]]:
    """The batch without lengths: every site counts."""
    spec, rows = subject.spec, subject.rows
    extents = {
        p.name: padded_extent(spec, p.name, subject.sizes, subject.length) for p in spec.plates if p.like is None
    }
    standing = {p for v in spec.variables for p in v.plates}
    ragged = [p for p in spec.plates if p.ragged and p.name in standing]
    if not ragged:
        return []
    full = {p.name: torch.full((rows, *([extents[p.within]] if p.within else [])), extents[p.name]) for p in ragged}
    told = {p for v in spec.variables if v.role in ("observed", "given") for p in v.plates}
    counted = counted_plates(spec) - told
    batch = {name: full[name] for name in full if name in counted}  # where nothing else says how many sites there are
    batch |= {name: subject.batch[name] for name in ("index",) if name in subject.batch}
    for variable in spec.of_role("observed") + spec.of_role("given"):
        size = (subject.sizes, rows, subject.length, full, generator)
        batch[variable.name] = random_column(spec, variable, *size)
    make_possible(subject.instance(batch))
    return [(", no lengths", batch)]


def _unseen(subject: Subject, names: list[str]) -> dict[str, Tensor]:
    """The variables with nothing but rubbish in them, which `name_observed` says."""
    found: dict[str, Tensor] = {}
    for name in names:
        value, plates = subject.batch[name], subject.spec.variable(name).plates
        observed = torch.zeros(value.shape[: 1 + len(plates)], dtype=torch.bool)
        found |= {name: torch.full_like(value, RUBBISH[value.is_floating_point()]), f"{name}_observed": observed}
    return found


def _placed(subject: Subject, name: str, value: Tensor) -> dict[str, Tensor]:
    """`name_observed` of a position: where an example has no site, there is none to be given."""
    variable = subject.spec.variable(name)
    plate = position_plate(variable)
    if plate is None:
        return {}
    owned = owned_sites(subject.spec, variable.plates, plate, subject.batch, value.dim())
    return {f"{name}_observed": (owned > 0).expand(value.shape).clone()}


def _partly(subject: Subject, variant: tuple[str, str, Tensor], generator) -> tuple[str, dict[str, Tensor]]:
    """The batch with `name_observed`; where it is false there is rubbish."""
    name, what, value = variant
    variable = subject.spec.variable(name)
    observed = torch.rand(value.shape[: 1 + len(variable.plates)], generator=generator) < 0.5
    if what == "given":
        observed &= _placed(subject, name, value).get(f"{name}_observed", observed)
    if what == "missing" and structure_of(variable) is not None:  # all of its sites, or none
        observed = observed[..., :1].expand_as(observed).clone()
    hidden = ~observed.reshape(*observed.shape, *[1] * (value.dim() - observed.dim()))
    value = value.masked_fill(hidden, RUBBISH[value.is_floating_point()])
    return f", {name} partly {what}", {**subject.batch, name: value, f"{name}_observed": observed}


def weighted_batch(subject: Subject) -> dict[str, Tensor]:
    """The batch with example weights."""
    return {**subject.batch, "weight": torch.linspace(0.5, 2.0, subject.rows, dtype=torch.float64)}
