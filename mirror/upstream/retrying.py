"""Decorator: asks again for what is worth asking again (contract B.12 step 1, C.1)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from mirror.cvmfs.fqrn import Fqrn
from mirror.errors import Corrupted, TooLarge, TooSlow, Unavailable, UpstreamError
from mirror.events import Emit, FetchRetried
from mirror.upstream.base import Consume, Request, T, Upstream


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, and how long to wait in between.

    Attributes:
        retries: attempts after the first.
        retries_while_alive: so many times that, as long as the server answers others. One that
            fails every third time would else be given up on for a few of very many objects, and a
            few are enough for nothing to be published.
        initial_s: the longest first pause; each further one may be twice as long.
        max_s: the longest pause of our own choice.
        longest_asked_s: the longest pause that a server may ask for; a run that holds the
            replica's lock does not sit still for an hour because somebody said so.
    """

    retries: int = 3
    retries_while_alive: int = 5
    initial_s: float = 0.5
    max_s: float = 10.0
    longest_asked_s: float = 60.0

    def is_patient(self, attempt: int, *, is_alive: bool) -> bool:
        """Whether there is another attempt after the one of that number.

        Args:
            attempt: 1 being the first.
            is_alive: whether the server answered anybody since the last ``retries + 1`` began.
        """
        return attempt <= self.retries * (self.retries_while_alive if is_alive else 1)

    def pause_s(self, attempt: int, draw: float, asked_s: float | None = None) -> float:
        """The pause after the attempt of that number, 1 being the first; ``draw`` is in [0, 1).

        Between half and all of what has doubled so far, so that many clients that failed
        together do not come back together; on top of what the server asked for, for the same
        reason.
        """
        ceiling = min(self.max_s, self.initial_s * 2.0 ** (attempt - 1))
        asked_s = min(asked_s or 0.0, self.longest_asked_s)
        return asked_s + ceiling * (0.5 + draw / 2)


class Retrying:
    """Time-outs and failures of a server: after a pause. Wrong bytes: at once, past caches, once.

    A server that says when to come back (``Retry-After``) is left alone for that long.

    What is not there, or is refused, is not asked for again.
    """

    def __init__(
        self,
        inner: Upstream,
        policy: RetryPolicy,
        fqrn: Fqrn,
        emit: Emit,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Decorate ``inner``; every further attempt is a `FetchRetried` of ``fqrn``."""
        self._inner = inner
        self._policy = policy
        self._fqrn = fqrn
        self._emit = emit
        self._sleep = sleep
        self._answered = 0

    @property
    def source(self) -> str:
        """As the inner one."""
        return self._inner.source

    async def fetch(self, request: Request, consume: Consume[T]) -> T:
        """Fetch; raises the last attempt's error."""
        attempt = 0
        answered: list[int] = []
        while True:
            attempt += 1
            answered.append(self._answered)
            try:
                result = await self._inner.fetch(request, consume)
            except (Corrupted, TooLarge) as error:
                if request.is_fresh:
                    raise
                self._tell(request, error)
                request = replace(request, is_fresh=True)
            except (Unavailable, TooSlow) as error:
                is_alive = self._answered > answered[-self._policy.retries - 1 :][0]
                if not self._policy.is_patient(attempt, is_alive=is_alive):
                    raise
                self._tell(request, error)
                draw = random.random()  # noqa: S311 - spreads load, guards nothing
                asked_s = error.retry_after_s if isinstance(error, Unavailable) else None
                await self._sleep(self._policy.pause_s(attempt, draw, asked_s))
            else:
                self._answered += 1
                return result

    def _tell(self, request: Request, error: UpstreamError) -> None:
        self._emit(FetchRetried(self._fqrn, request.path, str(error)))
