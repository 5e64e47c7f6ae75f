"""What `explain` says that a step takes beside what it took: time and memory, for every spec.

    python -m benchmarks.prices [SPEC ...]

Sizes are those behind the prices but for vocabularies (1,000); then a grid of rows and sites, few and many, and the numbers that
the spec declares halved and doubled. Time: processor time of forward and backward on one thread, the median of several steps.
Memory: what is allocated at once at the peak of a step, tensors and the graph of operations that the backward pass keeps, as
glibc counts it after every operation (elsewhere: of tensors alone); gradients of parameters not counted, which `explain` tells
apart. A process grows by more: the allocator keeps part of what was freed.
"""

from __future__ import annotations

import ctypes
import gc
import statistics
import sys
import time
from pathlib import Path

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lvspec.driver import compile_spec, plan_spec
from lvspec.ir.plan import Cost, Plan
from lvspec.runtime.core.workspace import kept_buffers
from lvspec.verify.oracle.draw import padded_extent, random_value

EVERY = 5000  # operations after which one in 32 is measured
SPECS = Path(__file__).resolve().parents[1] / "specs"
VOCABULARY = 1000
LONGEST, LARGEST = 1.0, 2**32  # seconds and bytes of a step that are said: what takes more is not measured
GRID = {  # sizes that are changed: to a number, or by a factor
    "own": {},
    "1 row": {"B": 1},
    "256 rows": {"B": 256},
    "4 sites": {"sites": 4},
    "256 sites": {"sites": 256},
    "1 row, 2,000 sites": {"B": 1, "sites": 2000},
    "sizes/2": {"states": 0.5},
    "2 sizes": {"states": 2.0},
}
HEAD = [
    "spec",
    "dispatches said",
    "counted",
    "ms said",
    "taken",
    "ratio",
    "MiB said",
    "taken",
    "ratio",
    *list(GRID)[1:],
]


class Malloc(ctypes.Structure):
    """struct mallinfo2 of glibc."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    ]


class Alive(TorchDispatchMode):
    """What is allocated at once under it, in bytes, after every operation; of many operations after some of them.

    operations: how many come, where it is known: what is noted of them then has its room beforehand, and is not counted."""

    def __init__(self, operations: int = 0) -> None:
        super().__init__()
        self.count = 0
        self.live: dict[int, tuple[StorageWeakRef, int]] = {}
        self.totals: list[int] = [0] * operations
        self.made: list[tuple[int, ...]] = [()] * operations  # by each operation: storages
        self.before = _allocated()

    def peak_without(self, kept: list[torch.Tensor]) -> int:
        """The peak, had these tensors not been made."""
        born = {key: i for i, keys in enumerate(self.made) for key in keys}
        totals = list(self.totals)
        for key, size in {x.untyped_storage()._cdata: x.untyped_storage().nbytes() for x in kept}.items():
            for i in range(born.get(key, len(totals)), len(totals)):
                totals[i] -= size
        return max(totals, default=0)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        before = {x.untyped_storage()._cdata for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)}
        after = {x.untyped_storage()._cdata: x for x in tree_leaves(out) if isinstance(x, torch.Tensor)}
        made = tuple(key for key in after if key not in before)
        if self.before is None:
            self.live |= {k: (StorageWeakRef(s := after[k].untyped_storage()), s.nbytes()) for k in made}
            self.live = {k: (ref, n) for k, (ref, n) in self.live.items() if not ref.expired()}
            total = sum(n for _, n in self.live.values())
        elif self.count < EVERY or self.count % 32 == 0:  # it takes a while where much was freed
            total = _allocated() - self.before
        else:
            total = self.totals[self.count - 1]
        if self.count == len(self.totals):
            self.totals.append(total)
            self.made.append(made)
        self.totals[self.count], self.made[self.count] = total, made
        self.count += 1
        return out


def _allocated() -> int | None:
    """Bytes that the process has been given by malloc and not given back; None where that is not glibc's."""
    try:
        told = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError):
        return None
    told.restype = Malloc
    found = told()
    return found.uordblks + found.hblkhd


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


def prepared(name: str, changes: dict[str, float]) -> tuple[Cost, torch.nn.Module, dict[str, torch.Tensor]] | None:
    """The price, the model and a batch with some sizes changed; None where nothing changes, the plan is another
    one then, or it is too large."""
    path = SPECS / f"{name}.yaml"
    nominal = plan_spec(path)
    vocabularies = {s.name for s in nominal.spec.sizes if s.source == "vocabulary"}
    states = {s.name for s in nominal.spec.sizes if s.source == "number"}
    changed = {}
    for size, number in nominal.sizes:
        kind = "sites" if size[0] == "|" else "states" if size in states else size
        number, change = VOCABULARY if size in vocabularies else number, changes.get(kind, 1.0)
        changed[size] = change if isinstance(change, int) else max(1, round(number * change))
    compiled = compile_spec(path, sizes=changed)
    plan, sizes = compiled.plan, dict(compiled.plan.sizes)
    too_much = plan.step.seconds > LONGEST or plan.step.bytes + plan.step.learned > LARGEST
    same = changes and changed == dict(nominal.sizes) | {v: VOCABULARY for v in vocabularies}
    if same or too_much or [p.strategy for p in plan.latents] != [p.strategy for p in nominal.latents]:
        return None
    rows = any(p.per_example for p in plan.spec.params)
    known = rows or any(v.outside_batch for v in plan.spec.of_role("latent"))
    shared = {"dataset_size": sizes["B"]} if known else {}
    torch.manual_seed(0)
    model = compiled.Model(**{s.name: sizes[s.name] for s in plan.spec.sizes}, **shared)
    index = {"index": torch.arange(sizes["B"])} if rows else {}
    batch = model.prepare(batch_of(plan, sizes) | index)
    return plan.step, model, batch


COLLECTED = (700, 10, 10)  # how often garbage is collected in a process of a user, whatever whoever measures has set


def peak_of(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> float:
    """Bytes at the peak of a step, with the buffers that are kept for the next ones; what the first step of all loads is none
    of them."""
    operations = counted(model, batch)
    kept_buffers.clear()
    model.zero_grad(set_to_none=True)
    gc.collect()  # what earlier models left is not freed within
    often = gc.get_threshold()
    gc.set_threshold(*COLLECTED)
    with Alive(operations) as alive:
        step(model, batch)
    gc.set_threshold(*often)
    return float(max(alive.peak_without([p.grad for p in model.parameters() if p.grad is not None]), 1))


def counted(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> int:
    """How many operations a step calls."""
    with Alive() as alive:
        step(model, batch)
    return alive.count


def seconds_of(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> float:
    """Process time of a step: the median of as many as take half a second, three to nine."""
    seconds: list[float] = []
    while len(seconds) < 3 or (len(seconds) < 9 and sum(seconds) < 0.5):
        start = time.process_time()
        step(model, batch)
        seconds.append(time.process_time() - start)
    return statistics.median(seconds)


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
    own, ratios = [], {"time": {}, "memory": {}}
    print(row(HEAD), row(["---"] * len(HEAD)), sep="\n")
    for name in names:
        cells = []
        for where, changes in GRID.items():
            found = prepared(name, changes)
            if found is None:
                cells.append("-")
                continue
            price, model, batch = found
            peak, seconds = peak_of(model, batch), seconds_of(model, batch)
            time_ratio, ratio = seconds / price.seconds, peak / price.bytes
            ratios["time"][name, where], ratios["memory"][name, where] = time_ratio, ratio
            cells.append(f"{time_ratio:.2f}, {ratio:.2f}")
            if not changes:
                own.append((price, seconds))
                about = [f"{1e3 * price.seconds:.1f}", f"{1e3 * seconds:.1f}", f"{time_ratio:.2f}"]
                memory = [f"{price.bytes / 2**20:.2f}", f"{peak / 2**20:.2f}", f"{ratio:.2f}"]
                cells = [f"{price.dispatches:.0f}", counted(model, batch), *about, *memory]
        print(row([name, *cells]), flush=True)
    if len(own) > 2:
        for what in ("flops", "seconds"):
            found = rank_correlation([getattr(p, what) for p, _ in own], [s for _, s in own])
            print(f"rank correlation of the time taken with {what} said: {found:.2f}")
    told("memory", ratios["memory"])
    told("time", ratios["time"])
    machine = statistics.median(ratios["time"].values())
    print(f"the median step takes {machine:.2f} of what is said: this machine beside the one whose rates are said")
    told("time, of this machine", {k: r / machine for k, r in ratios["time"].items()})


def told(what: str, ratios: dict[tuple[str, str], float]) -> None:
    """How many of the ratios, taken / said, are within a factor of 2, and those that are not."""
    off = {k: r for k, r in ratios.items() if not 0.5 <= r <= 2}
    print(f"{what} within a factor of 2: {len(ratios) - len(off)} of {len(ratios)}")
    print(*(f"  {name}, {where}: {r:.2f}" for (name, where), r in off.items()), sep="\n")


if __name__ == "__main__":
    main()
