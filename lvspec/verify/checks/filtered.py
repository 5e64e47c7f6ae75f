"""What is known of a chain's states at a site: p(z_t | x_1 .. x_t), the marginals at t where nothing is observed behind it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lvspec.ir.reads import LAG, Reader
from lvspec.ir.spec import Variable
from lvspec.ir.structured import structure_of
from lvspec.runtime.core.undefined import Undefined
from lvspec.verify.checks.gradients import VALUE
from lvspec.verify.checks.subject import Subject
from lvspec.verify.oracle.enumerate import posterior
from lvspec.verify.oracle.missing import read_by_the_model
from lvspec.verify.report import Check, largest, relative_error

SITE = 1  # the second: there is one before it, and may be one behind it


def filtered_checks(subject: Subject, found: Mapping) -> list[Check]:
    """`filtered` at the second site of every finite latent along an ordered plate, where the module answers; found: its posterior."""
    checks = []
    for latent in subject.spec.of_role("latent"):
        plate = _chain_plate(subject, latent) if latent.type.support.finite and not latent.type.shape else None
        if plate is None or not hasattr(type(found[latent.name]), "filtered"):  # beside points nobody answers
            continue
        try:
            answer = found[latent.name].filtered
        except Undefined:
            continue
        errors = _errors(subject, latent, plate, answer)
        checks.append(Check(f"{latent.name} as known so far", largest(errors), VALUE))
    return checks


def _chain_plate(subject: Subject, latent: Variable) -> str | None:
    """The plate along which it is a chain, if nothing that is observed there is read or is one structure."""
    if structure_of(latent) is not None:
        return None
    reads = (r for v in subject.spec.variables for r in Reader(subject.spec).of_variable(v) if r.name == latent.name)
    plates = {p for r in reads for p, way, _ in r.ways if way == LAG}
    if len(plates) != 1:  # of what is no chain it is the marginal, given everything
        return None
    (plate,) = plates
    there = [v for v in subject.spec.of_role("observed") if plate in v.plates]
    read = read_by_the_model(subject.spec)
    return None if any(v.name in read or structure_of(v) is not None for v in there) else plate


def _errors(subject: Subject, latent: Variable, plate: str, answer: Tensor) -> list[float]:
    instance, axis = subject.instance(_hidden_behind(subject, plate)), latent.plates.index(plate)
    errors = []
    for row in range(instance.rows()):
        with torch.no_grad():
            exact = posterior(instance, row)
        if not (len(exact.rows) and exact.log_marginal.isfinite()):
            continue
        for site in [s for s in exact.sites if s[0] == latent.name and s[1][axis] == SITE]:
            told = answer[(row, *site[1])]
            errors.append(relative_error(told, exact.marginal(site, len(told))))
    return errors


def _hidden_behind(subject: Subject, plate: str) -> dict[str, Tensor]:
    """The batch in which nothing on the plate is observed behind the site."""
    batch = dict(subject.batch)
    for v in subject.spec.of_role("observed"):
        if plate in v.plates:
            axis = 1 + v.plates.index(plate)
            sites = batch[v.name].shape[: 1 + len(v.plates)]
            before = torch.arange(sites[axis]) <= SITE
            batch[f"{v.name}_observed"] = before.reshape(-1, *[1] * (len(sites) - axis - 1)).expand(sites).clone()
    return batch
