"""Prices beside what a step takes: `python -m benchmarks.prices` shows all of it."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.price_models import MANY_VALUES, spec
from benchmarks.prices import Alive, counted, peak_of, prepared, step
from lvspec.driver import compile_spec, plan_spec
from lvspec.plan.prices import categories, gaussian_elimination, sums
from lvspec.plan.prices.sums import in_turns
from lvspec.plan.strategies import linear_gaussian
from lvspec.runtime.chains import backward as chain_sum
from lvspec.runtime.chains.backward import certain_scan
from lvspec.runtime.chains.blocked import blocks_for
from lvspec.runtime.core import workspace
from lvspec.runtime.gaussian import elimination as gaussian_runtime
from lvspec.runtime.gaussian import linear_gaussian as kalman

SPECS = sorted(Path("specs").glob("*.yaml"))


def some(names):
    """A third of them in the normal run, all with `make slow`."""
    return [pytest.param(n, marks=() if i % 3 == 0 else pytest.mark.slow) for i, n in enumerate(names)]


@pytest.mark.parametrize("name", some([p.stem for p in SPECS]))
def test_memory_of_a_step_is_within_a_factor_of_two_of_its_price(name):
    found = prepared(name, {})
    if found is None:
        pytest.skip("nothing is summed or drawn, or it is too large to be measured here")
    said, model, batch = found
    assert 0.5 < peak_of(model, batch) / said.bytes < 2


def test_a_step_pays_once_for_what_latents_share():
    """Two latents that one factor reads: each alone pays for the factor, the step pays for it once."""
    plan = plan_spec("specs/gm_vae.yaml", overrides={"c": "reinforce", "z": "reinforce"})
    alone = [p.cost for p in plan.latents]
    assert max(c.flops for c in alone) < plan.step.flops < sum(c.flops for c in alone)


def test_a_step_of_many_dispatches_takes_its_time():
    """Fifty rounds of small operations: more time than many more multiply-adds in few operations."""
    lda, vae = plan_spec("specs/lda.yaml").step, plan_spec("specs/vae.yaml").step
    assert lda.flops < vae.flops and lda.seconds > 5 * vae.seconds


def test_rule_for_blocks_of_a_chain_is_the_runtime_s():
    for sites in (10, 100, 1000, 5000, 20_000):
        for rows in (1, 8, 64):
            for states in (2, 16, 128):
                turns, times = in_turns(sites, rows, states)
                assert (turns < sites) == (blocks_for(sites, rows, states) is not None) == (times > 1)


def test_rule_for_a_long_filter_is_the_runtime_s():
    assert linear_gaussian.LONG == kalman.LONG


def test_rule_for_many_rows_is_the_runtime_s():
    assert gaussian_elimination.MANY == gaussian_runtime.MANY


def test_rules_for_heads_and_for_both_passes_are_the_runtime_s():
    told = categories.ROWS, categories.PLAIN_ENTRIES, categories.KEPT_ENTRIES, sums.BOTH_BYTES
    head = sys.modules["lvspec.runtime.families.categorical_head"]  # the package names its function so
    assert told == (head.ROWS, head.PLAIN_ENTRIES, head.KEPT_ENTRIES, workspace.KEPT_BYTES)


@pytest.mark.parametrize(("sites", "precision"), [(12, torch.float32), (40, torch.float64), (220, None)])
def test_arcs_that_may_have_no_chance_pay_for_what_is_done_again(sites, precision, monkeypatch):
    """Where scaled sums lose mass a chain is summed once more: in double, and of many sites of logs."""
    few = {"V": 100, "V_source": 100, "B": 1, "|t|": sites, "|m|": sites}
    sharp, other = (plan_spec(f"specs/{name}.yaml", sizes=few).step for name in ("monotone_alignment", "hmm_alignment"))
    again = {torch.float32: 0.0, torch.float64: 0.3, None: 2.0}[precision]
    assert sharp.exponentials - other.exponentials == pytest.approx(again * sites**3)
    _, model, batch = prepared("monotone_alignment", {"B": 1, "sites": sites})
    scans = []
    monkeypatch.setattr(chain_sum, "certain_scan", lambda *a: scans.append(certain_scan(*a)) or scans[-1])
    model(batch)
    assert (scans[0].messages.values.dtype if scans[0] is not None else None) == precision


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("hmm", {"B": 1, "sites": 300}),
        ("hmm", {"B": 2, "sites": 300}),
        ("hmm", {"B": 8, "sites": 4}),
        ("text_segmentation", {"B": 2, "sites": 64}),
        ("rnn_lm", {"B": 8, "sites": 8}),
        ("discrete_vae", {"B": 1}),
        ("hsmm_templates", {"B": 1, "sites": 16}),
    ],
)
def test_few_rows_and_few_or_many_sites_call_and_hold_what_the_price_says(name, sizes):
    said, model, batch = prepared(name, sizes)
    assert 0.5 < counted(model, batch) / said.dispatches < 2
    assert 0.5 < peak_of(model, batch) / said.bytes < 2


def test_a_loop_s_operations_are_quicker_than_others():
    """A site of a chain calls products into rows that are ready: no graph, and about half the time."""
    long, short = (prepared("hmm", {"B": 1, "sites": sites})[0] for sites in (4000, 1000))
    assert long.looped == 5 * 4000 and short.looped == 2.5 * 1000  # both passes side by side, where they are small
    assert long.dispatches - long.looped == short.dispatches - short.looped


CHAIN = """\
lvspec: 1
name: chain
sizes: {K: 4, V: 6}
plates: {t: sequence}
params: {s: [K], a: [K, K], e: [K, V]}
latent:
  z[0]: Categorical(logits=s)
  z[t]: Categorical(logits=a[z[t-1]])
observed:
  x[t]: Categorical(logits=e[z[t]])
"""
LEVEL = """\
lvspec: 1
name: level
plates: {t: sequence}
params: {q: [], r: []}
latent:
  z[0]: Normal(0, 1)
  z[t]: Normal(0.9 * z[t-1], exp(q))
observed:
  x[t]: Normal(z[t], exp(r))
"""


def test_a_long_chain_of_few_states_takes_as_many_dispatches_as_its_price_says():
    """The blocks that go side by side: 30 times fewer than one site after the other."""
    compiled = compile_spec(CHAIN, sizes={"B": 1, "|t|": 5000})
    batch = {"x": torch.randint(6, (1, 5000))}
    model = compiled.Model()
    with Alive() as alive:
        step(model, model.prepare(batch))
    assert 0.5 < len(alive.totals) / compiled.plan.step.dispatches < 2


def test_a_long_filter_keeps_the_graph_of_a_block_alone():
    """Memory of the process, of which a chain's small operations take more than their numbers do."""
    text = f"""
import resource, torch
from lvspec import compile_spec
model = compile_spec({LEVEL!r}).Model()
def peak(sites):
    loss = model(dict(x=torch.randn(1, sites))).loss
    loss.backward()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
short = peak(300)
print(peak(3000) - short)
"""
    found = float(subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout)
    assert found < 40  # MiB; with the graph of all sites about 270


def test_what_is_learned_is_part_of_the_price():
    said = plan_spec(CHAIN, sizes={"K": 1000}).step
    assert said.learned == 4 * 4 * (1000 + 1000 * 1000 + 6 * 1000)
    lstm = plan_spec("specs/sentence_vae.yaml")
    model = compile_spec("specs/sentence_vae.yaml").Model(V=10_000)
    learned = sum(p.numel() for p in model.parameters())
    assert 0.9 < lstm.step.learned / (16 * learned) < 1.1


def test_a_plan_that_takes_more_than_there_is_is_warned_about():
    found = {w.code: w.message for w in plan_spec(CHAIN, sizes={"K": 12_000, "|t|": 320}).spec.warnings}
    assert "z is drawn by reinforce, since its exact sum is too large" in found["over-budget"]
    assert "GiB" in found["large-step"]
    assert not plan_spec(CHAIN).spec.warnings


def test_large_tensors_take_longer_than_as_many_numbers_in_small_ones():
    """The system clears their pages each time that they are made: of 1,000 rows of 32,768 states most of the time."""
    few, many = (plan_spec(spec(MANY_VALUES), sizes={"B": rows}).step for rows in (100, 1000))
    assert many.seconds > 15 * few.seconds and many.bytes < 10 * few.bytes


def test_a_sum_is_not_left_for_draws_that_are_over_the_budget_as_well():
    """32,768 states: a table of transitions takes 4 GiB, whether it is summed or drawn."""
    plan = plan_spec(CHAIN, sizes={"K": 32768})
    found = {w.code: w.message for w in plan.spec.warnings}
    assert plan.latent("z").strategy == "dynamic_programming" and "over the budget" in plan.latent("z").why
    assert "z is summed exactly, though" in found["over-budget"] and "GiB" in found["large-step"]
    assert plan.step.bytes > 3 * 4 * 32768**2
