"""The bound of a structured mean field, every joint assignment written out: q(z) = Π_l p(z_l) exp(tilt_l) / Z_l.

bound = Σ_z q(z) [log p(x, z) - log q(z)]
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lvspec.verify.enumerate import assignments, joint_terms, table
from lvspec.verify.report import Check, gradient_error, relative_error
from lvspec.verify.subject import Subject, mean_loss
from lvspec.verify.world import Site, World

VALUE, GRADIENT = 1e-9, 1e-8


def bound(subject: Subject, tilts: Tensor, batch: Mapping[str, Tensor], row: int) -> Tensor:
    """Of one example; what the batch gives of z has q = 1 there."""
    name = subject.plan.structured[0]
    world = World(subject.instance(batch), row)
    every = world.random_sites("latent") + world.random_sites("observed")
    own = [s for s in every if s[0] == name]
    hidden = world.hidden()
    rows = assignments(world, hidden)
    log_p = table(world, hidden, rows, joint_terms(world, every)).sum(1)
    # q normalises over all chains at once: they are independent, so this is each chain's own normaliser
    score = table(world, hidden, rows, joint_terms(world, own)).sum(1) + _tilted(world, tilts[row], own, hidden, rows)
    log_q = score.log_softmax(0)
    return (log_q.exp() * (log_p - log_q)).sum()


def _tilted(world: World, tilts: Tensor, own: list[Site], hidden: list[Site], rows: list) -> Tensor:
    """Σ of the tilts at each assignment's values."""
    found = []
    for row in rows:
        value = dict(zip(hidden, row, strict=True))
        terms = [tilts[(*at, int(value.get((n, at), 0)))] for n, at in own if (n, at) in value]
        found.append(torch.stack(terms).sum() if terms else tilts.new_zeros(()))
    return torch.stack(found)


def chain_factor_checks(subject: Subject, batch: Mapping[str, Tensor] | None = None, about: str = "") -> list[Check]:
    """The bound and its gradient at the module's q, and that q is at its optimum: the bound's slope in it is zero."""
    batch = subject.batch if batch is None else batch
    tilts = subject.model.optimum(subject.model.prepare(dict(batch))).tilts.detach().requires_grad_()
    objective = subject.objective(batch)
    elbo = torch.stack([bound(subject, tilts, batch, row) for row in range(subject.rows)])
    loss = mean_loss(list(elbo), batch.get("weight"))
    (slope,) = torch.autograd.grad(elbo.sum(), [tilts], retain_graph=True, allow_unused=True)
    return [
        Check(f"ELBO{about}", relative_error(objective.elbo, elbo), VALUE),
        Check(f"loss{about}", relative_error(objective.loss, loss), VALUE),
        Check(f"slope of the bound in q{about}", gradient_error([slope], [None]), GRADIENT),
        Check(
            f"gradient of the loss{about}",
            gradient_error(subject.gradients(objective.loss), subject.gradients(loss)),
            GRADIENT,
        ),
    ]
