"""The Bayesian mixture of `bayesian_mixture` beside scikit-learn's: the same priors, the same data, each from its own starts.

python examples/reproduce/variational_mixture.py DATA/classic/faithful.csv

Prints, for each number of components that is left, the best bound and how far the parameters of q are apart. (scikit-learn
leaves constants out of its bound; tests/emit/test_mean_field.py compares the differences between several optima.)
"""

from __future__ import annotations

import csv
import sys

import numpy as np
import torch
from sklearn.mixture import BayesianGaussianMixture

from lvspec.driver import compile_spec
from lvspec.shipped import shipped

K, STARTS = 6, 10


def read(path: str) -> np.ndarray:
    with open(path, newline="") as file:
        return 0.1 * np.array([[float(v) for v in row[1:3]] for row in list(csv.reader(file))[1:]])


def by_lvspec(x: np.ndarray) -> tuple[list, list[np.ndarray]]:
    """(components in use, bound, parameters of q) of each start, and the prior."""
    compiled = compile_spec(str(shipped("specs") / "bayesian_mixture.yaml"))
    batch, found = {"x": torch.tensor(x)}, []
    for seed in range(STARTS):
        torch.manual_seed(seed)
        model = compiled.Model(D=2, K=K, dataset_size=len(x)).double()
        for _ in range(1000):
            model.ascend(batch)
        q = parameters(model.shared_factors.factors())
        found.append((used(q[0], model.shared_prior()["weights"].parameters[0]), model(batch).elbo.sum().item(), q))
    return found, parameters(model.shared_prior())


def parameters(factors: dict) -> list[np.ndarray]:
    return [p.detach().numpy().copy() for n in ("weights", "mu_Sigma") for p in factors[n].parameters]


def by_scikit_learn(x: np.ndarray, prior: list[np.ndarray]) -> list:
    alpha, loc, kappa, df, scale = (p[0] for p in prior)
    found = []
    for seed in range(STARTS):
        fitted = BayesianGaussianMixture(
            n_components=K,
            covariance_type="full",
            weight_concentration_prior_type="dirichlet_distribution",
            weight_concentration_prior=alpha,
            mean_prior=loc,
            mean_precision_prior=kappa,
            degrees_of_freedom_prior=df,
            covariance_prior=scale,
            reg_covar=0.0,
            init_params=("random_from_data", "random")[seed % 2],
            random_state=seed,
            tol=1e-12,
            max_iter=20_000,
        ).fit(x)
        degrees = fitted.degrees_of_freedom_
        q = [fitted.weight_concentration_, fitted.means_, fitted.mean_precision_, degrees]
        q.append(fitted.covariances_ * degrees[:, None, None])
        found.append((used(q[0], alpha), fitted.lower_bound_, q))
    return found


def used(concentration: np.ndarray, prior) -> int:
    """Components that at least one observation is counted for."""
    return int((concentration - np.asarray(torch.as_tensor(prior).detach()) > 1).sum())


def apart(a: list[np.ndarray], b: list[np.ndarray]) -> float:
    """The largest relative difference of the parameters, components by their weights."""
    first, second = (np.argsort(-q[0], kind="stable") for q in (a, b))
    return max(float(np.max(np.abs(p[first] - r[second]) / (1 + np.abs(r[second])))) for p, r in zip(a, b, strict=True))


def main(path: str) -> None:
    x = read(path)
    mine, prior = by_lvspec(x)
    theirs = by_scikit_learn(x, prior)
    for count in sorted({m[0] for m in mine} & {t[0] for t in theirs}):
        best, other = (max((f for f in found if f[0] == count), key=lambda f: f[1]) for found in (mine, theirs))
        print(f"{count} components: q apart by {apart(best[2], other[2]):.1e} at most; bound {best[1]:.6f} nats")
    for name, found in (("lvspec", mine), ("scikit-learn", theirs)):
        print(f"{name}: components left by {STARTS} starts: {sorted(f[0] for f in found)}")


if __name__ == "__main__":
    main(sys.argv[1])
