"""Which strategy the planner takes, and what it says of the others."""

import pytest

from lvspec.driver import plan_spec
from lvspec.emit import emit
from lvspec.errors import SpecError

ZOO = {
    "rnn_lm": {},
    "naive_bayes": {"z": ("enumeration", "collapsed")},
    "naive_bayes_amortized": {"z": ("enumeration", "enumerated")},
    "mixture_of_rnns": {"z": ("enumeration", "collapsed")},
    "softmax_mixture_lm": {"z": ("enumeration", "collapsed")},
    "hmm": {"z": ("dynamic_programming", "collapsed")},
    "deep_hmm": {"z": ("dynamic_programming", "collapsed")},
    "kalman": {"z": ("linear_gaussian", "integrated")},
    "ibm1": {"a": ("enumeration", "collapsed")},
    "hmm_alignment": {"a": ("dynamic_programming", "collapsed")},
    "monotone_alignment": {"a": ("dynamic_programming", "collapsed")},
    "factorial_hmm": {"z": ("dynamic_programming", "collapsed")},
    "gaussian_softmax": {"z": ("reparameterization", "sampled")},
    "vae": {"z": ("reparameterization", "sampled")},
    "sentence_vae": {"z": ("reparameterization", "sampled")},
    "gm_vae": {"c": ("enumeration", "enumerated"), "z": ("reparameterization", "sampled")},
    "discrete_vae": {"z": ("reinforce", "sampled")},
    "beta_vae": {"z": ("reparameterization", "sampled")},
    "iwae": {"z": ("reparameterization", "sampled")},
    "iwae_discrete": {"z": ("reinforce", "sampled")},
    "semi_supervised_vae": {"y": ("enumeration", "enumerated"), "z": ("reparameterization", "sampled")},
    "dem_vae": {"c": ("enumeration", "enumerated"), "z": ("reparameterization", "sampled")},
    "neural_topic_model": {"g": ("reparameterization", "sampled"), "z": ("enumeration", "collapsed")},
    "nvdm": {"h": ("reparameterization", "sampled")},
    "seq2seq": {},
    "mixture_of_experts": {"z": ("enumeration", "collapsed")},
    "variational_nmt": {"z": ("reparameterization", "sampled")},
    "soft_attention": {},
    "copy_attention": {},
    "latent_attention": {"a": ("enumeration", "collapsed")},
    "latent_attention_elbo": {"a": ("enumeration", "enumerated")},
}


@pytest.mark.parametrize("name", ZOO)
def test_zoo_strategies_are_chosen_without_an_override(name):
    plan = plan_spec(f"specs/{name}.yaml")
    assert {p.name: (p.strategy, p.treatment) for p in plan.latents} == ZOO[name]
    assert plan.objective == (
        "elbo" if any(t not in ("collapsed", "integrated") for _, t in ZOO[name].values()) else "log_marginal"
    )


@pytest.mark.parametrize("name", ZOO)
def test_every_strategy_is_chosen_or_declined_with_a_reason(name):
    for latent in plan_spec(f"specs/{name}.yaml").latents:
        told = {latent.strategy, *(n for n, _ in latent.declined)}
        assert {"enumeration", "dynamic_programming", "conjugacy", "reparameterization", "reinforce"} <= told
        assert all(len(reason) > 10 for _, reason in latent.declined)
        assert latent.cost.flops > 0 and latent.cost.bytes > 0


def text(latent, observed, guide="", params="  a: [K]\n  b: [K, K]\n  e: [K, V]", plates="  t: sequence", infer=""):
    return f"""lvspec: 1
name: model
sizes:
  K: 5
  V: 7
plates:
{plates}
params:
{params}
latent:
{latent}
observed:
{observed}
{guide}
{infer}
"""


CHAIN = "  z[0]: Categorical(logits=a)\n  z[t]: Categorical(logits=b[z[t-1]])"
EMISSION = "  x[t]: Categorical(logits=e[z[t]])"


def test_a_chain_over_budget_is_drawn_and_says_so():
    plan = plan_spec(text(CHAIN, EMISSION, infer="infer:\n  budget_flops: 1000"))
    latent = plan.latent("z")
    assert latent.strategy == "reinforce" and latent.guide == "derived"
    assert "budget" in dict(latent.declined)["dynamic_programming"]


def test_a_legal_override_is_taken():
    plan = plan_spec(text(CHAIN, EMISSION, infer="infer:\n  z: reinforce(samples=7)"))
    assert plan.latent("z").strategy == "reinforce" and plan.samples == 7


@pytest.mark.parametrize("strategy", ["reparameterization", "enumeration", "conjugacy", "gumbel_softmax"])
def test_an_illegal_override_is_refused_with_the_reason(strategy):
    with pytest.raises(SpecError) as caught:
        plan_spec(text(CHAIN, EMISSION, infer=f"infer:\n  z: {strategy}"))
    (problem,) = caught.value.diagnostics
    assert problem.code == "override-refused" and problem.span.line > 0
    assert "legal here" in problem.help and "dynamic_programming" in problem.help


def test_second_order_chain_is_one_dynamic_program():
    latent = "  z[0]: Categorical(logits=a)\n  z[1]: Categorical(logits=b[z[0]])\n  z[t]: Categorical(logits=c[z[t-2], z[t-1]])"
    plan = plan_spec(text(latent, EMISSION, params="  a: [K]\n  b: [K, K]\n  c: [K, K, K]\n  e: [K, V]"))
    assert plan.latent("z").strategy == "dynamic_programming"
    assert [e.order for e in plan.eliminations] == [2]


def test_factorial_chain_costs_a_state_more_than_its_message():
    plan = plan_spec("specs/factorial_hmm.yaml", sizes={"L": 3, "K": 8})
    bigger = plan_spec("specs/factorial_hmm.yaml", sizes={"L": 4, "K": 8})
    ratio = bigger.eliminations[0].cost.flops / plan.eliminations[0].cost.flops
    assert 4 < ratio < 24  # K^(L+1) grows by K = 8 (emissions and another chain beside it), not by K² = 64


def test_a_latent_read_as_a_whole_is_not_summed():
    latent = "  z[t]: Categorical(logits=a)"
    observed = "  y: Categorical(logits=sum(e[z[t]] over t))"
    plan = plan_spec(text(latent, observed, params="  a: [K]\n  e: [K, V]"))
    assert plan.latent("z").strategy == "reinforce"
    assert "stretch" in dict(plan.latent("z").declined)["enumeration"]


def test_collapsed_parent_takes_the_closed_form_of_the_divergence_away():
    source = """lvspec: 1
name: model
sizes:
  K: 3
  D: 2
params:
  a: [K]
  m: [K, D]
latent:
  c: Categorical(logits=a)
  z: Normal(m[c], 1)
observed:
  x: Normal(exp(z), 1)
"""
    plan = plan_spec(source)
    assert plan.latent("c").treatment == "collapsed"
    assert plan.latent("z").kl == "sampled" and "summed out" in plan.latent("z").kl_why


@pytest.mark.parametrize(
    "latent, observed, words",
    [
        ("  z: Categorical(logits=a)", "  x[t]: Delta(a[z])", "no engine"),
        ("  z: TruncatedGeometric(0.5, 4)", "  x[t]: Categorical(logits=a)", "no engine"),
    ],
)
def test_what_has_no_engine_yet_is_declined_in_plain_words(latent, observed, words):
    with pytest.raises(SpecError) as caught:
        plan_spec(text(latent, observed))
    assert words in str(caught.value)


def test_an_average_is_not_taken_inside_a_sum_across_its_sites():
    """E_q(w_1..w_D) log Σ_c Π_d f(c, w_d) does not split over d: w is drawn."""
    source = """lvspec: 1
name: model
sizes:
  K: 3
  V: 4
plates:
  d: sequence
params:
  a: [K]
  b: [K, K]
  e: [K, K, V]
  q: [V, K]
latent:
  w[d]: Categorical(logits=a)
  z[d]: Categorical(logits=b[w[d]])
  c: Categorical(logits=a)
observed:
  x[d]: Categorical(logits=e[z[d], c])
guide:
  w[d]: Categorical(logits=q[x[d]])
"""
    plan = plan_spec(source)
    assert plan.latent("w").strategy == "reinforce"
    assert "across sites" in dict(plan.latent("w").declined)["enumeration"]
    assert plan.latent("z").treatment == plan.latent("c").treatment == "collapsed"


# ---------------------------------------------------------------- CRF guides
LINEAR = "guide:\n  z over t: LinearChain(unary=a, pairwise=b)"


def guided(latent=CHAIN, observed=EMISSION, guide=LINEAR, **more):
    return plan_spec(text(latent, observed, guide, **more))


def test_a_chain_under_a_labelling_is_averaged_by_its_marginals():
    latent = guided().latent("z")
    assert (latent.strategy, latent.treatment, latent.exact, latent.kl) == ("marginals", "enumerated", True, "analytic")
    assert "one structure" in dict(latent.declined)["enumeration"]
    asked = guided(infer="infer:\n  z: reinforce").latent("z")
    assert asked.kl_why.startswith("the entropy of q(z) is exact") and "H(q) exactly" in asked.why
    assert dict(asked.declined)["marginals"] == "legal, but `infer` asks for reinforce"


@pytest.mark.parametrize(
    ("latent", "observed", "guide", "words"),
    [
        (
            CHAIN,
            "  y: Categorical(logits=sum(e[z[t]] over t))",
            LINEAR,
            "y reads more of z than two neighbouring sites",
        ),
        (
            "  z[0]: Categorical(logits=a)\n  z[1]: Categorical(logits=b[z[0]])\n  z[t]: Categorical(logits=b[z[t-1]] + b[z[t-2]])",
            EMISSION,
            LINEAR,
            "z reads more of z than two neighbouring sites",
        ),
        (
            CHAIN,
            EMISSION,
            "guide:\n  z over t: SemiMarkov(start=a, transition=b, length=b)",
            "do not tell its segments",
        ),
        (
            CHAIN + "\n  y[t]: Categorical(logits=b[z[t]])",
            EMISSION + "\n  w[t]: Categorical(logits=e[y[t]])",
            LINEAR + "\n  y[t]: Categorical(logits=b[z[t]])",
            "q(y) reads z, so z is drawn",
        ),
        ("  z over t: SemiMarkov(start=a, transition=b, length=b)", EMISSION, LINEAR, "log p(z) is no sum over sites"),
        (
            CHAIN + "\n  y over t: LinearChain(unary=b[z[t]], pairwise=b)",
            "  x[t]: Categorical(logits=e[y[t]])",
            LINEAR,
            "its scores join every site of z",
        ),
    ],
)
def test_a_labelling_whose_marginals_do_not_suffice_is_drawn(latent, observed, guide, words):
    found = plan_spec(text(latent, observed, guide)).latent("z")
    assert found.strategy == "reinforce" and words in dict(found.declined)["marginals"]


def test_neighbours_need_a_guide_that_joins_them():
    source = text(
        "  z[0]: Categorical(logits=0 over t)\n  z[t]: Categorical(logits=equal(z[t-1], t) * c[x[j]] over j)",
        "  x[t]: Categorical(logits=d)",
        "guide:\n  z over t: TreeCRF(spans=c[x[j]] over j)",
        params="  c: [V]\n  d: [V]",
        plates="  t: sequence\n  j: copy(t)",
    )
    found = plan_spec(source).latent("z")
    assert "TreeCRF has marginals of single ones" in dict(found.declined)["marginals"]


@pytest.mark.parametrize(
    ("guide", "infer", "words"),
    [
        ("guide:\n  z over t: DMV(root=a, stop=s, attach=r)", "", "a latent yield has no engine"),
        ("", "infer:\n  z: reinforce", "write its q in `guide:`"),
        (LINEAR, "infer:\n  z: reinforce\n  bound: iwae(samples=3, gradient=sticking_the_landing)", "is a CRF"),
        (LINEAR, "infer:\n  z: enumeration", "one structure"),
    ],
)
def test_what_no_crf_guide_does_is_declined(guide, infer, words):
    latent = "  z over t: LinearChain(unary=a, pairwise=b)"
    params = "  a: [K]\n  b: [K, K]\n  e: [K, V]\n  s: [K, 2, 2, 2]\n  r: [K, 2, K]"
    with pytest.raises(SpecError) as caught:
        plan_spec(text(latent, EMISSION, guide, params=params, infer=infer))
    assert words in str(caught.value)


def test_a_guide_of_trees_that_are_summed_is_refused():
    source = text(
        "  c: Categorical(logits=a)",
        "  x over t: DMV(root=a, stop=s, attach=r) with tree",
        "guide:\n  tree over t: TreeCRF(spans=a[x[j]] over j)",
        params="  a: [K]\n  s: [K, 2, 2, 2]\n  r: [K, 2, K]",
        plates="  t: sequence\n  j: copy(t)",
    )
    with pytest.raises(SpecError, match="summed exactly"):
        plan_spec(source)


def test_a_latent_that_no_strategy_takes_is_told_reason_by_reason():
    """Poisson counts under a binomial: one line says so, each strategy's reason is a note, and what would mend it the help."""
    source = "lvspec: 1\nparams: {a: [], p: []}\nlatent:\n  n: Poisson(exp(a))\nobserved:\n  y: Binomial(n, logits=p)\n"
    with pytest.raises(SpecError) as caught:
        plan_spec(source)
    (found,) = caught.value.diagnostics
    assert found.code == "no-strategy" and len(found.message) < 100
    assert found.help.startswith("write its q in `guide:`")
    assert {name for _, note in found.notes for name in note.split(": ")[0].split(", ")} >= {"enumeration", "reinforce"}
    assert all(row.startswith(("  note: ", "  help: ")) for row in str(caught.value).splitlines()[5:])


def test_advice_of_a_part_without_engine_is_in_the_language():
    source = "lvspec: 1\nplates: {t: sequence}\ngiven:\n  u[t]: real\nlet:\n  h[t]: sum(u[<t])\nobserved:\n  x[t]: Normal(h[t], 1)\n"
    with pytest.raises(SpecError, match="a recurrent network reads one"):
        plan_spec(source)


TABLE = "lvspec: 1\nsizes: {K: 30}\nparams: {e: [K]}\nobserved:\n  x: Normal(e[7], 1)\n"


def test_a_row_is_held_against_the_size_that_the_command_line_sets():
    assert plan_spec(TABLE, sizes={"K": 8}).sizes
    with pytest.raises(SpecError, match="entry 7 of an axis that has the entries 0 to 6"):
        plan_spec(TABLE, sizes={"K": 7})


def test_segments_above_a_nested_bag_have_no_lean_memory():
    source = """lvspec: 1
sizes: {K: 2, L: 2, V: 3}
plates: {s: sequence, w: bag(within=s)}
params: {start: [K], move: [K, K], length: [K, L], e: [K, V]}
latent:
  z over s: SemiMarkov(start=start, transition=move, length=length)
observed:
  x[s, w]: Categorical(logits=e[z[s]])
"""
    assert plan_spec(source).latent("z").treatment == "collapsed"
    with pytest.raises(SpecError, match="`memory: lean` is for chains of states") as caught:
        plan_spec(source, overrides={"memory": "lean"})
    assert caught.value.diagnostics[0].code == "override-refused"


def test_a_row_may_lie_beyond_a_size_that_only_the_data_know():
    """What a price assumes of `features(x)` decides nothing."""
    source = TABLE.replace("K: 30", "K: features(x)").replace("e[7], 1)", "e[700], 1)[K]")
    assert plan_spec(source) and plan_spec(source, sizes={"K": 784})
    with pytest.raises(SpecError, match="entry 700 of an axis"):
        plan_spec(source, sizes={"K": 64})


@pytest.mark.parametrize(
    "parts",
    [
        'params: {a: ["K - 5"]}\nobserved:\n  x: Normal(sum(a), 1)\n',
        'plates: {i: "K - 5"}\nobserved:\n  x[i]: Normal(0, 1)\n',
        "params: {a: []}\nobserved:\n  x: Normal(a, 1)[K - 5]\n",
        "params: {a: [K]}\nnetworks:\n  f: Linear(K, K - 5)\nobserved:\n  x: Normal(f(a), 1)\n",
    ],
)
def test_an_axis_has_an_entry_at_the_sizes_that_are_said(parts):
    source = f"lvspec: 1\nsizes: {{K: 3}}\n{parts}"
    assert plan_spec(source, sizes={"K": 6})
    with pytest.raises(SpecError, match="`K - 5` is -2 at K = 3, and an axis has at least one entry"):
        plan_spec(source)


def test_a_latent_beside_nothing_observed_has_no_factor_at_an_optimum():
    """The slope of its bound in q would be that of nothing."""
    source = "lvspec: 1\nparams: {a: []}\nlatent:\n  p: Beta(softplus(a), 2)\n"
    found = plan_spec(source).latent("p")
    assert found.strategy != "mean_field" and emit(plan_spec(source))
    assert "nothing is observed" in dict(found.declined)["mean_field"]


EXACT = "lvspec: 1\nname: m\nsizes: {K: 3}\nparams: {a: [K], m: [K]}\nlatent:\n  z: Categorical(logits=a)\nobserved:\n  x: Normal(m[z], 1)\n"


@pytest.mark.parametrize(
    ("settings", "idle"),
    [
        ("infer: {samples: 4}\ntrain: {kl_weight: 0.5}", ["`kl_weight` has", "`samples` has"]),
        ("infer: {bound: 'iwae(samples=5)'}\ntrain: {free_bits: node(0.2)}", ["`free_bits` has", "`bound` has"]),
        ("train: {kl_weight: {z: 0.5}}", ["`kl_weight: z` has"]),
        ("infer: {z: reinforce, samples: 4}\ntrain: {kl_weight: 0.5}", []),
    ],
)
def test_settings_that_change_nothing_are_told(settings, idle):
    found = [w for w in plan_spec(EXACT + settings + "\n").spec.warnings if w.code == "without-effect"]
    assert [w.message.split(" no effect")[0] for w in found] == idle


BESIDE_A_POINT = """lvspec: 1
name: model
sizes:
  K: 3
params:
  a: [K]
  m: [K]
latent:
  s: Normal(0, 1)
  z: PRIOR
observed:
  x: Normal(s + READ, 1)
guide:
  s: Delta(x)
  z: FACTOR
"""


@pytest.mark.parametrize(
    ("prior", "read", "factor", "mend", "mended"),
    [
        ("Categorical(logits=a)", "m[z]", "Categorical(logits=a * x)", "leave q(z) out of `guide:`", ""),
        ("Normal(0, 1)", "exp(z)", "Normal(x, 1)", "write `z: Delta(...)`", "  z: Delta(x)\n"),
    ],
)
def test_what_mends_a_q_beside_a_point_estimate_works(prior, read, factor, mend, mended):
    source = BESIDE_A_POINT.replace("PRIOR", prior).replace("READ", read)
    with pytest.raises(SpecError, match="s is a point estimate, and z has a q of its own") as caught:
        plan_spec(source.replace("FACTOR", factor))
    assert mend in str(caught.value)
    assert plan_spec(source.replace("  z: FACTOR\n", mended)).latent("s").treatment == "point"
