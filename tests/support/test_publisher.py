"""The publisher is itself tested, against the real one's work and against what reads it."""

from __future__ import annotations

import sqlite3
import zlib
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mirror.cvmfs.catalog import Catalog
from mirror.cvmfs.content_hash import Algorithm, ContentHash, Suffix
from mirror.cvmfs.history import read_history
from mirror.cvmfs.manifest import Manifest
from mirror.cvmfs.paths import MANIFEST, WHITELIST, is_immutable, object_path, parse_object_path
from mirror.errors import MirrorError
from mirror.trust.trusted_ensemble import TrustedEnsemble
from tests.support.databases import catalog_database, history_database, md5_path
from tests.support.fixture import REVISIONS
from tests.support.keys import Keys
from tests.support.publisher import Repository

NOW = datetime(2026, 6, 1, tzinfo=UTC)
TREE = {
    "": {"README": b"hello", "empty": b""},
    "/app": {"bin/tool": b"x" * 5000, "copy": b"hello"},
    "/app/lib/deep": {"data": b"deep"},
    "/other": {"file": b"other"},
}


def trust(repository: Repository) -> None:
    """Go through the whole chain."""
    ensemble = TrustedEnsemble(repository.anchor, NOW)
    certificate = ensemble.accept_manifest(repository.files[MANIFEST])
    ensemble.accept_certificate(repository.files[object_path(certificate)])
    ensemble.accept_whitelist(repository.files[WHITELIST])


def walk(repository: Repository, root: ContentHash, mount: str = "") -> dict[str, set[str]]:
    """Mount point of each catalog → paths of the objects it refers to."""
    packed = repository.files[object_path(root)]
    with Catalog(zlib.decompress(packed), mount, mount) as catalog:
        found = {mount: {object_path(ref.hash) for ref in catalog.objects()}}
        for nested in catalog.nested_catalogs():
            found |= walk(repository, nested.hash, nested.mount_point)
    return found


def schema_of(database: bytes) -> list[tuple[str, str]]:
    """Names and definitions of all tables and indexes."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(database)
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        return sorted((name, " ".join(sql.split())) for name, sql in rows)


@pytest.mark.parametrize("algorithm", Algorithm)
@pytest.mark.parametrize("is_packed", [True, False])
def test_whole_chain_holds(keys: Keys, algorithm: Algorithm, is_packed: bool) -> None:
    """What is published is trusted, complete, and named by its hash, in every style."""
    repository = Repository(keys, algorithm=algorithm, is_packed=is_packed, chunk_bytes=2000)
    revision = repository.publish(TREE, tag="v1")
    trust(repository)
    found = walk(repository, revision.root)
    assert set(found) == set(TREE)
    assert set.union(*found.values()) < revision.paths == {*filter(is_immutable, repository.files)}
    for path in revision.paths:
        name = parse_object_path(path)
        assert ContentHash.of(algorithm, repository.files[path], name.suffix) == name


def test_chunks_replace_large_files(keys: Keys) -> None:
    """A file above the chunk size is kept in pieces and nowhere as a whole."""
    repository = Repository(keys, chunk_bytes=2000)
    root = repository.publish(TREE).root
    suffixes = [parse_object_path(path).suffix for path in walk(repository, root)["/app"]]
    assert sorted(suffixes) == [Suffix.NONE, Suffix.PARTIAL, Suffix.PARTIAL]


def test_second_revision_keeps_what_did_not_change(keys: Keys) -> None:
    """Only the catalogs from a change up to the root are new, and they know their predecessors."""
    repository = Repository(keys)
    first = repository.publish(TREE)
    second = repository.publish(TREE | {"/other": {"file": b"changed"}})
    new = [parse_object_path(path).suffix for path in second.paths - first.paths]
    assert sorted(new) == [Suffix.NONE, Suffix.CATALOG, Suffix.CATALOG]
    with Catalog(zlib.decompress(repository.files[object_path(second.root)]), "", "root") as root:
        assert root.previous_revision == first.root
    manifest = Manifest.parse(repository.files[MANIFEST])
    assert (manifest.revision, manifest.root_catalog) == (2, second.root)


def test_tags_are_in_the_history(keys: Keys) -> None:
    """The history lists tags until one is taken away and the repository signed again."""
    repository = Repository(keys)
    for name in ("v1", "v2"):
        repository.publish({"": {"name": name.encode()}}, tag=name)
    del repository.tags["v1"]
    repository.sign()
    history = Manifest.parse(repository.files[MANIFEST]).history
    assert history is not None
    tags = read_history(zlib.decompress(repository.files[object_path(history)]), repository.fqrn)
    assert [tag.name for tag in tags] == ["v2"]


def test_collect_keeps_head_and_tags(keys: Keys) -> None:
    """Garbage collection keeps the objects of the last revision and of tagged ones."""
    repository = Repository(keys)
    made = [repository.publish({"": {"n": str(n).encode()}}, tag=f"v{n}") for n in range(3)]
    del repository.tags["v1"]
    repository.collect()
    assert made[0].paths | made[2].paths <= set(repository.files)
    assert object_path(made[1].root) not in repository.files


@pytest.mark.parametrize("path", [MANIFEST, WHITELIST])
def test_flip_breaks_trust(keys: Keys, path: str) -> None:
    """One bit flipped by somebody on the way, and nothing is trusted any more."""
    repository = Repository(keys)
    repository.publish(TREE)
    repository.flip(path)
    with pytest.raises(MirrorError):
        trust(repository)


def test_resign_lies_credibly(keys: Keys) -> None:
    """Fields changed by the publisher are signed, and one set to None is gone."""
    repository = Repository(keys)
    repository.publish(TREE, tag="v1")
    repository.resign(S="77", H=None)
    manifest = Manifest.parse(repository.files[MANIFEST])
    trust(repository)
    assert (manifest.revision, manifest.history) == (77, None)


@pytest.mark.parametrize("revision", REVISIONS)
def test_real_repository_can_be_loaded(
    fixture_repository: Path, fixture_keys: Keys, revision: str, tmp_path: Path
) -> None:
    """A repository read from disk is trusted as before, and written back the same."""
    source = fixture_repository / revision
    repository = Repository.from_directory(source, fixture_keys, "software.example.org")
    trust(repository)
    repository.write_to(tmp_path)
    assert (tmp_path / MANIFEST).read_bytes() == (source / MANIFEST).read_bytes()


def test_databases_have_the_real_schema(fixture_repository: Path) -> None:
    """Catalogs and histories have the tables that the real publisher makes."""
    source = fixture_repository / "rev8"
    manifest = Manifest.parse((source / MANIFEST).read_bytes())
    assert manifest.history is not None
    catalog = zlib.decompress((source / object_path(manifest.root_catalog)).read_bytes())
    history = zlib.decompress((source / object_path(manifest.history)).read_bytes())
    assert schema_of(catalog_database()) == schema_of(catalog)
    assert schema_of(history_database("x", [])) == schema_of(history)


def test_paths_hash_as_in_real_catalogs(fixture_repository: Path) -> None:
    """MD5 paths are split into two signed integers as the real publisher splits them."""
    source = fixture_repository / "rev8"
    manifest = Manifest.parse((source / MANIFEST).read_bytes())
    packed = (source / object_path(manifest.root_catalog)).read_bytes()
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(zlib.decompress(packed))
        query = "SELECT md5path_1, md5path_2 FROM catalog WHERE name = 'software' LIMIT 1"
        assert connection.execute(query).fetchone() == md5_path("/software")
