"""The chain's scaled program against enumeration and against the log-domain scan."""

from __future__ import annotations

import itertools

import pytest
import torch

from lvspec.runtime import LOG, MAX, SAMPLE, chain, tempered
from lvspec.runtime.chains.log import log_scan
from lvspec.runtime.chains.steps import program_of, read_steps

# name -> (state sizes, steps, shapes of the factors; "B" and "T" stand for the batch and the time axis)
PROGRAMS = {
    "hmm": ((4,), ("i,ij->j",), ("ij",)),
    "input_output": ((4,), ("i,BTij->j",), ("BTij",)),
    "by_time": ((4,), ("i,Tij->j",), ("Tij",)),
    "by_example": ((4,), ("i,Bij->j",), ("Bij",)),
    "factorial": ((2, 3, 4), ("abc,ad->dbc", "dbc,be->dec", "dec,cf->def"), ("ad", "be", "cf")),
    "factorial_by_time": ((2, 3), ("ab,BTac->cb", "cb,Tbd->cd"), ("BTac", "Tbd")),
    "second_order": ((3, 3), ("ab,bac->ca",), ("bac",)),
    "second_order_by_example": ((3, 3), ("ab,Bbac->ca",), ("Bbac",)),
    "coupled": ((2, 3), ("ab,abc->abc", "abc,abd->cd"), ("abc", "abd")),
    "coupled_by_time": ((2, 3), ("ab,BTabc->abc", "abc,abd->cd"), ("BTabc", "abd")),
    "switching": ((2, 3), ("sz,su->uz", "uz,uzy->uy"), ("su", "uzy")),
    "letters_again": ((3, 3), ("ab,ac->cb", "cb,ba->ca"), ("ac", "ba")),
    "forgets_one": ((2, 3), ("ab,ac->c", "c,cbd->bd"), ("ac", "cbd")),
    "one_state": ((1,), ("i,ij->j",), ("ij",)),
}
LETTERS = {
    "letters_again": dict(a=3, b=3, c=3),
    "second_order": dict(a=3, b=3, c=3),
    "second_order_by_example": dict(a=3, b=3, c=3),
    "switching": dict(s=2, z=3, u=2, y=3),
    "coupled": dict(a=2, b=3, c=2, d=3),
    "coupled_by_time": dict(a=2, b=3, c=2, d=3),
    "forgets_one": dict(a=2, b=2, c=5, d=3),
    "factorial": dict(a=2, d=2, b=3, e=3, c=4, f=4),
    "factorial_by_time": dict(a=2, c=2, b=3, d=3),
    "one_state": dict(i=1, j=1),
}


def draw(name, B=3, T=5, scale=1.0, dtype=torch.float64, seed=0, per_row_start=False):
    """start, factors, potentials, steps of a program, as leaves."""
    generator = torch.Generator().manual_seed(seed)
    states, steps, factors = PROGRAMS[name]
    sizes = LETTERS.get(name, dict(i=4, j=4)) | dict(B=B, T=T)
    if name == "forgets_one":
        sizes["b"] = 2

    def make(*shape):
        return (torch.randn(*shape, generator=generator) * scale).to(dtype).requires_grad_()

    start = make(*([B] if per_row_start else []), *states)
    return start, tuple(make(*[sizes[a] for a in f]) for f in factors), make(B, T, *states), steps


def plain(start, factors, potentials, steps, mask=None, openings=(), semiring=LOG):
    start = start if start.dim() == potentials.dim() - 1 else start.unsqueeze(0)
    return log_scan(start, potentials, mask, [*openings, factors], read_steps(steps), semiring)


def gradients(value, leaves):
    weights = torch.linspace(0.5, 2, value.numel(), dtype=value.dtype)
    return torch.autograd.grad((value * weights).sum(), leaves, retain_graph=True)


def assert_alike(got, expected, tolerance):
    for g, e in zip(got, expected, strict=True):
        g, e = g.detach(), e.detach()
        assert g.shape == e.shape
        assert (g - e).abs().max() <= tolerance * max(1.0, float(e.abs().max()))


@pytest.mark.parametrize("per_row_start", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", PROGRAMS)
def test_scaled_program_agrees_with_the_log_domain(name, masked, per_row_start):
    start, factors, potentials, steps = draw(name, per_row_start=per_row_start)
    mask = None
    if masked:
        mask = torch.arange(5) < torch.tensor([5, 2, 0]).unsqueeze(1)
    here = torch.ones(3, 5, dtype=torch.bool) if mask is None else mask
    zeroed = potentials * here.reshape(3, 5, *[1] * (potentials.dim() - 2))
    leaves = [start, potentials, *factors]
    value, expected = chain(start, factors, zeroed, steps, mask), plain(start, factors, zeroed, steps, mask)
    assert "ChainSum" in str(value.grad_fn)
    assert_alike([value], [expected], 1e-9)
    assert_alike(gradients(value, leaves), gradients(expected, leaves), 1e-8)


@pytest.mark.parametrize("T", [1, 2, 3, 6])
@pytest.mark.parametrize("name", ["hmm", "second_order", "by_time", "coupled"])
def test_openings_lead_into_the_first_sites(name, T):
    start, factors, potentials, steps = draw(name, T=T)
    openings = tuple(draw(name, T=T, seed=s)[1] for s in (1, 2))
    leaves = [start, potentials, *factors, *openings[0], *openings[1]]
    value = chain(start, factors, potentials, steps, openings=openings)
    expected = plain(start, factors, potentials, steps, openings=openings)
    assert_alike([value], [expected], 1e-9)
    weights = torch.linspace(0.5, 2, 3, dtype=torch.float64)
    got, want = (
        torch.autograd.grad((v * weights).sum(), leaves, allow_unused=True, materialize_grads=True)
        for v in (value, expected)
    )
    assert_alike(got, want, 1e-8)


def test_opening_may_lack_the_leading_axes():
    start, factors, potentials, steps = draw("input_output")
    opening = torch.randn(4, 4, dtype=torch.float64, requires_grad=True)
    leaves = [start, potentials, *factors, opening]
    value = chain(start, factors, potentials, steps, openings=((opening,),))
    expected = plain(start, factors, potentials, steps, openings=((opening,),))
    assert_alike([value], [expected], 1e-9)
    assert_alike(gradients(value, leaves), gradients(expected, leaves), 1e-8)


def test_enumeration_of_all_sequences():
    start, (arc,), potentials, steps = draw("hmm", B=2, T=3)
    scores = [
        start[z[0]] + potentials[:, 0, z[0]] + sum(arc[z[t - 1], z[t]] + potentials[:, t, z[t]] for t in (1, 2))
        for z in itertools.product(range(4), repeat=3)
    ]
    assert_alike([chain(start, (arc,), potentials, steps)], [torch.stack(scores).logsumexp(0)], 1e-12)


def test_normalized_transitions_need_no_mask():
    start, (arc,), potentials, steps = draw("hmm")
    mask = torch.arange(5) < torch.tensor([5, 2, 1]).unsqueeze(1)
    zeroed = potentials * mask.unsqueeze(-1)
    arc_rows = arc.log_softmax(-1)
    leaves = [start, arc, potentials]
    with_mask = chain(start, (arc_rows,), zeroed, steps, mask)
    without = chain(start, (arc_rows,), zeroed, steps, mask, normalized=True)
    assert_alike([without], [with_mask], 1e-9)
    assert_alike(gradients(without, leaves), gradients(with_mask, leaves), 1e-8)


@pytest.mark.parametrize("name", ["hmm", "factorial", "second_order", "input_output", "coupled"])
def test_first_and_second_derivatives(name):
    start, factors, potentials, steps = draw(name, B=2, T=3)
    mask = torch.tensor([[True, True, True], [True, True, False]])

    def f(start, potentials, *factors):
        return chain(start, factors, potentials, steps, mask)

    assert torch.autograd.gradcheck(f, (start, potentials, *factors))
    assert torch.autograd.gradgradcheck(f, (start, potentials, *factors))


@pytest.mark.parametrize("name", ["hmm", "factorial", "coupled"])
def test_second_backward_pass_gives_the_same(name):
    start, factors, potentials, steps = draw(name)
    value = chain(start, factors, potentials, steps)
    leaves = [start, potentials, *factors]
    first, again = gradients(value, leaves), gradients(value, leaves)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_lengths_zero_and_one_and_no_rows():
    start, factors, potentials, steps = draw("hmm")
    assert chain(start, factors, potentials[:, :0], steps).tolist() == [0.0, 0.0, 0.0]
    nothing = chain(start, factors, potentials[:0], steps)
    nothing.sum().backward()
    assert nothing.shape == (0,) and factors[0].grad.abs().sum() == 0
    one = chain(start, factors, potentials[:, :1], steps)
    assert_alike([one], [(start + potentials[:, 0]).logsumexp(-1)], 1e-12)
    empty_row = chain(start, factors, potentials * 0, steps, mask=torch.zeros(3, 5, dtype=torch.bool))
    assert_alike([empty_row], [start.logsumexp(0).expand(3)], 1e-12)


def sharp_cases(K=16, V=200):
    torch.manual_seed(0)
    base = [torch.randn(K), torch.randn(K, K), torch.randn(K, V)]
    forbidden = base[1].clone()
    forbidden[torch.rand(K, K) < 0.8] = -torch.inf
    forbidden.fill_diagonal_(0.0)
    cases = {f"scale {s}": [b * s for b in base] for s in (1, 10, 30, 100, 300, 1e4)}
    for s in (1, 30, 100, 300):
        cases[f"80 % forbidden, emissions of scale {s}"] = [base[0], forbidden, base[2] * s]
    cases["80 % forbidden, all of scale 100"] = [base[0] * 100, forbidden * 100, base[2] * 100]
    cases["sharp emissions only"] = [base[0], base[1], base[2] * 300]
    cases["sharp start only"] = [base[0] * 300, base[1], base[2]]
    left_to_right = torch.full((K, K), -torch.inf)
    for i in range(K):
        left_to_right[i, i : i + 2] = torch.randn(len(left_to_right[i, i : i + 2]))
    first = torch.full((K,), -torch.inf)
    first[0] = 0.0
    cases["left to right"] = [first, left_to_right, base[2]]
    cases["left to right, sharp"] = [first, left_to_right * 30, base[2] * 30]
    return cases


@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize("case", sharp_cases())
def test_sharp_logits_are_never_silently_wrong(case, normalized):
    B, T, V = 8, 40, 200
    x = torch.randint(V, (B, T), generator=torch.Generator().manual_seed(1))

    def value_and_gradients(dtype, program):
        leaves = [p.to(dtype).clone().requires_grad_() for p in sharp_cases()[case]]
        start, arc, emission = (p.log_softmax(-1) for p in leaves)
        potentials = emission.t()[x]
        value = program(start, (arc,), potentials, ("i,ij->j",)).sum()
        value.backward()
        return value.detach().double(), [p.grad.double() for p in leaves]

    def fast(*arguments):
        return chain(*arguments, normalized=normalized)

    (value, found), (truth, expected) = (
        value_and_gradients(torch.float32, fast),
        value_and_gradients(torch.float64, plain),
    )
    assert (value - truth).abs() <= 1e-6 * truth.abs()
    for g, e in zip(found, expected, strict=True):
        assert g.isfinite().all()
        assert (g - e).abs().max() <= 1e-4 * e.abs().max().clamp_min(1.0)


@pytest.mark.parametrize("scale", [1.0, 1e4])
@pytest.mark.parametrize("K", [1, 2, 4096])
def test_one_state_and_thousands_of_moderate_and_of_huge_logits(K, scale):
    generator = torch.Generator().manual_seed(K)
    shapes = (K,), (K, K), (1, 3, K)
    leaves = [(scale * torch.randn(shape, generator=generator)).requires_grad_() for shape in shapes]
    exact = [x.detach().double().requires_grad_() for x in leaves]
    value = chain(leaves[0], (leaves[1],), leaves[2], ("i,ij->j",))
    truth = plain(exact[0], (exact[1],), exact[2], ("i,ij->j",))
    assert ((value - truth).abs() <= 1e-6 * truth.abs().clamp_min(1)).all()
    assert_alike([g.double() for g in gradients(value, leaves)], gradients(truth, exact), 1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_probabilities_of_exactly_zero_and_one(dtype):
    """A deterministic cycle that emits its state: one sequence of states is possible, or none."""
    certain = torch.eye(3, dtype=dtype).log()
    start, arc = certain[0], certain.roll(1, 1)
    symbols = torch.tensor([[0, 1, 2, 0], [0, 1, 1, 0], [1, 2, 0, 1]])
    leaves = [x.clone().requires_grad_() for x in (start, arc, certain)]
    value = chain(leaves[0], (leaves[1],), leaves[2][symbols], ("i,ij->j",), normalized=True)
    assert value.tolist() == [0.0, -torch.inf, -torch.inf]
    d_start, d_arc, d_emission = torch.autograd.grad(value.sum(), leaves)
    assert d_start.tolist() == [1.0, 0.0, 0.0]  # of the one possible row: how often each was used
    assert torch.equal(d_arc, torch.eye(3, dtype=dtype).roll(1, 1))
    assert torch.equal(d_emission.diag(), torch.tensor([2.0, 1.0, 1.0], dtype=dtype))


def test_impossible_rows_have_probability_zero_and_no_gradient():
    start, (arc,), potentials, steps = draw("hmm")
    blocked = potentials.detach().clone()
    blocked[1, 2] = -torch.inf
    blocked.requires_grad_()
    value = chain(start, (arc,), blocked, steps)
    assert value[1] == -torch.inf and value[[0, 2]].isfinite().all()
    for g in torch.autograd.grad(value[[0, 2]].sum() + value[1], [start, arc, blocked]):
        assert g.isfinite().all()


def test_unreachable_states_that_would_explain_everything():
    """The backward messages of states that cannot be reached grow without bound; they must not be read."""
    T = 60
    start = torch.tensor([0.0, -torch.inf], requires_grad=True)
    arc = torch.tensor([[0.0, -torch.inf], [-5.0, 0.0]], requires_grad=True)
    potentials = torch.zeros(1, T, 2)
    potentials[..., 0] = -40.0
    potentials.requires_grad_()
    value = chain(start, (arc,), potentials, ("i,ij->j",))
    assert value.item() == pytest.approx(-40.0 * T, rel=1e-6)
    d_start, d_arc, d_potentials = torch.autograd.grad(value.sum(), [start, arc, potentials])
    assert d_start.tolist() == [1.0, 0.0]
    assert torch.allclose(d_arc, torch.tensor([[T - 1.0, 0.0], [0.0, 0.0]]))
    assert torch.allclose(d_potentials[0], torch.tensor([[1.0, 0.0]]).expand(T, 2))


@pytest.mark.parametrize("shift", [1e4, -1e4])
def test_large_constants_are_taken_out(shift):
    start, factors, potentials, steps = draw("hmm", dtype=torch.float64)
    value = chain(start + shift, (factors[0] + shift,), potentials + shift, steps)
    assert_alike([value], [plain(start, factors, potentials, steps) + shift * 10], 1e-12)


def test_ten_thousand_sites_in_single_precision():
    start, (arc,), potentials, steps = draw("hmm", B=2, T=10_000)
    rows = arc.log_softmax(-1).detach()
    truth = chain(start, (rows,), potentials, steps, normalized=True)
    leaf = potentials.detach().float().requires_grad_()
    value = chain(start.float(), (rows.float(),), leaf, steps, normalized=True)
    assert (value.double() - truth).abs().max() <= 1e-6 * truth.abs().max()
    (found,) = torch.autograd.grad(value.sum(), leaf)
    assert (found.double().sum(-1) - 1).abs().max() < 1e-3


@pytest.mark.parametrize("name", ["hmm", "factorial", "second_order", "coupled"])
def test_best_sequence_and_entropy_by_other_reductions(name):
    start, factors, potentials, steps = draw(name, B=3, T=4)
    mask = torch.arange(4) < torch.tensor([4, 2, 0]).unsqueeze(1)
    zeroed = potentials * mask.reshape(3, 4, *[1] * (potentials.dim() - 2))
    best = chain(start, factors, zeroed, steps, mask, semiring=MAX)
    drawn = chain(start, factors, zeroed, steps, mask, semiring=SAMPLE)
    exact = chain(start, factors, zeroed, steps, mask)
    assert_alike([drawn], [exact], 1e-12)
    assert (best[:2] < exact[:2]).all()
    hot = torch.autograd.grad(best.sum(), potentials, retain_graph=True)[0].flatten(2)
    assert ((hot == 0) | (hot == 1)).all() and (hot.sum(-1) == mask).all()
    beta = torch.ones(3, dtype=torch.float64, requires_grad=True)
    entropy = -torch.autograd.grad(chain(start, factors, zeroed, steps, mask, semiring=tempered(beta)).sum(), beta)[0]
    assert (entropy[:2] > 0).all() and entropy[2] == 0


def test_small_neighbouring_factors_are_merged():
    start, factors, potentials, steps = draw("factorial")
    sizes = dict(zip("abc", (2, 3, 4), strict=True))
    merged, rows = program_of(read_steps(steps), [factors], sizes)
    assert len(merged) == 1 and rows[0][0].numel() == 24 * 24


def test_the_message_keeps_its_order_of_axes():
    with pytest.raises(ValueError, match="not a step"):
        read_steps(("ii,ij->j",))


def hostile(seed):
    """A random program with factors of any sharpness, forbidden entries and ragged rows."""
    generator = torch.Generator().manual_seed(seed)

    def pick(values):
        return values[int(torch.randint(len(values), (), generator=generator))]

    name, T, forbidden = pick(list(PROGRAMS)), pick([1, 2, 5, 12, 40]), pick([0.0, 0.3, 0.8])
    start, factors, potentials, steps = draw(name, T=T, seed=seed, per_row_start=pick([True, False]))

    def sharpen(x, may_forbid):
        x = x.detach() * pick([0.1, 1, 1, 10, 30, 100, 300, 3000])
        gone = torch.rand(x.shape, generator=generator) < forbidden
        return x.masked_fill(gone, -torch.inf) if may_forbid else x

    factors = [sharpen(f, pick([True, False])) for f in factors]
    start, potentials = sharpen(start, pick([True, False])), sharpen(potentials, pick([True, False, False]))
    mask = None
    if pick([True, False]):
        mask = torch.arange(T) < torch.tensor([T, pick(range(T + 1)), pick(range(T + 1))]).unsqueeze(1)
        potentials = torch.where(mask.reshape(3, T, *[1] * (potentials.dim() - 2)), potentials, 0.0)
    return start, factors, potentials, steps, mask


@pytest.mark.parametrize("block", range(8))
def test_hostile_programs_in_single_precision(block):
    for seed in range(40 * block, 40 * block + 40):
        start, factors, potentials, steps, mask = hostile(seed)
        found = []
        for dtype, program in ((torch.float32, chain), (torch.float64, plain)):
            leaves = [x.float().to(dtype).requires_grad_() for x in (start, potentials, *factors)]
            value = program(leaves[0], tuple(leaves[2:]), leaves[1], steps, mask)
            possible = value.detach() > -torch.inf
            slopes = torch.autograd.grad(value[possible].sum(), leaves, allow_unused=True, materialize_grads=True)
            found.append((value.detach().double(), possible, slopes))
        (value, possible, got), (truth, expected, want) = found
        assert torch.equal(possible, expected), seed
        # large terms that cancel leave their rounding: an error is relative to the largest of them too
        largest = max(
            [
                1.0,
                *(
                    float(x[x > -torch.inf].abs().amax())
                    for x in (start, potentials, *factors)
                    if (x > -torch.inf).any()
                ),
            ]
        )
        error = (value - truth)[possible].abs() / truth[possible].abs().clamp_min(largest)
        assert (error <= 1e-6).all(), seed
        for g, e in zip(got, want, strict=True):
            assert g.isfinite().all(), seed
            assert (g.double() - e).abs().max() <= 1e-4 * e.abs().max().clamp_min(1), seed


def test_a_chain_of_one_step_takes_no_tuples():
    torch.manual_seed(0)
    start, table, potentials = torch.randn(3), torch.randn(3, 3), torch.randn(2, 4, 3)
    opening = torch.randn(3, 3)
    plain = chain(start, table, potentials, "i,ij->j", openings=(opening,))
    torch.testing.assert_close(plain, chain(start, (table,), potentials, ("i,ij->j",), openings=((opening,),)))
