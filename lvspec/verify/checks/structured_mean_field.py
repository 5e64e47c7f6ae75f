"""The bound of a structured mean field, every joint assignment written out: q(z) = Π_l p(z_l) exp(tilt_l) / Z_l.

bound = Σ_z q(z) [log p(z) + log p(x | z) - log q(z)]

Of categories, whose scores u are a sum over chains, the second term is replaced by what is not above it,
Σ_z q(z) u_x(z) - log Σ_v Σ_z q(z) exp u_v(z), at every site that is observed; a truth value has the scores 0 and u.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from lvspec.verify.checks.gradients import GRADIENT, VALUE, gradient_check
from lvspec.verify.checks.subject import Subject
from lvspec.verify.oracle.enumerate import assignments, joint_terms, table
from lvspec.verify.oracle.stretch import number
from lvspec.verify.oracle.world import Site, World
from lvspec.verify.report import Check, gradient_error, relative_error


def bound(subject: Subject, tilts: Tensor, batch: Mapping[str, Tensor], row: int) -> Tensor:
    """Of one example; what the batch gives of z has q = 1 there."""
    name = subject.plan.structured[0]
    world = World(subject.instance(batch), row)
    every = world.random_sites("latent") + world.random_sites("observed")
    own = [s for s in every if s[0] == name]
    hidden = world.hidden()
    rows = assignments(world, hidden)
    bounded = [s for s in every if s[0] != name and world.variables[s[0]].general.dist.family in SCORES]
    explained = [s for s in every if s not in bounded]
    log_p = table(world, hidden, rows, joint_terms(world, explained)).sum(1)
    # q normalises over all chains at once: they are independent, so this is each chain's own normaliser
    score = table(world, hidden, rows, joint_terms(world, own)).sum(1) + _tilted(world, tilts[row], own, hidden, rows)
    log_q = score.log_softmax(0)
    found = (log_q.exp() * (log_p - log_q)).sum()
    return found + sum(_lower(world, s, hidden, rows, log_q) for s in bounded)


def _lower(world: World, site: Site, hidden: list[Site], rows: list, log_q: Tensor) -> Tensor:
    """E_q[score of what is seen] - log Σ_v E_q[exp score_v], for each entry of the site."""
    family, arguments = world.density(world.variables[site[0]], site[1])  # whatever is assigned now: for the shape
    pick = SCORES[family]
    shape, x = pick(arguments["logits"]).shape, number(world.value(*site)).long().reshape(-1)
    recall, variable = world.memory.recall, world.variables[site[0]]

    def every() -> Tensor:
        return recall(("scores", site), lambda: pick(world.density(variable, site[1])[1]["logits"]))

    def score(e: int, v: int) -> Tensor:
        return recall(("score", site, e, v), lambda: every()[e, v])

    terms = [partial(score, e, v) for e in range(shape[0]) for v in range(shape[1])]
    scores = table(world, hidden, rows, terms).reshape(len(rows), *shape)
    mean = torch.einsum("r,rev->ev", log_q.exp(), scores)
    normaliser = torch.logsumexp(log_q[:, None, None] + scores, (0, 2))
    return (mean[torch.arange(shape[0]), x] - normaliser).sum()


# the scores of each entry's values, (entries, values), by the logits
SCORES = {
    "Categorical": lambda logits: logits.reshape(1, -1),
    "Bernoulli": lambda logits: torch.stack([torch.zeros_like(logits), logits], -1).reshape(-1, 2),
}


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
    bounds = [bound(subject, tilts, batch, row) for row in range(subject.rows)]
    elbo = torch.stack(bounds)
    loss = subject.mean_loss(list(elbo), batch.get("weight"))
    climbed = sum((b for b in bounds if b.isfinite()), 0 * tilts.sum())  # an impossible example has no way up
    (slope,) = torch.autograd.grad(climbed, [tilts], retain_graph=True, allow_unused=True)
    return [
        Check(f"ELBO{about}", relative_error(objective.elbo, elbo), VALUE),
        Check(f"loss{about}", relative_error(objective.loss, loss), VALUE),
        Check(f"slope of the bound in q{about}", gradient_error([slope], [None]), GRADIENT),
        gradient_check(subject, about, (objective.loss, loss), (objective.elbo, bounds)),
    ]
