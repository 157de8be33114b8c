"""README is always true: every command in it is run, every file it names is there."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from aiohttp import web

from mirror.config import Settings, parse_settings
from mirror.serve_settings import LimitSettings
from proxy.config import Settings as ProxySettings
from proxy.config import parse_settings as parse_proxy_settings
from tests.support.http_stratum0 import HttpStratum0

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.removeprefix("$ ")
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
]
FQRN = "software.example.org"
TOKEN = "t0ken-of-the-publisher-0123456789abcdef"
LIST = "/cvmfs/info/v1/repositories.json"


async def listed(_request: web.Request) -> web.StreamResponse:
    """Another server's list."""
    return web.json_response({"replicas": [{"name": FQRN, "url": f"/cvmfs/{FQRN}"}]})


def test_make_targets_exist() -> None:
    """What README asks make for, make knows; this very run shows that `make test` works."""
    targets = {word for line in COMMANDS if line.startswith("make ") for word in line.split()[1:]}
    assert targets == {"demo", "test"}
    for target in sorted(targets):
        subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)


def test_the_demo_works() -> None:
    """`make demo ARGS=--once` ends well, having shown every step."""
    program = str(Path(sys.executable).with_name("cvmfs-mirror"))
    done = subprocess.run([program, "demo", "--once"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "revision 5 → 6: only 2 objects were new" in done.stdout
    assert "2 of them reached the mirror: hit rate 95 %" in done.stdout
    assert done.stdout.endswith("Everything worked.\n")
    assert not re.search("Traceback|Warning", done.stderr)


def test_the_demo_takes_a_directory(tmp_path: Path) -> None:
    """With --content, what is published, replicated and served is the user's own."""
    (tmp_path / "file").write_text("content")
    program = str(Path(sys.executable).with_name("cvmfs-mirror"))
    command = [program, "demo", "--once", "--content", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "revision 1 → 2: only 2 objects were new" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_every_command_works(fixture_repository: Path, tmp_path: Path) -> None:
    """The commands of a first replica, in their order, with this machine's paths and ports."""
    commands = [line for line in COMMANDS if line.startswith(("cvmfs-mirror ", "curl "))]
    assert len(commands) == 23
    with HttpStratum0(fixture_repository / "rev5", FQRN) as stratum0:
        stratum0.faults[LIST] = listed
        host = Host(tmp_path, stratum0.url, fixture_repository / "keys")
        host.make_content()
        try:
            for command in commands:
                host.run(command)
        finally:
            host.stop()


class Host:
    """Runs README's commands as a user without the paths of a real server."""

    def __init__(self, directory: Path, stratum0: str, keys: Path) -> None:
        self._server: subprocess.Popen[str] | None = None
        self._url = ""
        self._paths = {
            "http://stratum0.example.org/cvmfs/software.example.org": stratum0,
            "http://stratum1.example.net": stratum0.partition("/cvmfs")[0],
            "/etc/cvmfs/keys/example.org": str(keys),
            "/etc/cvmfs-mirror/header": str(directory / "header"),
            "/etc/cvmfs/repositories.d": str(directory / "repositories.d"),
            "/srv/stratum0": str(directory / "stratum0"),
            "./keys": str(directory / "keys"),
            "./software": str(directory / "software"),
            "./package.tar.gz": str(directory / "package.tar.gz"),
        }
        self._directory = directory
        config = directory / "mirror.toml"
        storage = f'path = "{directory}/srv"\nspool = "{directory}/spool"\n'
        config.write_text(
            f'[storage]\n{storage}[serve]\nlisten = ["127.0.0.1:0"]\n'
            f'[run]\ntokens = "{directory}/tokens"\n'
        )
        self._environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "CVMFS_MIRROR_CONFIG": str(config),
        }

    def make_content(self) -> None:
        """What README's publisher has lying around."""
        software = self._directory / "software"
        (software / "bin").mkdir(parents=True)
        (self._directory / "repositories.d").mkdir()
        (software / "bin" / "tool").write_text("#!/bin/sh\n")
        (self._directory / "tokens").touch(0o600)
        (self._directory / "tokens").write_text(f"{TOKEN}\n")
        (self._directory / "header").write_text(f"Authorization: Bearer {TOKEN}\n")
        with tarfile.open(self._directory / "package.tar.gz", "w:gz") as tar:
            tar.add(software, ".")

    def run(self, command: str) -> None:
        """Run a line of README; whatever it is, it must end well."""
        for ours, here in self._paths.items():
            command = command.replace(ours, here)
        words = shlex.split(command.replace("http://127.0.0.1:8000", self._url))
        if words[:2] in (["cvmfs-mirror", "serve"], ["cvmfs-mirror", "run"]):
            self.stop()
            self._serve(words)
            return
        if words[0] == "curl":
            _curl(words)
            return
        done = subprocess.run(
            words, env=self._environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"

    def _serve(self, words: list[str]) -> None:
        self._server = subprocess.Popen(
            words, env=self._environment, stderr=subprocess.PIPE, text=True
        )
        assert self._server.stderr is not None
        said = next(line for line in self._server.stderr if "serving " in line)
        self._url = said.partition(" at ")[2].strip().removesuffix("/cvmfs/")

    def stop(self) -> None:
        """End the server as an operator would."""
        if self._server is not None:
            self._server.terminate()
            _, said = self._server.communicate(timeout=30)
            assert self._server.returncode == 0
            assert "stopped" in said


ANSWERS = {
    "snapshot?wait": '"outcome": "done"',
    "readyz": '"ready": true',
    "cvmfsmon": f"OK:{FQRN}",
}


def _curl(words: list[str]) -> None:
    """Ask, with curl where there is one."""
    if "--head" in words:
        _curl_head(words)
    elif shutil.which("curl") is not None:
        said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        (wanted,) = (answer for part, answer in ANSWERS.items() if part in words[-1])
        assert wanted in said


def _curl_head(words: list[str]) -> None:
    if shutil.which("curl") is None:
        with urlopen(Request(words[-1], method="HEAD")) as response:
            said = f"{response.status} OK\n{response.headers}"
    else:
        said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "200 OK" in said
    assert "application/x-cvmfs" in said


def test_the_installation_works(tmp_path: Path) -> None:
    """The three lines give a program that runs, from a directory of its own."""
    commands = [line for line in COMMANDS if "/opt/cvmfs-mirror" in line]
    assert len(commands) == 3
    for command in commands:
        words = shlex.split(command.replace("/opt/cvmfs-mirror", str(tmp_path)))
        subprocess.run([*words], cwd=ROOT, check=True, capture_output=True)
    program = tmp_path / "bin" / "cvmfs-mirror"
    done = subprocess.run([program, "demo", "--once"], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("Everything worked.\n")


def test_every_command_is_run_by_a_test() -> None:
    """None is of a kind that the tests above pass over."""
    known = (
        "make ",
        "cvmfs-mirror ",
        "cvmfs-proxy ",
        "curl ",
        "python3 -m venv /opt/",
        "/opt/cvmfs-mirror/bin/",
    )
    assert [line for line in COMMANDS if not line.startswith(known)] == []


def test_the_locked_requirements() -> None:
    """They carry hashes, and no addresses."""
    text = (ROOT / "requirements" / "run.txt").read_text()
    assert "--hash=sha256:" in text
    assert "://" not in text
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]
    assert build["build-backend"] == "hatchling.build"


def test_the_configuration_is_complete_and_valid() -> None:
    """It parses, and it names every setting there is."""
    _, example = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    settings = parse_settings(example, "README.md")
    assert set(Settings.model_fields) == settings.model_fields_set
    for name in Settings.model_fields.keys() - {"replica", "follow"}:
        table = getattr(settings, name)
        assert table.model_fields_set == set(type(table).model_fields)


def test_the_unit_fits_the_program() -> None:
    """What it runs is a verb of ours, what it relies on is what the daemon does."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    assert unit.read(ROOT / "docs" / "examples" / "cvmfs-mirror.service")
    service = unit["Service"]
    program, *arguments = shlex.split(service["ExecStart"])
    assert program.endswith("/bin/cvmfs-mirror")
    ours = Path(sys.executable).with_name("cvmfs-mirror")
    subprocess.run([ours, *arguments, "--help"], check=True, capture_output=True)
    assert service["Type"] == "notify"
    assert service["ExecReload"].endswith("-HUP $MAINPID")
    assert service["KillMode"] == "mixed"  # workers end when the daemon tells them
    settings = Settings()
    assert float(service["TimeoutStopSec"]) > settings.serve.limits.drain_s + 10
    for path in (settings.storage.path, settings.storage.spool):
        assert str(path) in service["ReadWritePaths"].split()
    if shutil.which("systemd-analyze"):
        _systemd_reads(ROOT / "docs" / "examples" / "cvmfs-mirror.service")


def test_the_unit_of_the_proxy_fits_the_program() -> None:
    """Likewise."""
    path = ROOT / "docs" / "examples" / "cvmfs-proxy.service"
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    assert unit.read(path)
    service = unit["Service"]
    program, *arguments = shlex.split(service["ExecStart"])
    assert program.endswith("/bin/cvmfs-proxy")
    command = [sys.executable, "-m", "proxy", *arguments, "--help"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert float(service["TimeoutStopSec"]) > LimitSettings().drain_s + 10
    if shutil.which("systemd-analyze"):
        _systemd_reads(path)


def _systemd_reads(unit: Path) -> None:
    """Every line of it; that the program is not installed here is no fault of the unit's."""
    command = ["systemd-analyze", "verify", "--man=no", str(unit)]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    assert [
        line for line in said.splitlines() if "Unknown" in line or "Failed to parse" in line
    ] == []


def test_the_configuration_of_the_proxy_is_complete_and_valid() -> None:
    """Likewise; tables that are the mirror's are told of there."""
    example, _ = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    settings = parse_proxy_settings(example, "README.md")
    assert set(ProxySettings.model_fields) == settings.model_fields_set
    for name in ProxySettings.model_fields:
        table = getattr(settings, name)
        assert table.model_fields_set == set(type(table).model_fields)


def test_the_proxy_of_a_site(tmp_path: Path) -> None:
    """Its commands, with this machine's paths and ports."""
    commands = [line for line in COMMANDS if line.startswith("cvmfs-proxy ")]
    assert [line.split()[1] for line in commands] == ["run", "check"]
    run, check = (
        shlex.split(
            line.replace("/var/cache/cvmfs-proxy", str(tmp_path / "cache")).replace(":3128", ":0")
        )[1:]
        for line in commands
    )
    program = [sys.executable, "-m", "proxy"]
    subprocess.run([*program, *check], cwd=ROOT, check=True, capture_output=True)
    with subprocess.Popen([*program, *run], cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("caching http://127.0.0.1:8000 at http://")
        process.terminate()
        assert process.stderr.read() == "stopped serving; 0 requests\n"
    assert process.returncode == 0


@pytest.mark.parametrize("path", re.findall(r"`((?:mirror|docs|tests|proxy)/[^`*<]+)`", README))
def test_every_path_it_names_exists(path: str) -> None:
    """A map that lies is worse than none."""
    assert (ROOT / path).exists()


@pytest.mark.parametrize("target", re.findall(r"\]\((?!https?:)([^)#]+)\)", README))
def test_every_link_leads_somewhere(target: str) -> None:
    """Within the project."""
    assert (ROOT / target).exists()


def test_python_files_of_the_flow_are_on_the_map() -> None:
    """Each room's __init__ names every module in it."""
    for room in (
        "cvmfs",
        "trust",
        "upstream",
        "store",
        "replication",
        "upkeep",
        "handover",
        "following",
        "serve",
        "daemon",
        "geo",
        "stratum0",
    ):
        package = ROOT / "mirror" / room
        text = (package / "__init__.py").read_text()
        missing = [
            file.stem
            for file in package.glob("*.py")
            if file.stem != "__init__" and not re.search(rf"\b{file.stem}\b", text)
        ]
        assert missing == [], f"mirror/{room}/__init__.py does not tell of {missing}"


def test_the_map_of_the_proxy_is_complete() -> None:
    """Modules and rooms."""
    text = (ROOT / "proxy" / "__init__.py").read_text()
    found = [each.stem for each in (ROOT / "proxy").glob("[a-z]*") if each.name != "__pycache__"]
    assert [each for each in found if not re.search(rf"\b{each}\b", text)] == []
