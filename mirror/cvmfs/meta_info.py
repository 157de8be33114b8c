"""Meta information, object …M: who runs a repository, as JSON (contract B.6)."""

from __future__ import annotations

import json
from dataclasses import dataclass

from mirror.cvmfs.compression import decompress
from mirror.errors import FormatError


@dataclass(frozen=True, slots=True)
class MetaInfo:
    """What the publisher says about the repository; every part of it is free text.

    Attributes:
        administrator: a name.
        email: an address.
        organisation: a name.
        description: what is in it.
        url: where to read more.
        recommended_stratum0: where the publisher wants to be fetched from.
        recommended_stratum1s: and by whom served.
    """

    administrator: str
    email: str
    organisation: str
    description: str
    url: str
    recommended_stratum0: str
    recommended_stratum1s: tuple[str, ...]

    @classmethod
    def parse(cls, stored: bytes, max_bytes: int) -> MetaInfo:
        """Read the object as stored: JSON, packed by zlib. Fields absent are empty.

        Raises:
            FormatError: not zlib, not JSON, or not a JSON object.
        """
        try:
            content = json.loads(decompress(stored, max_bytes, "the meta info"))
        except (ValueError, RecursionError) as error:
            raise FormatError(f"the meta info is not JSON: {error}") from error
        if not isinstance(content, dict):
            raise FormatError("the meta info is not a JSON object")

        def field(key: str) -> str:
            value = content.get(key, "")
            return value if isinstance(value, str) else ""

        stratum1s = content.get("recommended-stratum1s", [])
        return cls(
            administrator=field("administrator"),
            email=field("email"),
            organisation=field("organisation"),
            description=field("description"),
            url=field("url"),
            recommended_stratum0=field("recommended-stratum0"),
            recommended_stratum1s=tuple(url for url in stratum1s if isinstance(url, str))
            if isinstance(stratum1s, list)
            else (),
        )
