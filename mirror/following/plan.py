"""What is to be added and removed so that our replicas follow a list; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from mirror.following.listing import Listed, Listing


@dataclass(frozen=True, slots=True)
class Configured:
    """A replica of ours.

    Attributes:
        name: of the repository.
        followed: the list it came from; None if somebody configured it by hand.
    """

    name: str
    followed: str | None


@dataclass(frozen=True, slots=True)
class Rules:
    """What is taken from a list.

    Attributes:
        url: of the list, the mark of what came from it.
        include: patterns of names that are taken, like ``*.example.org``.
        exclude: patterns of those that are not, whatever ``include`` says.
        asks_stratum0: their Stratum 0 is known, so that it does not matter whether that server has
            copies.
    """

    url: str
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    asks_stratum0: bool = False

    def want(self, name: str) -> bool:
        """Whether a name is one of them."""
        is_included = any(fnmatchcase(name, each) for each in self.include)
        return is_included and not any(fnmatchcase(name, each) for each in self.exclude)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done.

    Attributes:
        add: repositories that are new.
        remove: names that came from this list and are wanted no more.
        keep: names that came from this list and stay.
        problems: what is not done, and why.
    """

    add: tuple[Listed, ...]
    remove: tuple[str, ...]
    keep: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.add and not self.remove


def plan(current: Sequence[Configured], listed: Listing, rules: Rules) -> Plan:
    """Compare.

    What was configured by hand, or came from another list, is never removed. A list without any
    repository is a server that lost its own: nothing is removed because of it.
    """
    known = {each.name for each in current}
    ours = [each.name for each in current if each.followed == rules.url]
    wanted = [each for each in listed.repositories if rules.want(each.name)]
    names = {each.name for each in wanted}
    gone = tuple(name for name in ours if name not in names)
    problems = [*listed.problems, *_problems(wanted, known, rules)]
    if gone and not listed.repositories:
        problems.append(f"{rules.url} lists nothing at all, so nothing is removed")
        gone = ()
    return Plan(
        add=tuple(each for each in wanted if each.name not in known and _has(each, rules)),
        remove=gone,
        keep=tuple(name for name in ours if name not in gone),
        problems=tuple(problems),
    )


def _problems(wanted: list[Listed], known: set[str], rules: Rules) -> Iterator[str]:
    for each in wanted:
        if each.name not in known and not _has(each, rules):
            yield (
                f"{each.name}: {each.url} only passes it through; say where its Stratum 0 is "
                "with --stratum0"
            )


def _has(listed: Listed, rules: Rules) -> bool:
    return rules.asks_stratum0 or not listed.is_pass_through
