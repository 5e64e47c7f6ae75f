"""What emitted modules call: torch alone, nothing of the compiler."""

from lvspec.runtime.alignment import inside_plate
from lvspec.runtime.banks import Bank, EmbeddingBank, LinearBank, MLPBank
from lvspec.runtime.baselines import MovingAverage
from lvspec.runtime.batch import (
    BadBatch,
    first,
    following,
    last,
    masked_max,
    masked_mean,
    masked_sum,
    prepare_plate,
    previous,
    until_length,
    weighted_mean,
)
from lvspec.runtime.bounds import (
    Reweighted,
    elbo_bound,
    frozen,
    gradient_alone,
    iwae,
    renyi,
    shares,
    vimco,
)
from lvspec.runtime.categorical import (
    categorical_at,
    categorical_bag,
    categorical_log_prob,
    categorical_lookup,
    categorical_rows,
    log_softmax_table,
)
from lvspec.runtime.categorical_head import categorical_head
from lvspec.runtime.chain import chain
from lvspec.runtime.chain_factors import (
    bernoulli_sum_bound,
    categorical_sum_bound,
    chain_ascent,
    chain_weights,
    cumulants,
    moments,
    normal_sum_expected,
    symbol_cumulants,
)
from lvspec.runtime.chain_lean import SiteBlocks
from lvspec.runtime.chosen_values import mixed_conjugate, weighed_conjugate
from lvspec.runtime.conjugate import (
    Conjugate,
    bernoulli_statistics,
    binomial_statistics,
    categorical_statistics,
    exponential_statistics,
    gamma_statistics,
    geometric_statistics,
    laplace_rate_statistics,
    log_normal_precision_statistics,
    normal_precision_statistics,
    poisson_statistics,
    site_sums,
    summed_entries,
)
from lvspec.runtime.contract import contract
from lvspec.runtime.control import as_categorical, relax
from lvspec.runtime.ctc import ctc_log_prob, ctc_parts
from lvspec.runtime.ctc_draws import ctc_draw
from lvspec.runtime.distributions import (
    bernoulli_entropy,
    bernoulli_logits_from_probs,
    beta_entropy,
    beta_log_prob,
    binomial_log_prob,
    categorical_entropy,
    certain_logits_from_probs,
    dirichlet_entropy,
    dirichlet_log_prob,
    exponential_entropy,
    exponential_log_prob,
    gamma_entropy,
    gamma_log_prob,
    geometric_log_prob,
    given_alone,
    improper_uniform_log_prob,
    laplace_entropy,
    laplace_log_prob,
    log_normal_entropy,
    log_normal_log_prob,
    logits_from_probs,
    normal_entropy,
    normal_log_prob,
    one_hot_categorical_entropy,
    one_hot_categorical_log_prob,
    poisson_log_prob,
    possible,
    student_t_log_prob,
    uniform_log_prob,
)
from lvspec.runtime.divergence import (
    bernoulli_kl,
    beta_kl,
    categorical_kl,
    dirichlet_kl,
    exponential_kl,
    gamma_kl,
    laplace_kl,
    log_normal_kl,
    normal_kl,
    one_hot_categorical_kl,
    poisson_kl,
)
from lvspec.runtime.draws import (
    bernoulli_draw,
    beta_draw,
    beta_noise,
    binomial_draw,
    categorical_draw,
    dirichlet_draw,
    dirichlet_noise,
    exponential_draw,
    exponential_noise,
    gamma_draw,
    gamma_noise,
    geometric_draw,
    laplace_draw,
    laplace_noise,
    leave_one_out,
    log_normal_draw,
    log_normal_noise,
    normal_draw,
    normal_noise,
    one_hot_categorical_draw,
    poisson_draw,
    student_t_draw,
    student_t_noise,
    uniform_draw,
    uniform_noise,
    worth,
)
from lvspec.runtime.encoded import Encoded
from lvspec.runtime.expected import (
    bernoulli_expected,
    bernoulli_expected_table,
    exponential_expected,
    normal_expected,
    poisson_expected,
)
from lvspec.runtime.fixed_draws import fixed_draws
from lvspec.runtime.flows import Coupling, InverseAutoregressive, MaskedAutoregressive, Planar, Radial
from lvspec.runtime.forecast import forecast
from lvspec.runtime.gaussian_block import GaussianBlock, GaussianLevel, LinearGaussian
from lvspec.runtime.gaussian_block_posterior import block_posterior, mixed_block_posterior, weighed_block_posterior
from lvspec.runtime.gaussian_factors import GaussianFactors
from lvspec.runtime.gaussian_in_order import OrderedGaussianBlock
from lvspec.runtime.given import sample_batch
from lvspec.runtime.importance import ImportanceEstimate, TablePosterior, importance
from lvspec.runtime.inputs import Input
from lvspec.runtime.kalman import GaussianChain
from lvspec.runtime.kalman_posterior import GaussianChainPosterior
from lvspec.runtime.label_guides import (
    LabelsPosterior,
    dependency_crf_guide,
    linear_chain_guide,
    non_projective_crf_guide,
    semi_markov_guide,
    tree_crf_guide,
)
from lvspec.runtime.labels import (
    linear_chain_draw,
    linear_chain_log_prob,
    linear_chain_sum,
    semi_markov_borders,
    semi_markov_draw,
    semi_markov_log_prob,
    semi_markov_sum,
)
from lvspec.runtime.lazy_flows import LazyFlow
from lvspec.runtime.mean_field import (
    BETA,
    DIRICHLET,
    GAMMA,
    NORMAL,
    NORMAL_INVERSE_WISHART,
    Factor,
    SharedFactors,
    coordinate_ascent,
    statistics_of,
)
from lvspec.runtime.multivariate_normal import (
    cholesky,
    diagonal_covariance,
    multivariate_normal_draw,
    multivariate_normal_log_prob,
    multivariate_normal_noise,
    tril_covariance,
)
from lvspec.runtime.networks import (
    GRU,
    LSTM,
    MLP,
    RNN,
    BiGRU,
    BiLSTM,
    DilatedConvolution,
    Dropout,
    Embedding,
    LayerNorm,
    Linear,
    Tied,
)
from lvspec.runtime.normal_inverse_wishart import (
    multivariate_normal_expected,
    multivariate_normal_statistics,
    normal_inverse_wishart_draw,
    normal_inverse_wishart_kl,
    normal_inverse_wishart_log_prob,
    normal_inverse_wishart_noise,
    site_scatter,
)
from lvspec.runtime.normal_mixture import (
    normal_mixture_draw,
    normal_mixture_log_prob,
    normal_mixture_noise,
    strata_draw,
    strata_noise,
)
from lvspec.runtime.objective import Objective, cyclical, free_bits, linear, paid
from lvspec.runtime.observed import (
    complete_rows,
    prepare_batch,
    refuse_empty,
    refuse_missing,
    refuse_parts,
    refuse_short,
)
from lvspec.runtime.one_hots import one_hots
from lvspec.runtime.posterior import (
    DrawnPosterior,
    ExactPosterior,
    LatentPosterior,
    MixedPosterior,
    Point,
    exact_posterior,
    of_whole_batch,
    summed_posterior,
    weighted_posterior,
)
from lvspec.runtime.refine import refine
from lvspec.runtime.relaxed import (
    bernoulli_corner,
    bernoulli_point,
    bernoulli_relaxed,
    bernoulli_relaxed_log_prob,
    bernoulli_relaxed_noise,
    categorical_corner,
    categorical_point,
    categorical_relaxed,
    categorical_relaxed_log_prob,
    categorical_relaxed_noise,
    mixed_rows,
)
from lvspec.runtime.rows import fit_rows, own_row
from lvspec.runtime.schemes import (
    against_opposite,
    against_others,
    against_top,
    bernoulli_antithetic_draw,
    categorical_distinct_draw,
    categorical_top_draw,
    disarm_score,
    distinct_weights,
    subset_shares,
    top_shares,
)
from lvspec.runtime.semiring import LOG, MAX, SAMPLE, finite_part, tempered
from lvspec.runtime.shape import (
    asked,
    average,
    batch_rows,
    bernoulli_table,
    categorical_shared,
    chosen,
    concat,
    evidence,
    expectation,
    first_site,
    given_table,
    is_known,
    label_evidence,
    later_sum,
    masked_log_softmax,
    masked_logsumexp,
    masked_min,
    masked_prod,
    masked_softmax,
    merge_lead,
    merge_semiring,
    normal_table,
    one_elsewhere,
    one_hot,
    pick,
    pin_first,
    real_sites,
    repeat,
    replace_site,
    spread,
    stack,
    stack_sites,
    symbol_scores,
    until_end,
    where_mass,
)
from lvspec.runtime.tree_labels import (
    dependency_crf_draw,
    dependency_crf_log_prob,
    dependency_crf_sum,
    non_projective_crf_draw,
    non_projective_crf_log_prob,
    non_projective_crf_sum,
    tree_crf_draw,
    tree_crf_log_prob,
    tree_crf_sum,
)
from lvspec.runtime.truth_values import bernoulli_log_prob
from lvspec.runtime.undefined import Undefined
from lvspec.runtime.user_networks import user_network
from lvspec.runtime.valence_draws import dmv_draw
from lvspec.runtime.von_mises_fisher import (
    von_mises_fisher_draw,
    von_mises_fisher_kl,
    von_mises_fisher_log_prob,
    von_mises_fisher_noise,
)
from lvspec.runtime.windows import own_sites, windows
from lvspec.runtime.yields import (
    dmv_log_prob,
    dmv_parts,
    low_rank_pcfg_draw,
    low_rank_pcfg_log_prob,
    low_rank_pcfg_parts,
    pcfg_draw,
    pcfg_log_prob,
    pcfg_parts,
)

# every name that is imported above, and none of the files that it comes from
__all__ = sorted(n for n, value in globals().items() if not n.startswith("_") and not hasattr(value, "__file__"))
