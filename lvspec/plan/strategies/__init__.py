"""The strategies, in the order of preference: exact ones first, then unbiased ones, biased ones only on request.

Each module has a NAME and `consider(view, latent) -> Claim | Declined`: it proves that it may be used for this
latent and what it costs, or says which condition failed. Adding a strategy is adding a file and a line here.
"""

from lvspec.plan.strategies import (
    conjugacy,
    disarm,
    dynamic_programming,
    enumeration,
    gumbel_softmax,
    joint_gaussian,
    linear_gaussian,
    marginals,
    mean_field,
    point_estimate,
    reinforce,
    relax,
    reparameterization,
    straight_through,
    stratified,
    structured_mean_field,
    subset,
    sum_and_sample,
    wake_sleep,
    without_replacement,
)

STRATEGIES = (
    dynamic_programming,
    linear_gaussian,
    enumeration,
    marginals,
    conjugacy,
    joint_gaussian,
    mean_field,
    structured_mean_field,
    point_estimate,
    reparameterization,
    stratified,
    reinforce,
    disarm,
    sum_and_sample,
    without_replacement,
    relax,
    wake_sleep,
    gumbel_softmax,
    straight_through,
    subset,
)
NAMES = tuple(s.NAME for s in STRATEGIES)
