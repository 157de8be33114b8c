"""Who is measured: each peer's three commands, for an empty directory and an origin."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.corpora import FQRN, objects
from bench.measuring import Command
from bench.origin import Origin

STEPS = "first", "1 % changed", "no news"
CLI = Path(sys.executable).with_name("cvmfs-mirror")


@dataclass(frozen=True, slots=True)
class Peer:
    """Brings a replica up to date.

    Attributes:
        name: for the table.
        commands: for the steps, as many as it can do.
        replica: where the replica is, below the directory.
    """

    name: str
    commands: Callable[[Path, Origin], Sequence[Command]]
    replica: str

    def require_complete(self, directory: Path, revision: int, origin: Origin) -> None:
        """A peer that left something out was not fast."""
        wanted = objects(origin.corpus.revision(revision)).items()
        if missing := wanted - objects(directory / self.replica).items():
            sys.exit(f"{self.name} left {len(missing)} objects out")


def peers() -> list[Peer]:
    """Ours first, then whoever is on PATH."""
    found = [Peer("cvmfs-mirror snapshot", _ours, f"srv/{FQRN}")]
    if shutil.which("cvmfs_swissknife"):
        found.append(Peer("cvmfs_swissknife pull -n 16", _reference, "root"))
    found.append(Peer("cp -r (floor)", _copy, "copy"))
    return found


def _ours(directory: Path, origin: Origin) -> Sequence[Command]:
    """``cvmfs-mirror snapshot``, durable."""
    config = directory / "mirror.toml"
    config.write_text(
        f'[storage]\npath = "{directory}/srv"\nspool = "{directory}/spool"\n'
        f'[[replica]]\nname = "{FQRN}"\nstratum0 = "{origin.url}"\n'
        f'keys = "{origin.corpus.key}"\n'
    )
    return [(*origin.route.client, CLI, "--config", config, "snapshot")] * len(STEPS)


def _reference(directory: Path, origin: Origin) -> Sequence[Command]:
    """The real pull, which never syncs."""
    root, scratch = directory / "root", directory / "scratch"
    for fan in [*(f"{byte:02x}" for byte in range(256)), "txn"]:
        (root / "data" / fan).mkdir(parents=True)
    scratch.mkdir()
    command: Command = [
        *(*origin.route.client, "cvmfs_swissknife", "pull", "-m", FQRN.name, "-u", origin.url),
        *("-w", f"file://{root}", "-r", f"local,{root}/data/txn,{root}", "-k", origin.corpus.key),
        *("-x", scratch, "-n", "16", "-t", "10", "-a", "3", "-R", f"{directory}/reflog"),
    ]
    return [(*command, "-i"), (*command, "-p"), (*command, "-p")]


def _copy(directory: Path, origin: Origin) -> Sequence[Command]:
    """What the file system itself needs for the bytes of the first revision."""
    return [("cp", "-r", f"{origin.corpus.revision(1)}/.", directory / "copy")]
