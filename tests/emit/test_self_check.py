"""`compile --self-check`: a file that is run compares log p(x) and marginals with plain enumeration, or the terms of an ELBO with their
definitions, and is refused where it cannot."""

import subprocess
import sys
from contextlib import contextmanager

import pytest
import torch

from lvspec.cli.main import main
from lvspec.driver import compile_spec
from lvspec.errors import UsageError
from tests import SPECS

LATENTS = ("factorial_hmm", "hmm", "ibm1", "latent_attention", "mixture_of_rnns", "naive_bayes", "softmax_mixture_lm")
BOUNDS = (
    "compound_pcfg",
    "dem_vae",
    "discrete_vae",
    "gm_vae",
    "latent_attention_elbo",
    "naive_bayes_amortized",
    "nvdm",
    "sentence_vae",
    "vae",
)
LABELS = ("bilstm_tagger", "dependency_crf", "linear_chain_crf")


def source_of(name: str) -> str:
    return compile_spec(SPECS / f"{name}.yaml", self_check=True).source


@contextmanager
def as_it_was():
    """The default dtype and whether gradients are on, which a file of its own may set."""
    dtype, gradients = torch.get_default_dtype(), torch.is_grad_enabled()
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(gradients)


def run(source: str) -> None:
    with as_it_was():
        exec(compile(source, "<emitted>", "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("name", (*LATENTS, *LABELS))
def test_a_right_module_passes_its_own_check(name, capsys):
    source = source_of(name)
    run(source)
    assert capsys.readouterr().out.endswith("they agree\n")
    lines = source.split('if __name__ == "__main__":')[1].split("\n")
    assert 15 <= len(lines) <= 40 and max(map(len, lines)) <= 120


@pytest.mark.parametrize("name", BOUNDS)
def test_a_right_bound_passes_its_own_check(name, capsys):
    source = source_of(name)
    run(source)
    assert capsys.readouterr().out.endswith("they agree\n")
    check = source.split('if __name__ == "__main__":')[1]
    assert check.count("\n") <= 110 and max(map(len, check.split("\n"))) <= 120
    assert "lvspec" not in check


FAULTS = {
    "gm_vae": (
        ("drawn.logits_c.log_softmax(-1)", "drawn.logits_c.log_softmax(0)", "KL of c"),
        ("log_p_c = self.prior.log_softmax(-1)", "log_p_c = self.prior", "KL of c"),
        (").kl(Normal(self.mu,", ").kl(Normal(-self.mu,", "KL of z"),
        ("previous(x, dim=1, begin=self.V)", "x", "reconstruction"),
        ('batch["x.mask"][None], 2).mean(0)', 'batch["x.mask"][None], 2).sum(0) / 2', "reconstruction"),
        ("guide.q_z.draw(z_noise)", "guide.q_z.draw(2 * z_noise)", "draws of z"),
        (" - log_q_z + ", " + ", "log weights"),
        ("loss = -weighted_mean(", "loss = weighted_mean(", "loss"),
    ),
    "sentence_vae": (
        ("drawn.q_z.kl(Normal(0, 1))", "Normal(0, 1).kl(drawn.q_z)", "KL of z"),
        ("Normal(0, 1).log_prob(drawn.z)", "Normal(0, 2).log_prob(drawn.z)", "log weights"),
        ("elbo = reconstruction - ", "elbo = reconstruction + ", "ELBO"),
    ),
    "latent_attention_elbo": (
        ('log_softmax(inside_plate(h @ memory.mT, batch["m.mask"][:, None]))', "log_softmax(h @ memory.mT)", "KL of a"),
        ("expectation(log_q_a, computed.log_p_x, -1)", "computed.log_p_x.mean(-1)", "reconstruction"),
        ("return log_sum_a", "return 0.9 * log_sum_a", "log p"),
    ),
    "compound_pcfg": (
        (
            "word = of_parts(self.words, self.tags, z[:, :, None])",
            "word = of_parts(self.words, self.tags, -z[:, :, None])",
            "reconstruction",
        ),
        ("pcfg_log_prob(x, ", "pcfg_log_prob(x.flip(1), ", "reconstruction"),
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_wrong_term_of_a_bound_is_found_and_named(name, capsys):
    source = source_of(name)
    for right, wrong, term in FAULTS[name]:
        assert right in source
        with pytest.raises(SystemExit, match="they differ"):
            run(source.replace(right, wrong))
        rows = [line.split(": off by ") for line in capsys.readouterr().out.split("\n") if ": off by " in line]
        assert term in [name for name, figure in rows if float(figure) > 1e-6], right


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


@pytest.mark.parametrize(
    "name, latent", [("hmm", "z"), ("ibm1", "a"), ("factorial_hmm", "z"), ("linear_chain_crf", "z")]
)
def test_a_wrong_posterior_is_found_where_log_p_is_right(name, latent, capsys):
    source, right = source_of(name), f'tilt["{latent}"]'
    assert right in source
    with pytest.raises(SystemExit, match="they differ"):
        run(source.replace(right, f"0.9 * {right}"))
    rows = [line.split(": off by ") for line in capsys.readouterr().out.split("\n") if ": off by " in line]
    assert [name for name, figure in rows if float(figure) > 1e-6] == [f"marginals of {latent}"]


TWO = """
lvspec: 1
name: two
sizes: {K: 3, V: vocabulary(x)}
plates: {t: sequence, l: 2}
params: {prior: [K], states: [K, 3], emission: [K, 3, 3, V]}
latent:
  c: Categorical(logits=prior)
  z[t, l]: Categorical(logits=states[c])
observed:
  x[t]: Categorical(logits=emission[c, z[t, 0], z[t, 1]])
"""


def test_every_summed_latent_is_compared(capsys):
    run(compile_spec(TWO, self_check=True).source)
    compared = [line.split(": off by ")[0] for line in capsys.readouterr().out.split("\n") if ": off by " in line]
    assert compared == ["log p(x)", "marginals of c", "marginals of z"]


def test_a_difference_is_the_exit_status_of_the_file(tmp_path):
    source = source_of("naive_bayes")
    for text, status in ((source, 0), (source.replace("self.prior.log_softmax(-1)", "self.prior", 1), 1)):
        (tmp_path / "model.py").write_text(text)
        done = subprocess.run([sys.executable, tmp_path / "model.py"], capture_output=True, text=True)
        assert done.returncode == status and done.stderr == ("they differ\n" if status else "")


@pytest.mark.parametrize(
    "name, reason",
    [
        ("kalman", "no sum over latents that have finitely many values"),
        ("iwae", "its objective is a bound of several draws"),
        ("lda", "it has no guide"),
        ("neural_topic_model", "z is collapsed inside the expectation"),
        ("planar_flow_vae", "one through a flow, is not written out"),
        ("semi_amortized_vae", r"q\(z\) is more than a distribution of each example"),
        ("svi_vae", "each example of the data has loc of its own"),
        ("vmf_vae", "VonMisesFisher is not written out in torch.distributions"),
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
