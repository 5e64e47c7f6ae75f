"""What emitted modules call: torch alone, nothing of the compiler."""

from lvspec.runtime.chains.chain import chain
from lvspec.runtime.chains.checkpointed import SiteBlocks
from lvspec.runtime.conjugate.chosen_values import mixed_conjugate, weighed_conjugate
from lvspec.runtime.conjugate.expected import (
    bernoulli_expected,
    bernoulli_expected_table,
    exponential_expected,
    normal_expected,
    poisson_expected,
)
from lvspec.runtime.conjugate.mean_field import (
    BETA,
    DIRICHLET,
    GAMMA,
    NORMAL,
    NORMAL_INVERSE_WISHART,
    SharedFactors,
    VariationalFactor,
    coordinate_ascent,
    statistics_of,
)
from lvspec.runtime.conjugate.pairs import (
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
from lvspec.runtime.conjugate.structured_mean_field import (
    bernoulli_sum_bound,
    categorical_sum_bound,
    chain_ascent,
    chain_weights,
    cumulants,
    moments,
    normal_sum_expected,
    symbol_cumulants,
)
from lvspec.runtime.core.alignment import inside_plate
from lvspec.runtime.core.averages import average, expectation, where_mass
from lvspec.runtime.core.batch import (
    BadBatch,
    batch_rows,
    first,
    following,
    last,
    later_sum,
    masked_log_softmax,
    masked_logsumexp,
    masked_max,
    masked_mean,
    masked_min,
    masked_prod,
    masked_softmax,
    masked_sum,
    one_elsewhere,
    prepare_plate,
    previous,
    real_sites,
    until_end,
    until_length,
    weighted_mean,
)
from lvspec.runtime.core.contract import contract
from lvspec.runtime.core.evidence import asked, evidence, given_table, is_known, label_evidence
from lvspec.runtime.core.fixed_draws import fixed_draws
from lvspec.runtime.core.given import sample_batch
from lvspec.runtime.core.inputs import Input
from lvspec.runtime.core.observed import (
    complete_rows,
    prepare_batch,
    refuse_empty,
    refuse_missing,
    refuse_parts,
    refuse_short,
)
from lvspec.runtime.core.rows import fit_rows, own_row
from lvspec.runtime.core.semiring import LOG, MAX, SAMPLE, finite_part, merge_semiring, tempered
from lvspec.runtime.core.tensors import (
    chosen,
    concat,
    first_site,
    merge_lead,
    one_hot,
    pick,
    pin_first,
    repeat,
    replace_site,
    spread,
    stack,
    stack_sites,
)
from lvspec.runtime.core.undefined import Undefined
from lvspec.runtime.estimators import *  # noqa: F403
from lvspec.runtime.families.categorical import (
    categorical_at,
    categorical_bag,
    categorical_log_prob,
    categorical_lookup,
    categorical_rows,
    log_softmax_table,
)
from lvspec.runtime.families.categorical_head import categorical_head
from lvspec.runtime.families.densities import (
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
from lvspec.runtime.families.divergence import (
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
from lvspec.runtime.families.draws import (
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
from lvspec.runtime.families.multivariate_normal import (
    cholesky,
    diagonal_covariance,
    multivariate_normal_draw,
    multivariate_normal_log_prob,
    multivariate_normal_noise,
    tril_covariance,
)
from lvspec.runtime.families.normal_inverse_wishart import (
    multivariate_normal_expected,
    multivariate_normal_statistics,
    normal_inverse_wishart_draw,
    normal_inverse_wishart_kl,
    normal_inverse_wishart_log_prob,
    normal_inverse_wishart_noise,
    site_scatter,
)
from lvspec.runtime.families.normal_mixture import (
    normal_mixture_draw,
    normal_mixture_log_prob,
    normal_mixture_noise,
    strata_draw,
    strata_noise,
)
from lvspec.runtime.families.one_hots import one_hots
from lvspec.runtime.families.tables import bernoulli_table, categorical_shared, normal_table, symbol_scores
from lvspec.runtime.families.truth_values import bernoulli_log_prob
from lvspec.runtime.families.von_mises_fisher import (
    von_mises_fisher_draw,
    von_mises_fisher_kl,
    von_mises_fisher_log_prob,
    von_mises_fisher_noise,
)
from lvspec.runtime.gaussian.factors import GaussianFactors
from lvspec.runtime.gaussian.in_order import OrderedGaussianBlock
from lvspec.runtime.gaussian.joint_gaussian import GaussianBlock, GaussianLevel, LinearGaussian
from lvspec.runtime.gaussian.joint_gaussian_posterior import (
    block_posterior,
    mixed_block_posterior,
    weighed_block_posterior,
)
from lvspec.runtime.gaussian.linear_gaussian import GaussianChain
from lvspec.runtime.gaussian.linear_gaussian_posterior import GaussianChainPosterior
from lvspec.runtime.model.encoded import Encoded
from lvspec.runtime.model.forecast import forecast
from lvspec.runtime.model.objective import Objective, cyclical, free_bits, linear, paid
from lvspec.runtime.model.posterior import (
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
from lvspec.runtime.networks import *  # noqa: F403
from lvspec.runtime.segments.windows import own_sites, windows
from lvspec.runtime.structures import *  # noqa: F403

# every name that is imported above, and none of the files that it comes from
__all__ = sorted(n for n, value in globals().items() if not n.startswith("_") and not hasattr(value, "__file__"))
