"""One file that needs torch alone: the runtime's definitions that a module uses, taken along.

    from lvspec.runtime import chain  ->  def chain(...), and whatever chain's text names, and so on

The runtime's text is read, never imported. Of a family of distributions the methods are taken that anything calls, by
their names. Definitions keep their text and their order; a module comes after the modules that it imports, so that what runs
when the file is loaded finds what it needs. The model comes last.
"""

from __future__ import annotations

import ast
import hashlib
import re
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from lvspec.emit.text.names import NameUse, bound_by, global_uses, import_lines
from lvspec.errors import InternalError

RUNTIME = Path(__file__).resolve().parents[2] / "runtime"
PACKAGE = "lvspec.runtime"
OFFERED = (
    "decoding.",
    "estimators.",
    "families.",
    "networks.",
    "structures.",
)  # folders whose files say what they offer
FAMILIES = "families."  # what the names of the modules of distributions begin with
NAMESPACE = "OP_NAMESPACE"  # operators of compiled graphs are registered under it, once in a process
ATTRIBUTE = re.compile(r"\.([A-Za-z_]\w*\(?)")
RULE = "# " + "-" * 64 + " "


@dataclass(frozen=True)
class Definition:
    """A function, a class or a constant of the runtime. text: its lines, comments above it included; uses: the
    module-level names that it reads, by their places in the text; headed: whether it starts with `def` or `class`."""

    module: str
    name: str
    text: str
    uses: tuple[NameUse, ...]
    headed: bool


@dataclass(frozen=True)
class Module:
    """definitions: in order. external: name -> (module, name or None) of torch and the standard library.
    internal: name -> module of the runtime. imports: those modules in order."""

    definitions: dict[str, Definition]
    external: dict[str, tuple[str, str | None]]
    internal: dict[str, str]
    imports: tuple[str, ...]


# ---------------------------------------------------------------- reading
def imported(node: ast.Import | ast.ImportFrom) -> dict[str, tuple[str, str | None]]:
    """`from math import prod as times` -> {"times": ("math", "prod")}; `import math` -> {"math": ("math", None)}."""
    source = (node.module or "") if isinstance(node, ast.ImportFrom) else PACKAGE
    if source.startswith(PACKAGE) and any(a.asname for a in node.names):
        raise InternalError(f"a renamed import cannot be taken along: {ast.unparse(node)}")
    if isinstance(node, ast.ImportFrom):
        return {a.asname or a.name: (source, a.name) for a in node.names}
    return {a.name.partition(".")[0]: (a.name, None) for a in node.names}


def read_module(name: str, text: str) -> Module:
    """A module's text, taken apart."""
    lines = text.splitlines()
    definitions, external, internal, imports = {}, {}, {}, []
    for node in ast.parse(text).body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for found, (source, original) in imported(node).items():
                if found == "*":  # of a folder that offers what its files do: see runtime_modules
                    continue
                if source.startswith(PACKAGE):
                    home = source.removeprefix(PACKAGE).lstrip(".")
                    internal[found] = home
                    imports.append(home)
                elif source != "__future__":
                    external[found] = (source, original)
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            names = bound_by(node)
            if not names:
                raise InternalError(f"a statement of {name} defines nothing: {ast.unparse(node)[:60]}")
            for bound in names:
                definitions[bound] = definition(name, bound, node, lines)
    return Module(definitions, external, internal, tuple(dict.fromkeys(imports)))


def definition(module: str, name: str, node: ast.stmt, lines: list[str]) -> Definition:
    """The statement's own lines, with the comment right above it."""
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))]) - 1
    while first and lines[first - 1].startswith("#"):
        first -= 1
    text = "\n".join(lines[first : node.end_lineno])
    return Definition(module, name, text, global_uses(node, first), isinstance(node, (ast.FunctionDef, ast.ClassDef)))


@cache
def runtime_modules() -> dict[str, Module]:
    """Every module of the runtime, each after those that it imports."""
    read = {}
    for path in sorted(RUNTIME.rglob("*.py")):
        name = ".".join(path.relative_to(RUNTIME).with_suffix("").parts)
        read[name] = read_module(name, path.read_text(encoding="utf-8"))
    offered = {n: name for name in read if name.startswith(OFFERED) for n in read[name].definitions}
    read["__init__"].internal.update(offered | read["__init__"].internal)
    ordered: dict[str, Module] = {}

    def visit(name: str) -> None:
        if name not in ordered:
            for earlier in read[name].imports:
                visit(earlier)
            ordered[name] = read[name]

    for name in read:
        visit(name)
    return ordered


# ---------------------------------------------------------------- what is needed
def home_of(name: str, module: str) -> tuple[str, str] | None:
    """Where a name that `module` reads is defined in the runtime: (module, name), or None."""
    modules = runtime_modules()
    while name not in modules[module].definitions:
        if name not in modules[module].internal:
            return None
        module = modules[module].internal[name]
    return module, name


@lru_cache(maxsize=1024)
def trimmed(item: Definition, called: frozenset[str]) -> Definition:
    """A family of distributions without the methods that nothing calls; any other definition as it is."""
    if not item.module.startswith(FAMILIES) or not item.headed:
        return item
    lines = item.text.splitlines()
    node = ast.parse(item.text).body[0]
    if not isinstance(node, ast.ClassDef) or not all(isinstance(base, ast.Name) for base in node.bases):
        return item
    for method in reversed([m for m in node.body if isinstance(m, ast.FunctionDef)]):
        decorators = [d.id for d in method.decorator_list if isinstance(d, ast.Name)]
        used = method.name.startswith("__") or method.name + ("" if "property" in decorators else "(") in called
        if not used or isinstance(method.body[-1], ast.Raise):  # what every family has of its own
            first = min([method.lineno, *(d.lineno for d in method.decorator_list)])
            del lines[first - 2 : method.end_lineno]  # with the empty line above it
    return definition(item.module, item.name, ast.parse("\n".join(lines)).body[0], lines)


def attributes(text: str) -> set[str]:
    """`name(` of methods that are called, `name` of what is read."""
    return set(ATTRIBUTE.findall(text))


def closure(names: list[str], text: str) -> tuple[list[Definition], dict[str, tuple[str, str | None]]]:
    """Definitions that the public `names` need, in the order in which they can run, and what those import. text: the module's,
    which calls methods, too."""
    called = attributes(text)
    while True:
        found, external = closure_of(names, frozenset(called))
        more = set().union(*(attributes(d.text) for d in found)) - called
        if not more:
            return found, external
        called |= more


def closure_of(names: list[str], called: frozenset[str]) -> tuple[list[Definition], dict[str, tuple[str, str | None]]]:
    """The same, given the names of the methods that are called."""
    modules = runtime_modules()
    waiting = [home_of(name, "__init__") for name in names]
    needed: set[tuple[str, str]] = set()
    external: dict[str, tuple[str, str | None]] = {}
    while waiting:
        place = waiting.pop()
        if place in needed or place is None:
            continue
        needed.add(place)
        module = modules[place[0]]
        for used in trimmed(module.definitions[place[1]], called).uses:
            waiting.append(home_of(used.name, place[0]))
            if used.name in module.external:
                if external.setdefault(used.name, module.external[used.name]) != module.external[used.name]:
                    raise InternalError(f"two modules of the runtime mean different things by {used.name}")
    every = (d for module in modules.values() for d in module.definitions.values())
    found = [trimmed(d, called) for d in every if (d.module, d.name) in needed]
    repeated = {d.name for d in found if sum(e.name == d.name for e in found) > 1} | external.keys() & {
        d.name for d in found
    }
    if repeated:
        raise InternalError(f"a name stands for two things in the runtime: {', '.join(sorted(repeated))}")
    return found, external


# ---------------------------------------------------------------- writing
def renamed(item: Definition, names: dict[str, str]) -> str:
    """The definition's text with other names for the runtime's own, where they clash with the model's."""
    lines = item.text.split("\n")
    for use in sorted(item.uses, key=lambda u: (u.line, u.column), reverse=True):
        if use.name in names:
            row = lines[use.line].encode()
            end = use.column + len(use.name.encode())
            lines[use.line] = (row[: use.column] + names[use.name].encode() + row[end:]).decode()
    text = "\n".join(lines)
    if item.name in names:
        text = re.sub(rf"(?m)^((?:def|class) )?{re.escape(item.name)}\b", rf"\g<1>{names[item.name]}", text, count=1)
    return text


def inline_runtime(text: str) -> str:
    """The emitted file with the runtime's definitions in place of its import of them; the same bytes every time."""
    tree = ast.parse(text)
    imports = [n for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom))]
    lines = text.splitlines()
    external: dict[str, tuple[str, str | None]] = {}
    names: list[str] = []
    for node in imports:
        own = {k: v for k, v in imported(node).items() if v[0] != PACKAGE}
        external |= own
        names += [k for k in imported(node) if k not in own]
    body = [n for n in tree.body if n.lineno > imports[-1].lineno]
    found, needed = closure(names, text)
    for name, source in needed.items():
        if external.setdefault(name, source) != source:
            raise InternalError(f"the module and the runtime mean different things by {name}")
    clashes = {d.name: f"Runtime{d.name}" for d in found if d.name in {b for n in body for b in bound_by(n)}}
    namespace = f"lvspec_{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    parts = [with_flag("\n".join(lines[: imports[0].lineno - 1]).rstrip()), import_lines(external)]
    start = min(n.lineno for n in imports if n is imports[-1])
    model = "\n".join(lines[imports[-1].end_lineno or start :]).strip("\n")
    texts = [
        re.sub(r'(?m)^OP_NAMESPACE = "\w+"', f'{NAMESPACE} = "{namespace}"', renamed(d, clashes))
        if d.name == NAMESPACE
        else renamed(d, clashes)
        for d in found
    ]
    parts += [f"{RULE}what of lvspec's runtime the model uses (MIT licence)", spaced(found, texts)]
    return "\n\n".join(parts[:3]) + "\n\n\n" + "\n\n\n".join([parts[3], f"{RULE}the model", model]) + "\n"


def spaced(items: list[Definition], texts: list[str]) -> str:
    """Two empty lines around functions and classes, none between constants."""
    rows = [texts[0]] if texts else []
    for before, item, text in zip(items, items[1:], texts[1:], strict=False):
        rows += [("\n\n\n" if before.headed or item.headed or "\n" in text else "\n") + text]
    return "".join(rows)


def with_flag(header: str) -> str:
    """The header, with the command that gives this form of the file."""
    return re.sub(r"(?m)^(Do not edit; regenerate with: lvspec compile .*)$", r"\1 --standalone", header, count=1)
