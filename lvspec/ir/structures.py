"""Distributions over structures, as data: what the variable over the plate holds, and what its algorithm costs.

labels: a state at each site, which other variables may read; p(z) ∝ exp(its scores), given the number of sites. Of trees
the states are the sites themselves (the letter T): a word's label names a word.
yield: the symbols at the leaves of a hidden tree, or of a tree whose nodes they are, or what frames spell; the trees, or
the alignments, are summed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Numbers = Mapping[str, float]


@dataclass(frozen=True)
class Structure:
    """axes: the axes of each argument at one site, by letters that must agree over the arguments; T: the sites.
    state: the letter of how many values the variable has. along: arguments that may differ from site to site.
    segments: whether runs of up to L sites share a value. site,
    pair: of labels whose score is a sum over sites, the argument that scores one, and that of two neighbours.
    algorithm: how it is summed. work, cells: multiply-adds and numbers of one example, by T and the letters. turns, dispatches:
    the letter of how many steps it takes one after the other, and how many operations each calls, forward and backward; once: and
    all of them together. exponentials: in whose time one of the cells is computed, beside work, as measured. labels: what labels of
    words say in a data file, heads | ends. lean: whether it is summed in little memory, a few sites at a time. harmonic: whether
    `train.init: harmonic` knows where to begin (Klein & Manning 2004). trees: what a hidden tree is read as, spans | heads. fewest: sites of the least that it
    yields; what has fewer has probability 0.
    notes: what an emitted module says above the sum: what p is, over which axes its arguments are normalised, and the recursion.
    """

    value: str
    axes: tuple[tuple[str, tuple[str, ...]], ...]
    state: str
    algorithm: str
    work: Callable[[Numbers], float]
    cells: Callable[[Numbers], float]
    along: tuple[str, ...] = ()
    turns: str = "T"
    dispatches: int = 20
    once: Callable[[Numbers], float] = lambda n: 60.0
    exponentials: float = 0.0
    segments: bool = False
    site: str | None = None
    pair: str | None = None
    labels: str = ""
    lean: bool = False
    harmonic: bool = False
    trees: str = ""
    fewest: int = 0
    notes: tuple[str, ...] = ()

    @property
    def one_to_one(self) -> bool:
        """Whether its values say which structure it is: those of segments do not tell where one begins."""
        return not self.segments

    @property
    def framed(self) -> bool:
        """Whether frames spell its values, on a plate of their own."""
        return any("F" in axes for _, axes in self.axes)

    def axes_of(self, argument: str) -> tuple[str, ...]:
        return dict(self.axes)[argument]


STRUCTURES: dict[str, Structure] = {
    "LinearChain": Structure(
        "labels",
        (("unary", ("K",)), ("pairwise", ("K", "K"))),
        "K",
        "forward algorithm, once with the observations and once without",
        lambda n: 2 * n["T"] * n["K"] ** 2,
        lambda n: 3 * n["T"] * n["K"],
        along=("unary",),
        dispatches=12,
        site="unary",
        pair="pairwise",
        notes=(
            "p(z) = exp(score(z)) / Z, score(z) = Σ_t unary[t, z_t] + Σ_t pairwise[z_{t-1}, z_t]",
            "alpha_t[j] = logsumexp_i(alpha_{t-1}[i] + pairwise[i, j]) + unary[t, j] + log_potential[t, j]",
            "log Z is the same without log_potential, and is subtracted",
        ),
    ),
    "SemiMarkov": Structure(
        "labels",
        (("start", ("K",)), ("transition", ("K", "K")), ("length", ("K", "L"))),
        "K",
        "semi-Markov forward algorithm (Sarawagi & Cohen 2004), once with the observations and once without",
        lambda n: 2 * n["T"] * (n["K"] ** 2 + n["K"] * n["L"]),
        lambda n: 3 * n["T"] * n["K"] * n["L"],
        dispatches=18,
        once=lambda n: 25 * n["L"],
        exponentials=0.3,
        segments=True,
        notes=(
            "p(segments) = exp(start[z_1] + Σ_i transition[z_{i-1}, z_i] + Σ_i length[z_i, |segment i| - 1]) / Z",
            "alpha_t[j] = logsumexp_l(enter_{t-l}[j] + length[j, l - 1] + log_potential[., j] of the last l sites)",
            "enter_t[j] = logsumexp_i(alpha_t[i] + transition[i, j]), before the first site start[j]",
            "log Z is the same without log_potential, and is subtracted",
        ),
    ),
    "PCFG": Structure(
        "yield",
        (("root", ("N",)), ("rules", ("N", "N + P", "N + P")), ("terminals", ("P", "V"))),
        "V",
        "inside algorithm (Baker 1979)",
        # pairs of nonterminals at every split, which meet the rules once a span; words meet them before
        lambda n: (
            n["N"] ** 2 * (n["T"] ** 3 / 6 + n["N"] * n["T"] ** 2 / 2)
            + 2 * n["T"] * n["P"] * n["N"] * (n["N"] + n["P"])
        ),
        # words as parts, twice; cells by where they start and end, and their gradients
        lambda n: n["T"] * (2 * n["N"] * (2 * n["N"] + n["P"]) + n["N"] * n["P"]) + 7 * n["T"] ** 2 * n["N"],
        dispatches=160,
        exponentials=0.7,
        trees="spans",
        fewest=2,
        notes=(
            "root: logits of the N nonterminals; rules: of pairs of children, normalised over (N + P)² of them;",
            "terminals: of the V words. Symbol N + p is preterminal p, which yields one word",
            "inside[i, k, a] = logsumexp_{j, b, c}(log p(a -> b c) + inside[i, j, b] + inside[j + 1, k, c])",
            "inside[i, i, N + p] = log p(x_i | p), log p(x) = logsumexp_a(log root[a] + inside[0, T - 1, a])",
            "a sentence of one word has no derivation: -inf",
        ),
    ),
    "LowRankPCFG": Structure(
        "yield",
        (
            ("root", ("N",)),
            ("head", ("N", "R")),
            ("left", ("R", "N + P")),
            ("right", ("R", "N + P")),
            ("terminals", ("P", "V")),
        ),
        "V",
        "inside algorithm in the space of ranks (Yang, Zhao & Tu 2021)",
        lambda n: n["R"] * (n["T"] ** 3 / 6 + (2 * (n["N"] + n["P"]) + n["N"]) * n["T"] ** 2 / 2),
        lambda n: n["T"] ** 2 * (2 * n["R"] + n["N"]) + n["T"] * n["P"],
        fewest=2,
        notes=(
            "p(a -> b c) = Σ_r head[a, r] left[r, b] right[r, c], all of them logits, normalised over their last axis",
            "symbol N + p is preterminal p, which yields one word by terminals[p]",
            "l[i, k, r] = logsumexp_b(log left[r, b] + inside[i, k, b]), and r[i, k, r] so of right",
            "inside[i, k, a] = logsumexp_{r, j}(log head[a, r] + l[i, j, r] + r[j + 1, k, r])",
            "a sentence of one word has no derivation: -inf",
        ),
    ),
    "DMV": Structure(
        "yield",
        (("root", ("C",)), ("stop", ("C", "2", "2", "2")), ("attach", ("C", "2", "C"))),
        "C",
        "inside algorithm over split heads (Eisner 1996), with valence (Klein & Manning 2004)",
        lambda n: 4 * n["T"] ** 3,
        lambda n: 4 * n["T"] ** 3,  # float64, by the tape of the generic program
        dispatches=100,
        trees="heads",
        harmonic=True,
        fewest=1,
        notes=(
            "root[symbol], stop[head, side, valence, go on or stop], attach[head, side, modifier]: logits, normalised",
            "over the last axis; side: left or right, valence: whether the head has a modifier there already",
            "p(tree) = root[r] Π_{head, side} stop[.., stop] Π_{modifiers, nearest first} stop[.., go on] attach[..]",
            "summed over projective trees with one root, by spans that begin or end with their head",
        ),
    ),
    "CTC": Structure(
        "yield",
        (("logits", ("F", "V")), ("blank", ("F",))),
        "V",
        "forward algorithm over symbols and blanks (Graves et al. 2006)",
        lambda n: n["F"] * (6 * n["T"] + n["V"]),
        lambda n: n["F"] * (8 * n["T"] + 2 * n["V"]),  # messages at 2 T + 1 positions; what the frames name
        turns="F",
        dispatches=35,
        notes=(
            "p_f(u): the logits of the V symbols and of the blank at frame f, normalised together",
            "u = blank, x_1, blank, x_2, .., x_T, blank, and alpha_f[s] = log p_f(u_s) + the logsumexp of",
            "alpha_{f-1}[s], alpha_{f-1}[s - 1] and, unless u_s is the blank or u_{s-2}, alpha_{f-1}[s - 2]",
            "log p(x) is the logsumexp of the last two alpha at the last frame",
        ),
    ),
    "TreeCRF": Structure(
        "labels",
        (("spans", ("T",)),),
        "T",
        "inside algorithm by width, once with the observations and once without",
        lambda n: n["T"] ** 3 / 3,
        lambda n: 2 * n["T"] ** 3 / 3,
        along=("spans",),
        dispatches=60,
        labels="ends",
        notes=(
            "p(tree) = exp(Σ spans[first word, last word] over its constituents) / Z, of binary trees",
            "inside[i, k] = spans[i, k] + logsumexp_j(inside[i, j] + inside[j + 1, k])",
            "log_potential[i, k] is added where the largest constituent from word i on ends at k",
            "log Z is the same without log_potential, and is subtracted",
        ),
    ),
    "DependencyCRF": Structure(
        "labels",
        (("arcs", ("T",)),),
        "T",
        "inside algorithm over split heads (Eisner 1996), once with the observations and once without",
        lambda n: 4 * n["T"] ** 3,
        lambda n: 8 * n["T"] ** 3,  # float64, by the tape of the generic program
        along=("arcs",),
        dispatches=200,
        site="arcs",
        labels="heads",
        notes=(
            "p(tree) = exp(Σ_w arcs[w, head of w]) / Z, of projective trees with one root, which is its own head",
            "log Σ_tree exp(Σ_w arcs[w, head of w] + log_potential[w, head of w]) - log Z",
            "by spans that begin or end with their head",
        ),
    ),
    "NonProjectiveCRF": Structure(
        "labels",
        (("arcs", ("T",)),),
        "T",
        "matrix-tree theorem (Koo et al. 2007), once with the observations and once without",
        lambda n: 2 * n["T"] ** 3 / 3,
        lambda n: 30 * n["T"] ** 2,  # a matrix and its inverse, in float64
        along=("arcs",),
        dispatches=4,
        site="arcs",
        labels="heads",
        notes=(
            "p(tree) = exp(Σ_w arcs[w, head of w]) / Z, of all trees with one root, which is its own head",
            "log det L(arcs + log_potential) - log det L(arcs), L(s): the Laplacian of exp(s), the root's in a row",
        ),
    ),
}
