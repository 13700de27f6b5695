"""FITS checksums of what is written piece by piece: bytes in, values of DATASUM and CHECKSUM out.

References
----------
FITS 4.0, section 4.4.2.7 and appendix J.
"""

from __future__ import annotations

import numpy as np

__all__ = ["Checksum"]

#: Bytes of a word of the sum.
WORD = 4
#: The largest word; carries beyond it are added at its other end.
ONES = (1 << 32) - 1
#: Characters between digits and letters, which an encoded checksum must not have.
PUNCTUATION = frozenset(b":;<=>?@[\\]^_`")


class Checksum:
    """
    The 32-bit ones' complement sum of some bytes, so far.

    Parameters
    ----------
    total : int, optional
        The sum of other bytes, a whole number of words, that stand before these or after them.

    Attributes
    ----------
    total : int
        The sum: the value of DATASUM if the bytes are those of a data unit.
    """

    def __init__(self, total: int = 0) -> None:
        self.total = total
        self._n_bytes = 0

    def add(self, content: bytes | memoryview) -> None:
        """
        Add the bytes that come next.

        Parameters
        ----------
        content : bytes or memoryview
            Any number of them.
        """
        n_whole = len(content) - len(content) % WORD
        part = int(np.frombuffer(content[:n_whole], ">u4").sum(dtype=np.uint64))
        part += int.from_bytes(bytes(content[n_whole:]).ljust(WORD, b"\0"), "big")
        # What was added as if it began with a word began in the middle of one.
        part <<= 8 * (-self._n_bytes % WORD)
        self.total = _with_carries(self.total + part)
        self._n_bytes += len(content)

    def encode(self) -> str:
        """
        Spell the complement of the sum.

        Returns
        -------
        str
            The value of CHECKSUM, if the bytes are those of an HDU in which that is 16 zeros.
        """
        complement = (ONES - self.total).to_bytes(WORD, "big")
        letters = np.array([_four_letters(byte) for byte in complement], np.uint8).T
        return np.roll(letters, 1).tobytes().decode("ascii")


def _with_carries(total: int) -> int:
    while total > ONES:
        total = (total & ONES) + (total >> 32)
    return total


def _four_letters(byte: int) -> list[int]:
    """Return four letters or digits whose sum is that of four zeros and a byte."""
    quarter, rest = divmod(byte, WORD)
    letters = [ord("0") + quarter + rest, *[ord("0") + quarter] * 3]
    while not PUNCTUATION.isdisjoint(letters):
        for first in (0, 2):
            if not PUNCTUATION.isdisjoint(letters[first : first + 2]):
                letters[first] += 1
                letters[first + 1] -= 1
    return letters
