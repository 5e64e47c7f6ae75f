"""The zoo's exact models beside programs of a page in NumPy, on the same data.

python examples/reproduce/peers.py forward RUN    log p(x) of a run of `hmm` by a forward pass in float64
python examples/reproduce/peers.py em RUN         the mixture of `naive_bayes`, fitted to the run's data by EM
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from sklearn.metrics import v_measure_score

from lvspec.driver import compile_spec
from lvspec.train.data.dataset import encoded
from lvspec.train.data.sources import records_of
from lvspec.train.evaluation.gold import GOLD, gold_settings
from lvspec.train.run.directory import open_run


def sequences(trained, part: str, gold: str | None = None) -> tuple[list[np.ndarray], list]:
    """The words of each example as numbers of the run's vocabulary, and labels from another field of the same file."""
    wanted = dict(trained.config.data)
    records = records_of(trained.config.files, part, wanted)
    examples = encoded(records, trained.layout, trained.encoders, wanted).examples
    labels = []
    if gold:
        wanted[GOLD] = gold_settings(gold, wanted["x"])
        found = [r[GOLD] for r in records_of(trained.config.files, part, wanted)]
        labels = [found[e.index] for e in examples]
    return [e.values["x"] for e in examples], labels


def normalised(logits: np.ndarray) -> np.ndarray:
    """exp(logits) with rows that sum to one, in float64."""
    p = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def forward(trained) -> str:
    """Mean log p(x): alpha[t] = (alpha[t-1] A) * E[:, x_t], rescaled at each word."""
    tables = {n: p.detach().numpy() for n, p in trained.model.named_parameters()}
    start, A, E = (normalised(tables[n]) for n in ("start", "transition", "emission"))
    total, words = 0.0, sequences(trained, "test")[0]
    for x in words:
        alpha = start * E[:, x[0]]
        for symbol in x[1:]:
            total += np.log(alpha.sum())
            alpha = (alpha / alpha.sum()) @ A * E[:, symbol]
        total += np.log(alpha.sum())
    return f"log-likelihood {total / len(words):.6f} nats per example (forward pass in float64)"


def counts(words: list[np.ndarray], V: int) -> np.ndarray:
    return np.stack([np.bincount(x, minlength=V) for x in words]).astype(np.float64)


def em(trained, seeds=range(3), smoothing=1.0) -> str:
    """EM from random soft assignments, stopped on the validation part."""
    K, V = trained.model.words.shape
    parts = {p: sequences(trained, p, "label") for p in ("train", "valid", "test")}
    X = {p: counts(words, V) for p, (words, _) in parts.items()}
    lines = []
    for seed in seeds:
        r = np.random.default_rng(seed).dirichlet(np.ones(K), len(X["train"]))
        best, kept = -np.inf, None
        for _ in range(50):
            table = r.T @ X["train"] + smoothing
            log_words, log_prior = np.log(table / table.sum(1, keepdims=True)), np.log((r.sum(0) + 1) / (len(r) + K))
            joint = {p: X[p] @ log_words.T + log_prior for p in X}
            marginal = {p: np.logaddexp.reduce(j, 1) for p, j in joint.items()}
            r = np.exp(joint["train"] - marginal["train"][:, None])
            if marginal["valid"].mean() > best:
                best, kept = marginal["valid"].mean(), (joint["test"].argmax(1), marginal["test"])
        mode, log_prob = kept
        perplexity = np.exp(-log_prob.sum() / X["test"].sum())
        score = v_measure_score(parts["test"][1], mode)
        lines.append(f"seed {seed}: perplexity {perplexity:.1f}, V-measure {score:.3f} ({len(set(mode))} clusters)")
    return "\n".join(lines)


if __name__ == "__main__":
    program = {"forward": forward, "em": em}[sys.argv[1]]
    print(program(open_run(Path(sys.argv[2]), compile_spec, "best", "cpu", ())))
