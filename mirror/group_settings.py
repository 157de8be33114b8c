"""``[group]`` of the configuration: mirrors behind one name that flip in lock-step."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from mirror.amounts import problem
from mirror.tables import AbsolutePath, HttpUrl, Table

_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]


class GroupSettings(Table):
    """This member, and all of them."""

    name: _Name
    members: dict[_Name, HttpUrl]
    token: AbsolutePath
    lease_s: Annotated[float, Field(ge=0.3, le=300)] = 6.0
    wait_s: Annotated[float, Field(ge=0, le=86_400)] = 30.0

    @model_validator(mode="after")
    def _is_one_of_several(self) -> Self:
        if self.name not in self.members:
            known = ", ".join(sorted(self.members)) or "none"
            raise problem(f"name is {self.name!r}, which is none of the members: {known}")
        if len(self.members) < 2:
            raise problem("a group has several members; leave it out for a mirror on its own")
        if len(set(self.members.values())) < len(self.members):
            raise problem("two members have the same URL; correct one of them")
        return self
