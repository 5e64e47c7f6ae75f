"""What emitted modules call: torch alone, nothing of the compiler."""

from lvspec.runtime.chains.chain import chain
from lvspec.runtime.chains.checkpointed import SiteBlocks
from lvspec.runtime.conjugate.chosen_values import mixed_conjugate, weighed_conjugate
from lvspec.runtime.conjugate.mean_field import (
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
from lvspec.runtime.core.evidence import all_known, asked, evidence, is_known, label_evidence, with_given
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
from lvspec.runtime.core.semiring import LOG, MAX, SAMPLE, finite_part, log_sum_exp, merge_semiring, tempered
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
from lvspec.runtime.decoding import *  # noqa: F403
from lvspec.runtime.estimators import *  # noqa: F403
from lvspec.runtime.families import *  # noqa: F403
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
from lvspec.runtime.model.encoded import Encoded, EncodedLabels
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
from lvspec.runtime.model.priors import beta_of_logits, dirichlet_of_logits
from lvspec.runtime.model.structure_beside_draws import StructureBesideDraws
from lvspec.runtime.networks import *  # noqa: F403
from lvspec.runtime.segments.windows import own_sites, windows
from lvspec.runtime.structures import *  # noqa: F403

# every name that is imported above, and none of the files that it comes from
__all__ = sorted(n for n, value in globals().items() if not n.startswith("_") and not hasattr(value, "__file__"))
