"""The real client while root files flip: every revision at once, and not one error.

Three programs at work: the mirror's server, snapshots that replace root files, and the client. It
looks for news at every tenth flip only: 2.12.0 verifies in two threads with one certificate, and
where it is made to look ten times a second it dies of that within a minute.
"""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path
from typing import Final, Self

import pytest

from tests.support.http_stratum0 import HttpStratum0
from tests.support.keys import Keys
from tests.support.publisher import Repository, Tree
from tests.support.reference_tools import mounted, needs, needs_fuse
from tests.support.served import served
from tests.support.site import Site

pytestmark = [pytest.mark.integration, pytest.mark.soak]
FLIPS: Final = 100 if os.environ.get("CVMFS_MIRROR_SOAK") else 12


def tree(revision: int) -> Tree:
    """What is published: the same number in several catalogs."""
    text = b"%d" % revision
    return {"": {"revision": text}, "/nested": {"revision": text, "same": b"same"}}


class Reader:
    """Reads everything over and over, and remembers what went wrong."""

    def __init__(self, mount: Path) -> None:
        self._mount = mount
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self.troubles: list[str] = []
        self.rounds = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _read(self) -> None:
        last = 0
        while not self._is_over.is_set():
            try:
                seen = int((self._mount / "nested" / "revision").read_bytes())
                (self._mount / "nested" / "same").read_bytes()
            except OSError as error:
                self.troubles.append(str(error))
                continue
            if seen < last:
                self.troubles.append(f"revision {seen} after {last}")
            last = seen
            self.rounds += 1


@needs("cvmfs2")
@needs("cvmfs_talk")
@needs_fuse
def test_flips(keys: Keys, tmp_path: Path) -> None:
    """No I/O error, no stale read after the new revision is there, never an older one."""
    client = tmp_path / "client"
    try:
        reader = _flip_under_client(keys, _made(tmp_path / "site"), client)
    except OSError:
        _forgive_its_own_crash(client)
        raise
    assert reader.troubles == [] or _forgive_its_own_crash(client)
    assert reader.rounds > FLIPS


def _flip_under_client(keys: Keys, directory: Path, client: Path) -> Reader:
    repository = Repository(keys)
    repository.publish(tree(1))
    with HttpStratum0(repository.files) as stratum0:
        site = Site(directory, repository.fqrn.name, stratum0.url, keys.master_pem)
        assert site.run("snapshot") == 0
        with (
            served(site.storage) as url,
            mounted(repository.fqrn.name, url, site.key, client) as mount,
            Reader(mount) as reader,
        ):
            for revision in range(2, FLIPS + 2):
                repository.publish(tree(revision))
                assert site.run("snapshot") == 0
                if revision % 10 == 0:
                    remount(repository.fqrn.name, client / "cache")
                    assert (mount / "revision").read_bytes() == b"%d" % revision
    return reader


def _forgive_its_own_crash(client: Path) -> bool:
    """Skip where the client died of itself, as said above; it leaves the place behind."""
    log = client / "client.log"
    if log.exists() and "SignatureManager::HashCertificate" in log.read_text(errors="replace"):
        pytest.skip("the real client crashed in its own verification, which it does in two threads")
    return False


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


def remount(fqrn: str, cache: Path) -> None:
    """Have the client look for a new revision, and wait until it has it."""
    socket = next(cache.rglob(f"cvmfs_io.{fqrn}"))
    command = ["cvmfs_talk", "-p", str(socket), "remount", "sync"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
