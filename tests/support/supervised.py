"""``cvmfs-mirror serve`` as a process, and clients that keep it busy."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from tests.support.processes import is_over
from tests.support.tasks import until

FQRN = "test.example.org"
OBJECT = f"/cvmfs/{FQRN}/data/ab/{'c' * 38}"
CONTENT = bytes(range(256)) * 200


def storage_at(directory: Path) -> Path:
    """A storage directory with one object."""
    path = directory / OBJECT.removeprefix("/cvmfs/")
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    return directory


@dataclass
class Supervised:
    """A server that runs, and what it says."""

    process: subprocess.Popen[str]
    config: Path
    said: list[str] = field(default_factory=list)

    @property
    def urls(self) -> list[str]:
        """Where it serves, by what it said last."""
        return [line.partition(" at ")[2].removesuffix("/cvmfs/") for line in self._served]

    @property
    def url(self) -> str:
        """The first of them."""
        return self.urls[0]

    @property
    def _served(self) -> list[str]:
        return [line for line in self.said if line.startswith("serving ")]

    def workers(self) -> set[int]:
        """Those of its processes that have not ended."""
        found: set[int] = set()
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                found |= {int(each) for each in (task / "children").read_text().split()}
        return {each for each in found if not is_over(each)}

    def has_said(self, words: str) -> bool:
        """Whether it said so."""
        return any(words in line for line in self.said)

    def send(self, number: signal.Signals) -> None:
        """A signal."""
        self.process.send_signal(number)

    def renewed(self, before: set[int], count: int | None = None) -> bool:
        """Whether there are as many workers as before, or so many, and none of these."""
        now = self.workers()
        return len(now) == (count or len(before)) and not now & before

    def hear(self) -> None:
        """Listen to it, to its end."""
        assert self.process.stderr is not None
        self.said.extend(line.rstrip("\n") for line in self.process.stderr)


@contextmanager
def supervised(
    directory: Path, serve: str = "", listen: str = '"127.0.0.1:0"', urls: int = 1
) -> Iterator[Supervised]:
    """Serve ``directory/srv`` with these lines in ``[serve]``, and so many URLs."""
    config = directory / "mirror.toml"
    write_config(config, serve, listen)
    program = str(Path(sys.executable).with_name("cvmfs-mirror"))
    command = [program, "--config", str(config), "serve"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        server = Supervised(process, config)
        hearing = threading.Thread(target=server.hear)
        hearing.start()
        try:
            until(lambda: len(server.urls) >= urls or process.poll() is not None)
            assert len(server.urls) >= urls, server.said
            yield server
        finally:
            workers = server.workers() if process.poll() is None else set()
            process.kill()
            for each in workers:
                with suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)
            hearing.join()


def write_config(config: Path, serve: str, listen: str = '"127.0.0.1:0"') -> None:
    """A configuration; its listen addresses, and other lines of ``[serve]``."""
    config.write_text(
        f'[storage]\npath = "{config.parent}/srv"\n[serve]\nlisten = [{listen}]\n{serve}\n'
    )


class Client:
    """Asks for the object over and over, on one connection as long as it may."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)

    def ask(self) -> bytes:
        """One request."""
        self._connection.request("GET", OBJECT)
        return self._connection.getresponse().read()

    @property
    def port(self) -> int:
        """Its own."""
        port: int = self._connection.sock.getsockname()[1]
        return port

    def close(self) -> None:
        """Leave."""
        self._connection.close()


def ask_once(url: str) -> bytes:
    """One request on a connection of its own."""
    client = Client(url)
    try:
        return client.ask()
    finally:
        client.close()


class Crowd:
    """Several clients that ask all the time; use as a context manager."""

    def __init__(self, url: str, count: int = 4) -> None:
        self.errors: list[str] = []
        self._url = url
        self._answers = [0] * count
        self._is_over = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask_on, args=(number,)) for number in range(count)
        ]

    def wait_for_answers(self, count: int) -> None:
        """So many more for each of them."""
        before = list(self._answers)
        until(
            lambda: (
                all(now >= was + count for now, was in zip(self._answers, before, strict=True))
                or bool(self.errors)
            )
        )

    def _ask_on(self, number: int) -> None:
        client = Client(self._url)
        while not self._is_over.is_set():
            try:
                body = client.ask()
            except (OSError, http.client.HTTPException) as error:
                self.errors.append(repr(error))
                client.close()
                continue
            if body != CONTENT:
                self.errors.append(f"{len(body)} bytes")
            self._answers[number] += 1
        client.close()

    def __enter__(self) -> Self:
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for each in self._threads:
            each.join()


def owner(port: int, processes: set[int]) -> int | None:
    """Which of these processes has the connection whose client is at this port of 127.0.0.1."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if int(words[2].partition(":")[2], 16) == port and words[3] == "01":
            for process in processes:
                if f"socket:[{words[9]}]" in _open_of(process):
                    return process
    return None


def _open_of(process: int) -> set[str]:
    found = set()
    for each in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.add(str(each.readlink()))
    return found
