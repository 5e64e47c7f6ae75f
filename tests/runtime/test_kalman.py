"""The Kalman filter and smoother against one dense Gaussian over all sites."""

import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from lvspec.runtime import GaussianChain, GaussianChainPosterior
from lvspec.runtime.gaussian import linear_gaussian as kalman

F = torch.float64


def spd(*shape, generator):
    """Positive definite matrices (*shape, D, D)."""
    D = shape[-1]
    x = torch.randn(*shape, D, dtype=F, generator=generator)
    return x @ x.mT / D + 0.3 * torch.eye(D, dtype=F)


# name -> axes in front of each coefficient's event: "" alike everywhere, "T" per site, "B1" per row, "BT" both
LAYOUTS = {"alike": "", "by site": "T", "by row": "B1", "by row and site": "BT"}


def chain(layout="", B=4, T=5, D=3, N=(2,), seed=0, missing="sites", lengths=None):
    """A random chain with ragged lengths 0, 1, ...; NaN wherever nothing may be read."""
    g = torch.Generator().manual_seed(seed)
    lead = {"": (), "T": (T,), "B1": (B, 1), "BT": (B, T)}[layout]
    row = lead[:1] if layout.startswith("B") else ()

    def normal(*shape):
        return torch.randn(*shape, dtype=F, generator=g)

    lengths = torch.tensor([T, 1, 0, max(T - 1, 0)][:B]) if lengths is None else torch.tensor(lengths)
    mask = torch.arange(T) < lengths[:, None]
    emissions = []
    for n in N:
        seen = {"none": torch.ones(B, T, dtype=torch.bool), "sites": torch.rand(B, T, generator=g) < 0.7}.get(missing)
        if seen is None:
            seen = torch.rand(B, T, n, generator=g) < 0.6
        real = mask if seen.dim() == 2 else mask[..., None]
        seen = seen & real
        value = torch.where(seen if seen.dim() == 3 else seen[..., None], normal(B, T, n), math.nan)
        emissions.append((normal(*lead, n, D), normal(*lead, n), spd(*lead, n, generator=g), value, seen))
    start = (normal(*row, D), spd(*row, D, generator=g))
    transition = (0.6 * normal(*lead, D, D), normal(*lead, D), spd(*lead, D, generator=g))
    return GaussianChain(start, transition, tuple(emissions), mask)


class Dense:
    """One row of a chain as a Gaussian over (z[0], ..., z[L-1]) and all that is observed: no recursion."""

    def __init__(self, chain, row):
        self.D, self.L = chain.size, int(chain.mask[row].sum())
        site = lambda x, t, e: self.coefficient(x, row, t, e, chain.mask.shape)  # noqa: E731
        D, n = self.D, self.L * self.D
        inverse, offset, noise = torch.eye(n, dtype=F), torch.zeros(n, dtype=F), torch.zeros(n, n, dtype=F)
        for t in range(self.L):
            here = slice(t * D, (t + 1) * D)
            if t == 0:
                mean, covariance = chain.start
                offset[here] = mean[row] if mean.dim() == 2 else mean
                noise[here, here] = covariance[row] if covariance.dim() == 3 else covariance
                continue
            A, b, Q = (site(x, t, e) for x, e in zip(chain.transition, (2, 1, 2), strict=True))
            inverse[here, (t - 1) * D : t * D] = -A
            offset[here], noise[here, here] = b, Q
        M = torch.linalg.inv(inverse)
        self.prior_mean, self.prior = M @ offset, M @ noise @ M.T
        rows = []  # (row of C over all z, d, x, the emission's block, its coordinate)
        for k, (C, d, R, x, seen) in enumerate(chain.emissions):
            for t in range(self.L):
                keep = [i for i in range(x.shape[-1]) if seen[row, t].expand(x.shape[-1])[i]]
                for i in keep:
                    full = torch.zeros(n, dtype=F)
                    full[t * D : (t + 1) * D] = site(C, t, 2)[i]
                    rows.append((full, site(d, t, 1)[i], x[row, t, i], (k, t), i, site(R, t, 2)))
        H = torch.stack([r[0] for r in rows]) if rows else torch.zeros(0, n, dtype=F)
        d = torch.stack([r[1] for r in rows]) if rows else torch.zeros(0, dtype=F)
        self.x = torch.stack([r[2] for r in rows]) if rows else torch.zeros(0, dtype=F)
        self.noise = torch.zeros(len(rows), len(rows), dtype=F)
        for a, p in enumerate(rows):
            for b, q in enumerate(rows):
                if p[3] == q[3]:
                    self.noise[a, b] = p[5][p[4], q[4]]
        self.H, self.expected = H, H @ self.prior_mean + d
        self.times = [r[3][1] for r in rows]
        self.S = H @ self.prior @ H.T + self.noise

    @staticmethod
    def coefficient(x, row, t, event, shape):
        full = x.expand(*shape, *x.shape[x.dim() - event :])
        return full[row, t]

    def log_prob(self):
        if not len(self.x):
            return torch.zeros((), dtype=F)
        return torch.distributions.MultivariateNormal(self.expected, self.S).log_prob(self.x)

    def posterior(self, until=None):
        """Mean and covariance of all z given what is observed (at sites <= until)."""
        keep = [i for i, t in enumerate(self.times) if until is None or t <= until]
        H, S = self.H[keep], self.S[keep][:, keep]
        gain = self.prior @ H.T @ torch.linalg.inv(S) if keep else torch.zeros(len(self.prior), 0, dtype=F)
        mean = self.prior_mean + gain @ (self.x[keep] - self.expected[keep])
        return mean, self.prior - gain @ H @ self.prior


def close(found, expected):
    gap = (found - expected).abs() / expected.abs().clamp(min=1)
    assert found.shape == expected.shape and (gap <= 1e-9).all(), gap.max()


@pytest.mark.parametrize("missing", ["none", "sites", "coordinates"])
@pytest.mark.parametrize("N", [(1,), (2,), (5,), (2, 3)], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_chain_equals_a_dense_gaussian(layout, N, missing):
    c = chain(layout, N=N, missing=missing)
    posterior, D = GaussianChainPosterior(c), c.size
    for row in range(len(c.mask)):
        dense = Dense(c, row)
        close(c.log_prob()[row], dense.log_prob())
        mean, covariance = dense.posterior()
        close(posterior.mean[row, : dense.L], mean.reshape(-1, D))
        close(posterior.mode[row, : dense.L], mean.reshape(-1, D))
        for t in range(dense.L):
            here, after = slice(t * D, (t + 1) * D), slice((t + 1) * D, (t + 2) * D)
            close(posterior.covariance[row, t], covariance[here, here])
            close(posterior.variance[row, t], covariance[here, here].diagonal())
            if t + 1 < dense.L:
                close(posterior.lagged_covariance[row, t], covariance[here, after])
            m, v = dense.posterior(until=t)
            close(posterior.filtered[0][row, t], m[here])
            close(posterior.filtered[1][row, t], v[here, here])
        entropy = 0.5 * (torch.logdet(2 * math.pi * math.e * covariance) if dense.L else torch.zeros((), dtype=F))
        close(posterior.entropy[row], entropy)
        assert (posterior.mean[row, dense.L :] == 0).all() and (posterior.covariance[row, dense.L :] == 0).all()


def test_a_planted_error_is_far_from_the_dense_gaussian():
    c = chain("BT")
    A, b, Q = c.transition
    wrong = GaussianChain(c.start, (A.mT, b, Q), c.emissions, c.mask)
    assert (wrong.log_prob()[0] - Dense(c, 0).log_prob()).abs() > 1e-2


@pytest.mark.parametrize("B, T", [(1, 1), (1, 7), (0, 3), (3, 0)])
def test_extents_of_zero_and_one(B, T):
    c = chain(B=B, T=T, lengths=[T] * B)
    posterior = GaussianChainPosterior(c)
    assert c.log_prob().shape == posterior.entropy.shape == (B,)
    assert posterior.mean.shape == (B, T, 3) and posterior.sample(2).shape == (2, B, T, 3)
    for row in range(B):
        close(c.log_prob()[row], Dense(c, row).log_prob())


def test_padding_changes_nothing_not_even_where_it_would_overflow():
    c = chain("", T=5, lengths=[3, 1, 0, 2])
    long = 400
    pad = lambda x: torch.cat([x, x.new_full((4, long, *x.shape[2:]), 0 if x.dtype == torch.bool else math.nan)], 1)  # noqa: E731
    start = tuple(p.requires_grad_() for p in c.start)
    A = (50 * c.transition[0]).requires_grad_()
    values, gradients = [], []
    for mask, emissions in (
        (c.mask, c.emissions),
        (pad(c.mask), tuple((C, d, R, pad(x), pad(seen)) for C, d, R, x, seen in c.emissions)),
    ):
        posterior = GaussianChainPosterior(GaussianChain(start, (A, *c.transition[1:]), emissions, mask))
        value = posterior.chain.log_prob() + posterior.entropy + posterior.mean.sum((1, 2))
        values.append(value.detach())
        gradients.append(torch.autograd.grad(value.sum(), (*start, A)))
    close(values[1], values[0])
    for a, b in zip(*gradients, strict=True):
        close(b, a)


def test_filter_is_differentiable_twice():
    c = chain("", B=3, T=3, D=2, N=(1,), missing="none")
    factors = [torch.linalg.cholesky(x) for x in (c.start[1], c.transition[2], c.emissions[0][2])]
    inputs = (c.start[0], *c.transition[:2], *c.emissions[0][:2], *factors)
    inputs = tuple(x.detach().clone().requires_grad_() for x in inputs)

    def answers(m, A, b, C, d, S, Q, R):
        S, Q, R = (x.tril() @ x.tril().mT for x in (S, Q, R))
        posterior = GaussianChainPosterior(GaussianChain((m, S), (A, b, Q), ((C, d, R, *c.emissions[0][3:]),), c.mask))
        return posterior.chain.log_prob(), posterior.mean, posterior.entropy

    assert gradcheck(answers, inputs)
    assert gradgradcheck(lambda *a: answers(*a)[0], inputs)


@pytest.mark.parametrize("missing", ["sites", "coordinates"])
@pytest.mark.parametrize("varying", [True, False])
def test_a_long_filter_has_the_gradients_of_a_short_one(missing, varying, monkeypatch):
    """In blocks of sites, or with the graph of all of them: first and second derivatives, of what differs over sites, of a
    covariance that is computed from the transition, of padding."""
    generator, (B, T, D) = torch.Generator().manual_seed(0), (3, 23, 2)

    def values(*shape):
        return torch.randn(*shape, generator=generator, dtype=F).requires_grad_()

    inputs = values(D), values(*([T] if varying else []), D, D), values(D), values(D, D), values(T, D), values(B, T, D)
    mean, A, b, C, d, x = inputs
    mask = torch.arange(T) < torch.tensor([[T], [T - 7], [0]])
    seen = mask & (torch.rand(B, T, generator=generator) > 0.2)
    if missing == "coordinates":
        seen = seen.unsqueeze(-1) & (torch.rand(B, T, D, generator=generator) > 0.2)
    found = []
    for long in (100, 5):
        monkeypatch.setattr(kalman, "LONG", long)
        Q, R = (0.3 * matrix @ matrix.mT + torch.eye(D, dtype=F) for matrix in (A, C))
        log_p = GaussianChain((mean, R), (0.5 * A, b, Q), ((C, d, R, x, seen),), mask).log_prob()
        total = (log_p * torch.tensor([1.0, 2.0, 3.0])).sum()
        once = torch.autograd.grad(total, inputs, retain_graph=True)
        graph = torch.autograd.grad(total, inputs, create_graph=True)
        twice = torch.autograd.grad(sum((g**2).sum() for g in graph), inputs)
        found.append((log_p, *once, *graph, *twice))
    for expected, value in zip(*found, strict=True):
        assert (expected - value).abs().max() <= 1e-10 * (1 + expected.abs().max())


@pytest.mark.parametrize("layout", ["", "BT"])
def test_divergence_of_two_posteriors_is_that_of_the_dense_gaussians(layout):
    one, two = chain(layout, seed=0), chain(layout, seed=1, N=(3,))
    p, q = GaussianChainPosterior(one), GaussianChainPosterior(two)
    for row in range(len(one.mask)):
        moments = [Dense(c, row).posterior() for c in (one, two)]
        if not len(moments[0][0]):
            assert p.kl(q)[row] == 0 and p.cross_entropy(q)[row] == 0
            continue
        dense = [torch.distributions.MultivariateNormal(m, 0.5 * (v + v.T)) for m, v in moments]
        close(p.kl(q)[row], torch.distributions.kl_divergence(*dense))
        close(p.cross_entropy(q)[row], torch.distributions.kl_divergence(*dense) + dense[0].entropy())
    close(p.cross_entropy(p), p.entropy)


def test_draws_have_the_moments_of_the_posterior():
    """Whitened draws of a path are standard normal: every coordinate's mean, and every product's, by a z-test at a
    family-wise false-alarm rate of 1e-6."""
    c, n = chain("T", B=2, T=4, D=2, lengths=[4, 3]), 40_000
    torch.manual_seed(0)
    draws = GaussianChainPosterior(c).sample(n)
    assert (draws[:, 1, 3] == 0).all()
    for row in range(2):
        dense = Dense(c, row)
        mean, covariance = dense.posterior()
        x = draws[:, row, : dense.L].reshape(n, -1) - mean
        white = torch.linalg.solve_triangular(torch.linalg.cholesky(covariance), x.T, upper=False)
        z = [white.mean(1) * n**0.5]
        moment = (white @ white.T / n - torch.eye(len(white), dtype=F)) * n**0.5
        spread = torch.where(torch.eye(len(white), dtype=torch.bool), 2**0.5, 1.0)
        z.append((moment / spread)[torch.ones_like(moment).triu().bool()])
        z = torch.cat(z).abs()
        bound = torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor(1 - 1e-6 / (2 * 2 * len(z)), dtype=F))
        assert z.max() < bound


def test_forecast_is_the_posterior_of_sites_without_observations():
    c = chain("", lengths=[5, 1, 2, 4])
    steps = 3
    mean, covariance = GaussianChainPosterior(c).forecast(steps)
    longer = torch.arange(5 + steps) < (c.mask.sum(1) + steps)[:, None]
    grow = lambda x: torch.cat([x, x.new_zeros(4, steps, *x.shape[2:])], 1)  # noqa: E731
    emissions = tuple((C, d, R, grow(x), grow(seen)) for C, d, R, x, seen in c.emissions)
    expected = GaussianChainPosterior(GaussianChain(c.start, c.transition, emissions, longer))
    for row, length in enumerate(c.mask.sum(1)):
        close(mean[row], expected.mean[row, length : length + steps])
        close(covariance[row], expected.covariance[row, length : length + steps])
    with pytest.raises(ValueError, match="changes from site to site"):
        GaussianChainPosterior(chain("T")).forecast(1)


def test_a_covariance_that_is_none_gives_nan_not_a_number_that_is_wrong():
    c = chain("", missing="none")
    C, d, R, x, seen = c.emissions[0]
    assert GaussianChain(c.start, c.transition, ((C, d, -100 * R, x, seen),), c.mask).log_prob()[0].isnan()


def test_long_and_ill_conditioned_chains_stay_close_to_float64_in_float32():
    """A random walk seen through very little noise: covariances of size 1e-6 beside ones of size 1e2."""
    T = 2000
    g = torch.Generator().manual_seed(0)
    eye = torch.eye(2, dtype=F)
    x = torch.randn(1, T, 2, generator=g, dtype=F).cumsum(1)
    ones = torch.ones(1, T, dtype=torch.bool)

    def answers(dtype):
        to = lambda x: x.to(dtype)  # noqa: E731
        emission = (to(eye), to(torch.zeros(2)), to(1e-6 * eye), to(x), ones)
        c = GaussianChain(
            (to(torch.zeros(2)), to(100 * eye)), (to(eye), to(torch.zeros(2)), to(eye)), (emission,), ones
        )
        return c.log_prob().double(), GaussianChainPosterior(c).mean.double()

    single, double = answers(torch.float32), answers(F)
    assert ((single[0] - double[0]) / double[0]).abs() < 1e-5
    assert ((single[1] - double[1]).abs() / double[1].abs().clamp(min=1)).max() < 1e-5


def test_meta_device_and_half_precision_contexts():
    c = chain("")
    on_meta = lambda x: tuple(map(on_meta, x)) if isinstance(x, tuple) else x.to("meta")  # noqa: E731
    m = GaussianChain(*(on_meta(x) for x in (c.start, c.transition, c.emissions, c.mask)))
    assert m.log_prob().shape == (4,) and GaussianChainPosterior(m).entropy.device.type == "meta"
    plain = c.log_prob()
    with torch.autocast("cpu", torch.bfloat16):
        inside = GaussianChain(c.start, c.transition, c.emissions, c.mask).log_prob()
    close(inside, plain)


def test_filter_is_one_graph():
    c = chain("", T=3)
    compiled = torch.compile(lambda c: c.log_prob(), fullgraph=True, backend="eager")
    close(compiled(c), c.log_prob())


def test_little_noise_is_told_apart_in_float32():
    """Noise of e^-10 beside states of unit size: log p, its gradient and the posterior are those of float64."""
    generator = torch.Generator().manual_seed(0)
    A, C = torch.tensor([[-0.59, 0.58], [0.46, 0.22]]), torch.tensor([[-0.36, -0.25], [1.06, -1.93], [-0.75, -0.01]])
    z, x = torch.randn(2, 2, generator=generator), []
    for _ in range(6):
        x.append(z @ C.T + math.exp(-10) * torch.randn(2, 3, generator=generator))
        z = z @ A.T + math.exp(-10) * torch.randn(2, 2, generator=generator)

    def found(dtype, noise):
        A_, C_, noise = A.to(dtype).requires_grad_(), C.to(dtype).requires_grad_(), torch.tensor(noise, dtype=dtype)
        little = noise.exp().square() * torch.eye(3, dtype=dtype)
        emission = (
            C_,
            torch.zeros(3, dtype=dtype),
            little,
            torch.stack(x, 1).to(dtype),
            torch.ones(2, 6, dtype=torch.bool),
        )
        start = (torch.zeros(2, dtype=dtype), torch.eye(2, dtype=dtype))
        chain = GaussianChain(start, (A_, torch.zeros(2, dtype=dtype), little[:2, :2]), (emission,), emission[-1])
        log_p = chain.log_prob()
        return log_p, torch.autograd.grad(log_p.sum(), (A_, C_)), GaussianChainPosterior(chain)

    (single, gradients, posterior), (double, expected, exact) = found(torch.float32, -10.0), found(torch.float64, -10.0)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), double, rtol=1e-3, atol=0.05)
    for a, b in zip(gradients, expected, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-2, atol=1e-2 * float(b.abs().max()))
    torch.testing.assert_close(posterior.mean.double(), exact.mean, atol=1e-4, rtol=1e-4)
    assert posterior.sample(2).isfinite().all()
    assert posterior.entropy.isfinite().all()
    assert found(torch.float32, 0.0)[2].mean.dtype == torch.float32  # where the noise is not little, all stays as it is
