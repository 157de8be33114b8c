"""Where the access log goes and how it is written, as the configuration file says it.

    [serve.access_log]
    path = "/var/log/cvmfs-mirror/access.log"   # or "-" or "journal"; default: none is kept
    format = "combined"                         # or "json" or "squid"

Knows nothing of serving, so that reading a configuration imports no server.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict

from mirror.amounts import problem

STANDARD_OUTPUT: Final = "-"
JOURNAL: Final = "journal"
FormatName = Literal["combined", "json", "squid"]


def _target(path: str) -> str:
    if path in (STANDARD_OUTPUT, JOURNAL):
        return path
    if not PurePosixPath(path).is_absolute():
        raise problem(
            f"{path!r} is relative; write the whole path from /, "
            '"-" for standard output, "journal" for journald, or leave it out for no log'
        )
    if path.endswith("/"):
        raise problem(f"{path!r} names a directory; add the name of a file, {path}access.log")
    return path


class AccessLogSettings(BaseModel):
    """One line for each request, or nothing.

    Attributes:
        path: of the file; ``-`` for standard output, ``journal`` for journald, None for no log.
        format: of its lines.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    path: Annotated[str, AfterValidator(_target)] | None = None
    format: FormatName = "combined"
