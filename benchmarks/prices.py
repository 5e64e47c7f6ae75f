"""What `explain` estimated beside what a step took: peak memory of temporaries, operations and time, for every spec.

    python -m benchmarks.prices [SPEC ...]

Sizes are those behind the prices but for vocabularies (1,000), and these with the batch, the sites, and the numbers that
the spec declares halved and doubled. Measured: the most bytes of tensors alive at once that the step itself made, its
gradients of parameters not counted; the least process time of three steps.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lvspec.driver import compile_spec, plan_spec
from lvspec.ir.plan import Cost, Plan
from lvspec.runtime.workspace import kept_buffers
from lvspec.verify.draw import padded_extent, random_value

SPECS = Path(__file__).resolve().parents[1] / "specs"
VOCABULARY = 1000
LARGEST = 4e10  # multiply-adds of a step: more are not measured
HEAD = ["spec", "flops", "dispatches", "ms estimated", "ms measured", "MiB estimated", "MiB measured"]
SCALES = {  # measured by estimated memory
    "as priced": {},
    "B/2": {"B": 0.5},
    "2B": {"B": 2.0},
    "sites/2": {"sites": 0.5},
    "2 sites": {"sites": 2.0},
    "sizes/2": {"states": 0.5},
    "2 sizes": {"states": 2.0},
}


class Alive(TorchDispatchMode):
    """The most bytes of storages that were made under it and alive at once."""

    def __init__(self) -> None:
        super().__init__()
        self.live: dict[int, tuple[StorageWeakRef, int]] = {}
        self.totals: list[int] = []
        self.born: dict[int, int] = {}  # after how many operations a storage that is alive was made

    def peak_without(self, kept: list[torch.Tensor]) -> int:
        """The peak, had these tensors not been made."""
        totals = list(self.totals)
        for storage in {x.untyped_storage()._cdata: x.untyped_storage().nbytes() for x in kept}.items():
            for i in range(self.born.get(storage[0], len(totals)), len(totals)):
                totals[i] -= storage[1]
        return max(totals)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        before = {x.untyped_storage()._cdata for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)}
        for x in tree_leaves(out):
            if isinstance(x, torch.Tensor) and (key := x.untyped_storage()._cdata) not in before:
                self.live[key] = (StorageWeakRef(x.untyped_storage()), x.untyped_storage().nbytes())
                self.born[key] = len(self.totals)
        self.live = {k: (ref, n) for k, (ref, n) in self.live.items() if not ref.expired()}
        self.totals.append(sum(n for _, n in self.live.values()))
        return out


def batch_of(plan: Plan, sizes: dict[str, int]) -> dict[str, torch.Tensor]:
    """Random data at the sizes of the prices, every sequence of full length."""
    generator, rows = torch.Generator().manual_seed(0), sizes["B"]
    batch = {}
    for v in (*plan.spec.of_role("observed"), *plan.spec.of_role("given")):
        extents = [padded_extent(plan.spec, p, sizes, sizes.get(f"|{p}|", 0)) for p in v.plates]
        shape = (rows, *extents, *(d.evaluate(sizes) for d in v.type.shape))
        value = random_value(v.type.support, sizes, shape, generator)
        batch[v.name] = value.float() if value.is_floating_point() else value
    return batch


def prepared(name: str, scale: dict[str, float]) -> tuple[Cost, torch.nn.Module, dict[str, torch.Tensor]] | None:
    """The price, the model and a batch with some sizes scaled; None for a model without a sum or a draw."""
    path = SPECS / f"{name}.yaml"
    nominal = plan_spec(path)
    if not (nominal.latents or nominal.structures):
        return None
    vocabularies = {s.name for s in nominal.spec.sizes if s.source == "vocabulary"}
    states = {s.name for s in nominal.spec.sizes if s.source == "number"}
    changed = {}
    for size, number in nominal.sizes:
        kind = "sites" if size[0] == "|" else "states" if size in states else size
        number = VOCABULARY if size in vocabularies else number
        changed[size] = max(1, round(number * scale.get(kind, 1)))
    compiled = compile_spec(path, sizes=changed)
    plan, sizes = compiled.plan, dict(compiled.plan.sizes)
    if plan.step.flops > LARGEST or [p.strategy for p in plan.latents] != [p.strategy for p in nominal.latents]:
        return None
    rows = any(p.per_example for p in plan.spec.params)
    known = rows or any(v.outside_batch for v in plan.spec.of_role("latent"))
    shared = {"dataset_size": sizes["B"]} if known else {}
    torch.manual_seed(0)
    model = compiled.Model(**{s.name: sizes[s.name] for s in plan.spec.sizes}, **shared)
    index = {"index": torch.arange(sizes["B"])} if rows else {}
    batch = model.prepare(batch_of(plan, sizes) | index)
    return plan.step, model, batch


def peak_of(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> float:
    """Bytes at the peak of the first step: buffers that are kept for the next ones are made in it."""
    kept_buffers.clear()
    with Alive() as alive:
        step(model, batch)
    return float(max(alive.peak_without([p.grad for p in model.parameters() if p.grad is not None]), 1))


def seconds_of(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> float:
    """The least process time of three steps."""
    seconds = []
    for _ in range(3):
        start = time.process_time()
        step(model, batch)
        seconds.append(time.process_time() - start)
    return min(seconds)


def step(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> None:
    model.zero_grad(set_to_none=True)
    loss = model(batch).loss
    if loss.requires_grad:
        loss.backward()


def rank_correlation(a: list[float], b: list[float]) -> float:
    """Spearman's."""
    ranks = [torch.tensor(x).argsort().argsort().double() for x in (a, b)]
    return float(torch.corrcoef(torch.stack(ranks))[0, 1])


def row(cells) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    torch.set_num_threads(1)
    names = sys.argv[1:] or sorted(p.stem for p in SPECS.glob("*.yaml"))
    nominal, ratios = {}, []
    print(row(HEAD + list(SCALES)), row(["---"] * (len(HEAD) + len(SCALES))), sep="\n")
    for name in names:
        cells = []
        for scale in SCALES.values():
            found = prepared(name, scale)
            if found is None:
                cells.append("-")
                continue
            price, model, batch = found
            peak = peak_of(model, batch)
            ratios.append(peak / price.bytes)
            cells.append(f"{ratios[-1]:.2f}")
            if not scale:
                nominal[name] = price, seconds_of(model, batch), peak
        if name in nominal:
            price, seconds, peak = nominal[name]
            about = [f"{1e3 * s:.1f}" for s in (price.seconds, seconds)]
            memory = [f"{b / 2**20:.2f}" for b in (price.bytes, peak)]
            print(row([name, f"{price.flops:.1e}", f"{price.dispatches:.0f}", *about, *memory, *cells]), flush=True)
    if len(nominal) > 2:
        seconds = [s for _, s, _ in nominal.values()]
        for what in ("flops", "seconds"):
            found = rank_correlation([getattr(p, what) for p, _, _ in nominal.values()], seconds)
            print(f"rank correlation of the time measured with {what} estimated: {found:.2f}")
    within = sum(0.5 <= r <= 2 for r in ratios)
    print(f"memory within a factor of 2: {within} of {len(ratios)}, from {min(ratios):.2f} to {max(ratios):.2f}")


if __name__ == "__main__":
    main()
