"""The house: imports run one way, names are handed on in order, and everything says what it is for."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

import sacho
from tests.house import faults, imports, modules

ROOT = Path(__file__).parent.parent
LONGEST_FILE = 600
LONGEST_FUNCTION = 60


def test_all_imports_run_one_way() -> None:
    found = [fault for name, source in modules() for fault in faults(name, source, is_package=_is_package(name))]
    assert found == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("sacho.errors", "from sacho.events import Event"),
        ("sacho.events.naming", "import sacho.store"),
        ("sacho.events.naming", "def f():\n    from sacho.schema import Registry"),
        ("sacho.store.reading", "if TYPE_CHECKING:\n    from sacho.deciding import Decider"),
        ("sacho.storage.memory", "from sacho.schema import Encoding"),
        ("sacho.storage.memory", "from sacho.storage.sqlite import SqliteStorage"),
        ("sacho.storage.port", "from sacho.storage.memory import MemoryStorage"),
        ("sacho.storage.sqlite.engine", "from ..memory import MemoryStorage"),
        ("sacho.store.event_store", "from sacho.storage.sqlite import SqliteStorage"),
        ("sacho.cli.main", "from sacho.testing import given_for"),
        ("sacho.store.reading", "import sacho"),
        ("sacho.store.reading", "from sacho import Event"),
        ("sacho.store.reading", "import importlib\nimportlib.import_module('sacho.deciding')"),
        ("sacho.aio.reading", "from ..cli import main"),
    ],
)
def test_an_import_against_the_order_is_found(module: str, source: str) -> None:
    assert faults(module, source)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("sacho.events.naming", "from sacho.errors import InvalidName"),
        ("sacho.store.connecting", "from sacho.storage.sqlite import SqliteStorage"),
        ("sacho.storage.sqlite.engine", "from sacho.storage.sqlite.reading import head"),
        ("sacho.storage.sqlite.engine", "from .reading import head"),
        ("sacho.storage.sqlite.engine", "from sacho.storage.port import Row"),
        ("sacho.testing.given_when_then", "from sacho.deciding import Decider"),
        ("sacho.cli.main", "import json, rich\nfrom sacho.store import connect"),
        ("sacho", "from sacho.store import connect"),
    ],
)
def test_an_import_along_the_order_is_let_be(module: str, source: str) -> None:
    assert faults(module, source) == []


def test_imports_are_found_wherever_they_stand() -> None:
    source = (
        "import a\ndef f():\n    import b\nif TYPE_CHECKING:\n    from c import d\nimport_module('e')\nfrom . import g"
    )
    assert sorted(imports("sacho.store.x", source)) == ["a", "b", "c.d", "e", "sacho.store.g"]


def test_the_root_hands_on_its_names_in_order() -> None:
    assert sacho.__all__ == sorted(sacho.__all__)
    assert [name for name in sacho.__all__ if not hasattr(sacho, name)] == []


def test_every_module_says_what_it_is_for() -> None:
    assert [name for name, source in modules() if not ast.get_docstring(ast.parse(source))] == []


def test_no_committed_file_names_a_package_registry() -> None:
    hosts = ["py" + "pi.org", "python" + "hosted.org", "npm" + "js.org", "npm" + "js.com", "deb.deb" + "ian.org"]
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this is no git checkout, so nothing says which files are committed")
    paths = [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]
    assert paths
    texts = {path: path.read_bytes().decode(errors="replace") for path in paths}
    assert [(str(path), host) for path, text in texts.items() for host in hosts if host in text] == []


def test_no_file_and_no_function_is_too_long() -> None:
    long = []
    for folder in ("src", "examples", "benchmarks", "servers"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            if text.count("\n") > LONGEST_FILE:
                long.append(f"{path}: {text.count(chr(10))} lines")
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    size = (node.end_lineno or 0) - node.lineno + 1
                    if size > LONGEST_FUNCTION:
                        long.append(f"{path}:{node.lineno} {node.name}: {size} lines")
    assert long == []


def _is_package(name: str) -> bool:
    return (ROOT / "src" / Path(*name.split(".")) / "__init__.py").exists()
