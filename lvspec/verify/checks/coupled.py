"""Bounds in which all draws of an example stand together, by their definition.

F(w_1 .. w_S) at fixed draws; and Σ_{d_1..d_S} q(d_1) ... q(d_S) F(w_1(d_1), .., w_S(d_S)) over finite draws d.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import product

import torch
from torch import Tensor

from lvspec.ir.bounds import Bound
from lvspec.verify.checks.gradients import VALUE, gradient_check, scored
from lvspec.verify.checks.subject import Subject
from lvspec.verify.oracle.enumerate import assignments, joint_terms, log_sum, log_weights, table, with_treatment
from lvspec.verify.oracle.integrals import integral_terms
from lvspec.verify.oracle.world import SAMPLE, TooMany, World
from lvspec.verify.report import Check, relative_error

LIMIT = 20_000  # joint draws of all samples


def bound_of(bound: Bound, log_weight: Tensor) -> Tensor:
    """F of the weights in the last axis."""
    if bound.name == "elbo":
        return log_weight.mean(-1)
    power = 1.0 - bound.alpha
    mean = torch.logsumexp(power * log_weight, -1) - math.log(log_weight.shape[-1])
    return mean / power


def weight_table(world: World, sample: int) -> tuple[Tensor, Tensor]:
    """q(e) and log Σ_c p(x, c, e, z) / q(e, z) for each value e of what is enumerated, at one sample's other draws."""
    world.memory.assignment[SAMPLE] = sample
    enumerated, collapsed = with_treatment(world, "enumerated"), with_treatment(world, "collapsed")
    drawn = with_treatment(world, "sampled")
    outer, inner = assignments(world, enumerated), assignments(world, collapsed)
    rows = [(*o, *i) for o in outer for i in inner]
    log_p = table(world, enumerated + collapsed, rows, [*joint_terms(world), *integral_terms(world)]).sum(1)
    inside = log_sum(log_p.reshape(len(outer), len(inner)))
    terms = [partial(world.log_q, *s) for s in enumerated + drawn]
    log_q = table(world, enumerated, outer, terms)
    own = table(world, enumerated, outer, [partial(world.log_chance, *s) for s in enumerated]).sum(1)
    held = own > -torch.inf  # what q never draws has no weight: not -inf + inf
    return own.exp(), torch.where(held, inside - torch.where(held, log_q.sum(1), 0.0), 0.0)


def expected_bound(world: World, bound: Bound, samples: int) -> Tensor:
    """The bound of one example, averaged over every value of what is enumerated in each sample."""
    tables = [weight_table(world, s) for s in range(samples)]
    count = math.prod(len(q) for q, _ in tables)
    if count > LIMIT:
        raise TooMany(f"{count} joint draws of {samples} samples")
    choices = torch.tensor(list(product(*(range(len(q)) for q, _ in tables))))
    chances = torch.stack([q[choices[:, s]] for s, (q, _) in enumerate(tables)], -1).prod(-1)
    weights = torch.stack([w[choices[:, s]] for s, (_, w) in enumerate(tables)], -1)
    return (chances * bound_of(bound, weights)).sum()


def coupled_checks(subject: Subject, batch=None, about: str = "") -> list[Check]:
    """The bound and its mean log-weight at fixed draws; the gradient where every draw is reparameterized, pathwise."""
    batch = subject.batch if batch is None else batch
    bound, objective = subject.plan.bound, subject.objective(batch)
    instance = subject.instance(batch)
    weights = [log_weights(instance, row, subject.plan.samples) for row in range(instance.rows())]
    rows = [bound_of(bound, w) for w in weights]
    parts = objective.reconstruction - sum(objective.kl.values())
    checks = [
        Check(f"{bound.name}{about}", relative_error(objective.extras[bound.name], torch.stack(rows)), VALUE),
        Check(f"ELBO{about}", relative_error(objective.elbo, torch.stack(weights).mean(-1)), VALUE),
        Check(f"ELBO = reconstruction − Σ KL{about}", relative_error(parts, objective.elbo), VALUE),
        Check(f"loss{about}", relative_error(objective.loss, subject.mean_loss(rows, batch.get("weight"))), VALUE),
    ]
    if scored(subject) or bound.path.detached:
        return checks
    if bound.form.follows:
        rows = [_followed(w, _log_q(instance, row, subject)) for row, w in enumerate(weights)]
    loss = subject.mean_loss(rows, batch.get("weight"))
    return [*checks, gradient_check(subject, about, (objective.loss, loss), (objective.extras[bound.name], rows))]


def _followed(log_weight: Tensor, log_q: Tensor) -> Tensor:
    """Σ_s v_s (log p(x, z_s) + log q(z_s)), v the normalised weights, which are no function of anything, of one example. One
    that is impossible under every draw moves nothing."""
    dead = (log_weight.detach() == -torch.inf).all(-1, keepdim=True)
    share = torch.softmax(log_weight.detach().masked_fill(dead, 0.0), -1)
    followed = torch.where(
        log_weight.isfinite(), share * (log_weight + 2 * log_q), 0.0
    )  # a draw without a share moves nothing
    return followed.sum(-1).masked_fill(dead.squeeze(-1), 0.0)


def _log_q(instance, row: int, subject: Subject) -> Tensor:
    """log q at each sample's draws, (S,)."""
    world = World(instance, row)
    found = []
    for sample in range(subject.plan.samples):
        world.memory.assignment[SAMPLE] = sample
        terms = [world.log_q(*s) for s in with_treatment(world, "sampled")]
        found.append(torch.stack(terms).sum() if terms else torch.zeros((), dtype=torch.float64))
    return torch.stack(found)
