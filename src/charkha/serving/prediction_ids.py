"""Ids of predictions: UUIDs of version 7, made from the injected clock.

They sort by time, then by row within a batch, and are unique over processes. The ids of one batch follow each other, so
a batch needs one draw of randomness and the log keeps its first id only.

>>> first = first_id(1_364_774_400_000_000, randomness=0)
>>> format_ids(first, 2)
['013dc2cb-b400-7000-8000-000000000000', '013dc2cb-b400-7000-8000-000000000001']
>>> parse_id('013dc2cb-b400-7000-8000-000000000001') == first + 1
True
"""

import os
from collections.abc import Sequence

import numpy as np
import polars as pl

ID_BYTES = 16
ID_CHARACTERS = 36

_VERSION_7 = 7 << 76
_VARIANT = 2 << 62
# Of the 62 random bits the highest stays 0: a batch can then count up without running over.
RANDOM_MASK = (1 << 61) - 1
_LOW_MASK = (1 << 64) - 1
_HYPHENS = (8, 13, 18, 23)
_HEX_DIGITS = np.frombuffer(bytes(range(256)).hex().encode("ascii"), dtype=np.uint8).reshape(256, 2)
# Where the 32 hex digits of an id go among its 36 characters.
_DIGIT_PLACES = np.array([place for place in range(ID_CHARACTERS) if place not in _HYPHENS])


class InvalidPredictionId(ValueError):
    """An id that no prediction can have; `found` is what came."""

    def __init__(self, found: str) -> None:
        self.found = found
        super().__init__(
            f"expected the id of a prediction, such as '013dc2cb-b400-7000-8000-000000000000', got {found[:80]!r}. "
            "Send back the id that the prediction was answered with"
        )


def first_id(time_us: int, randomness: int | None = None) -> int:
    """Return the first id of a batch predicted at `time_us`, as a 128-bit integer; the next rows' ids count up from it.

    The time is kept to the microsecond: milliseconds in the first 48 bits, the rest in the 12 bits after the version.
    """
    milliseconds, remainder = divmod(time_us, 1000)
    if randomness is None:
        randomness = int.from_bytes(os.urandom(8), "big") & RANDOM_MASK
    high = ((milliseconds & 0xFFFFFFFFFFFF) << 80) | _VERSION_7 | ((remainder * 4096 // 1000) << 64)
    return high | _VARIANT | randomness


def format_ids(first: int, count: int) -> list[str]:
    """Return `count` ids as text, from `first` on."""
    start = f"{first:032x}"
    prefix = f"{start[:8]}-{start[8:12]}-{start[12:16]}-"
    low = first & _LOW_MASK
    digits = (f"{low + row:016x}" for row in range(count))
    return [f"{prefix}{tail[:4]}-{tail[4:]}" for tail in digits]


def parse_id(text: str) -> int:
    """Return an id's text as a 128-bit integer; upper case and missing hyphens are fine. Raises InvalidPredictionId."""
    try:
        packed = bytes.fromhex(text.replace("-", ""))
    except ValueError:
        raise InvalidPredictionId(text) from None
    if len(packed) != ID_BYTES:
        raise InvalidPredictionId(text)
    return int.from_bytes(packed, "big")


def pack_ids(ids: Sequence[str]) -> bytes:
    """Return ids as 16 bytes each. Raises InvalidPredictionId."""
    return b"".join(parse_id(text).to_bytes(ID_BYTES, "big") for text in ids)


def unpack_ids(packed: bytes) -> list[str]:
    """Return the text of ids of 16 bytes each: the inverse of `pack_ids`, vectorised over any number of them."""
    octets = np.frombuffer(packed, dtype=np.uint8).reshape(-1, ID_BYTES)
    characters = np.full((len(octets), ID_CHARACTERS), ord("-"), dtype=np.uint8)
    characters[:, _DIGIT_PLACES] = _HEX_DIGITS[octets].reshape(len(octets), 2 * ID_BYTES)
    text = characters.tobytes().decode("ascii")
    return [text[start : start + ID_CHARACTERS] for start in range(0, len(text), ID_CHARACTERS)]


def time_of_ids(ids: pl.Expr) -> pl.Expr:
    """Return when the predictions of ids were made (µs, to the millisecond); of other ids it means nothing."""
    digits = ids.str.slice(0, 8) + ids.str.slice(9, 4)
    return digits.str.to_integer(base=16, dtype=pl.Int64()) * 1000


def call_of_ids(ids: pl.Expr) -> pl.Expr:
    """Return what all ids of one batch begin with: its time to the microsecond; other ids, if short, as they are."""
    return ids.str.slice(0, 18)


def expand_ids(firsts: bytes, counts: Sequence[int]) -> bytes:
    """Return the packed ids of many batches, given each one's first packed id and its number of rows."""
    words = np.frombuffer(firsts, dtype=">u8").reshape(-1, 2)
    sizes = np.asarray(counts, dtype=np.int64)
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    rows = (np.arange(len(starts)) - starts).astype(np.uint64)
    packed = np.repeat(words, sizes, axis=0)
    packed[:, 1] += rows
    return packed.tobytes()
