"""The real program on a disk in trouble: clear errors, exit 5, and nothing lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from mirror.store.local import LocalStore
from tests.support.disks import remount, resize, tiny_disk
from tests.support.http_stratum0 import HttpStratum0
from tests.support.keys import Keys
from tests.support.publisher import Repository
from tests.support.reachable import require_sound
from tests.support.replicas import Mirror
from tests.support.site import Site
from tests.support.trees import CHUNK_BYTES, NEXT_TREE, TREE, many_files

PROGRAM: Final = Path(sys.executable).with_name("cvmfs-mirror")
NOBODY: Final = 65534
ROOMY: Final = 2**25


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to: its exit code, and what it said in JSON."""

    exit_code: int
    said: str


class Host:
    """A replica of the first revision, the second being offered, on a disk of its own.

    Attributes:
        disk: where it is mounted.
        site: on it.
        mirror: the same, to look at.
    """

    def __init__(self, directory: Path, disk: Path, stratum0: HttpStratum0, keys: Keys) -> None:
        repository = Repository(keys, chunk_bytes=CHUNK_BYTES)
        stratum0.files = repository.files
        self.disk = disk
        self._stratum0 = stratum0
        self.site = Site(disk, "test.example.org", stratum0.url, keys.master_pem)
        self.configure()
        self.mirror = Mirror(repository, directory, lambda: LocalStore(self.site.root))
        self.mirror.root = self.site.root
        repository.publish(TREE, tag="v1")
        assert self.snapshot().exit_code == 0
        repository.publish(NEXT_TREE, tag="v2")
        self._kept = directory / "kept"
        shutil.copytree(self.disk, self._kept, symlinks=True)

    def configure(self, reserve: str = "0") -> None:
        """Only the disk itself is the limit, unless there is to be a reserve."""
        more = f'reserve = "{reserve}"\n[fetch]\nretries = 0'
        self.site.write_config(self._stratum0.url, more)

    def begin_again(self) -> None:
        """As it was at first."""
        for each in self.disk.iterdir():
            shutil.rmtree(each) if each.is_dir() else each.unlink()
        shutil.copytree(self._kept, self.disk, symlinks=True, dirs_exist_ok=True)

    def snapshot(self, *prefix: str, user: int | None = None) -> Outcome:
        """Run the program, by way of another one if there is a prefix."""
        command = [*prefix, str(PROGRAM), "--config", str(self.site.config), "snapshot", "--json"]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, user=user, group=user
        )
        assert "Traceback" not in done.stderr
        assert "internal error" not in done.stderr
        return Outcome(done.returncode, done.stdout + done.stderr)

    def require_unharmed(self) -> None:
        """The first revision is served, whole; no short file is under a final name."""
        self.mirror.require_lawful()
        assert self.mirror.require_whole() in (1, 2)
        require_sound(self.site.root)

    def require_recovers(self) -> None:
        """The next run finishes, and clears up."""
        assert self.snapshot().exit_code == 0
        self.mirror.require_current()
        require_sound(self.site.root)


@pytest.fixture
def host(keys: Keys, tmp_path: Path) -> Iterator[Host]:
    """On a file system of its own."""
    with tiny_disk(tmp_path / "disk", ROOMY) as disk, HttpStratum0({}) as stratum0:
        yield Host(tmp_path, disk, stratum0, keys)


def error_of(outcome: Outcome) -> str:
    """What a run that failed told the operator: one line."""
    (result,) = json.loads(outcome.said)
    message: str = result["error"]["message"]
    assert message.isprintable()
    return message


def test_full_at_any_point(host: Host) -> None:
    """Wherever the space ends: exit 5, the old revision, and with more room all goes on."""
    free_pages, exit_code = 0, 5
    while exit_code == 5:
        host.begin_again()
        resize(host.disk, shutil.disk_usage(host.disk).used + free_pages * 4096)
        outcome = host.snapshot()
        exit_code = outcome.exit_code
        if exit_code:
            assert "make room" in error_of(outcome)
        host.require_unharmed()
        resize(host.disk, ROOMY)
        host.require_recovers()
        free_pages += 11
    assert exit_code == 0
    assert free_pages > 60


def test_no_inodes(host: Host) -> None:
    """There is space, and no more files can be made."""
    free_files, exit_code = 0, 5
    while exit_code == 5:
        host.begin_again()
        found = os.statvfs(host.disk)
        remount(host.disk, f"nr_inodes={found.f_files - found.f_ffree + free_files}")
        outcome = host.snapshot()
        exit_code = outcome.exit_code
        if exit_code:
            assert "make room" in error_of(outcome)
        host.require_unharmed()
        remount(host.disk, "nr_inodes=100000")
        host.require_recovers()
        free_files += 5
    assert exit_code == 0
    assert free_files > 15


def test_the_reserve_is_reached(host: Host) -> None:
    """It stops before the disk is full, says what to do, and goes on when that was done."""
    used = shutil.disk_usage(host.disk).used
    resize(host.disk, 4 * used)
    host.configure(f"{3 * used - 200_000} B")
    outcome = host.snapshot()
    assert outcome.exit_code == 5
    assert "make room or lower [storage] reserve" in error_of(outcome)
    assert shutil.disk_usage(host.disk).free > 3 * used - 200_000 - 50_000  # the root files
    host.require_unharmed()
    host.configure()
    host.require_recovers()


def test_the_reserve_is_reached_in_a_process_of_its_own(host: Host) -> None:
    """Those that fetch small objects know of the reserve too."""
    host.mirror.repository.publish(many_files(1))
    used = shutil.disk_usage(host.disk).used
    room = 100 * 4096
    kept = ROOMY - used - room
    host.configure(f"{kept} B")
    outcome = host.snapshot()
    assert outcome.exit_code == 5
    assert "lower [storage] reserve" in error_of(outcome)
    assert shutil.disk_usage(host.disk).free > kept - 3 * room / 16 - 50_000
    host.require_unharmed()
    host.configure()
    host.require_recovers()


def test_a_read_only_disk(host: Host) -> None:
    """Nothing can be done, which is told; then it can."""
    remount(host.disk, "ro")
    outcome = host.snapshot()
    assert outcome.exit_code == 5
    assert "read-only" in error_of(outcome)
    host.require_unharmed()
    remount(host.disk, "rw")
    host.require_recovers()


@pytest.mark.parametrize("place", ["spool/test.example.org", "srv/test.example.org/data"])
def test_no_permission(host: Host, tmp_path: Path, place: str) -> None:
    """Whose right is missing where is told, and nothing is harmed."""
    try:
        subprocess.run([str(PROGRAM), "--version"], capture_output=True, check=True, user=NOBODY)
    except (PermissionError, subprocess.CalledProcessError):
        pytest.skip("this installation is not for everybody")
    for each in (tmp_path, *tmp_path.parents[: len(tmp_path.parts) - 3]):
        each.chmod(0o755)
    subprocess.run(["chown", "-R", str(NOBODY), str(host.disk)], check=True)
    subprocess.run(["chown", "-R", "root", str(host.disk / place)], check=True)
    subprocess.run(["chmod", "-R", "go-w", str(host.disk / place)], check=True)
    outcome = host.snapshot(user=NOBODY)
    assert outcome.exit_code == 5
    assert str(host.disk / place) in error_of(outcome)
    assert "give this user the right" in error_of(outcome)
    host.require_unharmed()
    host.require_recovers()


def test_out_of_descriptors(host: Host) -> None:
    """However few there are: done, or an error that names them; never half of anything."""
    exit_codes = []
    for most in range(7, 25, 3):
        host.begin_again()
        outcome = host.snapshot("sh", "-c", f'ulimit -n {most}; exec "$@"', "sh")
        exit_codes.append(outcome.exit_code)
        assert "open files" in outcome.said or not outcome.exit_code
        host.require_unharmed()
        host.require_recovers()
    assert {0, 5} <= {*exit_codes} <= {0, 2, 3, 5}
