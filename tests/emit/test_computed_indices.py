"""Rows of tables that sums and differences of integers name, and vectors made of numbers: against joint sums and closed forms."""

from itertools import product
from math import exp, log

import pytest
import torch
from torch.distributions import MultivariateNormal

import lvspec
from lvspec.errors import SpecError

ROWS = """\
lvspec: 1
name: tables
sizes: {K: 3, V: 4}
plates: {t: sequence}
params: {p: [K], q: [K], sums: [2*K - 1, V], gaps: [2*K - 1, V], counts: [3, V]}
latent:
  a[t]: Categorical(logits=p)
  b[t]: Categorical(logits=q)
  u[t]: Bernoulli(probs=0.3)
  v[t]: Bernoulli(probs=0.6)
observed:
  x[t]: Categorical(logits=sums[a[t] + b[t]])
  y[t]: Categorical(logits=gaps[a[t] - b[t] + K - 1])
  w[t]: Categorical(logits=counts[u[t] + v[t]])
"""


def test_rows_that_sums_of_integers_name_are_those_of_a_joint_sum():
    torch.manual_seed(0)
    model = lvspec.compile_spec(ROWS).Model().double()
    batch = {name: torch.randint(4, (2, 3)) for name in "xyw"}
    table = {name: p.detach().log_softmax(-1) for name, p in model.named_parameters()}

    def site(x: int, y: int, w: int) -> float:
        states = product(range(3), range(3), (0, 1), (0, 1))
        return sum(
            exp(table["p"][a] + table["q"][b] + table["sums"][a + b, x] + table["gaps"][a - b + 2, y])
            * exp(table["counts"][u + v, w]) * (0.3 if u else 0.7) * (0.6 if v else 0.4)
            for a, b, u, v in states
        )  # fmt: skip

    expected = [sum(log(site(*(int(batch[n][i, t]) for n in "xyw"))) for t in range(3)) for i in range(2)]
    assert model.log_prob(batch).tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "index, ends",
    [("a[t] + b[t] + 1", "1 .. 2 * K - 1"), ("a[t] * b[t] + b[t]", "0 .. K * K - 1 * K"), ("a[t] - b[t]", "K - 1")],
)
def test_what_may_lie_beyond_the_axis_is_refused_with_its_ends(index, ends):
    with pytest.raises(SpecError) as caught:
        lvspec.compile_spec(ROWS.replace("sums[a[t] + b[t]]", f"sums[{index}]"))
    (problem,) = caught.value.diagnostics
    assert problem.code == "index-range" and ends in problem.message


def test_numbers_are_joined_to_a_vector_that_is_integrated():
    text = "lvspec: 1\nname: joined\nlatent:\n  u: Normal(0, 1)\n  v: Normal(u, 2)\n"
    compiled = lvspec.compile_spec(text + "observed:\n  y: Normal(concat(u, v - 1, u + v), 1)\n")
    assert [p.strategy for p in compiled.plan.latents] == ["joint_gaussian", "joint_gaussian"]
    y = torch.tensor([[1.0, 2.0, -1.0], [0.3, 0.1, 0.0]], dtype=torch.float64)
    matrix = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    prior = torch.tensor([[1.0, 1.0], [1.0, 5.0]], dtype=torch.float64)
    mean, noise = torch.tensor([0.0, -1.0, 0.0], dtype=torch.float64), torch.eye(3, dtype=torch.float64)
    expected = MultivariateNormal(mean, matrix @ prior @ matrix.T + noise).log_prob(y)
    assert compiled.Model().double().log_prob({"y": y}).tolist() == pytest.approx(expected.tolist(), abs=1e-12)


def test_a_sum_over_a_hundred_computed_variables_is_integrated():
    """s_i = s_(i-1) + z_i: what is observed of the last one has variance 1 + 150."""
    lets = ["  s0: z0", *(f"  s{i}: s{i - 1} + z{i}" for i in range(1, 150))]
    latents = [f"  z{i}: Normal(0, 1)" for i in range(150)]
    lines = ["lvspec: 1\nname: sums\nlatent:", *latents, "let:", *lets, "observed:\n  x: Normal(s149, 1)\n"]
    model = lvspec.compile_spec("\n".join(lines)).Model().double()
    x = torch.tensor([3.0, -20.0], dtype=torch.float64)
    expected = torch.distributions.Normal(torch.zeros((), dtype=torch.float64), 151**0.5).log_prob(x)
    assert model.log_prob({"x": x}).tolist() == pytest.approx(expected.tolist(), rel=1e-12)
