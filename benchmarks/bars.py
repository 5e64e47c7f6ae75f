"""What is asked of the emitted modules: beside programs written by hand, and beside other packages in their best form."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """At most so much of the reference's time, and of its peak memory, a few MB added to both."""

    time: float
    memory: float = 1.1


BARS = {
    "W1-small": Bar(0.95),
    "W1": Bar(1.0),
    "W2": Bar(1.0),
    "W3": Bar(1.05),
    "W4": Bar(1.05),
    "W5": Bar(1.05),
    "W9": Bar(1.05),
    "W10": Bar(1.5),
    "gm_vae": Bar(1.05),
    "W6": Bar(0.9),
    "W7": Bar(0.9),
    "W8": Bar(1.0),
}
SLACK = 4.0  # MB: below this, allocation by pages decides
LOSS, GRADIENT = 1e-5, 1e-3  # relative differences

# (peer, workloads): its time by ours must be at least this, its memory by ours at least that
PEERS = {
    ("pyro", ("W1-small", "W1-mid", "W1-large")): (20.0, None),
    ("pyro", ("W8",)): (8.0, None),
    ("pyro", ("gm_vae",)): (1.0, None),
    ("torch_struct", ("W6-shared", "W6-perbatch")): (20.0, 10.0),
    ("dynamax", ("W1-small",)): (None, None),
    ("dynamax", ("W1-mid", "W1-large")): (1.0, None),
    ("hmmlearn", ("W1-small", "W1-mid", "W1-large")): (None, None),
}


def bar_of(name: str) -> Bar:
    """The bar of a workload, or of its kind."""
    return BARS.get(name) or BARS[name.split("-")[0]]
