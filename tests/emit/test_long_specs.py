"""Specs of many lines: each computed variable is written once, whatever reads it, and text and time follow the lines."""

import math
from time import process_time

import pytest
import torch

import lvspec

HEADS = {
    "computed": ("params: {w: []}", "  a0: w", "  x: Normal({last}, 1)"),
    "of a latent": (
        "sizes: {K: 3}\nparams: {s: [K], m: [K]}\nlatent:\n  z: Categorical(logits=s)",
        "  a0: m[z]",
        "  x: Normal({last}, 1)",
    ),
    "along a chain": (
        "sizes: {K: 3}\nplates: {t: sequence}\nparams: {s: [K], A: [K, K], m: [K]}\nlatent:\n"
        "  z[0]: Categorical(logits=s)\n  z[t]: Categorical(logits=A[z[t-1]])",
        "  a0[t]: m[z[t]]",
        "  x[t]: Normal({last}, 1)",
    ),
}


def chained(kind: str, n: int) -> str:
    """n computed variables, each of which reads the one before twice."""
    head, first, observed = HEADS[kind]
    at = "[t]" if "[t]" in first else ""
    lets = [first, *(f"  a{i}{at}: tanh(0.3 * a{i - 1}{at}) + a{i - 1}{at}" for i in range(1, n))]
    last = observed.format(last=f"a{n - 1}{at}")
    return "\n".join(["lvspec: 1", "name: chained", head, "let:", *lets, "observed:", last]) + "\n"


@pytest.mark.parametrize("kind", HEADS)
def test_text_and_time_follow_the_computed_variables(kind):
    started = process_time()
    sizes = [len(lvspec.compile_spec(chained(kind, n)).source) for n in (100, 200, 400)]
    assert process_time() - started < 10  # two to the hundredth, if a definition took the place of a name
    assert sizes[2] - sizes[1] < 2.2 * (sizes[1] - sizes[0])


def test_two_hundred_computed_variables_have_the_value_that_they_say():
    model = lvspec.compile_spec(chained("computed", 200)).Model().double()
    value = model.w.item()
    for _ in range(199):
        value = math.tanh(0.3 * value) + value
    expected = -0.5 * (0.7 - value) ** 2 - 0.5 * math.log(2 * math.pi)
    assert model.log_prob({"x": torch.tensor([0.7], dtype=torch.float64)}).item() == pytest.approx(expected, rel=1e-12)


def test_computed_variables_of_a_guide_are_written_once():
    def spec(n: int) -> str:
        lets = ["  a0: x", *(f"  a{i}: tanh(a{i - 1}) + a{i - 1}" for i in range(1, n))]
        head = "lvspec: 1\nname: read\nsizes: {D: 2}\nnetworks: {f: 'Linear(D, D)', g: 'Linear(D, 2*D)'}\n"
        model = "latent:\n  z: Normal(0, 1)[D]\nobserved:\n  x: Normal(tanh(f(z)), 1)\nguide:\n"
        factor = f"  z: Normal(loc, softplus(scale)) where loc, scale = split(g(a{n - 1}))\n"
        return head + model + "\n".join(lets) + "\n" + factor

    sizes = [len(lvspec.compile_spec(spec(n)).source) for n in (100, 200, 400)]
    assert sizes[2] - sizes[1] < 2.2 * (sizes[1] - sizes[0])


LATENTS = {
    "a chain of Gaussians": ("Normal(0, 1)", "Normal(0.9 * {before}, 1)", "Normal({own}, 1)", None),
    "drawn under written guides": ("Normal(0, 1)", "Normal(0, 1)", "Normal(tanh({own}), 1)", "Normal({seen}, 1)"),
    "conjugate": ("Beta(2, 1)", "Beta(2, 1)", "Bernoulli(probs={own})", None),
    "summed under guides": (
        "Bernoulli(probs=0.3)",
        "Bernoulli(probs=0.3)",
        "Normal({own}, 1)",
        "Bernoulli(logits={seen})",
    ),
}


def many(kind: str, n: int) -> str:
    """n latents, each with an observed value of its own."""
    first, other, seen, guide = LATENTS[kind]
    lines = ["lvspec: 1", "name: many", "latent:", f"  z0: {first}"]
    lines += [f"  z{i}: {other.format(before=f'z{i - 1}')}" for i in range(1, n)]
    lines += ["observed:", *(f"  x{i}: {seen.format(own=f'z{i}')}" for i in range(n))]
    if guide:
        lines += ["guide:", *(f"  z{i}: {guide.format(seen=f'x{i}')}" for i in range(n))]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("kind", LATENTS)
def test_text_and_time_follow_the_latents(kind):
    started = process_time()
    sizes = [len(lvspec.compile_spec(many(kind, n)).source) for n in (50, 100, 200)]
    assert process_time() - started < 20  # a chain of Gaussians took two minutes
    assert sizes[2] - sizes[1] < 2.2 * (sizes[1] - sizes[0])


def drawn(n: int, family: str = "mean_field") -> str:
    """n latents that nothing sums, for which guides are derived: each reads all that is observed."""
    lines = [f"lvspec: 1\nname: drawn\ninfer: {{guide: {family}}}\nlatent:\n  z0: Normal(0, 1)"]
    lines += [f"  z{i}: Normal(tanh(z{i - 1}), 1)" for i in range(1, n)]
    lines += ["observed:", *(f"  x{i}: Normal(tanh(z{i}), 1)" for i in range(n))]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("family", ["mean_field", "structured"])
def test_what_all_derived_factors_read_is_written_once(family):
    sizes = [len(lvspec.compile_spec(drawn(n, family)).source) for n in (40, 80, 160)]
    assert sizes[2] - sizes[1] < 2.2 * (sizes[1] - sizes[0])


def test_factors_that_read_many_values_of_their_own_have_names_of_their_own():
    """A faithful inverse of a chain: q of each latent reads what is observed of it and of those before it."""
    source = lvspec.compile_spec(drawn(40, "inverse")).source
    assert "seen_z20 = " in source and "seen_2" not in source


def test_global_latents_of_a_model_that_observes_nothing_are_written():
    text = "lvspec: 1\nname: nothing\nlatent:\n  global g: Gamma(1.5, 2)\nguide:\n  g: Gamma(3, 1)\n"
    assert lvspec.compile_spec(text).Model(dataset_size=3).log_weights


def test_lines_of_a_guide_that_reads_many_values_are_the_guide():
    own = lvspec.compile_spec(drawn(14).replace("infer: {guide: mean_field}\n", ""))
    pasted = lvspec.compile_spec(drawn(14).replace("infer: {guide: mean_field}\n", "") + own.plan.derived)
    torch.manual_seed(0)
    models = [own.Model().double(), pasted.Model().double()]
    models[1].load_state_dict(models[0].state_dict())
    batch = {f"x{i}": torch.randn(3, dtype=torch.float64) for i in range(14)}
    draws = {f"z{i}": torch.randn(1, 3, dtype=torch.float64) for i in range(14)}
    found = [m(batch, draws=draws).elbo.tolist() for m in models]
    assert found[0] == pytest.approx(found[1], abs=1e-12)
