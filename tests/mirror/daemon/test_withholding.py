"""One note for several who may have a reason."""

from __future__ import annotations

from mirror.cvmfs.fqrn import Fqrn
from mirror.daemon.withholding import Withholding
from mirror.errors import StoreUnavailable
from tests.support.loops import run

FQRN = Fqrn("test.example.org")


class Notes:
    """What was written, in its order; may be made to fail."""

    def __init__(self) -> None:
        self.written: list[str | None] = []
        self.is_broken = False

    async def write(self, fqrn: Fqrn, reason: str | None) -> None:
        """One note."""
        assert fqrn == FQRN
        if self.is_broken:
            raise StoreUnavailable("the disk is gone")
        self.written.append(reason)


def test_reasons_of_several() -> None:
    """The manifest comes back when nobody has a reason any more; nothing is written twice."""
    notes = Notes()
    withholding = Withholding(notes.write)

    async def main() -> None:
        for owner, reason in (
            ("age", "old"),
            ("age", "old"),
            ("operator", "broken"),
            ("age", None),
            ("operator", None),
            ("operator", None),
        ):
            assert await withholding.say(FQRN, owner, reason)

    run(main())
    assert notes.written == ["old", "old; broken", "broken", None]


def test_what_could_not_be_written_is_said_again() -> None:
    """Until it can be."""
    notes = Notes()
    withholding = Withholding(notes.write)
    notes.is_broken = True
    assert not run(withholding.say(FQRN, "age", "old"))
    notes.is_broken = False
    assert run(withholding.say(FQRN, "age", "old"))
    assert notes.written == ["old"]


def test_another_way_of_writing() -> None:
    """What is said next is written, though it is what was said before."""
    notes = Notes()
    withholding = Withholding(notes.write)
    assert run(withholding.say(FQRN, "age", "old"))
    withholding.again()
    assert run(withholding.say(FQRN, "age", "old"))
    assert notes.written == ["old", "old"]
