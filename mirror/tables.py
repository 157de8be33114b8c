"""What tables of the configuration have in common."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict

from mirror.amounts import problem

# pydantic would read what everything installed says of itself, in search of plugins
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


class Table(BaseModel):
    """Takes no key it does not know, and never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise problem(f"'{path}' is relative; write the whole path from /")
    return path


def _http_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise problem(f"{url!r} is no URL; write http://host/path or https://host/path")
    if parts.query or parts.fragment:
        raise problem(f"{url!r} has a '?' or '#'; leave off what follows")
    return url.rstrip("/")


HttpUrl = Annotated[str, AfterValidator(_http_url)]
AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
