"""What all attacks have in common: a replica that holds, and a Stratum 0 that is tampered with.

    siege.attack(Part.OBJECT, status(500))          # or tamper with siege.repository
    siege.assert_repelled(3, "SnapshotFailed", "500")
    siege.assert_recovers()

A `Siege` begins with one good revision replicated through the real command line, and the next one
offered. Every part of the offer (`Part`) is new, so that a snapshot has to fetch it.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

import pytest

from mirror.cvmfs.catalog import Catalog
from mirror.cvmfs.content_hash import ContentHash, Suffix
from mirror.cvmfs.manifest import Manifest
from mirror.cvmfs.paths import MANIFEST, MASTER_REPLICA, WHITELIST, object_path, parse_object_path
from tests.support.http_stratum0 import Fault, HttpStratum0
from tests.support.keys import Keys, self_signed
from tests.support.publisher import Repository
from tests.support.site import Site

FQRN: Final = "test.example.org"
ONE_TRY: Final = "retries = 0\n"
IMPATIENT: Final = "retries = 0\ntimeout_s = 0.5\nmin_bytes_per_s = 1000\n"


class Part(StrEnum):
    """Everything that is fetched for a revision."""

    MASTER_REPLICA = "master replica"
    MANIFEST = "manifest"
    CERTIFICATE = "certificate"
    WHITELIST = "whitelist"
    HISTORY = "history"
    META_INFO = "meta info"
    ROOT_CATALOG = "root catalog"
    NESTED_CATALOG = "nested catalog"
    OBJECT = "object"
    CHUNK = "chunk"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run of ``snapshot`` came to.

    Attributes:
        exit_code: of the program.
        kind: the class of the error; empty if it went well.
        message: what the operator is told.
    """

    exit_code: int
    kind: str
    message: str


class Siege:
    """A replica, the repository it replicates, and the server in between.

    Attributes:
        repository: the origin; tamper with it.
        stratum0: serves it.
        site: the host of the replica.
        new_paths: what a replica of the revision before lacks.
        held_files: what the repository consisted of when it was replicated last.
    """

    def __init__(
        self,
        directory: Path,
        keys: Keys,
        stratum0: HttpStratum0,
        capture: pytest.CaptureFixture[str],
    ) -> None:
        self.repository = Repository(keys, FQRN, chunk_bytes=1000)
        self.stratum0 = stratum0
        self.site = Site(directory, FQRN, stratum0.url, keys.master_pem)
        self._capture = capture
        self._authorities = directory / "authorities.pem"
        self._authorities.write_bytes(keys.certificate)
        self.configure()
        stratum0.files = self.repository.files
        self.publish()
        self.replicate()
        self.publish()

    # --- the honest side ----------------------------------------------------------------------

    def publish(self) -> None:
        """Offer the next revision; every part of it is new."""
        number = len(self.repository.revisions) + 1
        known = {*self.repository.files}
        keys = self.repository.keys
        self.repository.keys = replace(keys, certificate=self_signed(keys.publisher))
        big = b"".join(b"%d of %d" % (line, number) for line in range(200))
        tree = {
            "": {"README": b"revision %d" % number, "same": b"same"},
            "/app": {"tool": b"tool %d" % number, "big": big},
            "/other": {"file": b"never changes"},
        }
        self.repository.publish(tree, tag=f"v{number}")
        described = self.repository.add_meta_info({"description": f"revision {number}"})
        self.repository.resign(M=described.text)
        self._good = dict(self.repository.files)
        self.new_paths = sorted({*self._good} - known)

    def replicate(self) -> None:
        """Let the replica take what is offered; that is what it must hold from now on."""
        self.assert_accepted()
        self._held = self.root_files
        self.held_files = dict(self.repository.files)

    def configure(
        self, fetch: str = ONE_TRY, *, blacklist: str | None = None, url: str | None = None
    ) -> None:
        """Configure the replica: its table ``fetch``, the lines of its blacklist, its Stratum 0."""
        # the system's authorities would take longer to load than a whole run takes
        more = f'[fetch]\n{fetch}ca_bundle = "{self._authorities}"\n'
        if blacklist is not None:
            path = self.site.directory / "blacklist"
            path.write_text(blacklist)
            more += f'[trust]\nblacklist = "{path}"\n'
        self.site.write_config(url or self.stratum0.url, more)

    # --- the attack ---------------------------------------------------------------------------

    def path(self, part: Part) -> str:
        """Where a part of the offered revision lies."""
        manifest = Manifest.parse(self._good[MANIFEST])
        root = object_path(manifest.root_catalog)
        catalogs = [path for path in self.new_paths if path.endswith("C") and path != root]
        tool = self.repository.add_object(b"tool %d" % manifest.revision)
        return {
            Part.MASTER_REPLICA: MASTER_REPLICA,
            Part.MANIFEST: MANIFEST,
            Part.CERTIFICATE: _path(manifest.certificate),
            Part.WHITELIST: WHITELIST,
            Part.HISTORY: _path(manifest.history),
            Part.META_INFO: _path(manifest.meta_info),
            Part.ROOT_CATALOG: root,
            Part.NESTED_CATALOG: catalogs[0],
            Part.OBJECT: object_path(tool),
            Part.CHUNK: next(path for path in self.new_paths if path.endswith("P")),
        }[part]

    def bytes_of(self, part: Part) -> bytes:
        """What a part of the offered revision should be."""
        return self._good[self.path(part)]

    def attack(self, part: Part, fault: Fault) -> str:
        """Let the server answer for this part as ``fault`` does; returns its path."""
        path = self.path(part)
        self.stratum0.faults[path] = fault
        return path

    def offer_root(self, stored: bytes, size_bytes: int | None = None) -> ContentHash:
        """Let the publisher sign these stored bytes as the root catalog of the offer."""
        name = self.repository.add_object(stored, Suffix.CATALOG, is_packed=False)
        size = None if size_bytes is None else str(size_bytes)
        self.repository.resign(C=name.text, B=size)
        return name

    def offer_catalog(self, database: bytes) -> ContentHash:
        """The same for an unpacked database."""
        return self.offer_root(zlib.compress(database), len(database))

    # --- what happens -------------------------------------------------------------------------

    def snapshot(self, *options: str) -> Outcome:
        """Run ``snapshot --json``."""
        exit_code, out, _ = self._run("--json", *options)
        (result,) = json.loads(out)
        error = result.get("error", {"kind": "", "message": ""})
        return Outcome(exit_code, error["kind"], error["message"])

    def snapshot_for_people(self) -> tuple[int, str]:
        """Run plain ``snapshot``; returns the exit code and all that is shown."""
        exit_code, out, err = self._run()
        return exit_code, out + err

    def assert_repelled(self, exit_code: int, kind: str, *words: str) -> None:
        """The next snapshot fails with this error, which says these words; nothing is harmed."""
        outcome = self.snapshot()
        assert (outcome.exit_code, outcome.kind) == (exit_code, kind), outcome.message
        assert [word for word in words if word not in outcome.message] == [], outcome.message
        assert outcome.message.isprintable()
        self.assert_unharmed()

    def assert_unharmed(self) -> None:
        """What was served is served still, byte for byte, and nothing half done lies around."""
        assert self.root_files == self._held
        self._assert_sound()

    def assert_accepted(self, *options: str) -> None:
        """The next snapshot takes what is offered."""
        outcome = self.snapshot(*options)
        assert outcome == Outcome(0, "", "")
        for name in (MANIFEST, WHITELIST):
            assert (self.site.root / name).read_bytes() == self.repository.files[name]
        self._assert_sound()

    def assert_recovers(self) -> None:
        """With the attack gone, the next snapshot brings the honest revision, as a whole."""
        self.stratum0.faults.clear()
        self.repository.files.clear()
        self.repository.files.update(self._good)
        self.assert_accepted()
        for path in self.new_paths:
            assert (self.site.root / path).read_bytes() == self._good[path]

    @property
    def root_files(self) -> dict[str, bytes]:
        """What clients see of the replica beside ``data/``."""
        return {path.name: path.read_bytes() for path in self.site.root.iterdir() if path.is_file()}

    def _run(self, *options: str) -> tuple[int, str, str]:
        """Whatever happens, nobody is shown a traceback."""
        self._capture.readouterr()
        exit_code = self.site.run("snapshot", *options)
        out, err = self._capture.readouterr()
        assert "Traceback" not in err
        assert "internal error" not in err
        return exit_code, out, err

    def _assert_sound(self) -> None:
        self.configure()
        assert self.site.run("check", "--full") == 0
        assert self.site.temporaries() == []
        stored = {
            f"data/{path.parent.name}/{path.name}": path.read_bytes()
            for path in (self.site.root / "data").glob("??/*")
        }
        for path, content in stored.items():
            name = parse_object_path(path)
            assert ContentHash.of(name.algorithm, content, name.suffix) == name
            if name.suffix is Suffix.CATALOG:
                assert _wanted_by(content) <= {*stored}  # children before parents


def _path(content_hash: ContentHash | None) -> str:
    assert content_hash is not None
    return object_path(content_hash)


def _wanted_by(packed: bytes) -> set[str]:
    with Catalog(zlib.decompress(packed), "", "a stored catalog") as catalog:
        hashes = [ref.hash for ref in catalog.objects()]
        hashes += [ref.hash for ref in catalog.nested_catalogs()]
        return {*map(object_path, hashes)}
