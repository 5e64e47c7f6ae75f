"""`compile_spec` and `read_spec` as Python asks for them: what a command would say of the spec is a `SpecWarning`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import wraps

from lvspec import driver
from lvspec.errors import SpecWarning, render


def _warned(function: Callable) -> Callable:
    @wraps(function)
    def told(*args, **options):
        found = function(*args, **options)
        spec = getattr(found, "spec", found)
        for diagnostic in spec.warnings:
            warnings.warn(render(diagnostic, spec.source), SpecWarning, stacklevel=2)
        return found

    return told


compile_spec = _warned(driver.compile_spec)
read_spec = _warned(driver.read_spec)
