"""A server with the fast path and one without, in one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

import pytest

from mirror.serve import connection, gate
from tests.support.both_ways import BothWays, both_ways
from tests.support.streams import Told

Ask = Callable[..., Told]


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Send pieces to both servers, which must not differ; as `BothWays.tell`."""
    with pytest.MonkeyPatch.context() as patch, asyncio.Runner() as runner:
        patch.setattr(gate, "_TICK_S", 0.005)
        patch.setattr(connection, "_PARTING_S", 0.03)
        errors: list[dict[str, object]] = []
        runner.get_loop().set_exception_handler(lambda _, context: errors.append(context))
        context = both_ways(tmp_path_factory.mktemp("srv"))
        both: BothWays = runner.run(context.__aenter__())

        def ask(
            pieces: Sequence[bytes],
            *,
            ends: bool = False,
            waits: bool = False,
            moods: Sequence[bool] = (),
        ) -> Told:
            told = runner.run(both.tell(pieces, ends=ends, waits=waits, moods=moods))
            seen, errors[:] = errors[:], []
            assert not seen
            return told

        yield ask
        runner.run(context.__aexit__(None, None, None))
