"""Models with networks of a user's own: what they are given, what they are held to, whose an error is."""

import re
import sys

import pytest
import torch

from lvspec.cli.main import main
from lvspec.driver import compile_spec, read_spec
from lvspec.errors import SpecError
from lvspec.verify import render, shrink, verify

NETS = '''
import torch
from torch import nn


class Embedding(nn.Module):
    """Named like a network of the language, and not one."""

    def __init__(self, size, out):
        super().__init__()
        self.f = nn.Linear(size, out)

    def forward(self, x):
        return torch.tanh(self.f(x))


class Named(Embedding):
    pass


class Table(nn.Module):
    def __init__(self, out):
        super().__init__()
        self.table = nn.Embedding(7, out)

    def forward(self, ids):
        return self.table(ids)


class Reader(nn.Module):
    """A GRU over whatever it is given."""

    def __init__(self, size, out):
        super().__init__()
        self.f = nn.GRU(size, out, batch_first=True)

    def forward(self, x):
        return self.f(x)[0]


class Both(Reader):
    def __init__(self, size, out):
        super().__init__(size, out)
        self.f = nn.GRU(size, out // 2, batch_first=True, bidirectional=True)


class Attention(nn.Module):
    """Asks for the lengths: what stands beyond them is not attended to."""

    def __init__(self, size, out):
        super().__init__()
        self.f = nn.Linear(size, out)

    def forward(self, x, lengths):
        real = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        scores = (x @ x.mT).masked_fill(~real[:, None], -1e9)
        return self.f(scores.softmax(-1) @ x)


class Heads(nn.Module):
    """Made with what it asks for, and told by a mask which sites count."""

    def __init__(self, size, out, heads, *, slope=1.0, masked=True):
        super().__init__()
        if out % heads:
            self.complain(heads)
        self.f, self.heads, self.slope, self.masked = nn.Linear(size, out), heads, slope, masked

    def complain(self, heads):
        raise ValueError(f"no equal parts for {heads} heads")

    def forward(self, x, mask):
        y = self.f(x).unflatten(-1, (self.heads, -1))
        scores = self.slope * torch.einsum("nthd,nshd->nhts", y, y)
        if self.masked:
            scores = scores.masked_fill(~mask[:, None, None], -1e9)
        return torch.einsum("nhts,nshd->nthd", scores.softmax(-1), y).flatten(-2)


class Joined(nn.Module):
    def __init__(self, size, other, out):
        super().__init__()
        self.f = nn.GRU(size + other, out, batch_first=True)

    def forward(self, x, z):
        return self.f(torch.cat([x, z], -1))[0]


class Picky(Embedding):
    def __init__(self, size, out):
        if size % 4:
            raise ValueError("the size must be a multiple of 4")
        super().__init__(size, out)


class Broken(Embedding):
    def forward(self, x):
        return x.no_such_thing


class Narrow(nn.Module):
    def __init__(self):
        super().__init__()


class Plain:
    def __init__(self, size, out):
        pass
'''

MODELS = {
    "at a site, of a table of a summed latent": """
sizes: {K: 3, D: 2, P: 2}
params: {prior: [K], table: [K, D]}
networks: {f: "Module(own_nets.Embedding, in=[D], out=[P])", words: "Linear(D, P)"}
latent: {c: "Categorical(logits=prior)"}
observed: {x: "Normal(f(table[c]) + words(table[c]), 1)"}
""",
    "a summed latent itself": """
sizes: {K: 3, P: 2}
params: {prior: [K]}
networks: {f: "Module(own_nets.Table, in=[[]], out=[P])"}
latent: {c: "Categorical(logits=prior)"}
observed: {x: "Normal(f(c), 1)"}
""",
    "symbols before a site": """
sizes: {V: 4, E: 3}
plates: {t: sequence}
networks: {words: "Module(own_nets.Table, in=[[]], out=[E])", writer: "Module(own_nets.Reader, in=[E], out=[E], reads=causal)", out: "Linear(E, V)"}
observed: {"x[t]": "Categorical(logits=out(writer(words(x[<t]))))"}
""",
    "what is given, from the end": """
sizes: {V: 4, E: 3}
plates: {t: sequence}
given: {"u[t]": "real[E]"}
networks: {reader: "Module(own_nets.Reader, in=[E], out=[E], reads=causal)", out: "Linear(E, V)"}
observed: {"x[t]": "Categorical(logits=out(reader(u[>=t])))"}
""",
    "sentences of a document": """
sizes: {V: 4, E: 3}
plates: {d: sequence, t: sequence(within=d)}
networks: {words: "Module(own_nets.Table, in=[[]], out=[E])", writer: "Module(own_nets.Reader, in=[E], out=[E], reads=causal)", out: "Linear(E, V)"}
observed: {"x[d, t]": "Categorical(logits=out(writer(words(x[d, <t]))))"}
""",
    "two stretches up to each site": """
sizes: {V: 4, E: 3, D: 2}
plates: {t: sequence}
given: {"u[t]": "real[D]"}
networks: {words: "Embedding(V, E)", writer: "Module(own_nets.Joined, in=[E, D], out=[E], reads=causal)", out: "Linear(E, V)"}
observed: {"x[t]": "Categorical(logits=out(writer(words(x[<t]), u[<t])))"}
""",
    "two stretches from each site on": """
sizes: {E: 3, D: 2}
plates: {t: sequence}
given: {"u[t]": "real[D]", "w[t]": "real[E]"}
networks: {reader: "Module(own_nets.Joined, in=[E, D], out=[E], reads=causal)"}
observed: {"x[t]": "Normal(reader(w[>=t], u[>=t]), 1)"}
""",
    "all of a sequence behind a vector": """
sizes: {E: 4, D: 2}
plates: {t: sequence}
given: {"u[t]": "real[D]", w: "real[E]"}
networks: {reader: "Module(own_nets.Joined, in=[E, D], out=[E], reads=whole)"}
observed: {"x[t]": "Normal(reader(w, u)[t], 1)"}
""",
    "a whole sentence, a label at each of its words": """
sizes: {V: 4, E: 4, K: 3}
plates: {t: sequence}
given: {"x[t]": "token(V)"}
networks: {words: "Embedding(V, E)", reader: "Module(own_nets.Both, in=[E], out=[E], reads=whole)", out: "Linear(E, K)"}
observed: {"y[t]": "Categorical(logits=out(reader(words(x))[t]))"}
""",
    "a whole sentence, told where it ends": """
sizes: {V: 4, E: 4, K: 3}
plates: {t: sequence}
given: {"x[t]": "token(V)"}
networks: {words: "Embedding(V, E)", reader: "Module(own_nets.Attention, in=[E], out=[E], reads=whole)", out: "Linear(E, K)"}
observed: {"y[t]": "Categorical(logits=out(reader(words(x))[t]))"}
""",
    "words and a vector, under a guide of one's own network": """
sizes: {V: 4, E: 4, D: 2}
plates: {t: sequence}
networks:
  words: Embedding(V, E)
  reader: Module(own_nets.Both, in=[E], out=[E], reads=whole)
  head: Linear(E, 2*D)
  writer: Module(own_nets.Joined, in=[E, D], out=[E], reads=causal)
  out: Linear(E, V)
latent: {z: "Normal(0, 1)[D]"}
observed: {"x[t]": "Categorical(logits=out(writer(words(x[<t]), z)))"}
guide: {z: "Normal(loc, softplus(scale)) where loc, scale = split(head(mean(reader(words(x)))))"}
""",
}


MADE = """
sizes: {V: 4, E: 3, H: 2, D: 1}
plates: {t: sequence}
networks:
  words: Embedding(V, E)
  reader: Module(own_nets.Heads(E, 2*H, heads=H, slope=-0.5), in=[E], out=[2*H], reads=whole)
  head: Linear(2*H, 2*D)
  out: Linear(D, V)
latent: {z: "Normal(0, 1)[D]"}
observed:
  x[t]: Categorical(logits=out(z))
guide:
  z: Normal(loc, softplus(scale)) where loc, scale = split(head(mean(reader(words(x)))))
"""


@pytest.fixture
def nets(tmp_path, monkeypatch):
    """The package `own_nets`, in an empty folder."""
    (tmp_path / "own_nets.py").write_text(NETS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own_nets", raising=False)


def compiled(text, **options):
    return compile_spec(f"lvspec: 1\n{text}", allow_modules=("own_nets",), **options)


def report_of(text, draws=0):
    sizes = shrink(read_spec(f"lvspec: 1\n{text}", allow_modules=("own_nets",)))
    one = compiled(text, sizes=sizes)
    return verify(one.spec, one.plan, one.Model, seed=1, draws=draws)


@pytest.mark.parametrize("model", MODELS)
def test_the_module_agrees_with_brute_force(nets, model):
    report = report_of(MODELS[model])
    assert report.passed, render(report)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ("w[<=t], u[<t]", "stretches of two kinds meet in one expression: `[<=t]` and `[<t]`"),
        ("w[<=t], u[t]", "a stretch along `t` meets a value of the single site `t`"),
        ("w[t], u[t]", "reads a stretch of sites in order, and this is a single one"),
    ],
)
def test_stretches_of_other_sites_are_refused(nets, arguments, why):
    text = MODELS["two stretches from each site on"].replace("w[>=t], u[>=t]", arguments)
    with pytest.raises(SpecError, match=re.escape(why)):
        compiled(text)


SHADOWS = """
name: {name}
sizes: {{V: 4, E: 2, K: 3}}
plates: {{t: sequence}}
given: {{"x[t]": "token(V)"}}
networks: {{words: "Embedding(V, E)", top: "Module(own_nets.{user}, in=[E], out=[K])"}}
observed: {{"y[t]": "Categorical(logits=top(words(x[t])))"}}
"""


@pytest.mark.parametrize(("name", "user"), [("tagger", "Embedding"), ("named", "Named")])
@pytest.mark.parametrize("standalone", [False, True])
def test_a_class_may_be_named_like_a_network_or_like_the_model(nets, name, user, standalone):
    one = compiled(SHADOWS.format(name=name, user=user), standalone=standalone)
    model = one.Model(V=4) if "V: int," in one.source else one.Model()
    assert type(model).__name__ == name.capitalize()
    assert (type(model.top).__module__, type(model.top).__name__) == ("own_nets", user)
    assert type(model.words).__module__ != "own_nets"
    x, y = torch.tensor([[0, 3], [1, 2]]), torch.tensor([[1, 2], [0, 0]])
    scores = torch.tanh(model.top.f(model.words.weight[x])).log_softmax(-1)
    torch.testing.assert_close(model.log_prob({"x": x, "y": y}), scores.gather(-1, y.unsqueeze(-1)).sum((1, 2)))


BENT = """lvspec: 1
name: bent
sizes: {{P: 3, H: 4}}
given: {{u: "real[P]"}}
networks: {{f: "Module(own_nets.{user}, in=[P], out=[H])"}}
observed: {{x: "Normal(f(u), 1)"}}
"""

WHOSE = {
    "Picky": "multiple of 4",
    "Broken": "own_nets.py",
    "Narrow": "is made with the sizes that `in` and `out` name: P, H",
    "Plain": "no torch.nn.Module",
    "Missing": "cannot import `own_nets.Missing`",
}


@pytest.mark.parametrize("user", WHOSE)
@pytest.mark.parametrize("command", ["train", "verify"])
def test_a_user_s_own_error_is_shown_as_such(nets, tmp_path, capsys, user, command):
    (tmp_path / "bent.yaml").write_text(
        BENT.format(user=user) + "data: {u: {format: jsonl, field: u}, x: {format: jsonl, field: x}}\n"
    )
    (tmp_path / "data.jsonl").write_text('{"u": [1, 2, 3], "x": [1, 2, 3, 4]}\n' * 20)
    options = ["--data", "data.jsonl", "--quiet"] if command == "train" else []
    assert main([command, "bent.yaml", "--allow-module", "own_nets", *options]) in (1, 2)
    told = capsys.readouterr().err
    assert WHOSE[user] in told and "bug" not in told, told


def test_an_error_while_a_package_is_imported_is_the_user_s(nets, tmp_path, capsys):
    (tmp_path / "own_broken.py").write_text("import torch\nwidth = 1 / 0\n")
    (tmp_path / "bent.yaml").write_text(BENT.format(user="Embedding").replace("own_nets", "own_broken"))
    assert main(["verify", "bent.yaml", "--allow-module", "own_broken"]) == 2
    assert "own_broken.py, line 2" in capsys.readouterr().err


def test_verify_names_a_network_that_sees_the_future(nets, tmp_path, capsys):
    cheat = MODELS["symbols before a site"].replace("own_nets.Reader", "own_nets.Both").replace("E: 3", "E: 4")
    (tmp_path / "cheat.yaml").write_text(f"lvspec: 1\nname: cheat\n{cheat}")
    assert main(["verify", "cheat.yaml", "--allow-module", "own_nets"]) == 1
    assert "`own_nets.Both` is declared reads=causal, but sees the future" in capsys.readouterr().err


def test_sizes_that_a_user_s_network_takes_are_not_shrunken(nets):
    spec = BENT.format(user="Picky").replace("P: 3", "P: 64").removeprefix("lvspec: 1\n")
    report = report_of(spec)
    assert report.sizes["P"] == 64 and report.passed, render(report)


def test_a_class_is_made_with_what_is_written_and_told_which_sites_count(nets):
    source = compiled(MADE).source
    assert "own_nets__Heads(E, 2 * H, heads=H, slope=-0.5)" in source
    report = report_of(MADE)
    assert report.passed and report.sizes["H"] == 2, render(report)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("slope=-0.5, masked=false", "reads padding"),
        ("slopes=2", "is made with what is written: E, 2 * H, heads=H, slopes=2; its own signature says"),
    ],
)
def test_what_does_not_fit_such_a_class_is_told(nets, tmp_path, capsys, written, told):
    (tmp_path / "made.yaml").write_text(f"lvspec: 1\nname: made\n{MADE.replace('slope=-0.5', written)}")
    assert main(["verify", "made.yaml", "--allow-module", "own_nets"]) in (1, 2)
    assert told in capsys.readouterr().err


def test_an_error_of_the_constructor_names_all_calls_of_the_user_s_on_its_way(nets, tmp_path, capsys):
    (tmp_path / "made.yaml").write_text(f"lvspec: 1\nname: made\n{MADE.replace('heads=H', 'heads=3')}")
    assert main(["verify", "made.yaml", "--allow-module", "own_nets"]) == 1
    told = capsys.readouterr().err
    assert re.search(r"no equal parts for 3 heads \(.*own_nets.py, .* in complain, called from .* in __init__\)", told)
