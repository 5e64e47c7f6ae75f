"""Small graphs of latents against brute force: in which order plates and chains may be summed out, and under which q."""

import pytest

from lvspec.driver import compile_spec
from lvspec.errors import SpecError
from lvspec.verify import render
from lvspec.verify.random_specs.judge import trial
from lvspec.verify.random_specs.small_graphs import PLATES, small_graph

COUNT, SLOW = 40, 3000
LEGAL = {
    "nested-site",
    "no-strategy",
}  # why such a graph may be refused: a latent of an outer plate at an inner first site


def disagreements(seeds):
    """What brute force says of them, and how many were summed exactly, drawn, or refused."""
    found, counts = [], {"exact": 0, "drawn": 0, "refused": 0}
    for seed in seeds:
        text = small_graph(seed)
        try:
            one = compile_spec(text)
        except SpecError as error:
            assert {d.code for d in error.diagnostics if d.severity == "error"} <= LEGAL, error
            counts["refused"] += 1
            continue
        counts["exact" if all(p.treatment in ("collapsed", "integrated") for p in one.plan.latents) else "drawn"] += 1
        report = trial(one, seed)
        found += [] if report.passed else [f"{text}\n{render(report)}"]
    return found, counts


def test_small_graphs_agree_with_brute_force():
    found, counts = disagreements(range(COUNT))
    assert not found, "\n\n".join(found)
    assert counts["exact"] >= COUNT / 4 and counts["drawn"] >= COUNT / 6 and counts["refused"] <= COUNT / 4, counts


def test_small_graphs_hold_every_kind_of_plate_and_way_of_reading():
    texts = [small_graph(seed) for seed in range(200)]
    for part in (*PLATES, "[d-1]", "[d-1, t]", "[d, t-1]", "[0, t]", "z[0]", "guide:", "z[d]: Normal"):
        assert any(part in text for text in texts), part


@pytest.mark.slow
def test_many_more_small_graphs_agree_with_brute_force():
    found, _ = disagreements(range(COUNT, SLOW))
    assert not found, "\n\n".join(found)
