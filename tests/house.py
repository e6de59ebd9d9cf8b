"""Reads the imports of the package, all of them, and says which run against the order of the house."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOMS = (
    "errors",
    "events",
    "schema",
    "storage",
    "store",
    "deciding",
    "reacting",
    "operations",
    "aio",
    "testing",
    "server",
    "cli",
)
"""From the ground up: a room may use those that stand before it."""

ENGINES = ("memory", "sqlite", "postgres", "jetstream", "remote")
PICKS_ENGINES = "sacho.store.connecting"
PACKAGE = Path(__file__).parent.parent / "src" / "sacho"


def modules() -> Iterator[tuple[str, str]]:
    """Yield the name and source of every module of the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path.read_text(encoding="utf-8")


def imports(module: str, source: str, *, is_package: bool = False) -> Iterator[str]:
    """Yield what a module imports, wherever it does: at its top, in functions, for types only, or by name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(module, node, is_package=is_package)
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and _names_import_module(node.func) and node.args:
            argument = node.args[0]
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield argument.value


def faults(module: str, source: str, *, is_package: bool = False) -> list[str]:
    """Return what is wrong with a module's imports, a sentence each."""
    found = (_fault(module, used) for used in imports(module, source, is_package=is_package))
    return [fault for fault in found if fault]


def _absolute(module: str, node: ast.ImportFrom, *, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    parents = parts if is_package else parts[:-1]
    base = parents[: len(parents) - (node.level - 1)]
    return ".".join([*base, *([node.module] if node.module else [])])


def _names_import_module(function: ast.expr) -> bool:
    return (isinstance(function, ast.Name) and function.id in {"import_module", "__import__"}) or (
        isinstance(function, ast.Attribute) and function.attr == "import_module"
    )


def _fault(module: str, used: str) -> str | None:
    if used.split(".")[0] != "sacho" or module == "sacho":
        return None
    room, other = _room(module), _room(used)
    if room == "__main__":
        return None
    if other is None:
        return f"{module} imports the root package by {used}"
    if room == other:
        return _fault_among_engines(module, used) if room == "storage" else None
    if room is None or room not in ROOMS or other not in ROOMS:
        return f"{module} or {used} stands in no room of the house"
    if other == "testing":
        return f"{module} imports {used}, but testing is for tests"
    if room == "storage" and other == "schema":
        return f"{module} imports {used}, but engines know no event class"
    if ROOMS.index(other) > ROOMS.index(room):
        return f"{module} imports {used}, against the order of the house"
    if other == "storage" and _engine(used) and module != PICKS_ENGINES:
        return f"{module} imports the engine {used}; only {PICKS_ENGINES} picks engines"
    return None


def _fault_among_engines(module: str, used: str) -> str | None:
    engine, other = _engine(module), _engine(used)
    if other is None or other == engine:
        return None
    return f"{module} imports {used}, of the engine {other}"


def _room(name: str) -> str | None:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and _is_room(parts[1]) else None


def _is_room(name: str) -> bool:
    return name in ROOMS or name == "__main__" or (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").exists()


def _engine(name: str) -> str | None:
    parts = name.split(".")
    return parts[2] if len(parts) > 2 and parts[1] == "storage" and parts[2] in ENGINES else None
