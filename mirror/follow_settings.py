"""``[[follow]]`` of the configuration: lists of other servers that ours is kept in step with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from mirror.amounts import problem
from mirror.serve_settings import Seconds
from mirror.tables import AbsolutePath, HttpUrl, Table

NAME_IN_URL: Final = "@fqrn@"
"""Stands for the repository's name, as in the configuration of clients."""
UNUSED_KEYS: Final = Path("/etc/cvmfs/keys")
"""What ``keys`` is where nothing is verified, since nothing is stored."""


def _stratum0_of_each(url: str) -> str:
    if NAME_IN_URL not in url:
        raise problem(f"{url!r} is the same for every repository; put {NAME_IN_URL} into it")
    return url


NamedUrl = Annotated[HttpUrl, AfterValidator(_stratum0_of_each)]
Pattern = Annotated[str, Field(min_length=1, max_length=255)]


class FollowSettings(Table):
    """One list that is followed."""

    url: HttpUrl
    keys: AbsolutePath
    include: Annotated[list[Pattern], Field(min_length=1)] = Field(default=["*"])
    exclude: list[Pattern] = Field(default=[])
    stratum0: NamedUrl | None = None
    every_s: Seconds = 3600.0
