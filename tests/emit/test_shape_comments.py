"""Shapes in comments are those of the values: the emitted files are run, each value that has a shape behind it held against it."""

import ast
import re

import pytest
import torch

from lvspec.load import load_module
from tests.emit.small import NAMES, batch_of, compiled, given_in, lengths_in, model_of, shared_by, sizes_of

SHAPE = re.compile(r"# (\([^()]*\)(?:, \([^()]*\))*)( each)?(?:, [^(]*)?$")
DRAWN = 5  # rows of a sample


def commented(source: str) -> dict[int, str]:
    """The shape behind a statement or above it, by the statement's last line."""
    rows, found = source.split("\n"), {}
    for node in (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Assign)):
        behind = SHAPE.search(rows[node.end_lineno - 1])
        above = SHAPE.fullmatch(rows[node.lineno - 2].strip())
        if behind or above:
            found[node.end_lineno] = (behind or above)[1]
    return found


class Watched(ast.NodeTransformer):
    """`seen(line, locals(), value, ...)` behind each such statement."""

    def __init__(self, shapes: dict[int, str]):
        self.shapes = shapes

    def visit_Assign(self, node: ast.Assign):
        names = [n.id for t in node.targets for n in ast.walk(t) if isinstance(n, ast.Name) and n.id != "_"]
        if node.end_lineno not in self.shapes or not names or any(isinstance(t, ast.Attribute) for t in node.targets):
            return node
        call = ast.parse(f"seen({node.end_lineno}, locals(), {', '.join(names)})").body[0]
        return [node, ast.copy_location(call, node)]


def watched(name: str):
    """The model, whose methods report; what was wrong; the lines that were looked at."""
    one, wrong, count = compiled(name), [], []
    shapes = commented(one.source)
    tree = ast.fix_missing_locations(Watched(shapes).visit(ast.parse(one.source)))
    module = load_module(ast.unparse(tree), one.spec, ())
    sizes = dict(one.plan.sizes)
    plates = {p.name: p for p in (*one.spec.plates, *one.spec.copies)}

    def seen(line, there, *values):
        batch = there.get("batch", {})
        masks = {p: batch[f"{p}.mask"].shape[-1] for p in plates if f"{p}.mask" in batch}
        known = {**sizes, **{p.upper(): n for p, n in masks.items()}, "S": there.get("samples")}
        # None: any number, as of what a method is given
        known["B"] = len(batch["rows"]) if "rows" in batch else DRAWN if "given" in there else None  # None: any number
        text = re.sub(r"\|(\w+)\|", lambda m: str(masks[m[1]]), shapes[line])
        expected = eval(f"[{text}]", {}, known)
        values = [t for v in values for t in (v.values() if isinstance(v, dict) else [v])]
        for value, shape in zip(values, expected if len(expected) > 1 else expected * len(values), strict=True):
            if value is None:  # the batch has none, and the next statement makes one
                continue
            count.append(line)
            found = tuple(value.shape)
            if len(found) != len(shape) or any(a not in (b, None) for a, b in zip(shape, found, strict=True)):
                wrong.append((one.source.split("\n")[line - 1].strip(), shape, found))

    module.seen = seen
    model = module.Model(**sizes_of(name), **shared_by(name)).eval()
    model.load_state_dict(model_of(name).state_dict())
    return model, wrong, count


@pytest.mark.parametrize("name", NAMES)
def test_shapes_in_comments_are_those_of_the_values(name):
    model, wrong, count = watched(name)
    torch.manual_seed(0)
    batch = batch_of(name)
    model(dict(batch))
    if hasattr(model, "posterior"):
        model.posterior(dict(batch))
    model.sample(DRAWN, given_in(name, batch, DRAWN), lengths_in(name))
    assert wrong == []
    assert count


def test_a_wrong_shape_would_be_found():
    rows = ["        a = f(x)  # (B, T)", "        # (B, T), (B,)", "        b, c = g(", "            a", "        )"]
    source = "\n".join(["class A:", "    def f(self):", *rows])
    assert commented(source) == {3: "(B, T)", 7: "(B, T), (B,)"}
