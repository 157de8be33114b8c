"""The benchmark of snapshots runs, with small numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bench.corpora import Plan
from bench.measuring import measured
from bench.report import README

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "bench" / "snapshot.py"


def test_every_step_is_measured(tmp_path: Path) -> None:
    """Ours beside whoever is on PATH, complete replicas only."""
    small = ["--files", "300", "--catalogs", "3", "--rounds", "1", "--memory-run", "30"]
    where: list[str | Path] = ["--cases", "large-tmpfs-loopback", "--directory", tmp_path]
    command: list[str | Path] = [sys.executable, SCRIPT, *small, *where]
    command += ["--json", tmp_path / "results.json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    (case,) = results["cases"]
    (ours,) = case["peers"]["cvmfs-mirror snapshot"]
    assert list(ours) == ["first", "1 % changed", "no news"]
    assert all(step["wall_s"] > 0 and step["peak_mib"] > 0 for step in ours.values())
    assert case["corpus"]["new_objects"] >= 3 + 3 + 1  # a file and the catalog of each; the root
    assert results["memory"][0]["first"]["peak_mib"] > 0
    assert "| first " in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_what_takes_too_long_is_given_up(tmp_path: Path) -> None:
    """Its figures then are what it took at least."""
    measure = measured(["sleep", "60"], tmp_path, patience_s=0.1)
    assert measure.was_given_up
    assert 0.1 <= measure.wall_s < 10


def test_children_count(tmp_path: Path) -> None:
    """Memory and processor time are those of all processes of a peer."""
    fill = "import time; b = bytearray(50 << 20); time.sleep(0.3)"
    both = f"import subprocess, sys; subprocess.run([sys.executable, '-c', '''{fill}''']); {fill}"
    alone = measured([sys.executable, "-c", fill], tmp_path)
    assert measured([sys.executable, "-c", both], tmp_path).peak_mib > alone.peak_mib + 4


def test_a_hundredth_changes() -> None:
    """In every catalog; where catalogs are too small, a file in a hundredth of them."""
    large, tiny = Plan(20_000, 40, 1), Plan(30_000, 10_000, 1)
    changed = [number for number in range(20_000) if large.is_changed(number)]
    assert len(changed) == 200
    assert {number % 40 for number in changed} == set(range(40))
    assert sum(map(tiny.is_changed, range(30_000))) == 100


def test_readme_has_the_places_of_the_tables() -> None:
    """`--readme` replaces what is between the marks."""
    text = README.read_text()
    for title in ("snapshots", "memory"):
        assert text.index(f"<!-- {title} -->") < text.index(f"<!-- end of {title} -->")
