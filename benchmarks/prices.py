"""What `explain` estimated beside what a step took: peak memory of temporaries, operations and time, for every spec.

    python -m benchmarks.prices [SPEC ...]

Sizes are those behind the prices but for vocabularies (1,000). Measured: the most bytes of tensors alive at once that the
step itself made, its gradients of parameters not counted; the least process time of three steps.
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
from lvspec.ir.plan import Plan
from lvspec.verify.draw import padded_extent, random_value

SPECS = Path(__file__).resolve().parents[1] / "specs"
VOCABULARY = 1000


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


def estimated(plan: Plan) -> tuple[float, float]:
    """Operations and bytes of a step: each sum once, and each latent that is in none."""
    summed = {n for e in plan.eliminations for n in e.latents}
    costs = [e.cost for e in plan.eliminations] + [s.cost for s in plan.structures]
    costs += [p.cost for p in plan.latents if p.name not in summed]
    return sum(c.flops for c in costs), sum(c.bytes for c in costs)


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


def measured(name: str) -> tuple[float, float, float, float] | None:
    """(operations, seconds, bytes estimated, bytes measured); None for a model without latents."""
    path = SPECS / f"{name}.yaml"
    changed = {s.name: VOCABULARY for s in plan_spec(path).spec.sizes if s.source == "vocabulary"}
    compiled = compile_spec(path, sizes=changed)
    plan, sizes = compiled.plan, dict(compiled.plan.sizes)
    flops, bytes_ = estimated(plan)
    if not flops:
        return None
    shared = {"dataset_size": sizes["B"]} if any(v.outside_batch for v in plan.spec.of_role("latent")) else {}
    model = compiled.Model(**{s.name: sizes[s.name] for s in plan.spec.sizes}, **shared)
    batch = model.prepare(batch_of(plan, sizes))
    with Alive() as alive:  # the first step: buffers that are kept for the next ones are made in it
        step(model, batch)
    peak = alive.peak_without([p.grad for p in model.parameters() if p.grad is not None])
    seconds = []
    for _ in range(3):
        start = time.process_time()
        step(model, batch)
        seconds.append(time.process_time() - start)
    return flops, min(seconds), bytes_, max(peak, 1)


def step(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> None:
    model.zero_grad(set_to_none=True)
    loss = model(batch).loss
    if loss.requires_grad:
        loss.backward()


def rank_correlation(a: list[float], b: list[float]) -> float:
    """Spearman's."""
    ranks = [torch.tensor(x).argsort().argsort().double() for x in (a, b)]
    return float(torch.corrcoef(torch.stack(ranks))[0, 1])


def main() -> None:
    torch.set_num_threads(1)
    names = sys.argv[1:] or sorted(p.stem for p in SPECS.glob("*.yaml"))
    rows = {}
    for name in names:
        found = measured(name)
        if found is None:
            continue
        rows[name] = found
        flops, seconds, wanted, peak = found
        print(
            f"{name:<24} {flops:9.2e} operations {1e3 * seconds:9.1f} ms   {wanted / 2**20:9.2f} MiB estimated "
            f"{peak / 2**20:9.2f} MiB measured   {peak / wanted:6.2f}",
            flush=True,
        )
    if len(rows) > 2:
        times = rank_correlation([r[0] for r in rows.values()], [r[1] for r in rows.values()])
        within = sum(0.5 <= r[3] / r[2] <= 2 for r in rows.values())
        print(
            f"rank correlation of time with operations {times:.2f}; memory within a factor of 2: {within} of {len(rows)}"
        )


if __name__ == "__main__":
    main()
