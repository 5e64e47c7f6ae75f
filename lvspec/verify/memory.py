"""A memory for functions of a joint assignment that remembers which latents each value looked at.

    log p(x[2] | z[2]) read z[2] = 1  ->  for every other assignment with z[2] = 1 it is the same number

The oracle stays brute force (it names every joint assignment); only equal factors are not computed twice.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

Site = tuple[str, tuple[int, ...]]  # a latent and where it stands
Assignment = dict[Site, Hashable]


@dataclass
class Fork:
    """The next latent that the computation looks at, and where each of its values leads."""

    site: Site
    branches: dict[Hashable, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Leaf:
    value: object


class Memory:
    """assignment: the one in force; change it freely between calls."""

    def __init__(self) -> None:
        self.assignment: Assignment = {}
        self._roots: dict[Hashable, object] = {}
        self._readers: list[dict[Site, None]] = []

    def read(self, site: Site) -> Hashable:
        """The value of a latent; whoever is being computed now is known to depend on it."""
        for reader in self._readers[-1:]:
            reader.setdefault(site)
        return self.assignment[site]

    def recall(self, key: Hashable, compute: Callable[[], object]) -> object:
        """compute(), or what it gave when everything that it looked at was the same."""
        node = self._roots.get(key)
        while isinstance(node, Fork):
            node = node.branches.get(self.read(node.site))
        if isinstance(node, Leaf):
            return node.value
        value, looked_at = self.watch(compute)
        self._store(key, list(looked_at), Leaf(value))
        return value

    def watch(self, compute: Callable[[], object]) -> tuple[object, dict[Site, None]]:
        """compute(), and the latents that it looked at, as whoever is being computed now has done then."""
        self._readers.append({})
        try:
            value = compute()
        finally:
            looked_at = self._readers.pop()
        for site in looked_at:
            self.read(site)
        return value, looked_at

    def _store(self, key: Hashable, path: list[Site], leaf: Leaf) -> None:
        if not path:
            self._roots[key] = leaf
            return
        node = self._roots.setdefault(key, Fork(path[0]))
        for here, following in zip(path, [*path[1:], None], strict=True):
            value = self.assignment[here]
            if following is None:
                node.branches[value] = leaf
            else:
                node = node.branches.setdefault(value, Fork(following))
