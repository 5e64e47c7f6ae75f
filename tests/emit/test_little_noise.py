"""Noise far below the spread of what it is added to: log p(x), its gradient and posteriors of Gaussian latents in 60 digits."""

import math

import pytest
import torch

import lvspec

mp = pytest.importorskip("mpmath").mp
F = {"dtype": torch.float64}
PATH = 17  # latents, which go one by one

FACTORS = """
sizes: {D: 2, P: 5}
params: {w: [P, D], s: []}
latent:
  z: Normal(0, 1)[D]
observed:
  x: Normal(matmul(w, z), exp(s))
"""

SPECS = {
    "one latent": FACTORS,
    "a block of one": FACTORS + "infer: {z: joint_gaussian}\n",
    "plates": """
sizes: {J: 3}
plates: {j: J, i: bag}
params: {w: [], s: []}
latent:
  m: Normal(0, 5)
  z[j]: Normal(w * m, 1)
observed:
  x[j]: Normal(z[j], exp(s))
  y[j]: Normal(z[j] - m, exp(s))
  r[i]: Normal(m, exp(s))
""",
    "level and slope": """
plates: {t: sequence}
params: {w: [], s: []}
latent:
  m[0]: Normal(1, 3)
  m[t]: Normal(m[t-1] + w * z[t-1], 0.5)
  z[0]: Normal(0, 1)
  z[t]: Normal(z[t-1], 0.25)
observed:
  x[t]: Normal(m[t], exp(s))
  y[t]: Normal(m[t] + z[t], exp(s))
""",
    "filter": """
sizes: {D: 2, P: 3}
plates: {t: sequence}
params: {w: [P, D], s: []}
latent:
  z[0]: Normal(0, 1)[D]
  z[t]: Normal(0.5 * z[t-1], 0.5)
observed:
  x[t]: Normal(matmul(w, z[t]), exp(s))
""",
    "one by one": "params: {w: [], s: []}\nlatent:\n  z0: Normal(0, 1)\n"
    + "".join(f"  z{i}: Normal(w * z{i - 1}, 1)\n" for i in range(1, PATH))
    + "observed:\n"
    + "".join(f"  x{i}: Normal(z{i} + 0.5 * z{i - 1}, exp(s))\n" for i in range(1, PATH)),
}
LATENTS = {"plates": ("m", "z"), "level and slope": ("m", "z"), "one by one": tuple(f"z{i}" for i in range(PATH))}


def story(name, w, s, x):
    """Latents (what each reads, offset, deviation), in the order of the answers, and what is seen (reads, deviation, value)."""
    noise, one = mp.exp(s), mp.mpf(1)
    if name in ("one latent", "a block of one"):
        return [({}, 0, one)] * 2, [({0: w[i][0], 1: w[i][1]}, noise, v) for i, v in enumerate(x["x"])]
    if name == "plates":
        latents = [({}, 0, 5 * one)] + [({0: w}, 0, one)] * 3
        seen = [({1 + j: 1}, noise, v) for j, v in enumerate(x["x"])]
        seen += [({1 + j: 1, 0: -1}, noise, x["y"][j]) for j in (0, 2)] + [({0: 1}, noise, v) for v in x["r"]]
        return latents, seen
    if name == "level and slope":
        T = len(x["x"])
        levels = [({}, 1, 3 * one)] + [({t - 1: 1, T + t - 1: w}, 0, one / 2) for t in range(1, T)]
        slopes = [({}, 0, one)] + [({T + t - 1: 1}, 0, one / 4) for t in range(1, T)]
        seen = [({t: 1}, noise, x["x"][t]) for t in range(T)]
        return levels + slopes, seen + [({t: 1, T + t: 1}, noise, x["y"][t]) for t in range(T) if t != 1]
    if name == "filter":
        T = len(x["x"])
        latents = [({}, 0, one)] * 2 + [({i: one / 2}, 0, one / 2) for i in range(2 * T - 2)]
        seen = [(t, i) for t in range(T) for i in range(3) if t != 1]
        return latents, [({2 * t: w[i][0], 2 * t + 1: w[i][1]}, noise, x["x"][t][i]) for t, i in seen]
    latents = [({}, 0, one)] + [({i - 1: w}, 0, one) for i in range(1, PATH)]
    return latents, [({i: one, i - 1: one / 2}, noise, x[f"x{i}"]) for i in range(1, PATH)]


def order(name, latents):
    """The places of the latents such that each stands behind what it reads."""
    return (
        sorted(range(len(latents)), key=lambda i: i % (len(latents) // 2))
        if name == "level and slope"
        else range(len(latents))
    )


def dense(name, latents, seen):
    """log p(x), means and variances of p(z | x), by the covariance of what is seen."""
    n, N = len(latents), len(seen)
    Z, mean, S = mp.matrix(n, n), mp.matrix(n, 1), mp.matrix(N, n)
    for i in order(name, latents):
        reads, mean[i], Z[i, i] = latents[i]
        for j, c in reads.items():
            mean[i] += c * mean[j]
            for k in range(n):
                Z[i, k] += c * Z[j, k]
    gap = mp.matrix(N, 1)
    for i, (reads, _, value) in enumerate(seen):
        gap[i] = value - sum(c * mean[j] for j, c in reads.items())
        for j, c in reads.items():
            for k in range(n):
                S[i, k] += c * Z[j, k]
    covariance = S * S.T + mp.diag([noise**2 for _, noise, _ in seen])
    inverse = covariance**-1
    log_p = -((gap.T * inverse * gap)[0] + mp.log(mp.det(covariance)) + N * mp.log(2 * mp.pi)) / 2
    cross = Z * S.T
    spread = Z * Z.T - cross * inverse * cross.T
    return log_p, mean + cross * inverse * gap, [spread[i, i] for i in range(n)]


def normal(*shape):
    return torch.randn(shape, **F)


def drawn(name, w, noise):
    """Values as the model has them, with what is missing said to be."""

    def e(*shape):
        return noise * normal(*shape)

    if name in ("one latent", "a block of one"):
        return {"x": w @ normal(2) + e(5)}, {}
    if name == "plates":
        m = 5 * normal(1)
        z = w * m + normal(3)
        return {"x": z + e(3), "y": z - m + e(3), "r": m + e(2)}, {"y_observed": torch.tensor([True, False, True])}
    if name == "level and slope":
        z = normal(1) + 0.25 * normal(4).cumsum(0)
        m = 1 + 3 * normal(1) + z.cumsum(0)
        return {"x": m + e(4), "y": m + z + e(4)}, {"y_observed": torch.tensor([True, False, True, True])}
    if name == "filter":
        return {"x": normal(4, 2) @ w.mT + e(4, 3)}, {"x_observed": torch.tensor([True, False, True, True])}
    z = normal(PATH)
    return {f"x{i}": z[i] + 0.5 * z[i - 1] + e() for i in range(1, PATH)}, {}


def exactly(x):
    return [exactly(v) for v in x] if isinstance(x, list) else mp.mpf(x)


@pytest.mark.parametrize("noise", [1e-3, 1e-7])
@pytest.mark.parametrize("name", SPECS)
def test_little_noise_costs_its_share_of_the_digits_and_no_more(name, noise):
    """|error| <= 2^-52 (|log p| + 100 / noise): what rounding the data costs, each of which is some 1 / noise deviations of its noise."""
    torch.manual_seed(0)
    model = lvspec.compile_spec(f"lvspec: 1\nname: precise\n{SPECS[name]}").Model().double()
    with torch.no_grad():
        model.s.fill_(math.log(noise))
        model.w.copy_(torch.randn(model.w.shape, **F) if model.w.dim() else torch.tensor(0.9, **F))
    x, flags = drawn(name, model.w.detach(), noise)
    batch = {k: v[None] for k, v in (x | flags).items()}
    found = model.log_prob(batch)
    slopes = torch.autograd.grad(found.sum(), (model.w, model.s))
    rounding = 2.0**-52 * 100 / noise
    with mp.workdps(60):
        values = {k: exactly(v.tolist()) for k, v in x.items()}
        w, s, h = exactly(model.w.tolist()), mp.mpf(model.s.item()), mp.mpf(10) ** -18 * noise
        exact, means, variances = dense(name, *story(name, w, s, values))
        assert abs(found.item() - exact) <= 2.0**-52 * abs(exact) + rounding

        def slope(at):
            return (at(h) - at(-h)) / (2 * h)

        def moved(d):
            return [[w[0][0] + d, *w[0][1:]], *w[1:]] if isinstance(w, list) else w + d

        expected = [
            slope(lambda d: dense(name, *story(name, moved(d), s, values))[0]),
            slope(lambda d: dense(name, *story(name, w, s + d, values))[0]),
        ]
        for got, right in zip(slopes, expected, strict=True):
            assert abs(got.flatten()[0].item() - right) <= rounding * max(1, abs(right))
        model.requires_grad_(False)
        answer = model.posterior(batch)
        latents = [answer[z] for z in LATENTS.get(name, ("z",))]
        for got, right in zip(torch.cat([a.mean.flatten() for a in latents]).tolist(), means, strict=True):
            assert abs(got - right) <= 1e-11 * max(1, abs(right))
        for got, right in zip(torch.cat([a.variance.flatten() for a in latents]).tolist(), variances, strict=True):
            assert abs(got - right) <= 1e-11 * right


SITES = "plates: {j: 2, i: bag}\nlatent:\n  z[j]: Normal(0, 1)\nobserved:\n  x[j, i]: Normal(z[j], 1)\n"


@pytest.mark.parametrize("name", [*SPECS, "sites of its own"])
def test_a_batch_of_nothing_has_answers_of_nothing(name):
    model = lvspec.compile_spec(f"lvspec: 1\nname: none\n{SPECS.get(name, SITES)}").Model()
    x = {"x": torch.zeros(2, 3)} if name not in SPECS else drawn(name, model.w.detach().double(), 1.0)[0]
    batch = {k: v[None][:0] for k, v in x.items()}
    found = model.log_prob(batch)
    assert found.shape == (0,)
    for latent in model.posterior(batch).values():
        assert latent.mean.shape[0] == latent.variance.shape[0] == latent.entropy.shape[0] == 0
        assert latent.sample(2).shape == (2, *latent.mean.shape)
