"""Well-formed specs, one for each construct of the language reference; those without an engine yet are parsed and checked too."""

CONSTRUCTS: dict[str, str] = {
    "hidden_markov_model": """
        sizes: {K: 45, V: vocabulary(x)}
        plates: {t: sequence}
        params:
          start: [K]
          transition: [K, K]
          emission: [K, V]
        latent:
          z[0]: Categorical(logits=start)
          z[t]: Categorical(logits=transition[z[t-1]])
        observed:
          x[t]: Categorical(logits=emission[z[t]])
        """,
    "second_order_chain": """
        sizes:
          K: 3
          V: vocabulary(x, nominal=500)
        plates: {t: sequence}
        params:
          start: [K]
          second: [K, K]
          transition: [K, K, K]
          emission: [K, V]
        latent:
          z[0]: Categorical(logits=start)
          z[1]: Categorical(logits=second[z[0]])
          z[t]: Categorical(logits=transition[z[t-2], z[t-1]])
        observed:
          x[t]: Categorical(logits=emission[z[t]])
        """,
    "latent_attention": """
        sizes: {V_source: vocabulary(s), V: vocabulary(x), E: 8, H: 16}
        plates: {m: sequence, t: sequence(end=EOS)}
        given:
          s[m]: token(V_source)
        networks:
          source_words: Embedding(V_source, E)
          reader: BiLSTM(E, H)
          words: Embedding(V, E)
          writer: LSTM(E, 2*H)
          output: Linear(4*H, V)
        let:
          memory[m]: reader(source_words(s))
          h[t]: writer(words(x[<t]))
        latent:
          a[t]: Categorical(logits=dot(h[t], memory[m]) over m)
        observed:
          x[t]: Categorical(logits=output(concat(h[t], memory[a[t]])))
        """,
    "soft_attention": """
        sizes: {V_source: vocabulary(s), V: vocabulary(x), E: 8, H: 16}
        plates: {m: sequence, t: sequence(end=EOS)}
        given:
          s[m]: token(V_source)
        networks:
          source_words: Embedding(V_source, E)
          reader: LSTM(E, H)
          words: Embedding(V, E)
          writer: LSTM(E, H)
          output: Linear(2*H, V)
        let:
          memory[m]: reader(source_words(s))
          h[t]: writer(words(x[<t]))
          weights[t, m]: softmax(dot(h[t], memory[m]) over m)
          context[t]: sum(weights[t, m] * memory[m] over m)
        observed:
          x[t]: Categorical(logits=output(concat(h[t], context[t])))
        """,
    "topic_model": """
        sizes: {K: 5, V: vocabulary(x)}
        plates: {t: bag}
        params:
          alpha: [K]
          beta: [K, V]
        latent:
          theta: Dirichlet(softplus(alpha))
          z[t]: Categorical(probs=theta)
        observed:
          x[t]: Categorical(probs=softmax(beta[z[t]]))
        """,
    "latent_length": """
        sizes: {V: vocabulary(x), D: 4, E: 8, H: 8, M: 5}
        plates:
          t: sequence(end=EOS)
          i: {length: l, max: 20}
          j: {length: n + 1, max: M}
        networks:
          reader: MLP(D, H, H)
          words: Embedding(V, E)
          writer: LSTM(E, H)
          output: Linear(H, V)
        latent:
          l: TruncatedGeometric(0.2, max=20)
          n: Categorical(logits=log(0.2) * j over j)
          z[i]: Normal(0, 1)[D]
          y[j]: Normal(0, 1)[D]
        let:
          memory[i]: reader(z[i])
          state[t]: writer(words(x[<t]))
          read[t]: sum(softmax(dot(state[t], memory[i]) over i) * memory[i] over i)
          h[t]: state[t] + read[t] + mean(reader(y[j]) over j) + max(reader(y[j]) over j)
        observed:
          x[t]: Categorical(logits=output(h[t]))
        """,
    "copy_or_generate": """
        sizes: {V: vocabulary(x), E: 8, H: 8}
        plates: {m: sequence, t: sequence}
        given:
          s[m]: token(V)
        networks:
          words: Embedding(V, E)
          reader: LSTM(E, H)
          writer: LSTM(E, H)
          gate: Linear(2*H, 1)
          output: Linear(H, V)
        let:
          memory[m]: reader(words(s))
          h[t]: writer(words(x[<t]))
          alpha[t]: softmax(dot(h[t], memory[m]) over m)
          context[t]: matmul(transpose[0], h[t])
        params:
          transpose: [1, H, H]
        latent:
          copy[t]: Bernoulli(logits=gate(concat(h[t], context[t]))[0])
        observed:
          x[t]:
            if: copy[t]
            then: Pointer(weights=alpha[t], values=s)
            else: Categorical(logits=output(h[t]))
        """,
    "sometimes_observed": """
        sizes: {K: categories(y), P: features(x)}
        params: {prior: [K], mu: [K, P]}
        latent:
          y: Categorical(logits=prior)
        observed:
          x: Normal(mu[y], 1)
        data:
          x: {format: csv, columns: 1-4}
          y: {format: csv, column: 5, labels: [a, b, c]}
        """,
    "linear_chain": """
        sizes: {K: 5, V: vocabulary(x)}
        plates: {t: sequence}
        params: {transition: [K, K], emission: [K, V], vectors: [K]}
        latent:
          z over t: LinearChain(unary=vectors, pairwise=transition)
        observed:
          x[t]: Categorical(logits=emission[z[t]])
        """,
    "pcfg": """
        sizes: {N: 5, P: 6, V: vocabulary(x)}
        plates: {t: sequence, j: copy(t)}
        params: {root: [N], rules: [N, N + P, N + P], emission: [P, V], arcs: [V, V]}
        observed:
          x over t: PCFG(root=root, rules=rules, terminals=emission) with tree
        guide:
          tree over t: TreeCRF(spans=arcs[x[t], x[j]] over j)
        """,
    "dependency_model_with_valence": """
        sizes: {V: vocabulary(x)}
        plates: {t: sequence}
        params: {root: [V], stop: [V, 2, 2, 2], attach: [V, 2, V]}
        observed:
          x over t: DMV(root=root, stop=stop, attach=attach) with tree
        """,
    "segments": """
        sizes: {K: 5, V: vocabulary(x)}
        plates:
          t: sequence
          s: segments(t, max=8)
        params: {start: [K], transition: [K, K], emission: [K, V]}
        latent:
          z[0]: Categorical(logits=start)
          z[s]: Categorical(logits=transition[z[s-1]])
        observed:
          x[t]: Categorical(logits=sum(emission[z[s]] over s))
        """,
    "sequential_guide": """
        sizes: {D: 3, P: features(x), H: 8}
        plates: {t: sequence}
        networks:
          move: MLP(D, H, D)
          emit: MLP(D, H, P)
          reader: LSTM(P, H)
          head: MLP(H + D, H, 2*D)
          begin: MLP(H, H, 2*D)
        latent:
          z[0]: Normal(0, 1)[D]
          z[t]: Normal(move(z[t-1]), 1)
        observed:
          x[t]: Bernoulli(logits=emit(z[t]))
        guide:
          summary[t]: reader(x[>=t])
          z[0]: Normal(loc, softplus(scale)) where loc, scale = split(begin(summary[0]))
          z[t]: Normal(loc, softplus(scale)) where loc, scale = split(head(concat(summary[t], z[t-1])))
        """,
    "guide_that_runs_backwards": """
        sizes: {K: 3, V: vocabulary(x)}
        plates: {t: sequence}
        params: {start: [K], transition: [K, K], emission: [K, V]}
        networks: {back: "Linear(K, K)"}
        latent:
          z[0]: Categorical(logits=start)
          z[t]: Categorical(logits=transition[z[t-1]])
        observed:
          x[t]: Categorical(logits=emission[z[t]])
        guide:
          z[t]: Categorical(logits=back(onehot(z[t+1])))
        """,
    "counts_in_a_bag": """
        sizes: {K: 4, V: vocabulary(x)}
        plates: {t: bag(counts=true)}
        params: {prior: [K], words: [K, V]}
        latent:
          z: Categorical(logits=prior)
        observed:
          x[t]: Categorical(logits=words[z])
        """,
    "nested_plates": """
        sizes: {K: 4, L: 3, V: vocabulary(x)}
        plates:
          d: sequence
          t: sequence(within=d)
        params: {prior: [K], words: [K, V], topics: [K, L]}
        latent:
          c[d]: Categorical(logits=prior)
        observed:
          x[d, t]: Categorical(logits=words[c[d]])
          label[d]: Categorical(logits=topics[c[d]])
        """,
    "alignment": """
        sizes: {V_source: vocabulary(s), V: vocabulary(x), J: 50}
        plates:
          m: sequence(null=true)
          t: sequence
        given:
          s[m]: token(V_source)
        params: {jump: [J], table: [V_source, V]}
        latent:
          a[0]: Categorical(logits=jump[clip(m, J)] over m)
          a[t]: Categorical(logits=jump[clip(m - a[t-1] + 25, J)] over m)
        observed:
          x[t]: Categorical(logits=table[s[a[t]]])
        """,
    "bank_of_networks": """
        sizes: {K: 4, V: vocabulary(x), E: 8, H: 8}
        plates: {t: sequence(end=EOS)}
        params: {prior: [K]}
        networks:
          words: Embedding(V, E)
          writer[K]: GRU(E, H, layers=2, dropout=0.1)
          output: Linear(H, V, bias=false)
        latent:
          z: Categorical(logits=prior)
        let:
          h[t]: writer[z](words(x[<t]))
        observed:
          x[t]: Categorical(logits=output(h[t]))
        """,
    "bayesian_mixture": """
        sizes: {K: 3, D: features(x)}
        plates: {k: K}
        params: {alpha: [K], m: [D], scale0: [D, D]}
        latent:
          global weights: Dirichlet(softplus(alpha))
          global (mu[k], Sigma[k]): NormalInverseWishart(m, 1, 5, scale_tril=scale0)
          z: Categorical(probs=weights)
        observed:
          x: MultivariateNormal(mu[z], covariance_matrix=Sigma[z])
        """,
    "flow_in_the_guide": """
        sizes: {P: features(x), D: 4, H: 8}
        networks:
          encoder: MLP(P, H, 2*D)
          planar: Planar(D, steps=8)
          iaf: InverseAutoregressive(D, H, P, steps=2, activation=tanh)
          decoder: MLP(D, H, P)
        latent:
          z: Normal(0, 1)[D]
        observed:
          x: Bernoulli(logits=decoder(z))
        guide:
          z: Normal(loc, softplus(scale)) through planar through iaf(x) where loc, scale = split(encoder(x))
        """,
    "flows_in_the_model": """
        sizes: {P: features(x), D: 4, H: 8}
        networks:
          prior: MaskedAutoregressive(D, H)
          flow: Coupling(P, H, D, steps=4)
        latent:
          z: Normal(0, 1)[D] through prior
        observed:
          x: StudentT(4)[P] through flow(z)
        """,
    "parameters_per_example": """
        sizes: {P: features(x), D: 4, H: 8}
        params:
          loc0: {shape: [D], per_example: true}
          scale0: {shape: [D], per_example: true, init: constant(0.1)}
        networks:
          decoder: MLP(D, H, P)
        latent:
          z: Normal(0, 1)[D]
        observed:
          x: Bernoulli(logits=decoder(z))
        guide:
          z: Normal(loc0, softplus(scale0))
        """,
    "maximum_a_posteriori": """
        sizes: {P: features(x), D: 4, H: 8}
        networks:
          encoder: MLP(P, H, D)
          decoder: MLP(D, H, P)
        latent:
          z: Normal(0, 1)[D]
        observed:
          x: Bernoulli(logits=decoder(z))
        guide:
          z: Delta(encoder(x))
        """,
    "latent_summary": """
        sizes: {V: vocabulary(x), E: 8, H: 8}
        plates:
          m: sequence(end=EOS)
          t: sequence(end=EOS)
        networks:
          words: Embedding(V, E)
          story: LSTM(E, H)
          tell: LSTM(E + H, H)
          output: Linear(H, V)
        let:
          state[m]: story(words(z[<m]))
          h[t]: tell(concat(words(x[<t]), last(story(words(z)))))
          source[t]: story(words(x))
        latent:
          z[m]: Categorical(logits=output(state[m]))
        observed:
          x[t]: Categorical(logits=output(h[t]))
        guide:
          z[m]: Pointer(weights=softmax(dot(state[m], source[t]) over t), values=x)
        """,
    "objective_views_and_phases": """
        sizes: {P: features(x), D: 4, H: 8}
        networks:
          encoder: MLP(P, H, 2*D)
          decoder: MLP(D, H, P)
        latent:
          z: Normal(0, 1)[D]
        observed:
          x: Bernoulli(logits=decoder(z))
        guide:
          z: Normal(loc, softplus(scale)) where loc, scale = split(encoder(x))
        objective:
          small: -0.1 * sum(square(z))
          again: 0.5 * log_prob(x, Bernoulli(logits=decoder(detach(z))))
        phases:
          inference: {moves: [encoder], steps: 5}
          model: [decoder]
        views:
          image: [x]
        infer:
          z: reparameterization(samples=2)
          samples: 4
          bound: iwae
          budget_flops: 1e12
          B: 128
        train:
          kl_weight:
            z: cyclical(0, 1, period=500)
          learning_rate: 1e-3
          schedule: cosine
        """,
    "every_family_with_an_engine": """
        sizes: {K: 4, D: 3}
        params: {a: [K], b: [], c: [D]}
        observed:
          v1: Categorical(probs=softmax(a))
          v2: OneHotCategorical(logits=a)
          v3: Bernoulli(probs=sigmoid(b))
          v4: Binomial(5, logits=b)
          v5: Geometric(probs=0.5)
          v6: Poisson(softplus(b))
          v7: Normal(c)
          v8: Laplace(b, 2)
          v9: LogNormal(b, exp(b))
          v10: StudentT(3)
          v11: Exponential(1 + square(b))
          v12: Gamma(softplus(b), rate=0.5)
          v13: Beta(1, 1)
          v14: Dirichlet(exp(a) + 0.1)
          v15: Uniform()
          v16: Normal(0, 1)[K, D]
          v17: Normal(1 / K, K)
          v18: NegativeBinomial(softplus(b), logits=b)
          v19: ZeroInflatedPoisson(sigmoid(b), 2)
          v20: HalfNormal()
          v25: HurdlePoisson(sigmoid(b), 2)
          v26: ZeroInflatedNegativeBinomial(0.5, 2, logits=b)
          v22: Cauchy(b)
          v23: HalfCauchy(2)
          v24: TruncatedNormal(b, 2, low=0, high=1)
          v21: Weibull(exp(b), concentration=1.5)
        """,
    "every_function": """
        sizes: {K: 4, D: 3, V: vocabulary(x), E: 4}
        plates: {t: sequence, l: 2}
        params: {a: [D], w: [K, D], n: [2, D]}
        networks:
          words: Embedding(V, E)
          output: Linear(E, V)
        latent:
          z[l]: Categorical(logits=w[0, 0] * a)
        let:
          f1: a + 2 * a - a / 2 ** 3
          f2: -exp(log(softplus(a))) + sqrt(abs(a)) + tanh(relu(a)) + detach(sigmoid(a))
          f3: sum(a) + mean(a) + max(a) + min(a) + prod(softplus(a)) + logsumexp(a)
          f4: softmax(a) + log_softmax(a)
          f5: flatten(w)
          f6: reshape(flatten(w), K, D)[1]
          f7: concat(a, onehot(z[0]), flatten(onehot(z[l]) over l))
          f8: dot(w, a) + matmul(w, a)
          f9: max(n[l] over l)
          f10: log_softmax(sum(n[l]) over l)
          f11[t]: sum(words(x[<t])) + last(words(x[<t])) + first(words(x[<t])) + length(x[<t])
          f12[t]: mean(words(x[<t])) + max(words(x[<t]))
          f13: n[l] over l
          everything: sum(f1) + sum(f2) + f3 + sum(f4) + sum(f5) + sum(f6) + sum(f7) + sum(f8) + sum(f9) + sum(f10) + sum(sum(f13))
        observed:
          x[t]: Categorical(logits=output(f11[t] + f12[t]))
          y: Normal(everything, 1)
        """,
    "names_that_yaml_readers_stumble_over": """
        sizes: {no: 4}
        params: {on: [no], y: [], n: []}
        latent:
          off: Categorical(logits=on)
        observed:
          yes: Normal(y * off + n, 1)
        """,
    "quoted_and_folded_text": """
        sizes: {"K": 4}
        params: {"a": "[K]"}
        observed:
          "x": >-
            Normal(sum(a),
              softplus(sum(a)))
          'y': "Normal(0,
            1)"
        """,
}
