"""Faults of earlier emitters, put back one at a time: each a change of the emitted text, or of a function that it calls.

kind: what was wrong. wish: a construct that random specs are asked for where the fault can show.
"""

import re
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from lvspec import runtime
from lvspec.driver import compile_spec


@dataclass(frozen=True)
class Fault:
    """pattern, replacement: of the emitted text. function, instead: of the runtime, made of the true one."""

    kind: str
    wish: str
    pattern: str = ""
    replacement: str = ""
    function: str = ""
    instead: object = None

    def touches(self, source):
        """Whether an emitted module shows the fault's place."""
        return bool(re.search(self.pattern, source)) if self.pattern else f" {self.function}," in source

    @contextmanager
    def planted(self, text):
        """The compiled spec with the fault in it."""
        one = compile_spec(text)
        if self.pattern:
            yield replace(one, source=re.sub(self.pattern, self.replacement, one.source))
            return
        true = getattr(runtime, self.function)
        setattr(runtime, self.function, self.instead(true))
        try:
            yield replace(one, source=one.source + f"\n# with another {self.function}\n")
        finally:
            setattr(runtime, self.function, true)


def _over_padding(true):
    return lambda x, mask, dim: true(x, torch.ones_like(mask), dim)


def _float32(true):
    return lambda x, loc, scale: true(x, loc, torch.as_tensor(scale).float())


ROW = r"(log_p_\w+_at_0) = (self\.w\d+)\.log_softmax\(-1\)  # \((\w+), \3\)"
FAULTS = {
    "a lag along the other plate": Fault(
        "two ordered plates", "observed on sequence × sequence", r"previous\((\w+), 2, ", r"previous(\1, 1, "
    ),
    "a matrix the other way round": Fault("two ordered plates", "matmul", r" @ (self\.w\d+)\.mT", r" @ \1"),
    "no first clause of an observed chain": Fault(
        "first clauses", "first clause of observed", r"replace_site\((\w+), \w+, -?\d+, 0\)", r"\1"
    ),
    "no first clause of a latent chain": Fault(
        "first clauses", "first clause of latent", r"log_p_(\w+)_at_0\b(?! =)", r"(0 * log_p_\1_at_0)"
    ),
    "the factor of an unobserved site is kept": Fault(
        "what is missing", "latent on sequence", r'real_sites\((\w+), batch\["x\.mask"\]', r'real_sites(\1, batch["t.mask"]'
    ),
    "an unobserved value counts": Fault(
        "what is missing", "observed Normal", r'masked_sum\((\w+), batch\["x\.mask"\]', r'masked_sum(\1, batch["t.mask"]'
    ),
    "a missing value that another one reads is filled": Fault(
        "what is missing", "x[<t]", r"        batch = refuse_missing\(.*\n", ""
    ),
    "the first site does not read its latent": Fault(
        "a first site that reads another latent", "first clause that reads a latent", ROW, r"\1 = \2[:1].log_softmax(-1).expand_as(\2)"
    ),
    "transitions the other way round": Fault(
        "chains", "first clause of latent", r'"i,ij->j"', '"i,ji->j"'
    ),
    "a number in single precision": Fault("literals", "multiply", r"\b0\.7 \* ", "0.699999988079071 * "),
    "a scale in single precision": Fault("dtypes", "observed Normal", function="normal_log_prob", instead=_float32),
    "a literal that is no tensor": Fault("literals", "Beta.concentration1 = number", r"self\.zero \+ (\d)", r"\1"),
    "log q alone in a weighted KL": Fault(
        "expectations", "kl_weight constant", r"log_q_(\w+) - log_p_\1\b", r"log_q_\1"
    ),
    "the data set's share of a global latent": Fault("globals", "global Normal", r" / self\.dataset_size", ""),
    "the begin symbol is symbol 0": Fault("other meanings", "x[<t]", r"begin=self\.V\b", "begin=0"),
    "padding in the sum of a plate": Fault(
        "padding", "sum of a stretch", r'masked_sum\((\w+), batch\["t\.mask"\]', r'masked_sum(\1, torch.ones_like(batch["t.mask"])'
    ),
    "padding in the mean of a plate": Fault("padding", "mean of a stretch", function="masked_mean", instead=_over_padding),
    "padding in a network over all sites": Fault(
        "padding", "BiLSTM", r'(self\.rnn\d+\(.*?), batch\["t"\]\)', r'\1, 0 * batch["t"] + batch["t.mask"].shape[-1])'
    ),
    "no normaliser of what depends on a state": Fault("exactness", "z[t-1]", r" - log_normaliser\w*", ""),
    "draws that do not move q": Fault("estimators", "infer reinforce", r"elbo \+ score - score\.detach\(\)", "elbo"),
    "beyond the last site stands padding": Fault(
        "sites ahead", "x[>t]", r"following\((\w+), [^,]+(?:\[[^\]]*\])?, (\d), begin=([^)]+)\)", r"previous(\1, \2, begin=\3, k=-1)"
    ),
    "an empty target is certain": Fault(
        "other meanings", "observed CTC", r'(log_p_x_rows = real_sites\(log_p_x), ', r'\1 * batch["t.mask"].any(-1), '
    ),
}  # fmt: skip
