"""Two processes with half a batch each, gradients averaged by DistributedDataParallel: the same as one process."""

import subprocess
import sys

import torch

from tests import ROOT
from tests.emit.small import NAMES, batch_of, draws_of, fixed, gradients, model_of

WORKER = """
import sys
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
sys.path.insert(0, sys.argv[1])
from tests.emit.small import batch_of, draws_at, draws_of, fixed, model_of
rank, meeting, out, names = int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5:]
dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
found = {}
for name in names:
    model, batch = model_of(name, seed=rank), batch_of(name)  # rank 0's parameters are taken by both
    half = slice(2 * rank, 2 * rank + 2)
    draws = draws_at(draws_of(name, batch), half)
    parallel = DistributedDataParallel(model)
    parallel({k: v[half] for k, v in batch.items()}, **fixed(draws)).loss.backward()
    found[name] = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
torch.save(found, f"{out}.{rank}")
dist.destroy_process_group()
"""


def in_two_processes(names, directory):
    arguments = [str(directory / "meeting"), str(directory / "grads"), *names]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(ROOT), str(rank), *arguments], stderr=subprocess.PIPE, text=True
        )
        for rank in (0, 1)
    ]
    said = [w.communicate(timeout=300)[1] for w in workers]
    assert all(w.returncode == 0 for w in workers), said
    return [torch.load(directory / f"grads.{rank}") for rank in (0, 1)]


def test_two_processes_are_as_one(tmp_path):
    trained = [n for n in NAMES if any(p.requires_grad for p in model_of(n).parameters())]  # others have no gradients
    found = in_two_processes(trained, tmp_path)
    for name in trained:
        model, batch = model_of(name), batch_of(name)
        wanted = gradients(model, model(batch, **fixed(draws_of(name, batch))).loss)
        for rank in (0, 1):
            assert found[rank][name].keys() == wanted.keys()
            for key in wanted:
                torch.testing.assert_close(found[rank][name][key], wanted[key], rtol=1e-5, atol=1e-6)
