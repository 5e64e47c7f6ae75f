"""Every estimator of a discrete latent's gradient: its bias where the gradient is known, its variance and its time.

    python -m benchmarks.estimators [STRATEGY ...] [--rows 40000] [--calls 40]

Small (2 variables of 3 values, or 3 truth values, or one variable of 6 values; 6 pixels): the encoder's mean gradient over many draws
against the exact one, which the verifier sums. Full size (784 pixels, 256 hidden units, 64 rows): the variance of the
encoder's gradient at fixed parameters, summed over its coordinates, and the process time of a step, value and gradient of
all parameters. Peers, where they are installed, estimate the same gradient of the same networks.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.estimator_peers import peers
from lvspec.driver import compile_spec
from lvspec.errors import SpecError
from lvspec.verify.checks.chance import GROUPS, gradient_estimates
from lvspec.verify.checks.expectation import expected_gradient
from lvspec.verify.checks.subject import Subject

CATEGORIES = """
lvspec: 1
name: categories
sizes: {P: 784, M: 10, K: 20, H: 256}
plates: {m: M}
params: {prior: [M, K]}
networks:
  encoder: MLP(P, H, M*K)
  decoder: MLP(M*K, H, P)
latent:
  z[m]: Categorical(logits=prior[m])
observed:
  x: Bernoulli(logits=decoder(flatten(onehot(z[m]) over m)))
guide:
  z[m]: Categorical(logits=reshape(encoder(x), M, K)[m])
infer:
  z: STRATEGY
"""
BITS = """
lvspec: 1
name: bits
sizes: {P: 784, M: 50, H: 256}
params: {prior: [M]}
networks:
  encoder: MLP(P, H, M)
  decoder: MLP(M, H, P)
latent:
  z: Bernoulli(logits=prior)
observed:
  x: Bernoulli(logits=decoder(z))
guide:
  z: Bernoulli(logits=encoder(x))
infer:
  z: STRATEGY
"""
ONE = """
lvspec: 1
name: one
sizes: {P: 784, K: 100, H: 256}
params: {prior: [K]}
networks:
  encoder: MLP(P, H, K)
  decoder: MLP(K, H, P)
latent:
  z: Categorical(logits=prior)
observed:
  x: Bernoulli(logits=decoder(onehot(z)))
guide:
  z: Categorical(logits=encoder(x))
infer:
  z: STRATEGY
"""
MODELS = {
    "ten variables of 20 values": (CATEGORIES, {"P": 6, "M": 2, "K": 3, "H": 5}),
    "50 truth values": (BITS, {"P": 6, "M": 3, "H": 5}),
    "one variable of 100 values": (ONE, {"P": 6, "K": 6, "H": 5}),
}
STRATEGIES = (
    "reinforce(samples=4)",
    "reinforce(samples=2)",
    "reinforce(samples=4, baseline=moving_average)",
    "reinforce(samples=4, baseline=learned)",
    "reinforce(samples=4, baseline=none)",
    "reinforce(samples=4, balance=0.5)",
    "disarm(samples=4)",
    "sum_and_sample(samples=4, top=1)",
    "sum_and_sample(samples=4, top=3)",
    "without_replacement(samples=4)",
    "relax(samples=4)",
    "gumbel_softmax(samples=4, temperature=1)",
    "gumbel_softmax(samples=4, temperature=0.2)",
    "gumbel_softmax(samples=4, temperature=1, density=relaxed)",
    "straight_through(samples=4, temperature=1)",
)
BATCH = 64
SETTLE = 200  # steps of moving averages and learned baselines before anything is counted


def bias(text: str, sizes: dict[str, int], rows: int) -> tuple[float, float]:
    """|E g - ∇| / |∇| of the encoder, and the standard error of that, from the spread of the mean over groups of draws."""
    compiled = compile_spec(text, sizes=sizes)
    subject = Subject.of(compiled.plan, compiled.Model, seed=0)
    own = torch.cat([torch.full((w.numel(),), n.startswith("encoder.")) for n, w in subject.weights.items()])
    truth = expected_gradient(subject, [*subject.plan.scored, *subject.plan.relaxed], 0).value[own]
    means = gradient_estimates(subject, 0, rows, seed=1).means[:, own]
    return float((means.mean(0) - truth).norm() / truth.norm()), float(
        means.var(0).sum().sqrt() / truth.norm()
    ) / math.sqrt(GROUPS)


def batch_of(seed: int = 5) -> Tensor:
    return (torch.rand(BATCH, 784, generator=torch.Generator().manual_seed(seed)) < 0.3).float()


def settled(compiled) -> nn.Module:
    """A model at its first parameters, its control variates after some steps."""
    torch.manual_seed(0)
    model = compiled.Model(**{s.name: s.value for s in compiled.spec.sizes}).train()
    own = tuple(f"{n.name}." for b in compiled.plan.baselines for n in b.networks)
    moving = [w for n, w in model.named_parameters() if n.startswith(own)] if own else []
    optimizer = torch.optim.Adam(moving, 1e-3) if moving else None
    for _ in range(SETTLE if compiled.plan.latents[0].averages else 0):
        loss = model({"x": batch_of()}).loss
        if optimizer is not None:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


def measured(steps: dict[str, tuple[Callable[[], None], nn.Module]], calls: int) -> dict[str, tuple[float, float]]:
    """Of steps and the encoders that they move: the gradient's variance over calls, milliseconds of a call. Steps take turns,
    so that a slow moment of the machine is one of all."""
    sums = {name: 0.0 for name in steps}
    squares, times = dict(sums), {name: [] for name in steps}
    torch.manual_seed(1)
    for _ in range(calls):
        for name, (step, encoder) in steps.items():
            for weight in encoder.parameters():
                weight.grad = None
            before = time.process_time()
            step()
            times[name].append(time.process_time() - before)
            gradient = torch.cat([w.grad.flatten() for w in encoder.parameters()]).double()
            sums[name] = sums[name] + gradient
            squares[name] = squares[name] + gradient.square()
    variances = {n: float((squares[n] - sums[n].square() / calls).sum()) / (calls - 1) for n in steps}
    return {n: (variances[n], 1000 * statistics.median(times[n])) for n in steps}


def stepping(model: nn.Module, x: Tensor) -> Callable[[], None]:
    batch = model.prepare({"x": x})

    def step() -> None:
        for weight in model.parameters():
            weight.grad = None
        model(batch).loss.backward()

    return step


def row_of(name: str, bias_found: tuple[float, float] | None, variance: float, ms: float) -> str:
    off = f"{bias_found[0]:.3f} ± {bias_found[1]:.3f}" if bias_found else ""
    return f"| {name} | {off} | {variance:.3g} | {ms:.1f} | {variance * ms:.3g} |"


def table(title: str, text: str, small: dict[str, int], only: list[str], rows: int, calls: int) -> list[str]:
    off, steps = {}, {}
    for strategy in (s for s in STRATEGIES if not only or s.partition("(")[0] in only):
        try:
            compiled = compile_spec(text.replace("STRATEGY", strategy))
            off[f"`{strategy}`"] = bias(text.replace("STRATEGY", strategy), small, rows)
        except SpecError:
            continue  # not for this latent
        model = settled(compiled)
        steps[f"`{strategy}`"] = stepping(model, batch_of()), model.encoder
    if text is CATEGORIES and (not only or "peers" in only):
        model = settled(compile_spec(text.replace("STRATEGY", STRATEGIES[0])))
        steps |= {name: (step, model.encoder) for name, step in peers(model, batch_of(), SETTLE).items()}
    lines = [f"\n{title}\n", "| estimator | bias | variance | ms | variance × ms |", "|---|---|---|---|---|"]
    return lines + [row_of(n, off.get(n), *found) for n, found in measured(steps, calls).items()]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("only", nargs="*", metavar="STRATEGY", help="reinforce, relax, ..., peers; by default all")
    asked.add_argument("--rows", type=int, default=40_000, help="draws for the bias")
    asked.add_argument("--calls", type=int, default=40, help="gradients for the variance")
    given = asked.parse_args()
    torch.set_num_threads(1)
    for title, (text, small) in MODELS.items():
        print("\n".join(table(title, text, small, given.only, given.rows, given.calls)), flush=True)


if __name__ == "__main__":
    main()
