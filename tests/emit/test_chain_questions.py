"""Questions about chains, asked of emitted modules, against enumeration of every state sequence."""

import itertools
import math

import pytest
import torch

from lvspec.driver import compile_spec
from lvspec.runtime import BadBatch, Undefined, forecast
from lvspec.verify import verify
from lvspec.verify.oracle.draw import randomize
from tests.emit.small import batch_of, compiled, model_of, sizes_of

K, V = 3, 4
LENGTHS = (4, 2, 1, 0)


def hmm(forbidden=False):
    model = compiled("hmm", K=K, V=V).Model(V=V, K=K).double()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        if forbidden:  # no state follows itself
            model.transition.fill_diagonal_(-torch.inf)
    x = torch.randint(V, (len(LENGTHS), 4), generator=generator)
    return model, {"x": x, "t": torch.tensor(LENGTHS)}


def joint(model, x):
    """Every state sequence of one example with its log p(x, z)."""
    start, arc, emission = (p.detach().log_softmax(-1) for p in (model.start, model.transition, model.emission))
    found = {}
    for z in itertools.product(range(K), repeat=len(x)):
        score = sum(float(emission[s, v]) for s, v in zip(z, x, strict=True))
        score += float(start[z[0]]) if z else 0.0
        found[z] = score + sum(float(arc[a, b]) for a, b in itertools.pairwise(z))
    return found


def log_sum(scores):
    scores = list(scores)
    top = max(scores)
    return top + math.log(sum(math.exp(s - top) for s in scores)) if top > -math.inf else top


def rows(model, batch):
    return [joint(model, x[:n].tolist()) for x, n in zip(batch["x"], LENGTHS, strict=True)]


@pytest.mark.parametrize("k", [1, 5, 100])
@pytest.mark.parametrize("forbidden", [False, True])
def test_k_best_sequences_are_in_order_and_complete(k, forbidden):
    model, batch = hmm(forbidden)
    scores, values = model.posterior(batch)["z"].k_best(k)
    assert scores.shape == (k, 4) and values.shape == (k, 4, 4)
    for row, (scored, length) in enumerate(zip(rows(model, batch), LENGTHS, strict=True)):
        best = sorted((s for s in scored.values() if s > -math.inf), reverse=True)[:k]
        expected = torch.tensor(best + [-math.inf] * (k - len(best)), dtype=torch.float64)
        torch.testing.assert_close(scores[:, row], expected, rtol=1e-9, atol=1e-9)
        sequences = [tuple(z[:length]) for z in values[: len(best), row].tolist()]
        assert len(set(sequences)) == len(best)
        for z, s in zip(sequences, best, strict=True):
            assert scored[z] == pytest.approx(s, rel=1e-9)


def test_first_of_the_best_is_the_mode():
    model, batch = hmm()
    answer = model.posterior(batch)["z"]
    assert torch.equal(answer.k_best(2)[1][0], answer.mode)


@pytest.mark.parametrize("forbidden", [False, True])
def test_filtered_states_know_the_sites_so_far(forbidden):
    model, batch = hmm(forbidden)
    found = model.posterior(batch)["z"].filtered
    for row, length in enumerate(LENGTHS):
        for t in range(length):
            prefix = joint(model, batch["x"][row, : t + 1].tolist())
            total = log_sum(prefix.values())
            for state in range(K):
                expected = math.exp(log_sum(s for z, s in prefix.items() if z[t] == state) - total)
                assert float(found[row, t, state]) == pytest.approx(expected, rel=1e-9)
        assert found[row, length:].abs().sum() == 0


MIXTURE = """
lvspec: 1
name: mixture
plates: {t: sequence}
params: {start: [3], transition: [3, 3], emission: [3, 4]}
latent:
  c: Bernoulli(probs=0.3)
  z[0]: Categorical(logits=start + 2 * c)
  z[t]: Categorical(logits=(1 + c) * transition[z[t-1]])
observed:
  x[t]: Categorical(logits=emission[z[t]])
"""


def mixture_so_far(model, x):
    """p(z_t given x) of the last site t of x, over every c and every state sequence."""
    start, arc, emission = (p.detach() for p in (model.start, model.transition, model.emission))
    weights = torch.zeros(K, dtype=torch.float64)
    for c, *z in itertools.product(range(2), *[range(K)] * len(x)):
        score = math.log(0.3 if c else 0.7) + float((start + 2 * c).log_softmax(0)[z[0]])
        score += sum(float(((1 + c) * arc).log_softmax(-1)[a, b]) for a, b in itertools.pairwise(z))
        weights[z[-1]] += math.exp(
            score + sum(float(emission.log_softmax(-1)[s, v]) for s, v in zip(z, x, strict=True))
        )
    return weights / weights.sum()


def test_states_so_far_of_chains_that_are_mixed_are_marginals_without_what_comes_later():
    torch.manual_seed(0)
    model, x = compile_spec(MIXTURE).Model().double(), torch.randint(V, (2, 3))
    posterior = model.posterior({"x": x})
    for name in "cz":  # the chain's value given c is no log-probability while its sites are looked at one by one
        with pytest.raises(Undefined, match="no other latent is summed around"):
            _ = posterior[name].filtered
    for t in range(3):
        hidden = model.posterior({"x": x, "x_observed": (torch.arange(3) <= t).expand(2, 3)})["z"].marginals[:, t]
        for row in range(2):
            expected = mixture_so_far(model, x[row, : t + 1].tolist())
            torch.testing.assert_close(hidden[row], expected, rtol=1e-9, atol=1e-12)


def test_verify_tells_of_states_so_far_that_are_wrong(monkeypatch):
    monkeypatch.setattr("lvspec.runtime.core.semiring.FilterSemiring.refuse_chains", lambda self, *terms: None)
    one = compile_spec(MIXTURE)
    report = verify(one.spec, one.plan, one.Model, draws=0)
    assert [c.name for c in report.checks if not c.passed] == ["z as known so far"]


def test_states_so_far_of_a_chain_beside_another_sum_are_its_own():
    both = MIXTURE.replace("  z[0]", "  d: Bernoulli(probs=0.5)\n  z[0]").replace(
        "observed:", "observed:\n  y: Poisson(1 + d)"
    )
    alone = compile_spec(
        MIXTURE.replace("  c: Bernoulli(probs=0.3)\n", "").replace("+ 2 * c", "").replace("(1 + c) * ", "")
    )
    beside = compile_spec(
        both.replace("  c: Bernoulli(probs=0.3)\n", "").replace("+ 2 * c", "").replace("(1 + c) * ", "")
    )
    first, second = alone.Model().double(), beside.Model().double()
    second.load_state_dict(first.state_dict())
    x = torch.randint(V, (2, 3))
    expected = first.posterior({"x": x})["z"].filtered
    assert torch.equal(second.posterior({"x": x, "y": torch.tensor([0, 3])})["z"].filtered, expected)


def test_states_so_far_of_labels_that_are_normalised_over_all_sites_are_refused():
    spec = """
lvspec: 1
name: crf
plates: {t: sequence}
params: {unary: [3], pairwise: [3, 3], emission: [3, 4]}
latent:
  z over t: LinearChain(unary=unary, pairwise=pairwise)
observed:
  x[t]: Categorical(logits=emission[z[t]])
"""
    answer = compile_spec(spec).Model().posterior({"x": torch.tensor([[0, 2, 1]])})["z"]
    with pytest.raises(Undefined, match="normalised over all sites"):
        _ = answer.filtered


@pytest.mark.parametrize("forbidden", [False, True])
def test_number_of_possible_sequences(forbidden):
    model, batch = hmm(forbidden)
    counts = model.posterior(batch)["z"].log_count.exp()
    expected = [sum(s > -math.inf for s in scored.values()) for scored in rows(model, batch)]
    assert counts.tolist() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("observed", [False, True])
def test_forecast_of_the_next_symbol(observed):
    model, batch = hmm()
    if observed:
        batch["x_observed"] = torch.ones(4, 4, dtype=torch.bool)
    found = forecast(model.log_prob, batch, "x", "t", V)
    for row, length in enumerate(LENGTHS):
        x = batch["x"][row, :length].tolist()
        total = log_sum(joint(model, x).values())
        for v in range(V):
            assert float(found[row, v]) == pytest.approx(log_sum(joint(model, [*x, v]).values()) - total, rel=1e-9)
    assert torch.allclose(found.exp().sum(1), torch.ones(4, dtype=torch.float64))


def test_forecast_takes_truths_as_numbers_where_the_module_does():
    text = "lvspec: 1\nname: coins\nplates: {t: sequence}\nparams: {a: []}\nobserved:\n  y[t]: Bernoulli(logits=a)\n"
    model, y = compile_spec(text).Model().double(), torch.tensor([[1, 0, 1]])
    found = forecast(model.log_prob, {"y": y.double()}, "y", "t", 2)
    torch.testing.assert_close(found, forecast(model.log_prob, {"y": y}, "y", "t", 2), rtol=0, atol=0)


def test_next_state_is_the_posterior_of_a_site_that_nothing_is_observed_at():
    model, batch = hmm()
    longer = {"x": torch.nn.functional.pad(batch["x"], (0, 1)), "t": batch["t"] + 1}
    longer["x_observed"] = torch.arange(5) < batch["t"].unsqueeze(1)
    found = model.posterior(longer)["z"].marginals
    arc = model.transition.detach().softmax(-1)
    for row, length in enumerate(LENGTHS):
        now = model.posterior(batch)["z"].filtered[row, length - 1] @ arc if length else model.start.softmax(-1)
        torch.testing.assert_close(found[row, length], now.detach(), rtol=1e-9, atol=1e-9)


def test_prepared_batch_is_refused():
    model, batch = hmm()
    with pytest.raises(ValueError, match="not prepared"):
        forecast(model.log_prob, model.prepare(batch), "x", "t", V)
    with pytest.raises(ValueError, match="of one symbol along `t`, .* `x` has the shape"):
        forecast(model.log_prob, {**batch, "x": batch["x"].unsqueeze(1)}, "x", "t", V)


def test_forecast_is_of_all_values():
    model, batch = hmm()
    assert torch.equal(forecast(model.log_prob, batch, "x", "t"), forecast(model.log_prob, batch, "x", "t", V))
    for few in (V - 1, V + 1):
        with pytest.raises(ValueError, match=f"`x` has {V} values, and forecast was asked for {few}"):
            forecast(model.log_prob, batch, "x", "t", few)
    text = "lvspec: 1\nname: counts\nplates: {t: sequence}\nobserved:\n  x[t]: %s\n"
    flags = compile_spec(text % "Bernoulli(probs=0.25)").Model()
    found = forecast(flags.log_prob, {"x": torch.zeros(1, 2)}, "x", "t")
    assert found.exp()[0].tolist() == pytest.approx([0.75, 0.25])
    counts = compile_spec(text % "Poisson(3)").Model()
    with pytest.raises(ValueError, match="a number of values that is known, and `x` has none"):
        forecast(counts.log_prob, {"x": torch.zeros(1, 2)}, "x", "t", 5)


def test_what_else_varies_has_one_site_more_than_is_forecast_from():
    text = "lvspec: 1\nname: told\nsizes: {V: 3}\nplates: {t: sequence}\ngiven:\n  u[t]: real[2]\nparams: {W: [V, 2]}\n"
    model = compile_spec(text + "observed:\n  x[t]: Categorical(logits=matmul(W, u[t]))\n").Model().double()
    x, u = torch.randint(3, (2, 4)), torch.randn(2, 5, 2, dtype=torch.float64)
    found = forecast(model.log_prob, {"x": x, "u": u}, "x", "t", 3)
    expected = (u[:, 4] @ model.W.detach().mT).log_softmax(-1)
    assert found.numpy() == pytest.approx(expected.numpy(), abs=1e-12)
    with pytest.raises(
        BadBatch, match="forecast adds a site to `x`, and whatever else varies along `t` has one site more, 5"
    ):
        forecast(model.log_prob, {"x": x, "u": u[:, :4]}, "x", "t", 3)


def test_sums_that_are_multiplied_have_no_k_best():
    model, batch = model_of("naive_bayes"), batch_of("naive_bayes")
    with pytest.raises(Undefined, match="one chain"):
        next(iter(model.posterior(batch).values())).k_best(2)


def test_factorial_chain_is_one_chain():
    model = model_of("factorial_hmm").double()
    batch = batch_of("factorial_hmm", dtype=torch.float64)
    answer = model.posterior(batch)["z"]
    scores, values = answer.k_best(3)
    assert torch.equal(values[0], answer.mode)
    L = sizes_of("factorial_hmm")["L"]
    given = {**batch, "z_observed": torch.ones(*batch["x"].shape[:2], L, dtype=torch.bool)}
    for i in range(3):
        fits = model.log_prob({**given, "z": values[i]})
        here = scores[i] > -torch.inf
        torch.testing.assert_close(fits[here], scores[i][here], rtol=1e-9, atol=1e-9)
    assert (scores[:-1] >= scores[1:]).all()


SEGMENTS = """
lvspec: 1
name: runs
sizes: {K: 2, L: 2, V: 3}
plates: {t: sequence}
params: {start: [K], transition: [K, K], length: [K, L], emission: [K, V]}
latent:
  z over t: SemiMarkov(start=start, transition=transition, length=length)
observed:
  x[t]: Categorical(logits=emission[z[t]])
"""


def test_forecast_of_what_is_normalised_given_its_length_is_a_distribution():
    """p(x_3 = v | x_1 x_2, three sites), by log p of all sequences of three; a site that was missing beyond the length is none."""
    model = compile_spec(SEGMENTS).Model().double()
    randomize(model, torch.Generator().manual_seed(0))
    batch = {"x": torch.tensor([[0, 1, 2], [2, 1, 0]]), "t": torch.tensor([2, 3])}
    seen = {**batch, "x_observed": torch.tensor([[True, True, False], [True, True, True]])}
    for one in (batch, seen):
        found = forecast(model.log_prob, one, "x", "t", 3)
        for row, start in enumerate(([0, 1], [2, 1, 0])):
            longer = torch.tensor([[*start, v] for v in range(3)])
            torch.testing.assert_close(found[row], model.log_prob({"x": longer}).log_softmax(0))
        torch.testing.assert_close(found.exp().sum(1), torch.ones(2, dtype=torch.float64))


APART = """
lvspec: 1
name: apart
sizes: {K: 2, V: 3}
plates: {t: sequence}
params: {start: [K], move: [K, K], emission: [K, V], scores: [K], loc: []}
latent:
  %s
observed:
  x[t]: Categorical(logits=emission[z[t]])
  y: Normal(loc, 1)
  m[t]: Poisson(exp(loc))
"""
CHAIN = "z[0]: Categorical(logits=start)\n  z[t]: Categorical(logits=move[z[t-1]])"
LABELS = "z over t: LinearChain(unary=scores, pairwise=move)"


@pytest.mark.parametrize(
    "latent", [CHAIN, LABELS, "z over t: SemiMarkov(start=start, transition=move, length=emission)"]
)
def test_what_no_latent_reaches_is_no_assignment(latent):
    model = compile_spec(APART % latent).Model().double()
    batch = {"x": torch.tensor([[0, 2, 1], [1, 0, 0]]), "y": torch.tensor([4.0, 2.0]).double()}
    batch |= {"m": torch.tensor([[1, 0, 2], [1, 0, 0]]), "t": torch.tensor([3, 0])}
    answer = model.posterior(batch)["z"]
    ways = (
        2**3 if "Semi" not in latent else 2 * 3**2
    )  # each next site: the other state, or the same one with a border or without
    torch.testing.assert_close(answer.log_count.exp(), torch.tensor([ways, 1.0]).double())
    scores = answer.k_best(ways + 1)[0]
    torch.testing.assert_close(scores.logsumexp(0), model.log_prob(batch))
    assert (scores > -torch.inf).sum(0).tolist() == [ways, 1]


@pytest.mark.parametrize(
    "latent", [CHAIN, LABELS, "z over t: SemiMarkov(start=start, transition=move, length=emission)"]
)
def test_a_batch_without_a_site_has_one_assignment(latent):
    model = compile_spec(APART % latent).Model().double()
    batch = {"x": torch.zeros(2, 0).long(), "m": torch.zeros(2, 0).long(), "y": torch.tensor([4.0, 2.0]).double()}
    answer = model.posterior(batch)["z"]
    torch.testing.assert_close(answer.log_count, torch.zeros(2).double())
    scores, values = answer.k_best(2)
    torch.testing.assert_close(scores, torch.stack([model.log_prob(batch), torch.full((2,), -torch.inf).double()]))
    assert values.shape == (2, 2, 0)
