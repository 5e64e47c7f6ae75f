"""What one sample draws for one example: sites of latents, once for each value of what their own q averages over."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import torch

from lvspec.ir.structured import structure_of
from lvspec.verify.oracle.world import SAMPLE, Instance, World

ROUNDS = 60  # cells of one sample that are moved at most; one that moves may make another impossible


@dataclass(frozen=True)
class Cell:
    """One thing that is drawn: a latent's site, given values of the latents summed under q that its own q reads."""

    name: str
    at: tuple[int, ...]
    parents: tuple[tuple[str, tuple[int, ...], Any], ...]

    def place(self, world: World) -> tuple[int, ...]:
        """Its index in the draws, behind the sample and the row."""
        sites = dict(zip(world.variables[self.name].plates, self.at, strict=True))
        return (*(sites[p.name] for p in world.spec.plates if p.name in sites), *(int(v) for _, _, v in self.parents))


def cells(world: World, drawn: list[str]) -> list[Cell]:
    """Everything that one sample draws for one example."""
    found: list[Cell] = []
    for name, at in world.hidden():
        if name not in drawn:
            continue
        sites = dict(zip(world.variables[name].plates, at, strict=True))
        parents = world.parents_of_draws[name]
        places = [tuple(sites[p] for p in world.variables[parent].plates) for parent in parents]
        choices = [[v for v in world.values(n, s)] for n, s in zip(parents, places, strict=True)]
        found.extend(Cell(name, at, tuple(zip(parents, places, values, strict=True))) for values in product(*choices))
    return found


@torch.no_grad()
def possible_draws(instance: Instance, names: list[str], samples: int, generator: torch.Generator) -> None:
    """Puts a value that q can draw wherever the draws hold another one, in place: at log q = -inf nothing is compared.

    names: latents whose draws are values of a finite support.
    """
    for row in range(instance.rows() if names else 0):
        world = World(instance, row)  # of all samples: what reads no draw is the same in each
        every = cells(world, names)
        for sample in range(samples):
            for _ in range(ROUNDS):
                impossible = next((cell for cell in every if not _is_possible(world, cell, sample)), None)
                if impossible is None:
                    break
                world = _moved(world, _together(world, impossible, every), sample, generator)


def _together(world: World, cell: Cell, every: list[Cell]) -> list[Cell]:
    """The cells that have values together: all labels of a structure, of which its first site speaks for all."""
    if structure_of(world.factors[cell.name]) is None:
        return [cell]
    own = (cell.name, cell.at[:-1], cell.parents)
    return [c for c in every if (c.name, c.at[:-1], c.parents) == own]


def _moved(world: World, moving: list[Cell], sample: int, generator: torch.Generator) -> World:
    """The world in which cells have the first possible ones of their values, in random order."""
    name = moving[0].name
    draws, row = world.instance.draws[name], () if world.variables[name].outside_batch else (world.row,)
    joint = list(product(*(world.values(name, c.at) for c in moving)))
    for i in torch.randperm(len(joint), generator=generator).tolist():
        for cell, value in zip(moving, joint[i], strict=True):
            draws[(sample, *row, *cell.place(world))] = torch.tensor(value).to(draws)
        world = World(world.instance, world.row)  # which remembers no other value
        if _is_possible(world, moving[0], sample):
            break
    return world


def _is_possible(world: World, cell: Cell, sample: int) -> bool:
    """Whether q has mass at the value that a cell has in the draws."""
    world.memory.assignment.clear()
    world.memory.assignment.update({SAMPLE: sample, **{(n, s): v for n, s, v in cell.parents}})
    return bool(world.log_chance(cell.name, cell.at) > -torch.inf)
