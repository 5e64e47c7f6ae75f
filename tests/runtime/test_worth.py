"""What a draw is worth under a bound of several: against the definition, and where no draw is possible."""

import torch

from lvspec.runtime.estimators.bounds import iwae, renyi, vimco, worth


def test_vimco_replaces_each_weight_by_the_others_geometric_mean():
    log_weight = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for bound in (iwae, lambda w: renyi(w, 0.4)):
        found = vimco(log_weight, bound)
        for s in range(4):
            others = log_weight[[r for r in range(4) if r != s]]
            without = torch.cat([others, others.mean(0, keepdim=True)])
            assert torch.allclose(found[s], bound(log_weight) - bound(without), atol=1e-12)


def test_an_example_that_no_draw_makes_possible_is_worth_nothing():
    log_weight = torch.tensor([[-torch.inf, 0.5, -torch.inf], [-torch.inf, 1.5, 2.0]])
    found = vimco(log_weight, iwae)
    assert torch.isfinite(found).all() and (found[:, 0] == 0).all() and (found[:, 1:] != 0).any()
    assert torch.equal(worth(iwae(log_weight))[:1], torch.zeros(1))
    assert (vimco(log_weight[:1], iwae)[0, [0, 2]] == 0).all()
