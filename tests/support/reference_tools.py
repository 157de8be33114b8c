"""The real CernVM-FS as a judge: its client, its pull and its check, where they are on PATH."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

_PATIENCE_S: Final = 30.0


def needs(tool: str) -> pytest.MarkDecorator:
    """Skip a test where this tool is not on PATH."""
    return pytest.mark.skipif(
        shutil.which(tool) is None, reason=f"{tool} of the real CernVM-FS is not on PATH"
    )


needs_fuse = pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/dev/fuse").exists(), reason="mounting needs root and /dev/fuse"
)


@contextmanager
def mounted(fqrn: str, url: str, key: Path, directory: Path, more: str = "") -> Iterator[Path]:
    """Mount ``<url>/cvmfs/<fqrn>`` with the real client; ``more`` are further lines for it."""
    cache, mount_point = directory / "cache", directory / "mount"
    cache.mkdir(parents=True)
    mount_point.mkdir()
    config = directory / "client.conf"
    config.write_text(
        f"CVMFS_SERVER_URL={url}/cvmfs/@fqrn@\n"
        f"CVMFS_PUBLIC_KEY={key}\n"
        "CVMFS_HTTP_PROXY=DIRECT\n"
        f"CVMFS_CACHE_BASE={cache}\nCVMFS_RELOAD_SOCKETS={cache}\nCVMFS_SHARED_CACHE=no\n"
        "CVMFS_QUOTA_LIMIT=1000\nCVMFS_CLAIM_OWNERSHIP=yes\n"
        f"CVMFS_DEFAULT_DOMAIN={fqrn.partition('.')[2]}\nCVMFS_USE_GEOAPI=no\n"
        f"CVMFS_TIMEOUT=5\nCVMFS_TIMEOUT_DIRECT=5\nCVMFS_USYSLOG={directory / 'client.log'}\n"
        f"{more}"
    )
    client = subprocess.Popen(["cvmfs2", "-f", "-o", f"config={config}", fqrn, mount_point])
    try:
        deadline = time.monotonic() + _PATIENCE_S
        while not mount_point.is_mount():
            assert client.poll() is None, f"cvmfs2 ended with {client.returncode}"
            assert time.monotonic() < deadline, "cvmfs2 did not mount"
            time.sleep(0.05)
        yield mount_point
    finally:
        subprocess.run(["umount", "--lazy", mount_point], check=False)
        client.wait(_PATIENCE_S)


def contents(directory: Path) -> dict[str, str]:
    """Everything below a directory: what kind, and which bytes."""
    return {str(path.relative_to(directory)): _content(path) for path in directory.rglob("*")}


def _content(path: Path) -> str:
    if path.is_symlink():
        return f"link to {path.readlink()}"
    if path.is_dir():
        return "directory"
    if not path.is_file():
        return "special"
    with path.open("rb") as file:
        return f"file {path.stat().st_mode:o} {hashlib.file_digest(file, 'sha1').hexdigest()}"


def swissknife(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run ``cvmfs_swissknife``; shows what it said if it failed."""
    done = subprocess.run(
        ["cvmfs_swissknife", *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, f"{arguments[0]}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def reference_check(url: str, fqrn: str, key: Path, reflog_checksum: Path, scratch: Path) -> None:
    """Let ``cvmfs_swissknife check`` look at a replica over HTTP: signatures, objects, reflog."""
    scratch.mkdir(exist_ok=True)
    swissknife(
        *("check", "-r", url, "-c", "-t", scratch, "-N", fqrn, "-k", key, "-R", reflog_checksum)
    )


def reference_pull(
    fqrn: str, url: str, root: Path, key: Path, spool: Path, *, is_initial: bool
) -> None:
    """Let ``cvmfs_swissknife pull`` bring a replica's tree to the current revision."""
    for name in [*(f"{byte:02x}" for byte in range(256)), "txn"]:
        (root / "data" / name).mkdir(parents=True, exist_ok=True)
    scratch = spool / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    swissknife(
        *("pull", "-m", fqrn, "-u", url, "-w", f"file://{root}"),
        *("-r", f"local,{root / 'data' / 'txn'},{root}", "-k", key, "-x", scratch),
        *("-n", "4", "-t", "10", "-a", "3", "-R", spool / "reflog.chksum"),
        "-i" if is_initial else "-p",
    )
