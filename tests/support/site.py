"""A host with a configuration file of its own, on which the command line is run."""

from __future__ import annotations

from pathlib import Path

from mirror.cli.main import run
from mirror.store.base import ObjectReader
from mirror.store.local import LocalStore


class Site:
    """A directory that stands for a host: configuration, storage, spool.

    Attributes:
        config: the configuration file.
        root: the replica's tree.
    """

    def __init__(self, directory: Path, fqrn: str, stratum0: str, key: bytes) -> None:
        """Write the configuration; ``key`` is the public master key in PEM."""
        self.fqrn = fqrn
        self.directory = directory
        self.config = directory / "mirror.toml"
        self.storage = directory / "srv"
        self.spool = directory / "spool" / fqrn
        self.root = self.storage / fqrn
        self.key = directory / "master.pub"
        self.key.write_bytes(key)
        self.write_config(stratum0)

    def write_config(self, stratum0: str, more: str = "") -> None:
        """Point at another Stratum 0; ``more`` is put before the replica."""
        self.config.write_text(
            f'[storage]\npath = "{self.storage}"\nspool = "{self.spool.parent}"\n{more}\n'
            f'[[replica]]\nname = "{self.fqrn}"\nstratum0 = "{stratum0}"\nkeys = "{self.key}"\n'
        )

    def add_mirrors(self, *urls: str) -> None:
        """Configure mirrors for the replica, which stands last in the file."""
        listed = ", ".join(f'"{url}"' for url in urls)
        self.config.write_text(f"{self.config.read_text()}mirrors = [{listed}]\n")

    def run(self, *arguments: str) -> int:
        """Run ``cvmfs-mirror`` in this process; returns the exit code."""
        return run(["--config", str(self.config), *arguments])

    @property
    def store(self) -> ObjectReader:
        """The replica's store."""
        return LocalStore(self.root)

    def temporaries(self) -> list[str]:
        """What lies below ``data/txn``; nothing should, after a run."""
        return sorted(path.name for path in (self.root / "data" / "txn").iterdir())
