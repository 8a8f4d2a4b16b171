"""Tiles of time to blocks, and what is usual in the same hours of the week.

Statistics are kept in tiles, of an hour or of ten minutes; a look is at a block of some of them. Blocks of 6 or 24
hours are less alike than hours and need fewer rows an hour; they see a fault later. A block is numbered from 1970 in
its own length, so it has one number for ever, whoever asks.
"""

import numpy as np

from charkha.monitoring.sequential.arrays import FloatArray, IntArray


def block_sums(tiles: FloatArray, first_tile: int, length: int) -> tuple[int, FloatArray]:
    """Return the number of the first whole block, and the sums of all whole blocks: float64 (blocks, checks).

    tiles: (tiles, checks), additive. first_tile: the number of the first, counted from 1970 UTC. length: of a block, in
    tiles. What is not whole, at either end, is left out. Raises ValueError for a length below 1.
    """
    if length < 1:
        raise ValueError(f"expected blocks of at least one tile, got {length}")
    skipped = -first_tile % length
    whole = max(len(tiles) - skipped, 0) // length
    kept = tiles[skipped : skipped + whole * length]
    return (first_tile + skipped) // length, kept.reshape(whole, length, *tiles.shape[1:]).sum(axis=1)


def slots(first_block: int, blocks: int, per_week: int) -> IntArray:
    """Return the place in the week, in UTC, of consecutive blocks: int64 (blocks,), from 0. per_week: 168 for hours."""
    return (np.arange(blocks) + first_block) % per_week


def usual(amount: FloatArray, per: FloatArray, slot: IntArray, at: IntArray) -> FloatArray:
    """Return amount / per as it is usual in the slots `at`, by a history of blocks in the slots `slot`.

    amount, per: float64 (blocks, checks): hits and rows for a share, a count and 1 for a count, a sum and rows for a
    mean. One more unit at the overall ratio belongs to every slot, so none is 0 by chance; NaN where nothing is known.
    """
    amounts, pers = _by_slot(amount, slot, at), _by_slot(per, slot, at)
    return _ratio(amounts[at], pers[at], amount, per)


def usual_apart(amount: FloatArray, per: FloatArray, slot: IntArray) -> FloatArray:
    """Return what is usual in each block of a history by its other weeks: of (blocks, checks), as `usual`.

    A block that had a part in what is expected of it would look more usual than any new one.
    """
    amounts, pers = _by_slot(amount, slot, slot), _by_slot(per, slot, slot)
    return _ratio(amounts[slot] - np.nan_to_num(amount), pers[slot] - np.nan_to_num(per), amount, per)


def _by_slot(values: FloatArray, slot: IntArray, at: IntArray) -> FloatArray:
    most = int(max(slot.max(initial=-1), at.max(initial=-1))) + 1
    sums = np.zeros((most, *values.shape[1:]))
    np.add.at(sums, slot, np.nan_to_num(values))
    return sums


def _ratio(amounts: FloatArray, pers: FloatArray, amount: FloatArray, per: FloatArray) -> FloatArray:
    all_amount, all_per = np.nansum(amount, axis=0), np.nansum(per, axis=0)
    known = (pers > 0) & (all_amount > 0)
    one = np.where(all_amount > 0, all_per / np.where(all_amount > 0, all_amount, 1.0), 1.0)
    return np.where(known, (amounts + 1) / (pers + one), np.nan)
