"""A memory for functions of a joint assignment, and of an example's data and draws, that remembers what each value looked at.

    log p(x[2] | z[2]) read x[2] = 0.7, z[2] = 1  ->  wherever x[2] = 0.7 and z[2] = 1 it is the same number

for every other assignment with that z[2], in every other sample, and in another batch that differs elsewhere. The oracle stays
brute force (it names every joint assignment); only equal factors are not computed twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

Site = tuple[str, tuple[int, ...]]  # a latent and where it stands
Question = Site | tuple[str, str, tuple[int, ...]]  # a fact of the example is asked for by its kind, a name and a place
Assignment = dict[Site, Hashable]
Looked = dict[Question, Hashable]  # what was asked for, in order, and its answers
T = TypeVar("T")
Roots = dict[Hashable, Any]

ASSIGNED = object()  # the answer to a site that the assignment has to tell


@dataclass(slots=True)
class Fork:
    """The next question that the computation asks, and where each of its answers leads."""

    question: Question
    branches: dict[Hashable, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Leaf:
    value: Any


@dataclass
class Shelf:
    """Roots that memories share while the weights are the same: what is changed in place has another version."""

    _weights: list[Tensor] = field(default_factory=list)
    _versions: list[int] = field(default_factory=list)
    _roots: dict[Hashable, tuple[Roots, Roots]] = field(default_factory=dict)

    def roots(self, weights: Collection[Tensor], about: Hashable) -> tuple[Roots, Roots]:
        """Of memories about the same model."""
        versions = [w._version for w in weights]
        same = len(weights) == len(self._weights) and all(map(lambda a, b: a is b, weights, self._weights))
        if not same or versions != self._versions:
            self._weights, self._versions, self._roots = list(weights), versions, {}
        return self._roots.setdefault(about, ({}, {}))


class Memory:
    """assignment: the one in force; change it freely between calls. facts: what else may be asked for, and its answer: a
    number, or a function that gives it now. roots: of what was computed with a gradient, and without one."""

    def __init__(
        self, facts: Mapping[Question, object] | None = None, roots: tuple[Roots, Roots] | None = None
    ) -> None:
        self.assignment: Assignment = {}
        self._facts = defaultdict(lambda: ASSIGNED) if facts is None else facts
        self._with_gradient, self._without = roots or ({}, {})
        self._readers: list[Looked] = []

    def read(self, question: Question) -> Any:
        """The answer; whoever is being computed now is known to depend on it."""
        answer = self._facts[question]
        if answer is ASSIGNED:
            answer = self.assignment[question]  # type: ignore[index]  # what the assignment tells is a site's
        elif callable(answer):
            if self._readers:
                self._readers[-1].setdefault(question)  # what the answer itself looks at comes after it
            answer = answer()
        if self._readers:
            self._readers[-1][question] = answer
        return answer

    def recall(self, key: Hashable, compute: Callable[[], T], tried: Collection[str] = ()) -> T:
        """compute(), or what it gave when everything that it looked at was the same. tried: latents whose values it sets
        itself."""
        gradient = torch.is_grad_enabled()
        for roots in (self._with_gradient,) if gradient else (self._with_gradient, self._without):
            node = roots.get(key)
            while type(node) is Fork:
                node = node.branches.get(self.read(node.question))
            if node is not None:
                return node.value
        value, looked_at = self.watch(compute, tried)
        self._store(self._with_gradient if gradient else self._without, key, looked_at, Leaf(value))
        return value

    def watch(self, compute: Callable[[], T], tried: Collection[str] = ()) -> tuple[T, Looked]:
        """compute(), and what it looked at and found there, as whoever is being computed now has done then."""
        self._readers.append({})
        try:
            value = compute()
        finally:
            looked_at = self._readers.pop()
            if tried:
                looked_at = {q: a for q, a in looked_at.items() if q[0] not in tried or self._facts[q] is not ASSIGNED}
            if self._readers:
                self._readers[-1].update(looked_at)
        return value, looked_at

    def _store(self, roots: Roots, key: Hashable, path: Looked, leaf: Leaf) -> None:
        branches, place = roots, key
        for question, answer in path.items():
            node = branches.get(place)
            if node is None:
                node = branches[place] = Fork(question)
            elif node.question != question:
                raise AssertionError(f"{key} asked for {question} where it has asked for {node.question}")
            branches, place = node.branches, answer
        branches[place] = leaf
