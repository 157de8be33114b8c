"""What a worker is told before it begins, as one line of JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from mirror.serve.limits import ServeLimits
from mirror.serve.tls import TlsFiles

MAX_MESSAGE_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What a worker needs to know.

    Attributes:
        job: names the function that makes the `Worker` of these options, ``module:function``.
        about: what only that function understands; anything JSON can hold.
        limits: what clients may take.
        plain: descriptors of its listening sockets, where HTTP is spoken.
        secure: likewise, where TLS is.
        tls: by which certificate; None if there is no such socket.
        number: its slot among the counters, which no other process has; None for none.
        worker: which of all workers it is, from 0; so is its successor.
        descriptors: of anything else it inherits, by name; ``counters`` is one.
    """

    job: str
    about: Mapping[str, Any]
    limits: ServeLimits
    plain: tuple[int, ...] = ()
    secure: tuple[int, ...] = ()
    tls: TlsFiles | None = None
    number: int | None = None
    worker: int = 0
    descriptors: Mapping[str, int] = field(default_factory=dict)

    @property
    def inherited(self) -> tuple[int, ...]:
        """All descriptors that go with it."""
        return (*self.plain, *self.secure, *self.descriptors.values())


def pack(options: WorkerOptions) -> dict[str, Any]:
    """What the worker is told."""
    tls = options.tls
    return asdict(options) | {
        "about": dict(options.about),
        "tls": [str(tls.certificate), str(tls.key)] if tls else None,
        "descriptors": dict(options.descriptors),
    }


def unpack(described: dict[str, Any]) -> WorkerOptions:
    """The inverse of `pack`."""
    tls = described["tls"]
    return WorkerOptions(
        job=described["job"],
        about=described["about"],
        limits=ServeLimits(**described["limits"]),
        plain=tuple(described["plain"]),
        secure=tuple(described["secure"]),
        tls=TlsFiles(Path(tls[0]), Path(tls[1])) if tls else None,
        number=described["number"],
        worker=described["worker"],
        descriptors=described["descriptors"],
    )
