"""Specs of many connected binary latents, each with an observed value, and their log p(x) by a sweep over the story.

The sweep goes through the latents in the order of the story and keeps a table over those that are still read by a later
one: it shares nothing with the elimination that the compiler finds.
"""

from __future__ import annotations

import numpy as np


def path(n: int) -> dict[str, tuple[str, ...]]:
    return {f"z{i}": (f"z{i - 1}",) if i else () for i in range(n)}


def tree(n: int) -> dict[str, tuple[str, ...]]:
    return {f"z{i}": (f"z{(i - 1) // 2}",) if i else () for i in range(n)}


def star(n: int) -> dict[str, tuple[str, ...]]:
    return {f"z{i}": ("z0",) if i else () for i in range(n)}


def grid(rows: int, columns: int) -> dict[str, tuple[str, ...]]:
    def above_and_before(i: int, j: int) -> tuple[str, ...]:
        return (*([f"z{i - 1}_{j}"] if i else []), *([f"z{i}_{j - 1}"] if j else []))

    return {f"z{i}_{j}": above_and_before(i, j) for i in range(rows) for j in range(columns)}


def spec_text(parents: dict[str, tuple[str, ...]]) -> str:
    """Each latent a binary variable given its parents, seen through a table that all share."""
    lines = ["lvspec: 1", "name: network", "params:", "  say: [2, 3]"]
    lines += [f"  p_{z}: [{', '.join(['2'] * (len(above) + 1))}]" for z, above in parents.items()]
    lines += ["latent:", *(f"  {z}: Categorical(logits=p_{z}{_index(above)})" for z, above in parents.items())]
    lines += ["observed:", *(f"  x_{z}: Categorical(logits=say[{z}])" for z in parents)]
    return "\n".join(lines) + "\n"


def gaussian_text(parents: dict[str, tuple[str, ...]], of_parent: str = "0.5 * {}") -> str:
    """Each latent a Gaussian around a sum over its parents, each seen through a number of its own."""
    lines = ["lvspec: 1", "name: gaussians", "latent:"]
    sums = {z: " + ".join(of_parent.format(a) for a in above) for z, above in parents.items()}
    lines += [f"  {z}: Normal({mean or 0}, 1)" for z, mean in sums.items()]
    return "\n".join([*lines, "observed:", *(f"  x_{z}: Normal({z}, 1)" for z in parents)]) + "\n"


def mixed_text(parents: dict[str, tuple[str, ...]]) -> str:
    """Half of the latents binary, half of them Gaussian, each half connected as the parents say."""
    binary, numbers = spec_text(parents).replace("z", "c"), gaussian_text(parents)
    latents, seen = numbers.split("latent:\n")[1].split("observed:\n")
    return binary.replace("observed:\n", latents + "observed:\n") + seen


def drawn_text(parents: dict[str, tuple[str, ...]]) -> str:
    """The same where nothing sums the latents: they are drawn under derived guides."""
    return gaussian_text(parents, "tanh({})")


def _index(above: tuple[str, ...]) -> str:
    return f"[{', '.join(above)}]" if above else ""


def log_p(parents: dict, weights: dict, x: dict[str, int], fixed: dict[str, int] | None = None, reduce=np.sum):
    """log p(x, fixed latents) of one example; of the likeliest others, where `reduce` is np.max."""
    last = {a: z for z, above in parents.items() for a in (*above, z)}  # where each latent is read for the last time
    table, names = np.ones(()), []
    say = np.exp(_log_softmax(weights["say"]))
    for z, above in parents.items():
        conditional = np.exp(_log_softmax(weights[f"p_{z}"])) * say[:, x[f"x_{z}"]]
        if fixed and z in fixed:
            conditional = conditional * (np.arange(2) == fixed[z])
        index = tuple(slice(None) if n in (*above, z) else None for n in (*names, z))
        order = np.argsort([names.index(a) for a in above])
        table, names = table[..., None] * conditional.transpose(*order, len(above))[index], [*names, z]
        done = tuple(i for i, n in enumerate(names) if last[n] == z)
        table, names = reduce(table, done), [n for n in names if last[n] != z]
    return np.log(table)


def _log_softmax(logits):
    logits = logits - logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))
