"""Logarithms, roots and quotients where there is nothing to take them of: beyond an example's last site, before the first one,
in an example without sites. They move no parameter: the gradient of a batch is that of its examples, each by itself."""

import pytest
import torch

from lvspec.driver import compile_spec

F = torch.float64
HEAD = "lvspec: 1\nname: edges\n"
GIVEN = f"""{HEAD}plates: {{t: sequence}}
given:
  n[t]: KIND
params: {{b: []}}
observed:
  x[t]: Normal(FORMULA, 1)
"""
FORMULAS = {
    "count": (
        "b * log(n[t])", "b / n[t]", "b * log(length(n))", "exp(b) * n[t] / sum(n[t] over t)", "b * log(sum(n))",
        "log(b * b * n[t])", "sqrt(b * b * n[t])", "abs(b * n[t]) ** 0.5", "b * log(max(n))", "n[t] ** 2 * b",
    ),
    "real": ("b * log(n[t])", "b / n[t]", "b * sqrt(n[t])", "n[t] ** b", "n[t] / sum(b * n[t] over t)", "log(n[t] / b ** 2)"),
    "positive": ("b * log(n[t])", "n[t] ** -b", "b * log(mean(n))", "b * log(last(n))", "sqrt(b * b * sum(n))", "b / first(n)"),
    "unit": ("b * log(n[t] / (1 - n[t]))",),
}  # fmt: skip
LENGTHS = ([3, 1, 2], [3, 0, 2])


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return torch.stack([p.grad.sum() for p in model.parameters()])


def alone(batch, row, lengths):
    plates = {"t": lengths[row]}
    return {k: v[row : row + 1, : plates["t"]] for k, v in batch.items()}


def assert_as_alone(model, batch, lengths):
    found = gradients(model, len(lengths) * model({**batch, "t": torch.tensor(lengths)}).loss)
    rows = [r for r, n in enumerate(lengths) if n]
    expected = gradients(model, sum(model(alone(batch, r, lengths)).loss for r in rows))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize(("kind", "formula"), [(k, f) for k, each in FORMULAS.items() for f in each])
def test_what_does_not_count_has_no_gradient(kind, formula, lengths):
    model = compile_spec(GIVEN.replace("KIND", kind).replace("FORMULA", formula)).Model().to(F)
    with torch.no_grad():
        model.b.fill_(0.7)
    n = torch.tensor([[1, 2, 3], [2, 0, 0], [4, 1, 0]]) if kind == "count" else torch.rand(3, 3, dtype=F) + 0.1
    n = n.clamp(max=0.9) if kind == "unit" else n
    assert_as_alone(model, {"x": torch.randn(3, 3, dtype=F), "n": n}, lengths)


# what reads earlier sites: at the first ones another clause counts
EARLIER = {
    "growth": "  x[0]: LogNormal(0, 1)\n  x[t]: LogNormal(b * log(x[t-1]), 1)\n",
    "quotients": "  x[0]: Normal(2, 1)\n  x[1]: Normal(b, 1)\n  x[t]: Normal(b * sqrt(x[t-1]) / x[t-2], 1)\n",
    "counts": "  x[0]: Poisson(2)\n  x[t]: Poisson(exp(b * log(x[t-1])))\n",
}


@pytest.mark.parametrize("lengths", ([3, 1, 2], [3, 2, 2]), ids=str)
@pytest.mark.parametrize("name", EARLIER)
def test_what_lies_before_the_first_site_has_no_gradient(name, lengths):
    text = f"{HEAD}plates: {{t: sequence}}\nparams: {{b: []}}\nobserved:\n{EARLIER[name]}"
    model = compile_spec(text).Model().to(F)
    x = torch.tensor([[1.0, 2, 3], [2, 4, 0], [3, 5, 0]], dtype=F)
    assert_as_alone(model, {"x": x}, lengths)


def test_an_autoregression_in_logarithms_is_what_it_says():
    text = f"{HEAD}plates: {{t: sequence}}\nparams: {{b: []}}\nobserved:\n{EARLIER['growth']}"
    model = compile_spec(text).Model().to(F)
    x = torch.rand(2, 3, dtype=F) + 0.5
    log_prob = model.log_prob({"x": x, "t": torch.tensor([3, 2])})
    (slope,) = torch.autograd.grad(log_prob.sum(), model.b)
    logs, b = x.log(), model.b.detach()
    gaps = [(r, t) for r, n in enumerate((3, 2)) for t in range(1, n)]
    torch.testing.assert_close(slope, sum((logs[r, t] - b * logs[r, t - 1]) * logs[r, t - 1] for r, t in gaps))


def test_a_latent_that_grows_from_its_last_value():
    text = f"""{HEAD}plates: {{t: sequence}}
params: {{b: [], w: []}}
latent:
  z[0]: LogNormal(0, 1)
  z[t]: LogNormal(b * log(z[t-1]), 1)
observed:
  c[t]: Poisson(z[t])
guide:
  z[t]: LogNormal(w * log(c[t]), 1)
"""
    model = compile_spec(text).Model().to(F)
    batch = {"c": torch.tensor([[1, 2, 3], [2, 4, 0]]), "t": torch.tensor([3, 2])}
    assert gradients(model, model(batch).loss).isfinite().all()


def test_nested_sites_that_are_not_there():
    text = f"""{HEAD}plates:
  d: sequence
  t: sequence(within=d)
given:
  n[d, t]: count
params: {{b: []}}
observed:
  x[d, t]: Normal(b * log(n[d, t] / sum(n[d, t] over t)), 1)
"""
    model = compile_spec(text).Model().to(F)
    x, n = torch.randn(2, 2, 3, dtype=F), torch.randint(1, 4, (2, 2, 3))
    lengths = torch.tensor([[3, 1], [0, 2]])
    n[0, 1, 1:] = n[1, 0] = 0
    found = gradients(model, 2 * model({"x": x, "n": n, "d": torch.tensor([2, 2]), "t": lengths}).loss)
    sites = [(x[r, d, :m], n[r, d, :m]) for r, row in enumerate(lengths.tolist()) for d, m in enumerate(row) if m]
    logs = [(a, torch.log(m / m.sum())) for a, m in sites]
    torch.testing.assert_close(found[0], sum(((model.b.detach() * m - a) * m).sum() for a, m in logs))


def test_an_exposure_of_zero_counts_nothing():
    text = f"{HEAD}plates: {{t: sequence}}\ngiven:\n  n[t]: count\nparams: {{b: []}}\nobserved:\n  x[t]: Poisson(n[t] * exp(b))\n"
    model = compile_spec(text).Model().to(F)
    with torch.no_grad():
        model.b.fill_(0.3)
    n, x = torch.tensor([[3, 0], [0, 2]]), torch.tensor([[2, 0], [1, 1]])
    found = model.log_prob({"n": n, "x": x})
    first = torch.distributions.Poisson(3 * model.b.exp()).log_prob(torch.tensor(2))
    torch.testing.assert_close(found, torch.stack([first, torch.tensor(-torch.inf, dtype=F)]))
    (slope,) = torch.autograd.grad(found[0], model.b)
    torch.testing.assert_close(slope, 2 - 3 * model.b.exp())
    assert not model.sample(4, {"n": n[:1].expand(4, -1)})["x"][:, 1].any()
