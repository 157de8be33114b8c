"""The aiohttp application: one handler, since everything served is a file of the trees."""

from __future__ import annotations

import errno
import logging
import os
import re
import stat
from functools import partial
from pathlib import Path
from typing import IO, Final

from aiohttp import web

from mirror.serve.resources import NOT_FOUND_HEADERS, Resource, resource
from mirror.store.threads import in_thread

_SLICE_BYTES: Final = 256 * 1024
_NO_SUCH_FILE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO})
_ONE_RANGE: Final = re.compile(r"bytes=(?=\d|-\d)(\d{0,18})-(\d{0,18})", re.ASCII)
_ROBOTS: Final = "User-agent: *\nDisallow: /\n"
_log: Final = logging.getLogger(__name__)
STORAGE: Final = web.AppKey("storage", Path)


def create_app(storage: Path) -> web.Application:
    """Serve all replicas below ``storage``."""
    app = web.Application()
    app[STORAGE] = storage
    app.router.add_get("/robots.txt", _robots)
    app.router.add_get("/{path:.*}", _serve)
    return app


async def _robots(_request: web.Request) -> web.StreamResponse:
    return web.Response(text=_ROBOTS, headers={"Cache-Control": "public, max-age=86400"})


async def _serve(request: web.Request) -> web.StreamResponse:
    found = resource(request.path)
    if found is None:
        return _not_found()
    path = request.app[STORAGE] / found.path
    file = await in_thread(lambda: _open_regular(path))
    if file is None:
        return _not_found()
    try:
        return await _send(request, found, file)
    finally:
        file.close()


def _open_regular(path: Path) -> IO[bytes] | None:
    """Open a regular file, never a link, a pipe or a directory; None if there is none.

    Raises:
        web.HTTPServiceUnavailable: there may be one, but this server cannot read it now.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _NO_SUCH_FILE:
            return None
        _log.error("%s: %s", path, error.strerror)
        raise web.HTTPServiceUnavailable(headers=NOT_FOUND_HEADERS) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    return os.fdopen(descriptor, "rb", buffering=0)


async def _send(request: web.Request, found: Resource, file: IO[bytes]) -> web.StreamResponse:
    size_bytes = os.fstat(file.fileno()).st_size
    response = web.StreamResponse(
        headers={
            "Content-Type": found.content_type,
            "Cache-Control": found.cache_control,
            "Accept-Ranges": "bytes",
        }
    )
    try:
        first, end = _range(request, size_bytes)
    except ValueError:
        return web.Response(status=416, headers={"Content-Range": f"bytes */{size_bytes}"})
    if (first, end) != (0, size_bytes):
        response.set_status(206)
        response.headers["Content-Range"] = f"bytes {first}-{end - 1}/{size_bytes}"
    response.content_length = end - first
    await response.prepare(request)
    if request.method != "HEAD":
        while first < end:
            wanted = min(_SLICE_BYTES, end - first)
            piece = await in_thread(partial(os.pread, file.fileno(), wanted, first))
            if not piece:
                # cut short on the disk: closing early tells the client, a padded body would not
                request.protocol.force_close()
                break
            await response.write(piece)
            first += len(piece)
    return response


def _range(request: web.Request, size_bytes: int) -> tuple[int, int]:
    """First byte and the one after the last.

    The whole file unless exactly one well-formed range is asked for (RFC 9110, 14.2: anything else
    is ignored).

    Raises:
        ValueError: no byte of the file is in the range.
    """
    match = _ONE_RANGE.fullmatch(request.headers.get("Range", ""))
    if match is None:
        return 0, size_bytes
    first, last = match.groups()
    if not first:
        start, end = max(0, size_bytes - int(last)), size_bytes
    elif last and int(last) < int(first):
        return 0, size_bytes
    else:
        start, end = int(first), min(int(last) + 1 if last else size_bytes, size_bytes)
    if start >= end:
        raise ValueError(match[0])
    return start, end


def _not_found() -> web.Response:
    return web.Response(status=404, text="404: Not Found\n", headers=NOT_FOUND_HEADERS)
