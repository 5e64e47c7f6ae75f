"""Models that are compiled rightly, about which the verifier might find fault with its own draws."""

import pytest

from lvspec.driver import plan_spec, recompile
from lvspec.verify import pins, render, shrink, verify

RIGHT = {
    "a guide with zeros": """
sizes: {V: 4, H: 2}
plates: {t: sequence}
params: {table: [V, V]}
networks: {states: "GRU(V, H)", out: "Linear(H, V)", enter: "Embedding(V, V)"}
latent: {"z[t]": "Categorical(logits=out(states(enter(z[<t]))))"}
observed: {"x[t]": "Categorical(logits=table[z[t]])"}
guide: {"z[t]": "Categorical(probs=onehot(x[t]))"}
""",
}


def report_of(text, draws=20_000):
    plan = plan_spec(f"lvspec: 1\n{text}")
    one = recompile(plan.spec, shrink(plan.spec), pins(plan))
    return verify(one.spec, one.plan, one.Model, seed=0, draws=draws)


@pytest.mark.parametrize("model", RIGHT)
def test_the_verifier_finds_no_fault_with_what_is_right(model):
    report = report_of(RIGHT[model])
    assert report.passed, render(report)
