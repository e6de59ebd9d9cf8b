"""The code in README and documentation runs, and shows what the pages say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import check, check_printed, checked, program

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES_WITH_CODE = [page for page in PAGES if program(page.read_text(encoding="utf-8")).strip()]
PATIENCE_SECONDS = 300
DATABASE = "SACHO_POSTGRES_URL"
"""A page that names this variable finds the URL of an empty PostgreSQL database in it."""
BROKER = "SACHO_NATS_URL"
"""A page that names this one finds the URL of a NATS server with JetStream in it."""


@pytest.mark.parametrize("page", PAGES_WITH_CODE, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_code_of_a_page_runs_and_shows_what_the_page_says(
    page: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    text, fixtures = page.read_text(encoding="utf-8"), {DATABASE: "postgres_database_url", BROKER: "nats_url"}
    given = {name: request.getfixturevalue(fixture) for name, fixture in fixtures.items() if name in text}
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.documents", str(page)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), **given},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert ran.returncode == 0, ran.stderr


def test_readme_and_how_to_pages_have_code_that_runs() -> None:
    names = {str(page.relative_to(ROOT)) for page in PAGES_WITH_CODE}
    assert {"README.md", "docs/how-to/store-and-read.md"} <= names


def test_blocks_make_one_program_with_the_line_numbers_of_the_page() -> None:
    page = "# title\n\n```python\na = 1\n```\ntext\n\n```python\nb = a\n```\n"
    assert program(page).splitlines() == ["", "", "", "a = 1", "", "", "", "", "b = a"]


def test_a_block_in_a_list_is_run_without_its_indent() -> None:
    assert program("1. do\n\n    ```python\n    a = 1\n    ```\n").strip() == "a = 1"


def test_a_block_marked_as_not_run_is_left_out() -> None:
    assert program("<!-- not run: needs a server -->\n```python\na = 1\n```\n").strip() == ""


def test_a_busy_machine_is_waited_for_where_a_page_waits_for_seconds() -> None:
    _run("dict(timeout=5)  # → {'timeout': 120}")
    _run("dict(timeout=0.05, seconds=5)  # → {'timeout': 0.05, 'seconds': 5}")


def test_blocks_of_other_languages_are_left_out() -> None:
    assert program("```console\n$ make demo\n```\n\n```text\nhello\n```\n").strip() == ""


@pytest.mark.parametrize("line", ["1 + 1  # → 3", "print('a', 1)  # → a 2"])
def test_a_line_that_shows_something_else_is_found(line: str) -> None:
    with pytest.raises(AssertionError, match="the page says"):
        _run(f"if True:\n    {line}\n")


@pytest.mark.parametrize("line", ["1 + 1  # → 2", "print('a', 1)  # → a 1", "'x'  # → 'x'"])
def test_a_line_that_shows_what_the_page_says_is_let_be(line: str) -> None:
    _run(line)


def _run(source: str) -> None:
    exec(compile(checked(source, "page"), "page", "exec"), {"_check": check, "_check_printed": check_printed})
