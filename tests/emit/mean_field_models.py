"""Models of a mean field, one for each way in which factors and sums can meet."""

MODELS = {
    # a factor above a sum of truth values
    "switch": """
lvspec: 1
name: switch
sizes: {V: vocabulary(x)}
plates:
  t: bag
params:
  words: [2, V]
latent:
  p: Beta(2, 3)
  s[t]: Bernoulli(probs=p)
observed:
  x[t]: Categorical(logits=words[s[t]])
""",
    # two factors in one density, of an example's own
    "pair": """
lvspec: 1
name: pair
sizes: {D: features(x)}
plates:
  t: sequence
params:
  a: [D]
latent:
  mu: Normal(a, 2)
  tau: Gamma(2, 1.5)[D]
observed:
  x[t]: Normal(mu, tau ** -0.5)
""",
    # factors of sites, sums of sites inside them
    "nested": """
lvspec: 1
name: nested
sizes: {K: 2, V: vocabulary(x)}
plates:
  d: sequence
  t: bag(within=d)
params:
  alpha: [K]
  words: [K, V]
latent:
  theta[d]: Dirichlet(softplus(alpha))
  z[d, t]: Categorical(probs=theta[d])
observed:
  x[d, t]: Categorical(logits=words[z[d, t]])
""",
    # sums and factors side by side, one of them with a neural prior; one whose bound is tight
    "given": """
lvspec: 1
name: given
sizes: {K: 2, D: features(x)}
plates:
  m: 2
given:
  u: real[D]
networks:
  f: Linear(D, K)
params:
  mean: [K, D]
latent:
  rate[m]: Gamma(2, 1)
  c: Categorical(logits=f(u))
  w: Dirichlet(softplus(f(u)))
  k: Categorical(probs=w)
observed:
  n[m]: Poisson(rate[m])
  x: Normal(mean[c] + mean[k], 1)
""",
    # transitions of an example's own
    "chain": """
lvspec: 1
name: chainlocal
sizes: {K: 2, V: vocabulary(x)}
plates:
  t: sequence
  k: K
params:
  a: [K]
  words: [K, V]
latent:
  row[k]: Dirichlet(softplus(a))
  z[0]: Categorical(logits=a)
  z[t]: Categorical(probs=row[z[t-1]])
observed:
  x[t]: Categorical(logits=words[z[t]])
""",
    # a mean and a covariance of each example's own, one prior for several
    "together": """
lvspec: 1
name: together
sizes: {K: 2, D: features(x)}
plates:
  t: bag
  k: K
params:
  alpha: [K]
  centre: [K, D]
  width: [D, D]
latent:
  weights: Dirichlet(softplus(alpha))
  (mu[k], Sigma[k]): NormalInverseWishart(centre[k], 0.7, D + 1.5, scale_tril=width)
  c[t]: Categorical(probs=weights)
observed:
  x[t]: MultivariateNormal(mu[c[t]], covariance_matrix=Sigma[c[t]])
""",
    # states of a hidden Markov model with such priors
    "states": """
lvspec: 1
name: states
sizes: {K: 2, D: features(x)}
plates:
  t: sequence
  k: K
params:
  prior: [K]
  width: [D, D]
latent:
  global next[k]: Dirichlet(softplus(prior))
  global (mu[k], Sigma[k]): NormalInverseWishart(0 * width[0], 0.5, 4, scale_tril=width)
  z[0]: Categorical(logits=prior)
  z[t]: Categorical(probs=next[z[t-1]])
observed:
  x[t]: MultivariateNormal(mu[z[t]], covariance_matrix=Sigma[z[t]])
""",
}
