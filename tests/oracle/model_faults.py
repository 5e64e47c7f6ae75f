"""Faults that emitted modules have had, to be put back one at a time: each by a change of the module's text."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """spec: a small model that shows it. pattern, replacement: what is changed in the class that is emitted, at every place."""

    spec: str
    pattern: str
    replacement: str

    def put_back(self, source):
        """The text with the fault, or None where the fault has no place in it."""
        body = source.index("\nclass ")
        text, places = re.subn(self.pattern, self.replacement, source[body:])
        return source[:body] + text if places and text != source[body:] else None


NESTED = """
sizes: {V: 4}
plates: {d: sequence, t: sequence(within=d)}
params: {start: [V], move: [V, V]}
observed:
  x[d, 0]: Categorical(logits=start)
  x[d, t]: Categorical(logits=move[x[d, t-1]])
"""
AUTOREGRESSION = """
plates: {t: sequence}
params: {a: [], b: []}
observed:
  x[0]: Normal(b, 2)
  x[t]: Normal(a * x[t-1], 1)
"""
MATRIX = """
plates: {i: 2, j: 3}
params: {c: [3]}
given: {"W[i, j]": real}
observed:
  y[i]: Normal(matmul(W, c)[0] + 2 * matmul(W, c)[1], 1)
"""
EDGES = """
sizes: {K: 3}
plates: {t: sequence}
params: {start: [K], move: [K, K], mean: [K, K]}
latent:
  z[0]: Categorical(logits=start)
  z[t]: Categorical(logits=move[z[t-1]])
observed:
  x[0]: Normal(mean[z[0], z[0]], 1)
  x[t]: Normal(mean[z[t-1], z[t]], 1)
"""
MIXTURE_OF_CHAINS = """
sizes: {C: 2, K: 3, V: 4}
plates: {t: sequence}
params: {prior: [C], start: [C, K], move: [C, K, K], emission: [K, V]}
latent:
  c: Categorical(logits=prior)
  z[0]: Categorical(logits=start[c])
  z[t]: Categorical(logits=move[c, z[t-1]])
observed:
  x[t]: Categorical(logits=emission[z[t]])
"""
LITERALS = """
plates: {t: sequence}
params: {a: []}
observed:
  x[t]: Normal(a * log(t + 1) + 0.1 * t, 1)
"""
PATH = "".join(
    [
        "params: {s: [2], T: [2, 2], e: [2]}\nlatent:\n  z0: Categorical(logits=s)\n",
        *(f"  z{i}: Categorical(logits=T[z{i - 1}])\n" for i in range(1, 40)),
        "observed:\n",
        *(f"  x{i}: Bernoulli(logits=e[z{i}])\n" for i in range(40)),
    ]
)
WEIGHTED = """
sizes: {K: 3, D: 2}
params: {prior: [K], mu: [K, D], W: [D, D]}
latent:
  c: Categorical(logits=prior)
  z: Normal(mu[c], 1)
observed:
  x: Normal(matmul(W, z), 1)
guide:
  c: Categorical(logits=prior)
  z: Normal(x, 1)
train:
  kl_weight: 0.5
"""
SHARED = """
sizes: {D: 2}
latent:
  global b: Normal(0, 1)[D]
given: {u: "real[D]"}
observed:
  y: Bernoulli(logits=dot(u, b))
guide:
  b: Normal(loc, softplus(scale))
params: {loc: [D], scale: [D]}
"""
ATTENTION = """
sizes: {V: 4, D: 2}
plates: {s: sequence, t: sequence}
given: {"u[s]": "real[D]"}
params: {E: [V, D], q: [D]}
observed:
  x[t]: Categorical(logits=matmul(E, sum(softmax(dot(q, u[s]) over s) * u[s] over s)))
"""
WRITER = """
sizes: {V: 4, E: 3}
plates: {t: sequence}
networks: {words: "Embedding(V, E)", writer: "GRU(E, E)", out: "Linear(E, V)"}
observed:
  x[t]: Categorical(logits=out(writer(words(x[<t]))))
"""
KALMAN = """
sizes: {D: 2}
plates: {t: sequence}
params: {A: [D, D], C: [D, D]}
latent:
  z[0]: Normal(0, 1)[D]
  z[t]: Normal(matmul(A, z[t-1]), 1)
observed:
  x[t]: Normal(matmul(C, z[t]), 1)
"""
LABELS = """
sizes: {K: 3, V: 4}
plates: {t: sequence}
params: {unary: [V, K], pairwise: [K, K], emission: [K, V]}
given: {"w[t]": "token(V)"}
latent:
  z over t: LinearChain(unary=unary[w[t]], pairwise=pairwise)
observed:
  x[t]: Categorical(logits=emission[z[t]])
"""
TERM = """
sizes: {K: 3, V: 4}
plates: {t: sequence}
params: {prior: [K], emission: [K, V], other: [V]}
latent: {z: "Categorical(logits=prior)"}
observed: {"x[t]": "Categorical(logits=emission[z])"}
guide: {z: "Categorical(logits=prior)"}
objective:
  bag[t]: 0.5 * log_prob(x[t], Categorical(logits=other))
"""
WAKE = """
sizes: {K: 3, V: 4}
plates: {t: sequence}
params: {prior: [K], emission: [K, V], table: [V, K]}
latent: {"z[t]": "Categorical(logits=prior)"}
observed: {"x[t]": "Categorical(logits=emission[z[t]])"}
guide: {"z[t]": "Categorical(logits=table[x[t]])"}
infer: {bound: "reweighted_wake_sleep(samples=2)"}
"""
POINTED = """
sizes: {V: 4}
plates: {t: sequence}
params: {table: [V, V], prior: [V]}
latent: {"z[t]": "Categorical(logits=prior)"}
observed: {"x[t]": "Categorical(logits=table[z[t]])"}
guide: {"z[t]": "Categorical(probs=0.5 * onehot(x[t]) + 0.5 / V)"}
infer: {z: "reinforce(samples=2)"}
"""

FAULTS = {
    "an earlier site along the plate around": Fault(NESTED, r"previous\((\w+), 2,", r"previous(\1, 1,"),
    "samples go on from the first site": Fault(NESTED, r"x_sites\[-1\]", "x_sites[0]"),
    "a variable of two plates is transposed": Fault(MATRIX, r"\(W @", "(W.mT.reshape(W.shape) @"),
    "the first clause of what is observed is ignored": Fault(AUTOREGRESSION, r"replace_site\((\w+), [^)]*\)", r"\1"),
    "a missing value that is read is a filler": Fault(
        AUTOREGRESSION, r"batch = refuse_missing\([^\n]*\)\n", "batch = dict(batch)\n"
    ),
    "a pair of states keeps the factor of what is missing": Fault(
        EDGES, r'log_step = real_sites\(log_p_x, batch\["x\.mask"\]', 'log_step = real_sites(log_p_x, batch["t.mask"]'
    ),
    "a chain goes on beyond its length": Fault(
        EDGES, r'mask=batch\["t\.mask"\]', 'mask=torch.ones_like(batch["t.mask"])'
    ),
    "all chains of a mixture begin alike": Fault(
        MIXTURE_OF_CHAINS, r"log_p_z_at_0 = self\.start\.", "log_p_z_at_0 = self.start[:1].expand_as(self.start)."
    ),
    "samples of a mixture begin alike": Fault(MIXTURE_OF_CHAINS, r"self\.start\[c\]", "self.start[c * 0]"),
    "the number of a site is in single precision": Fault(LITERALS, r"sites_t\.to\(self\.zero\.dtype\)", "sites_t"),
    "the logarithm of a site's number is in single precision": Fault(
        LITERALS, r"\(sites_t \+ 1\)\.to\(self\.zero\.dtype\)", "(sites_t + 1)"
    ),
    "a table among forty latents is normalised the other way": Fault(
        PATH, r"self\.T\.log_softmax\(-1\)", "self.T.log_softmax(0)"
    ),
    "the weight of divergences is another one": Fault(WEIGHTED, r"kl_weight = 0\.5", "kl_weight = 0.25"),
    "a divergence is that of the wrong parent": Fault(
        WEIGHTED,
        r"normal_kl\(x\[:, None\], self\.zero \+ 1, self\.mu,",
        "normal_kl(x[:, None], self.zero + 1, self.mu.flip(0),",
    ),
    "each example pays for what all share": Fault(SHARED, r"kl_b / self\.dataset_size", "kl_b"),
    "a softmax over a sequence reads its padding": Fault(
        ATTENTION, r"masked_softmax\((.*?), batch\[\"s\.mask\"\], 1\)", r"(\1).softmax(1)"
    ),
    "the begin symbol is the first one": Fault(WRITER, r"begin=self\.V", "begin=0"),
    "the matrix of a linear-Gaussian chain is transposed": Fault(KALMAN, r"self\.A\b(?!\.mT| =)", "self.A.mT"),
    "labels that are given are ignored": Fault(LABELS, r"log_potential = log_potential \+ tilt_z", "pass"),
    "a term counts what is missing": Fault(
        TERM, r'real_sites\(log_density, batch\["x\.mask"\]\)', 'real_sites(log_density, batch["t.mask"])'
    ),
    "a guide follows its draws by half": Fault(WAKE, r"2 \* log_q", "log_q"),
    "a score term reads the wrong example": Fault(
        POINTED, r"log_q_z = categorical_log_prob\(z, (\w+)\)", r"log_q_z = categorical_log_prob(z, \1.flip(0))"
    ),
    "samples of labels ignore their scores": Fault(
        LABELS, r"linear_chain_draw\((.*?), unary_z,", r"linear_chain_draw(\1, 0 * unary_z,"
    ),
}
