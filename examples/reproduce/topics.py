"""The topics of `lda` beside a peer's and a sampler's: held-out words by one estimator, from each one's topic matrix.

python examples/reproduce/topics.py RUN [SEED]    RUN: of `lda`

lvspec         the mean of q(topics) of the run
scikit-learn   LatentDirichletAllocation, online, with the run's priors, batch size, step sizes and passes
Gibbs          a collapsed sampler (Griffiths & Steyvers 2004) in NumPy with the run's priors. Documents are sampled side by
               side, one word of each at a time, with the other documents' counts of just before (Newman et al. 2009)

The estimator is document completion: every other word of a test document gives its mixture of topics (variational inference
with the topics known, Blei et al. 2003), which predicts the words in between.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
from peers import counts, sequences
from scipy.special import digamma
from sklearn.decomposition import LatentDirichletAllocation

from lvspec.driver import compile_spec
from lvspec.train.run.directory import open_run

SWEEPS, KEPT = 95, 33  # of the sampler; the topics are averaged over the last ones


def softplus(x) -> float:
    return float(np.log1p(np.exp(x.detach().numpy()))[0])


# ---------------------------------------------------------------- topics (K, V), rows that sum to one
def of_run(trained) -> np.ndarray:
    return normalised(
        trained.model.shared_factors.factors()["topics"].parameters[0].detach().numpy().astype(np.float64)
    )


def of_peer(documents: np.ndarray, K: int, alpha: float, eta: float, settings, passes: int, seed: int) -> np.ndarray:
    model = LatentDirichletAllocation(
        K,
        doc_topic_prior=alpha,
        topic_word_prior=eta,
        learning_method="online",
        learning_decay=settings.forgetting,
        learning_offset=settings.delay,
        batch_size=settings.batch_size,
        max_iter=passes,
        random_state=seed,
    )
    return normalised(model.fit(documents).components_)


def of_sampler(words: list[np.ndarray], V: int, K: int, alpha: float, eta: float, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    long = max(map(len, words))
    x = np.full((len(words), long), -1)
    for row, w in zip(x, words, strict=True):
        row[: len(w)] = w
    z = random.integers(K, size=x.shape)
    rows, columns = np.nonzero(x >= 0)
    of_document, of_word = np.zeros((len(words), K)), np.zeros((V, K))
    np.add.at(of_document, (rows, z[rows, columns]), 1)
    np.add.at(of_word, (x[rows, columns], z[rows, columns]), 1)
    total, mean = of_word.sum(0), np.zeros((V, K))
    for sweep in range(SWEEPS):
        for t in range(long):
            here = np.flatnonzero(x[:, t] >= 0)
            symbol, old = x[here, t], z[here, t]
            one = np.zeros((len(here), K))
            one[np.arange(len(here)), old] = 1
            p = (of_document[here] - one + alpha) * (of_word[symbol] - one + eta) / (total - one + V * eta)
            below = np.cumsum(p, 1)
            new = (random.random(len(here))[:, None] * below[:, -1:] > below).sum(1)
            of_document[here, old] -= 1
            of_document[here, new] += 1
            np.add.at(of_word, (symbol, old), -1)
            np.add.at(of_word, (symbol, new), 1)
            total += np.bincount(new, minlength=K) - np.bincount(old, minlength=K)
            z[here, t] = new
        if sweep >= SWEEPS - KEPT:
            mean += (of_word + eta) / (total + V * eta) / KEPT
    return mean.T


def normalised(weights: np.ndarray) -> np.ndarray:
    return weights / weights.sum(1, keepdims=True)


# ---------------------------------------------------------------- the estimator
def completion(topics: np.ndarray, words: list[np.ndarray], alpha: float, rounds: int = 200) -> float:
    """Perplexity of every other word of each document, given those in between."""
    total, number = 0.0, 0
    for x in words:
        seen, hidden = topics[:, x[0::2]], topics[:, x[1::2]]
        gamma = np.full(len(topics), alpha + len(x) / 2 / len(topics))
        for _ in range(rounds):
            share = np.exp(digamma(gamma))[:, None] * seen
            gamma = alpha + (share / share.sum(0)).sum(1)
        total += np.log(gamma / gamma.sum() @ hidden).sum()
        number += hidden.shape[1]
    return float(np.exp(-total / number))


def main(run: str, seed: int) -> None:
    trained = open_run(Path(run), compile_spec, "best", "cpu", ())
    model, settings = trained.model, trained.config.train
    alpha, eta = softplus(model.mixing), softplus(model.breadth)
    train, test = sequences(trained, "train")[0], sequences(trained, "test")[0]
    documents = counts(train, model.V)
    own = of_run(trained)
    passes = settings.epochs
    ways = {
        "lvspec": lambda: own,
        "one topic": lambda: normalised(documents.sum(0, keepdims=True) + eta),
        "scikit-learn": lambda: of_peer(documents, len(own), alpha, eta, settings, passes, seed),
        "Gibbs": lambda: of_sampler(train, model.V, len(own), alpha, eta, seed),
    }
    for name, find in ways.items():
        start = time.process_time()
        topics = find()
        taken = time.process_time() - start
        print(f"{name}: perplexity {completion(topics, test, alpha):.1f} by completion ({taken:.0f} s)", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0)
