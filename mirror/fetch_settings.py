"""``[fetch]`` of the configuration: how to talk to servers, and how fast."""

from __future__ import annotations

import os
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from mirror.amounts import Size, TimeOfDay, problem
from mirror.tables import AbsolutePath, Table
from mirror.upstream.schedule import Pace, Schedule, Window, overlapping


def _proxy_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise problem(f"{url!r} is no proxy; write http://host:port, or leave it out for none")
    return url


ProxyUrl = Annotated[str, AfterValidator(_proxy_url)]
Rate = Annotated[float, Field(ge=0.01, allow_inf_nan=False)]


class _Pace(Table):
    """How fast, in sum and from each server."""

    requests_per_s: Rate | None = None
    bytes_per_s: Annotated[Size, Field(gt=0)] | None = None
    source_requests_per_s: Rate | None = None
    source_bytes_per_s: Annotated[Size, Field(gt=0)] | None = None

    @property
    def total_pace(self) -> Pace:
        """In sum."""
        return Pace(self.requests_per_s, self.bytes_per_s)

    @property
    def source_pace(self) -> Pace:
        """From each server."""
        return Pace(self.source_requests_per_s, self.source_bytes_per_s)


class WindowSettings(_Pace):
    """The limits at some hours of the day."""

    begins: Annotated[TimeOfDay, Field(alias="from")]
    ends: Annotated[TimeOfDay, Field(alias="to")]

    def window(self, pace: Pace) -> Window:
        """These hours, at one of the two paces."""
        return Window(self.begins, self.ends, pace)


def _windows(windows: list[WindowSettings]) -> list[WindowSettings]:
    for number, each in enumerate(windows, 1):
        if each.begins == each.ends:
            raise problem(f"[{number}] begins when it ends; leave it out, or change its hours")
        if (each.total_pace, each.source_pace) == (Pace(), Pace()):
            raise problem(f"[{number}] limits nothing; add bytes_per_s or requests_per_s to it")
    for one, two in overlapping([each.window(Pace()) for each in windows]):
        raise problem(f"[{one + 1}] and [{two + 1}] overlap; change the hours of one of them")
    return windows


class FetchSettings(_Pace):
    """How to talk to Stratum 0."""

    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 10.0
    min_bytes_per_s: Annotated[int, Field(ge=0)] = 1024
    retries: Annotated[int, Field(ge=0, le=100)] = 3
    max_connections: Annotated[int, Field(ge=1, le=4096)] = 512
    processes: Annotated[int, Field(ge=0, le=64)] = min(2, os.cpu_count() or 1)
    follow_redirects: bool = False
    proxy: ProxyUrl | None = None
    ca_bundle: AbsolutePath | None = None
    window: Annotated[list[WindowSettings], AfterValidator(_windows)] = Field(default=[])

    @property
    def total_schedule(self) -> Schedule:
        """The limits of everything fetched, in sum."""
        windows = tuple(each.window(each.total_pace) for each in self.window)
        return Schedule(self.total_pace, windows)

    @property
    def source_schedule(self) -> Schedule:
        """The limits of what is fetched from each server."""
        windows = tuple(each.window(each.source_pace) for each in self.window)
        return Schedule(self.source_pace, windows)
