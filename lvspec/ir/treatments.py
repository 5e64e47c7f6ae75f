"""What is done with a latent, as data: one row each. Strategies claim one of them; what follows from it is read from its row."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Treatment:
    """marginal: whether log p(x) no longer speaks of the latent, which has no guide factor. guided: whether it has a factor of q
    in an ELBO, written or derived; optimal: one that stands at its optimum, and nobody writes or derives; chains: whether that is
    a product of chains, each summed by itself. summed: whether its values are summed. drawn: whether it is sampled. point:
    whether it has one value, and no divergence."""

    name: str
    meaning: str
    marginal: bool = False
    guided: bool = False
    optimal: bool = False
    chains: bool = False
    summed: bool = False
    drawn: bool = False
    point: bool = False

    @property
    def summed_out(self) -> bool:
        """Whether its values are summed inside the expectation, with no factor of q."""
        return self.summed and self.marginal

    @property
    def integrated(self) -> bool:
        """Whether log p(x) no longer speaks of it, and no value of it is summed."""
        return self.marginal and not self.summed

    @property
    def averaged(self) -> bool:
        """Whether its values are summed under its factor of q."""
        return self.summed and self.guided


TREATMENTS = {
    t.name: t
    for t in (
        Treatment("collapsed", "summed inside the expectation, no guide factor", marginal=True, summed=True),
        Treatment("integrated", "the same of a continuous latent, in closed form", marginal=True),
        Treatment("enumerated", "summed under its guide factor q", guided=True, summed=True),
        Treatment("sampled", "drawn from its guide factor q", guided=True, drawn=True),
        Treatment("mean_field", "q in the prior's family, at its optimum", optimal=True),
        Treatment("structured", "q a product of chains, at its optimum", optimal=True, chains=True),
        Treatment("point", "one value", point=True),
    )
}
