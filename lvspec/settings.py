"""A spec with other sizes or strategies than its file says: `--set sizes.K=10`, `--strategy z=reinforce`.

resize(spec, {"K": 10})                 K: 45                →  K: 10
override(spec, {"z": "reinforce(samples=8)"})   infer: {}    →  infer: {z: reinforce(samples=8)}
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from lvspec.errors import Source, UsageError
from lvspec.front.overrides import fits
from lvspec.front.problems import Problems
from lvspec.front.sections import INFER
from lvspec.front.settings import read_objective_setting
from lvspec.ir.bounds import BOUNDS, Bound, BoundForm
from lvspec.ir.estimators import STRATEGIES, Strategy
from lvspec.ir.options import Key
from lvspec.ir.spec import Options, Override, Schedule, Spec

_CALL = re.compile(r"(?P<name>\w+)\s*(\((?P<options>([^()]|\([^()]*\))*)\))?")
_COMMA = re.compile(r",(?![^(]*\))")  # not inside the parentheses of a schedule

OBJECTIVE = ("kl_weight", "free_bits")


def suggest(name: str, known: Iterable[str]) -> str:
    """`; did you mean \\`z\\`?`, or what there is, or nothing."""
    known = list(known)
    close = get_close_matches(name, known, 1)
    if close:
        return f"; did you mean `{close[0]}`?"
    return f"; there are {', '.join(f'`{k}`' for k in known)}" if known else ""


def resize(spec: Spec, sizes: Mapping[str, int]) -> Spec:
    """The sizes with other numbers. Names that only prices know (B, |t|) are left to the planner."""
    known = {size.name for size in spec.sizes}
    prices = {"B", *(f"|{plate.name}|" for plate in spec.plates if plate.ragged)}
    for name, value in sizes.items():
        if name not in known | prices:
            raise UsageError(f"{spec.source.name} has no size `{name}`{suggest(name, sorted(known | prices))}")
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UsageError(f"size `{name}` is a whole number above 0, not {value!r}")
    return replace(spec, sizes=tuple(replace(s, value=sizes.get(s.name, s.value)) for s in spec.sizes))


def override(spec: Spec, overrides: Mapping[str, str | int | float]) -> Spec:
    """The `infer:` section with other entries: a strategy for a latent (the planner decides whether it
    is legal), a general setting, or a number for prices; and what of `train:` becomes part of the module."""
    latents = [v.name for v in spec.of_role("latent")]
    whole = {part: v.name for v in spec.of_role("latent") for part in v.parts}
    overrides = {whole.get(name, name): value for name, value in overrides.items()}
    general = {key.name: key for key in INFER}
    nominal = ("B", *(s.name for s in spec.sizes), *(p.name for p in spec.plates))
    asked, infer = [], dict(spec.infer)
    objective: dict[str, Any] = {}
    for name, value in overrides.items():
        if name in latents:
            asked.append(Override(name, *read_call(str(value), STRATEGIES, "strategy")))
        elif name == "bound":
            infer[name] = _bound(str(value))
        elif name in OBJECTIVE:
            objective[name] = _objective(name, str(value), tuple(latents))
        elif name in general:
            infer[name] = _checked(general[name], value)
        elif name in nominal:
            infer[name] = _checked(Key(name, "integer", None, "a number for prices", least=1), value)
        else:
            raise UsageError(f"{spec.source.name} has no latent `{name}`{suggest(name, [*latents, *general])}")
    kept = tuple(o for o in spec.overrides if o.name not in overrides)
    return replace(spec, overrides=kept + tuple(asked), infer=tuple(infer.items()), **objective)


def _objective(name: str, text: str, latents: tuple[str, ...]) -> Options:
    """A setting of `train:` that becomes part of the module."""
    problems = Problems(Source(f"--set train.{name}", f"{name}: {text}\n"))
    found = read_objective_setting(name, text, latents, problems)
    if problems.errors:
        first = problems.errors[0]
        raise UsageError(f"train.{name}={text}: {first.message}{'; ' + first.help if first.help else ''}")
    return tuple(found.items())


def read_call(text: str, table: Mapping[str, Strategy] | Mapping[str, BoundForm], what: str) -> tuple[str, Options]:
    """`reinforce(samples=8)` is ("reinforce", (("samples", 8),)), by the rows of what may be called."""
    match = _CALL.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} is not a {what}, e.g. {next(iter(table))}, or with options, name(samples=8)")
    if match["name"] not in table:
        raise UsageError(f"there is no {what} `{match['name']}`{suggest(match['name'], table)}")
    known = {key.name: key for key in table[match["name"]].keys}
    options = []
    for part in filter(None, (p.strip() for p in _COMMA.split(match["options"] or ""))):
        name, equals, value = map(str.strip, part.partition("="))
        if not equals or name not in known:
            raise UsageError(f"{text!r}: options are written name=value{suggest(name, known)}")
        options.append((name, _checked(known[name], value)))
    return match["name"], tuple(options)


def _bound(text: str) -> Bound:
    """`iwae(samples=5)` as a bound."""
    name, options = read_call(text, BOUNDS, "bound")
    bound = Bound(name, **dict(options))
    if bound.gradient not in bound.form.gradients:
        raise UsageError(f"`{name}` has no {bound.gradient} gradient; it has {', '.join(bound.form.gradients)}")
    return bound


def _schedule(text: str) -> Schedule | None:
    """`0.5` or `linear(1, 0.1, steps=100)`, read as a weight of the KL is."""
    return dict(_objective("kl_weight", text, ())).get("")


def _checked(key: Key, value: str | int | float) -> object:
    """A value that the key of a section may have."""
    if key.kind == "schedule":
        found = _schedule(str(value))
        if found is None or not fits(key, found):
            raise UsageError(f"`{key.name}` cannot be {value!r}: {key.meaning}")
        return found
    value = number(value) if isinstance(value, str) else value
    if key.kind == "choice":
        fine = value in key.choices
    else:
        kinds = int if key.kind == "integer" else int | float
        fine = isinstance(value, kinds) and not isinstance(value, bool | str) and not key.outside(value)
    if not fine:
        raise UsageError(f"`{key.name}` cannot be {value!r}: {key.meaning}{suggest(str(value), key.choices)}")
    return value


def number(text: str) -> int | float | str:
    """8, 0.5, or the text itself."""
    if re.fullmatch(r"-?\d{1,18}", text):
        return int(text)
    if re.fullmatch(r"-?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?", text) and len(text) <= 32:
        return float(text)
    return text
