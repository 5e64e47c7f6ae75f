"""The bound of a mean field at given factors, by brute force, and whether each factor stands at its optimum.

E_q[log p(x, z | theta)] is linear in expected statistics, so it is the mean of log p at any two values of theta whose
statistics have the right mean. Two such values are found for each factor, and every combination of them is taken where
there are several; what the expression is never matters.

    Normal     mu = m ± s                                   mean m, mean square m² + s²
    Gamma      r1 + r2 = 2 E r,  r1 r2 = exp(2 E log r)
    Dirichlet  theta_k theta'_k = exp(2 E log theta_k) for every k, both in the simplex; Beta likewise
    Normal-inverse-Wishart     precisions (1 ± e) E[P], means of other sides (divergences.py)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import reduce
from itertools import product
from operator import add

import torch
from torch import Tensor

from lvspec.ir.distributions import FAMILIES, event_axes
from lvspec.verify.checks.gradients import GRADIENT, VALUE, gradient_check
from lvspec.verify.checks.subject import Subject
from lvspec.verify.oracle.divergences import divergence, normal_inverse_wishart_points
from lvspec.verify.oracle.enumerate import ExampleBound, assignments, joint_terms, table
from lvspec.verify.oracle.world import SAMPLE, Instance, World
from lvspec.verify.report import Check, gradient_error, relative_error

Factors = dict[str, tuple[Tensor, ...]]  # parameters of q by latent, in the order of the family's arguments


def two_points(family: str, parameters: tuple[Tensor, ...]) -> Tensor:
    """(2, ...): values whose sufficient statistics average to those expected under q."""
    return torch.stack(_POINTS[family](*parameters))


def _normal(loc: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    return loc - scale, loc + scale


def _gamma(concentration: Tensor, rate: Tensor) -> tuple[Tensor, Tensor]:
    product = (2 * (torch.digamma(concentration) - torch.log(rate))).exp()
    return _roots(2 * concentration / rate, product)


def _beta(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    total = torch.digamma(a + b)
    product, other = (2 * (torch.digamma(a) - total)).exp(), (2 * (torch.digamma(b) - total)).exp()
    return _roots(1 + product - other, product)


def _dirichlet(concentration: Tensor) -> tuple[Tensor, Tensor]:
    """The first entry moves against all others, which keep their proportions."""
    center = (torch.digamma(concentration) - torch.digamma(concentration.sum(-1, keepdim=True))).exp()
    first, rest = center[..., :1], center[..., 1:]
    others = rest.sum(-1, keepdim=True)
    low, high = _roots(1 + first**2 - others**2, first**2)
    (a, b) = (torch.cat([p, rest / others * (1 - p)], -1) for p in (low, high))
    return a, b


def _roots(total: Tensor, product: Tensor) -> tuple[Tensor, Tensor]:
    """The two numbers with this sum and this product."""
    gap = (total**2 - 4 * product).clamp_min(0).sqrt()
    high = (total + gap) / 2
    return product / high, high


def _normal_inverse_wishart(*parameters: Tensor) -> tuple[Tensor, Tensor]:
    return normal_inverse_wishart_points(dict(zip(("loc", "kappa", "df", "scale"), parameters, strict=True)))


_POINTS: dict[str, Callable[..., tuple[Tensor, Tensor]]] = {
    "Normal": _normal,
    "Gamma": _gamma,
    "Beta": _beta,
    "Dirichlet": _dirichlet,
    "NormalInverseWishart": _normal_inverse_wishart,
}


def bound(subject: Subject, factors: Factors, batch: Mapping[str, Tensor], row: int) -> ExampleBound:
    """log Σ_z exp E_q[log p(x, z | theta)] - Σ KL(q ‖ p) of one example, which bears its share of what is global."""
    spec, names = subject.spec, list(factors)
    family = {n: spec.variable(n).general.dist.family for n in names}
    corners = list(product((0, 1), repeat=len(names)))  # two latents in one factor are independent under q
    points = {n: two_points(family[n], factors[n]) for n in names}
    draws = {n: points[n][[corner[i] for corner in corners]] for i, n in enumerate(names)}
    instance: Instance = subject.instance(batch, draws)
    treatments = {**instance.treatments, **dict.fromkeys(names, "sampled")}
    world = World(replace(instance, treatments=treatments, noisy=frozenset()), row)
    every = world.random_sites("latent") + world.random_sites("observed")
    free = [s for s in every if s[0] in factors]
    summed = [s for s in world.hidden() if s[0] not in factors]
    rows, means = assignments(world, summed), []
    terms = joint_terms(world, [s for s in every if s[0] not in factors])
    for sample in range(len(corners)):
        world.memory.assignment[SAMPLE] = sample
        means.append(table(world, summed, rows, terms).sum(1))
    kl = {n: torch.zeros((), dtype=torch.float64) for n in names}
    for name, at in free:
        kl[name] = kl[name] + world.share((name, at)) * _kl(world, name, at, family[name], factors[name], row)
    return ExampleBound(torch.logsumexp(torch.stack(means).mean(0), 0) - sum(kl.values()), kl)


def _kl(world: World, name: str, at: tuple[int, ...], family: str, parameters: tuple[Tensor, ...], row: int) -> Tensor:
    variable = world.variables[name]
    sites = dict(zip(variable.plates, at, strict=True))
    place = (
        *(() if variable.outside_batch else (row,)),
        *(sites[p.name] for p in world.spec.plates if p.name in sites),
    )
    arguments = [a.name for a in FAMILIES[family].arguments]  # of scale and scale_tril a factor has the first
    q = {a: p[place] for a, p in zip(arguments, parameters, strict=False)}
    return divergence(family, q, world.density(variable, at)[1], world.shape(variable.type.shape, sites))


def factors_at_optimum(subject: Subject, batch: Mapping[str, Tensor]) -> Factors:
    """The module's own q, every parameter spelled out over its plates."""
    plan, model = subject.plan, subject.model
    of_all = set(plan.mean_field) <= set(plan.shared)  # such a q depends on no batch
    found = model.optimum() if of_all else model.optimum(model.prepare(dict(batch)))
    whole = {n for n in found if event_axes(subject.spec.variable(n).general.dist.family)}
    return {n: f.parameters if n in whole else tuple(torch.broadcast_tensors(*f.parameters)) for n, f in found.items()}


def mean_field_checks(subject: Subject, batch: Mapping[str, Tensor] | None = None, about: str = "") -> list[Check]:
    """The bound, its parts and its gradient at the module's q; the gradient with respect to an example's q is zero."""
    batch = subject.batch if batch is None else batch
    factors = {n: tuple(p.detach().requires_grad_() for p in f) for n, f in factors_at_optimum(subject, batch).items()}
    objective = subject.objective(batch)
    bounds = [bound(subject, factors, batch, row) for row in range(subject.rows)]
    elbo = torch.stack([b.elbo for b in bounds])
    loss = subject.mean_loss(list(elbo), batch.get("weight"))
    parts = objective.reconstruction - sum(objective.kl.values())
    checks = [
        Check(f"ELBO{about}", relative_error(objective.elbo, elbo), VALUE),
        Check(f"ELBO = reconstruction − Σ KL{about}", relative_error(parts, objective.elbo), VALUE),
        Check(f"loss{about}", relative_error(objective.loss, loss), VALUE),
    ]
    for name in factors:
        expected = torch.stack([b.kl[name] for b in bounds])
        checks.append(Check(f"KL of {name}{about}", relative_error(objective.kl[name], expected), VALUE))
    own = [p for n, f in factors.items() if not subject.spec.variable(n).outside_batch for p in f]
    possible = [b.elbo for b in bounds if b.elbo.isfinite()]  # an impossible example has no way up
    if own and possible:
        slopes = torch.autograd.grad(reduce(add, possible), own, retain_graph=True)
        checks.append(
            Check(f"slope of the bound in q{about}", gradient_error(list(slopes), [None] * len(slopes)), GRADIENT)
        )
    rows = (objective.elbo, [b.elbo for b in bounds])
    return [*checks, gradient_check(subject, about, (objective.loss, loss), rows)]
