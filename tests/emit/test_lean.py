"""`infer: memory: lean`: the same answers, and a price that does not grow with the length."""

from textwrap import dedent

import pytest
import torch

from benchmarks.prices import peak_of
from lvspec.driver import compile_spec, plan_spec, recompile
from lvspec.verify import pins, render, shrink, verify
from lvspec.verify.oracle.draw import random_value
from tests import SPECS
from tests.emit.small import batch_of, gradients, model_of, sizes_of

CHAINS = ("hmm", "factorial_hmm", "deep_hmm")


def lean(name, model):
    spec = compile_spec(SPECS / f"{name}.yaml", sizes=sizes_of(name), overrides={"memory": "lean"})
    found = spec.Model(**sizes_of(name)).to(model.zero.dtype).eval()
    found.load_state_dict(model.state_dict())
    return spec, found


@pytest.mark.parametrize("name", CHAINS)
def test_lean_module_answers_as_the_other_one(name):
    model = model_of(name).double()
    spec, other = lean(name, model)
    assert 'memory="lean"' in spec.source
    batch = batch_of(name, dtype=torch.float64)
    expected, found = model(batch), other(batch)
    torch.testing.assert_close(found.log_prob, expected.log_prob, rtol=1e-9, atol=1e-9)
    wanted, got = gradients(model, expected.loss), gradients(other, found.loss)
    assert set(got) == set(wanted)
    for n in wanted:
        torch.testing.assert_close(got[n], wanted[n], rtol=1e-9, atol=1e-9)
    for z, answer in model.posterior(batch).items():
        lean_answer = other.posterior(batch)[z]
        torch.testing.assert_close(lean_answer.marginals, answer.marginals, rtol=1e-9, atol=1e-9)
        assert torch.equal(lean_answer.mode, answer.mode)
        torch.testing.assert_close(lean_answer.entropy, answer.entropy, rtol=1e-9, atol=1e-9)


def test_potentials_in_blocks_only_where_sites_are_computed_alone(tmp_path):
    """The emissions of hmm are; those of a model whose words are read by a network are not."""
    assert "SiteBlocks" in compile_spec(SPECS / "hmm.yaml", overrides={"memory": "lean"}).source
    assert "SiteBlocks" not in compile_spec(SPECS / "hmm.yaml").source
    text = """
        lvspec: 1
        sizes: {K: 3, V: vocabulary(x)}
        plates: {t: sequence}
        params: {start: [K], transition: [K, K], emission: [K, V]}
        networks:
          words: Embedding(V, 4)
          reader: GRU(4, V)
        latent:
          z[0]: Categorical(logits=start)
          z[t]: Categorical(logits=transition[z[t-1]])
        observed:
          x[t]: Categorical(logits=emission[z[t]] + reader(words(x[<t])))
    """
    file = tmp_path / "read_words.yaml"
    file.write_text(dedent(text))
    found = compile_spec(file, sizes={"V": 50}, overrides={"memory": "lean"}).source
    assert 'memory="lean"' in found and "SiteBlocks" not in found


def bytes_at(sites, **overrides):
    plan = plan_spec(SPECS / "hmm.yaml", sizes={"B": 8, "|t|": sites, "K": 256, "V": 1000}, overrides=overrides)
    return plan.eliminations[0].cost.bytes


def test_price_of_a_lean_chain_grows_with_the_root_of_the_length():
    assert bytes_at(100_000, budget_bytes=1e12, budget_flops=1e15) > 3 * 2**30
    assert bytes_at(100_000, memory="lean", budget_flops=1e15) < 2**27
    tables = 4 * (3 * 256 * 1000 + 256 * 256 + 256)  # of emissions, two gradients; of arcs and the start, one
    few, many = (bytes_at(t, memory="lean", budget_flops=1e15) - tables for t in (400, 40_000))
    assert 8 < many / few < 12


@pytest.mark.parametrize(
    ("name", "sizes"), [("hmm", {"K": 16, "V": 200}), ("factorial_hmm", {"K": 4, "D": 5}), ("deep_hmm", {})]
)
@pytest.mark.parametrize("sites", [100, 400])
def test_a_lean_step_stays_within_its_price(name, sizes, sites):
    compiled = compile_spec(
        SPECS / f"{name}.yaml",
        sizes={"B": 16, "|t|": sites, **sizes},
        overrides={"memory": "lean", "budget_flops": 1e15},
    )
    known = dict(compiled.plan.sizes)
    torch.manual_seed(0)
    model = compiled.Model(**{s.name: known[s.name] for s in compiled.spec.sizes})
    (x,) = compiled.spec.of_role("observed")
    shape = (16, sites, *(d.evaluate(known) for d in x.type.shape))
    batch = model.prepare({x.name: random_value(x.type.support, known, shape, torch.Generator().manual_seed(0))})
    batch = {n: v.float() if v.dtype == torch.float64 else v for n, v in batch.items()}
    assert peak_of(model, batch) < compiled.plan.step.bytes


@pytest.mark.parametrize("memory", ["", "infer: {memory: lean}\n"])
def test_chains_of_numbers_that_share_one_noise(memory):
    """A factorial chain whose means are numbers, and whose noise is a vector: x[t] has as many entries as the noise."""
    text = """lvspec: 1
sizes: {K: 2, L: 2, D: 3}
plates: {t: sequence, l: L}
params: {start: [L, K], move: [L, K, K], mean: [L, K], noise: [D]}
latent:
  z[0, l]: Categorical(logits=start[l])
  z[t, l]: Categorical(logits=move[l, z[t-1, l]])
observed:
  x[t]: Normal(sum(mean[l, z[t, l]] over l), softplus(noise))
"""
    plan = plan_spec(text + memory)
    one = recompile(plan.spec, shrink(plan.spec), pins(plan))
    assert ("lean" in one.source) == bool(memory)
    report = verify(one.spec, one.plan, one.Model, draws=0, few=1)
    assert report.passed, render(report)
