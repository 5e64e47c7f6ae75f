"""What the changes of `mutator.py` put in: values that nobody would write, and templates of what one would.

In a template `{p}` is the name of a plate, `{s}` a size, `{v}` a variable, `{q}` a parameter, `{n}` a network, `{f}` a function,
`{i}` an index, `{e}` an expression, `{d}` a distribution.
"""

NUMBERS = (0, 1, 2, -1, 3, 0.5, -0.0, 1e30, -1e30, 1e-300, 1e308, 3000000, 300000000, 10**15, 10**400, 2.5, 26, 27)
NAMES = (
    "ä", "Ω", "变量", "ﬁ", "𝐱", "ı", "x̂", "ª", "_", "__", "a__b", "_a", "self", "torch", "None", "class", "forward", "batch", "B", "S", "x_observed", "logits",
    "Normal", "sum", "over", "lvspec", "t1", "e5", "z_q", "0", "q", "elbo", "lengths", "index", "math", "nn", "Any", "print", "log_marginal", "data",
)  # fmt: skip
PLATES = (
    "sequence", "bag", "sequence(end=EOS)", "bag(counts=true)", "sequence(null=true)", "sequence(within={p})", "copy({p})", "segments({p}, max=3)",
    "bag(within={p})", 1, 2, 3, 0, 40, 1000000, "{s}", {"length": "{v}", "max": 3}, {"length": "{v} + 1", "max": "{s}"}, "sequence(within={p}, end=EOS)",
)  # fmt: skip
SIZES = (
    0, 1, 2, 3, 27, 64, 10**4, 10**6, 10**9, 10**14, -1, 1.5, "vocabulary({v})", "categories({v})", "features({v})", "vocabulary({v}, nominal=3)",
    "{s}", "2*{s}", "{s} - 1", "{s} * {s} * {s}",
)  # fmt: skip
SHAPES = ([], [1], ["{s}"], ["{s}", "{s}"], ["{s}", "{s}", "{s}"], [0], [10**9], ["2*{s}"], [3, "{s}"], ["{p}"])
RULES = (
    "constant(-1)", "constant(1e400)", "zeros", "ones", "normal(0, -1)", "normal(0, 0)", "uniform(1, 0)", "orthogonal", "eye(2)", "eye", "xavier",
    "constant", "normal(0, 1, 2)", -1, "unigram(0.1)",
)  # fmt: skip
NETWORKS = (
    "Linear({s}, {s})", "Linear({s}, {s}, {s})", "MLP({s}, {s}, {s})", "MLP({s}, 0)", "Embedding({s}, {s})", "LSTM({s}, {s})", "GRU({s}, {s}, layers=0)",
    "BiLSTM({s}, {s}, layers=100000)", "DilatedConvolution({s}, {s}, layers=60)", "DilatedConvolution({s}, {s}, kernel=1000000)", "Dropout({s}, p=2)",
    "LayerNorm({s})", "Planar({s})", "Radial({s}, {s})", "Coupling({s}, {s}, steps=100000)", "InverseAutoregressive({s}, {s})", "zuko.NSF({s}, {s}, bins=0)",
    "MaskedAutoregressive({s}, {s}, {s})", "Linear({s}, {s}, tied={n})", "MLP({s}, {s}, tied={n}, activation=foo)", "Module(a.B, in=[{s}], out=[{s}])",
    "Module(a.B, in=[{s}], out=[{s}], reads=whole)", "Embedding({s}, {s}, tied={n})",
)  # fmt: skip
GIVEN = (
    "token({s})",
    "category({s})",
    "real[{s}]",
    "positive[{s}]",
    "unit[{s}]",
    "count",
    "boolean",
    "real[{s}, {s}]",
    "real",
    "token(0)",
)
METHODS = (
    "enumeration", "dynamic_programming", "marginals", "mean_field", "structured_mean_field", "reparameterization", "reinforce", "reinforce(samples=1)",
    "reinforce(samples=0)", "reinforce(samples=1000000, baseline=learned)", "relax", "disarm", "gumbel_softmax(temperature=linear(1, 0.1, steps=10000))",
    "gumbel_softmax(temperature=0)", "straight_through", "sum_and_sample(samples=1)", "without_replacement(samples=30)", "subset(samples=2)", "stratified",
    "stratified(samples=7)", "reparameterization(refine=5, rate=0.1)", "reparameterization(samples=3)", "kalman", "linear_gaussian", "conjugate", "conjugacy",
    "mean_field(steps=0)", "reinforce(baseline=moving_average, samples=1)", "reparameterization(refine=1000000)", 3, None, "nothing",
)  # fmt: skip
INFER = {
    "guide": ("mean_field", "structured", "inverse", "odd"),
    "samples": NUMBERS,
    "budget_flops": NUMBERS,
    "budget_bytes": NUMBERS,
    "memory": ("lean", "fat", 1),
    "B": NUMBERS,
    "|t|": NUMBERS,
    "bound": (
        "elbo", "elbo(gradient=sticking_the_landing)", "iwae(samples=5)", "iwae(samples=0)", "renyi(samples=2, alpha=0.5)", "renyi(alpha=1)",
        "reweighted_wake_sleep", "iwae(gradient=doubly_reparameterized)", "iwae(samples=10000000)", "odd",
    ),
}  # fmt: skip
TRAIN = {
    "kl_weight": (
        0,
        1,
        -1,
        "linear(0, 1, steps=0)",
        "linear(0, 1, steps=10)",
        "cyclical(0, 1, period=0)",
        "cyclical(0, 1, period=5)",
        {"{v}": 0.5},
        "x",
    ),
    "free_bits": (0, 3, -1, "dimension(0.25)", "node(3)", "dimension(-1)", {"{v}": "node(3)"}, "x"),
    "epochs": NUMBERS,
    "method": ("em", "hard_em", "gradient"),
    "inference": ("aggressive", "alternating"),
    "learning_rate": NUMBERS,
    "word_dropout": NUMBERS,
}
INDICES = (
    "{p}",
    "{p}-1",
    "{p}-2",
    "{p}+1",
    "<{p}",
    "<={p}",
    ">={p}",
    ">{p}",
    "0",
    "1",
    "7",
    "{p} - 3000000",
    "<{p} in {v}",
    "-1",
    "{v}",
    "{v}[{p}]",
)
EXPRESSIONS = (
    "{v}", "{v}[{i}]", "{v}[{i}, {i}]", "{q}", "{q}[{v}]", "{q}[{v}[{i}]]", "{n}({e})", "{n}({e})[{p}]", "{f}({e})", "{f}({e}, {e})", "{f}({e} over {p})",
    "{e} + {e}", "{e} * {e}", "{e} - {e}", "{e} / {e}", "{e} ** {e}", "-{e}", "{number}", "{s}", "1 / {s}", "log({e})", "exp({e})", "softplus({e})",
    "onehot({v}[{i}])", "onehot({v})", "last({v})", "length({v})", "concat({e}, {e})", "{p}", "0 over {p}", "clip({e}, {s})", "equal({e}, {e})",
    "less({p}, {e})", "matmul({q}, {e})", "dot({e}, {e})", "softmax({e} over {p})", "reshape({e}, {s}, {s})", "detach({e})", "known({v})",
    "log_prob({v}[{i}], {d})", "expected({e})", "{n}[{v}]({e})",
)  # fmt: skip
WRAPS = (
    "exp({e})", "softplus({e})", "sigmoid({e})", "tanh({e})", "detach({e})", "(-{e})", "({e} + {e})", "({e} * {e})", "({e} + 1)", "(0.5 * {e})", "({e} / 3)",
    "({e} - {e})", "square({e})", "abs({e})", "relu({e})", "(1 - sigmoid({e}))", "log(1 + exp({e}))", "sum({e})", "max({e})", "softmax({e})",
    "log_softmax({e})", "concat({e}, {e})", "{e}[0]", "0", "1", "0.5", "(2 * {e} ** 2)", "logsumexp({e})", "onehot({e})", "mean({e})", "prod({e})",
)  # fmt: skip
