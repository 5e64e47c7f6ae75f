"""Seconds of a processor that are the same on a slow one: measured beside a fixed piece of work, before it and after."""

import os
import resource
import subprocess

WORK = 1_500_000  # squares that are added up
REFERENCE = 0.0625  # seconds that they take on the processor whose seconds are meant
INSTALLED = {
    k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"
}  # sources are compiled once, not at each start


def slowness() -> float:
    """How many times longer than on that processor a loop takes here and now."""
    before, total = resource.getrusage(resource.RUSAGE_SELF).ru_utime, 0
    for i in range(WORK):
        total += i * i
    return (resource.getrusage(resource.RUSAGE_SELF).ru_utime - before) / REFERENCE


def least_seconds_of(command: list[str], enough: float, **options) -> float:
    """The least of five, since what else runs on the machine slows a processor, too; fewer where one takes less than `enough`."""
    taken: list[float] = []
    while len(taken) < 5 and min(taken, default=enough) >= enough:
        taken.append(seconds_of(command, **options))
    return min(taken)


def seconds_of(command: list[str], **options) -> float:
    """What a process and those that it begins take, start included; it has to end well."""
    slow, before = slowness(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True, env=INSTALLED, **options)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    slow = (slow + slowness()) / 2
    return (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime) / max(slow, 1)
