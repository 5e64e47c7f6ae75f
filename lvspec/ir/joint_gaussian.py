"""Jointly Gaussian latents, arranged: those of the same plates form a level, and levels form a tree.

    mu: Normal(0, 5)     effect[j]: Normal(mu, 2)     y[j]: Normal(effect[j], s[j])      mu  >  effect, seen through y
    level[t]: Normal(level[t-1] + slope[t-1], 1)      slope[t]: Normal(slope[t-1], 1)    level and slope, along t

Given the levels above it, the sites of a level are independent, or a chain along one ordered plate: a level is integrated
out site by site, innermost first, and what it says of the levels above it adds up over its sites.
"""

from __future__ import annotations

from dataclasses import dataclass

from lvspec.ir.chosen import chosen_site, plates_seen
from lvspec.ir.components import strongly_connected
from lvspec.ir.reads import HERE, LAG, Read, reader_of
from lvspec.ir.spec import Spec, Variable


@dataclass(frozen=True)
class Level:
    """plates: of its latents, the one of the chain last. latents: each after those that it reads at its own site.
    observed: what reads these latents, and none of a level below. above: the level around it, by its number.
    chain: the ordered plate along which sites read earlier ones. depths: how many sites of each latent the state of the chain
    holds: its own, and earlier ones that something reads."""

    plates: tuple[str, ...]
    latents: tuple[str, ...]
    observed: tuple[str, ...]
    above: int | None
    chain: str | None
    depths: tuple[int, ...]


class NotArranged(Exception):
    """Latents that do not form such a tree, and why."""


def levels_of(spec: Spec, latents: tuple[str, ...], observed: tuple[str, ...]) -> tuple[Level, ...]:
    """The levels, outermost first; NotArranged with the reason."""
    reader = reader_of(spec)
    variables = {n: spec.variable(n) for n in (*latents, *observed)}
    reads = {n: [r for r in reader.of_variable(v) if r.name in latents] for n, v in variables.items()}
    chains = _chains(spec, variables, reads)
    groups: dict[frozenset[str], list[str]] = {}
    for name in latents:
        groups.setdefault(frozenset(variables[name].plates), []).append(name)
    order = sorted(groups, key=len)
    for name in (*latents, *observed):
        _nested(spec, variables, name, reads[name])
        ways = plates_seen(spec, variables[name], latents)[1]
        if len({c.plate for c in ways}) < len(ways):
            raise NotArranged(f"{name} chooses two sites along {ways[0].plate}")
    found = []
    for plates in order:
        around = [i for i, p in enumerate(order) if p < plates]
        for i in around:
            if not order[i] <= order[around[-1]]:
                crossing = " and ".join(groups[order[k]][0] for k in (i, around[-1]))
                raise NotArranged(f"{crossing} live on plates that cross")
        names = _ordered(groups[plates], reads)
        along = {chains[n] for n in names if n in chains}
        if len(along) > 1:
            raise NotArranged(f"{' and '.join(names)} reach back along two plates")
        chain = next(iter(along), None)
        if chain and around and chain in order[around[-1]]:
            raise NotArranged(
                f"{names[0]} reaches back along {chain}, where {groups[order[around[-1]]][0]} has sites of its own"
            )
        if chain and variables[names[0]].plates[-1] != chain:
            raise NotArranged(f"{names[0]} reaches back along {chain}, which is not the last of its plates")
        deepest = tuple(n for n in observed if _deepest(variables, reads[n]) == plates)
        depths = tuple(_depth(n, names, reads) for n in names)
        above = around[-1] if around else None
        found.append(Level(variables[names[0]].plates, tuple(names), deepest, above, chain, depths))
    roots = [level for level in found if level.above is None]
    if len(roots) > 1:
        apart = " and ".join(level.latents[0] for level in roots[:2])
        raise NotArranged(f"{apart} live on plates of which none lies within the other")
    return tuple(found)


def _depth(name: str, level: list[str], reads: dict[str, list[Read]]) -> int:
    """How many of its sites the state holds. What is of the level itself reads the state of the site before."""
    lags = [r.lag + (reader not in level) for reader, every in reads.items() for r in every if r.name == name]
    return max([1, *lags])


def _chains(spec: Spec, variables: dict[str, Variable], reads: dict[str, list[Read]]) -> dict[str, str]:
    """The plate along which each latent is read at earlier sites, where it is."""
    found: dict[str, str] = {}
    for reader, every in reads.items():
        for read in every:
            of, at = variables[read.name], variables[reader]
            chosen = chosen_site(spec, at, read.name) if at.role == "observed" else None
            apart = {chosen.plate} if chosen is not None else set()
            if set(of.plates) - {*at.plates, *apart}:
                raise NotArranged(f"{reader} reads {read.name} from other plates{as_a_vector(spec, of)}")
            for plate in (p for p in of.plates if p not in apart):
                way, k = read.way(plate)
                if way == LAG and k > 0 and spec.plate(plate).ordered:
                    if found.setdefault(read.name, plate) != plate:
                        raise NotArranged(f"{read.name} is read back along two plates")
                elif way != HERE:
                    raise NotArranged(f"{reader} reads {read.name} at other sites than its own or earlier ones")
    return found


def _nested(spec: Spec, variables: dict[str, Variable], name: str, reads: list[Read]) -> None:
    """Of the latents that one factor reads, the plates of each lie within those of the next. A vector has no plates."""
    sets = sorted({frozenset(variables[r.name].plates) for r in reads}, key=len)
    if any(not a < b for a, b in zip(sets, sets[1:], strict=False)):
        names = " and ".join(dict.fromkeys(r.name for r in reads))
        hint = next((h for r in reads if (h := as_a_vector(spec, variables[r.name]))), "")
        raise NotArranged(f"{name} reads {names}, whose plates cross{hint}")


def as_a_vector(spec: Spec, latent: Variable) -> str:
    """What is said of a number on one fixed plate, whose sites something reads together: a vector has no plate."""
    if len(latent.plates) != 1 or latent.type.shape or spec.plate(latent.plates[0]).ragged:
        return ""
    size = spec.plate(latent.plates[0]).size
    return f"; as a vector, `{latent.name}: Normal(...)[{size}]`, {latent.name} has no plate, and its entries are read together"


def _deepest(variables: dict[str, Variable], reads: list[Read]) -> frozenset[str]:
    return max((frozenset(variables[r.name].plates) for r in reads), key=len)


def _ordered(names: list[str], reads: dict[str, list[Read]]) -> list[str]:
    """Each after those of the same site that it reads."""
    here = {n: [r.name for r in reads[n] if not r.lag and r.name != n] for n in names}
    sources = {n: [m for m in here[n] if m in here] for n in names}
    circle = next((part for part in strongly_connected(sources) if len(part) > 1), None)
    if circle:
        raise NotArranged(f"{' and '.join(sorted(circle, key=names.index))} read each other")
    return [n for (n,) in strongly_connected(sources)]
