"""What an operator of a proxy types and sees."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest

from mirror.serve.content import Outcome
from mirror.serve.resources import Kind
from proxy.cli.main import run
from proxy.cli.report import report
from tests.support.http_stratum0 import HttpStratum0

FQRN = "software.example.org"


@pytest.mark.parametrize("verb", ["", "run", "check", "completion"])
def test_every_verb_tells_what_it_does(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With --help."""
    assert run([*verb.split(), "--help"]) == 0
    assert capsys.readouterr().out.startswith("Usage: cvmfs-proxy")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A script for the shell."""
    assert run(["completion", shell]) == 0
    assert "_CVMFS_PROXY_COMPLETE" in capsys.readouterr().out


def test_mistakes_are_told_in_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the name of the program and of the file; exit code 2."""
    config = tmp_path / "proxy.toml"
    config.write_text('[proxy]\nupstream = ["http://mirror"]\n[access]\nports = [25]\n')
    assert run(["run", "--config", str(config)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(f"cvmfs-proxy: {config}: proxy.upstream: no such setting")
    assert "did you mean upstreams?" in lines[0]
    assert lines[1].startswith(f"cvmfs-proxy: {config}: access.ports[1]: 25 belongs")
    assert run(["run"]) == 2
    assert "add a mirror: --upstream http://mirror:8000" in capsys.readouterr().err
    assert run(["run", "--upstream", "http://mirror", "--memory", "much"]) == 2
    assert "is no size; write it like 10G" in capsys.readouterr().err


def test_check_tells_what_is_allowed(capsys: pytest.CaptureFixture[str]) -> None:
    """Without starting anything."""
    arguments = ["check", "--upstream", "http://mirror:8000", "--cache-size", "10G"]
    assert run([*arguments, "--memory", "1 GiB"]) == 0
    assert "upstreams http://mirror:8000" in capsys.readouterr().out


def test_the_report() -> None:
    """What cost the mirror nothing is a hit; what was refused is neither."""
    totals = {
        (Kind.OBJECT, Outcome.HIT_MEMORY): (3, 30),
        (Kind.OBJECT, Outcome.COALESCED): (1, 10),
        (Kind.CATALOG, Outcome.MISS): (1, 10),
        (Kind.OTHER, Outcome.ERROR): (5, 0),
    }
    assert report(totals) == "10 requests, hit rate 80.0 %"
    assert report({}) == "0 requests"


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A proxy as a process, and where it serves."""
    process = subprocess.Popen(
        [sys.executable, "-m", "proxy", "run", "--listen", "127.0.0.1:0", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"CVMFS_PROXY_DEBUG": "1"},
    )
    try:
        assert process.stderr is not None
        said = process.stderr.readline()
        assert said.startswith("caching "), said + process.stderr.read()
        yield process, said.partition(" at ")[2].strip()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_serves_without_any_file(fixture_repository: Path, tmp_path: Path, workers: str) -> None:
    """Both forms, then SIGHUP and SIGUSR1, and SIGTERM ends it with a line of what it did."""
    with HttpStratum0(fixture_repository / "rev5", FQRN) as stratum0:
        mirror = stratum0.url.partition("/cvmfs")[0]
        sizes = ("--cache-size", "1G", "--memory", "100M", "--workers", workers)
        cache = ("--cache-dir", str(tmp_path / "cache"))
        with running("--upstream", mirror, *cache, *sizes) as (process, proxy):
            manifest = f"/cvmfs/{FQRN}/.cvmfspublished"
            forward = build_opener(ProxyHandler({"http": proxy}))
            reverse = build_opener(ProxyHandler({}))
            for _ in range(2):
                assert forward.open(f"{mirror}{manifest}").read().startswith(b"C")
                assert reverse.open(f"{proxy}{manifest}").read().startswith(b"C")
            process.send_signal(signal.SIGUSR1)
            process.send_signal(signal.SIGHUP)
            assert process.stderr is not None
            assert process.stderr.readline().startswith("caching ")
            assert reverse.open(f"{proxy}{manifest}").read().startswith(b"C")
            process.terminate()
            _, said = process.communicate(timeout=30)
    assert process.returncode == 0
    assert re.fullmatch(r"stopped serving; 5 requests, hit rate \d+\.\d %\n", said)
