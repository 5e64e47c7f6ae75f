"""The construct table and the pair table of random specs: how many hold what.

python -m benchmarks.constructs --specs 10000 --pairs --ask
python -m benchmarks.constructs --specs 1000 --sample 2000
"""

from __future__ import annotations

import argparse
import random
from concurrent.futures import ProcessPoolExecutor
from itertools import combinations

from lvspec.front import load
from lvspec.verify.random_specs.constructs import listed
from lvspec.verify.random_specs.coverage import Coverage, drawn, left_out, sensible
from lvspec.verify.random_specs.generate import generate
from lvspec.verify.random_specs.held import constructs_of
from lvspec.verify.random_specs.measure import ask, measure

TRIES = 2  # specs that are asked for a pair
CHUNK = 50  # specs that one process writes at a time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--specs", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--ask", action="store_true", help="ask for each pair that no spec holds, once")
    parser.add_argument("--pairs", action="store_true", help="list the pairs that no spec holds")
    parser.add_argument(
        "--sample", type=int, default=0, help="ask for so many pairs at random, and say how many are held"
    )
    options = parser.parse_args()
    with ProcessPoolExecutor(options.processes) as pool:
        table = together(pool, measure, range(options.first, options.first + options.specs))
        constructs(table)
        pairs = [pair for pair in combinations(drawn(), 2) if sensible(*pair)]
        missing = table.missing()
        print(f"{len(pairs)} sensible pairs; {len(missing)} in none of {table.specs} specs")
        if options.ask:
            table.update(together(pool, ask, missing))
            print(f"{len(table.missing())} in none of {len(missing)} more, each asked for one of those")
        if options.sample:
            asked = random.Random(0).sample(pairs, min(options.sample, len(pairs)))
            held = sum(pool.map(holds, asked, chunksize=CHUNK))
            print(f"{held} of {len(asked)} pairs at random are held by a spec that is asked for them")
    if options.pairs:
        print("\n".join(f"{a} | {b}" for a, b in table.missing()))


def together(pool: ProcessPoolExecutor, count, numbers) -> Coverage:
    """The tables of all, chunk by chunk."""
    found = Coverage()
    for one in pool.map(count, [numbers[i : i + CHUNK] for i in range(0, len(numbers), CHUNK)]):
        found.update(one)
    return found


def holds(pair: tuple[str, str]) -> bool:
    """Whether one of the specs that are asked for two constructs holds both."""
    return any(constructs_of(load(generate(seed, *pair), "random")).issuperset(pair) for seed in range(TRIES))


def constructs(table: Coverage) -> None:
    for construct in listed():
        why = left_out(construct)
        print(f"{construct:44} {'--  ' + why if why else table.single[construct]}")
    rarest = min(table.rare(2), key=lambda r: r[1])
    print(f"{len(drawn())} constructs of {len(listed())}; in the fewest specs: {rarest}")


if __name__ == "__main__":
    main()
