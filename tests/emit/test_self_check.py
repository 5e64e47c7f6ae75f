"""`compile --self-check`: a file that is run compares log p(x) with plain enumeration, and is refused where it cannot."""

import pytest

from lvspec.cli.main import main
from lvspec.driver import compile_spec
from lvspec.errors import UsageError
from tests import SPECS

MODELS = ("factorial_hmm", "hmm", "mixture_of_rnns", "naive_bayes", "softmax_mixture_lm")


def source_of(name: str) -> str:
    return compile_spec(SPECS / f"{name}.yaml", self_check=True).source


def run(source: str) -> None:
    exec(compile(source, "<emitted>", "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("name", MODELS)
def test_a_right_module_passes_its_own_check(name, capsys):
    source = source_of(name)
    run(source)
    assert "by enumeration" in capsys.readouterr().out
    lines = source.split('if __name__ == "__main__":')[1].split("\n")
    assert 15 <= len(lines) <= 40 and max(map(len, lines)) <= 120


def test_a_wrong_recursion_and_a_forgotten_mask_are_found():
    source = source_of("hmm")
    mask = 'real_sites(log_p_x, batch["x.mask"][:, :, None])'
    for right, wrong in (('("i,ij->j",)', '("j,ij->i",)'), (mask, "log_p_x")):
        assert right in source
        with pytest.raises(AssertionError, match="not close"):
            run(source.replace(right, wrong))


@pytest.mark.parametrize(
    "name, reason",
    [
        ("vae", "no sum over latents that have finitely many values"),
        ("latent_attention", "values of s, which is given, are not made up"),
        ("text_segmentation", "not the same few at each of its sites"),
    ],
)
def test_what_cannot_be_enumerated_is_refused(name, reason):
    with pytest.raises(UsageError, match=reason):
        source_of(name)


def test_the_command_writes_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["compile", str(SPECS / "hmm.yaml"), "--self-check"]) == 0
    assert (tmp_path / "hmm.py").read_text() == source_of("hmm")
