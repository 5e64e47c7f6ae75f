"""The largest tensor of a step: what is made nowhere can be larger."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Largest(TorchDispatchMode):
    """numbers: in the largest tensor that an operation under it has given."""

    def __init__(self):
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        sizes = [
            x.untyped_storage().nbytes() // x.element_size() for x in tree_leaves(out) if isinstance(x, torch.Tensor)
        ]
        self.numbers = max([self.numbers, *sizes])
        return out


def largest_of_a_step(model, batch) -> int:
    """Numbers of the largest tensor of forward and backward."""
    batch = model.prepare(batch)
    with Largest() as found:
        model(batch).loss.backward()
    return found.numbers
