"""The access log loses nothing in rotation, mixes nothing, and never stands in the way."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mirror.errors import ConfigError
from mirror.serve.access_log import AccessLog, check_access_log, open_access_log
from mirror.serve.ledger import Served
from mirror.serve.log_formats import combined
from mirror.serve.log_settings import AccessLogSettings
from mirror.serve.log_targets import (
    JournalTarget,
    Lose,
    StreamTarget,
    open_target,
    pieces,
)
from tests.support.disks import resize, tiny_disk
from tests.support.requests import numbered, request

ROOT = Path(__file__).parents[3]
NOW = 1_700_000_000.0
LINE = re.compile(r'192\.0\.2\.7 - - \[[^]]+\] "GET /(\w+)/(\d+) HTTP/1\.1" 200 4096 "-" "[^"]+"')
WRITER = """
import sys
from mirror.serve.access_log import open_access_log
from mirror.serve.log_settings import AccessLogSettings
from tests.support.requests import numbered
path, word, batches, limit = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
if limit:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
log = open_access_log(AccessLogSettings(path=path))
for batch in range(batches):
    log.hear(1_700_000_000.0, numbered(100 * batch, 100, word))
log.close(wait_s=60)
print(log.dropped)
"""


class SlowDisk:
    """A target that takes nothing until it is told to."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.works = threading.Event()
        self.was_closed = threading.Event()

    def write(self, now: float, records: Sequence[Served], lose: Lose) -> None:
        """Wait, then keep them."""
        self.works.wait()
        self.lines += [each.line for each in records]

    def reopen(self) -> None:
        """No matter."""

    def close(self) -> None:
        """Take note."""
        self.was_closed.set()


@pytest.fixture
def disk() -> Iterator[SlowDisk]:
    """That lets go of its thread in the end."""
    disk = SlowDisk()
    yield disk
    disk.works.set()


def fail(count: int, reason: str) -> None:
    """Lose nothing."""
    pytest.fail(f"{count} lost: {reason}")


def told(caplog: pytest.LogCaptureFixture) -> list[int]:
    """How many were said to be lost, each time."""
    return [int(re.findall(r"(\d+) requests are not", each)[0]) for each in caplog.messages]


def opened(path: Path) -> AccessLog:
    """A log there."""
    log = open_access_log(AccessLogSettings(path=str(path)))
    assert log is not None
    return log


def numbers(*paths: Path) -> list[int]:
    """Of all requests in these logs, whose lines have to be whole."""
    return [int(number) for path in paths for _, number in words(path)]


def words(path: Path) -> list[tuple[str, str]]:
    """Likewise, with the words."""
    text = path.read_text()
    assert not text or text.endswith("\n")
    found = [LINE.fullmatch(line) for line in text.splitlines()]
    assert all(found)
    return [(each[1], each[2]) for each in found if each is not None]


def writer(path: Path, word: str, batches: int, limit: int = 0) -> subprocess.Popen[str]:
    """Another worker's log; it prints how many it dropped."""
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), word, str(batches), str(limit)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def test_what_was_heard_is_written(tmp_path: Path) -> None:
    """In its order, behind what is there already."""
    path = tmp_path / "access.log"
    for first in (0, 1000):
        log = opened(path)
        for batch in range(first, first + 1000, 100):
            log.hear(NOW, numbered(batch, 100))
        log.close()
        assert log.dropped == 0
    assert numbers(path) == list(range(2000))


def test_rotation_loses_nothing(tmp_path: Path) -> None:
    """What comes after the signal is in the new file, and everything else in one of the two."""
    path, old = tmp_path / "access.log", tmp_path / "access.log.1"
    log = opened(path)
    log.hear(NOW, numbered(0, 500))
    path.rename(old)
    log.hear(NOW, numbered(500, 500))
    log.reopen()
    log.hear(NOW, numbered(1000, 500))
    log.close()
    assert numbers(old, path) == list(range(1500))
    assert set(numbers(path)) >= set(range(1000, 1500))


def test_where_no_new_file_can_be_made_the_old_one_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And the operator is told."""
    directory, moved = tmp_path / "logs", tmp_path / "moved"
    directory.mkdir()
    log = opened(directory / "access.log")
    directory.rename(moved)
    log.reopen()
    log.hear(NOW, numbered(0, 10))
    log.close()
    assert numbers(moved / "access.log") == list(range(10))
    assert "cannot be opened again (No such file or directory)" in caplog.text


def test_a_slow_disk_costs_records_and_says_so(
    disk: SlowDisk, caplog: pytest.LogCaptureFixture
) -> None:
    """As many wait as may wait; what comes then is dropped, and told at once and in the end."""
    log = AccessLog(disk, "slow", max_queued=250, clock=lambda: 0.0)
    for first in range(0, 500, 100):
        log.hear(NOW, numbered(first, 100))
    assert log.dropped == 250
    disk.works.set()
    log.close()
    assert disk.lines == [each.line for each in numbered(0, 250)]
    assert told(caplog) == [50, 200]
    assert disk.was_closed.is_set()


def test_losses_are_told_once_a_minute(disk: SlowDisk, caplog: pytest.LogCaptureFixture) -> None:
    """With what was lost in between, by the next request."""
    now = [0.0]
    log = AccessLog(disk, "slow", max_queued=0, clock=lambda: now[0])
    for _ in range(10):
        log.hear(NOW, numbered(0, 10))
    now[0] = 61.0
    log.hear(NOW, numbered(0, 10))
    assert told(caplog) == [10, 100]
    log.close()


def test_a_disk_that_hangs_does_not_keep_a_worker_from_ending(disk: SlowDisk) -> None:
    """What it did not take is counted."""
    log = AccessLog(disk, "dead")
    log.hear(NOW, numbered(0, 10))
    log.close(wait_s=0)
    log.hear(NOW, numbered(0, 5))
    assert log.dropped == 15


def test_a_full_disk_costs_whole_lines(tmp_path: Path) -> None:
    """Half a line is taken back, and lines are written again when there is room."""
    with tiny_disk(tmp_path / "disk", 64 * 1024) as mounted:
        path = mounted / "access.log"
        log = opened(path)
        log.hear(NOW, numbered(0, 2000))
        log.close()
        kept = numbers(path)
        assert len(kept) + log.dropped == 2000
        assert log.dropped > 0
        resize(mounted, 1024 * 1024)
        log = opened(path)
        log.hear(NOW, numbered(2000, 100))
        log.close()
        assert numbers(path) == [*kept, *range(2000, 2100)]


def test_a_piece_that_fits_in_part_is_taken_back(tmp_path: Path) -> None:
    """As at the end of a quota; needs no rights."""
    path = tmp_path / "access.log"
    dropped, _ = writer(path, "n", 10, limit=30_000).communicate()
    kept = numbers(path)
    assert len(kept) + int(dropped) == 1000
    assert 0 < len(kept) < 1000


def test_lines_of_several_workers_never_mix(tmp_path: Path) -> None:
    """Each is whole, all are there, and those of one worker are in its order."""
    path = tmp_path / "access.log"
    writers = [writer(path, word, 100) for word in "abc"]
    assert [each.communicate()[0] for each in writers] == ["0\n"] * 3
    found = words(path)
    assert Counter(word for word, _ in found) == {"a": 10_000, "b": 10_000, "c": 10_000}
    for name in "abc":
        assert [int(number) for word, number in found if word == name] == list(range(10_000))


def test_a_pipe_gets_pieces_that_are_not_split() -> None:
    """Standard output is one, as a rule; the kernel keeps only so much together."""
    receiver, sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with receiver:
        with closing(StreamTarget(sender.detach(), combined)) as target:
            target.write(NOW, numbered(0, 100), fail)
            target.reopen()
        received = list(iter(lambda: receiver.recv(100_000), b""))
    assert all(piece.endswith(b"\n") for piece in received)
    assert max(map(len, received)) <= 4096
    assert b"".join(received) == combined(NOW, numbered(0, 100))


def test_journald_gets_an_entry_for_each_request(tmp_path: Path) -> None:
    """With fields to search for, and a message of one line."""
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journald:
        journald.bind(path)
        with closing(JournalTarget(combined, path)) as target:
            served = request(b"GET /\nPRIORITY=0 HTTP/1.1", status=404)
            target.write(NOW, [served], fail)
            target.reopen()
        *fields, message, rest = journald.recv(100_000).split(b"\n")
    assert rest == b""
    assert dict(field.split(b"=") for field in fields) == {
        b"PRIORITY": b"6",
        b"SYSLOG_IDENTIFIER": b"cvmfs-mirror",
        b"CVMFS_CLIENT": b"192.0.2.7",
        b"CVMFS_STATUS": b"404",
        b"CVMFS_BYTES": b"4096",
        b"CVMFS_OUTCOME": b"hit_mem",
        b"CVMFS_KIND": b"object",
    }
    assert message == b"MESSAGE=" + combined(NOW, [served]).rstrip()


def test_without_journald_entries_are_lost_and_counted(tmp_path: Path) -> None:
    """It may be back for the next one."""
    path = str(tmp_path / "socket")
    lost: list[int] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journald:
        journald.bind(path)
        target = JournalTarget(combined, path)
    with closing(target):
        target.write(NOW, numbered(0, 3), lambda count, reason: lost.append(count))
    assert sum(lost) == 3


def test_a_place_that_cannot_be_written_is_told_at_the_start(tmp_path: Path) -> None:
    """With the fix."""
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    for path, fix in {
        tmp_path / "missing" / "access.log": f"create it, owned by user {os.geteuid()}",
        tmp_path / "file" / "access.log": "there is no directory",
        tmp_path: "add the name of a file",
        tmp_path / "pipe": "start its reader before",
        Path("/proc/access.log"): "create it",
    }.items():
        with pytest.raises(ConfigError, match=re.escape(fix)) as caught:
            check_access_log(AccessLogSettings(path=str(path)))
        assert str(caught.value).startswith(f"serve.access_log.path: {path}: ")


def test_a_missing_right_is_told_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may not, and what to do."""

    def refuse(path: str, *_: int) -> int:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("mirror.serve.log_targets.os.open", refuse)
    with pytest.raises(ConfigError, match="may not write it; give that user the file"):
        open_target(AccessLogSettings(path=str(tmp_path / "access.log")))


def test_no_path_is_no_log() -> None:
    """The default."""
    assert open_access_log(AccessLogSettings()) is None
    check_access_log(AccessLogSettings())


@pytest.mark.parametrize("path", ["access.log", "/var/log/", "", "none"])
def test_a_path_that_is_none_is_told_with_the_fix(path: str) -> None:
    """When the configuration is read."""
    with pytest.raises(ValidationError, match=r"write the whole path|add the name of a file"):
        AccessLogSettings(path=path)


@given(st.lists(st.binary(max_size=30).map(lambda raw: raw.replace(b"\n", b"")), max_size=20))
def test_pieces_are_whole_lines(lines: list[bytes]) -> None:
    """No more than allowed, unless one line is longer by itself; nothing is lost."""
    text = b"".join(line + b"\n" for line in lines)
    found = list(pieces(text, 20))
    assert b"".join(found) == text
    assert all(piece.endswith(b"\n") for piece in found)
    assert all(len(piece) <= 20 or piece.count(b"\n") == 1 for piece in found)
