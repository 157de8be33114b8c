"""What a manifest and its tags reach, found without any code of the project but names.

An oracle must not share its subject's mistakes, so this reads SQLite plainly and walks recursively.
"""

from __future__ import annotations

import hashlib
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path


def reachable_objects(root: Path) -> set[str]:
    """Paths below ``root`` of every object reachable; the tree must be whole.

    Tags whose root catalog is not there any more count as collected.
    """
    text = (root / ".cvmfspublished").read_bytes().partition(b"\n--\n")[0].decode()
    fields = {line[0]: line[1:] for line in text.split("\n")}
    found = {_path(fields[key], key) for key in "HXM" if key in fields}
    _walk(root, fields["C"], found)
    if "H" in fields:
        with closing(_database(root / _path(fields["H"], "H"))) as history:
            for (tagged,) in history.execute("SELECT hash FROM tags"):
                if (root / _path(tagged, "C")).exists():
                    _walk(root, tagged, found)
    return found


def require_sound(root: Path) -> int:
    """All that is reachable has the hash it is named by; returns how much there is."""
    found = reachable_objects(root)
    for path in found:
        digits = path.removeprefix("data/").replace("/", "").rstrip("CHXMPL")
        assert hashlib.sha1((root / path).read_bytes()).hexdigest() == digits, path
    return len(found)


def wanted_by(root: Path, path: str) -> set[str]:
    """What one catalog refers to, given its path below ``root``."""
    found, nested = _read(root / path)
    return found | {_path(each, "C") for each in nested}


def _walk(root: Path, catalog_hash: str, found: set[str]) -> None:
    path = _path(catalog_hash, "C")
    if path in found:
        return
    found.add(path)
    objects, nested = _read(root / path)
    found |= objects
    for each in nested:
        _walk(root, each, found)


def _read(packed: Path) -> tuple[set[str], list[str]]:
    """The paths of a catalog's objects, and the hashes of what is nested in it."""
    found = set()
    labels = {0: "", 1: "-rmd160", 2: "-shake128"}
    with closing(_database(packed)) as catalog:
        for digest, flags in catalog.execute("SELECT hash, flags FROM catalog"):
            if digest and not flags & 128:
                found.add(_path(digest.hex() + labels[flags >> 8 & 7], ""))
        chunks = "SELECT chunks.hash, flags FROM chunks JOIN catalog USING (md5path_1, md5path_2)"
        for digest, flags in catalog.execute(chunks):
            if not flags & 128:
                found.add(_path(digest.hex() + labels[flags >> 8 & 7], "P"))
        nested = [sha1 for (sha1,) in catalog.execute("SELECT sha1 FROM nested_catalogs")]
    return found, nested


def _path(text: str, suffix: str) -> str:
    return f"data/{text[:2]}/{text[2:]}{suffix}"


def _database(packed: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.deserialize(zlib.decompress(packed.read_bytes()))
    return connection
