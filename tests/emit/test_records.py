"""A method that gives more than two values gives them by name, and a caller reads those that it needs."""

import ast

import pytest
import torch

import lvspec.runtime
from lvspec.driver import compile_spec
from lvspec.emit.text.records import joined, with_records
from lvspec.emit.text.text import wrap
from lvspec.ir.distributions import FAMILIES
from tests import SPECS
from tests.emit.small import NAMES, compiled

BODY = '''
    def guide(self, batch: dict) -> tuple:
        """."""
        h = self.reader(batch["x"])  # (B, T, H)
        loc, scale = self.head(h).chunk(2, -1)  # (B, D) each
        if "c" in batch:
            loc = loc + 1
        q_z = Normal(loc, scale)
        return h, loc, q_z

    def forward(self, batch: dict):
        """."""
        h, loc, _ = self.guide(batch)
        if "a" in batch:
            # (B, D)
            loc = loc * h
        return f(lambda draw: loc + draw, h=h)

    def encode(self, guide: dict):
        """."""
        _, _, q_z = self.guide(guide)
        return {"z": q_z}
'''.strip("\n")
MADE = '''
    def guide(self, batch: dict) -> Guide:
        """."""
        h = self.reader(batch["x"])  # (B, T, H)
        loc, scale = self.head(h).chunk(2, -1)  # (B, D) each
        if "c" in batch:
            loc = loc + 1
        q_z = Normal(loc, scale)
        return Guide(h, loc, q_z)

    def forward(self, batch: dict):
        """."""
        guide = self.guide(batch)
        loc = guide.loc
        if "a" in batch:
            loc = loc * guide.h  # (B, D)
        return f(lambda draw: loc + draw, h=guide.h)

    def encode(self, guide: dict):
        """."""
        guide_2 = self.guide(guide)
        return {"z": guide_2.q_z}
'''.strip("\n")


def test_values_are_read_by_name():
    (declared,), body = with_records(BODY, {"Normal"})
    assert body == MADE
    assert declared.split("\n")[3:] == [
        "    h: torch.Tensor  # (B, T, H)",
        "    loc: torch.Tensor  # (B, D)",
        "    q_z: Normal",
    ]


def test_what_is_computed_of_a_batch_for_the_second_time_has_a_name():
    _, body = with_records(
        BODY.replace("guide(self", "computed_2(self").replace("self.guide", "self.computed_2"), set()
    )
    assert "computed = self.computed_2(batch)" in body


def test_a_name_of_the_file_is_no_record():
    (declared,), body = with_records(BODY, {"Guide", "Guide2"})
    assert declared.startswith("class Guide3(NamedTuple):") and "-> Guide3:" in body and "return Guide3(" in body


def test_two_values_stay_a_tuple():
    body = BODY.replace("return h, loc, q_z", "return h, loc").replace("h, loc, _ =", "h, loc =")
    assert with_records(body.replace("_, _, q_z", "q_z, _"), set()) == ([], body.replace("_, _, q_z", "q_z, _"))


@pytest.mark.parametrize(
    "code",
    [
        "first = Normal(loc, scale).kl(other) + a_rather_long_name[:, None] * b_rather_long_name - c_rather_long_name[0] + d",
        "first = chain(log_p_z_at_0_of_all, (log_p_z_of_all_the_sites,), log_potential_of_all, ('i,ij->j',), mask=batch['t'])",
        "first = masked_sum(log_p_x, batch['x.mask'][None], 2) - masked_sum(log_ratio_z, batch['t.mask'][None], 2) + (a, b)[0]",
        "return (one_of_two + two_of_two).sum(-1).mean(0).another(three), (four_of_four + five).sum(-1).mean(0).another(six)",
        "if some_name in batch and another_name in batch and a_third_name_that_is_longer in batch or what_is_last in batch_of:",
    ],
)
def test_a_statement_of_several_rows_is_one_again(code):
    rows = wrap(code, 2)
    assert len(rows) > 1 and joined(rows) == (code, "")


@pytest.mark.parametrize("name", NAMES)
def test_no_value_is_thrown_away_beside_others(name):
    """`_` stands for one of two at most."""
    for node in ast.walk(ast.parse(compiled(name).source)):
        targets = (
            node.targets[0].elts if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple) else []
        )
        own = isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("self.")
        if own and not ast.unparse(node.value).startswith("self.log_weights("):
            holes = [t for t in targets if isinstance(t, ast.Name) and t.id == "_"]
            assert len(holes) <= 1 and (not holes or len(targets) == 2), ast.unparse(node)


CHANGED = """
    def three(self) -> tuple:
        a, b, c = f()
        return a, b, c

    def first(self):
        a, b, c = self.three()
        b = b + a
        if c:
            a = a + b
        return a, b, c

    def second(self):
        for i in g():
            a, b, c = self.three()
            h(a, b)
            b = c
        a = k()
        return a, b

    def third(self):
        for i in g():
            _, b, c = self.three()
        return b, c

    def fourth(self):
        b, c = 0, 0
        for i in g():
            h(b)
            _, b, c = self.three()
            h(b, c)
        return c

    def fifth(self):
        if h(0):
            a, b, c = self.three()
        else:
            a, b, c = 0, 1, 2
        c = 3
        return a, b, c
"""
BY_NAME = """
    def three(self) -> Three:
        a, b, c = f()
        return Three(a, b, c)

    def first(self):
        three = self.three()
        b = three.b + three.a
        a = three.a
        if three.c:
            a = a + b
        return a, b, three.c

    def second(self):
        for i in g():
            three = self.three()
            h(three.a, three.b)
            b = three.c
        a = k()
        return a, b

    def third(self):
        for i in g():
            three = self.three()
            b = three.b
            c = three.c
        return b, c

    def fourth(self):
        b, c = 0, 0
        for i in g():
            h(b)
            three = self.three()
            b = three.b
            c = three.c
            h(b, c)
        return c

    def fifth(self):
        if h(0):
            three = self.three()
            a = three.a
            b = three.b
        else:
            a, b, c = 0, 1, 2
        c = 3
        return a, b, c
"""


def test_a_name_that_changes_is_one_of_its_own_from_there_on():
    assert with_records(CHANGED.strip("\n"), set())[1] == BY_NAME.strip("\n")


def test_an_argument_of_a_distribution_that_is_given_as_well_is_read_off_it():
    source = compile_spec(SPECS / "gm_vae.yaml").source
    record = source.split("class Guide(NamedTuple):")[1].split("class ")[0]
    assert "    q_z: Normal" in record and "loc" not in record and "scale" not in record
    assert (
        "guide.q_z, z, log_p_x" in source and "Normal(drawn.q_z.loc[:, None], drawn.q_z.scale[:, None]).kl(" in source
    )


def test_a_distribution_of_the_runtime_has_its_arguments_as_they_were_given():
    found = []
    for family in FAMILIES.values():
        made = getattr(lvspec.runtime, family.name, None)
        if made is None or family.event == "structure" or any(a.one_of for a in family.arguments):
            continue
        if family.improper:  # which has none
            continue
        given = {a.name: torch.ones(2, 2) for a in family.arguments}
        distribution = made(*given.values())
        assert all(getattr(distribution, name) is value for name, value in given.items()), family.name
        found.append(family.name)
    assert len(found) > 10
