"""``[run]`` of the configuration: how the daemon keeps replicas fresh, and what it tells."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from mirror.amounts import TimeOfDay, problem
from mirror.serve_settings import ListenAddresses, Seconds
from mirror.tables import AbsolutePath, HttpUrl, Table


class HoursSettings(Table):
    """A part of the day, in the host's time."""

    begins: Annotated[TimeOfDay, Field(alias="from")]
    ends: Annotated[TimeOfDay, Field(alias="to")]


def _hours(hours: list[HoursSettings]) -> list[HoursSettings]:
    for number, each in enumerate(hours, 1):
        if each.begins == each.ends:
            raise problem(f"[{number}] begins when it ends; leave it out, or change its hours")
    return hours


HoursList = Annotated[list[HoursSettings], AfterValidator(_hours)]


class RunSettings(Table):
    """The daemon."""

    interval_s: Seconds = 60.0
    slowest_s: Seconds = 600.0
    backoff_s: Seconds = 1800.0
    whitelist_s: Seconds = 3600.0
    listen: ListenAddresses | None = None
    tokens: AbsolutePath | None = None
    announcements: list[HttpUrl] = Field(default=[])
    stale_s: Seconds = 1800.0
    whitelist_warning_s: Annotated[float, Field(gt=0, le=30 * 86_400)] = 48 * 3600.0
