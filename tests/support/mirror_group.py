"""Three mirrors behind one name, as processes on loopback, and a client that forgets nothing."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final, Self

from mirror.cvmfs.manifest import Manifest
from mirror.cvmfs.paths import MANIFEST
from mirror.daemon.group.message import NOTHING, Version
from tests.support.relays import Network, Relay
from tests.support.site import Site

FQRN: Final = "test.example.org"
LEASE_S: Final = 1.0
WAIT_S: Final = 3.0
PROGRAM: Final = Path(sys.executable).with_name("cvmfs-mirror")
_PATIENCE_S: Final = 60.0


def free_ports(count: int) -> list[int]:
    """So many that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@dataclass
class MemberProcess:
    """One member.

    Attributes:
        name: of it.
        site: its host.
        port: for clients.
        api_port: for the group.
        links: its ways to the others.
        process: its daemon; None before the first start.
    """

    name: str
    site: Site
    port: int
    api_port: int
    links: dict[str, Relay] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For clients."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Its daemon."""
        with (self.site.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [PROGRAM, "--config", self.site.config, "run"], stdout=log, stderr=log
            )

    def send(self, number: signal.Signals) -> None:
        """A signal to its daemon, and to nobody else."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """As a power cut does to its daemon."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    @property
    def is_alive(self) -> bool:
        """Whether its daemon is."""
        return self.process is not None and self.process.poll() is None

    def stop(self) -> None:
        """Well, at the end."""
        if self.process is None or self.process.poll() is not None:
            return
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()

    def status(self) -> Any:  # noqa: ANN401 - as it is
        """What it says of its group."""
        connection = http.client.HTTPConnection("127.0.0.1", self.api_port, timeout=5)
        try:
            connection.request("GET", "/api/v1/group")
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


class MirrorGroup:
    """All of them; use as a context manager."""

    def __init__(self, directory: Path, stratum0: str, key: bytes, names: str = "abc") -> None:
        self.members: dict[str, MemberProcess] = {}
        self._network = Network()
        self._token = directory / "token"
        self._token.write_text("0123456789abcdef" * 4)
        self._token.chmod(0o600)
        ports = free_ports(2 * len(names))
        for name in names:
            home = directory / name
            home.mkdir()
            site = Site(home, FQRN, stratum0, key)
            self.members[name] = MemberProcess(name, site, ports.pop(), ports.pop())
        self._stratum0 = stratum0

    def __enter__(self) -> Self:
        self._network.__enter__()
        for member in self.members.values():
            for other in self.members.values():
                if other is not member:
                    member.links[other.name] = self._network.relay(other.api_port)
            self._configure(member)
            member.start()
        return self

    def __exit__(self, *_: object) -> None:
        for member in self.members.values():
            member.stop()
        self._network.__exit__(None, None, None)

    def _configure(self, member: MemberProcess) -> None:
        ports = {name: link.port for name, link in member.links.items()}
        ports[member.name] = member.api_port
        urls = ", ".join(f'{name} = "http://127.0.0.1:{port}"' for name, port in ports.items())
        member.site.write_config(
            self._stratum0,
            f'[serve]\nlisten = ["127.0.0.1:{member.port}"]\nworkers = 1\n'
            "[fetch]\nprocesses = 0\nretries = 0\n"
            f'[run]\nlisten = ["127.0.0.1:{member.api_port}"]\n'
            "interval_s = 1.0\nslowest_s = 2.0\nbackoff_s = 2.0\n"
            f'[group]\nname = "{member.name}"\nmembers = {{ {urls} }}\n'
            f'token = "{self._token}"\nlease_s = {LEASE_S}\nwait_s = {WAIT_S}\n',
        )

    def until_all_give(self, version: Version, within_s: float = _PATIENCE_S) -> float:
        """How long it takes until every member does."""
        began = time.monotonic()
        while any(ask(each) != version for each in self.members.values()):
            assert time.monotonic() - began < within_s, self.how_it_is()
            time.sleep(0.05)
        return time.monotonic() - began

    def how_it_is(self) -> str:
        """For people."""
        lines = []
        for each in self.members.values():
            told: object = "dead"
            with suppress(OSError, ValueError):
                told = each.status()
            log = (each.site.directory / "log").read_text("utf-8", "replace")[-1500:]
            lines.append(f"{each.name}: gives {ask(each)}: {told}\n{log}")
        return "\n".join(lines)


def ask(member: MemberProcess) -> Version | None:
    """What a client gets there; None for nothing."""
    connection = http.client.HTTPConnection("127.0.0.1", member.port, timeout=2)
    try:
        connection.request("GET", f"/cvmfs/{FQRN}/{MANIFEST}")
        answer = connection.getresponse()
        raw = answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return version_of(raw) if answer.status == 200 else None


def version_of(raw: bytes) -> Version:
    """What a client compares."""
    manifest = Manifest.parse(raw)
    return Version(manifest.revision, manifest.published_at)


class StrictClient:
    """Asks anybody all the time, and complains when it is given what is older than it has seen.

    Attributes:
        seen: the newest.
        complaints: what was older.
        answers: manifests, by who gave them.
        gap_s: the longest time without any manifest from anybody.
    """

    def __init__(self, group: MirrorGroup, random: Random) -> None:
        self.seen = NOTHING
        self.complaints: list[str] = []
        self.answers = dict.fromkeys(group.members, 0)
        self.gap_s = 0.0
        self._members = list(group.members.values())
        self._random = random
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._ask_on, name="client")

    def _ask_on(self) -> None:
        last = time.monotonic()
        while not self._is_over.is_set():
            member = self._random.choice(self._members)
            given = ask(member)
            if given is None:
                continue
            now = time.monotonic()
            self.gap_s, last = max(self.gap_s, now - last), now
            self.answers[member.name] += 1
            if given < self.seen:
                self.complaints.append(f"{member.name} gave {given} after {self.seen}")
            self.seen = max(self.seen, given)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
