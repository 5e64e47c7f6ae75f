"""Emitted source → a module object, as if it had been imported from a file; its `Model` is the class that the source is for.

The text is registered in `linecache` and `sys.modules` under a name made of the spec's name and the
text's hash, so tracebacks, debuggers, `inspect.getsource`, pickling and torch.compile see a module like any other.
"""

from __future__ import annotations

import hashlib
import importlib.util
import linecache
import sys
import types

from lvspec.errors import UsageError
from lvspec.ir.flows import library_of
from lvspec.ir.spec import Spec
from lvspec.user_modules import check_user_modules


def load_module(source: str, spec: Spec, allow_modules: tuple[str, ...] = ()) -> types.ModuleType:
    """The module that `source` defines; the same text gives the same module."""
    check_user_modules(spec, allow_modules)
    check_libraries(spec)
    name = f"lvspec_compiled_{spec.name}_{hashlib.sha256(source.encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    file = f"<{name}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    module = types.ModuleType(name)
    module.__file__ = file
    sys.modules[name] = module
    try:
        exec(compile(source, file, "exec"), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    vars(module)["Model"] = emitted_class(module)
    return module


def emitted_class(module: types.ModuleType) -> type:
    """The class that a module is for, whatever it is called: the last network that it defines."""
    network = sys.modules["torch"].nn.Module  # the module has imported it; nothing here does
    own = (c for c in vars(module).values() if isinstance(c, type) and c.__module__ == module.__name__)
    return [c for c in own if issubclass(c, network)][-1]


def check_libraries(spec: Spec) -> None:
    """The library of a flow must be there; which those are is a table of lvspec's, and nothing that a spec can add to."""
    for network in spec.networks:
        library = library_of(network)
        if library is not None and importlib.util.find_spec(library) is None:
            message = f"`{network.name}` is {network.kind}, and {library} is not installed"
            raise UsageError(f"{message}: pip install 'lvspec[{library}]'")
