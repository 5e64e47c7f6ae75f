"""train, eval, infer and sample as a person types them: exit codes, what is on stdout, what is left on disk."""

import json

import pytest
import torch

from lvspec.cli.main import main
from tests.train.toy import HMM, BagVAE, Compiler, token_spec


class Sampling(HMM):
    """HMM with ancestral samples."""

    def sample(self, n, given=None, lengths=None):
        T = int(lengths["t"].max())
        z = torch.distributions.Categorical(logits=self.start).sample((n,))
        states, words = [], []
        for _ in range(T):
            states.append(z)
            words.append(torch.distributions.Categorical(logits=self.emission[z]).sample())
            z = torch.distributions.Categorical(logits=self.transition[z]).sample()
        return {"z": torch.stack(states, 1), "x": torch.stack(words, 1), "t": lengths["t"]}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A directory with CoNLL-U files, and the compiler replaced by hand-written classes."""
    monkeypatch.chdir(tmp_path)
    for name, count in (("train", 60), ("dev", 20), ("test", 10)):
        blocks = []
        for i in range(count):
            rows = [("the", "DET"), (f"noun{i % 5}", "NOUN"), ("runs", "VERB")][: 2 + i % 2]
            blocks.append("".join(f"{k + 1}\t{w}\t_\t{t}\t_\t_\t_\t_\t_\t_\n" for k, (w, t) in enumerate(rows)))
        (tmp_path / f"{name}.conllu").write_text("\n".join(blocks))
    (tmp_path / "hmm.yaml").write_text("lvspec: 1\nname: hmm\n")
    use(monkeypatch, Sampling)
    return tmp_path


def use(monkeypatch, model):
    spec = token_spec(data=[("x", {"format": "conllu", "column": "form"})], train=[("epochs", 4), ("batch_size", 16)])
    monkeypatch.setattr("lvspec.driver.compile_spec", Compiler(spec, model))


TRAIN = [
    "train",
    "hmm.yaml",
    "--data",
    "train.conllu",
    "--valid",
    "dev.conllu",
    "--set",
    "train.learning_rate=0.1",
    "--no-verify",
]


def test_train_then_eval_infer_and_sample(here, capsys):
    assert main([*TRAIN, "--test", "test.conllu"]) == 0
    out, err = capsys.readouterr()
    assert out == "runs/hmm\n"
    assert "valid: dev.conllu" in err and err.count("log p(x)") == 4 and "best" in err
    assert main(["eval", "runs/hmm", "--json", "--gold", "upos"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["data"] == "test part of the run's data" and report["examples"] == 10
    rows = {(r["quantity"], r["how"]): r["value"] for r in report["figures"]}
    assert rows["perplexity", "exact"] < rows["perplexity", "unigram (add-one) of x"]
    assert 0 <= rows["v_measure", "mode of z against upos (3 clusters, 3 labels, 25 items)"] <= 1
    assert main(["infer", "runs/hmm", "--data", "dev.conllu", "--limit", "3", "--marginals"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["record"] for line in lines] == [0, 1, 2]
    assert lines[1]["x"] == ["the", "noun1", "runs"] and len(lines[1]["z"]["mode"]) == 3
    assert sum(lines[1]["z"]["marginals"][0]) == pytest.approx(1, abs=1e-5)
    first = lines[1]["z"]["marginals"][0]
    assert lines[1]["z"]["probability"][0] == first[lines[1]["z"]["mode"][0]]
    assert main(["infer", "runs/hmm", "--top-words", "2"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert main(["sample", "runs/hmm", "-n", "2", "--length", "4"]) == 0
    assert [len(line.split()) for line in capsys.readouterr().out.splitlines()] == [4, 4]


def test_what_is_missing_and_what_is_left_out_is_said(here, capsys):
    assert main([*TRAIN, "--column", "x=upos", "--set", "data.x.lengths=3-9", "--epochs", "1"]) == 0
    err = capsys.readouterr().err
    assert "warning: train part: 30 records without a site, or of a length that is not wanted, are left out" in err
    assert "warning: valid part: 10 records" in err
    text = (here / "dev.conllu").read_text()
    (here / "odd.conllu").write_text(text.replace("\tNOUN\t", "\t_\t"))
    assert main(["infer", "runs/hmm", "--data", "odd.conllu", "--limit", "1"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["x"] == ["DET", None, "VERB"]
    assert "warning: odd.conllu: 10 records without a site" in err


def test_split_dev_gives_one_half_to_stopping_and_the_other_to_the_figure(here, capsys):
    assert main([*TRAIN, "--split-dev", "--steps", "3", "--quiet"]) == 0
    config = json.loads((here / "runs/hmm/config.json").read_text())
    capsys.readouterr()
    figures = []
    for choice in ([], ["--data", "dev.conllu", "--split-dev"], ["--part", "valid"]):
        assert main(["eval", "runs/hmm", "--json", *choice]) == 0
        figures.append(json.loads(capsys.readouterr().out))
    assert figures[0]["figures"] == figures[1]["figures"]
    assert figures[2]["examples"] == config["examples"]["valid"] == 20 - figures[0]["examples"]


def test_options_of_the_command_line_replace_the_spec_s(here):
    options = ["--set", "sizes.K=2", "--set", "data.x.lower=true", "--column", "x=upos", "--seed", "3", "--steps", "2"]
    assert main([*TRAIN, *options, "--out", "other", "--quiet"]) == 0
    config = json.loads((here / "other/config.json").read_text())
    assert config["sizes"] == {"K": 2, "V": 4}
    assert config["data"]["x"]["column"] == "upos" and config["data"]["x"]["lower"] is True
    assert config["train"]["seed"] == 3 and config["train"]["learning_rate"] == 0.1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--data", "nothing.conllu"], "nothing.conllu: no such file"),
        (["--set", "train.epoch=3"], "unknown setting 'epoch'"),
        (["--set", "data.y.lower=true"], "no variable 'y'"),
        (["--set", "training.epochs=3"], "--set"),
        (["--device", "cuda:99"], "--device"),
        (["--device", "abacus"], "--device"),
        (["--resume"], "no run to resume"),
        (["--format", "xml"], "xml"),
        (["--steps", "0"], "steps"),
        (["--set", "train.learning_rate=1e38"], "train.learning_rate: must be at least 0 and at most 1e+30"),
        (["--set", "train.optimizer=sdg"], "'sdg' is none of adam, adamw, sgd"),
        (["--out", "train.conllu"], "train.conllu"),
    ],
)
def test_wrong_usage_is_exit_2_with_the_reason(here, capsys, options, said):
    assert main([*TRAIN, *options]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["eval", "r", "--samples", "-1"], "--samples: expected a whole number, at least 0, found '-1'"),
        (["infer", "r", "--limit", "-1"], "--limit: expected a whole number, at least 1, found '-1'"),
        (["infer", "r", "--top-words", "0"], "--top-words: expected a whole number, at least 1, found '0'"),
        (["sample", "r", "-n", "0"], "-n: expected a whole number, at least 1"),
        (["sample", "r", "--length", "2.5"], "--length: expected a whole number, at least 1, found '2.5'"),
        (["sample", "r", "--seed", "-3"], "--seed: expected a whole number, at least 0"),
        (["verify", "hmm.yaml", "--seed", "9" * 30], "--seed: expected a whole number, at least 0"),
        ([*TRAIN, "--seed", "x"], "--seed: expected a whole number, at least 0"),
        ([*TRAIN, "--epochs", "-2"], "--epochs: expected a whole number, at least 1"),
        (["tune", "hmm.yaml", "--data", "a", "--seconds", "nan"], "--seconds: expected a number above 0, found 'nan'"),
    ],
)
def test_options_that_count_are_whole_numbers_in_their_range(here, capsys, options, said):
    assert main(options) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("command", ["eval", "infer"])
def test_half_of_a_file_is_of_one_that_is_named(here, capsys, command):
    assert main([*TRAIN, "--steps", "2", "--quiet"]) == 0
    assert main([command, "runs/hmm", "--split-dev"]) == 2
    assert "--split-dev: half of a file, which --data names" in capsys.readouterr().err


def test_damaged_run_is_exit_2(here, capsys):
    assert main([*TRAIN, "--steps", "2", "--quiet"]) == 0
    (here / "runs/hmm/config.json").write_text("{")
    assert main(["eval", "runs/hmm"]) == 2
    assert "damaged" in capsys.readouterr().err
    assert main(["eval", "runs/none"]) == 2


class Lost(BagVAE):
    """BagVAE whose words become infinite at once."""

    def forward(self, batch, draws=None, phase=None):
        with torch.no_grad():
            self.words.bias.fill_(float("inf"))
        return super().forward(batch)


def test_failed_training_is_exit_3_and_names_the_parameter(here, capsys, monkeypatch):
    use(monkeypatch, Lost)
    assert main([*TRAIN, "--quiet"]) == 3
    assert "step 1: the parameter words.bias is inf" in capsys.readouterr().err


def test_interrupted_training_is_exit_130_with_a_checkpoint_to_resume(here, capsys, monkeypatch):
    import signal

    class Interrupted(Sampling):
        def forward(self, batch, draws=None, phase=None):
            if self.step == 3:
                signal.raise_signal(signal.SIGINT)
            return super().forward(batch)

    use(monkeypatch, Interrupted)
    assert main([*TRAIN, "--quiet"]) == 130
    assert (here / "runs/hmm/checkpoints/step-00000004.safetensors").is_file()
    assert main([*TRAIN, "--quiet"]) == 2  # a run is there: say --resume
    assert main([*TRAIN, "--quiet", "--resume"]) == 0


def test_evaluation_of_a_run_whose_spec_was_edited_is_refused(here, capsys):
    assert main([*TRAIN, "--steps", "2", "--quiet"]) == 0
    with (here / "runs/hmm/spec.yaml").open("a") as file:
        file.write("# a remark\n")
    assert main(["eval", "runs/hmm"]) == 2
    assert "spec.yaml: has been changed or damaged" in capsys.readouterr().err


def test_questions_that_a_model_cannot_answer_are_exit_2(here, capsys):
    assert main([*TRAIN, "--steps", "2", "--quiet"]) == 0
    for command, said in (
        (["infer", "runs/hmm", "--latent", "y"], "no latent 'y'"),
        (["eval", "runs/hmm", "--gold", "upos", "--latent", "y"], "no discrete latent"),
        (["eval", "runs/hmm", "--gold", "pos"], "no column 'pos'"),
        (["eval", "runs/hmm", "--latent", "z"], "--latent says how --gold is compared"),
        (["eval", "runs/hmm", "--no-punctuation"], "--no-punctuation says how --gold is compared"),
        (["eval", "runs/hmm", "--gold", "upos", "--no-punctuation"], "--no-punctuation is about trees"),
        (["eval", "runs/hmm", "--checkpoint", "step-1"], "no checkpoint"),
        (["sample", "runs/hmm", "--length", "2", "--png", "a.png"], "draws no pictures"),
    ):
        assert main(command) == 2
        assert said in capsys.readouterr().err


def test_more_than_the_memory_is_no_bug(here, capsys, monkeypatch):
    class Large(HMM):
        def __init__(self, V: int, K: int = 3):
            super().__init__(V, K)
            self.register_buffer("table", torch.zeros(2**45))

    use(monkeypatch, Large)
    assert main([*TRAIN, "--quiet"]) == 3
    assert "there is not enough memory" in capsys.readouterr().err


def test_one_process_trains(here, capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(TRAIN) == 2
    assert "torchrun has started 2" in capsys.readouterr().err
    assert not (here / "runs").exists()


def test_evaluation_takes_the_data_of_the_run_or_says_so(here, capsys):
    assert main([*TRAIN, "--test", "test.conllu", "--steps", "2", "--quiet"]) == 0
    with (here / "test.conllu").open("a") as file:
        file.write("\n" + (here / "dev.conllu").read_text())
    assert main(["eval", "runs/hmm"]) == 2
    assert "test.conllu: is not the file that the run was made with" in capsys.readouterr().err
    assert main(["eval", "runs/hmm", "--part", "valid"]) == 0
    assert main(["eval", "runs/hmm", "--data", "test.conllu"]) == 0


def test_file_whose_name_is_no_text_can_be_trained_on(here, capsys):
    (here / "t\udcff.conllu").write_bytes((here / "train.conllu").read_bytes())
    command = [*TRAIN, "--steps", "2", "--quiet"]
    assert main([c.replace("train.conllu", "t\udcff.conllu") for c in command]) == 0
    assert main(["eval", "runs/hmm", "--part", "train"]) == 0
