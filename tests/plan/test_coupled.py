"""Chains of a plate that read what changes along them: which are summed apart, which jointly, and which not at all."""

import pytest

from lvspec.driver import plan_spec

HEAD = """lvspec: 1
sizes: {K: 2}
params: {a: [K], m: [K, K], v: [K, K], e: [K]}
"""
CHAINS = """  z[0, t]: Categorical(logits=a)
  z[d, t]: Categorical(logits=m[z[d-1, t]] + v[c])
observed: {"x[d, t]": "Normal(e[z[d, t]], 1)"}
"""
REGIME = "  c[0]: Categorical(logits=a)\n  c[d]: Categorical(logits=m[c[d-1]])\n"


def planned(plates, first, chains=CHAINS):
    return plan_spec(f"{HEAD}plates: {plates}\nlatent:\n{first}{chains}")


def strategies(plan):
    return {p.name: p.strategy for p in plan.latents}


def of_sites(text):
    return text.replace("v[c]", "v[c[d]]")


@pytest.mark.parametrize("switch", [REGIME, "  c[d]: Categorical(logits=a)\n"])
def test_a_regime_couples_the_chains_of_a_plate(switch):
    """Over a fixed plate all are summed jointly; over a ragged one no sum splits."""
    jointly = planned("{d: sequence, t: 3}", switch, of_sites(CHAINS))
    assert jointly.unrolled == ("t",) and set(strategies(jointly).values()) == {"dynamic_programming"}
    drawn = planned("{d: sequence, t: bag}", switch, of_sites(CHAINS))
    assert not drawn.unrolled and set(strategies(drawn).values()) == {"reinforce"}


def test_chains_that_share_what_is_the_same_along_them_are_summed_apart():
    """A mixture of chains, and one whose component another chain reads, too."""
    plan = planned("{d: sequence, t: bag}", "  c: Categorical(logits=a)\n")
    assert not plan.unrolled and set(strategies(plan).values()) == {"dynamic_programming"}
    beside = "  c: Categorical(logits=a)\n  b[0]: Categorical(logits=v[c])\n  b[d]: Categorical(logits=m[b[d-1]])\n"
    plan = planned("{d: sequence, t: bag}", beside)
    assert not plan.unrolled and set(strategies(plan).values()) == {"dynamic_programming"}


def test_a_chain_that_is_read_by_an_emission_beside_those_of_a_plate_couples_them_too():
    chains = CHAINS.replace(" + v[c]", "").replace("e[z[d, t]]", "e[z[d, t]] + e[c[d]]")
    assert planned("{d: sequence, t: 2}", REGIME, chains).unrolled == ("t",)
    assert set(strategies(planned("{d: sequence, t: bag}", REGIME, chains)).values()) == {"reinforce"}
