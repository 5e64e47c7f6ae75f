"""Tables that several integers read: entries are gathered, rows are normalised once."""

import pytest
import torch

from lvspec.driver import compile_spec
from lvspec.verify.checks.compare import verify
from tests.emit.lowering.largest import largest_of_a_step

CHAIN = """
lvspec: 1
name: chain
sizes: {K: 3, D: 4, V: 5, J: 2}
plates: {t: sequence, d: D}
given:
  c[t]: category(J)
params: {start: [K], trans: [K, K], e: SHAPE, first: [K, V], p: [K, D]}
latent:
  z[0]: Categorical(logits=start)
  z[t]: Categorical(logits=trans[z[t-1]])
observed:
"""
ENTRIES = {
    "state, number, plate": ("[K, 2, D]", "e[z[t], y[t-1, d], d]"),
    "plate first": ("[D, K, 2]", "e[d, z[t], y[t-1, d]]"),
    "number between": ("[2, K, D, J]", "e[y[t-1, d], z[t], d, c[t]]"),
    "rows": ("[K, 2, D, J]", "dot(e[z[t], y[t-1, d], d], e[0, 1, d]) + e[z[t], 0, d, c[t]]"),
    "twice the same": ("[2, 2, K]", "e[y[t-1, d], y[t-1, d], z[t]]"),
}
ROWS = {
    "before and state": ("[V, K, V]", "logits=e[x[t-1], z[t]]"),
    "state and before": ("[K, V, V]", "logits=e[z[t], x[t-1]]"),
    "softmax": ("[K, V, V]", "probs=softmax(e[z[t], x[t-1]])"),
    "softmax of the table": ("[V, K, V]", "probs=softmax(e)[x[t-1], z[t]]"),
    "three": ("[V, K, J, V]", "logits=e[x[t-1], z[t], c[t]]"),
    "of both states": ("[K, K, J, V]", "logits=e[z[t-1], z[t], c[t]]"),
}


def entries(shape, logits):
    text = CHAIN.replace("SHAPE", shape) + "  y[0, d]: Bernoulli(logits=p[z[0], d])\n"
    return text + f"  y[t, d]: Bernoulli(logits={logits})\n"


def rows(shape, argument):
    return CHAIN.replace("SHAPE", shape) + f"  x[0]: Categorical(logits=first[z[0]])\n  x[t]: Categorical({argument})\n"


@pytest.mark.parametrize("name", ENTRIES)
def test_entries_that_data_and_states_name_are_right(name):
    compiled = compile_spec(entries(*ENTRIES[name]))
    report = verify(compiled.spec, compiled.plan, compiled.Model)
    assert report.passed, report


@pytest.mark.parametrize("name", ROWS)
def test_rows_that_data_and_states_name_are_right(name):
    compiled = compile_spec(rows(*ROWS[name]))
    assert "categorical_lookup(self.e" in compiled.source
    report = verify(compiled.spec, compiled.plan, compiled.Model)
    assert report.passed, report


def test_entries_alone_are_gathered():
    B, T, sizes = 3, 6, {"K": 4, "D": 30}
    model = compile_spec(entries(*ENTRIES["state, number, plate"]), sizes=sizes).Model(**sizes)
    batch = {"y": torch.randint(2, (B, T, 30)), "c": torch.zeros(B, T, dtype=torch.long)}
    assert largest_of_a_step(model, batch) <= 2 * B * T * 30 * 4


def test_the_table_is_normalised_and_not_what_is_gathered():
    B, T, sizes = 30, 40, {"K": 4, "V": 20}
    model = compile_spec(rows(*ROWS["before and state"]), sizes=sizes).Model(**sizes)
    batch = {"x": torch.randint(20, (B, T)), "c": torch.zeros(B, T, dtype=torch.long)}
    assert largest_of_a_step(model, batch) <= B * T * 4 * 4
