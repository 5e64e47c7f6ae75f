"""Models that no spec of the zoo shows, and what a step of each was said to take beside what it took.

    python -m benchmarks.price_models [MODEL ...]

Sizes and measures are those of `benchmarks.prices`; of long chains and large tables beside it what a process of its own grows by
in such a step, after a small one: more than is allocated at once, since the allocator keeps part of what was freed.
"""

from __future__ import annotations

import subprocess
import sys

import torch

from benchmarks.prices import SPECS, batch_of, counted, peak_of, row, seconds_of
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


GAUSSIAN_HMM = """\
sizes: {K: 10}
plates: {t: sequence}
params: {s: [K], a: [K, K], m: [K], r: [K]}
latent:
  z[0]: Categorical(logits=s)
  z[t]: Categorical(logits=a[z[t-1]])
observed:
  x[t]: Normal(m[z[t]], exp(r[z[t]]))
"""
ALIGNMENT = (SPECS / "monotone_alignment.yaml").read_text()
HMM = (SPECS / "hmm.yaml").read_text()
LARGE = {
    "hmm, 5,000 sites": (HMM, {"B": 32, "|t|": 5000, "V": 1000}),
    "hmm, 5,000 sites, one row": (HMM, {"B": 1, "|t|": 5000, "V": 1000}),
    "Gaussian HMM, 5,000 sites": (spec(GAUSSIAN_HMM), {"B": 32, "|t|": 5000}),
    "Gaussian HMM, 5,000 sites, one row": (spec(GAUSSIAN_HMM), {"B": 1, "|t|": 5000}),
    "monotone_alignment, 100 sites": (ALIGNMENT, {"B": 32, "|t|": 100, "|m|": 100, "V": 1000, "V_source": 1000}),
    "monotone_alignment, 10,000 words": (ALIGNMENT, {"B": 32, "V": 10_000, "V_source": 10_000}),
    "32,768 values, 1,000 rows": (spec(MANY_VALUES), {"B": 1000}),
}


def prepared(name: str, smaller: bool = False) -> tuple[Compiled, torch.nn.Module, dict[str, torch.Tensor]]:
    """The compiled model, the module and a batch at the sizes of its price; smaller: of a few rows, sites and words."""
    text, sizes = (MODELS | LARGE)[name]
    sizes = sizes if isinstance(sizes, dict) else {"B": sizes}
    compiled = compile_spec(text, sizes={n: min(s, 4) for n, s in sizes.items()} if smaller else sizes)
    torch.manual_seed(0)
    model = compiled.Model(**{s.name: dict(compiled.plan.sizes)[s.name] for s in compiled.plan.spec.sizes})
    return compiled, model, model.prepare(batch_of(compiled.plan, dict(compiled.plan.sizes)))


def growth_of(name: str) -> float:
    """Bytes that a process of its own grows by in a step, its gradients not counted."""
    text = f"""
import re, torch
from benchmarks.prices import step
from benchmarks.price_models import prepared
torch.set_num_threads(1)
def most():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
step(*prepared({name!r}, smaller=True)[1:])
_, model, batch = prepared({name!r})
before = most()
step(model, batch)
print(most() - before - sum(p.grad.nbytes for p in model.parameters() if p.grad is not None))
"""
    return float(subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout)


def main() -> None:
    torch.set_num_threads(1)
    head = ["model", "B", "dispatches said", "counted", "ms said", "taken", "MiB said", "taken", "process"]
    print(row(head), row(["---"] * len(head)), sep="\n")
    for name in sys.argv[1:] or [*MODELS, *LARGE]:
        compiled, model, batch = prepared(name)
        price, peak, seconds = compiled.plan.step, peak_of(model, batch), seconds_of(model, batch)
        times = [f"{1e3 * s:.1f}" for s in (price.seconds, seconds)]
        memory = [f"{b / 2**20:.2f}" for b in (price.bytes, peak)]
        memory.append(f"{growth_of(name) / 2**20:.1f}" if name in LARGE else "")
        rows = dict(compiled.plan.sizes)["B"]
        print(row([name, rows, f"{price.dispatches:.0f}", counted(model, batch), *times, *memory]), flush=True)


if __name__ == "__main__":
    main()
