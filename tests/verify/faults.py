"""Faults of earlier emitters, to be put back one at a time: each a change of the emitted text, or of a function that it calls.

A fault is told by the verifier on a small model (fault_models.py), and found by random specs: by some that are asked for a
construct where the fault can show.
"""

import re
import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from lvspec import runtime
from lvspec.driver import compile_spec
from tests.verify import fault_models as small


@dataclass(frozen=True)
class Fault:
    """kind: what was wrong. spec: a small model that shows it. wish: the construct that random specs are asked for, if
    there is one that brings the fault's place along.

    pattern, replacement: what is changed in the class that is emitted, at every place. function, instead: what is changed of the
    runtime, made of the true one.
    """

    kind: str
    spec: str
    wish: str
    pattern: str = ""
    replacement: str = ""
    function: str = ""
    instead: object = None

    def touches(self, source):
        """Whether an emitted module shows the fault's place."""
        return self._changed(source) != source if self.pattern else f" {self.function}," in source

    def _changed(self, source):
        body = source.index("\nclass ")
        return source[:body] + re.sub(self.pattern, self.replacement, source[body:])

    @contextmanager
    def planted(self, text):
        """The compiled spec with the fault in it."""
        one = compile_spec(text)
        if self.pattern:
            yield replace(one, source=self._changed(one.source))
            return
        true, loaded = getattr(runtime, self.function), set(sys.modules)
        setattr(runtime, self.function, self.instead(true))
        try:
            yield replace(one, source=one.source + f"\n# with another {self.function}\n")
        finally:
            setattr(runtime, self.function, true)
            for name in (
                set(sys.modules) - loaded
            ):  # what was loaded meanwhile, such as the same model by other names, has the fault
                if name.startswith("lvspec_compiled_"):
                    del sys.modules[name]


def _over_padding(true):
    return lambda x, mask, dim: true(x, torch.ones_like(mask), dim)


def _float32(true):
    """The family with its scale in single precision."""
    return type(
        true.__name__,
        (true,),
        {"__init__": lambda self, loc, scale: true.__init__(self, loc, torch.as_tensor(scale).float())},
    )


def _moved(true):
    """The family whose draws lie elsewhere."""
    return type(true.__name__, (true,), {"draw": lambda self, noise=None: 2 * true.draw(self, noise) - 0.5})


FAULTS = {
    # ---------------------------------------------------------------- two ordered plates
    "a lag along the other plate": Fault(
        "two ordered plates", small.NESTED, "observed on sequence × sequence",
        r"previous\((\w+), dim=2, ", r"previous(\1, dim=1, ",
    ),
    "samples go on from the first site": Fault(
        "two ordered plates", small.NESTED, "first clause of observed", r"(\w+)_sites\[-1\]", r"\1_sites[0]"
    ),
    "a variable of two plates is transposed": Fault(
        "two ordered plates", small.MATRIX, "matmul", r"\((\w+) @", r"(\1.mT.reshape(\1.shape) @"
    ),
    "a matrix the other way round": Fault(
        "two ordered plates", small.WEIGHTED, "matmul", r" @ (self\.\w+)\.mT", r" @ \1"
    ),
    # ---------------------------------------------------------------- chains and their first sites
    "no first clause of an observed chain": Fault(
        "first clauses", small.AUTOREGRESSION, "first clause of observed", r"replace_site\((\w+), \w+, dim=-?\d+, site=0\)", r"\1"
    ),
    "no first clause of a latent chain": Fault(
        "first clauses", small.EDGES, "first clause of latent", r"\b((?:\w+\.)?log_p_\w+_at_0)\b(?!: torch|(,\s+\w+)*,?\s*\)? =)",
        r"(0 * \1)",
    ),
    "all chains of a mixture begin alike": Fault(
        "a first site that reads another latent", small.MIXTURE_OF_CHAINS, "first clause that reads a latent",
        r"(log_p_\w+_at_0) = (self\.\w+)\.log_softmax\(-1\)  # \(\w+, \w+\)", r"\1 = \2[:1].log_softmax(-1).expand_as(\2)",
    ),
    "samples of a mixture begin alike": Fault(
        "a first site that reads another latent", small.MIXTURE_OF_CHAINS, "first clause that reads a latent",
        r"Categorical\((spread\()?(self\.\w+)\[(\w+)\]", r"Categorical(\1\2[0 * \3]",
    ),
    "transitions the other way round": Fault(
        "chains", small.EDGES, "first clause of latent", r'ij->j"', 'ji->j"'
    ),
    "a chain goes on beyond its length": Fault(
        "chains", small.EDGES, "first clause of latent",
        r'mask=batch\["(\w+)\.mask"\]', r'mask=torch.ones_like(batch["\1.mask"])',
    ),
    # ---------------------------------------------------------------- what is missing
    "the factor of an unobserved site is kept": Fault(
        "what is missing", small.EDGES, "latent on sequence",
        r'real_sites\((\w+), batch\["x\.mask"\]', r'real_sites(\1, batch["t.mask"]',
    ),
    "an unobserved value counts": Fault(
        "what is missing", small.SITES, "observed Normal",
        r'masked_sum\((\w+), batch\["x\.mask"\]', r'masked_sum(\1, batch["t.mask"]',
    ),
    "a missing value that another one reads is filled": Fault(
        "what is missing", small.AUTOREGRESSION, "x[<t]", r"        batch = refuse_missing\(.*\n", ""
    ),
    "a term counts what is missing": Fault(
        "what is missing", small.TERM, "log_prob in a term",
        r'real_sites\(log_density, batch\["x\.mask"\]\)', 'real_sites(log_density, batch["t.mask"])',
    ),
    # ---------------------------------------------------------------- literals, dtypes, supports
    "a number in single precision": Fault("literals", small.AUTOREGRESSION, "multiply", r"\b0\.7\b", "0.699999988079071"),
    "a scale in single precision": Fault(
        "dtypes", small.AUTOREGRESSION, "observed Normal", function="Normal", instead=_float32
    ),
    "a literal that is no tensor": Fault(
        "literals", small.PRIOR_OF_A_SHARE, "Beta.concentration1 = number", r"torch\.full_like\(self\.zero, (\d)\)", r"\1"
    ),
    "the number of a site is in single precision": Fault(
        "dtypes", small.SITES, "m as a number", r"(sites_\w+)\.to\(\s*self\.zero\.dtype\s*\)", r"\1"
    ),
    "q of a share lies on the whole line": Fault(
        "supports", small.SHARE, "latent Beta", function="Beta", instead=_moved
    ),
    # ---------------------------------------------------------------- sums, integrals, divergences
    "a table is normalised the other way": Fault(
        "elimination", small.PATH, "first clause of latent", r"(self\.\w+)\.log_softmax\(-1\)  # \((\w+), \2\)", r"\1.log_softmax(0)"
    ),
    "no normaliser of what depends on a state": Fault("exactness", small.TOLD, "x[<t]", r" - log_normaliser\w*", ""),
    "the matrix of a linear-Gaussian chain is transposed": Fault(
        "exactness", small.KALMAN, "infer linear_gaussian", r"transition=\((self\.\w+), ", r"transition=(\1.mT, "
    ),
    "what is jointly Gaussian depends by half": Fault(
        "exactness", small.LEVELS, "infer joint_gaussian", r'(LinearGaussian\(\s*\{"\w+": )', r"\1 0.5 * "
    ),
    "a precision counts half of its values": Fault(
        "exactness", small.PRECISION, "infer conjugacy", r"(seen_\w+) = site_sums\(", r"\1 = 0.5 * site_sums("
    ),
    "log q alone in a weighted KL": Fault(
        "expectations", small.BETWEEN, "kl_weight constant", r"log_q_(\w+) - (?:\w+\.)?log_p_\1\b", r"log_q_\1"
    ),
    "a summed parent is left out of a KL": Fault(
        "expectations", small.WEIGHTED, "10 to 24 latents", r"(log_(?:ratio|q)_\w+) \+ -log_sum_\w+", r"\1"
    ),
    "the weight of divergences is another one": Fault(
        "expectations", small.WEIGHTED, "kl_weight constant", r"kl_weight = (0\.\d+)", r"kl_weight = 0.4 * \1"
    ),
    # ---------------------------------------------------------------- what all examples share
    "each example pays for what all share": Fault("globals", small.SHARED, "global Normal", r" / self\.dataset_size", ""),
    # ---------------------------------------------------------------- other meanings, padding
    "the begin symbol is symbol 0": Fault("other meanings", small.WRITER, "x[<t]", r"begin=self\.V\b", "begin=0"),
    "an empty target is certain": Fault(
        "other meanings", small.SPELLED, "observed CTC",
        r'(log_p_x_rows = real_sites\(log_p_x), ', r'\1 * batch["t.mask"].any(-1), ',
    ),
    "beyond the last site stands padding": Fault(
        "other meanings", small.AHEAD, "x[>t]",
        r"following\((\w+), [^,]+(?:\[[^\]]*\])?, (dim=\d), begin=([^)]+)\)", r"previous(\1, \2, begin=\3, k=-1)",
    ),
    "padding in a softmax over a plate": Fault(
        "padding", small.ATTENTION, "", r'masked_softmax\((.*?), batch\["(\w+)\.mask"\], (\d)\)', r"(\1).softmax(\3)"
    ),
    "padding in the sum of a plate": Fault(
        "padding", small.SUMS, "sum of a stretch",
        r'masked_sum\((.*?), batch\["t\.mask"\]', r'masked_sum(\1, torch.ones_like(batch["t.mask"])',
    ),
    "padding in the mean of a plate": Fault(
        "padding", small.SUMS, "mean of a stretch", function="masked_mean", instead=_over_padding
    ),
    "padding in a network over all sites": Fault(
        "padding", small.SUMS, "BiLSTM",
        r'(self\.\w+\(.*?), batch\["t"\]\)', r'\1, 0 * batch["t"] + batch["t.mask"].shape[-1])',
    ),
    # ---------------------------------------------------------------- labels
    "labels that are given are ignored": Fault(
        "structures", small.LABELS, "latent LinearChain", r"(log_\w+) = \1 \+ tilt_\w+.*", "pass"
    ),
    "samples of labels ignore their scores": Fault(
        "structures", small.LABELS, "latent LinearChain",
        r"linear_chain_draw\((.*?), (unary_\w+),", r"linear_chain_draw(\1, 0 * \2,",
    ),
    # ---------------------------------------------------------------- estimators
    "draws that do not move q": Fault(
        "estimators", small.SCORED, "infer reinforce", r"elbo \+ \(score - score\.detach\(\)\)", "elbo"
    ),
    "a score term reads the wrong example": Fault(
        "estimators", small.SCORED, "infer reinforce",
        r"(log_q_\w+) = (q_\w+)\.log_prob\((\w+)\)", r"\1 = Categorical(\2.logits.flip(0)).log_prob(\3)",
    ),
    "a guide follows its draws by half": Fault(
        "estimators", small.WAKE, "bound reweighted_wake_sleep", r"2 \* log_q", "log_q"
    ),
    "sites beyond a latent length count": Fault(
        "latent lengths", small.LATENT_LENGTH, "plate latent length", r"\(([\w.]*log_\w+) \* [\w.]*counts_\w+\)", r"(\1)"
    ),
}  # fmt: skip
