"""A thousand small objects through the command line, with and without processes that fetch them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import web

from mirror.cvmfs.paths import MANIFEST, parse_object_path
from mirror.replication.lanes import Lanes, Part
from mirror.replication.lock import is_locked
from tests.support.disks import resize, tiny_disk
from tests.support.hostile_http import Endless, content, raw, status
from tests.support.http_stratum0 import Fault, HttpStratum0
from tests.support.keys import Keys
from tests.support.processes import is_over, started
from tests.support.publisher import Repository
from tests.support.site import Site
from tests.support.tasks import until

NAME = "test.example.org"
COUNT = 1100
TREE = {
    "": {f"file {number}": b"in the root, %d" % number for number in range(300)},
    **{
        f"/{letter}": {
            f"file {number}": b"%s %d" % (letter.encode(), number) for number in range(400)
        }
        for letter in "ab"
    },
    "/large": {"chunks": bytes(range(256)) * 4000, "larger": b"x" * 600_000},
}
PROGRAM = Path(sys.executable).with_name("cvmfs-mirror")


@pytest.fixture
def repository(keys: Keys) -> Repository:
    """Four catalogs of small objects, and some that are not."""
    repository = Repository(keys, NAME, chunk_bytes=200_000)
    repository.publish(TREE)
    return repository


@pytest.fixture
def stratum0(repository: Repository) -> Iterator[HttpStratum0]:
    """Serves it."""
    with HttpStratum0(repository.files) as stratum0:
        yield stratum0


class Host(Site):
    """A site that tells how its lanes did.

    Attributes:
        parts: what they brought.
    """

    def __init__(self, directory: Path, repository: Repository, stratum0: HttpStratum0) -> None:
        directory.mkdir(exist_ok=True)
        super().__init__(directory, NAME, stratum0.url, repository.keys.master_pem)
        self._url = stratum0.url
        self.parts: list[Part] = []
        self.configure()

    def configure(self, processes: int = 2, more: str = "") -> None:
        """The table ``fetch``."""
        self.write_config(self._url, f"[fetch]\nprocesses = {processes}\n{more}")

    @property
    def brought(self) -> int:
        """How many objects lanes have brought."""
        return sum(part.count for part in self.parts)

    @property
    def tree(self) -> dict[str, bytes]:
        """All that is kept, and what is served beside it."""
        objects = (self.root / "data").glob("[0-9a-f][0-9a-f]/*")
        files = [*objects, *self.root.glob(MANIFEST)]
        return {str(each.relative_to(self.root)): each.read_bytes() for each in files}


@pytest.fixture
def host(
    tmp_path: Path,
    repository: Repository,
    stratum0: HttpStratum0,
    monkeypatch: pytest.MonkeyPatch,
) -> Host:
    """Before its first snapshot, with two processes."""
    host = Host(tmp_path / "host", repository, stratum0)
    fetch = Lanes.fetch

    async def watched(*arguments: object, **more: object) -> Part:
        part = await fetch(*arguments, **more)  # type: ignore[arg-type]  # whatever they are
        host.parts.append(part)
        return part

    monkeypatch.setattr(Lanes, "fetch", watched)
    return host


def published(repository: Repository) -> dict[str, bytes]:
    """What a replica has to hold."""
    return {
        path: stored
        for path, stored in repository.files.items()
        if path.startswith("data/") or path == MANIFEST
    }


def some(repository: Repository, every: int) -> list[str]:
    """Paths of small objects."""
    paths = [path for path in sorted(repository.files) if is_small_object(repository, path)]
    return paths[::every]


def is_small_object(repository: Repository, path: str) -> bool:
    """Of file contents."""
    return (
        path.startswith("data/")
        and not parse_object_path(path).suffix
        and len(repository.files[path]) < 100
    )


@pytest.mark.parametrize("processes", [0, 1, 2])
def test_the_same_tree(host: Host, repository: Repository, processes: int) -> None:
    """Byte for byte, however it was fetched, and nothing is left lying about."""
    host.configure(processes)
    assert host.run("snapshot") == 0
    assert host.tree == published(repository)
    assert host.temporaries() == []
    assert (host.brought >= COUNT) == bool(processes)
    assert host.run("check", "--full") == 0
    assert not list(started("lane_process"))


def test_each_object_is_asked_for_once(host: Host, stratum0: HttpStratum0) -> None:
    """By whichever way."""
    assert host.run("snapshot") == 0
    objects = [path for path in stratum0.paths if path.startswith("data/")]
    assert len({*objects}) == len(objects)


def test_repairing(host: Host, repository: Repository) -> None:
    """Damage that keeps the size, and what is missing, is found and replaced."""
    assert host.run("snapshot") == 0
    for path in some(repository, 2):
        (host.root / path).write_bytes(b"x" * len(repository.files[path]))
    for path in some(repository, 3):
        (host.root / path).unlink()
    assert host.run("snapshot") == 0  # which believes what it sees
    host.parts.clear()
    assert host.run("snapshot", "--repair") == 0
    assert host.tree == published(repository)
    assert host.brought > 0
    assert host.run("check", "--full") == 0


def test_the_next_revision(host: Host, repository: Repository) -> None:
    """Only what is new."""
    assert host.run("snapshot") == 0
    host.parts.clear()
    new = {f"file {number}": b"new %d" % number for number in range(700)}
    repository.publish({**TREE, "/new": new})
    assert host.run("snapshot") == 0
    assert host.tree == published(repository)
    assert 0 < host.brought <= 700


# --- servers that are not what they should be -----------------------------------------------------


class Moody:
    """Does as it should, but not at every request.

    Attributes:
        every: how many requests there are for one that is not answered so.
    """

    def __init__(self, stratum0: HttpStratum0, every: int, fault: Callable[[], Fault]) -> None:
        self.every = every
        self._stratum0 = stratum0
        self._fault = fault
        self._count = 0

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """As `Fault`."""
        self._count += 1
        if self._count % self.every == 0:
            return await self._fault()(request)
        path = request.path.removeprefix(f"/cvmfs/{NAME}/")
        stored = self._stratum0._content(path)
        return web.Response(body=stored) if stored is not None else web.Response(status=404)


@pytest.mark.parametrize(
    "fault",
    [lambda: status(503), lambda: raw(b""), lambda: raw(b"HTTP/1.1 200 OK\r\nContent-Len")],
    ids=["busy", "closed", "cut"],
)
def test_every_third_request_fails(
    host: Host, repository: Repository, stratum0: HttpStratum0, fault: Callable[[], Fault]
) -> None:
    """It takes longer."""
    moody = Moody(stratum0, 3, fault)
    stratum0.faults = dict.fromkeys(some(repository, 30), moody)
    host.configure(more="retries = 9\n")
    assert host.run("snapshot") == 0
    assert host.tree == published(repository)
    assert host.brought > 0
    assert host.temporaries() == []


def test_a_liar(host: Host, repository: Repository, stratum0: HttpStratum0) -> None:
    """One object in ten has other bytes: the others are kept, and nothing is served."""
    lies = some(repository, 10)
    stratum0.faults = dict.fromkeys(lies, content(b"other bytes"))
    host.configure(more="retries = 0\n")
    assert host.run("snapshot") == 3
    kept = host.tree
    assert MANIFEST not in kept
    assert kept == {path: repository.files[path] for path in kept}
    assert not kept.keys() & {*lies}
    assert len(kept) >= COUNT - len(lies)
    assert host.temporaries() == []
    stratum0.faults = {}
    assert host.run("snapshot") == 0
    assert host.tree == published(repository)


def test_a_poisoned_cache(host: Host, repository: Repository, stratum0: HttpStratum0) -> None:
    """One object in ten has other bytes, until caches are asked to stand aside."""
    for path in some(repository, 10):
        stratum0.faults[path] = past_caches_only(repository.files[path])
    assert host.run("snapshot") == 0
    assert host.tree == published(repository)


def past_caches_only(right: bytes) -> Fault:
    """Wrong bytes for whoever does not ask so."""

    async def answer(request: web.Request) -> web.StreamResponse:
        is_fresh = "no-cache" in request.headers.get("Cache-Control", "")
        return web.Response(body=right if is_fresh else b"poison")

    return answer


def test_bodies_without_an_end(host: Host, repository: Repository, stratum0: HttpStratum0) -> None:
    """Are left in the middle, by everybody."""
    endless = Endless()
    stratum0.faults = dict.fromkeys(some(repository, 100), endless)
    host.configure(more="retries = 0\n")
    assert host.run("snapshot") == 3
    assert host.temporaries() == []


# --- when something ends --------------------------------------------------------------------------


def test_lanes_are_killed_again_and_again(
    host: Host, repository: Repository, stratum0: HttpStratum0
) -> None:
    """The snapshot goes on without them."""
    asked = 0

    def kill() -> Fault:
        nonlocal asked
        asked += 1
        for process in [*started("lane_process")][:asked]:
            os.kill(process, signal.SIGKILL)
        return content(b"too late")

    moody = Moody(stratum0, 1, kill)
    for path in some(repository, 400):
        stratum0.faults[path] = first_time(moody, repository.files[path])
    assert host.run("snapshot") == 0
    assert asked
    assert any(str(error) for part in host.parts for error in part.errors.values())
    assert host.tree == published(repository)
    assert host.temporaries() == []


def first_time(fault: Fault, stored: bytes) -> Fault:
    """Something else the first time."""
    is_first = True

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal is_first
        was_first, is_first = is_first, False
        return await fault(request) if was_first else web.Response(body=stored)

    return answer


def test_no_lane_can_be_started(
    host: Host, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The snapshot goes on without any."""
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    assert host.run("snapshot") == 0
    assert host.tree == published(repository)
    assert host.brought == 0


def test_a_full_disk(tmp_path: Path, repository: Repository, stratum0: HttpStratum0) -> None:
    """Exit code 5; what is there is right, and with more room all goes on."""
    with tiny_disk(tmp_path / "disk", 2**22) as disk:
        host = Host(disk / "host", repository, stratum0)
        assert host.run("snapshot") == 5
        kept = host.tree
        assert kept == {path: repository.files[path] for path in kept}
        assert host.temporaries() == []
        resize(disk, 2**26)
        assert host.run("snapshot") == 0
        assert host.tree == published(repository)


def test_ctrl_c(host: Host, repository: Repository, stratum0: HttpStratum0) -> None:
    """As typed at a terminal: to all of them. Everything ends, and nothing lies about."""
    is_asked = stratum0.hang(some(repository, 1)[700])
    command = [str(PROGRAM), "--config", str(host.config), "snapshot"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as program:
        is_asked.wait()
        lanes = lanes_of(program.pid)
        os.killpg(program.pid, signal.SIGINT)
        _, said = program.communicate()
    assert b"stopped; nothing is lost" in said
    assert b"Traceback" not in said
    assert program.returncode == 130
    assert len(lanes) == 2
    assert all(is_over(lane) for lane in lanes)
    assert host.temporaries() == []
    assert not is_locked(host.spool)
    stratum0.faults = {}
    assert host.run("snapshot") == 0
    assert host.tree == published(repository)


def test_killed(host: Host, repository: Repository, stratum0: HttpStratum0) -> None:
    """Without a chance to clear up: its lanes end without a word, and the next run finishes."""
    is_asked = stratum0.hang(some(repository, 1)[700])
    command = [str(PROGRAM), "--config", str(host.config), "snapshot"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        is_asked.wait()
        lanes = lanes_of(program.pid)
        program.kill()
        _, said = program.communicate()
    assert [line for line in said.splitlines() if not line.startswith(NAME.encode())] == []
    until(lambda: all(is_over(lane) for lane in lanes))
    stratum0.faults = {}
    assert host.run("snapshot") == 0
    assert host.tree == published(repository)
    assert host.temporaries() == []


def lanes_of(program: int) -> list[int]:
    """The processes that a program has started."""
    tasks = Path(f"/proc/{program}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]
