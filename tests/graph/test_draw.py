"""The plate diagram: what is drawn, and that nothing lies on anything else."""

import re
import xml.etree.ElementTree as ElementTree
from functools import partial
from time import process_time

import pytest

from lvspec.driver import plan_spec
from lvspec.graph import WRITERS, draw
from lvspec.graph.diagram import diagram
from lvspec.graph.layout import layout
from lvspec.graph.routes import routes
from lvspec.ir.estimators import STRATEGIES
from lvspec.shipped import shipped
from tests.graph.drawn_models import MODELS, hmm

ZOO = {f"{path.stem}.yaml": partial(plan_spec, path) for path in sorted(shipped("specs").glob("*.yaml"))}
every_model = pytest.mark.parametrize("model", (MODELS | ZOO).values(), ids=MODELS | ZOO)
every_format = pytest.mark.parametrize("form", WRITERS)


@every_model
@every_format
def test_the_same_plan_gives_the_same_bytes(model, form):
    assert draw(model(), form) == draw(model(), form)


@every_model
@every_format
def test_every_node_is_drawn(model, form):
    text = draw(model(), form)
    for node in diagram(model()).nodes:
        assert node.name in text


@every_model
def test_svg_is_xml_and_everything_is_on_the_page(model):
    root = ElementTree.fromstring(draw(model()))
    width, height = float(root.get("width")), float(root.get("height"))
    place = layout(diagram(model()))
    assert place.width <= width and place.height <= height
    for s in place.shapes.values():
        assert s.rx - 1 <= s.x <= place.width - s.rx + 1
        assert s.ry - 1 <= s.y <= place.height - s.ry + 1


@every_model
def test_nodes_do_not_overlap(model):
    shapes = list(layout(diagram(model())).shapes.values())
    for k, a in enumerate(shapes):
        for b in shapes[:k]:
            assert abs(a.x - b.x) >= a.rx + b.rx or abs(a.y - b.y) >= a.ry + b.ry, (a.name, b.name)


@every_model
def test_a_plate_holds_its_members_and_nobody_else(model):
    d = diagram(model())
    place = layout(d)
    inside = {s: [f.label for f in place.frames if _holds(f, shape)] for s, shape in place.shapes.items()}
    for node in d.nodes:
        assert len(inside[node.name]) == len(node.plates)
        for plate in node.plates:
            assert any(
                label == "examples" if plate == "" else label.startswith(f"{plate}:") for label in inside[node.name]
            )


def _holds(frame, shape):
    return frame.x < shape.x < frame.x + frame.width and frame.y < shape.y < frame.y + frame.height


@every_model
def test_edges_pass_no_other_node(model):
    d = diagram(model())
    place = layout(d)
    for route in routes(d.edges, place):
        for x, y in _points(route.points):
            for s in place.shapes.values():
                if s.name not in (route.edge.source, route.edge.target):
                    assert ((x - s.x) / s.rx) ** 2 + ((y - s.y) / s.ry) ** 2 > 1, (route.edge, s.name)


def _points(points):
    n = len(points) - 1
    binomial = {2: (1, 2, 1), 3: (1, 3, 3, 1)}[n]
    for k in range(21):
        t = k / 20
        weights = [c * t**i * (1 - t) ** (n - i) for i, c in enumerate(binomial)]
        yield tuple(sum(w * p[axis] for w, p in zip(weights, points, strict=True)) for axis in (0, 1))


def test_transition_between_sites_is_a_dashed_arc_labelled_with_its_lag():
    (lagged,) = [e for e in diagram(hmm()).edges if e.dashed]
    assert (lagged.source, lagged.target, lagged.label) == ("z", "z", "t−1")
    assert re.search(r'"z" -> "z" \[label="t−1", style=dashed', draw(hmm(), "dot"))
    assert 'n_z -.->|"t−1"| n_z' in draw(hmm(), "mermaid")


def test_prefix_is_a_dashed_arc_that_does_not_order_the_rows():
    place = layout(diagram(MODELS["sentence_vae"]()))
    assert place.shapes["z"].y < place.shapes["h"].y < place.shapes["x"].y


def test_latents_are_coloured_by_strategy():
    assert draw(MODELS["gm_vae"]()).count(STRATEGIES["enumeration"].color) == 2  # the node and the legend
    assert draw(MODELS["gm_vae"]()).count(STRATEGIES["reparameterization"].color) == 2
    assert STRATEGIES["reinforce"].color not in draw(MODELS["gm_vae"]())


def test_nested_plates_are_nested_boxes():
    frames = {f.label.partition(":")[0]: f for f in layout(diagram(MODELS["factorial_hmm"]())).frames}
    for inner, outer in (("l", "t"), ("t", "examples")):
        a, b = frames[inner], frames[outer]
        assert b.x < a.x and b.y < a.y and a.x + a.width < b.x + b.width and a.y + a.height < b.y + b.height


def test_arrows_and_labels_are_shapes_that_every_reader_of_svg_draws():
    """Renderers differ in markers along curves and in the order of strokes: neither is asked for."""
    picture = draw(hmm(), "svg")
    shown = diagram(hmm())
    assert picture.count("rotate(") == len(routes(shown.edges, layout(shown))) + 1  # the legend's
    assert "marker" not in picture and "paint-order" not in picture
    assert picture.count(">t−1</text>") == 2  # the letters, and white behind them


FIELD = """\
lvspec: 1
name: field
sizes: {V: 5, K: 3}
plates: {t: sequence}
given:
  x[t]: token(V)
params: {own: [V, K], pair: [K, K]}
observed:
  z over t: LinearChain(unary=own[x[t]], pairwise=pair)
"""
READ = """\
lvspec: 1
name: read
sizes: {P: 6, D: 2}
networks: {enc: "Linear(P, D)", head: "Linear(D, 2*D)", dec: "Linear(D, P)"}
latent:
  z: Normal(0, 1)[D]
observed:
  x: Bernoulli(logits=dec(z))
guide:
  h: tanh(enc(x))
  z: Normal(loc, softplus(scale)) where loc, scale = split(head(h))
"""


def test_labels_of_neighbouring_sites_are_linked_without_an_arrow():
    assert '"z" -> "z" [label="t−1", style=dashed, constraint=false, dir=none];' in draw(plan_spec(FIELD), "dot")
    assert 'n_z -.-|"t−1"| n_z' in draw(plan_spec(FIELD), "mermaid")
    assert "scored together with another site" in draw(plan_spec(FIELD))


@every_format
def test_guide_is_drawn_on_demand(form):
    assert draw(plan_spec(READ), form) != draw(plan_spec(READ), form, guide=True)


def test_dotted_edges_say_what_the_guide_reads():
    edges = diagram(plan_spec(READ), guide=True).edges
    assert [(e.source, e.target) for e in edges if e.guide] == [("h", "z")]
    assert ("x", "h") in {(e.source, e.target) for e in edges}  # a variable that the guide computes
    text = draw(plan_spec(READ), "dot", guide=True)
    assert '"h" -> "z" [style=dotted' in text and '"z" -> "x";' in text


@pytest.mark.parametrize("shape", ["path", "fan"])
def test_pictures_of_hundreds_of_nodes_take_no_time(shape):
    reads = {"path": lambda i: i - 1, "fan": lambda i: 0}[shape]
    lines = ["lvspec: 1", "name: many", "params: {s: [2], a: [2, 2]}", "observed:", "  z0: Categorical(logits=s)"]
    lines += [f"  z{i}: Categorical(logits=a[z{reads(i)}])" for i in range(1, 500)]
    plan = plan_spec("\n".join(lines) + "\n")
    started = process_time()
    assert draw(plan).count("<ellipse") >= 500
    assert process_time() - started < 5
