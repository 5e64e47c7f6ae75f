"""How well clusters agree with gold labels: many-to-one accuracy and V-measure (Rosenberg & Hirschberg 2007)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import log


@dataclass(frozen=True)
class Agreement:
    """homogeneity = 1 - H(label | cluster) / H(label); completeness the other way round; v_measure: their harmonic mean.

    many_to_one: accuracy when each cluster is read as its most frequent label. items: how many were compared.
    """

    many_to_one: float
    v_measure: float
    homogeneity: float
    completeness: float
    clusters: int
    labels: int
    items: int


def entropy(counts: Counter) -> float:
    """H of the empirical distribution, in nats."""
    total = sum(counts.values())
    return -sum(n / total * log(n / total) for n in counts.values() if n)


def agreement(clusters: Sequence[Hashable], labels: Sequence[Hashable]) -> Agreement:
    """Compare two labellings of the same items."""
    pairs = Counter(zip(clusters, labels, strict=True))
    by_cluster, by_label = Counter(clusters), Counter(labels)
    total = len(labels)
    if not total:
        return Agreement(0.0, 0.0, 0.0, 0.0, 0, 0, 0)
    joint, of_cluster, of_label = entropy(pairs), entropy(by_cluster), entropy(by_label)
    homogeneity = 1.0 - (joint - of_cluster) / of_label if of_label else 1.0
    completeness = 1.0 - (joint - of_label) / of_cluster if of_cluster else 1.0
    together = homogeneity + completeness
    best: Counter = Counter()
    for (cluster, _), n in pairs.items():
        best[cluster] = max(best[cluster], n)
    return Agreement(
        many_to_one=sum(best.values()) / total,
        v_measure=2 * homogeneity * completeness / together if together else 0.0,
        homogeneity=homogeneity,
        completeness=completeness,
        clusters=len(by_cluster),
        labels=len(by_label),
        items=total,
    )
