"""Probabilities that are a sum of parts: an observed category reads one entry of each, and that is right to the ends."""

import pytest
import torch

from lvspec.driver import compile_spec
from lvspec.verify.checks.compare import verify
from tests.emit.lowering.largest import largest_of_a_step

COPYING = """
lvspec: 1
name: copying
sizes: {V: 6, E: 3}
plates: {m: sequence, t: sequence}
given:
  s[m]: token(V)
networks:
  words: Embedding(V, E)
  writer: RNN(E, E)
  gate: Linear(E, 3)
  output: Linear(E, V)
params: {b: []}
let:
  h[t]: writer(words(x[<t]))
  copy[t]: sigmoid(gate(h[t])[0])
  copied[t]: sum(softmax(dot(h[t], words(s[m])) over m) * onehot(s[m]) over m)
observed:
  x[t]: Categorical(probs=PROBS)WHERE
"""
NATURAL = "copy[t] * copied[t] + (1 - copy[t]) * softmax(output(h[t]))"
SPELLINGS = {
    "natural": NATURAL,
    "a let of its own": "mixed[t]",
    "three gates": "g[0] * copied[t] + g[1] * softmax(output(h[t])) + g[2] * bag where g = softmax(gate(h[t]))",
    "scaled": "exp(b) * copied[t] + softmax(output(h[t])) / 2",
    "nested": "copy[t] * copied[t] + (1 - copy[t]) * (copy[t] * softmax(output(h[t])) + (1 - copy[t]) * softmax(table[x[t-1]]))",
    "of each word": "sum(softmax(dot(h[t], words(s[m])) over m) * (0.5 * onehot(s[m]) + 0.5 * softmax(output(words(s[m])))) over m)",
    "weights without a softmax": "sum(exp(dot(h[t], words(s[m]))) * onehot(s[m]) over m) + 0.1 * softmax(output(h[t]))",
}


def spelled(probs, **sizes):
    probs, _, where = probs.partition(" where ")
    text = COPYING.replace("PROBS", probs).replace("WHERE", f" where {where}" if where else "")
    text = text.replace("observed:", f"  mixed[t]: {NATURAL}\n  bag: sum(onehot(s[m]) over m)\nobserved:")
    text = text.replace("params: {b: []}", "params: {b: [], table: [V, V]}")
    if "x[t-1]" in probs:
        text += "  x[0]: Categorical(logits=output(h[0]))\n"
    return compile_spec(text, sizes=sizes)


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_is_right_and_makes_no_vector_of_probabilities(name):
    compiled = spelled(SPELLINGS[name])
    summed = compiled.source.split("def log_marginal")[1].split("    def ")[0]
    assert "Categorical(" not in summed and "one_hot(" not in summed
    report = verify(compiled.spec, compiled.plan, compiled.Model)
    assert report.passed, report


def test_no_tensor_of_a_step_has_sites_sources_and_symbols():
    B, T, M, V = 4, 7, 9, 500
    model = spelled(NATURAL, V=V).Model(V=V)
    batch = {"x": torch.randint(V, (B, T)), "s": torch.randint(V, (B, M))}
    assert largest_of_a_step(model, batch) <= B * T * V


@pytest.mark.parametrize("latents", ["copy", "copy and position"])
def test_gates_and_positions_that_are_summed_are_right(latents):
    text = COPYING.replace("  copy[t]: sigmoid(gate(h[t])[0])\n", "")
    text = text.replace("observed:", "latent:\n  copy[t]: Bernoulli(logits=gate(h[t])[0])\nobserved:")
    if latents != "copy":
        text = text.replace("  copied[t]: sum(softmax(dot(h[t], words(s[m])) over m) * onehot(s[m]) over m)\n", "")
        text = text.replace("observed:", "  a[t]: Categorical(logits=dot(h[t], words(s[m])) over m)\nobserved:")
    probs = NATURAL if latents == "copy" else NATURAL.replace("copied[t]", "onehot(s[a[t]])")
    compiled = compile_spec(text.replace("PROBS", probs).replace("WHERE", ""))
    assert "log_mixture(" in compiled.source
    report = verify(compiled.spec, compiled.plan, compiled.Model)
    assert report.passed, report


def by_definition(model, s, x, gate):
    """log p(x) of one example from vectors of log-probabilities."""
    words = model.words.weight
    before = torch.cat([torch.tensor([model.V]), x[:-1]])
    h = model.writer(words[before][None])[0]
    shares = (h @ words[s].T).log_softmax(-1)
    ways = torch.where(s == torch.arange(model.V)[:, None], 0.0, -1e9)  # (V, M)
    copied = torch.logsumexp(shares[:, None] + ways, -1)
    logit = model.gate(h)[:, 0, None] if gate is None else gate
    log_copy, log_rest = torch.nn.functional.logsigmoid(logit), torch.nn.functional.logsigmoid(-logit)
    p = torch.logaddexp(log_copy + copied, log_rest + model.output(h).log_softmax(-1))
    return p.gather(1, x[:, None]).sum()


@pytest.mark.parametrize(
    ("gate", "output", "words"), [(60.0, 1.0, 1.0), (-60.0, 1.0, 1.0), (0.0, 300.0, 1.0), (3.0, 100.0, 12.0)]
)
def test_single_precision_holds_where_probabilities_would_be_nothing(gate, output, words):
    model = spelled(NATURAL).Model()
    with torch.no_grad():
        model.gate.bias.fill_(gate)
        model.gate.weight.zero_()
        model.output.weight.mul_(output)
        model.words.weight.mul_(words)
    s, x = torch.tensor([1, 2, 2, 4]), torch.tensor([2, 5, 1, 0, 4])  # 5 and 0 are no words of the source
    batch = {"x": x[None], "s": s[None]}
    found = model.log_prob(batch)
    model(batch).loss.backward()
    gradients = {n: p.grad.double() for n, p in model.named_parameters() if p.grad is not None}
    exact = model.double()
    exact.zero_grad()
    expected = by_definition(exact, s, x, None)
    (-expected).backward()
    assert torch.isfinite(expected)
    torch.testing.assert_close(found.double()[0], expected, rtol=1e-4, atol=1e-4)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, exact.get_parameter(name).grad, rtol=1e-3, atol=1e-4)


def test_a_gate_of_0_or_1_has_its_value_and_its_gradient():
    text = COPYING.replace("  copy[t]: sigmoid(gate(h[t])[0])\n", "")
    text = text.replace("given:", "given:\n  copy[t]: unit")
    model = compile_spec(text.replace("PROBS", NATURAL).replace("WHERE", "")).Model().double()
    s, x = torch.tensor([[1, 2, 2, 4]]), torch.tensor([[2, 5, 1]])
    gate = torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)
    found = {v: model.log_prob({"x": x, "s": s, "copy": gate + v * (1 - 2 * gate)}) for v in (0.0, 1e-6)}
    assert torch.isfinite(found[0.0]).all()
    torch.testing.assert_close(found[0.0], found[1e-6], rtol=0, atol=1e-3)
    batch = model.prepare({"x": x, "s": s, "copy": gate})
    batch["copy"].requires_grad_()
    (slope,) = torch.autograd.grad(model.log_marginal(batch).sum(), batch["copy"])
    assert torch.isfinite(slope).all() and (slope.abs() > 1e-3).all()
    step = found[1e-6] - found[0.0]
    torch.testing.assert_close(step, 1e-6 * (slope * (1 - 2 * gate)).sum(-1), rtol=1e-3, atol=0)


def test_a_source_without_words_leaves_the_vocabulary():
    model = spelled(NATURAL).Model().double()
    x = torch.tensor([[2, 5, 1]])
    found = model.log_prob({"x": x, "s": torch.zeros(1, 0, dtype=torch.long)})
    h = model.writer(model.words(torch.tensor([[model.V, 2, 5]])))
    expected = model.output(h).log_softmax(-1).gather(-1, x[..., None]).sum()
    torch.testing.assert_close(found[0], expected)
    model(dict(x=x, s=torch.zeros(1, 0, dtype=torch.long))).loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_a_latent_s_own_probabilities_are_right_and_have_a_name():
    text = COPYING.replace(
        "  x[t]: Categorical(probs=PROBS)WHERE\n", "  x[t]: Categorical(logits=output(words(z[t])))\n"
    )
    text = text.replace("words(x[<t])", "words(s[m])").replace("h[t]: writer(words(s[m]))", "h: last(writer(words(s)))")
    text = text.replace("h[t]", "h").replace("copy[t]", "copy").replace("copied[t]", "copied")
    prior = NATURAL.replace("h[t]", "h").replace("copy[t]", "copy").replace("copied[t]", "copied")
    compiled = compile_spec(text.replace("observed:", f"latent:\n  z[t]: Categorical(probs={prior})\nobserved:"))
    assert "probs_z = " in compiled.source
    report = verify(compiled.spec, compiled.plan, compiled.Model)
    assert report.passed, report


@pytest.mark.parametrize("strategy", ["gumbel_softmax(density=relaxed)", "relax", "enumeration"])
def test_a_latent_beside_a_softmax_is_right_however_it_is_drawn(strategy):
    text = (
        "lvspec: 1\nname: told\nsizes: {V: 4}\nparams: {w: [V], b: [V], e: [V]}\nlatent:\n  z: Categorical(logits=w)\n"
    )
    text += "observed:\n  x: Categorical(probs=0.3 * onehot(z) + 0.7 * softmax(b))\n  y: Normal(dot(onehot(z), e), 1)\n"
    compiled = compile_spec(text + f"guide:\n  z: Categorical(logits=b * y)\ninfer:\n  z: {strategy}\n")
    assert "log_mixture(" in compiled.source or "logits_from_probs(" in compiled.source
    report = verify(compiled.spec, compiled.plan, compiled.Model)
    assert report.passed, report


def test_a_softmax_of_a_table_is_normalised_as_logits_are():
    text = "params: {start: [K], e: [K, V]}\nlatent:\n  z: Categorical(probs=softmax(start))\nobserved:\n  x[t]: Categorical(probs=e_rows[z])\n"
    compiled = compile_spec(
        "lvspec: 1\nname: bags\nsizes: {K: 3, V: 5}\nplates: {t: bag}\nlet:\n  e_rows: softmax(e)\n" + text
    )
    assert "categorical_bag(self.e, x" in compiled.source and "logits_from_probs" not in compiled.source
    report = verify(compiled.spec, compiled.plan, compiled.Model)
    assert report.passed, report
