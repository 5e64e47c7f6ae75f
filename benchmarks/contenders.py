"""The emitted modules as contenders: `contenders(case) -> {name: callable}`, a step as `emitted.emitted_step` has it;
for structures that have no specs here, the runtime's own.

A case has `workload`, `cfg`, `data` (the batch) and `params` (leaf tensors); steps return (summed loss, gradients).
"""

from __future__ import annotations

import math

import torch

from benchmarks.emitted import Binding, emitted_step
from benchmarks.segments import segments_step
from benchmarks.trees import grammar_step

BINDINGS = {
    "W1": Binding("chain", {"K": "K", "V": "V"}, {"pi": "start", "A": "transition", "E": "emission"}),
    "W2": Binding("bag_mixture", {"K": "K", "V": "V"}, {"pi": "prior", "E": "words"}),
    "W3": Binding(
        "image_vae",
        {"P": "D", "H": "H", "D": "Z"},
        {"enc": "hidden", "mu": "location", "ls": "log_scale", "d1": "decoder.0", "d2": "decoder.2"},
        seed=7,
    ),
    "W4": Binding(
        "sentence_vae",
        {"V": "V", "E": "E", "H": "H", "D": "Z"},
        {"emb": "words", "enc": "reader", "dec": "writer", "mu": "location", "ls": "log_scale", "out": "output"},
        begin=("emb.weight", 1),
        seed=7,
    ),
    "W5": Binding("discrete_vae", {"P": "D", "H": "H", "M": "P", "K": "K"}, {"enc": "encoder", "dec": "decoder"}),
    "W8": Binding(
        "factorial_chain",
        {"L": "L", "K": "K", "D": "D"},
        {"pi": "start", "A": "transition", "W": "mean"},
        constant=lambda cfg: 0.5 * cfg["D"] * cfg["B"] * cfg["T"] * math.log(2 * math.pi),
    ),
    "W9-positions": Binding(
        "attended_positions", {"M": "M", "V": "V", "D": "D"}, {"W": "out.weight"}, given={"at": "at", "src": "src"}
    ),
    "W9-states": Binding(
        "attended_states",
        {"M": "M", "V": "V", "D": "D"},
        {"W": "out.weight"},
        given={"at": "at", "src": "src", "hid": "hid"},
    ),
    "W10-labels": Binding(
        "labelled_vae",
        {"P": "P", "H": "H", "D": "D", "K": "K"},
        {"enc": "encoder", "dec": "decoder"},
        seed=7,
    ),
    "W10-copied": Binding(
        "copied_words", {"V": "V", "D": "D"}, {"gate": "gate", "out": "out"}, given={"src": "src", "hid": "hid"}
    ),
    "W10-averaged": Binding(
        "attended_average", {"V": "V", "D": "D"}, {"out": "out"}, given={"src": "src", "hid": "hid"}
    ),
    "W10-keys": Binding(
        "chain_of_keys", {"K": "K", "D": "D"}, {"pi": "start", "A": "transition", "first": "first", "key": "key"}
    ),
    "W10-bigrams": Binding(
        "autoregressive_chain",
        {"K": "K", "V": "V"},
        {"pi": "start", "A": "transition", "first": "first", "bigram": "bigram"},
    ),
    "gm_vae": Binding(
        "gm_vae",
        {"V": "V", "E": "E", "H": "H", "D": "Z", "K": "K"},
        {
            "emb": "words",
            "enc": "reader",
            "dec": "writer",
            "cluster": "cluster",
            "code": "encoder",
            "out": "output",
            "prior": "prior",
            "centre": "mu",
            "spread": "sigma",
        },
        begin=("emb.weight", 1),
        seed=7,
    ),
}
STRUCTURES = {"W6": grammar_step, "W7": segments_step}  # params -> step
ALIASES = {"W9a": "W9-positions", "W9b": "W9-states"}
STOCHASTIC = {"W5"}  # draws of its own: losses and gradients agree in expectation only


def batch_of(case) -> dict:
    """The case's data as a batch: x, and the lengths of its sequences."""
    data = case.data
    if case.workload == "W2":
        return {"x": data["tok"]}
    if case.workload.startswith("W9"):
        B, T = data["y"].shape
        return {"y": data["y"], "t": torch.full((B,), T)}
    if case.workload == "W10-labels":
        return data
    if case.workload.startswith("W10"):
        sites = {"t": "y" if "y" in data else "x"} | ({"m": "s"} if "s" in data else {})
        lengths = {plate: torch.full(data[x].shape[:1], data[x].shape[1]) for plate, x in sites.items()}
        return data | lengths
    if "lens" in data:
        return {"x": data["x"], "t": data["lens"]}
    if "mask" in data:
        return {"x": data["x"], "t": data["mask"].sum(1)}
    return {"x": data["x"]}


def contenders(case) -> dict:
    if case.workload in STRUCTURES:
        return {"lvspec": STRUCTURES[case.workload](case.params)}
    binding = BINDINGS.get(ALIASES.get(case.name, case.workload))
    if binding is None:
        return {}
    if case.workload in STOCHASTIC and hasattr(case, "no_agree"):
        case.no_agree.add("lvspec")
    cfg = dict(case.cfg)
    if case.workload == "W8":
        cfg["D"] = case.data["x"].shape[-1]
    return {"lvspec": emitted_step(binding, cfg, batch_of(case), case.params)}
