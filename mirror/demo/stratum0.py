"""A Stratum 0 that publishes its next revision on demand."""

from __future__ import annotations

import tarfile
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

from mirror.cvmfs.fqrn import Fqrn

FQRN: Final = Fqrn("software.example.org")
_ARCHIVE: Final = "software.example.org.tar.xz"


class DemoStratum0:
    """The archive's trees below one directory; a link tells which of them is published.

    Attributes:
        storage: what a web server has to serve.
        key: the public master key.
    """

    def __init__(self, directory: Path) -> None:
        """Unpack into ``directory``."""
        with as_file(files(__package__) / _ARCHIVE) as archive, tarfile.open(archive) as tar:
            # Part of this package, so there is nothing to guard against; Pythons that know of
            # filters want one named, and 3.11.2 (Debian 12) does not know of them.
            options = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            tar.extractall(directory, **options)  # type: ignore[arg-type]  # noqa: S202
        self._revisions = directory / FQRN.name
        self.key = self._revisions / "keys" / f"{FQRN.name}.pub"
        self.storage = directory / "stratum0"
        self.storage.mkdir()

    def publish(self, tree: int) -> None:
        """Put the tree of that number, 1 to 8, before the world in one step."""
        link = self.storage / FQRN.name
        temporary = link.with_suffix(".new")
        temporary.symlink_to(self._revisions / f"rev{tree}")
        temporary.replace(link)
