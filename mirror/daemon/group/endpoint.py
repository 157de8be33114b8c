"""The others' way to us; and for people, how the group is.

POST /api/v1/group/<our name>     a member's message, answered with ours     token
GET  /api/v1/group                members, floors, permissions with their reasons
"""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from mirror.daemon.answers import Problem, json_answer, read_body
from mirror.daemon.group.group import Group
from mirror.daemon.group.links import PATH
from mirror.daemon.group.message import (
    MAX_MESSAGE_BYTES,
    NOTHING,
    Version,
    dump_message,
    parse_message,
)
from mirror.daemon.tokens import Tokens
from mirror.errors import FormatError, StoreError

_SCHEME = "bearer"


class Endpoint:
    """Of the group that this mirror is in at the moment."""

    def __init__(self, group: Callable[[], tuple[Group, Tokens] | None]) -> None:
        """``group`` gives it, and the token of its members; None if there is none."""
        self._group = group

    def add_routes(self, app: web.Application) -> None:
        """See above."""
        app.router.add_get(PATH, self.status)
        app.router.add_post(f"{PATH}/{{name}}", self.exchange)

    async def exchange(self, request: web.Request) -> web.Response:
        """``POST /api/v1/group/<our name>``."""
        group, tokens = self._ours()
        _admit(request, tokens)
        if request.match_info["name"] != group.member.name:
            to_do = "correct the URLs of group.members"
            raise Problem(404, f"this is {group.member.name}", to_do)
        try:
            message = parse_message(await read_body(request, MAX_MESSAGE_BYTES))
        except FormatError as error:
            raise Problem(400, str(error), "run the same version on all members") from error
        if message.sender not in group.member.others:
            to_do = "give all members the same table group.members"
            raise Problem(403, f"{message.sender[:80]} is no member of this group", to_do)
        try:
            answer = await group.answer(message)
        except StoreError as error:
            raise Problem(503, str(error), "look at the disk of this member") from error
        return web.Response(body=dump_message(answer), content_type="application/json")

    async def status(self, _request: web.Request) -> web.Response:
        """``GET /api/v1/group``."""
        return json_answer(describe(self._ours()[0]))

    def _ours(self) -> tuple[Group, Tokens]:
        found = self._group()
        if found is None:
            raise Problem(404, "this mirror is in no group", "configure one in [group]")
        return found


def describe(group: Group) -> dict[str, object]:
    """How the group is, as this member knows it; times are seconds ago."""
    member, now = group.member, group.now
    return {
        "name": member.name,
        "group": member.group,
        "lease_s": member.lease_s,
        "lease_left_s": round(max(0.0, member.lease_until(now) - now), 3),
        "is_new": member.is_new,
        "members": {name: _member(group, name) for name in member.others},
        "repositories": {name: _repository(group, name) for name in sorted(group.kept)},
    }


def _member(group: Group, name: str) -> dict[str, object]:
    member, now = group.member, group.now
    contact, heard = member.contacts.get(name), member.heard.get(name)
    return {
        "answered_s": None if contact is None else round(now - contact, 3),
        "heard_s": None if heard is None else round(now - heard.at, 3),
        "is_new": heard.message.is_new if heard is not None else None,
        "trouble": member.troubles.get(name),
    }


def _repository(group: Group, name: str) -> dict[str, object]:
    standing = group.member.standing(name)
    permission = group.member.permission(name, group.now)
    return {
        "floor": _version(standing.floor),
        "served": _version(standing.served),
        "ready": _version(standing.ready),
        "is_given": bool(permission.until),
        "reason": None if permission.until else permission.reason,
        "flip": group.flips.get(name),
    }


def _version(version: Version) -> dict[str, int] | None:
    if version == NOTHING:
        return None
    return {"revision": version.revision, "published_at": version.published_at}


def _admit(request: web.Request, tokens: Tokens) -> None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != _SCHEME or tokens.bearer(token.strip()) is None:
        raise Problem(401, "the group's token is needed", "give all members the same group.token")
