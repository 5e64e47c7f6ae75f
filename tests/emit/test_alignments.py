"""Latents whose values are the sites of a ragged plate: closed forms, examples without a site, forms of specs."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lvspec.driver import compile_spec, plan_spec, recompile
from lvspec.errors import SpecError
from lvspec.verify import pins, render, shrink, verify

F64 = torch.float64
SIZES = {"V": 5, "V_source": 4}
HEAD = """
lvspec: 1
sizes: {V: vocabulary(x), V_source: vocabulary(s), E: 3, H: 4}
"""
ATTENTION = (
    HEAD
    + """
plates: {m: sequence, t: sequence}
given:
  s[m]: token(V_source)
networks:
  source: Embedding(V_source, E)
  reader: BiLSTM(E, H)
  words: Embedding(V, E)
  writer: LSTM(E, 2*H)
  output: Linear(4*H, V)
let:
  memory[m]: reader(source(s))
  h[t]: writer(words(x[<t]))
latent:
  a[t]: Categorical(logits=dot(h[t], memory[m]) over m)
observed:
  x[t]: Categorical(logits=output(concat(h[t], memory[a[t]])))
"""
)
GUIDED = (
    ATTENTION
    + """
guide:
  state[t]: scanner(words(x))[t]
  a[t]: Categorical(logits=dot(state[t], memory[m]) over m)
"""
).replace("  output:", "  scanner: BiLSTM(E, H)\n  output:")
NESTED = """
lvspec: 1
sizes: {V: vocabulary(x), C: 3}
plates: {d: sequence, m: sequence(within=d)}
given:
  s[d, m]: token(C)
params: {score: [C], table: [C, V]}
latent:
  a[d]: Categorical(logits=score[s[d, m]] over m)
observed:
  x[d]: Categorical(logits=table[s[d, a[d]]])
"""
POINTER = """
lvspec: 1
sizes: {C: 3, K: 2}
plates: {m: bag}
given:
  s[m]: token(C)
params: {prior: [K], score: [K, C]}
latent:
  z: Categorical(logits=prior)
observed:
  y: Categorical(logits=score[z, s[m]] over m)
"""
PER_EXAMPLE = """
lvspec: 1
sizes: {V: vocabulary(x), C: 3}
plates: {m: sequence, t: sequence}
given:
  s[m]: token(C)
params: {table: [C, V], start: [C]}
latent:
  a: Categorical(probs=softmax(start[s[m]] over m))
observed:
  x[t]: Categorical(logits=table[s[a]])
"""


def batch():
    """Lengths of sources and targets: both, fewer, no target, neither, no source."""
    generator = torch.Generator().manual_seed(0)
    s, x = torch.randint(4, (5, 3), generator=generator), torch.randint(5, (5, 4), generator=generator)
    return {"s": s, "x": x, "m": torch.tensor([3, 2, 3, 0, 0]), "t": torch.tensor([4, 1, 0, 0, 2])}


def model_of(name):
    torch.manual_seed(0)
    return compile_spec(f"specs/{name}.yaml", sizes=SIZES).Model(**SIZES).double()


def test_model_1_is_its_closed_form():
    model, data = model_of("ibm1"), batch()
    table = model.translation.softmax(-1)
    expected = []
    for s, x, m, t in zip(*(data[k].tolist() for k in ("s", "x", "m", "t")), strict=True):
        rows = [sum(table[s[j], x[i]] for j in range(m)) / m if m else torch.tensor(0.0) for i in range(t)]
        expected.append(sum((torch.log(row) for row in rows), torch.tensor(0.0, dtype=F64)))
    torch.testing.assert_close(model.log_prob(data), torch.stack(expected))


@pytest.mark.parametrize("name", ["ibm1", "hmm_alignment", "monotone_alignment"])
def test_an_example_without_a_source_is_impossible_unless_its_target_is_empty(name):
    model, data = model_of(name), batch()
    value = model.log_prob(data)
    assert value.isfinite().tolist() == [True, True, True, True, False] and value[4] == -math.inf
    assert value[2] == 0 and value[3] == 0
    model.zero_grad()
    value[:4].sum().backward()
    gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    model.log_prob({k: v[:4] for k, v in data.items()}).sum().backward()
    alone = [p.grad for p in model.parameters() if p.grad is not None]
    for found, expected in zip(gradients, alone, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", ["ibm1", "hmm_alignment", "monotone_alignment"])
def test_a_batch_without_any_source(name):
    model, data = model_of(name), batch()
    data = {k: v[3:] for k, v in data.items()} | {"s": torch.zeros(2, 0, dtype=torch.int64)}
    assert model.log_prob(data).tolist() == [0.0, -math.inf]


class Largest(TorchDispatchMode):
    """The most entries that a tensor had."""

    entries = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor):
            self.entries = max(self.entries, out.untyped_storage().nbytes() // out.element_size())
        return out


@pytest.mark.parametrize("name", ["ibm1", "hmm_alignment"])
def test_no_tensor_has_targets_positions_and_vocabulary(name):
    sizes = {"V": 50, "V_source": 40}
    model = compile_spec(f"specs/{name}.yaml", sizes=sizes).Model(**sizes)
    B, T, M = 8, 20, 10
    data = {"s": torch.randint(40, (B, M)), "x": torch.randint(50, (B, T))}
    with Largest() as seen:
        model(data).loss.backward()
    assert max(40 * 50, B * T * M) <= seen.entries < B * M * 50  # the table itself, and no row of it twice


FORMS = {
    "latent attention": (ATTENTION, {"a": ("enumeration", "collapsed")}),
    "latent attention under a guide": (GUIDED, {"a": ("enumeration", "enumerated")}),
    "a position drawn and scored": (GUIDED + "infer:\n  a: reinforce\n  samples: 2\n", {"a": ("reinforce", "sampled")}),
    "positions within a plate": (NESTED, {"a": ("enumeration", "collapsed")}),
    "an observed position": (POINTER, {"z": ("enumeration", "collapsed")}),
    "one position an example": (PER_EXAMPLE, {"a": ("enumeration", "collapsed")}),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_agree_with_brute_force(form):
    text, chosen = FORMS[form]
    plan = plan_spec(text)
    assert {p.name: (p.strategy, p.treatment) for p in plan.latents} == chosen
    compiled = recompile(plan.spec, shrink(plan.spec), pins(plan))
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=3, draws=0)
    assert report.passed, render(report)


DECLINED = {
    "the entries of a vector mixed": (
        ATTENTION.replace("dot(h[t], memory[m]) over m)", "softmax(score[t]))").replace(
            "let:", "let:\n  score[t]: dot(h[t], memory[m]) over m"
        ),
        "mixes the entries of a vector as long as the ragged plate m",
    ),
    "another family over a plate": (
        POINTER.replace("y: Categorical(", "y: OneHotCategorical("),
        "OneHotCategorical with an argument as long as the ragged plate m has no engine yet",
    ),
    "a draw without a guide": (ATTENTION + "infer:\n  a: reinforce\n", "a has a value for each site of plate m"),
}


@pytest.mark.parametrize("about", DECLINED)
def test_what_has_no_engine_is_declined_with_a_reason(about):
    text, reason = DECLINED[about]
    with pytest.raises(SpecError) as error:
        plan_spec(text)
    assert reason in str(error.value)


def test_a_ctc_model_is_torchs_loss():
    torch.manual_seed(0)
    sizes = {"V": 5, "V_source": 4, "E": 2, "H": 3}
    model = compile_spec("specs/ctc.yaml", sizes=sizes).Model(**sizes).double()
    data = {"s": torch.randint(4, (4, 9)), "x": torch.randint(5, (4, 3))}
    data |= {"m": torch.tensor([9, 7, 8, 6]), "t": torch.tensor([3, 1, 2, 3])}
    value = model.log_prob(data)
    h = model.reader(model.letters(data["s"]), data["m"])
    scores = torch.cat([model.symbol(h), model.pause(h)], -1).log_softmax(-1).transpose(0, 1)
    loss = torch.nn.functional.ctc_loss(scores, data["x"], data["m"], data["t"], blank=5, reduction="none")
    torch.testing.assert_close(value, -loss)
    names = [n for n, _ in model.named_parameters()]
    found = torch.autograd.grad(value.sum(), list(model.parameters()))
    expected = torch.autograd.grad(-loss.sum(), list(model.parameters()))
    for name, a, b in zip(names, found, expected, strict=True):
        torch.testing.assert_close(a, b, msg=lambda m, n=name: f"{n}: {m}")
    path = model.posterior(data)["alignment"]
    torch.testing.assert_close(path.log_partition, value)
