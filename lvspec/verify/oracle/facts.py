"""What differs between the worlds that share a memory: lengths, data and draws of one example, and how latents are treated.

x[2] = 0.7 is asked for as ("x", (2,)), and the answer is its digits: wherever they are the same, so is what is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch
from torch import Tensor

from lvspec.verify.oracle.memory import ASSIGNED, Question, Site

SAMPLE: Site = ("number of the sample", ())
NO_SITE = -1  # the number of a site that stands for a plate without any
DRAWN, POINT = object(), object()  # what stands at a site that noise, or a parameter of the guide, says the value of


class Facts(dict[Question, object]):
    """Answers to what is asked of a world, each found when it is asked for first; nothing else of batch, row, draws and
    treatments is read while something is computed that is remembered. tensors: of the answers that stand for values of
    variables, discrete or not."""

    def __init__(self, world):
        super().__init__()
        self.world, self.instance, self.batch, self.row = world, world.instance, world.batch, world.row
        self.tensors: dict[tuple[bool, Hashable], Tensor] = {}

    def __missing__(self, question: Question) -> object:
        self[question] = found = self._find(question)
        return found

    def _find(self, question: Question) -> object:
        if len(question) == 2:
            return self._standing(*question)
        kind, name, at = question
        if kind == "lengths":
            return tuple(self._told_lengths(p.name) for p in self.world.spec.plates if p.ragged)
        if kind == "given":
            return self._holds(name, at)
        if kind == "index":
            return int(self.batch[kind][self.row])
        if kind == "noise":
            return self._by_sample(name, lambda: self._digits(name, *self._drawn_number(name, at)))
        if kind == "treatment":
            return self.instance.treatments.get(name)
        if kind == "relaxed":
            drawn = self.instance.treatments.get(name) == "sampled"
            return self.instance.relaxed.get(name) if drawn else None
        if kind == "drawn":
            weighed = self.instance.weighed
            stratified = weighed is not None and weighed.name == name
            return name in self.instance.noisy, stratified, self.instance.parents_of_draws.get(name, ())
        return tuple((self.instance.planned or self.instance.treatments).items())

    def _standing(self, name: str, at: tuple[int, ...]) -> object:
        """What stands at a site. A value is known by its digits, wherever it comes from."""
        if name not in self.world.variables:
            return ASSIGNED
        if self._holds(name, at):
            data = self.batch[name]
            index = at if self.world.variables[name].outside_batch else (self.row, *at)
            return self._digits(name, data[index], index)
        treatment = self.instance.treatments.get(name)
        if treatment == "sampled":
            return DRAWN if name in self.instance.noisy else self._by_sample(name, lambda: self._value_drawn(name, at))
        return POINT if treatment == "point" else ASSIGNED

    def _by_sample(self, name: str, find: Callable[[], Hashable]) -> Callable[[], Hashable]:
        """The answer about a draw, looked up once for each sample where nothing else says which one it is."""
        if self.instance.parents_of_draws.get(name):
            return find
        found: dict[Hashable, Hashable] = {}

        def answer() -> Hashable:
            sample = self.world.memory.assignment[SAMPLE]
            if sample not in found:
                found[sample] = find()
            return found[sample]

        return answer

    def _value_drawn(self, name: str, at: tuple[int, ...]) -> Hashable:
        value, index = self._drawn_number(name, at)
        parents = self.instance.parents_of_draws.get(name, ())  # which are looked at, too
        return self._digits(name, value, index, parents)

    def _digits(self, name: str, value: Tensor, index: tuple[int, ...], parents: tuple[str, ...] = ()) -> Hashable:
        """An answer that stands for the value: its digits, where it has any."""
        if not self.instance.has_numbers:
            answer: Hashable = (name, index)
        elif value.dim() == 0 and value.dtype == torch.int64:
            answer = int(value)
        else:
            answer = (value.dtype, value.shape, value.numpy().tobytes())
        answer = (answer, parents) if parents else answer
        self.tensors[self.world.variables[name].type.support.discrete, answer] = value
        return answer

    def _holds(self, name: str, at: tuple[int, ...]) -> bool:
        if name not in self.batch:
            return False
        if at and at[-1] == NO_SITE:
            return True
        observed = self.batch.get(f"{name}_observed")
        return observed is None or bool(observed[(self.row, *at)])

    def _drawn_number(self, name: str, at: tuple[int, ...]) -> tuple[Tensor, tuple[int, ...]]:
        """Noise, or a value, of the sample in force, and where it stands in the draws. The number of the sample is not looked
        at: what its digits are is."""
        sites = dict(zip(self.world.variables[name].plates, at, strict=True))
        declared = [sites[p.name] for p in self.world.spec.plates if p.name in sites]
        row = [] if self.world.variables[name].outside_batch else [self.row]
        index: list[int] = [self.world.memory.assignment[SAMPLE], *row, *declared]
        for parent in self.instance.parents_of_draws.get(name, ()):
            place = tuple(sites[p] for p in self.world.variables[parent].plates)
            given = self.world.is_given(parent, place)
            index.append(int(self.world.value(parent, place)) if given else self.world.memory.read((parent, place)))
        return self.instance.draws[name][tuple(index)], tuple(index)

    def length(self, plate: str, within: tuple[int, ...]) -> int:
        """Of a ragged plate."""
        length = self.batch[plate][(self.row, *within)] if plate in self.batch else self._full(plate)
        if length is None:
            raise KeyError(plate)
        return int(length)

    def _told_lengths(self, plate: str) -> Hashable:
        """What the batch says of a ragged plate's lengths in this row."""
        return self.batch[plate][self.row].numpy().tobytes() if plate in self.batch else self._full(plate)

    def _full(self, plate: str) -> int | None:
        """The padded length, where the batch gives none."""
        for v in self.world.spec.variables:
            if plate in v.plates and v.name in self.batch:
                return self.batch[v.name].shape[v.plates.index(plate) + (not v.outside_batch)]
        return None
