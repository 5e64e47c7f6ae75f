"""A draw as a function of its noise and of q's arguments, with its pathwise gradient.

Normal, Laplace  loc + scale n        LogNormal  exp(loc + scale n)       StudentT  loc + scale n sqrt(df / 2g)
MultivariateNormal  loc + L n, L the lower triangle of scale_tril, or the Cholesky factor of the covariance
Gamma, Beta, Dirichlet: the noise is the value v itself, and moves with the arguments so that its quantile
stays: dv/da = - (dF/da) / density, which torch knows. VonMisesFisher, NormalMixture: the same by formulas of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lvspec.verify.oracle.densities import Arguments, simpson
from lvspec.verify.oracle.numbers import NUMBERS


def transport(family: str, arguments: Arguments, noise: Tensor) -> Tensor:
    """The value that the noise stands for; for families that are not reparameterized, the noise is the value."""
    move = _TRANSPORTS.get(family)
    return noise if move is None else move(arguments, noise)


def _location_scale(a: Arguments, n: Tensor) -> Tensor:
    return a["loc"] + a["scale"] * n


def _multivariate_normal(a: Arguments, n: Tensor) -> Tensor:
    factor = torch.tril(a["scale_tril"]) if "scale_tril" in a else torch.linalg.cholesky(a["covariance_matrix"])
    return a["loc"] + torch.einsum("...ij,...j->...i", factor, n)


def _student_t(a: Arguments, n: Tensor) -> Tensor:
    half = a["df"] / 2
    normal, gamma = n.unbind(-1)
    moved = gamma + torch._standard_gamma_grad(half.detach().expand_as(gamma), gamma) * (half - half.detach())
    return a["loc"] + a["scale"] * normal * torch.sqrt(half / moved)


def _gamma(a: Arguments, v: Tensor) -> Tensor:
    shape, rate = a["concentration"], a["rate"]
    u = v * rate.detach()
    slope = torch._standard_gamma_grad(shape.detach().expand_as(u).contiguous(), u.contiguous())
    return (u + slope * (shape - shape.detach())) / rate


def _dirichlet(a: Arguments, v: Tensor) -> Tensor:
    alpha = a["concentration"].expand_as(v)
    fixed = alpha.detach().contiguous()
    total = fixed.sum(-1, keepdim=True).expand_as(fixed)
    step = torch._dirichlet_grad(v.contiguous(), fixed, total.contiguous()) * (alpha - fixed)
    return v + step - v * step.sum(-1, keepdim=True)


def _beta(a: Arguments, v: Tensor) -> Tensor:
    pair = torch.stack([a["concentration1"].expand_as(v), a["concentration0"].expand_as(v)], -1)
    return _dirichlet({"concentration": pair}, torch.stack([v, 1 - v], -1))[..., 0]


def _von_mises_fisher(a: Arguments, noise: Tensor) -> Tensor:
    """(1 - t) μ + sqrt(t (2 - t)) v; t moves with κ so that its quantile stays, by Simpson's rule."""
    depth, normal = noise[..., 0], noise[..., 1:]
    mu = a["loc"] / torch.sqrt((a["loc"] ** 2).sum(-1, keepdim=True))
    kappa, size = a["concentration"], a["loc"].shape[-1]
    theta = torch.arccos(1 - depth)
    nodes, weights = simpson()
    share = theta / math.pi  # of the nodes, put between 0 and θ

    def log_mass(at: Tensor, scaled: Tensor) -> Tensor:
        log_sin = (size - 2) * torch.log(torch.sin(at).clamp_min(1e-300)) if size > 2 else 0.0 * at
        return torch.logsumexp(kappa[..., None] * torch.cos(at) + log_sin + torch.log(scaled), -1)

    below = log_mass(share[..., None] * nodes, share[..., None] * weights) - log_mass(nodes, weights)  # log F(θ)
    log_density = kappa * torch.cos(theta) + (size - 2) * torch.log(torch.sin(theta)) - log_mass(nodes, weights)
    fixed = below.detach()
    moved = theta - torch.exp(fixed - log_density.detach()) * (below - fixed)
    across = normal - (normal * mu).sum(-1, keepdim=True) * mu
    across = across / torch.sqrt((across**2).sum(-1, keepdim=True))
    return torch.cos(moved)[..., None] * mu + torch.sin(moved)[..., None] * across


def _normal_mixture(a: Arguments, v: Tensor) -> Tensor:
    """Coordinate by coordinate: each moves so that its quantile, given the earlier ones, stays."""
    log_w, moved = torch.log_softmax(a["logits"], -1), []
    for d in range(v.shape[-1]):
        u = (v[..., d, None] - a["loc"][..., d]) / a["scale"][..., d]
        upper = (log_w.softmax(-1) * torch.special.ndtr(u)).sum(-1, keepdim=True).detach() > 0.5
        side = 1.0 - 2.0 * upper  # far above all components what is left above has digits that 1 - it has lost
        quantile = (side * log_w.softmax(-1) * torch.special.log_ndtr(side * u).exp()).sum(-1)
        log_density = -0.5 * u**2 - torch.log(a["scale"][..., d]) - 0.5 * math.log(2 * math.pi)
        density = (log_w.softmax(-1) * log_density.exp()).sum(-1).detach()
        moved.append(v[..., d] - (quantile - quantile.detach()) / density)
        here = (moved[-1][..., None] - a["loc"][..., d]) / a["scale"][..., d]
        log_w = log_w - 0.5 * here**2 - torch.log(a["scale"][..., d])
    return torch.stack(moved, -1)


def _of_numbers(draw: Callable[..., Tensor]) -> Callable[[Arguments, Tensor], Tensor]:
    return lambda a, n: draw(n, **a)


def stratum(a: Arguments, noise: Tensor, sample: int) -> Tensor:
    """Draw `sample` of a mixture whose draws go through the components: loc_k + scale_k n."""
    k = sample % a["loc"].shape[-2]
    return a["loc"][k] + a["scale"][k] * noise


def strata_shares(a: Arguments, samples: int) -> Tensor:
    """What each of these draws weighs: its component's weight, shared by the component's draws."""
    w = torch.softmax(a["logits"], -1)
    return torch.stack([w[s % len(w)] * len(w) / samples for s in range(samples)])


_TRANSPORTS: dict[str, Callable[[Arguments, Tensor], Tensor]] = {
    "Normal": _location_scale,
    "Laplace": _location_scale,
    "LogNormal": lambda a, n: torch.exp(_location_scale(a, n)),
    "StudentT": _student_t,
    "Gamma": _gamma,
    "Beta": _beta,
    "Dirichlet": _dirichlet,
    "MultivariateNormal": _multivariate_normal,
    "VonMisesFisher": _von_mises_fisher,
    "NormalMixture": _normal_mixture,
    **{name: _of_numbers(family.draw) for name, family in NUMBERS.items()},
}
