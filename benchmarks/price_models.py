"""Models that no spec of the zoo shows, and what a step of each was said to take beside what it took.

    python -m benchmarks.price_models [MODEL ...]

Sizes and measures are those of `benchmarks.prices`.
"""

from __future__ import annotations

import sys

import torch

from benchmarks.prices import batch_of, counted, peak_of, row, seconds_of
from lvspec.driver import Compiled, compile_spec
from tests.emit.networks_of_latents import gaussian_text, grid, path, spec_text, tree

EIGHT_SCHOOLS = """\
plates: {j: J}
sizes: {J: 20}
params: {r: []}
latent:
  mu: Normal(0, 1)
  effect[j]: Normal(mu, 1)
observed:
  y[j]: Normal(effect[j], exp(r))
"""
REGRESSION = """\
sizes: {D: 20}
plates: {n: 100}
given:
  g[n]: real[D]
params: {r: []}
latent:
  w: Normal(0, 1)[D]
  b: Normal(0, 1)
observed:
  y[n]: Normal(dot(w, g[n]) + b, exp(r))
"""
FACTOR_ANALYSIS = """\
sizes: {D: 10, N: 30}
params: {W: [N, D], r: [N]}
latent:
  z: Normal(0, 1)[D]
observed:
  y: Normal(matmul(W, z), exp(r))
"""
SLOPES = """\
sizes: {D: 5}
plates: {j: 12, n: 30}
given:
  g[j, n]: real[D]
params: {s: [], r: []}
latent:
  m: Normal(0, 1)[D]
  w[j]: Normal(m, exp(s))
observed:
  y[j, n]: Normal(dot(w[j], g[j, n]), exp(r))
"""
TRIPLE = """\
sizes: {K: 60}
params: {p: [K], a: [K, K], b: [K, K, K], m: [K]}
latent:
  u: Categorical(logits=p)
  v: Categorical(logits=a[u])
  w: Categorical(logits=b[u, v])
observed:
  x: Normal(m[w], 1)
"""
MANY_VALUES = """\
sizes: {K: 32768}
params: {p: [K], m: [K]}
latent:
  c: Categorical(logits=p)
observed:
  x: Normal(m[c], 1)
"""
GAUSSIANS = (
    "params: {r: []}\nlatent:\n  z0: Normal(0, 1)\n"
    + "".join(f"  z{i}: Normal(0.9 * z{i - 1}, 1)\n" for i in range(1, 30))
    + "observed:\n"
    + "".join(f"  x{i}: Normal(z{i}, exp(r))\n" for i in range(30))
)


def spec(body: str) -> str:
    return f"lvspec: 1\nname: priced\n{body}"


def learned_gaussians(parents: dict[str, tuple[str, ...]]) -> str:
    """Gaussians connected as the parents say, with a deviation that is learned."""
    text = gaussian_text(parents).replace(", 1)", ", exp(s))")
    return text.replace("latent:", "params: {s: []}\nlatent:")


MODELS = {
    "path": (spec_text(path(40)), 32),
    "path of many rows": (spec_text(path(40)), 10_000),
    "tree": (spec_text(tree(40)), 32),
    "grid": (spec_text(grid(8, 5)), 32),
    "grid of many rows": (spec_text(grid(8, 5)), 3000),
    "eight schools": (spec(EIGHT_SCHOOLS), 32),
    "regression": (spec(REGRESSION), 16),
    "slopes": (spec(SLOPES), 16),
    "factor analysis": (spec(FACTOR_ANALYSIS), 256),
    "more factors than are seen": (spec(FACTOR_ANALYSIS.replace("D: 10, N: 30", "D: 20, N: 5")), 256),
    "table of three": (spec(TRIPLE), 32),
    "32,768 values": (spec(MANY_VALUES), 32),
    "thirty Gaussians": (spec(GAUSSIANS), 32),
    "grid of Gaussians": (learned_gaussians(grid(4, 5)), 32),
}


def prepared(name: str) -> tuple[Compiled, torch.nn.Module, dict[str, torch.Tensor]]:
    """The compiled model, the module and a batch at the sizes of its price."""
    text, rows = MODELS[name]
    compiled = compile_spec(text, sizes={"B": rows})
    torch.manual_seed(0)
    model = compiled.Model()
    return compiled, model, model.prepare(batch_of(compiled.plan, dict(compiled.plan.sizes)))


def main() -> None:
    torch.set_num_threads(1)
    head = ["model", "B", "dispatches", "counted", "ms estimated", "ms measured", "MiB estimated", "MiB measured"]
    print(row(head), row(["---"] * len(head)), sep="\n")
    for name in sys.argv[1:] or MODELS:
        compiled, model, batch = prepared(name)
        price, peak, seconds = compiled.plan.step, peak_of(model, batch), seconds_of(model, batch)
        times = [f"{1e3 * s:.1f}" for s in (price.seconds, seconds)]
        memory = [f"{b / 2**20:.2f}" for b in (price.bytes, peak)]
        print(
            row([name, MODELS[name][1], f"{price.dispatches:.0f}", counted(model, batch), *times, *memory]), flush=True
        )


if __name__ == "__main__":
    main()
