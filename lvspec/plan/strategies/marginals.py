"""Marginals: the exact average under a CRF guide, from its marginals of single sites and of neighbours.

    E_q[log p(x, z)] = Σ_t Σ_k q(z_t = k) f_t(k) + Σ_t Σ_jk q(z_{t-1} = j, z_t = k) g_t(j, k)        and H(q) by the inside pass

Legal where every factor of the model reads no more of z than one site, or two neighbours that q has joint marginals of.
"""

from __future__ import annotations

from lvspec.ir.reads import HERE, LAG
from lvspec.ir.structured import structure_of
from lvspec.ir.structures import STRUCTURES
from lvspec.plan.claims import Claim, Declined, View
from lvspec.plan.model import crf_guide, finite_reason, without_engine
from lvspec.plan.prices.budget import over_budget
from lvspec.plan.prices.price import Pricer, priced
from lvspec.plan.prices.sums import pay_guide, pay_sum
from lvspec.plan.sampling import crf_reason
from lvspec.plan.strategies.enumeration import inside_a_sum


def consider(view: View, latent) -> Claim | Declined:
    model, name = view.model, latent.name
    factor = crf_guide(model, name)
    if factor is None:
        return Declined(f"no CRF guide is written for {name}")
    reason = without_engine(model, latent) or finite_reason(model, latent) or crf_reason(model, factor)
    reason = reason or _reads(view, latent, factor) or inside_a_sum(view, latent)
    if reason:
        return Declined(reason)

    def pay(pricer: Pricer) -> None:
        pay_sum(pricer, (name,))
        pay_guide(pricer, name)

    cost = priced(Pricer(model, {name}), pay)
    reason = over_budget(model, cost)
    if reason:
        return Declined(reason)
    family = factor.general.dist.family
    why = f"every factor reads one site of {name} or two neighbours: averaged exactly under the marginals of q({name}), a {family}"
    return Claim("enumerated", True, why, pay, cost)


def _reads(view: View, latent, factor) -> str | None:
    """Why log p is no sum over what q has marginals of, or None."""
    model, name = view.model, latent.name
    plate, q, p = factor.general.body.over, STRUCTURES[factor.general.dist.family], structure_of(latent)
    if not q.one_to_one:
        return f"the states of {factor.general.body.family} do not tell its segments, so the entropy of q({name}) is unknown"
    for other, reads in model.guide_reads.items():
        if any(r.name == name for r in reads):
            return f"q({other}) reads {name}, so {name} is drawn"
    if p is not None and p.site is None:
        return f"log p({name}) is no sum over sites"
    pairs = p is not None and p.pair is not None
    for reader in dict.fromkeys(v for v, _ in model.seen_by(name)):
        found = {r.way(plate) for v, r in model.seen_by(name) if v == reader}
        others = {way for v, r in model.seen_by(name) if v == reader for on, way, _ in r.ways if on != plate}
        if not all(way == HERE or (way, k) == (LAG, 1) for way, k in found) or others - {HERE}:
            return f"{reader.name} reads more of {name} than two neighbouring sites at once"
        if structure_of(reader) and reader.name != name:
            return f"{reader.name} is normalised over all its sites at once, so its scores join every site of {name}"
        pairs = pairs or (LAG, 1) in found and (len(found) > 1 or reader.name == name)
    if pairs and q.pair is None:
        return f"neighbouring sites of {name} are read together, and {factor.general.body.family} has marginals of single ones"
    return None
