"""The benchmark of serving runs, with small numbers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bench.objects import usual_sizes
from bench.plot import curves
from bench.report import README
from bench.serving import FILES, MEMORY, ROOT_README

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "bench" / "serve.py"


@pytest.mark.integration
@pytest.mark.skipif(not (shutil.which("wrk") and shutil.which("nginx")), reason="no wrk or nginx")
def test_everybody_is_measured(tmp_path: Path) -> None:
    """Ours, from memory and from files, beside nginx; all of them answer everything."""
    small = ["--cases", "small-tmpfs", "--objects", "200", "--rounds", "1", "--seconds", "1"]
    command: list[str | Path] = [sys.executable, SCRIPT, *small, "--json", tmp_path / "results"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (case,) = json.loads((tmp_path / "results").read_text())
    assert list(case["rounds"]) == ["64", "512"]
    for servers in case["rounds"].values():
        assert {MEMORY, FILES, "nginx"} <= servers.keys()
        for (load,) in servers.values():
            assert load["requests_per_s"] > 100
            assert load["cpu_us"] > 0
    assert "| Connections |" in done.stdout


def test_sizes_are_the_usual() -> None:
    """And the same each time."""
    sizes = sorted(usual_sizes(20_000, 8000, 1_000_000))
    assert 7500 < sizes[10_000] < 8500
    assert 18_000 < sum(sizes) / 20_000 < 22_000
    assert sizes[-1] == 1_000_000
    assert sizes == sorted(usual_sizes(20_000, 8000, 1_000_000))


def test_curves_are_drawn() -> None:
    """One for each line, a point for each size."""
    drawing = ET.fromstring(
        curves("a < b", {"ours": {1000: 5.0, 4000: 90.0}, "nginx": {1000: 2.0}})
    )
    assert len(drawing.findall("{*}polyline")) == 2
    assert len(drawing.findall("{*}circle")) == 3
    assert {"1 KB", "4 KB", "10", "a < b"} <= {each.text for each in drawing.findall("{*}text")}


def test_readmes_have_the_places_of_the_tables() -> None:
    """`--readme` replaces what is between the marks."""
    for text in (README.read_text(), ROOT_README.read_text()):
        assert text.index("<!-- serving -->") < text.index("<!-- end of serving -->")
