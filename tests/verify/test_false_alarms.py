"""Models that are compiled rightly, about which the verifier might find fault with its own draws."""

import pytest

from lvspec.driver import compile_spec, plan_spec, recompile
from lvspec.load import load_module
from lvspec.verify import pins, render, shrink, verify
from lvspec.verify.checks.subject import Subject
from lvspec.verify.random_specs.relations import exchanged

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
    "what is given at fewer sites than samples might have": """
sizes: {A: 2, V: 2, K: 2}
plates: {t: sequence, f: sequence}
given: {"frame[f]": "real[A]", "u[t]": token(V)}
params: {w: [V, A], b: [A], e: [K, V, V], p: [K]}
latent: {z: Categorical(logits=p)}
observed:
  x over t: CTC(logits=matmul(w, frame[f]) over f, blank=dot(b, frame[f]) over f)
  y[t]: Categorical(logits=e[z, u[t]])
""",
    "a density so narrow that its logarithm takes the digits of the others": """
sizes: {D: 2, K: 3, V: 3}
params: {a: [D], root: {shape: [D, D], init: "eye(0.00001)", frozen: true}, p: [K], e: [K, V]}
latent: {z: Categorical(logits=p)}
observed:
  y: MultivariateNormal(a, scale_tril=root)
  x: Categorical(logits=e[z])
""",
    "tries that are given": """
plates: {i: bag}
params: {a: []}
given: {"n[i]": count}
observed: {"y[i]": "Binomial(n[i], logits=a)"}
""",
    "logarithms of counts, and of earlier values": """
plates: {t: sequence}
params: {a: [], b: []}
given: {"n[t]": count}
observed:
  x[0]: LogNormal(0, 1)
  x[t]: LogNormal(b * log(x[t-1]) + a * log(n[t]) / n[t], 1)
""",
    "a share of a whole that may be empty": """
plates: {t: sequence}
params: {b: []}
given: {"n[t]": count}
let: {total: log(sum(n))}
observed:
  x[t]: Normal(b * n[t] / sum(n), 1)
  y: Normal(b * total + sqrt(length(n)), 1)
""",
    "a covariance that stands still": """
sizes: {D: 2}
params: {m: [D], S: {shape: [D, D], init: "eye(2)", frozen: true}}
observed: {x: "MultivariateNormal(m, covariance_matrix=S)"}
""",
    "a covariance that is drawn": """
sizes: {D: 2}
plates: {i: bag}
params: {c: [D], S: [D, D]}
latent: {"global (mu, Sigma)": "NormalInverseWishart(c, 1, D + 2, scale_tril=S)"}
observed: {"x[i]": "MultivariateNormal(mu, covariance_matrix=Sigma)"}
""",
    "draws of a latent at all sites that there can be, beyond the length as well": """
sizes: {M: 3, K: 2}
plates: {i: {length: l + 1, max: M}}
params: {a: [M], b: [K], w: [K]}
latent: {l: "Categorical(logits=a)", "z[i]": "Categorical(logits=b)"}
observed: {y: "Normal(sum(w[z[i]] over i), 1)"}
""",
}
BETA = """
plates: {i: bag}
params: {a: [], b: [], c: []}
latent: {p: "Beta(2, 1)"}
observed: {"x[i]": "Normal(c * p, 1)"}
guide: {p: "Beta(softplus(a), softplus(b))"}
"""


def compiled(text):
    plan = plan_spec(f"lvspec: 1\n{text}")
    return recompile(plan.spec, shrink(plan.spec), pins(plan))


def report_of(text, draws=20_000):
    one = compiled(text)
    return verify(one.spec, one.plan, one.Model, seed=0, draws=draws)


@pytest.mark.parametrize("model", RIGHT)
def test_the_verifier_finds_no_fault_with_what_is_right(model):
    report = report_of(RIGHT[model])
    assert report.passed, render(report)


def test_150_variables_are_no_error():
    links = "".join(f"  z{i}: Categorical(logits=w[z{i - 1}])\n" for i in range(1, 149))
    latents = f"latent:\n  z0: Categorical(logits=s)\n{links}"
    one = compiled(
        f"sizes: {{K: 2}}\nparams: {{s: [K], w: [K, K]}}\n{latents}observed:\n  x: Categorical(logits=w[z148])\n"
    )
    report = verify(one.spec, one.plan, one.Model, draws=0, thorough=False)
    assert report.passed, render(report)


def test_the_gradient_through_a_beta_draw_is_compared():
    """Draws that do not move with the arguments of their q have the right value, and no gradient."""
    one = compiled(BETA)
    assert verify(one.spec, one.plan, one.Model, draws=0, thorough=False).passed
    still = one.source.replace(" = q_p.draw(p_noise)", " = q_p.draw(p_noise).detach()")
    assert still != one.source
    report = verify(one.spec, one.plan, load_module(still, one.spec, ()).Model, draws=0, thorough=False)
    wrong = [c.name for c in report.checks if not c.passed]
    assert wrong and all(name.startswith("gradient of the loss") for name in wrong), render(report)


def test_a_bag_whose_sites_are_read_by_number_has_an_order():
    """Elsewhere the order of a bag's sites must not matter, and that is asked of random specs."""
    text = "lvspec: 1\nplates: {{i: bag}}\nparams: {{a: []}}\nobserved: {{'y[i]': 'Normal(a{}, 1)'}}\n"
    found = []
    for slope in ("", " + 0.3 * i"):
        compiled = compile_spec(text.format(slope))
        found.append(exchanged(Subject.of(compiled.plan, compiled.Model, seed=0), 0))
    assert found[0] is not None and found[0][0] < 1e-12 and found[1] is None


def test_samples_of_an_integral_whose_prior_reads_words_are_not_held_against_one_prior():
    """Each draw has other words before a site, so that its latent has another mean."""
    one = compiled(
        "plates: {t: sequence}\nparams: {w: [], e: [3], s: []}\nnetworks: {words: 'Embedding(3, 1)'}\n"
        "latent: {'g[t]': 'Normal(w * words(x[t-1])[0], exp(s))', 'g[0]': 'Normal(0, 1)'}\n"
        "observed: {'x[t]': Categorical(logits=e)}\n"
    )
    report = verify(one.spec, one.plan, one.Model, draws=0, samples=2000)
    assert report.passed, render(report)
    assert any("an observation is read" in c.note for c in report.checks)
