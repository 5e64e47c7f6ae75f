import contextlib
import io

import pytest

from lvspec.cli.main import main


@pytest.fixture
def lvspec(tmp_path, monkeypatch):
    """Runs the command in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(*argv):
        out, err = _Text(), _Text()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([str(a) for a in argv])
        return code, out.text(), err.text()

    return run


class _Text(io.TextIOWrapper):
    """A text stream over bytes, as a real stdout is."""

    def __init__(self):
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)

    def text(self):
        return self.buffer.getvalue().decode()
