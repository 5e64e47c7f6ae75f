"""The pipeline as Python calls it: text or file in, source, plan and class out."""

import copy
import inspect
import linecache
import pickle
import sys
import warnings
from dataclasses import replace

import pytest

import lvspec
from lvspec.errors import UsageError
from lvspec.ir.dims import Dim
from lvspec.ir.estimators import STRATEGIES
from lvspec.ir.spec import FreeBits, Network, Schedule
from lvspec.load import check_user_modules, load_module
from lvspec.settings import override, read_call, resize
from lvspec.shipped import shipped

HMM = shipped("specs") / "hmm.yaml"


@pytest.fixture(scope="module")
def hmm():
    return lvspec.compile_spec(HMM, sizes={"K": 3})


def test_parts_of_the_objective_are_replaced():
    vae = lvspec.read_spec(shipped("specs") / "vae.yaml")
    found = override(vae, {"kl_weight": "{z: 'cyclical(0, 1, period=500)'}", "free_bits": "dimension(0.25)"})
    assert found.kl_weight == (("z", Schedule("cyclical", (0.0, 1.0, 500.0))),)
    assert found.free_bits == (("", FreeBits("dimension", 0.25)),)
    for wrong in ({"kl_weight": "{y: 1}"}, {"free_bits": "bits(3)"}):
        with pytest.raises(UsageError):
            override(vae, wrong)


def test_path_text_and_file_give_the_same_source(hmm):
    again = lvspec.compile_spec(str(HMM), sizes={"K": 3})
    assert again.source == hmm.source
    assert lvspec.compile_spec(HMM.read_text(), sizes={"K": 3}).Model(V=5).state_dict().keys()


def test_what_a_command_says_of_a_spec_is_a_warning_of_python():
    text = "lvspec: 1\nname: idle\nlatent:\n  z: Normal(0, 1)\n  w: Normal(0, 1)\nobserved:\n  x: Normal(z, 1)\n"
    for function in (lvspec.compile_spec, lvspec.read_spec):
        with pytest.warns(
            lvspec.SpecWarning, match=r"<text>:5:3: warning\[unused-latent\]: no observed .* `w`"
        ) as said:
            function(text)
        assert len(said) == 1 and said[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lvspec.read_spec(HMM)


def test_sizes_become_the_defaults_of_the_class(hmm):
    assert hmm.Model(V=7).transition.shape == (3, 3)
    assert hmm.Model(V=7, K=4).transition.shape == (4, 4)


def test_class_has_its_source(hmm):
    assert inspect.getsource(hmm.Model).startswith("class HMM")
    file = sys.modules[hmm.Model.__module__].__file__
    linecache.checkcache()
    assert "".join(linecache.getlines(file)) == hmm.source


def test_same_source_gives_the_same_class(hmm):
    assert lvspec.compile_spec(HMM, sizes={"K": 3}).Model is hmm.Model


def test_model_can_be_copied_and_pickled(hmm):
    model = hmm.Model(V=5)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert twin.transition.equal(model.transition)


def test_module_that_fails_to_run_leaves_nothing_behind(hmm):
    before = set(sys.modules)
    with pytest.raises(ZeroDivisionError):
        load_module("1 / 0\n", hmm.spec)
    assert set(sys.modules) == before


def test_unknown_size_and_latent_are_named(hmm):
    with pytest.raises(UsageError, match="no size `k`"):
        resize(hmm.spec, {"k": 3})
    with pytest.raises(UsageError, match="no latent `zz`; did you mean `z`"):
        override(hmm.spec, {"zz": "enumeration"})


def test_override_replaces_what_the_file_says(hmm):
    once = override(hmm.spec, {"z": "enumeration"})
    twice = override(once, {"z": "reinforce(samples=8)", "samples": "4"})
    assert [(o.name, o.strategy, o.options) for o in twice.overrides] == [("z", "reinforce", (("samples", 8),))]
    assert dict(twice.infer)["samples"] == 4


@pytest.mark.parametrize(
    "text", ["", "reinforce(", "reinforce(8)", "reinforce(samples=0)", "reinforce(x=1)", "f(g(x=1))"]
)
def test_strategies_that_are_none_are_refused(text):
    with pytest.raises(UsageError):
        read_call(text, STRATEGIES, "strategy")


# ---------------------------------------------------------------- a user's own networks
def with_network(spec, path):
    return replace(
        spec,
        networks=(
            Network(
                "own", "Module", (Dim.of(2), Dim.of(3)), (("in", ((Dim.of(2),),)), ("out", (Dim.of(3),))), path=path
            ),
        ),
    )


def test_network_of_an_allowed_package_is_imported(hmm):
    check_user_modules(with_network(hmm.spec, "torch.nn.Linear"), ("torch.nn",))


@pytest.mark.parametrize(
    ("path", "allowed", "reason"),
    [
        ("torch.nn.Linear", (), "not allowed; add --allow-module torch"),
        ("torch.nn.Linear", ("torchvision",), "not allowed"),
        ("torchx.nn.Linear", ("torch",), "not allowed"),  # a longer name is another package
        ("json.codecs.Codec", ("json",), "cannot import|comes from codecs"),
        ("logging.os.PathLike", ("logging",), "cannot import|comes from"),
        ("logging.StrFormatStyle.format", ("logging",), "cannot import"),
        ("logging.getLogger", ("logging",), "not a class"),
        ("logging.Absent", ("logging",), "cannot import"),
    ],
)
def test_network_from_elsewhere_is_refused(hmm, path, allowed, reason):
    with pytest.raises(UsageError, match=reason):
        check_user_modules(with_network(hmm.spec, path), allowed)


def test_name_that_only_passes_through_an_allowed_package_is_refused(hmm):
    """`logging.Template` is string's class: what counts is where it was made."""
    with pytest.raises(UsageError, match="comes from string"):
        check_user_modules(with_network(hmm.spec, "logging.Template"), ("logging",))
