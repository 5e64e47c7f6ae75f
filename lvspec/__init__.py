"""lvspec: a graphical model with latent variables, written in YAML, compiled into a readable PyTorch module.

    import lvspec

    hmm = lvspec.compile_spec("hmm.yaml", sizes={"K": 10})
    print(hmm.source)           # the module's text
    model = hmm.Model(V=1000)   # its class

Importing this package is cheap: torch and the compiler's own libraries are loaded when they are needed.
"""

from __future__ import annotations

__version__ = "0.1.0"

# public name -> where it lives
_PUBLIC = {
    "compile_spec": "lvspec.warned",
    "read_spec": "lvspec.warned",
    "Compiled": "lvspec.driver",
    "Diagnostic": "lvspec.errors",
    "Span": "lvspec.errors",
    "SpecError": "lvspec.errors",
    "SpecWarning": "lvspec.errors",
    "UsageError": "lvspec.errors",
    "TrainingError": "lvspec.errors",
    "InternalError": "lvspec.errors",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'lvspec' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
