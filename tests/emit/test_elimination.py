"""Many connected discrete latents: log p(x), its gradient and the posterior by a sum whose steps stay narrow."""

import sys

import numpy as np
import pytest
import torch

import lvspec
from lvspec.ir.elimination import elimination_steps, work
from tests.emit.networks_of_latents import (
    drawn_text,
    gaussian_text,
    grid,
    log_p,
    mixed_text,
    path,
    spec_text,
    star,
    tree,
)
from tests.processor import least_seconds_of

NETWORKS = {"path": path(40), "tree": tree(40), "star": star(40), "grid": grid(8, 5), "upright": grid(5, 8)}


@pytest.fixture(params=NETWORKS, scope="module")
def network(request):
    parents = NETWORKS[request.param]
    compiled = lvspec.compile_spec(spec_text(parents))
    torch.manual_seed(0)
    model = compiled.Model().double()
    batch = {f"x_{z}": torch.randint(3, (2,)) for z in parents}
    weights = {n: p.detach().numpy() for n, p in model.named_parameters()}
    rows = [{n: int(v[i]) for n, v in batch.items()} for i in range(2)]
    return parents, compiled, model, batch, weights, rows


def test_forty_latents_are_summed_as_a_sweep_sums_them(network):
    parents, _, model, batch, weights, rows = network
    expected = [log_p(parents, weights, row) for row in rows]
    assert model.log_prob(batch).tolist() == pytest.approx(expected, abs=1e-10)


def test_posterior_of_each_of_forty_latents_is_a_ratio_of_two_sums(network):
    parents, _, model, batch, weights, rows = network
    found = model.posterior(batch)
    for z in (next(iter(parents)), list(parents)[17], list(parents)[-1]):
        given = [
            [np.exp(log_p(parents, weights, r, {z: k}) - log_p(parents, weights, r)) for k in (0, 1)] for r in rows
        ]
        assert found[z].marginals.detach().numpy() == pytest.approx(np.array(given), abs=1e-10)


def test_gradient_of_forty_latents_follows_the_sum(network):
    parents, _, model, batch, weights, rows = network
    model(batch).loss.backward()
    step = 1e-5
    for name in ("say", f"p_{list(parents)[7]}"):
        at = (0,) * weights[name].ndim
        ends = []
        for sign in (1, -1):
            moved = weights | {name: weights[name].copy()}
            moved[name][at] += sign * step
            ends.append(-np.mean([log_p(parents, moved, row) for row in rows]))
        expected = (ends[0] - ends[1]) / (2 * step)
        assert dict(model.named_parameters())[name].grad[at].item() == pytest.approx(expected, abs=1e-8)


def test_joint_mode_of_forty_latents_is_where_the_sweep_is_largest(network):
    parents, _, model, batch, weights, rows = network
    found = model.posterior(batch)
    modes = [{z: int(found[z].mode[i]) for z in parents} for i in range(2)]
    largest = [log_p(parents, weights, row, reduce=np.max) for row in rows]
    assert [log_p(parents, weights, r, m) for r, m in zip(rows, modes, strict=True)] == pytest.approx(
        largest, abs=1e-10
    )


def test_latents_that_the_batch_gives_are_not_summed(network):
    parents, _, model, batch, weights, rows = network
    known = {z: torch.tensor([0, 1]) for z in list(parents)[::3]}
    expected = [log_p(parents, weights, row, {z: int(v[i]) for z, v in known.items()}) for i, row in enumerate(rows)]
    assert model.log_prob(batch | known).tolist() == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("shape", [path, tree, star, lambda n: grid(n // 5, 5)])
def test_text_grows_with_the_latents(shape):
    sizes = [len(lvspec.compile_spec(spec_text(shape(n))).source) for n in (50, 100, 200)]
    assert sizes[2] - sizes[1] < 2.2 * (sizes[1] - sizes[0])


def test_steps_are_as_narrow_as_the_graph_allows():
    """Paths and trees: two axes; a grid of w columns, whose latents' parents meet: w + 1, along the story."""
    for parents, width in ((path(300), 2), (tree(300), 2), (star(300), 2), (grid(60, 5), 6), (grid(5, 60), 7)):
        scopes = [(z, *above) for z, above in parents.items()]
        steps = elimination_steps(scopes, tuple(parents), lambda axis: 2)
        assert sorted(s.axis for s in steps) == sorted(parents)
        assert max(len(s.clique) for s in steps) <= width
        assert work(steps, lambda axis: 2) <= len(parents) * 2**width


@pytest.mark.parametrize("write", [gaussian_text, mixed_text, drawn_text])
@pytest.mark.parametrize("shape", [path, lambda n: grid(n // 5, 5)])
def test_text_grows_with_numbers_as_latents(shape, write):
    sizes = [len(lvspec.compile_spec(write(shape(n))).source) for n in (40, 80, 160)]
    assert sizes[2] - sizes[1] < 2.2 * (sizes[1] - sizes[0])


LARGE = {
    "grid": spec_text(grid(60, 5)),
    "grid of Gaussians": gaussian_text(grid(60, 5)),
    "grids of both": mixed_text(grid(30, 5)),
    "drawn": drawn_text(tree(300)),
}


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("command, seconds", [("check", 1), ("explain", 1), ("compile", 2)])
def test_three_hundred_latents_take_seconds_of_a_processor(command, seconds, name, tmp_path):
    """Start of the program included."""
    (tmp_path / "grid.yaml").write_text(LARGE[name])
    output = ("-o", "-") if command == "compile" else ()
    line = [
        sys.executable,
        "-c",
        "from lvspec.cli.main import main; raise SystemExit(main())",
        command,
        "grid.yaml",
        *output,
    ]
    assert least_seconds_of(line, enough=seconds, cwd=tmp_path) < seconds
