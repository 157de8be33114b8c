"""A host on which ``cvmfs_server`` keeps replicas: its files, as it writes them (contract A.2)."""

from __future__ import annotations

from pathlib import Path

from mirror.cvmfs.paths import FAN_OUT


class ReferenceHost:
    """Directories below one that stands for ``/``.

    Attributes:
        repositories: ``/etc/cvmfs/repositories.d``.
        keys: ``/etc/cvmfs/keys``.
        storage: ``/srv/cvmfs``.
        spool: ``/var/spool/cvmfs``.
        config: our configuration, which is new.
    """

    def __init__(self, root: Path) -> None:
        """Make them."""
        self.root = root
        self.repositories = root / "etc/cvmfs/repositories.d"
        self.keys = root / "etc/cvmfs/keys"
        self.storage = root / "srv/cvmfs"
        self.spool = root / "var/spool/cvmfs"
        self.config = root / "etc/cvmfs-mirror/mirror.toml"
        for each in (self.repositories, self.keys, self.storage, self.spool):
            each.mkdir(parents=True)

    def add_key(self, name: str, pem: bytes) -> Path:
        """A master key below ``keys``."""
        path = self.keys / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pem)
        return path

    def add_replica(
        self,
        name: str,
        stratum0: str,
        key: str | Path,
        *,
        alias: str = "",
        server: str = "",
        replica: str = "",
    ) -> Path:
        """As ``cvmfs_server add-replica``; gives the directory of its two files.

        Args:
            name: of the repository.
            stratum0: its URL.
            key: what ``CVMFS_PUBLIC_KEY`` is.
            alias: another name for its directories, ``-n``.
            server: more lines of ``server.conf``, as operators append them.
            replica: likewise.
        """
        alias = alias or name
        tree, spool = self.storage / alias, self.spool / alias
        for each in FAN_OUT:
            (tree / "data" / each).mkdir(parents=True)
        (tree / "data" / "txn").mkdir()
        spool.mkdir()
        (spool / "tmp").symlink_to(tree / "data" / "txn")
        directory = self.repositories / alias
        directory.mkdir()
        (directory / "server.conf").write_text(
            "# Created by cvmfs_server.\n"
            "CVMFS_CREATOR_VERSION=143\n"
            f"CVMFS_REPOSITORY_NAME={name}\n"
            "CVMFS_REPOSITORY_TYPE=stratum1\n"
            "CVMFS_USER=root\n"
            f"CVMFS_SPOOL_DIR={spool}\n"
            f"CVMFS_STRATUM0={stratum0}\n"
            f"CVMFS_STRATUM1=http://localhost/cvmfs/{alias}\n"
            f"CVMFS_UPSTREAM_STORAGE=local,{tree}/data/txn,{tree}\n"
            f"CVMFS_SNAPSHOT_GROUP=\n{server}"
        )
        (directory / "replica.conf").write_text(
            "# Created by cvmfs_server.\n"
            "CVMFS_NUM_WORKERS=16\n"
            f"CVMFS_PUBLIC_KEY={key}\n"
            "CVMFS_HTTP_TIMEOUT=10\n"
            f"CVMFS_HTTP_RETRIES=3\n{replica}"
        )
        return directory

    def add_pass_through(self, name: str, stratum0: str) -> None:
        """As ``cvmfs_server add-replica -P``."""
        directory = self.add_replica(name, stratum0, "")
        (directory / "replica.conf").write_text(
            "# Created by cvmfs_server.\nCVMFS_PASSTHROUGH=true\n"
        )

    def put(self, path: str, text: str) -> None:
        """Any other file of the host."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def import_arguments(self, *more: str) -> list[str]:
        """The command line of an import on this host."""
        return [
            *("--config", str(self.config), "import", "--from", str(self.storage)),
            *("--repositories", str(self.repositories), "--keys", str(self.keys)),
            *("--root", str(self.root), *more),
        ]
