"""Small models, each of which shows some of the faults in faults.py; as they are, their modules are right."""

NESTED = """
sizes: {V: 2}
plates: {d: sequence, t: sequence(within=d)}
params: {start: [V], move: [V, V]}
observed:
  x[d, 0]: Categorical(logits=start)
  x[d, t]: Categorical(logits=move[x[d, t-1]])
"""
MATRIX = """
plates: {i: 2, j: 3}
params: {c: [3]}
given: {"W[i, j]": real}
observed:
  y[i]: Normal(matmul(W, c)[0] + 2 * matmul(W, c)[1], 1)
"""
AUTOREGRESSION = """
plates: {t: sequence}
params: {a: [], b: []}
observed:
  x[0]: Normal(b, 2)
  x[t]: Normal(a * x[t-1], 0.7)
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
SITES = """
plates: {t: sequence}
params: {a: []}
observed:
  x[t]: Normal(a * log(t + 1) + 0.7 * t, 1)
"""
PRIOR_OF_A_SHARE = """
latent: {p: "Beta(2, 1)"}
observed: {y: "Normal(p, 1)"}
guide: {p: "Beta(1, 2)"}
"""
SHARE = """
params: {a: []}
latent: {p: "Uniform(0, 1)"}
observed: {y: "Normal(a * square(p), 1)"}
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
  x: Laplace(matmul(W, z), 1)
guide:
  z: Normal(x, 1)
train:
  kl_weight: 0.5
"""
BETWEEN = """
sizes: {K: 3}
params: {prior: [K], mu: [K]}
latent:
  z: Normal(0, 1)
  c: Categorical(logits=z * prior)
observed:
  x: Laplace(mu[c], 1)
guide:
  z: Normal(x, 1)
  c: Categorical(logits=x * mu)
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
SUMS = """
sizes: {D: 2, H: 3}
plates: {t: sequence}
given: {"u[t]": "real[D]"}
networks: {reader: "BiLSTM(D, H)"}
params: {a: [D], b: [2*H]}
observed:
  y: Normal(dot(a, sum(exp(u))) + dot(b, last(reader(u))), 1)
  v: Normal(dot(a, mean(exp(u))), 1)
"""
WRITER = """
sizes: {V: 4, E: 3}
plates: {t: sequence}
networks: {words: "Embedding(V, E)", writer: "GRU(E, E)", out: "Linear(E, V)"}
observed:
  x[t]: Categorical(logits=out(writer(words(x[<t]))))
"""
AHEAD = """
plates: {t: sequence}
given: {"u[t]": real}
params: {a: [], b: []}
observed:
  x[t]: Normal(a * u[t] + b * u[t+1], 1)
"""
SPELLED = """
sizes: {V: 3, D: 2}
plates: {f: sequence, t: sequence}
given: {"frame[f]": "real[D]"}
networks: {letters: "Linear(D, V)"}
params: {blank: [D]}
observed:
  x over t: CTC(logits=letters(frame[f]) over f, blank=dot(blank, frame[f]) over f)
"""
TOLD = """
sizes: {K: 2, V: 3}
plates: {t: sequence}
networks: {words: "Embedding(V, K)", writer: "GRU(K, K)", out: "Linear(K, V)"}
params: {start: [K], move: [K, K], emission: [K, V]}
latent:
  z[0]: Categorical(logits=start)
  z[t]: Categorical(logits=move[z[t-1]])
observed:
  x[t]: Categorical(logits=emission[z[t]] + out(writer(words(x[<t]))))
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
LEVELS = """
plates: {g: 3}
params: {a: []}
latent:
  mu: Normal(0, 2)
  effect[g]: Normal(mu, 1)
observed:
  y[g]: Normal(effect[g] + a, 0.5)
"""
PRECISION = """
plates: {t: bag}
params: {a: []}
latent: {tau: "Gamma(2, softplus(a))"}
observed: {"x[t]": "Normal(0, 1 / sqrt(tau))"}
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
LATENT_LENGTH = """
sizes: {M: 3}
plates: {i: {length: l + 1, max: M}}
params: {p: [M], a: [], b: [], c: []}
latent:
  l: Categorical(logits=p)
  z[i]: Normal(0, 1)
observed:
  x: Normal(sum(z[i] over i), 1)
guide:
  l: Categorical(logits=p)
  z[i]: Normal(a * x, softplus(b * l + c))
infer: {bound: "reweighted_wake_sleep(samples=2)"}
"""
SCORED = """
sizes: {V: 3, K: 2}
params: {prior: [K], emission: [K, V], table: [V, K]}
latent: {z: "Categorical(logits=prior)"}
observed: {x: "Categorical(logits=emission[z])"}
guide: {z: "Categorical(logits=table[x])"}
infer: {z: "reinforce(samples=2)"}
"""
