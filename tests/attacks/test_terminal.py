"""Names and messages that strangers made up, and that operators are shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from mirror.cvmfs.content_hash import Suffix
from tests.support.databases import Mount, altered, catalog_database, history_database
from tests.support.hostile_http import raw, status
from tests.support.siege import FQRN, Part, Siege

PAINT: Final = "\x1b[2J\x1b[31mall is well\x9b0m\r\u202e"
"""Clears the screen, writes in red, returns to the start of the line, writes from right to left."""


def assert_plain(shown: str) -> None:
    """Nothing in it moves a cursor."""
    assert [line for line in shown.split("\n") if not line.isprintable()] == []


def offer_catalog_at(siege: Siege, mount_point: bytes) -> None:
    """Offer a root with a nested catalog, which is missing, at a place that need not be UTF-8."""
    row = f"(CAST(x'{mount_point.hex()}' AS TEXT), '{'ab' * 20}', 100)"
    siege.offer_catalog(altered(catalog_database(), f"INSERT INTO nested_catalogs VALUES {row}"))


@pytest.mark.parametrize("part", [Part.MANIFEST, Part.OBJECT])
def test_redirect_that_paints(siege: Siege, part: Part) -> None:
    """What a server says is told as text."""
    head = (
        f"HTTP/1.1 302 {PAINT[:-2]}\r\nLocation: http://a/{PAINT[:-2]}\r\nContent-Length: 0\r\n\r\n"
    )
    siege.attack(part, raw(head.encode()))
    siege.assert_repelled(
        3, "Unavailable" if part is Part.MANIFEST else "SnapshotFailed", "no HTTP answer"
    )
    siege.assert_recovers()


@pytest.mark.parametrize("part", [Part.MANIFEST, Part.OBJECT])
def test_reason_that_paints(siege: Siege, part: Part) -> None:
    """The same is true of what is shown while a run goes on."""
    siege.attack(part, raw(f"HTTP/1.1 500 {PAINT[:-2]}\r\nContent-Length: 0\r\n\r\n".encode()))
    siege.configure("retries = 1\n")
    exit_code, shown = siege.snapshot_for_people()
    assert exit_code == 3
    assert "all is well" in shown
    assert_plain(shown)
    siege.assert_unharmed()


@pytest.mark.parametrize("name", [PAINT.encode(), b"caf\xe9", b"\xed\xa0\x80", b"new\nline"])
def test_mount_point_that_is_no_text(siege: Siege, name: bytes) -> None:
    """Names in a repository need not be UTF-8, nor printable; errors that quote them are."""
    offer_catalog_at(siege, b"/" + name)
    siege.assert_repelled(3, "SnapshotFailed", "of the catalog at '/", "404")
    exit_code, shown = siege.snapshot_for_people()
    assert exit_code == 3
    assert_plain(shown)
    siege.assert_recovers()


def test_catalog_at_a_mount_point_that_paints(siege: Siege) -> None:
    """The same is true where the catalog itself is what is wrong."""
    noise = siege.repository.add_catalog(b"noise")
    siege.offer_catalog(catalog_database(nested=[Mount(f"/{PAINT}", noise, 100)]))
    siege.assert_repelled(4, "SnapshotFailed", "not a sound SQLite file", "all is well")
    siege.assert_recovers()


def test_tag_that_is_no_text(siege: Siege) -> None:
    """The name of a tag need not be UTF-8 either, and machines are told of it nevertheless."""
    row = f"INSERT INTO tags (name, hash) VALUES (CAST(x'636166e9' AS TEXT), '{'ab' * 20}')"
    history = altered(history_database(FQRN, []), row)
    siege.repository.resign(H=siege.repository.add_object(history, Suffix.HISTORY).text)
    siege.assert_accepted()
    assert siege.site.run("check", "--json") == 0


def test_tag_that_paints(siege: Siege) -> None:
    """The name of a tag is shown when its root was collected, and moves no cursor."""
    root = siege.path(Part.ROOT_CATALOG)
    siege.repository.tags[PAINT] = replace(siege.repository.tags.pop("v2"), name=PAINT)
    siege.publish()
    siege.publish()
    siege.stratum0.faults[root] = status(404)
    exit_code, shown = siege.snapshot_for_people()
    assert (exit_code, "all is well" in shown, "collected" in shown) == (0, True, True)
    assert_plain(shown)


@pytest.mark.parametrize("reason", ["[/]", "[/red]", "[link=file:///etc/passwd]", ":bomb:"])
def test_markup_on_a_terminal(siege: Siege, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What our own library for terminals takes for markup does not stop it."""
    siege.attack(Part.OBJECT, status(500, reason))
    siege.configure("retries = 1\n")
    monkeypatch.setenv("FORCE_COLOR", "1")
    exit_code, shown = siege.snapshot_for_people()
    assert exit_code == 3
    assert "".join(shown.split()).count(reason) >= 2  # when it is tried again, and in the end
    siege.assert_unharmed()
