"""What is asked of latents that are summed under their own q beside draws of others: their q itself, label by label.

q(z) = Π over sites, or of a whole labelling, given what the batch has        marginals, entropy, mode
"""

from __future__ import annotations

from functools import partial

import torch

from lvspec.verify.checks.gradients import VALUE
from lvspec.verify.checks.subject import Subject
from lvspec.verify.oracle.enumerate import assignments, table
from lvspec.verify.oracle.world import World
from lvspec.verify.report import Check, largest, relative_error


def q_checks(subject: Subject, seed: int, about: str = "") -> list[Check]:
    """The answers about every latent whose q reads no other latent."""
    instance = subject.instance()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        found = subject.model.posterior(dict(subject.batch))
    checks = []
    for latent in (p.name for p in subject.plan.latents if p.treatment == "enumerated"):
        answer = found.get(latent)
        if hasattr(answer, "entropy") and not subject.spec.variable(latent).type.shape:  # and it is no answer by draws
            rows = [_row(World(instance, row), latent, answer) for row in range(subject.rows)]
            for i, name in enumerate(("marginals", "entropy")):
                checks.append(Check(f"{name} of {latent} under q{about}", largest([r[i] for r in rows]), VALUE))
            checks.append(
                Check(f"modes of {latent} under q that are not the best{about}", float(sum(r[2] for r in rows)), 0.0)
            )
    return checks


def _row(world: World, latent: str, answer) -> tuple[float, float, bool]:
    """The errors of one example's marginals and entropy, and whether its mode is another than the best."""
    sites = [s for s in world.hidden() if s[0] == latent]
    rows = assignments(world, sites)
    with torch.no_grad():
        log_q = table(world, sites, rows, [partial(world.log_chance, *s) for s in sites]).sum(1)
    q = log_q.exp()
    errors = []
    for i, (_, at) in enumerate(sites):
        found = answer.marginals[(world.row, *at)].detach()
        expected = [q[[r[i] == k for r in rows]].sum() for k in range(len(found))]
        errors.append(relative_error(found, torch.stack(expected)))
    entropy = -torch.where(q > 0, q * log_q.masked_fill(q == 0, 0.0), 0.0).sum()
    chosen = tuple(int(answer.mode[(world.row, *at)]) for _, at in sites)
    best = [r for r, value in zip(rows, log_q, strict=True) if value >= log_q.max() - VALUE]
    return largest(errors), relative_error(answer.entropy[world.row].detach(), entropy), chosen not in best
