"""The construct table and the pair table of random specs: how many hold what.

python -m benchmarks.constructs --specs 10000 --pairs
"""

from __future__ import annotations

import argparse
from itertools import combinations

from lvspec.verify.random_specs.constructs import listed
from lvspec.verify.random_specs.coverage import apart, drawn, left_out, measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--specs", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--pairs", action="store_true", help="list the pairs that no spec holds")
    options = parser.parse_args()
    table = measure(range(options.first, options.first + options.specs))
    for construct in listed():
        why = left_out(construct)
        print(f"{construct:44} {'--  ' + why if why else table.single[construct]}")
    missing, possible = table.missing(), len(drawn()) * (len(drawn()) - 1) // 2
    excluded = sum(apart(a, b) is not None for a, b in combinations(drawn(), 2))
    print(
        f"{len(drawn())} constructs of {len(listed())}; in the fewest specs: {min(table.rare(2), key=lambda r: r[1])}"
    )
    print(
        f"{possible - excluded} sensible pairs, {excluded} that no spec can hold; {len(missing)} in none of {table.specs} specs"
    )
    if options.pairs:
        print("\n".join(f"{a} | {b}" for a, b in missing))


if __name__ == "__main__":
    main()
