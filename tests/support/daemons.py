"""``cvmfs-mirror run`` as a process, with the repositories that it follows.

with Daemons(tmp_path, keys) as daemons:
    stratum0 = daemons.repository("a.example.org")
    mirror = daemons.run("one", [stratum0])
    until(lambda: mirror.serves(stratum0))
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from mirror.cvmfs.manifest import Manifest
from mirror.cvmfs.paths import MANIFEST
from tests.support.http_stratum0 import Fault, HttpStratum0
from tests.support.keys import Keys
from tests.support.mirror_group import free_ports
from tests.support.processes import is_over
from tests.support.publisher import Repository
from tests.support.tasks import until

TOKEN: Final = "t0ken-of-the-publisher-0123456789abcdef"
OFTEN: Final = "interval_s = 0.2\nslowest_s = 0.2\nbackoff_s = 0.2\n"
SELDOM: Final = "interval_s = 86_400.0\nslowest_s = 86_400.0\n"
_FETCH: Final = "retries = 0\ntimeout_s = 1.0\nprocesses = 0\n"


@dataclass
class Origin:
    """A repository and the server that has it.

    Attributes:
        repository: publish to it; clients of the server see that at `offer`.
        server: make it misbehave.
    """

    repository: Repository
    server: HttpStratum0
    _count: int = 0

    @property
    def name(self) -> str:
        """Of the repository."""
        return self.repository.fqrn.name

    @property
    def manifest(self) -> bytes:
        """As it is offered now."""
        return self.server.files[MANIFEST]  # type: ignore[index]

    @property
    def revision(self) -> int:
        """Likewise."""
        return Manifest.parse(self.manifest).revision

    def misbehave(self, fault: Fault, where: str = "") -> None:
        """Answer like this whatever has this in its path, until `behave`."""
        self.server.faults = _Faults(fault, where)

    def behave(self) -> None:
        """Be right again."""
        self.server.faults = {}

    def publish(self, more: int = 3) -> int:
        """The next revision, with so many new files; returns its number."""
        self._count += 1
        files = {f"file{each}": b"%d of %d" % (each, self._count) for each in range(more)}
        self.repository.publish({"": files, "/nested": {"same": b"same", **files}})
        self.server.files = dict(self.repository.files)  # all at once, as a publisher does
        return self.revision


class _Faults(dict[str, Fault]):
    """One for all paths that have some text in them."""

    def __init__(self, fault: Fault, where: str) -> None:
        super().__init__()
        self._fault = fault
        self._where = where

    def get(self, path: str, default: object = None) -> Any:  # noqa: ANN401 - a mapping's
        """See above."""
        return self._fault if self._where in path else default


@dataclass
class Mirror:
    """A daemon that runs, or has run.

    Attributes:
        directory: its host.
        port: for clients.
        said: what it said, in all its lives.
    """

    directory: Path
    port: int
    said: list[str] = field(default_factory=list)
    process: subprocess.Popen[str] | None = None
    _hearing: threading.Thread | None = None

    @property
    def config(self) -> Path:
        """Its configuration."""
        return self.directory / "mirror.toml"

    @property
    def storage(self) -> Path:
        """Its trees."""
        return self.directory / "srv"

    @property
    def socket(self) -> Path:
        """Where it answers, on its host."""
        return self.directory / "spool" / "cvmfs-mirror.sock"

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Of the daemon."""
        assert self.process is not None
        return self.process.pid

    def configure(
        self, origins: Sequence[Origin], run: str = OFTEN, more: str = "", replica: str = ""
    ) -> None:
        """Write the configuration; these lines in ``[run]``, at the end, and in each replica."""
        key = self.directory / "master.pub"
        tokens = self.directory / "tokens"
        tokens.touch(0o600)
        tokens.write_text(f"{TOKEN}\n")
        text = (
            f'[storage]\npath = "{self.storage}"\nspool = "{self.directory}/spool"\n'
            f'[serve]\nlisten = ["127.0.0.1:{self.port}"]\nworkers = 2\n'
            f"[serve.limits]\ndrain_s = 5.0\n[fetch]\n{_FETCH}"
            f'[run]\ntokens = "{tokens}"\n{run}{more}\n'
        )
        for each in origins:
            text += f'[[replica]]\nname = "{each.name}"\nstratum0 = "{each.server.url}"\n'
            text += f'keys = "{key}"\n{replica}'
        new = self.config.with_suffix(".new")
        new.write_text(text)
        new.replace(self.config)

    def start(self) -> None:
        """Run it until it serves."""
        before = len(self.said)
        self.launch()
        until(lambda: any(": serving " in line for line in self.said[before:]) or self.is_over)
        assert not self.is_over, self.said

    def launch(self) -> None:
        """Run it."""
        program = str(Path(sys.executable).with_name("cvmfs-mirror"))
        command = [program, "--config", str(self.config), "run"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self._hearing = threading.Thread(target=self._hear, args=(self.process,))
        self._hearing.start()

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.process is None or self.process.poll() is not None

    def has_said(self, words: str) -> bool:
        """Whether it said so."""
        return any(words in line for line in self.said)

    def children(self) -> set[int]:
        """Workers and lanes that are alive."""
        found: set[int] = set()
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                found |= {int(each) for each in (task / "children").read_text().split()}
        return {each for each in found if not is_over(each)}

    def send(self, number: signal.Signals) -> None:
        """A signal to the daemon."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> int:
        """As an operator does; returns its exit code."""
        assert self.process is not None
        self.send(signal.SIGTERM)
        return self.process.wait(60)

    def kill(self) -> None:
        """As bad luck does; its workers end by themselves."""
        assert self.process is not None
        workers = self.children()
        self.process.kill()
        self.process.wait()
        until(lambda: all(is_over(each) for each in workers))

    def end(self) -> None:
        """Whatever it is doing."""
        if self.process is not None and self.process.poll() is None:
            workers = self.children()
            self.process.kill()
            self.process.wait()
            for each in workers:
                with suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)
        if self._hearing is not None:
            self._hearing.join()

    # --- what it tells ----------------------------------------------------------------------------

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body, as a client gets them."""
        return self.ask("GET", path)

    def ask(self, method: str, path: str, **headers: str) -> tuple[int, bytes]:
        """A request of its own connection, at the mirror's port."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def push(self, name: str, wait_s: float = 30.0) -> Any:  # noqa: ANN401 - as it is
        """Say that there is news, and wait for the outcome."""
        path = f"/api/v1/repositories/{name}/snapshot?wait={wait_s}"
        status, body = self.ask("POST", path, Authorization=f"Bearer {TOKEN}")
        return status, json.loads(body)

    def status(self, name: str) -> Any:  # noqa: ANN401 - likewise
        """What it says of one repository; None where it says nothing."""
        code, body = self.get("/api/v1/status")
        if code != 200:
            return None
        told = json.loads(body)["repositories"]
        return next((each for each in told if each["name"] == name), None)

    def served_revision(self, name: str) -> int | None:
        """By its manifest, as clients get it; None if they do not."""
        status, body = self.get(f"/cvmfs/{name}/{MANIFEST}")
        return Manifest.parse(body).revision if status == 200 else None

    def serves(self, origin: Origin) -> bool:
        """Whether clients get what is offered."""
        return self.served_revision(origin.name) == origin.revision

    def _hear(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with process.stderr as told:
            self.said.extend(line.rstrip("\n") for line in told)


class Daemons:
    """All of them; use as a context manager."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._stack = ExitStack()
        self._mirrors: list[Mirror] = []

    def repository(self, name: str, files: int = 3) -> Origin:
        """One that is offered, in its first revision."""
        repository = Repository(self._keys, name)
        origin = Origin(repository, HttpStratum0(repository.files, name))
        origin.publish(files)
        self._stack.enter_context(origin.server)
        return origin

    def mirror(self) -> Mirror:
        """A host for one; its path is short, as a socket's has to be."""
        directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="mirror-")))
        (directory / "master.pub").write_bytes(self._keys.master_pem)
        mirror = Mirror(directory, free_ports(1)[0])
        self._mirrors.append(mirror)
        return mirror

    def run(
        self, origins: Sequence[Origin], run: str = OFTEN, more: str = "", replica: str = ""
    ) -> Mirror:
        """A daemon that runs."""
        mirror = self.mirror()
        mirror.configure(origins, run, more, replica)
        mirror.start()
        return mirror

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for mirror in self._mirrors:
            mirror.end()
        self._stack.close()
