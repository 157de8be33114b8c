"""What tables of the configuration have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from mirror.amounts import problem


class Table(BaseModel):
    """Takes no key it does not know, and never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise problem(f"'{path}' is relative; write the whole path from /")
    return path


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
