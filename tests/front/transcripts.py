"""What lvspec says of each spec under tests/bad: `python -m tests.front.transcripts` writes it anew, to be read before it is kept."""

from lvspec.errors import SpecError, render
from lvspec.front import load
from tests import ROOT

BAD = ROOT / "tests" / "bad"


def diagnostics(path):
    """Everything noted about a spec, warnings of one without an error too."""
    text = path.read_bytes().decode("utf-8")
    try:
        spec = load(text, path.name)
    except SpecError as error:
        return error.source, error.diagnostics
    return spec.source, spec.warnings


def transcript(path):
    source, found = diagnostics(path)
    return "".join(render(d, source) + "\n" for d in found)


if __name__ == "__main__":
    for old in BAD.glob("*.txt"):
        old.unlink()
    for spec in sorted(BAD.glob("*.yaml")):
        spec.with_suffix(".txt").write_text(transcript(spec), encoding="utf-8")
