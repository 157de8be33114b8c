"""What is no HTTP, or ends in the middle of it."""

from __future__ import annotations

import pytest

from tests.support.hostile_http import dripping_head, raw
from tests.support.siege import IMPATIENT, Part, Siege

MIB = 1024 * 1024


@pytest.mark.parametrize("part", [Part.MANIFEST, Part.CERTIFICATE])
@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 two hundred\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nhello",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * MIB + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 100_000 + b"\r\n",
        b"HTTP/1.1 200 " + b"O" * MIB + b"\r\n\r\n",
    ],
    ids=[
        *("nothing", "half a head", "TLS", "SSH", "no status", "negative length", "two lengths"),
        *("chunk without size", "long header", "many headers", "long reason"),
    ],
)
def test_no_http(siege: Siege, part: Part, sent: bytes) -> None:
    """What does not speak HTTP is no server, and the error is still one line."""
    path = siege.attack(part, raw(sent))
    siege.assert_repelled(3, "Unavailable", path)
    siege.assert_recovers()


@pytest.mark.parametrize(
    "sent",
    [b"", b"HTTP/1.1 200 OK\r\nCont", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n123"],
    ids=["before the head", "in the head", "in the body"],
)
@pytest.mark.parametrize("part", [Part.MANIFEST, Part.ROOT_CATALOG, Part.OBJECT])
def test_reset(siege: Siege, part: Part, sent: bytes) -> None:
    """A connection may be reset before, in, or after the head."""
    path = siege.attack(part, raw(sent, resets=True))
    kind = "Unavailable" if part is Part.MANIFEST else "SnapshotFailed"
    siege.assert_repelled(3, kind, path)
    siege.assert_recovers()


@pytest.mark.parametrize("part", [Part.MANIFEST, Part.OBJECT])
def test_head_that_drips(siege: Siege, part: Part) -> None:
    """A head that comes a byte at a time is given up, though every byte comes in time."""
    path = siege.attack(part, dripping_head)
    siege.configure(IMPATIENT)
    kind = "TooSlow" if part is Part.MANIFEST else "SnapshotFailed"
    siege.assert_repelled(3, kind, path, "0.5 s")
    siege.assert_recovers()


def test_more_than_announced(siege: Siege) -> None:
    """What comes behind the announced end belongs to no answer, least of all to the next one."""
    manifest = siege.bytes_of(Part.MANIFEST)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(manifest)
    forged = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong"
    siege.attack(Part.MANIFEST, raw(head + manifest + forged))
    siege.assert_accepted()
