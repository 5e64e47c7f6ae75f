"""What several methods compute alike is one method that they call: the same numbers, from a text that says it once."""

import ast
from itertools import combinations

import pytest
import torch

from lvspec.driver import compile_spec
from lvspec.emit import module
from lvspec.emit.text.shared import Sharing
from lvspec.emit.text.statements import StatementReader
from lvspec.load import load_module
from tests.emit.small import NAMES, batch_of, compiled, model_of

SENTENCES = """lvspec: 1
sizes: {V: 5, E: 3, D: 2, K: 2}
plates: {t: sequence}
params: {prior: [K]}
networks: {words: "Embedding(V, E)", reader: "GRU(E, E)", judge: "Linear(E, K)", head: "Linear(E + K, 2*D)", out: "Linear(D, V)"}
latent:
  c: Categorical(logits=prior)
  z: Normal(0, 1)[D]
observed:
  x[t]: Categorical(logits=out(z))
guide:
  state: last(reader(words(x)))
  c: Categorical(logits=judge(state))
  z: Normal(loc, softplus(scale)) where loc, scale = split(head(concat(state, onehot(c))))
"""
TWO = '''
    def forward(self, batch, draws):
        """."""
        batch, samples = self.prepare(batch), self.samples
        x = batch["x"]
        # guide
        h = self.reader(x)  # (B, H)
        # (B,)
        a = f(h)
        first = {one}

        # model
        loss = g(a, first)
        return loss

    def log_weights(self, batch, draws, samples):
        """."""
        x = batch["x"]
        h_2 = self.reader(x)  # (B, H)
        b = f(h_2)
        second = {two}
        return k(b, second)
'''.strip("\n")


def methods_of(source):
    tree = ast.parse(source).body[-1]
    text = "\n".join(source.split("\n")[tree.body[1].lineno - 1 : tree.end_lineno])
    return StatementReader().methods(text)


def shared(text, how):
    reader = StatementReader()
    sharing = Sharing(reader, reader.methods(text), {"h"})
    how(sharing)
    return "\n\n".join("\n".join(m.lines()) for m in sharing.methods)


@pytest.mark.parametrize("name", NAMES)
def test_no_two_methods_compute_the_same_twice(name):
    """One statement alone may be there twice, of what is not q; what names an input, or refined parameters, is there where it is
    read."""
    for first, second in combinations(methods_of(compiled(name).source), 2):
        here, there = (
            {s.like for s in m.statements if s.moves and not (s.input or s.asks or s.given == {"parameters"})}
            for m in (first, second)
        )
        alike = [s for s in first.statements if s.like in here & there]
        assert len(alike) < 2, (first.name, second.name, alike)


def test_q_stands_once():
    source = compile_spec(SENTENCES).source
    for network in ("reader", "judge"):
        assert source.count(f"self.{network}(") == 1
    callers = {m.name for m in methods_of(source) if any("self.guide(batch)" in line for line in m.lines())}
    assert callers == {"forward", "log_weights", "encode"}


WITH_DRAWS = ["gm_vae", "deep_markov_model", "iaf_vae", "iwae", "compound_pcfg", "discrete_vae", "semi_amortized_vae"]
ALL_OF_THEM = [*WITH_DRAWS, "semi_supervised_vae", "variable_length_sequence", "autoencoder", "ctc", "dependency_crf"]


@pytest.mark.parametrize("name", ALL_OF_THEM)
def test_a_seed_gives_the_same_as_with_everything_written_out(name, monkeypatch):
    one = compiled(name)
    monkeypatch.setattr(module, "with_shared_methods", lambda body, plan: body)
    written_out = module.module_text(one.plan)
    assert written_out != one.source
    model = model_of(name)
    other = load_module(written_out, one.spec, ()).Model(
        **{s.name: dict(one.plan.sizes)[s.name] for s in one.spec.sizes}
    )
    other.eval().load_state_dict(model.state_dict())
    batch = batch_of(name)

    def answers(model):
        torch.manual_seed(0)
        objective = model(batch)
        objective.loss.backward()
        found = [objective.loss.detach(), *(p.grad for p in model.parameters())]
        if hasattr(model, "log_prob"):
            found.append(model.log_prob(batch).detach())
        if hasattr(model, "encode"):
            found += [a.detach() for q in model.encode(batch).values() for a in q.arguments.values()]
        return found

    for found, expected in zip(answers(model), answers(other), strict=True):
        assert (found is None) is (expected is None)
        if found is not None:
            torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)  # gradients add up in another order


def test_names_do_not_matter_and_the_first_ones_stay():
    text = shared(TWO.format(one="p(a)", two="p(b)"), Sharing.at_draws)
    assert text == TWO.format(one="p(a)", two="p(b)")  # nothing is drawn
    text = shared(TWO.format(one='draws["z"] + a', two='draws["z"] + b'), Sharing.at_draws)
    head, *rest = text.split("\n\n")
    assert head.split("\n")[2:] == [
        '        x = batch["x"]',
        "        h = self.reader(x)  # (B, H)",
        "        # (B,)",
        "        a = f(h)",
        '        first = draws["z"] + a',
        "        return a, first",
    ]
    assert "        a, first = self.at_draws(batch, draws)" in text
    assert "        b, second = self.at_draws(batch, draws)" in text


def test_draws_stay_in_their_order():
    """z is drawn alike, behind a draw that is not: it stays behind it, so that a seed means what it meant."""
    one, two = ('draws["y"]\n        z = draws["z"] + a', 'draws["w"]\n        z = draws["z"] + b')
    text = shared(TWO.format(one=one, two=two), Sharing.at_draws)
    assert "        a = self.at_draws(batch)" in text and text.count('z = draws["z"]') == 2


def test_a_draw_and_what_stands_in_for_it_are_one():
    """`if z is None` alone, or what it is asked of alone, moves nowhere."""
    one, two = (
        f'draws.get("z")\n        if {n} is None:\n            {n} = {f}(h)'
        for n, f in (("first", "p"), ("second", "q"))
    )
    text = shared(TWO.format(one=one, two=two.replace("(h)", "(h_2)")), Sharing.at_draws)
    assert text.count('draws.get("z")') == 2
    text = shared(TWO.format(one=one, two=two.replace("q(h)", "p(h_2)")), Sharing.at_draws)
    assert text.count('draws.get("z")') == text.count("if first is None:") == 1 and "if second" not in text


def test_a_value_that_is_replaced_is_not_taken_along_too_early():
    """`a` is read before it changes: only what comes before can move."""
    one = 'draws["z"] + a\n        early = g(a)\n        if first:\n            a = r(a)'
    two = 'draws["z"] + b\n        if second:\n            b = r(b)'
    text = shared(TWO.format(one=one, two=two), Sharing.at_draws)
    assert "return a, first" in text and text.count("a = r(a)") == text.count("b = r(b)") == 1


def test_a_method_gets_a_name_that_is_free():
    spec = SENTENCES.replace("judge", "at_draws").replace("c: Categorical(logits=prior)", "c: Normal(0, 1)[K]")
    spec = spec.replace("c: Categorical(logits=at_draws(state))", "c: Normal(at_draws(state), 1)")
    source = compile_spec(spec.replace("onehot(c)", "c")).source
    assert "self.at_draws = nn.Linear(E, K)" in source and "def at_draws_2(self, batch" in source
