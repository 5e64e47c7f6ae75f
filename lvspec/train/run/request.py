"""What a training command asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lvspec.emitted import CompiledSpec
from lvspec.ir.plan import Plan
from lvspec.train.data.sources import Files


@dataclass(frozen=True)
class Request:
    """What a training command asks for. compiled: at nominal sizes; compile_spec: the driver's, for the real ones;
    path: the spec's file (None: its text is compiled again).

    train, data: entries that replace those of the spec's sections. resume, replace_run: what to do with a directory in use.
    other_spec: resume although the spec has changed. check: asked about the plan that is to be trained, before anything is written.
    """

    compiled: CompiledSpec
    compile_spec: Callable
    files: Files
    out: Path
    path: str | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    infer: Mapping[str, str | int | float] = field(default_factory=dict)
    allow_modules: tuple[str, ...] = ()
    train: Mapping[str, object] = field(default_factory=dict)
    data: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    device: str = "cpu"
    resume: bool = False
    replace_run: bool = False
    other_spec: bool = False
    check: Callable[[Plan], None] | None = None
