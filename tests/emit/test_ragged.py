"""Ragged batches: what lies beyond a length, who stands next to whom, and how long the padding is change nothing."""

import contextlib

import pytest
import torch

from lvspec.runtime import BadBatch, Undefined
from lvspec.verify.oracle.draw import padded_extent
from tests.emit.small import (
    EXACT,
    LENGTH,
    NAMES,
    batch_of,
    compiled,
    draws_at,
    draws_of,
    example_of,
    fixed,
    gradients,
    model_of,
    nested,
    per_example,
    sequences,
    sizes_of,
    spec_of,
)

RAGGED = [n for n in NAMES if sequences(n) and not nested(n)]


def answer(model, batch, draws):
    objective = model(batch, **fixed(draws))
    return per_example(objective), gradients(model, objective.loss)


def assert_same(mine, theirs):
    torch.testing.assert_close(mine[0], theirs[0], rtol=2e-6, atol=2e-6)  # another order of the same float32 sums
    assert mine[1].keys() == theirs[1].keys()
    for name in mine[1]:
        torch.testing.assert_close(mine[1][name], theirs[1][name], rtol=1e-5, atol=1e-6)


def filled(batch):
    """Every padded site with something that must not be read: NaN, or a number far outside the vocabulary."""
    beyond = torch.arange(batch["x"].shape[1]) >= batch["t"].unsqueeze(1)
    x = batch["x"].clone()
    x[beyond] = float("nan") if x.is_floating_point() else 10**6
    return {**batch, "x": x}


@pytest.mark.parametrize("name", RAGGED)
def test_nothing_beyond_a_length_is_read(name):
    model, batch = model_of(name), batch_of(name)
    draws = draws_of(name, batch)
    assert_same(answer(model, filled(batch), draws), answer(model, batch, draws))


@pytest.mark.parametrize("name", RAGGED)
def test_longer_padding_changes_nothing(name):
    model, batch = model_of(name), batch_of(name)
    draws = draws_of(name, batch)
    along = [v.name for v in compiled(name).spec.variables if v.name in batch and v.plates == ("t",)]
    longer = {k: torch.cat([batch[k], batch[k][:, :3]], 1) for k in along}
    sited = {v.name for v in compiled(name).spec.of_role("latent") if v.plates == ("t",)}
    more = {k: torch.cat([v, v[:, :, :3]], 2) if k in sited else v for k, v in draws.items()}
    assert_same(answer(model, {**batch, **longer}, more), answer(model, batch, draws))


@pytest.mark.parametrize("name", NAMES)
def test_examples_may_be_permuted(name):
    model, batch = model_of(name), batch_of(name)
    draws, order = draws_of(name, batch), torch.tensor([2, 0, 3, 1])
    moved = {k: v[order] for k, v in batch.items()}
    values, found = answer(model, moved, draws_at(draws, order))
    expected, wanted = answer(model, batch, draws)
    assert_same((values, found), (expected[order], wanted))


@pytest.mark.parametrize("name", RAGGED)
def test_an_example_alone_has_the_value_that_it_has_in_a_batch(name):
    """Lengths 4, 1, 0 and 3: a sequence of one site and an empty one among them."""
    model, batch = model_of(name), batch_of(name)
    draws = draws_of(name, batch)
    expected, _ = answer(model, batch, draws)
    sited = {v.name for v in compiled(name).spec.of_role("latent") if v.plates == ("t",)}
    for row in range(len(batch["t"])):
        alone = example_of(name, batch, row)
        own = draws_at(draws, slice(row, row + 1))
        own |= {k: own[k].narrow(2, 0, max(int(batch["t"][row]), 1)) for k in sited & set(own)}
        values, _ = answer(model, alone, own)
        torch.testing.assert_close(values[0], expected[row], rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("name", [n for n in RAGGED if n in (*EXACT, "rnn_lm")])
def test_an_empty_sequence_has_probability_one(name):
    batch = {"x": batch_of(name)["x"][:2], "t": torch.zeros(2, dtype=torch.int64)}
    torch.testing.assert_close(model_of(name)(batch).log_prob, torch.zeros(2), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", RAGGED)
def test_absent_lengths_are_full_ones(name):
    model, batch = model_of(name), batch_of(name)
    draws, spec = draws_of(name, batch), compiled(name).spec
    extents = {p.name: padded_extent(spec, p.name, sizes_of(name), LENGTH) for p in spec.plates if p.ragged}
    bare = {k: v for k, v in batch.items() if k not in extents}
    full = {p: torch.full((len(batch["x"]),), n) for p, n in extents.items()}
    assert_same(answer(model, bare, draws), answer(model, {**bare, **full}, draws))


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_batch_has_loss_zero_and_no_gradient(name):
    model, batch = model_of(name), {k: v[:0] for k, v in batch_of(name).items()}
    objective = model(batch, **fixed(draws_of(name, batch)))
    assert per_example(objective).shape == (0,) and float(objective.loss.detach()) == 0.0
    if objective.loss.requires_grad:
        assert all((g == 0).all() for g in gradients(model, objective.loss).values())


@pytest.mark.parametrize("name", NAMES)
def test_every_question_about_an_empty_batch_has_an_empty_answer(name):
    model, batch = model_of(name), {k: v[:0] for k, v in batch_of(name).items()}
    for question in ("log_prob", "importance", "posterior", "encode"):
        if ask := getattr(model, question, None):
            found = ask(batch)
            for latent in found.values() if question == "posterior" else ():
                for part in ("marginals", "mode", "entropy"):
                    with contextlib.suppress(Undefined):
                        asked = getattr(latent, part, None)
                        _ = asked() if callable(asked) else asked
    if hasattr(model, "log_weights"):
        assert model.log_weights(batch, 2)[0].shape == (2, 0)


@pytest.mark.parametrize("name", [n for n in NAMES if spec_of(n).of_role("given")])
def test_samples_without_what_is_given_are_refused_by_name(name):
    with pytest.raises(BadBatch, match=f"`{spec_of(name).of_role('given')[0].name}`, which is given"):
        model_of(name).sample(2)


def test_end_symbols_are_told_by_plate():
    with pytest.raises(BadBatch, match="`ends` has `x`, and end symbols are told by plate: there are t"):
        model_of("rnn_lm").sample(2, ends={"x": 0})


@pytest.mark.parametrize("name", [n for n in NAMES if any(s.name == "K" for s in spec_of(n).sizes)])
def test_one_state_is_a_model_too(name):
    model, latents = model_of(name, K=1), {v.name for v in compiled(name).spec.of_role("latent")}
    batch = {k: v for k, v in batch_of(name).items() if k not in latents}  # labels of three states are none of one
    states = {n for n, one in model.batch_inputs().items() if n in batch and one.kind == "integer" and one.below == 1}
    batch |= {n: torch.zeros_like(batch[n]) for n in states}
    torch.manual_seed(0)
    objective = model(batch)
    assert per_example(objective).isfinite().all()
    assert all(g.isfinite().all() for g in gradients(model, objective.loss).values())


@pytest.mark.parametrize("name", NAMES)
def test_a_weight_of_two_is_the_example_twice(name):
    model, batch = model_of(name), batch_of(name)
    draws, rows = draws_of(name, batch), torch.tensor([0, 1, 1, 2, 3, 3, 3])
    repeated = model({k: v[rows] for k, v in batch.items()}, **fixed(draws_at(draws, rows)))
    weighted = model({**batch, "weight": torch.tensor([1.0, 2.0, 1.0, 3.0])}, **fixed(draws))
    torch.testing.assert_close(weighted.loss, repeated.loss, rtol=1e-6, atol=1e-6)
    mine, theirs = gradients(model, weighted.loss), gradients(model, repeated.loss)
    for key in theirs:
        torch.testing.assert_close(mine[key], theirs[key], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_prepare_is_done_once_and_changes_nothing(name):
    model, batch = model_of(name), batch_of(name)
    draws, given = draws_of(name, batch), {k: v.clone() for k, v in batch.items()}
    prepared = model.prepare(batch)
    assert model.prepare(prepared) is prepared
    assert_same(answer(model, prepared, draws), answer(model, batch, draws))
    assert all(torch.equal(batch[k], given[k]) for k in given) and batch.keys() == given.keys()
