"""The real client behind a group of mirrors whose members die one after the other."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from mirror.daemon.group.message import Version
from tests.support.http_stratum0 import HttpStratum0
from tests.support.keys import Keys
from tests.support.mirror_group import FQRN, MirrorGroup, version_of
from tests.support.publisher import Repository
from tests.support.reference_tools import mounted, needs, needs_fuse

pytestmark = pytest.mark.integration


class Publisher:
    """Of a repository, and the server in front of it."""

    def __init__(self, keys: Keys) -> None:
        self.repository = Repository(keys)
        self.server = HttpStratum0({})
        self.publish()

    def publish(self) -> Version:
        """A revision with a file that has its number."""
        number = len(self.repository.revisions) + 1
        self.repository.publish({"": {"number": b"%d" % number}})
        self.server.files = dict(self.repository.files)
        return version_of(self.repository.files[".cvmfspublished"])


@needs("cvmfs2")
@needs_fuse
def test_the_real_client_follows_and_never_goes_back(keys: Keys, tmp_path: Path) -> None:
    """It is at the newest revision soon, whichever member is dead."""
    publisher = Publisher(keys)
    with (
        publisher.server as stratum0,
        MirrorGroup(tmp_path, stratum0.url, keys.master_pem) as group,
    ):
        group.until_all_give(publisher.publish())
        urls = ";".join(f"{each.url}/cvmfs/@fqrn@" for each in group.members.values())
        key, more = next(iter(group.members.values())).site.key, f'CVMFS_SERVER_URL="{urls}"\n'
        with mounted(FQRN, "", key, tmp_path / "client", more) as mount:
            cache = tmp_path / "client" / "cache"
            seen = _follow(mount, cache, 2, 0)
            for member in group.members.values():
                member.kill()
                publisher.publish()
                seen = _follow(mount, cache, publisher.publish().revision, seen)
                member.start()
                group.until_all_give(publisher.publish())
                seen = _follow(mount, cache, publisher.publish().revision, seen)


def _follow(mount: Path, cache: Path, revision: int, seen: int) -> int:
    """Look until the client is there, and that it never goes back."""
    deadline = time.monotonic() + 60
    while seen < revision:
        _look_for_news(cache)
        assert time.monotonic() < deadline, f"the client stays at {seen}, not {revision}"
        at = int(os.getxattr(mount, "user.revision"))
        number = int((mount / "number").read_bytes())
        assert at >= seen
        assert number >= seen
        seen = at
        time.sleep(0.1)
    return seen


def _look_for_news(cache: Path) -> None:
    """As the client does when its time to live is over."""
    (pipe,) = cache.rglob(f"cvmfs_io.{FQRN}")
    directory = os.open(pipe.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as talking:
            talking.settimeout(30)
            talking.connect(f"/proc/self/fd/{directory}/{pipe.name}")  # its own name is too long
            talking.sendall(b"remount sync")
            while talking.recv(4096):
                pass
    finally:
        os.close(directory)
