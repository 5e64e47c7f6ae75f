"""`compile --self-check`: a file that is run compares log p(x) with plain enumeration, and is refused where it cannot."""

import subprocess
import sys

import pytest

from lvspec.cli.main import main
from lvspec.driver import compile_spec
from lvspec.errors import UsageError
from tests import SPECS

LATENTS = ("factorial_hmm", "hmm", "ibm1", "latent_attention", "mixture_of_rnns", "naive_bayes", "softmax_mixture_lm")
LABELS = ("bilstm_tagger", "dependency_crf", "linear_chain_crf")


def source_of(name: str) -> str:
    return compile_spec(SPECS / f"{name}.yaml", self_check=True).source


def run(source: str) -> None:
    exec(compile(source, "<emitted>", "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("name", (*LATENTS, *LABELS))
def test_a_right_module_passes_its_own_check(name, capsys):
    source = source_of(name)
    run(source)
    assert capsys.readouterr().out.endswith("they agree\n")
    lines = source.split('if __name__ == "__main__":')[1].split("\n")
    assert 15 <= len(lines) <= 40 and max(map(len, lines)) <= 120


def test_a_wrong_recursion_and_a_forgotten_mask_are_found():
    source = source_of("hmm")
    mask = 'real_sites(log_p_x, batch["x.mask"][:, :, None])'
    for right, wrong in (('"i,ij->j"', '"j,ij->i"'), (mask, "log_p_x")):
        assert right in source
        with pytest.raises(SystemExit, match="they differ"):
            run(source.replace(right, wrong))


def test_labels_that_do_not_add_up_are_found():
    source, right = source_of("linear_chain_crf"), "return log_sum_z"
    assert right in source
    with pytest.raises(SystemExit, match="they differ"):
        run(source.replace(right, "return 0.9 * log_sum_z"))


def test_a_difference_is_the_exit_status_of_the_file(tmp_path):
    source = source_of("naive_bayes")
    for text, status in ((source, 0), (source.replace("self.prior.log_softmax(-1)", "self.prior", 1), 1)):
        (tmp_path / "model.py").write_text(text)
        done = subprocess.run([sys.executable, tmp_path / "model.py"], capture_output=True, text=True)
        assert done.returncode == status and done.stderr == ("they differ\n" if status else "")


@pytest.mark.parametrize(
    "name, reason",
    [
        ("vae", "no sum over latents that have finitely many values"),
        ("text_segmentation", "what is observed reads z, whose labels are one structure"),
    ],
)
def test_what_cannot_be_enumerated_is_refused(name, reason):
    with pytest.raises(UsageError, match=reason):
        source_of(name)


def test_the_command_writes_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["compile", str(SPECS / "hmm.yaml"), "--self-check"]) == 0
    assert (tmp_path / "hmm.py").read_text() == source_of("hmm")
