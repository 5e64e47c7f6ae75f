"""Whether a model uses its latents: mutual information between data and draws, active units, and a collapsed posterior.

    I_q(x; z)     = E_x KL(q(z | x) ‖ p(z)) - KL(q(z) ‖ p(z)) = E_x E_q(z | x)[log q(z | x) - log q(z)],  q(z) = E_x q(z | x)
    active units  = entries u of z with Var_x(E_q(z | x)[u]) > 0.01

The first after Hoffman & Johnson 2016, with the mean over the examples that are looked at in place of E_x, so that it is at most
the logarithm of their number; the second after Burda, Grosse & Salakhutdinov 2016.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lvspec.emitted import EmittedModel
from lvspec.ir.expr import Lag, Stretch, VariableRef, walk
from lvspec.ir.reads import bodies
from lvspec.ir.spec import Spec, Variable
from lvspec.runtime.model.encoded import Encoded
from lvspec.train.data.batches import batches, sorted_order
from lvspec.train.data.dataset import Dataset
from lvspec.train.scoring.score import EVALUATION_SEED, held_out
from lvspec.train.settings import TrainSettings

EXAMPLES = 2000  # that are compared with each other; fewer ones are drawn several times
PAIRS = 4_000_000  # numbers of one table of log-densities
ACTIVE = 0.01  # the variance of a unit's mean from which on it is active
COLLAPSED = 0.05  # nats of mutual information below which a latent says next to nothing about the data


@dataclass(frozen=True)
class Usage:
    """Of one latent. information: nats. active, units: how many entries of the mean move with the data, of how many;
    None where the family has no mean to look at."""

    name: str
    information: float
    examples: int
    active: int | None = None
    units: int | None = None

    @property
    def collapsed(self) -> bool:
        """Whether q(z | x) is, for all that can be seen, the same for every x."""
        return self.information < COLLAPSED or self.active == 0


@torch.no_grad()
def usage(model: EmittedModel, dataset: Dataset, settings: TrainSettings, device: torch.device) -> list[Usage]:
    """Every latent whose q reads the data alone; nothing where the model has none."""
    if not hasattr(model, "encode") or len(dataset) < 2:
        return []
    was_training = model.training
    model.eval()
    found: dict[str, list] = {}
    seen = 0
    for batch in batches(dataset, sorted_order(dataset, settings)):
        for name, q in model.encode(held_out(model, batch, device)).items():
            if isinstance(q, Encoded):  # labels have entropies of their own
                found.setdefault(name, []).append(q)
        seen += len(next(iter(batch.values())))
        if seen >= EXAMPLES:
            break
    model.train(was_training)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(EVALUATION_SEED)
        return [_usage(name, _joined(parts)) for name, parts in found.items()]


def remedies(spec: Spec, name: str, settings: TrainSettings) -> list[str]:
    """What to try where a latent is not used, as far as this spec, trained so, has not tried it."""
    latent = spec.variable(name)
    found = []
    if not spec.kl_weight:
        found.append("`kl_weight: linear(0, 1, steps=...)` or `cyclical(0, 1, period=...)`")
    if not spec.free_bits:
        unit = "dimension(0.25)" if len(latent.type.shape) == 1 and not latent.plates else "node(3)"
        found.append(f"`free_bits: {unit}`")
    if settings.inference != "aggressive":
        found.append("`inference: aggressive`")
    if any(v.role == "let" and _reads_its_past(spec, v) for v in spec.variables):
        if not settings.word_dropout:
            found.append("`word_dropout: 0.3`")
        found.append("a decoder that sees less of the prefix")
    if not spec.terms:
        found.append(f"a term of `objective:` that {name} alone has to explain, such as a bag of words")
    return found


def _reads_its_past(spec: Spec, variable: Variable) -> bool:
    """Whether the variable reads earlier sites of what is observed."""
    observed = {v.name for v in spec.of_role("observed")}
    return any(
        isinstance(e, VariableRef) and e.name in observed and any(isinstance(s, Stretch | Lag) for s in e.at)
        for clause in variable.clauses
        for body in bodies(clause)
        for e in walk(body)
    )


def _joined(parts: list):
    """The q of all batches as one."""
    first = parts[0]
    arguments = {n: torch.cat([q.arguments[n] for q in parts])[:EXAMPLES] for n in first.arguments}
    return type(first)(type(first.distribution)(**arguments))


def _usage(name: str, q) -> Usage:
    drawn = q.sample(1)[0]
    n = len(drawn)
    draws = [drawn, *q.sample(max(1, EXAMPLES // n) - 1)]
    # no distribution tells less than nothing; an estimate might
    information = max(0.0, sum(_information(q, d) for d in draws) / len(draws))
    if q.mean is None:
        return Usage(name, information, n)
    return Usage(name, information, n, *_active(q.mean))


def _information(q, drawn: Tensor) -> float:
    """The mean over the examples of log q(z_n | x_n) - log q(z_n) at a draw of each."""
    n = len(drawn)
    width = max(1, drawn[0].numel())
    rows = max(1, PAIRS // (n * width))
    own, mixed = [], []
    for start in range(0, n, rows):
        table = q.log_prob_of_each(drawn[start : start + rows]).double()  # (rows, n)
        own.append(table.diagonal(start))
        mixed.append(table.logsumexp(1) - math.log(n))
    return float((torch.cat(own) - torch.cat(mixed)).mean())


def _active(mean: Tensor) -> tuple[int, int]:
    variance = mean.double().reshape(len(mean), -1).var(0)
    return int((variance > ACTIVE).sum()), variance.numel()
