"""Latest values, point in time: of the rows known when each question was asked, the newest by event time.

NumPy over whole columns, by an old trick: key and arrival share one integer, so that one sort orders the rows and one
binary search answers a question. No row is moved: the result says where the values lie.
"""

import numpy as np
from attrs import frozen

from charkha.features.segments import IntArray

NOBODY = -1


@frozen(eq=False)
class Arrivals:
    """Rows of some keys as they became known.

    codes: the key of each row, int64 (n,), 0 and up; NOBODY for none. known_us, event_us: int64 (n,), µs. Rows of equal
    known time arrived in the order they are in.
    """

    codes: IntArray
    known_us: IntArray
    event_us: IntArray


def newest_known(rows: Arrivals, codes: IntArray, at_us: IntArray, max_age_us: int | None = None) -> IntArray:
    """Return for each question the place of its row among `rows`, NOBODY where there is none: int64 (k,).

    codes: the keys asked for, int64 (k,), NOBODY for none. at_us: when, int64 (k,), in any order. max_age_us: rows
    whose event is older than this are no answer; exactly so old is not older. Of equal event times the later arrival
    counts. Takes time for two sorts of n integers at most, and 6 arrays of n.
    """
    if len(rows.codes) == 0 or len(codes) == 0:
        return np.full(len(codes), NOBODY)
    order, ordered, place = _by_rank(rows, codes, at_us) if _ascends(rows.known_us) else _by_time(rows, codes, at_us)
    found = (codes >= 0) & (place >= 0) & (ordered[place] == codes)
    answer = order[_newest_until(ordered, rows.event_us[order])[place]]
    if max_age_us is not None:
        found &= at_us - rows.event_us[answer] <= max_age_us
    return np.where(found, answer, NOBODY)


def _by_rank(rows: Arrivals, codes: IntArray, at_us: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Return rows in the order of key and arrival, their codes, and where the last one known to each question lies.

    For rows in the order in which they became known: their place among all is their rank in time.
    """
    shift = len(rows.codes).bit_length()
    packed = np.sort(((rows.codes + 1) << shift) | np.arange(len(rows.codes)))
    until = _search(rows.known_us, at_us, "right")
    place = _search(packed, ((codes + 1) << shift) | until, "left") - 1
    return packed & ((1 << shift) - 1), (packed >> shift) - 1, place


def _by_time(rows: Arrivals, codes: IntArray, at_us: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Return the same for rows in any order: key and known time share one integer, if they fit."""
    first, last = int(rows.known_us.min()), int(rows.known_us.max())
    span = last - first + 2
    if (int(rows.codes.max()) + 2) * span >= 1 << 62:
        arrival = np.argsort(rows.known_us, kind="stable")
        sorted_rows = Arrivals(rows.codes[arrival], rows.known_us[arrival], rows.event_us[arrival])
        order, ordered, place = _by_rank(sorted_rows, codes, at_us)
        return arrival[order], ordered, place
    keyed = (rows.codes + 1) * span + (rows.known_us - first + 1)
    order = np.argsort(keyed, kind="stable")
    keyed = keyed[order]
    asked = np.minimum(codes, rows.codes.max()) + 1  # a key beyond all others finds the last row, which is not its own
    place = _search(keyed, asked * span + np.clip(at_us - first + 1, 0, span - 1), "right") - 1
    return order, keyed // span - 1, place


def in_order(codes: IntArray, known_us: IntArray) -> IntArray:
    """Return the places of rows in the order of key, known time and arrival: int64 (n,). codes: from 0."""
    if not _ascends(known_us) or (len(codes) and int(codes.max()) << len(codes).bit_length() >= 1 << 62):
        return np.lexsort((known_us, codes))
    shift = len(codes).bit_length()
    packed = np.sort((codes << shift) | np.arange(len(codes)))
    return packed & ((1 << shift) - 1)


def _newest_until(codes: IntArray, event_us: IntArray) -> IntArray:
    """Return for each row the place of the newest by event time among its key's rows up to it; of ties, the later.

    Rows lie key by key, in the order of arrival.
    """
    places = np.arange(len(codes))
    if _ascends_within(codes, event_us):
        return places
    lifted = _lifted(codes, event_us)
    return np.maximum.accumulate(np.where(lifted == np.maximum.accumulate(lifted), places, 0))


def _lifted(codes: IntArray, event_us: IntArray) -> IntArray:
    """Return event times so that each key begins above all times of the key before it: one maximum serves all keys."""
    first, last = int(event_us.min()), int(event_us.max())
    span = last - first + 1
    if (int(codes[-1]) + 1) * span < 1 << 62:
        return codes * span + (event_us - first)
    order = np.argsort(event_us, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.cumsum(np.append(0, np.diff(event_us[order]) > 0))  # equal times, equal rank
    return codes * len(order) + rank


def _ascends_within(codes: IntArray, event_us: IntArray) -> bool:
    return bool(((event_us[1:] >= event_us[:-1]) | (codes[1:] != codes[:-1])).all())


def _ascends(values: IntArray) -> bool:
    return bool((values[1:] >= values[:-1]).all())


def _search(ordered: IntArray, values: IntArray, side: str) -> IntArray:
    """Return `searchsorted`, asked in the order of the values: neighbours then lie in the processor's cache."""
    order = np.argsort(values)
    found = np.empty(len(values), np.int64)
    found[order] = np.searchsorted(ordered, values[order], side="right" if side == "right" else "left")
    return found
