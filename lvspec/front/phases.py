"""`phases:` → who moves in which steps of a round.

phases:
  inference: {moves: [reader, encoder], steps: 5}      five steps of these, then
  model: [words, writer, output]                       one of those
"""

from __future__ import annotations

from lvspec.front.declarations import entries
from lvspec.front.keys import read_table, unknown_key
from lvspec.front.names import did_you_mean
from lvspec.front.nodes import Entry, Listing, Mapping, Node, Text
from lvspec.front.problems import Problems
from lvspec.front.sections import PHASE
from lvspec.ir.spec import Phase


def read_phases(section: Node | None, known: tuple[str, ...], problems: Problems) -> tuple[Phase, ...]:
    """The phases in their order. known: the networks and parameters."""
    found = [_phase(entry, known, problems) for entry in entries(section, "phases", problems)]
    return tuple(p for p in found if p is not None)


def _phase(entry: Entry, known: tuple[str, ...], problems: Problems) -> Phase | None:
    name, steps = entry.key.value, 1
    node: Node | None = entry.value
    if isinstance(node, Mapping):
        values, rest = read_table(node, f"phases: {name}", PHASE, problems)
        for other in rest:
            unknown_key(other, f"phases: {name}", tuple(k.name for k in PHASE), problems)
        node, steps = node.get("moves"), int(values["steps"])
    if not isinstance(node, Listing) or not node.items:
        usage = "write `[encoder, reader]`, or `{moves: [encoder, reader], steps: 5}`"
        problems.error("wrong-setting", entry.key.span, "a phase lists what moves in it", help=usage)
        return None
    for item in node.items:
        word = item.value if isinstance(item, Text) else ""
        if word not in known:
            help = did_you_mean(word, known, f"there are {', '.join(known)}" if known else "there are none")
            problems.error("unknown-name", item.span, f"`{word[:60]}` is no parameter or network", help=help)
    return Phase(name, tuple(i.value for i in node.items if isinstance(i, Text)), steps)
