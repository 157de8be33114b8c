"""The benchmark of propagation runs, with small numbers."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.integration
@pytest.mark.skipif(shutil.which("nginx") is None, reason="no nginx")
def test_both_ways_and_idling() -> None:
    """Each is measured, and says so in a line."""
    script = ROOT / "bench" / "propagation.py"
    small = ["--publications", "2", "--interval", "0.2", "--idle", "1", "--seconds", "0.5"]
    command = [sys.executable, str(script), *small]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["polling", "push", "idle"]
    assert re.search(r"median \d+\.\d{3} s, p99", lines[0])
