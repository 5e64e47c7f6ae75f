"""The pipeline on one page: text → Spec → Plan → Python source → class.

read_spec(path)     front: YAML with positions → a checked Spec (or every diagnostic at once)
plan_spec(path)     plan:  Spec → Plan, each latent with its strategy, price and reasons
compile_spec(path)  emit:  Plan → source;  `.Model`: the class, made on first use
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from lvspec.errors import UsageError

if TYPE_CHECKING:
    from lvspec.ir.plan import Plan
    from lvspec.ir.spec import Spec

STDIN = "-"
LARGEST_SPEC = 1_000_000  # bytes


@dataclass(frozen=True)
class Compiled:
    """A spec with what became of it. `source` is the module's text, `Model` the class that it defines."""

    spec: Spec
    plan: Plan
    source: str
    allow_modules: tuple[str, ...] = ()

    @cached_property
    def symbols(self) -> dict:
        """What the locals of the module's methods stand for, by name: lvspec/emit/text/symbols.py."""
        from lvspec.emit import symbols

        return symbols(self.plan)

    @cached_property
    def Model(self) -> type:
        """The emitted class; torch is imported here, not before."""
        from lvspec.load import load_module

        return load_module(self.source, self.spec, self.allow_modules).Model


def read_text(path: str | Path) -> tuple[str, str]:
    """(text, name to show it under) of a file, of standard input (`-`), or of a spec given as text."""
    if str(path) == STDIN:
        data, name = sys.stdin.buffer.read(LARGEST_SPEC + 1), "<stdin>"
    elif isinstance(path, str) and "\n" in path:
        try:
            data, name = path.encode(), "<text>"
        except UnicodeEncodeError as reason:
            raise UsageError(f"the spec's character {reason.start} is half a one (a lone surrogate): no text") from None
    else:
        try:
            with Path(path).open("rb") as file:
                data, name = file.read(LARGEST_SPEC + 1), str(path)
        except (OSError, ValueError) as reason:
            raise UsageError(f"cannot read {str(path)!r}: {getattr(reason, 'strerror', None) or reason}") from None
    if len(data) > LARGEST_SPEC:
        raise UsageError(f"{name} is larger than {LARGEST_SPEC:,} bytes: not a spec")
    try:
        return data.decode("utf-8-sig"), name
    except UnicodeDecodeError as reason:
        raise UsageError(f"{name} is not UTF-8 text: byte {reason.start} is {data[reason.start]:#04x}") from None


def read_spec(
    path: str | Path,
    sizes: Mapping[str, int] | None = None,
    overrides: Mapping[str, str | int | float] | None = None,
    allow_modules: Sequence[str] = (),
) -> Spec:
    """A checked Spec, with the sizes and strategies that the caller sets instead of the file."""
    return _set(_load(*read_text(path), allow_modules), sizes, overrides)


def _load(text: str, name: str, allow_modules: Sequence[str], derived: str = "") -> Spec:
    from lvspec.front import load

    return load(text, name, tuple(allow_modules), derived)


def _set(spec: Spec, sizes: Mapping[str, int] | None, overrides: Mapping[str, str | int | float] | None) -> Spec:
    from lvspec import settings

    return settings.override(settings.resize(spec, sizes or {}), overrides or {})


def plan_spec(
    path: str | Path,
    sizes: Mapping[str, int] | None = None,
    overrides: Mapping[str, str | int | float] | None = None,
    allow_modules: Sequence[str] = (),
) -> Plan:
    """What would be compiled, with its reasons and prices; see `compile_spec` for the arguments.

    Where `infer: guide:` names how a guide is derived, its lines are read as if they stood in the file.
    """
    return plan_read(read_spec(path, sizes, overrides, allow_modules), sizes, overrides, allow_modules)


def plan_read(
    spec: Spec,
    sizes: Mapping[str, int] | None = None,
    overrides: Mapping[str, str | int | float] | None = None,
    allow_modules: Sequence[str] = (),
) -> Plan:
    """`plan_spec` of a spec that `read_spec` has read with the same arguments."""
    from lvspec.plan import make_plan

    plan = make_plan(spec, dict(sizes or {}))
    if plan.derived and dict(spec.infer).get("guide"):
        spec = _set(_load(spec.source.text, spec.source.name, allow_modules, plan.derived), sizes, overrides)
        plan = make_plan(spec, dict(sizes or {}))
    return plan


def compile_spec(
    path: str | Path,
    sizes: Mapping[str, int] | None = None,
    overrides: Mapping[str, str | int | float] | None = None,
    standalone: bool = False,
    allow_modules: Sequence[str] = (),
    self_check: bool = False,
) -> Compiled:
    """A model file (or its text, or `-`) as source, plan and class.

    sizes: {"K": 10} instead of the file's; also the nominal ones of the prices: V, B, |t|.
    overrides: {"z": "reinforce", "samples": 8}: entries of the `infer:` section; a wrong choice is refused.
    standalone: the source needs torch alone.  self_check: run, it compares log p(x), or the ELBO's terms, with definitions.
        allow_modules: packages whose networks the spec may name.
    """
    from lvspec.emit import emit

    plan = plan_spec(path, sizes, overrides, allow_modules)
    return Compiled(plan.spec, plan, emit(plan, standalone, self_check), tuple(allow_modules))


def recompile(
    spec: Spec,
    sizes: Mapping[str, int],
    overrides: Mapping[str, str | int | float],
    allow_modules: Sequence[str] = (),
) -> Compiled:
    """A spec that has been read, compiled again at other sizes and with other entries of `infer:`."""
    from lvspec import settings
    from lvspec.emit import emit
    from lvspec.plan import make_plan

    plan = make_plan(settings.override(settings.resize(spec, sizes), overrides), dict(sizes))
    return Compiled(plan.spec, plan, emit(plan), tuple(allow_modules))


def spec_hash(text: str) -> str:
    """What identifies a spec: the start of its text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]
