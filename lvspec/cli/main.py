"""`lvspec COMMAND ...`: arguments in, text out, an exit code.

0 fine · 1 the spec has errors · 2 usage or files · 3 training failed · 70 our own bug · 130 interrupted
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Sequence
from importlib import import_module

from lvspec import __version__
from lvspec.cli import terminal
from lvspec.errors import InternalError, SpecError, TrainingError, UsageError

FINE, SPEC, USAGE, TRAINING, BUG, INTERRUPTED = 0, 1, 2, 3, 70, 130

# command -> its module; each has add_parser(subparsers) and run(args) -> exit code
COMMANDS = {
    name: f"lvspec.cli.commands.{name}"
    for name in (
        *("init", "check", "explain", "graph", "compile", "verify", "tune"),
        *("train", "eval", "infer", "sample", "decode"),
    )
}
QUICK = ("init", "check", "explain", "graph", "compile")


class _Parser(argparse.ArgumentParser):
    """Says what it has to say, arguments of a shell's `*` included, as all commands do."""

    def _print_message(self, message: str, file=None) -> None:
        if message:
            (terminal.say if file is sys.stderr else terminal.show)(message.rstrip("\n"))


def build_parser(command: str | None) -> argparse.ArgumentParser:
    """The parser of one command, or of all when none is named: a command never pays for another's imports."""
    parser = _Parser(
        prog="lvspec",
        description="A graphical model with latent variables, in YAML; a readable PyTorch module out of it.",
    )
    parser.add_argument("--version", action="version", version=f"lvspec {__version__}")
    subparsers = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    for name in [command] if command else COMMANDS:
        import_module(COMMANDS[name]).add_parser(subparsers)
    for sub in subparsers.choices.values():
        sub.add_argument("--color", choices=("auto", "always", "never"), default="auto", help=argparse.SUPPRESS)
        sub.add_argument("--debug", action="store_true", help="show where an internal error happened")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    argv = list(sys.argv[1:] if argv is None else argv)
    terminal.open_streams()
    try:
        args = build_parser(argv[0] if argv and argv[0] in COMMANDS else None).parse_args(argv)
    except SystemExit as stop:  # argparse has printed its help (0) or what is wrong (2)
        return stop.code if isinstance(stop.code, int) else USAGE
    terminal.set_colour(args.color)
    collecting = gc.isenabled()
    if args.command in QUICK:
        gc.disable()  # these are over before looking for garbage pays
    try:
        code = import_module(COMMANDS[args.command]).run(args)
        sys.stdout.flush()
        return code
    except BaseException as reason:
        return _failed(reason, args)
    finally:
        if collecting:
            gc.enable()


def _failed(reason: BaseException, args: argparse.Namespace) -> int:
    """The exit code for what a command raised, after telling what is to be told."""
    if isinstance(reason, SpecError):
        terminal.say_diagnostics(reason.diagnostics, reason.source)
        return SPEC
    if isinstance(reason, UsageError):
        return _told(str(reason), USAGE)
    if isinstance(reason, TrainingError) and reason.diagnostic is not None:
        assert reason.source is not None  # a diagnostic has its place in a spec
        terminal.say_diagnostics((reason.diagnostic,), reason.source)
        return TRAINING
    if isinstance(reason, TrainingError):
        return _told(str(reason), TRAINING)
    if isinstance(reason, KeyboardInterrupt):
        return _told("interrupted", INTERRUPTED)
    if isinstance(reason, OSError) and reason.filename is None:
        terminal.give_up(sys.stdout)
    if isinstance(reason, BrokenPipeError):
        return FINE  # the reader has gone (`lvspec explain ... | head`): nothing more to say
    if isinstance(reason, OSError):
        return _told(f"{reason.filename or 'output'}: {reason.strerror or reason}", USAGE)
    if isinstance(reason, Exception) and _lacks_memory(reason):
        advice = "`lvspec explain` says what a step takes; smaller sizes, or a smaller batch, take less"
        return _told(
            f"there is not enough memory: {str(reason).partition(chr(10))[0] or 'of Python'}; {advice}", TRAINING
        )
    if isinstance(reason, Exception) and _of_data(reason):
        return _told(str(reason), TRAINING)
    if isinstance(reason, Exception):
        return _users(reason, args) or _bug(reason, args)
    raise reason


def _lacks_memory(reason: Exception) -> bool:
    """torch says so in a RuntimeError of its own."""
    return isinstance(reason, MemoryError) or any(
        w in str(reason) for w in ("can't allocate memory", "out of memory", "size calculation overflowed")
    )


def _users(reason: Exception, args: argparse.Namespace) -> int:
    """The exit code where an error is of a network of the user's own; else 0."""
    packages = getattr(args, "allow_module", None)
    if not packages:
        return 0
    from lvspec.user_modules import explained, is_users

    return _told(f"a network of your own: {explained(reason, packages)}", SPEC) if is_users(reason, packages) else 0


def _of_data(reason: Exception) -> bool:
    """Whether a module has refused a batch: the data do not fit the model."""
    runtime = sys.modules.get("lvspec.runtime.core.batch")  # commands that read no data never load it
    return runtime is not None and isinstance(reason, runtime.BadBatch)


def _told(message: str, code: int) -> int:
    terminal.say(f"{terminal.paint('lvspec:', 'red', sys.stderr)} {message}")
    return code


def _bug(reason: Exception, args: argparse.Namespace) -> int:
    if args.debug:
        import traceback

        traceback.print_exception(reason)
    what = str(reason) if isinstance(reason, InternalError) else f"{type(reason).__name__}: {reason}"
    _told(f"internal error: {what[:500]}", BUG)
    where = "" if args.debug else "; --debug shows where it happened"
    terminal.say(
        f"  This is a bug of lvspec {__version__}, not of your model. Please report it{_of_spec(args)}{where}."
    )
    return BUG


def _of_spec(args: argparse.Namespace) -> str:
    """The hash of the spec at fault, where it can still be read."""
    from lvspec.driver import STDIN, read_text, spec_hash

    path = getattr(args, "spec", None)
    if not isinstance(path, str) or path == STDIN:
        return ""
    try:
        return f" with the spec (sha256 {spec_hash(read_text(path)[0])})"
    except UsageError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
