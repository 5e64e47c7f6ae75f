"""The keys of `data:`, `train:` and `infer:` as data: type, default and meaning. The editors' JSON Schema is made of the same tables."""

from __future__ import annotations

from lvspec.ir.bounds import OPTIONS as OF_BOUNDS
from lvspec.ir.estimators import OPTIONS as OF_STRATEGIES
from lvspec.ir.formats import FORMATS, columns_told
from lvspec.ir.options import Key

# one block for each variable: `data: {x: {format: tsv, column: 2}}`
DATA: tuple[Key, ...] = (
    Key(
        "format",
        "choice",
        None,
        f"{', '.join(row.meaning for row in FORMATS.values())}; by default, by the file's name",
        tuple(FORMATS),
    ),
    Key(
        "column",
        "column",
        None,
        columns_told(),
    ),
    Key("columns", "range", None, "tsv, csv: several columns as one vector, by number from 1, e.g. `1-64`"),
    Key("field", "text", None, "jsonl: a key, with dots for nested ones, e.g. `meta.title`"),
    Key("array", "text", None, "npz: the array's name, without the `_train` or `_dev` of a split"),
    Key("header", "truth", None, "tsv, csv: whether the first line holds names; by default, where `column` is a name"),
    Key("headings", "truth", False, "text: keep `= Title =` lines"),
    Key("lower", "truth", False, "words in lower case"),
    Key("tokenize", "choice", "whitespace", "how a text becomes tokens", ("whitespace", "characters", "none")),
    Key("min_count", "integer", 1, "rarer words become the unknown word", least=1),
    Key("max_size", "integer", None, "at most so many words in the vocabulary, the most frequent ones", least=1),
    Key("max_length", "integer", None, "longer sequences are cut", least=1),
    Key("lengths", "range", None, "sequences of other lengths are left out, e.g. `2-20`"),
    Key("scale", "number", 1.0, "numbers are multiplied by this, then shifted"),
    Key("shift", "number", 0.0, "added to scaled numbers"),
    Key(
        "binarize",
        "number",
        None,
        "numbers above this fraction of the largest training value are 1, the others 0",
        least=0,
        most=1,
    ),
    Key(
        "known",
        "integer",
        None,
        "of a latent: so many training examples keep their value, the others lose it; more is a superset of fewer",
        least=0,
    ),
    Key("labels", "texts", None, "the categories in their order; by default, sorted as they occur"),
)

TRAIN: tuple[Key, ...] = (
    Key(
        "method",
        "choice",
        "gradient",
        "steps along a gradient; or EM with expected counts or with those of the best assignment, one step an epoch",
        ("gradient", "em", "hard_em"),
    ),
    Key("pseudo_count", "number", 0.0, "added to every count of EM", least=0),
    Key(
        "forgetting",
        "number",
        0.7,
        "natural-gradient steps have the size (step + delay) ** -forgetting; above 0.5 they settle, 0 for one full batch",
        least=0,
        most=1,
    ),
    Key("delay", "number", 1.0, "of the sizes of natural-gradient steps", above=0),
    Key(
        "inference",
        "choice",
        "joint",
        "whether q and the model move together, q some steps for each of the model's, or q as long as that lowers the loss, "
        "until the mutual information of data and latents has stopped rising",
        ("joint", "alternating", "aggressive"),
    ),
    Key(
        "inference_steps",
        "integer",
        None,
        "steps of q for each of the model's: by default 10, and where inference is aggressive at most 100",
        least=1,
    ),
    Key("epochs", "integer", 10, "passes over the data", least=1),
    Key("steps", "integer", None, "at most so many steps", least=1),
    Key("batch_size", "integer", 32, "examples in a step", least=1),
    Key("batch_tokens", "integer", None, "sites in a step, instead of examples", least=1),
    Key("learning_rate", "number", 0.001, "of the optimiser", least=0, most=1e30),  # beyond, a step leaves float32
    Key("optimizer", "choice", "adam", "the update rule", ("adam", "adamw", "sgd")),
    Key("momentum", "number", 0.9, "of sgd", least=0, most=1),
    Key("weight_decay", "number", 0.0, "of the optimiser", least=0),
    Key("clip", "number", 0.0, "the largest norm of the gradient; 0 for none", least=0),
    Key("schedule", "choice", "constant", "of the learning rate", ("constant", "cosine", "linear", "plateau")),
    Key("warmup", "integer", 0, "steps over which the learning rate rises", least=0),
    Key(
        "kl_weight",
        "weight",
        None,
        "of the KL terms: a number, `linear(0, 1, steps=2000)`, `cyclical(0, 1, period=5000)`, or one for each latent",
    ),
    Key(
        "free_bits",
        "free",
        None,
        "nats of KL that cost nothing: `node(3)` of a latent, `dimension(0.25)` of each entry, or one for each latent",
    ),
    Key(
        "init",
        "rules",
        None,
        "first values by parameter or network, such as `emission: unigram(0.1)`: log frequencies of the symbols and noise",
    ),
    Key("patience", "integer", 5, "validations without progress before training stops; 0 for never", least=0),
    Key("restarts", "integer", 1, "short runs from new parameters, of which the best goes on", least=1, most=1000),
    Key("restart_steps", "integer", 50, "steps of each short run", least=1),
    Key("seed", "integer", 0, "of initialisation, order and draws", least=0, most=2**63 - 1),
    Key("validate_every", "integer", None, "steps between validations; by default, once an epoch", least=1),
    Key(
        "word_dropout",
        "number",
        0.0,
        "the part of the words of a prefix that the writer does not see",
        least=0,
        most=0.999,
    ),
)

# one block for each phase: `phases: {inference: {moves: [encoder], steps: 5}}`
PHASE: tuple[Key, ...] = (
    Key("moves", "texts", None, "the networks and parameters that move; what no phase names moves in all of them"),
    Key("steps", "integer", 1, "of the phase in a row", least=1),
)

# rules for first values, and how many numbers each takes at most
INIT_RULES: dict[str, int] = {
    "normal": 2,
    "uniform": 2,
    "constant": 1,
    "zeros": 0,
    "ones": 0,
    "xavier": 1,
    "orthogonal": 1,
    "eye": 1,
    "unigram": 1,
    "harmonic": 2,
}

INFER: tuple[Key, ...] = (
    Key(
        "samples",
        "integer",
        None,
        "draws for each example; by default 1, or 4 where a control variate needs them",
        least=1,
        most=10_000,
    ),
    Key("budget_flops", "number", None, "the most multiply-adds of a step that an exact plan may cost", above=0),
    Key("budget_bytes", "number", None, "the most memory that an exact plan may take", above=0),
    Key(
        "guide",
        "choice",
        None,
        "what a guide that nobody wrote reads: the data (by default), what the model reads beside them, or a minimal "
        "faithful inverse of the model",
        ("mean_field", "structured", "inverse"),
    ),
    Key(
        "memory",
        "choice",
        None,
        "lean: chains keep the messages of some sites and compute the others twice; by default fast",
        ("fast", "lean"),
    ),
    Key(
        "bound",
        "call",
        None,
        "the objective where it is not exact: `elbo`, `iwae(samples=5)`, `renyi(samples=5, alpha=0.5)`, "
        "`reweighted_wake_sleep(samples=5)`",
    ),
)

# options of a latent's strategy, `z: reinforce(samples=8)`, and of a bound, `bound: iwae(samples=5)`
OPTIONS: tuple[Key, ...] = (*OF_STRATEGIES, *OF_BOUNDS)
