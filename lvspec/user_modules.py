"""A user's own classes: whether they may be imported and can be what the spec says, and whose an error is."""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from collections.abc import Callable, Iterable

from lvspec.errors import UsageError
from lvspec.ir.spec import Network, Spec


def check_user_modules(spec: Spec, allow_modules: tuple[str, ...]) -> None:
    """A user's network must be defined in an allowed package: its own `__module__` counts, not the path written."""
    for network in spec.networks:
        if network.path is None:
            continue
        package, _, attribute = network.path.rpartition(".")
        if not is_allowed(package, allow_modules):
            raise UsageError(f"`{network.path}` is not allowed; add --allow-module {package.partition('.')[0]}")
        try:
            found = getattr(importlib.import_module(package), attribute)
        except Exception as reason:  # a package of the user's own may raise anything as it is imported
            raise UsageError(f"cannot import `{network.path}`: {explained(reason, allow_modules)}") from reason
        home = getattr(found, "__module__", "")
        if not isinstance(found, type) or not is_allowed(home, allow_modules):
            raise UsageError(f"`{network.path}` is not a class of an allowed package (it comes from {home or '?'})")
        check_arguments(network, found)


def check_arguments(network: Network, found: type) -> None:
    """The constructor takes what is written, or the sizes in `in` and `out` in order; `forward` takes as many values as `in` has, and
    `lengths` and `mask`, if it reads the whole and asks for them."""
    from torch import nn

    if not issubclass(found, nn.Module):
        raise UsageError(f"`{network.path}` is no torch.nn.Module")
    made = network.option("made")
    written = made if made is not None else [("", d) for d in network.arguments]
    sizes = ", ".join(f"{k}={v}" if k else str(v) for k, v in written) or "nothing"
    told = "what is written" if made is not None else "the sizes that `in` and `out` name"
    shapes = len(network.option("in"))
    wanted: tuple[tuple[Callable, int, list[str], str], ...] = (
        (found, sum(not k for k, _ in written), [k for k, _ in written if k], f"is made with {told}: {sizes}"),
        (found.forward, shapes + 1, [], f"is given {shapes} tensor{'s' * (shapes != 1)}, one for each entry of `in`"),
    )
    for function, count, keywords, rule in wanted:
        try:
            signature = inspect.signature(function)
            if function is found.forward and network.option("reads") == "whole":
                keywords = [k for k in ("lengths", "mask") if k in signature.parameters]
            signature.bind(*range(count), **dict.fromkeys(keywords, 0))
        except TypeError as reason:
            raise UsageError(f"`{network.path}` {rule}; its own signature says: {reason}") from None
        except ValueError:
            continue  # it has no signature to look at


def is_allowed(module: str, allow_modules: Iterable[str]) -> bool:
    return any(module == allowed or module.startswith(allowed + ".") for allowed in allow_modules)


def is_users(reason: BaseException, packages: Iterable[str]) -> bool:
    """Whether code of the user's own raised it, or is not what the spec says of it."""
    network_error = getattr(sys.modules.get("lvspec.runtime.networks.user_networks"), "UserNetworkError", ())
    return isinstance(reason, network_error) or bool(frames(reason, packages))


def explained(reason: BaseException, packages: Iterable[str]) -> str:
    """`ValueError: the size must be a multiple of 4 (user_nets.py, line 20, in parts, called from user_nets.py, line 10, in __init__)`."""
    place = frames(reason, packages)
    if getattr(sys.modules.get("lvspec.runtime.networks.user_networks"), "UserNetworkError", None) is type(reason):
        return str(reason)
    calls = [f"{p.filename}, line {p.lineno}, in {p.name}" for p in reversed(place)]
    where = f" ({', called from '.join(calls)})" if calls else ""
    return f"{type(reason).__name__}: {reason}{where}"


def frames(reason: BaseException, packages: Iterable[str]) -> list[traceback.FrameSummary]:
    """The calls on the way to an error that stand in one of the packages, the outermost first."""
    allowed = tuple(packages)
    every = list(traceback.walk_tb(reason.__traceback__))
    own = [is_allowed(frame.f_globals.get("__name__", ""), allowed) for frame, _ in every]
    return [s for s, mine in zip(traceback.extract_tb(reason.__traceback__), own, strict=True) if mine]
