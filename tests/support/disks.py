"""Real disks that are full, for tests that run as root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def tiny_disk(mount_point: Path, size_bytes: int) -> Iterator[Path]:
    """A file system of this size; the test is skipped where mounting is not allowed."""
    mount_point.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(mount_point)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    try:
        yield mount_point
    finally:
        subprocess.run(["umount", "--lazy", str(mount_point)], check=True)


def resize(mount_point: Path, size_bytes: int) -> None:
    """Give a tiny disk another size, with everything on it."""
    option = f"remount,size={size_bytes}"
    subprocess.run(["mount", "-o", option, str(mount_point)], check=True)
