"""Mutants of whole models: a spec is read as a tree, its parts are changed, it is printed again and goes all the way.

python -m tests.front.mutants 10000 0 faults/     how many, the seed, and a folder for the texts: each distinct fault once

Changes of characters break a text before it means anything: of a hundred such mutants fourteen are specs. These keep the form: a part
of an expression gives way to one of another spec, an argument to a literal, a plate becomes one of another kind, an option
takes a value that nobody would write. So they reach the types, the planner, its prices and the emitter.
"""

import gc
import mmap
import os
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from functools import lru_cache
from pathlib import Path

from lvspec import driver
from lvspec.emit import emit
from lvspec.errors import SpecError, UsageError
from lvspec.explain import as_data, as_text
from lvspec.front import parser
from lvspec.graph import draw
from tests.front.mutator import Seeds, Spec, mutant, seeds

LONGEST = 2.0  # seconds of the processor that one spec may take
LARGEST = 500 << 20  # bytes that it may take
CHUNK = 200  # mutants of one process


class Slow(BaseException):
    """A spec takes longer than a person waits."""


def all_the_way(text: str) -> str:
    """check, explain, graph, compile: how far a spec comes."""
    try:
        plan = driver.plan_spec(text + "\n")
    except (SpecError, UsageError) as error:
        str(error)
        return "declined"
    as_text(plan)
    as_data(plan)
    draw(plan, "svg")
    try:
        source = emit(plan)
    except (SpecError, UsageError) as error:
        str(error)
        return "declined by compile"
    compile(source, "<mutant>", "exec")
    return "compiled"


def quick(others: Seeds) -> None:
    """For this process: a mutant is nearly another spec, so what was parsed is kept; garbage lies longer."""
    parser._tree = lru_cache(200_000)(parser._tree.__wrapped__)
    for tree in others.trees:
        all_the_way(Spec(tree).text())
    gc.freeze()
    gc.set_threshold(20_000, 50, 50)


def watched(text: str) -> tuple[str, str]:
    """(what became of it, the fault's place) within the limits of time and memory."""

    def too_slow(number, frame):
        raise Slow("".join(traceback.format_stack(frame)[-1:]).strip())

    signal.signal(signal.SIGPROF, too_slow)
    signal.setitimer(signal.ITIMER_PROF, LONGEST)
    try:
        return all_the_way(text), ""
    except BaseException as error:
        signal.setitimer(signal.ITIMER_PROF, 0)
        frames = [f for f in traceback.extract_tb(error.__traceback__) if "lvspec" in f.filename]
        last = frames[-1] if frames else None
        where = f"{Path(last.filename).parent.name}/{Path(last.filename).name}:{last.lineno}" if last else "?"
        return f"{type(error).__name__}", f"{where}: {str(error)[:120]}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def chunk(seed: object, numbers: range, others: Seeds, told: Path, current: mmap.mmap) -> None:
    """What one process does."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + LARGEST, size + LARGEST))
    lines = []
    for number in numbers:
        current[:8] = struct.pack("q", number)
        text = mutant(seed, number, others)
        what, where = watched(text)
        lines.append(f"{number}\t{what}\t{' '.join(where.split())}\n")
    told.write_text("".join(lines))


def ended(child: int, current: mmap.mmap) -> None:
    """Wait for a process; one that is at the same mutant for long, in a call of a library that looks at no signal, has to end."""
    seen, since = -1, 0.0
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        now, used = struct.unpack("q", current[:8])[0], processor(child)
        if now != seen:
            seen, since = now, used
        if used - since > 10 * LONGEST:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.02)


def processor(child: int) -> float:
    """Seconds of the processor that a process has used."""
    fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(count: int, seed: object, drawn: int = 150) -> tuple[Counter, dict[tuple[str, str], tuple[str, str]]]:
    """How far the mutants came, and the faults: (kind, place) -> what it says, and the shortest text that shows it."""
    others, outcomes, faults = seeds(drawn), Counter(), {}
    number, current = 0, mmap.mmap(-1, 8)
    all_the_way(mutant(seed, 0, others))  # what is imported on the way is not a mutant's own time and memory
    with tempfile.TemporaryDirectory() as folder:
        while number < count:
            numbers = range(number, min(number + CHUNK, count))
            told = Path(folder) / str(number)
            if (child := os.fork()) == 0:
                try:
                    chunk(seed, numbers, others, told, current)
                finally:
                    os._exit(0)
            ended(child, current)
            number = numbers.stop
            rows = [line.split("\t", 2) for line in told.read_text().splitlines()] if told.exists() else []
            if not told.exists():  # what the process was at when it ended is a fault
                at = struct.unpack("q", current[:8])[0]
                rows, number = [[str(at), "ended", f"{at}"]], at + 1
            for which, what, where in rows:
                outcomes[what] += 1
                if where:
                    text = mutant(seed, int(which), others)
                    known = faults.get((what, where.split(": ")[0]))
                    if known is None or len(text) < len(known[1]):
                        faults[what, where.split(": ")[0]] = where, text
    return outcomes, faults


def main(count: int, seed: int, folder: Path | None) -> int:
    """A thousand at a time, so that what was found is told on the way."""
    known: set[tuple[str, str]] = set()
    quick(seeds(150))
    for begin in range(0, count, 1000):
        outcomes, faults = run(min(1000, count - begin), f"{seed}.{begin}")
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(begin, dict(outcomes), f"{used.ru_utime + used.ru_stime:.0f} s of the processor", flush=True)
        for (what, place), (where, text) in faults.items():
            if (what, place) not in known:
                known.add((what, place))
                print(f"{what} at {where}", flush=True)
                if folder:
                    folder.mkdir(exist_ok=True)
                    (folder / f"{seed}-{len(known)}-{what}.yaml").write_text(text)
    return bool(known)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None))
