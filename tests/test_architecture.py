"""The structure, enforced: arrows, sizes, names."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    path for room in ("mirror", "proxy", "monitoring") for path in (ROOT / room).rglob("*.py")
)
LONGEST_FILE = 400
LONGEST_FUNCTION = 50


def name_of(path: Path) -> str:
    """A module's path for test names."""
    return str(path.relative_to(ROOT))


def test_no_arrow_points_left() -> None:
    """The import contracts of pyproject.toml hold."""
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_file_is_one_room(path: Path) -> None:
    """Longer ones are two."""
    assert len(path.read_text().splitlines()) <= LONGEST_FILE


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_function_fits_a_screen(path: Path) -> None:
    """Without its docstring."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
            length = (body[-1].end_lineno or 0) - body[0].lineno + 1
            assert length <= LONGEST_FUNCTION, f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_names_say_something(path: Path) -> None:
    """Modules called utils attract what has no home."""
    assert path.stem not in {"utils", "util", "helpers", "common", "misc", "manager"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_there_is_no_mutable_state_in_modules(path: Path) -> None:
    """What changes lives in an object that somebody made and somebody ends."""
    for node in ast.parse(path.read_text()).body:
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if isinstance(value, ast.List | ast.Set | ast.ListComp | ast.SetComp):
            target = ast.unparse(node).partition("=")[0].strip()
            assert target == "__all__", f"{target} is a list or set that anybody could change"
        assert not isinstance(node, ast.Global)
