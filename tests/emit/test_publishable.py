"""What an emitted file is to be free of, over the syntax tree of every spec's: residue that nobody would write by hand."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator

import pytest

from lvspec.driver import compile_spec
from lvspec.emit.text.repeated import without_repeated
from tests import SPECS
from tests.emit.small import NAMES

WIDTH = 120


@pytest.fixture(scope="module")
def sources():
    return {name: compile_spec(SPECS / f"{name}.yaml").source for name in NAMES}


def classes(source: str) -> list[ast.ClassDef]:
    return [n for n in ast.parse(source).body if isinstance(n, ast.ClassDef)]


def methods(source: str) -> list[ast.FunctionDef]:
    return [m for c in classes(source) for m in c.body if isinstance(m, ast.FunctionDef)]


def read(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def unused_arguments(source: str) -> list[str]:
    named = [(m, a.arg) for m in methods(source) for a in (*m.args.args, *m.args.kwonlyargs)]
    return [f"{m.name}({a})" for m, a in named if a != "self" and a not in read(m)]


def unread_buffers(source: str) -> list[str]:
    held = re.findall(r'register_buffer\("(\w+)"', source)
    return [name for name in held if not re.search(rf"self\.{name}\b", source)]


def aliases(source: str) -> list[str]:
    """`a = b`, but for what one round of a loop leaves for the next."""
    found = []
    for method in (m for m in methods(source) if m.name != "__init__"):
        loops = [n for n in ast.walk(method) if isinstance(n, ast.For)]
        for node in (n for n in ast.walk(method) if isinstance(n, ast.Assign) and isinstance(n.value, ast.Name)):
            left = {t.id for t in node.targets if isinstance(t, ast.Name)}
            carried = any(node in ast.walk(loop) and left & read(loop) for loop in loops)
            again = sum(left & {t.id for t in n.targets if isinstance(t, ast.Name)} != set()
                        for n in ast.walk(method) if isinstance(n, ast.Assign)) > 1  # fmt: skip
            if not carried and not again:
                found.append(f"{method.name}: {ast.unparse(node)}")
    return found


def cut_docstrings(source: str) -> list[str]:
    tree = ast.parse(source)
    return [
        d
        for n in (tree, *classes(source))
        if not (d := ast.get_docstring(n).split("\n\n")[0]).endswith((".", "!", "?"))
    ]


def blocks(nodes: list[ast.stmt]) -> Iterator[list[ast.stmt]]:
    yield nodes
    for node in nodes:
        for part in ("body", "orelse"):
            yield from blocks(getattr(node, part, None) or [])


def repeated(source: str) -> list[str]:
    """Three assignments in a row that the class has in another place, too."""
    places = defaultdict(set)
    for block in (b for m in methods(source) for b in blocks(m.body)):
        for three in zip(block, block[1:], block[2:], strict=False):
            if all(isinstance(n, (ast.Assign, ast.AugAssign)) for n in three):
                places["\n".join(map(ast.unparse, three))].add(three[0].lineno)
    return [text for text, lines in places.items() if len(lines) > 1]


def numbered(source: str) -> list[str]:
    """`x_2` beside `x`, and `x_table`: names of which the writer had run out."""
    found = []
    for method in methods(source):
        named = {n.id for n in ast.walk(method) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        found += [
            n for n in named if n.endswith("_table") or re.search(r"_[2-9]\d*$", n) and n.rpartition("_")[0] in named
        ]
    return found


def long_lines(source: str) -> list[str]:
    return [line for line in source.split("\n") if len(line) > WIDTH]


def shapes_on_lines_of_their_own(source: str) -> list[str]:
    return re.findall(r"^ *# \([A-Z].*", source, re.MULTILINE)


RULES = (
    unused_arguments,
    unread_buffers,
    aliases,
    cut_docstrings,
    long_lines,
    repeated,
    numbered,
    shapes_on_lines_of_their_own,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.__name__)
def test_no_emitted_file_has(sources, rule):
    assert {name: found for name, source in sources.items() if (found := rule(source))} == {}


BAD = '''"""A model after Baker et al"""


class A(nn.Module):
    """A model after Baker et al"""

    def __init__(self):
        self.register_buffer("step", torch.zeros(()))

    def first(self, x, phase):
        a = f(x)
        b = g(a)
        c = h(b)
        c_2 = c
        return c_2

    def second(self, x):
        a = f(x)
        b = g(a)
        c = h(b)
        d_table = c + 1 + 1111111111111111111111111 + 1111111111111111111111111111 + 1111111111111111111111111111 + 11111111
        # (B, T)
        return d_table
'''


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.__name__)
def test_it_would_be_found(rule):
    assert rule(BAD)


def test_what_stands_twice_becomes_a_method():
    made = without_repeated(BAD[BAD.index("    def first") :].rstrip("\n"))
    assert made.startswith(
        "    def computed_of_x(self, x: torch.Tensor):\n"
        '        """Functions of x that several methods share."""\n'
        "        a = f(x)\n        b = g(a)\n        c = h(b)\n        return c\n\n    def first(self, x, phase):\n"
        "        c = self.computed_of_x(x)\n        c_2 = c\n"
    )
    assert made.count("f(x)") == 1


def test_the_header_holds_the_guide_the_weights_and_the_batch(sources):
    assert """
Guide
    state = last(reader(words(x)))
    q(c | x) = Categorical(logits=cluster(state))
    q(z | x) = Normal(loc, softplus(scale)) where loc, scale = split(encoder(state))
""" in sources["gm_vae"]
    assert (
        "\n    in the loss: KL of c and z · linear(0, 1, steps=2000) of `model.step` in training, 1 in evaluation\n"
        in sources["gm_vae"]
    )
    assert (
        "\n    a | expectation under q(a) by a sum over its |m| values; KL by the same sum\n"
        in sources["latent_attention_elbo"]
    )
    assert (
        "\n    q(z[0] | x) = " in sources["deep_markov_model"]
        and "\n    q(z[t] | x, z) = " in sources["deep_markov_model"]
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_keys_of_the_header_are_those_of_a_batch(sources, name):
    """Of every spec, whose batches are made by their inputs."""
    keys = re.findall(r"^    (\w+) \(", sources[name].split("\nBatch\n")[1].split('"""')[0], re.MULTILINE)
    inputs = re.findall(r'"(\w+)": Input\(\s*"(\w+)"', sources[name])
    read = [n for n, role in inputs if role != "hidden"]
    assert {*read, "weight"} <= {*keys} and not {n for n, role in inputs if role == "hidden"} & {*keys}


def test_the_recursion_stands_above_its_call(sources):
    assert """
        # forward algorithm along t, in log space:
        #     alpha_0[j] = log_p_z_at_0[j] + log_potential[0, j]
        #     alpha_t[j] = logsumexp_i(alpha_{t-1}[i] + log_p_z[i, j]) + log_potential[t, j]
        # the sum is the logsumexp of alpha at the last site; where `mask` is false, alpha_t = alpha_{t-1}
        # `normalized`: transitions sum to one over the new state, so that padding, of potential 0, adds nothing
""" in sources["hmm"]
    assert """
        #     message[i, j, n] = logsumexp_k(alpha_{t-1}[i, j, k] + log_p_z_2[k, n])
        #     message[i, m, n] = logsumexp_j(message[i, j, n] + log_p_z_1[j, m])
        #     alpha_t[l, m, n] = logsumexp_i(message[i, m, n] + log_p_z_0[i, l]) + log_potential[t, l, m, n]
""" in sources["factorial_hmm"]


def test_a_product_of_two_sequences_is_written_as_one(sources):
    assert "inside_plate(h @ memory.mT, " in sources["latent_attention_elbo"]
    assert not any("einsum" in sources[name] for name in ("dependency_crf", "latent_attention", "soft_attention"))
