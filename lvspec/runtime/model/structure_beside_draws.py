"""p(y | x) of a hidden structure y whose scores read latents that are drawn: a mixture over the weighted draws.

p(y | x) ≈ Σ_s w_s p(y | x, z_s)        w_s the self-normalised importance weights of the draws
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lvspec.runtime.core.structured import Parts, Structured
from lvspec.runtime.core.undefined import Undefined
from lvspec.runtime.model.posterior import DrawnPosterior


@dataclass(frozen=True)
class StructureBesideDraws:
    """Marginals and draws are those of the mixture; the best structures are those under the draw of highest weight.

    at: draws (n, B, ...) by name -> p(y | x, draws), its rows n times those of the batch. draws: the posteriors of the latents that the
    structure's scores read.
    """

    at: Callable[[dict[str, Tensor]], Structured]
    draws: dict[str, DrawnPosterior] = field(kw_only=True)

    def seen_as(self, view: Callable[[Structured], Structured]) -> StructureBesideDraws:
        """The same structures by other parts."""
        return StructureBesideDraws(lambda draws: view(self.at(draws)), draws=self.draws)

    @property
    def likeliest(self) -> Structured:
        """p(y | x, z) at the draw of highest weight."""
        return self.at({name: q.mode.unsqueeze(0) for name, q in self.draws.items()})

    @property
    def mode(self) -> Parts:
        """The best structure given the draw of highest weight: (B, ...) each."""
        return self.likeliest.mode

    def k_best(self, k: int) -> tuple[Tensor, Parts]:
        """Scores (k, B) and parts (k, B, ...) of the best structures given the draw of highest weight."""
        return self.likeliest.k_best(k)

    @property
    def log_count(self) -> Tensor:
        """The log of how many structures are possible given the draw of highest weight: (B,)."""
        return self.likeliest.log_count

    @property
    def marginals(self) -> Parts:
        """Σ_s w_s E[how often y uses the part | x, z_s]: (B, ...) each."""
        at_draws = self.at({name: q.values for name, q in self.draws.items()})
        weights = self.weights(at_draws.rows)
        found = {name: m.unflatten(0, weights.shape) for name, m in at_draws.marginals.items()}
        return {name: torch.einsum("sb,sb...->b...", weights.to(m.dtype), m) for name, m in found.items()}

    def sample(self, n: int) -> Parts:
        """n draws, of z in proportion to the weights and of y given z: (n, B, ...)."""
        chosen = self.shared.chosen(n)
        drawn = self.at({name: self.numbered(q, chosen) for name, q in self.draws.items()}).sample(1)
        return {name: part[0].unflatten(0, (n, -1)) for name, part in drawn.items()}

    @property
    def entropy(self) -> Tensor:
        raise Undefined(
            "entropy: of a mixture over draws; `likeliest.entropy` is that given the draw of highest weight"
        )

    # ------------------------------------------------------------
    @property
    def shared(self) -> DrawnPosterior:
        """The latent that says which draws go together: one that all examples share, where there is such a one."""
        return min(self.draws.values(), key=lambda q: q.weights.dim())

    @staticmethod
    def numbered(q: DrawnPosterior, chosen: Tensor) -> Tensor:
        """q's draws with these numbers, (n, B, ...); where all examples share them, chosen is (n,)."""
        apart = q.weights.dim() > chosen.dim()
        return q.numbered(chosen.unsqueeze(1).expand(-1, q.weights.shape[1]) if apart else chosen)

    def weights(self, rows: int) -> Tensor:
        """Those of each draw's structures: (S, rows / S)."""
        weights = self.shared.weights
        weights = weights.unsqueeze(1) if weights.dim() == 1 else weights
        return weights.repeat_interleave(rows // max(weights.numel(), 1), 1)
