"""Draws of what structures yield, given its length: frequencies against log p of every yield of that length."""

from itertools import product
from math import sqrt

import pytest
import torch

from lvspec.runtime import BadBatch, ctc_draw, ctc_log_prob, dmv_draw, dmv_log_prob, low_rank_pcfg_draw, pcfg_draw

DRAWS = 20_000
LARGEST_Z = 5.5  # over fewer than 200 cells: a false alarm in 10^5


def worst_z(drawn, values, log_p):
    """The largest |z| over yields: how often each was drawn, against p(yield | length)."""
    p = (log_p - log_p.logsumexp(0)).exp().tolist()
    worst = 0.0
    for value, chance in zip(values, p, strict=True):
        seen = float((drawn == value).all(-1).double().mean())
        assert chance > 0 or seen == 0
        if DRAWS * min(chance, 1 - chance) > 20:
            worst = max(worst, abs(seen - chance) / sqrt(chance * (1 - chance) / DRAWS))
    return worst


def yields(symbols, length):
    return torch.tensor(list(product(range(symbols), repeat=length))).reshape(symbols**length, length)


def dmv_tables(C, seed, forbidden=False):
    generator = torch.Generator().manual_seed(seed)
    root, stop, attach = (torch.randn(s, generator=generator).double() for s in ((C,), (C, 2, 2, 2), (C, 2, C)))
    if forbidden:  # the first tag takes no modifier on its left
        stop[0, 0, :, 0] = -torch.inf
    return root, stop, attach


@pytest.mark.parametrize("forbidden", [False, True])
@pytest.mark.parametrize("length", [1, 2, 4])
def test_dependency_model_draws_sentences_of_a_length(length, forbidden):
    torch.manual_seed(length)
    tables, values = dmv_tables(3, length, forbidden), yields(3, length)
    real = torch.ones(len(values), length, dtype=torch.bool)
    drawn = dmv_draw(torch.ones(DRAWS, length, dtype=torch.bool), *tables)
    assert worst_z(drawn, values, dmv_log_prob(values, real, *tables)) < LARGEST_Z


def test_dependency_model_draws_by_row_and_length():
    torch.manual_seed(0)
    root, stop, attach = (torch.stack([a, b]) for a, b in zip(dmv_tables(2, 1), dmv_tables(2, 2), strict=True))
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]]).bool()
    drawn = dmv_draw(mask.expand(DRAWS, 2, 3), root, stop, attach)
    assert (drawn[:, 1, 2] == 0).all()
    for i, n in enumerate((3, 2)):
        values, real = yields(2, n), torch.ones(2**n, n, dtype=torch.bool)
        log_p = dmv_log_prob(values, real, root[i], stop[i], attach[i])
        assert worst_z(drawn[:, i, :n], values, log_p) < LARGEST_Z
    assert dmv_draw(torch.zeros(2, 0, dtype=torch.bool), *dmv_tables(2, 1)).shape == (2, 0)
    assert dmv_draw(torch.zeros(0, 3, dtype=torch.bool), *dmv_tables(2, 1)).shape == (0, 3)


@pytest.mark.parametrize(("frames", "length"), [(1, 1), (4, 2), (5, 3), (3, 0)])
def test_ctc_draws_as_many_symbols_as_are_asked_for(frames, length):
    torch.manual_seed(frames)
    logits, blank = torch.randn(frames, 3).double(), torch.randn(frames).double()
    logits[0, 1] = -torch.inf
    values, inside = yields(3, length), torch.ones(frames, dtype=torch.bool)
    real = torch.ones(len(values), length, dtype=torch.bool)
    drawn = ctc_draw(torch.ones(DRAWS, length, dtype=torch.bool), logits, blank, inside)
    assert drawn.shape == (DRAWS, length)
    if length:
        assert worst_z(drawn, values, ctc_log_prob(values, real, logits, blank, inside)) < LARGEST_Z


def test_ctc_draws_within_each_row_s_own_frames():
    torch.manual_seed(0)
    logits, blank = torch.randn(2, 5, 2).double(), torch.randn(2, 5).double()
    inside = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]).bool()
    mask = torch.tensor([[1, 1], [1, 0]]).bool()
    drawn = ctc_draw(mask.expand(DRAWS, 2, 2), logits, blank, inside)
    assert (drawn[:, 1, 1] == 0).all()
    for i, n in enumerate((2, 1)):
        values, real = yields(2, n), torch.ones(2**n, n, dtype=torch.bool)
        log_p = ctc_log_prob(values, real, logits[i], blank[i], inside[i])
        assert worst_z(drawn[:, i, :n], values, log_p) < LARGEST_Z


def test_more_symbols_than_frames_are_refused():
    with pytest.raises(BadBatch, match="so few frames cannot yield 3 symbols"):
        ctc_draw(torch.ones(1, 3, dtype=torch.bool), torch.randn(2, 4), torch.randn(2), torch.ones(2, dtype=torch.bool))


def test_equal_symbols_without_a_frame_for_the_blank_between_them_are_refused():
    frames = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]]).bool()
    one_symbol = torch.randn(3, 4, 1)  # its repeats are merged
    assert ctc_draw(torch.ones(1, 2, dtype=torch.bool), one_symbol[:2], torch.randn(2, 4), frames[:2]).eq(0).all()
    with pytest.raises(BadBatch, match="so few frames cannot yield 2 symbols"):
        ctc_draw(torch.ones(3, 2, dtype=torch.bool), one_symbol, torch.randn(3, 4), frames)


def test_a_sentence_that_no_tree_has_is_refused():
    mask = torch.tensor([[1, 1], [0, 0], [1, 0]]).bool()
    root, rules, terminals = torch.randn(2), torch.randn(2, 4, 4), torch.randn(2, 3)
    assert pcfg_draw(mask[:2], root, rules, terminals).shape == (2, 2)
    low_rank = (torch.randn(2, 3), torch.randn(3, 4), torch.randn(3, 4))
    assert low_rank_pcfg_draw(mask[:2], root, *low_rank, terminals).shape == (2, 2)
    with pytest.raises(BadBatch, match="the grammar cannot yield 1 symbol$"):
        pcfg_draw(mask, root, rules, terminals)
    with pytest.raises(BadBatch, match="the grammar cannot yield 1 symbol$"):
        low_rank_pcfg_draw(mask, root, *low_rank, terminals)
    root, stop, attach = dmv_tables(1, 0, forbidden=True)
    stop[..., 0] = -torch.inf  # no word has a modifier
    assert dmv_draw(mask[1:], root, stop, attach).shape == (2, 2)
    with pytest.raises(BadBatch, match="the trees cannot yield 2 symbols"):
        dmv_draw(mask, root, stop, attach)
