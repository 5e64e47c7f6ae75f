"""Settings that a plan has no use for: weights and free nats of a KL that its objective lacks, a bound or draws where none is made."""

from __future__ import annotations

from collections.abc import Iterable

from lvspec.errors import Diagnostic
from lvspec.ir.plan import LatentPlan
from lvspec.plan.model import Model

CODES = ("without-effect",)
FORCE = "`infer:` chooses another strategy for a latent; `lvspec explain` says which there are"


def idle_settings(model: Model, latents: Iterable[LatentPlan]) -> tuple[Diagnostic, ...]:
    """A warning for each setting that is written down and changes nothing here."""
    spec, treated = model.spec, {p.name: p.treated for p in latents}
    idle = {n for n, t in treated.items() if t.marginal}
    found = []

    def warn(setting: str, name: str | None, why: str) -> None:
        variable = spec.variable(name) if name else spec.variables[0]
        message = f"`{setting}` has no effect: {why}"
        found.append(Diagnostic(CODES[0], variable.span, message, help=FORCE if treated else "", severity="warning"))

    for setting, given in (("kl_weight", spec.kl_weight), ("free_bits", spec.free_bits)):
        for name, _ in given:
            if not name and idle == set(treated):
                warn(setting, next(iter(idle), None), "log p(x) is exact, and has no KL")
            elif name in idle:
                warn(f"{setting}: {name}", name, f"{name} is {treated[name].name}, and has no KL")
    if not any(t.drawn for t in treated.values()):
        for setting in ("bound", "samples"):
            if model.settings.get(setting):
                warn(setting, next(iter(treated), None), "nothing is drawn")
    return tuple(found)
