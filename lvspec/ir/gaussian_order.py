"""In which order many Gaussian latents of one place are integrated out one by one, so that few of them meet at a time.

    z1: Normal(z0, 1)    z2: Normal(z1, 1)    x2: Normal(z2, 1)        z2, then z1, then z0: two of them meet

Each goes after all that read it: what is left to say of it then are p(z | what it reads) and what was said by those that went,
and no prior is divided by. Of those that may go it is the one that meets the fewest. Few latents go together, and so do
those of which more would meet.
"""

from __future__ import annotations

from collections.abc import Callable

from lvspec.ir.elimination import SumStep, eliminated
from lvspec.ir.joint_gaussian import Level
from lvspec.ir.reads import reader_of
from lvspec.ir.spec import Spec

FEW = 16  # latents that go together whatever reads what: a step takes more time than their arithmetic


def one_by_one(spec: Spec, levels: tuple[Level, ...], size: Callable[[str], float]) -> tuple[SumStep, ...]:
    """The steps, or none where all of them go together. size: how many entries a latent has."""
    level, reader = levels[0], reader_of(spec)
    if len(levels) > 1 or level.chain or len(level.latents) <= FEW:
        return ()
    sizes = {n: size(n) for n in level.latents}
    read = {
        n: [r.name for r in reader.of_variable(spec.variable(n)) if r.name in sizes]
        for n in (*level.latents, *level.observed)
    }
    beside: dict[str, set[str]] = {n: set() for n in level.latents}
    for name, above in read.items():
        for latent in {name, *above} & set(sizes):
            beside[latent] |= {name, *above} & set(sizes) - {latent}
    waiting = {n: 0 for n in level.latents}  # how many latents that read it are left
    for name in level.latents:
        for source in set(read[name]):
            waiting[source] += 1

    def entries(latent: str) -> float:
        return sizes[latent] + sum(sizes[n] for n in beside[latent])

    ready = {n: entries(n) for n in reversed(level.latents) if not waiting[n]}
    steps: list[SumStep] = []
    work, together = 0.0, sum(sizes.values()) ** 3
    while ready:
        latent = min(ready, key=ready.__getitem__)
        work += ready.pop(latent) ** 3
        if work >= together:
            return ()
        steps.append(eliminated(latent, beside))
        for source in set(read[latent]):
            waiting[source] -= 1
        ready |= {n: entries(n) for n in sorted(steps[-1].clique - {latent}) if not waiting[n]}
    return tuple(steps)
