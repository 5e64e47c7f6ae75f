"""Exit codes, what goes to which stream, and what a command must not import."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lvspec.cli import main
from lvspec.cli.commands import check
from lvspec.errors import Diagnostic, InternalError, Source, Span, SpecError, TrainingError, UsageError
from lvspec.shipped import shipped
from tests import ROOT
from tests.processor import least_seconds_of

SPECS = sorted(shipped("specs").glob("*.yaml"))
HMM = shipped("specs") / "hmm.yaml"

BROKEN = SpecError(Source("m.yaml", "lvspec: 1\n"), (Diagnostic("missing-section", Span(1, 1, 1, 7), "no observed"),))


@pytest.mark.parametrize(
    ("raised", "code", "told"),
    [
        (BROKEN, 1, "m.yaml:1:1: error[missing-section]: no observed"),
        (UsageError("no such size"), 2, "lvspec: no such size"),
        (FileNotFoundError(2, "No such file or directory", "x.yaml"), 2, "lvspec: x.yaml: No such file or directory"),
        (TrainingError("loss is NaN at step 3"), 3, "lvspec: loss is NaN at step 3"),
        (InternalError("a plan without a strategy"), 70, "lvspec: internal error: a plan without a strategy"),
        (KeyError("z"), 70, "lvspec: internal error: KeyError: 'z'"),
        (RecursionError("too deep"), 70, "This is a bug of lvspec"),
        (KeyboardInterrupt(), 130, "lvspec: interrupted"),
    ],
)
def test_exit_code_says_whose_fault_it_is(lvspec, monkeypatch, raised, code, told):
    def run(args):
        raise raised

    monkeypatch.setattr(check, "run", run)
    found, out, err = lvspec("check", HMM)
    assert (found, out) == (code, "")
    assert told in err
    assert "Traceback" not in err


def test_internal_error_names_the_hash_of_the_spec_and_debug_shows_the_place(lvspec, monkeypatch):
    monkeypatch.setattr(check, "run", lambda args: {}["z"])
    assert "sha256" in lvspec("check", HMM)[2]
    assert "Traceback" in lvspec("check", HMM, "--debug")[2]


@pytest.mark.parametrize("argv", [[], ["frobnicate"], ["check"], ["check", "a.yaml", "--nope"], ["graph", "-o"]])
def test_wrong_command_line_is_2(lvspec, argv):
    code, out, err = lvspec(*argv)
    assert code == 2
    assert "usage: lvspec" in err


@pytest.mark.parametrize("command", main.COMMANDS)
def test_every_command_has_help(lvspec, command):
    code, out, err = lvspec(command, "--help")
    assert code == 0
    assert f"lvspec {command}" in out


@pytest.mark.parametrize("command", ["train", "tune"])
def test_help_says_how_places_of_variables_are_given(lvspec, command):
    out = lvspec(command, "--help")[1]
    assert all(f"--{option} [x=]PLACE" in out for option in ("column", "columns", "field", "array"))


def test_help_lists_every_command(lvspec):
    out = lvspec("--help")[1]
    assert all(f"\n    {command} " in out for command in main.COMMANDS)


@pytest.mark.parametrize(
    "argv",
    [
        ["check", "missing.yaml"],
        ["check", "."],
        ["check", HMM, "--set", "K=3"],
        ["check", HMM, "--set", "sizes.K"],
        ["check", HMM, "--set", "sizes.K=-1"],
        ["check", HMM, "--set", "sizes.K=1e3"],
        ["check", HMM, "--set", "sizes.Q=3"],
        ["check", HMM, "--strategy", "y=reinforce"],
        ["check", HMM, "--strategy", "z=magic"],
    ],
)
def test_wrong_files_and_settings_are_2(lvspec, argv):
    code, out, err = lvspec(*argv)
    assert (code, out) == (2, "")
    assert err.startswith("lvspec: ")


def test_unknown_names_get_a_suggestion(lvspec):
    assert "did you mean `reinforce`?" in lvspec("check", HMM, "--strategy", "z=reinfroce")[2]


def test_file_that_is_no_text_is_2(lvspec, tmp_path):
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    assert lvspec("check", "b.yaml")[0] == 2


def test_escape_codes_in_a_message_are_not_printed(lvspec):
    assert "\x1b" not in lvspec("check", "a\x1b[31mb.yaml")[2]


ODD = """lvspec: 1
description: "red \\e[31m, erased \\x9b2J, from right to left \\u202e"
params: {m: []}
observed:
  x: Normal(m, 1)
"""


def test_check_tells_further_places_as_json(lvspec):
    """Of a mistake that stands in two places the second one is a note, with its own place."""
    twice = ROOT / "tests" / "bad" / "101_two_general_clauses.yaml"
    code, out, _ = lvspec("check", twice, "--json")
    (note,) = json.loads(out)["diagnostics"][0]["notes"]
    assert code == 1 and note["message"] == "the first one is here" and len(note["span"]) == 4


@pytest.mark.parametrize("command", ["check", "explain", "explain --json", "check --json", "graph", "compile -o -"])
@pytest.mark.parametrize("colour", ["never", "always"])
def test_what_a_spec_or_its_name_says_does_not_move_the_terminal(lvspec, tmp_path, command, colour):
    """All that is shown is printable, but for the colours that lvspec itself puts there."""
    (tmp_path / "m\x1b[2J.yaml").write_text(ODD)
    name, *options = command.split()
    code, out, err = lvspec(name, "m\x1b[2J.yaml", *options, "--color", colour)
    assert code == 0
    for shown in (out, err):
        if colour == "always":
            shown = re.sub(r"\x1b\[(0|1|2|3[1-6])m(?! alert)", "", shown)
        assert shown.replace("\n", "").isprintable()
    if "--json" in options:
        assert json.loads(out)
    assert "\x1b[31m," not in out


def test_only_one_place_writes_to_the_terminal():
    """Products, bytes or source, go to stdout as they are; all other text is cleaned on its way."""
    for path in Path(main.__file__).parent.glob("*.py"):
        found = re.findall(r"(?<![\w.])print\(|sys\.std\w+\.(?:buffer\.)?write\(\w+", path.read_text())
        allowed = {"sys.stdout.write(compiled", "sys.stdout.write(text", "sys.stdout.buffer.write(data"}
        assert path.name == "terminal.py" or set(found) <= allowed, path


def test_verify_says_what_it_has_compared(lvspec):
    code, out, err = lvspec("verify", HMM)
    assert code == 0 and "log" in out
    assert lvspec("verify", HMM, "--json")[1].startswith("{")


# ---------------------------------------------------------------- processes of their own
def process(*argv, **options):
    return subprocess.run([sys.executable, "-m", "lvspec.cli.main", *map(str, argv)], capture_output=True, **options)


LIGHT = [("check",), ("explain",), ("explain", "--json"), ("compile", "-o", "-"), ("graph",)]


@pytest.mark.parametrize("command", LIGHT, ids=" ".join)
def test_compiler_commands_never_import_torch_for_any_model(command):
    """One process for all models: what one of them imports stays imported."""
    code = (
        "import sys; from lvspec.cli.main import main; name, paths, options = eval(sys.argv[1]); "
        "codes = [main([name, path, *options]) for path in paths]; "
        "assert 'torch' not in sys.modules, 'torch'; sys.exit(max(codes))"
    )
    call = repr((command[0], [str(p) for p in SPECS], command[1:]))
    done = subprocess.run([sys.executable, "-c", code, call], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", LIGHT[:2] + LIGHT[3:4], ids=" ".join)
def test_compiler_commands_answer_within_half_a_second(command):
    """Seconds of the processor: what else the machine does is not counted."""
    line = [sys.executable, "-m", "lvspec.cli.main", command[0], HMM, *command[1:]]
    assert least_seconds_of(line, enough=0.5) < 0.5


def test_importing_the_package_imports_no_library():
    code = (
        "import sys, lvspec; assert not {'torch', 'networkx', 'lark', 'opt_einsum', 'yaml', 'numpy'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_dash_is_standard_input():
    done = process("check", "-", input=HMM.read_bytes())
    assert done.returncode == 0
    assert done.stdout.startswith(b"<stdin>: fine")


def test_reader_that_goes_away_is_no_error():
    pipe = f"{sys.executable} -m lvspec.cli.main init --list | head -c 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", pipe], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("check {hmm} >&-", 0),
        ("check {hmm} 2>&-", 0),
        ("compile {hmm} -o - >&-", 0),
        ("graph {hmm} >&-", 0),
        ("check nothing.yaml 2>&-", 2),
        ("check nothing.yaml 2>/dev/full", 2),
        ("explain {hmm} >/dev/full", 2),
        ("graph {hmm} >/dev/full", 2),
        ("check nothing.yaml 2>&1 | true", 2),
    ],
)
def test_streams_that_take_nothing_are_no_bug(command, code):
    line = f"{sys.executable} -m lvspec.cli.main {command.format(hmm=HMM)}"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True)
    assert done.returncode == code
    assert "bug" not in done.stderr and "Traceback" not in done.stderr and "Exception" not in done.stderr


@pytest.mark.parametrize(
    ("options", "colours"), [([], False), (["--color", "always"], True), (["--color", "never"], False)]
)
def test_colours_only_where_asked_or_on_a_terminal(options, colours):
    done = process("check", HMM, *options, env={**os.environ, "TERM": "xterm"})
    assert (b"\x1b[" in done.stdout) is colours
