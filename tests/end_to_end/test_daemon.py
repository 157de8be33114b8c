"""The daemon as a process: published there, served here, whatever happens in between."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror.cli.main import run
from mirror.cvmfs.paths import MANIFEST
from tests.support.daemons import SELDOM, Daemons
from tests.support.keys import Keys
from tests.support.tasks import until

NAME = "test.example.org"


@pytest.fixture(name="daemons")
def fixture_daemons(keys: Keys) -> Iterator[Daemons]:
    """None runs yet."""
    with Daemons(keys) as daemons:
        yield daemons


def test_published_there_served_here(daemons: Daemons) -> None:
    """A first snapshot, then each revision, by looking often enough."""
    origin = daemons.repository(NAME)
    mirror = daemons.run([origin])
    until(lambda: mirror.serves(origin))
    for _ in range(3):
        origin.publish()
        until(lambda: mirror.serves(origin))
    assert mirror.stop() == 0
    assert not mirror.has_said("Traceback")


def test_a_push_is_served_when_it_is_answered(daemons: Daemons) -> None:
    """Who waits for the answer knows that clients have it; the clock would take a day."""
    origin = daemons.repository(NAME)
    mirror = daemons.run([origin], run=SELDOM)
    until(lambda: mirror.serves(origin))
    for _ in range(3):
        origin.publish()
        status, told = mirror.push(NAME)
        assert (status, told["outcome"], told["revision"]) == (200, "done", origin.revision)
        assert mirror.serves(origin)


def test_pushes_of_strangers(daemons: Daemons) -> None:
    """Nobody without a token sets anything off."""
    origin = daemons.repository(NAME)
    mirror = daemons.run([origin], run=SELDOM)
    until(lambda: mirror.serves(origin))
    path = f"/api/v1/repositories/{NAME}/snapshot"
    assert mirror.ask("POST", path)[0] == 401
    assert mirror.ask("POST", path, Authorization="Bearer none")[0] == 401


def test_announced_from_mirror_to_mirror(daemons: Daemons) -> None:
    """A second daemon hears of the first one's flips, and follows without looking by itself."""
    origin = daemons.repository(NAME)
    first = daemons.run([origin], run=SELDOM)
    until(lambda: first.serves(origin))
    second = daemons.run([origin], run=f'{SELDOM}announcements = ["{first.url}"]\n')
    until(lambda: second.serves(origin))
    for _ in range(3):
        origin.publish()
        assert first.push(NAME)[0] == 200
        until(lambda: second.serves(origin))


def test_another_list_under_way(daemons: Daemons) -> None:
    """SIGHUP: added, taken out, changed; and a file with mistakes changes nothing."""
    origins = [daemons.repository(f"r{number}.example.org") for number in range(3)]
    mirror = daemons.run(origins[:2])
    until(lambda: all(mirror.serves(each) for each in origins[:2]))
    mirror.configure(origins[1:], replica="priority = 3\n")
    mirror.send(signal.SIGHUP)
    until(lambda: mirror.serves(origins[2]) and mirror.status(origins[0].name) is None)
    listed = json.loads(mirror.get("/cvmfs/info/v1/repositories.json")[1])
    assert [each["name"] for each in listed["replicas"]] == [each.name for each in origins[1:]]
    assert mirror.serves(origins[0])  # its tree stays
    mirror.config.write_text("[run]\ninterval = 3\n")
    mirror.send(signal.SIGHUP)
    until(lambda: mirror.has_said("the configuration is not taken over"))
    origins[1].publish()
    until(lambda: mirror.serves(origins[1]))


def test_two_daemons_on_one_storage(daemons: Daemons) -> None:
    """The second one says who has it, and ends."""
    origin = daemons.repository(NAME)
    mirror = daemons.run([origin])
    other = daemons.mirror()
    other.config.write_text(mirror.config.read_text())
    other.launch()
    assert other.process is not None
    assert other.process.wait(60) == 5
    until(lambda: other.has_said(f"process {mirror.pid}"))
    until(lambda: mirror.serves(origin))


def test_an_address_that_is_taken(daemons: Daemons) -> None:
    """It is told, with the exit code of a configuration that is wrong, and nothing is left."""
    origin = daemons.repository(NAME)
    mirror = daemons.run([origin])
    other = daemons.mirror()
    other.port = mirror.port
    other.configure([origin])
    other.launch()
    assert other.process is not None
    assert other.process.wait(60) == 2
    until(lambda: other.has_said("another program has the port"))
    assert not other.has_said("Traceback")
    assert not other.socket.exists()


def test_status_for_people(daemons: Daemons, capsys: pytest.CaptureFixture[str]) -> None:
    """From the socket of the configuration, from any other, and from afar."""
    origin = daemons.repository(NAME)
    mirror = daemons.run([origin])
    until(lambda: mirror.serves(origin))
    for where in (["--live"], ["--socket", str(mirror.socket)], ["--url", mirror.url]):
        assert run(["--config", str(mirror.config), "status", *where, NAME]) == 0
        assert f"{NAME}" in capsys.readouterr().out
    assert run(["status", "--url", mirror.url, "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["repositories"]
    assert told["served"]["number"] == 1
    assert run(["status", "--url", mirror.url, "other.example.org"]) == 2
    mirror.stop()
    assert run(["--config", str(mirror.config), "status", "--live"]) == 3
    assert "is cvmfs-mirror run at work there?" in capsys.readouterr().err


def test_consumers_at_the_mirrors_own_port(daemons: Daemons) -> None:
    """What monitoring of today reads is there, beside the repositories."""
    origin = daemons.repository(NAME)
    mirror = daemons.run([origin])
    until(lambda: mirror.serves(origin))
    until(lambda: mirror.status(NAME)["last_success"] is not None)
    assert mirror.get("/cvmfsmon/api/v1.0/all") == (200, f"OK:{NAME}\n".encode())
    status, body = mirror.get("/cvmfs/info/v1/repositories.json")
    assert status == 200
    assert json.loads(body)["replicas"] == [{"name": NAME, "url": f"/cvmfs/{NAME}"}]
    assert mirror.get("/cvmfs/info/v1/meta.json")[0] == 200
    assert mirror.get("/healthz") == (200, b"ok\n")
    assert mirror.get("/readyz")[0] == 200
    assert mirror.socket.stat().st_mode & 0o777 == 0o600
    assert MANIFEST in {path.name for path in (mirror.storage / NAME).iterdir()}


def test_fetching_gives_way_and_serving_does_not(daemons: Daemons) -> None:
    """Whoever serves is as nice as whoever started us; threads that fetch are nicer."""
    origin = daemons.repository(NAME)
    mirror = daemons.run([origin], more="[snapshot]\nnice = 3\n")
    until(lambda: mirror.serves(origin))
    ours = os.nice(0)
    main, *others = niceness(mirror.pid)
    assert main == ours
    assert max(others) == min(ours + 3, 19)
    for worker in mirror.children():
        assert set(niceness(worker)) == {ours}


def niceness(process: int) -> list[int]:
    """Of all its threads, the first one's first."""
    threads = sorted(Path(f"/proc/{process}/task").iterdir(), key=lambda each: int(each.name))
    return [int((thread / "stat").read_text().rpartition(")")[2].split()[16]) for thread in threads]
