"""The same over real HTTP, by the command line; and the oracle judged by the real publisher."""

from __future__ import annotations

import os
from io import BytesIO
from itertools import count
from pathlib import Path

import pytest

from mirror.stratum0.source import DirectorySource, TarSource
from tests.support.editing import Edit, WorkingTree
from tests.support.fixture import REVISIONS
from tests.support.histories import FQRN, Files, History, Settings, publisher_keys
from tests.support.http_stratum0 import HttpStratum0
from tests.support.model import (
    canonical,
    expected_mounts,
    published,
    read_revision,
    require_same,
)
from tests.support.site import Site
from tests.support.written import from_directory, from_tar, write_directory, write_tar

_EDITS = [Edit("directory", 0, 0, b"a"), Edit("file", 1, 1, b"b"), Edit("link", 1, 1, b"c")]


def test_history_over_http(tmp_path: Path) -> None:
    """A replica that follows over HTTP holds each revision as it was published."""
    history, working = History(tmp_path, Settings()), WorkingTree(count(1))
    with HttpStratum0(history.origin, FQRN.name) as stratum0:
        site = Site(tmp_path, FQRN.name, stratum0.url, publisher_keys().master_public_pem)
        for number, more in enumerate([_EDITS, [Edit("large", 1, 9, b"d")], []]):
            working.edit(more)
            write_directory(working.tree, os.fsencode(tmp_path / str(number)))
            source, after = DirectorySource(tmp_path / str(number)), from_directory(working.tree)
            history.publish(source, after, history.options())
            assert site.run("snapshot") == 0
            assert site.run("check", "--full") == 0
            files = Files(site.root)
            root = history.manifest.root_catalog.text
            require_same(read_revision(files.__getitem__, root), history.head)
            assert site.temporaries() == []


def test_unchanged_tarball_is_no_revision(tmp_path: Path) -> None:
    """A tarball with its own root and with hard links, published twice, is one revision."""
    history, working = History(tmp_path, Settings()), WorkingTree(count(1))
    working.edit(_EDITS)
    packed = write_tar(working.tree, mentions=working.tree)
    after = from_tar(working.tree, mentions=working.tree)
    for was_unchanged in (False, True):
        report = history.publish(TarSource(BytesIO(packed), "x"), after, history.options())
        assert report.was_unchanged == was_unchanged


def test_unmentioned_directories_stay_as_they_are(tmp_path: Path) -> None:
    """A tarball that names only files, laid over a tree, leaves mode and time of directories."""
    history, working = History(tmp_path, Settings()), WorkingTree(count(1))
    working.edit([*_EDITS[:2], Edit("mode", 1, 4, b"")])
    for mentions, overlays in ((list(working.tree), False), ([b"/a/b"], True)):
        source = TarSource(BytesIO(write_tar(working.tree, mentions=mentions)), "x")
        told = from_tar(working.tree, mentions=mentions)
        made_up = working.tree.keys() - mentions
        after = published(history.head, told, overlays=overlays, made_up=made_up)
        report = history.publish(source, after, history.options(overlays=overlays))
        history.require_everything()
    assert (history.head[b"/a"].mode, report.was_unchanged) == (0o40700, True)


def test_second_publication_in_a_second_has_a_tag(tmp_path: Path) -> None:
    """However fast publications follow each other, each revision keeps a name of its own."""
    history, working = History(tmp_path, Settings()), WorkingTree(count(1))
    for number in range(4):
        working.edit([Edit("file", 0, number, b"a")])
        write_directory(working.tree, os.fsencode(tmp_path / str(number)))
        source, after = DirectorySource(tmp_path / str(number)), from_directory(working.tree)
        history.publish(source, after, history.options())
    assert sorted(history.tags[name].revision for name in history.named) == [1, 2, 3, 4]


@pytest.mark.parametrize("revision", REVISIONS)
def test_oracle_agrees_with_the_real_publisher(fixture_repository: Path, revision: str) -> None:
    """What the model expects of catalogs and counters holds for those that cvmfs_server wrote."""
    directory = fixture_repository / revision
    manifest = (directory / ".cvmfspublished").read_bytes()
    root = next(line[1:] for line in manifest.split(b"\n") if line.startswith(b"C")).decode()
    found = read_revision(Files(directory).__getitem__, root)
    require_same(found, found.tree)
    assert canonical(found.tree)
    assert found.mounts.keys() == expected_mounts(found.tree)
