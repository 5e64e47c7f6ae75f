"""How much the gradient varies at each latent that is drawn, at the parameters as they are.

    V_z = 1/B Σ_b Σ_u Var(g_bu),    g_bu = ∂ B loss / ∂ a_bu

a: what q(z | x) is given (loc and scale, logits, ...), all sites and entries u of it, of example b, as the guide's networks
give it; where a differs between draws, g is added up over them. The variance is over REPEATS gradients of the same batch:
draws alone make it, parameters and data stand still. Beside it stands Σ_u (E g)², so that one sees whether there is a signal.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lvspec.emitted import EmittedModel
from lvspec.train.data.batches import collate
from lvspec.train.data.dataset import Dataset
from lvspec.train.scoring.score import EVALUATION_SEED, held_out
from lvspec.train.scoring.trace import Trace, traced

REPEATS = 8
EXAMPLES = 16


@dataclass(frozen=True)
class Noise:
    """Of one latent. variance: V_z. signal: the same sum of squared means, what its estimate owes to the variance taken off."""

    variance: float
    signal: float


def gradient_noise(model: EmittedModel, compiled, dataset: Dataset, device: torch.device) -> dict[str, Noise]:
    """By latent that is drawn; of some examples of a data set. The random generators are left as they were."""
    latents = compiled.plan.sampled
    if not latents or not len(dataset):
        return {}
    was_training = model.training
    model.eval()
    rows = torch.linspace(0, len(dataset) - 1, min(EXAMPLES, len(dataset))).long().numpy()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(EVALUATION_SEED)
        batch = _with_gradients(compiled, held_out(model, collate(dataset, rows), device))
        repeats = [_gradients(model, compiled, batch, latents) for _ in range(REPEATS)]
    model.train(was_training)
    return {z: _noise([r[z] for r in repeats]) for z in latents if all(r.get(z) for r in repeats)}


def _with_gradients(compiled, batch: dict) -> dict:
    """Free parameters of each example, which the batch brings along, ask for gradients as a network's output does."""
    own = {p.name for p in compiled.spec.params if p.per_example}
    return {n: v.detach().requires_grad_() if n in own else v for n, v in batch.items()}


def _gradients(model: EmittedModel, compiled, batch: dict, latents: tuple[str, ...]) -> dict[str, list[Tensor]]:
    """One gradient of each argument of each guide factor: (B, ...), or (...) where all examples share it."""
    with torch.enable_grad():
        trace = traced(model, lambda: model(batch))
        found = arguments(trace, compiled.symbols, latents)
        values = [value for _, _, value in found]
        gradients = torch.autograd.grad(trace.objective.loss, values, allow_unused=True) if values else ()
    by_latent: dict[str, list[Tensor]] = {}
    for (name, axes, value), g in zip(found, gradients, strict=True):
        g = torch.zeros_like(value) if g is None else g
        g = g.sum(axes.index("S")) if "S" in axes else g
        examples = g.shape[0] if "B" in axes else 1
        by_latent.setdefault(name, []).append((examples * g).double().reshape(examples, -1))
    return by_latent


def arguments(trace: Trace, symbols: dict, latents: tuple[str, ...]) -> list[tuple[str, tuple[str, ...], Tensor]]:
    """(latent, axes, value) of what each guide factor was given. Of a guide that is drawn site by site the sites' own
    values, not the tensor of all of them that is made afterwards."""
    found: list[tuple[str, tuple[str, ...], Tensor]] = []
    rank: dict[str, int] = {}
    for step in trace.steps:
        symbol = None if step.network else symbols.get(step.name)
        if symbol is None or symbol.part != "q" or not symbol.argument or symbol.node not in latents:
            continue
        if step.value.requires_grad and rank.setdefault(step.name, step.value.dim()) == step.value.dim():
            found.append((symbol.node, symbol.axes, step.value))
    return found


def _noise(repeats: list[list[Tensor]]) -> Noise:
    variance = signal = 0.0
    for one in zip(*repeats, strict=True):
        stacked = torch.stack(one)  # (repeats, examples, entries)
        spread = float(stacked.var(0).sum(-1).mean())
        variance += spread
        signal += float(stacked.mean(0).square().sum(-1).mean()) - spread / len(one)
    return Noise(variance, max(signal, 0.0))
