from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from aiohttp import web

from mirror.cli.main import run
from mirror.cvmfs.paths import MANIFEST
from tests.support.http_stratum0 import HttpStratum0
from tests.support.keys import Keys
from tests.support.publisher import Repository

SMALL = [f"small{number}.example.org" for number in range(9)]
LARGE = "large.example.org"
OBJECTS = 1_500


def repository(keys: Keys, fqrn: str, files: int) -> Repository:
    """One with so many files."""
    made = Repository(keys, fqrn)
    made.publish({"": {f"file{number}": f"{fqrn} {number}".encode() for number in range(files)}})
    return made


def write_config(directory: Path, keys: Keys, servers: Sequence[tuple[str, str]]) -> Path:
    """All of them, the large one first."""
    key, config = directory / "master.pub", directory / "mirror.toml"
    key.write_bytes(keys.master_pem)
    lines = [f'[storage]\npath = "{directory}/srv"\nspool = "{directory}/spool"\n']
    lines += [
        f'[[replica]]\nname = "{fqrn}"\nstratum0 = "{url}"\nkeys = "{key}"\n'
        for fqrn, url in servers
    ]
    config.write_text("".join(lines))
    return config


def test_small_ones_do_not_wait_for_a_large_one(
    keys: Keys, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not one object of the large one is delivered before all the small ones are served."""
    published = [tmp_path / "srv" / fqrn / MANIFEST for fqrn in SMALL]

    class UntilOthersAreServed(dict[str, object]):
        def get(self, path: str, default: object = None) -> object:
            is_data = path.startswith("data/") and path[-1] not in "CHX"
            return self._answer if is_data else None

        async def _answer(self, request: web.Request) -> web.StreamResponse:
            while not all(manifest.exists() for manifest in published):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            body = large.files[request.path.partition(f"{LARGE}/")[2]]
            return web.Response(body=body)

    with ExitStack() as servers:
        large = repository(keys, LARGE, OBJECTS)
        origin = HttpStratum0(large.files, LARGE)
        origin.faults = UntilOthersAreServed()  # type: ignore[assignment]
        urls = [(LARGE, servers.enter_context(origin).url)]
        for fqrn in SMALL:
            small = HttpStratum0(repository(keys, fqrn, 3).files, fqrn)
            urls.append((fqrn, servers.enter_context(small).url))
        config = write_config(tmp_path, keys, urls)
        assert run(["--config", str(config), "snapshot", "--json"]) == 0
    reports = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in reports] == [LARGE, *SMALL]
    assert all(each["ok"] for each in reports)
    assert reports[0]["stored_objects"] > OBJECTS
    assert run(["--config", str(config), "check", "--full"]) == 0


def test_one_that_fails_stops_no_other(keys: Keys, tmp_path: Path) -> None:
    """The exit code is of the one that failed; the others are served."""
    with ExitStack() as servers:
        urls = [(SMALL[0], "http://127.0.0.1:1/cvmfs/none")]
        for fqrn in SMALL[1:]:
            small = HttpStratum0(repository(keys, fqrn, 3).files, fqrn)
            urls.append((fqrn, servers.enter_context(small).url))
        config = write_config(tmp_path, keys, urls)
        config.write_text("[fetch]\nretries = 0\n" + config.read_text())
        assert run(["--config", str(config), "snapshot"]) == 3
    served = [(tmp_path / "srv" / fqrn / MANIFEST).exists() for fqrn in SMALL]
    assert served == [False, *[True] * 8]
