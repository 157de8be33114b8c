"""Back in time: what was signed once, and is offered again when something newer is served."""

from __future__ import annotations

from mirror.cvmfs.manifest import Manifest
from mirror.cvmfs.paths import MANIFEST
from tests.support.siege import Siege


def sign_again(siege: Siege) -> None:
    """The publisher removes a tag, so the same revision gets a newer signature."""
    siege.repository.timestamp += 60
    del siege.repository.tags["v1"]
    siege.repository.sign()


def test_older_revision(siege: Siege) -> None:
    """A revision older than the served one is refused, however well it is signed."""
    old = dict(siege.held_files)
    siege.replicate()
    siege.publish()
    siege.repository.files.update(old)
    siege.assert_repelled(4, "Rollback", "revision 1", "--accept-rollback")
    siege.assert_recovers()


def test_older_revision_with_a_newer_time(siege: Siege) -> None:
    """Nor is it taken when its signature is the newest of all."""
    siege.replicate()
    siege.publish()
    siege.repository.resign(S="1")
    siege.assert_repelled(4, "Rollback", "revision 1", "revision 2")
    siege.assert_recovers()


def test_older_revision_taken_on_purpose(siege: Siege) -> None:
    """The operator may take an older revision once, by saying so."""
    old = dict(siege.held_files)
    siege.replicate()
    siege.repository.files.update(old)
    siege.assert_repelled(4, "Rollback")
    siege.assert_accepted("--accept-rollback")
    assert Manifest.parse(siege.root_files[MANIFEST]).revision == 1
    siege.assert_recovers()


def test_replay(siege: Siege) -> None:
    """An older signature of the served revision brings back tags that were taken away."""
    siege.replicate()
    old = dict(siege.held_files)
    sign_again(siege)
    siege.replicate()
    siege.publish()
    siege.repository.files.update(old)
    siege.assert_repelled(4, "Rollback", "older")
    siege.assert_recovers()


def test_newer_signature_is_no_attack(siege: Siege) -> None:
    """The same revision signed again, later, is followed: its tags changed."""
    siege.replicate()
    before = siege.root_files[MANIFEST]
    sign_again(siege)
    siege.assert_accepted()
    assert siege.root_files[MANIFEST] != before


def test_newer_revision_with_an_older_time(siege: Siege) -> None:
    """Time goes forward with the revisions."""
    siege.repository.resign(T="1700000000")
    siege.assert_repelled(4, "Rollback", "2023-11-14")
    siege.assert_recovers()


def test_equivocation(siege: Siege) -> None:
    """One revision has one root catalog; a second one means that the publisher's key lies."""
    siege.repository.resign(S="1")
    siege.assert_repelled(4, "Equivocation", "revision 1", "two root catalogs")
    siege.assert_recovers()


def test_blacklisted_revision(siege: Siege) -> None:
    """Revisions below the one that the blacklist names are refused, however new they are here."""
    siege.configure(blacklist=f"<{siege.site.fqrn} 3\n")
    siege.assert_repelled(4, "Blacklisted", "revision 2", "below 3")
    siege.assert_recovers()


def test_blacklist_of_older_revisions_is_no_attack(siege: Siege) -> None:
    """The revision that the blacklist names is itself let pass."""
    siege.configure(blacklist=f"<{siege.site.fqrn} 2\n")
    siege.assert_accepted()
