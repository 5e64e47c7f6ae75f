"""What `explain` says of a plan, made by hand here, and for the models of the zoo."""

import json
import re

import pytest

from lvspec.driver import plan_spec
from lvspec.errors import Source
from lvspec.explain import amount, as_data, as_text
from lvspec.ir.expr import Call, Dist, Number, VariableRef
from lvspec.ir.plan import Cost, LatentPlan, Plan
from lvspec.ir.spec import Clause, Plate, Spec, Variable
from lvspec.ir.types import Type
from lvspec.shipped import shipped

# what zoo.md promises without an override
CHOSEN = {
    "rnn_lm": {},
    "naive_bayes": {"z": "enumeration"},
    "naive_bayes_amortized": {"z": "enumeration"},
    "mixture_of_rnns": {"z": "enumeration"},
    "softmax_mixture_lm": {"z": "enumeration"},
    "hmm": {"z": "dynamic_programming"},
    "deep_hmm": {"z": "dynamic_programming"},
    "factorial_hmm": {"z": "dynamic_programming"},
    "gaussian_softmax": {"z": "reparameterization"},
    "vae": {"z": "reparameterization"},
    "sentence_vae": {"z": "reparameterization"},
    "gm_vae": {"c": "enumeration", "z": "reparameterization"},
    "discrete_vae": {"z": "reinforce"},
}


def node(name, role, body, plates=()):
    return Variable(name, role, plates, Type(plates=plates), (Clause(body),))


def normal(loc):
    return Dist("Normal", (("loc", loc), ("scale", Number(1))))


@pytest.fixture
def plan():
    """s given; z ~ N(s, 1); m = tanh(s); h = tanh(z); x[t] ~ N(h + m, 1)."""
    z, s, h, m = (VariableRef(name) for name in "zshm")
    variables = (
        Variable("s", "given", (), Type(), (Clause(None),)),
        node("z", "latent", normal(s)),
        node("m", "let", Call("tanh", (s,))),
        node("h", "let", Call("tanh", (z,))),
        node("x", "observed", normal(Call("add", (h, m))), ("t",)),
    )
    spec = Spec(Source("m.yaml", ""), "m", "M", "A small model.", (), (Plate("t", "sequence"),), (), (), variables, ())
    latent = LatentPlan(
        name="z",
        strategy="reparameterization",
        treatment="sampled",
        exact=False,
        biased=False,
        why="Normal has a pathwise gradient",
        cost=Cost(1_234_000, 2048),
        declined=(("enumeration", "its support is the real line"), ("conjugacy", "h is no linear function of z")),
        guide="written",
        kl="analytic",
    )
    sizes = (("D", 2), ("B", 32), ("|t|", 20))
    return Plan(spec, (latent,), (), (), (), "elbo", "E_q[log p(x|z)] - KL(q(z)||p(z))", 1, sizes, ("B", "|t|"))


def test_json_has_the_promised_shape(plan):
    data = json.loads(json.dumps(as_data(plan)))
    assert data["objective"] == "elbo"
    z = data["latents"]["z"]
    assert (z["strategy"], z["exact"]) == ("reparameterization", False)
    assert z["why"] == "Normal has a pathwise gradient"
    assert z["cost"] == {"flops": 1_234_000, "bytes": 2048, "learned_bytes": 0}
    assert z["declined"]["enumeration"] == "its support is the real line"


def test_nodes_stand_on_both_axes(plan):
    kinds = {name: (n["seen"], n["value"]) for name, n in as_data(plan)["nodes"].items()}
    assert kinds["z"] == ("latent", "random")
    assert kinds["x"] == ("observed", "random")
    assert kinds["h"] == ("latent", "deterministic")  # a latent reaches it
    assert kinds["m"] == ("observed", "deterministic")
    assert kinds["s"][0] == "observed"


def test_model_with_given_inputs_is_discriminative(plan):
    assert as_data(plan)["kind"] == "discriminative"
    assert "p(x, z | s)" in as_text(plan)


def test_text_says_all_of_it(plan):
    text = as_text(plan)
    assert plan.formula in text
    assert re.search(
        r"^z +reparameterization +sampled +no, unbiased +written +analytic +1.23 M +2 KiB$", text, re.MULTILINE
    )
    assert "not enumeration: its support is the real line" in text
    assert "not conjugacy: h is no linear function of z" in text
    assert "B = 32*" in text and "D = 2," in text
    assert max(map(len, text.split("\n"))) <= 110


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (999, "999"), (1000, "1 k"), (1234, "1.23 k"), (999_999, "1 M"), (2.5e9, "2.5 G")]
)
def test_amounts_have_three_figures(value, text):
    assert amount(value, 1000, ("", "k", "M", "G")) == text


@pytest.mark.parametrize("model", CHOSEN)
def test_model_of_the_zoo_gets_the_strategy_of_its_field(lvspec, model):
    code, out, err = lvspec("explain", shipped("specs") / f"{model}.yaml", "--json")
    assert code == 0, err
    assert {name: p["strategy"] for name, p in json.loads(out)["latents"].items()} == CHOSEN[model]


def test_sizes_set_on_the_command_line_move_the_price(lvspec):
    def flops(size):
        out = lvspec("explain", shipped("specs") / "hmm.yaml", "--json", "--set", f"sizes.K={size}")[1]
        return json.loads(out)["latents"]["z"]["cost"]["flops"]

    assert flops(90) > 2 * flops(30)


def test_price_names_can_be_set(lvspec):
    out = lvspec("explain", shipped("specs") / "hmm.yaml", "--json", "--set", "sizes.|t|=7", "--set", "sizes.B=3")[1]
    sizes = json.loads(out)["sizes"]
    assert (sizes["|t|"], sizes["B"]) == (7, 3)


def test_a_schedule_is_data_as_it_is_written():
    plan = plan_spec("""lvspec: 1
sizes: {K: 3}
params: {start: [K], mean: [K], q: [K]}
latent:
  z: Categorical(logits=start)
observed:
  x: Normal(dot(mean, onehot(z)), 1)
guide:
  z: Categorical(logits=q * x)
infer:
  z: gumbel_softmax(temperature=linear(1, 0.1, steps=100))
""")
    found = json.loads(json.dumps(as_data(plan)))["latents"]["z"]["options"]
    assert found["temperature"] == "linear(1, 0.1, steps=100)"


def test_the_prior_of_a_chain_is_that_of_all_its_sites():
    chain = """
lvspec: 1
name: walk
plates: {t: sequence}
params: {a: [], b: []}
latent:
  c: Normal(0, 1)
  z[0]: Normal(c, 1)
  z[t]: Normal(tanh(a * z[t-1]) + c, 1)
observed:
  x[t]: Poisson(exp(b * z[t]))
"""
    wanted = "E_q(c, z | x)[log p(x | z)] - KL(q(c | x) ‖ p(c)) - E_q(c | x)[KL(q(z | x) ‖ p(z | c))]"
    assert plan_spec(chain).formula == wanted


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("latent_attention_elbo", "E_q(a | x, s)[log p(x | a, s)] - KL(q(a | x, s) ‖ p(a | x[<t], s))"),
        ("compound_pcfg", "E_q(z | x)[log Σ_{tree} p(x, tree | z)] - KL(q(z | x) ‖ p(z))"),
        (
            "semi_supervised_vae",
            "E_q(y, z | x)[log p(x | y, z)] - KL(q(y | x) ‖ p(y)) - E_q(y | x)[KL(q(z | y, x) ‖ p(z))]",
        ),
    ],
)
def test_the_objective_says_what_its_densities_are_conditioned_on(name, wanted):
    assert plan_spec(shipped("specs") / f"{name}.yaml").formula == wanted
