r"""``KEY=VALUE`` as a shell would read it, without a shell.

Understood are quotes, backslashes, comments, ``export``, several assignments on a line, and
``$NAME`` or ``${NAME}`` of what was assigned before. Whatever would run something is neither run
nor guessed at: its key is *unusable*, with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

_ASSIGNMENT: Final = re.compile(r"(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=")
_GAP: Final = re.compile(r"(?:[ \t\r]|\\\n)*")
_LINE: Final = re.compile(r"[^\n]*")
_LITERAL: Final = re.compile(r"[^\s'\"\\$`;&|<>()]+")
_LITERAL_IN_QUOTES: Final = re.compile(r'[^"\\$`]+')
_VARIABLE: Final = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
_HOME: Final = re.compile(r"(?:^|:)~")
_MAX_CHARACTERS: Final = 16 * 1024
_SHOWN: Final = 60


@dataclass(frozen=True, slots=True)
class ShellValues:
    """What some files say, the later ones last.

    Attributes:
        values: by key.
        unusable: why others have none.
        ignored: numbers and beginnings of lines that are no assignments.
    """

    values: Mapping[str, str] = field(default_factory=dict)
    unusable: Mapping[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()


class _Unusable(Exception):
    """The value cannot be known."""


class _Endless(_Unusable):
    """Nor where it ends."""


def parse_values(text: str, before: ShellValues | None = None) -> ShellValues:
    """Read a file, after those that a shell would have read before it."""
    return _Reader(text, before or ShellValues()).read()


class _Reader:
    def __init__(self, text: str, before: ShellValues) -> None:
        self._text = text
        self._at = 0
        self._values = dict(before.values)
        self._unusable = dict(before.unusable)
        self._ignored = list(before.ignored)

    def read(self) -> ShellValues:
        while self._at < len(self._text):
            self._statement()
        return ShellValues(self._values, self._unusable, tuple(self._ignored))

    def _statement(self) -> None:
        """Assignments up to the end of a line, or whatever else stands there."""
        begin, before = self._at, (dict(self._values), dict(self._unusable))
        while True:
            self._pass_over(_GAP)
            if self._text[self._at : self._at + 1] in ("", "\n", ";", "#"):
                break
            assignment = _ASSIGNMENT.match(self._text, self._at)
            if assignment is None:
                self._values, self._unusable = before  # KEY=VALUE COMMAND is for the command alone
                self._ignore(begin)
                return
            self._at = assignment.end()
            self._assign(assignment[1])
        if self._text[self._at : self._at + 1] == "#":
            self._pass_over(_LINE)
        self._at += 1

    def _assign(self, key: str) -> None:
        word = _Word(self._text, self._at, self._values)
        self._unusable.pop(key, None)
        try:
            self._values[key] = word.read()
        except _Unusable as error:
            self._values.pop(key, None)
            self._unusable[key] = str(error)
            self._at = len(self._text) if isinstance(error, _Endless) else word.at
            self._pass_over(_LINE)
            return
        self._at = word.at

    def _ignore(self, begin: int) -> None:
        number = self._text.count("\n", 0, self._at) + 1
        self._at = begin
        self._pass_over(_LINE)
        line = self._text[begin : self._at].strip()[:_SHOWN]
        self._ignored.append(f"line {number} is no assignment: {line}")

    def _pass_over(self, what: re.Pattern[str]) -> None:
        found = what.match(self._text, self._at)
        self._at = found.end() if found else self._at


class _Word:
    """One word of a shell, from ``at`` on."""

    def __init__(self, text: str, at: int, known: Mapping[str, str]) -> None:
        self._text = text
        self.at = at
        self._known = known

    def read(self) -> str:
        """Its value; ``at`` is behind it then."""
        parts: list[str] = []
        while (part := self._part()) is not None:
            parts.append(part)
            if sum(map(len, parts)) > _MAX_CHARACTERS:
                raise _Unusable(f"it is longer than {_MAX_CHARACTERS} characters")
        return "".join(parts)

    def _part(self) -> str | None:
        match self._text[self.at : self.at + 1]:
            case "" | " " | "\t" | "\r" | "\n" | ";":
                return None
            case "'":
                return self._single()
            case '"':
                return self._double()
            case "\\":
                return self._escaped("")
            case "$" | "`":
                return self._variable()
            case _:
                return self._literal(_LITERAL)

    def _single(self) -> str:
        end = self._text.find("'", self.at + 1)
        if end < 0:
            raise _Endless("its quote is never closed; close it")
        value = self._text[self.at + 1 : end]
        self.at = end + 1
        return value

    def _double(self) -> str:
        parts: list[str] = []
        self.at += 1
        while (character := self._text[self.at : self.at + 1]) != '"':
            match character:
                case "":
                    raise _Endless("its quote is never closed; close it")
                case "\\":
                    parts.append(self._escaped('$`"\\\n'))
                case "$" | "`":
                    parts.append(self._variable())
                case _:
                    parts.append(self._literal(_LITERAL_IN_QUOTES))
        self.at += 1
        return "".join(parts)

    def _escaped(self, only: str) -> str:
        """What a backslash means: the next character, or in quotes only some of them."""
        following = self._text[self.at + 1 : self.at + 2]
        self.at += 1 + len(following)
        if following == "\n":
            return ""
        return following if not only or following in only else f"\\{following}"

    def _variable(self) -> str:
        found = _VARIABLE.match(self._text, self.at)
        if found is None:
            raise _Unusable("it would run a command or compute something; write the value itself")
        name = found[1] or found[2]
        if name not in self._known:
            raise _Unusable(f"it uses ${name}, which is not known; write the value itself")
        self.at = found.end()
        return self._known[name]

    def _literal(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self.at)
        if found is None:
            character = self._text[self.at]
            raise _Unusable(f"it holds {character!r}, which means something to a shell; quote it")
        if pattern is _LITERAL and _HOME.search(found[0]):
            raise _Unusable("it names a home directory by ~; write the whole path from /")
        self.at = found.end()
        return found[0]
