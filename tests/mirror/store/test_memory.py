"""What a MemoryStore tells beside what every store promises; see tests/contracts."""

from __future__ import annotations

from mirror.cvmfs.content_hash import Algorithm, ContentHash
from mirror.cvmfs.paths import MANIFEST, alternative_path, object_path
from mirror.store.memory import MemoryStore
from tests.support.loops import run

NAME = ContentHash.of(Algorithm.SHA1, b"hello")


def test_open_uploads_are_counted() -> None:
    """Each is counted until it ends, and ends once."""
    store = MemoryStore()
    first, second = store.upload(Algorithm.SHA1), store.upload(Algorithm.SHA1)
    assert store.open_uploads == 2
    for _ in range(2):
        run(first.abort())
    assert store.open_uploads == 1
    run(second.abort())
    assert store.open_uploads == 0


def test_everything_can_be_looked_at() -> None:
    """Objects, root files, and where alternative paths lead."""
    store = MemoryStore()

    async def main() -> None:
        async with store.upload(Algorithm.SHA1) as upload:
            await upload.write(b"hello")
            await upload.commit(NAME)
        await store.write_root_file(MANIFEST, b"manifest", is_durable=False)
        await store.place_alternative(NAME)

    run(main())
    assert store.objects == {NAME: b"hello"}
    alternative = {alternative_path(NAME): object_path(NAME).encode()}
    assert store.root_files == {MANIFEST: b"manifest", **alternative}
