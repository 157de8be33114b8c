r"""Signed text: the form that manifest and whitelist share (contract B.2).

    text lines\n
    --\n
    hash of the text, printed\n
    signature over the printed hash, binary, to the end of the file

The text reaches up to and including the newline before the dashes. What is signed is the *printed*
hash, so a letter is sound only if both hold: the hash fits the text, and the signature the hash.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mirror.cvmfs.content_hash import ContentHash
from mirror.errors import BadSignature, FormatError

_SEPARATOR: Final = b"\n--\n"
_MAX_HASH_CHARACTERS: Final = 64


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter split into its three parts; nothing is verified yet.

    Attributes:
        text: the lines, with the last newline.
        printed_hash: as it stands, in ASCII: this is what the signature signs.
        signature: the rest.
    """

    text: bytes
    printed_hash: bytes
    signature: bytes

    @classmethod
    def parse(cls, raw: bytes, what: str) -> Letter:
        """Split at the first separator.

        Raises:
            FormatError: no separator, or no hash behind it.
        """
        text, separator, tail = raw.partition(_SEPARATOR)
        if not separator:
            raise FormatError(f"{what} has no '--' line, so it is not signed text")
        printed_hash, newline, signature = tail.partition(b"\n")
        if not newline or len(printed_hash) > _MAX_HASH_CHARACTERS:
            raise FormatError(f"{what} has no hash line behind '--'")
        return cls(text + b"\n", printed_hash, signature)

    def require_intact(self, what: str) -> None:
        """Check that the printed hash is the hash of the text.

        Raises:
            BadSignature: it is not, or it is not a hash.
        """
        try:
            stated = ContentHash.parse(self.printed_hash.decode("ascii"))
        except (FormatError, UnicodeDecodeError) as error:
            raise BadSignature(f"{what} is signed over something that is no hash") from error
        actual = ContentHash.of(stated.algorithm, self.text)
        if actual != stated:
            raise BadSignature(f"{what} hashes to {actual}, but its signature is for {stated}")


def text_lines(text: bytes, what: str) -> list[str]:
    """The lines of a letter's text.

    Raises:
        FormatError: if the text is not UTF-8.
    """
    try:
        return text.decode("utf-8").split("\n")[:-1]
    except UnicodeDecodeError as error:
        raise FormatError(f"{what} is not UTF-8 text: {error}") from error
