"""What the typed representation says of sites, stretches, plates and shapes."""

from textwrap import dedent

import pytest

from lvspec.front import load
from lvspec.ir.dims import Dim
from lvspec.ir.expr import (
    Apply,
    At,
    Call,
    Here,
    Index,
    Lag,
    LocalRef,
    Number,
    ParamRef,
    PlateIndex,
    SiteOf,
    Stretch,
    VariableRef,
)
from lvspec.ir.types import Reach

HEAD = """
lvspec: 1
sizes: {K: 3, M: 4, V: vocabulary(x), E: 5, H: 6}
plates: {t: sequence, l: M, b: bag}
params: {start: [K], transition: [K, K], table: [M, K], emission: [K, V], scalar: []}
given:
  s[t]: token(V)
  g[t, l]: real[E]
  bagged[b]: token(V)
networks:
  words: Embedding(V, E)
  reader: LSTM(E, H)
  both: BiLSTM(E, H)
  wide: MLP(E, H, M*K)
  bank[K]: Linear(E, H)
latent:
  z[0]: Categorical(logits=start)
  z[t]: Categorical(logits=transition[z[t-1]])
  c[l]: Categorical(logits=table[l])
observed:
  x[t]: Categorical(logits=emission[z[t]])
"""


def read(lets):
    spec = load(HEAD.lstrip() + "let:\n" + dedent(lets).strip("\n").replace("\n", "\n  ").join(["  ", "\n"]), "m.yaml")
    return {v.name: v.general.body for v in spec.variables if v.role == "let"}


def one(target, text):
    return read(f"{target}: {text}")[target.split("[")[0]]


def shape(expr):
    return [str(d) for d in expr.type.shape]


def test_previous_site_is_a_lag_of_the_clause_s_plate():
    spec = load(HEAD.lstrip(), "m.yaml")
    logits = spec.variable("z").general.body.argument("logits")
    assert logits == Index(ParamRef("transition"), (VariableRef("z", (Lag("t", 1),)),))
    assert logits.type.plates == ("t",) and shape(logits) == ["K"]
    assert [c.initial for c in spec.variable("z").clauses] == [0, None]


def test_plate_index_is_an_integer_below_the_plate_s_size():
    spec = load(HEAD.lstrip(), "m.yaml")
    logits = spec.variable("c").general.body.argument("logits")
    assert logits == Index(ParamRef("table"), (PlateIndex("l"),))
    assert logits.indices[0].type.support.size == Dim.of("M")


def test_plain_name_of_a_ragged_variable_is_the_whole_stretch():
    body = one("a", "sum(words(x))")
    words = body.args[0]
    assert words.args[0] == VariableRef("x", (Stretch("t", "whole"),))
    assert words.type.reach == Reach("t", "whole") and words.type.plates == ()
    assert body.type.reach is None and body.type.plates == () and shape(body) == ["E"]


def test_causal_network_under_a_prefix_gives_one_value_a_site():
    body = one("h[t]", "reader(words(x[<t]))")
    assert body.args[0].args[0].at == (Stretch("t", "before"),)
    assert body.args[0].type.reach == Reach("t", "before")
    assert body.type.reach is None and body.type.plates == ("t",)


@pytest.mark.parametrize(("text", "size"), [("reader(words(s))", "H"), ("both(words(s))", "2 * H"), ("words(s)", "E")])
def test_whole_stretch_assigned_to_an_index_is_taken_at_its_site(text, size):
    body = one("memory[t]", text)
    assert isinstance(body, SiteOf) and body.plate == "t"
    assert body.base.type.reach == Reach("t", "whole")
    assert body.type.plates == ("t",) and body.type.reach is None and shape(body) == [size]


def test_site_of_an_expression_is_named_by_an_index():
    body = one("memory[t]", "reader(words(s))[t]")
    assert isinstance(body, SiteOf) and isinstance(body.base, Apply)


def test_fixed_plate_named_without_index_is_a_leading_event_axis():
    body = one("a[t]", "g[t, l] over l")
    assert body == Call("stack", (VariableRef("g", (Here("t"), Here("l"))),), over="l")
    assert shape(body) == ["M", "E"] and body.type.plates == ("t",)
    whole = one("a", "flatten(onehot(c))").args[0].args[0]
    assert whole == VariableRef("c", (Stretch("l", "whole"),))
    assert shape(whole) == ["M"] and whole.type.reach is None


def test_reduction_over_a_plate_is_one_call():
    body = one("a[t]", "sum(g[t, l] over l)")
    assert body == Call("sum", (VariableRef("g", (Here("t"), Here("l"))),), over="l")
    assert body.type.plates == ("t",) and shape(body) == ["E"]


def test_flattening_over_a_plate_multiplies_sizes():
    assert shape(one("a", "flatten(onehot(c[l]) over l)")) == ["K * M"]


def test_operators_are_calls():
    body = one("a", "scalar + 2*scalar")
    assert body == Call("add", (ParamRef("scalar"), Call("multiply", (Number(2), ParamRef("scalar")))))


def test_reshaped_vector_is_indexed_by_a_plate():
    body = one("a[l]", "reshape(wide(mean(words(x))), M, K)[l]")
    assert isinstance(body, Index) and body.indices == (PlateIndex("l"),)
    assert shape(body) == ["K"] and body.type.plates == ("l",)


def test_site_reached_by_an_integer_expression():
    body = one("a[t]", "transition[c[0], z[t]]")
    assert body.indices[0] == VariableRef("c", (At("l", Number(0)),))
    assert body.type.plates == ("t",)


def test_network_of_a_bank_is_chosen_by_a_discrete_variable():
    body = one("a[t]", "bank[z[t]](words(s[t]))")
    assert body.bank == (VariableRef("z", (Here("t"),)),)
    assert body.type.plates == ("t",) and shape(body) == ["H"]


def test_surplus_indices_run_over_event_axes():
    body = one("a[t, l]", "g[t, l, 2]")
    assert body == Index(VariableRef("g", (Here("t"), Here("l"))), (Number(2),))
    assert shape(body) == []


def test_names_bound_by_where_are_local():
    text = HEAD.replace("wide: MLP(E, H, M*K)", "wide: MLP(E, H, 2*K)")
    w = "  w: Normal(loc, softplus(scale)) where loc, scale = split(wide(mean(words(s))))\n"
    spec = load(text.lstrip() + w, "m.yaml")
    clause = spec.variable("w").general
    assert clause.bindings[0].names == ("loc", "scale")
    assert clause.bindings[0].value.function == "split" and clause.bindings[0].value.args[1] == Number(2)
    assert clause.body.argument("loc") == LocalRef("loc")
    assert [str(d) for d in spec.variable("w").type.shape] == ["K"]


def test_first_sites_read_relative_to_themselves():
    text = HEAD.replace(
        "  z[0]: ", "  z[0]: Categorical(logits=start)\n  z[1]: Categorical(logits=transition[z[0]])\n  z[t]: "
    ).split("\n")
    kept = [r for r in text if "z[t]: Categorical(logits=start)" not in r]
    joined = "\n".join(kept).replace("logits=transition[z[t-1]]", "logits=transition[z[t-2]]")
    spec = load(joined.lstrip(), "m.yaml")
    second = spec.variable("z").clauses[1]
    assert second.initial == 1
    assert second.body.argument("logits").indices[0] == VariableRef("z", (Lag("t", 1),))


def test_vector_of_scores_over_a_plate_is_a_distribution_s_axis():
    body = one("a", "softmax(table[l, c[l]] over l)")
    assert isinstance(body, Call) and body.function == "stack"
    assert body.args[0].function == "softmax" and body.args[0].over == "l"
    assert shape(body) == ["M"] and body.type.support.kind == "simplex"


def test_positions_inside_an_expression_are_places_of_the_file():
    spec = load(HEAD.lstrip(), "m.yaml")
    index = spec.variable("x").general.body.argument("logits").indices[0]
    line = HEAD.lstrip().split("\n").index("  x[t]: Categorical(logits=emission[z[t]])")
    assert (index.span.line, index.span.column, index.span.end_column) == (line + 1, 37, 41)
