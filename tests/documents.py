"""Runs the Python blocks of a page in order, as one program: `python -m tests.documents PAGE`.

A line that ends with `# → text` is checked: the value's repr, or what is printed, must be that text. A `timeout` of one to
ten seconds becomes one of minutes. A block under the comment `<!-- not run: reason -->` is left out.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

_BLOCK = re.compile(
    r"(?P<skipped><!-- not run: [^>]+-->\s*\n)?^(?P<indent> *)```python\n(?P<code>.*?)^(?P=indent)```",
    re.MULTILINE | re.DOTALL,
)
_SHOWN = re.compile(r"#\s*→\s*(.*?)\s*$")


def program(page: str) -> str:
    """Return the blocks of a page as one program; each line stands at its number in the page."""
    lines = [""] * (page.count("\n") + 1)
    for block in _BLOCK.finditer(page):
        if block["skipped"]:
            continue
        first = page.count("\n", 0, block.start("code"))
        for offset, line in enumerate(block["code"].splitlines()):
            lines[first + offset] = line.removeprefix(block["indent"])
    return "\n".join(lines).rstrip() + "\n"


def checked(source: str, name: str) -> ast.Module:
    """Return the program with a check in the place of each line that shows its value."""
    tree = ast.parse(source, name)
    _Patience().visit(tree)
    _Checks(source.splitlines()).visit(tree)
    return ast.fix_missing_locations(tree)


def check(found: object, expected: str) -> None:
    """Raise AssertionError unless a value shows as the page says."""
    if repr(found) != expected:
        raise AssertionError(f"the page says {expected}, the program {found!r}")


def check_printed(expected: str, *found: object) -> None:
    """Print, and raise AssertionError unless this is what the page says."""
    text = " ".join(map(str, found))
    print(text)
    if text != expected:
        raise AssertionError(f"the page says {expected}, the program {text}")


def run(path: Path) -> None:
    """Run a page in the current directory."""
    tree = checked(program(path.read_text(encoding="utf-8")), str(path))
    names = {"__name__": "__main__", "_check": check, "_check_printed": check_printed}
    sys.modules["__main__"].__dict__.update(names)
    exec(compile(tree, str(path), "exec"), sys.modules["__main__"].__dict__)


class _Patience(ast.NodeTransformer):
    """Waits for minutes where a page, which is for people, waits for seconds."""

    def visit_keyword(self, node: ast.keyword) -> ast.keyword:
        if node.arg == "timeout" and isinstance(node.value, ast.Constant) and node.value.value in range(1, 11):
            node.value = ast.copy_location(ast.Constant(120), node.value)
        return node


class _Checks(ast.NodeTransformer):
    """Puts a call of a check where a line says what it shows."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def visit_Expr(self, node: ast.Expr) -> ast.Expr:
        shown = _SHOWN.search(self._lines[(node.end_lineno or node.lineno) - 1])
        if shown is None:
            return node
        expected = ast.Constant(shown[1])
        call = node.value
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "print":
            checking = ast.Call(ast.Name("_check_printed", ast.Load()), [expected, *call.args], [])
        else:
            checking = ast.Call(ast.Name("_check", ast.Load()), [call, expected], [])
        return ast.copy_location(ast.Expr(ast.copy_location(checking, node)), node)


if __name__ == "__main__":
    run(Path(sys.argv[1]))
