"""The evidence of a change so far: small, mergeable, and written down between two looks.

E-detectors (Shin, Ramdas and Rinaldo 2022, "E-detectors: a nonparametric framework for sequential change detection")
begin a test at every block and look at all of them together. With e the e-value of a block,

    Shiryaev-Roberts   M ← e (1 + M)       the sum over all beginnings; its mean is at most the number of blocks
    CUSUM              M ← e max(1, M)     the best beginning, which is the estimate of the onset

    once               M ← M + e           each beginning bets on one block only

Hours are alike, and products of their e-values overrate them unless tempered (`Null.alike`). The third needs no such
thing, for its mean is at most the number of blocks however they depend on each other: it is what finds a value far out
at once, where the first finds what lasts. The evidence is the mean of the first and the third.

An alarm when it reaches 1/α comes, if nothing is wrong, after 1/α blocks on average at the earliest, however the
blocks are looked at. All these updates are affine (in (+, ×), or in (max, ×)), so stretches of blocks compose: what was
found in two consecutive stretches merges into that of both, as profiles do, and an update is a merge with one block.
"""

from typing import Self

import msgspec
import numpy as np
from attrs import evolve, frozen

from charkha.monitoring.sequential.arrays import BoolArray, FloatArray, IntArray

NEVER = -1


@frozen(eq=False)
class Trail:
    """What some consecutive blocks say of many checks, since each check's last alarm.

    until: the number of the last block. product, sums, best: float64 (checks, alternatives): logarithms of the product
    of the e-values, and of the first two forms above. once: (checks,), that of the third. onset: int64 (checks,
    alternatives), the block at which the best beginning began.
    """

    until: int
    product: FloatArray
    sums: FloatArray
    best: FloatArray
    once: FloatArray
    onset: IntArray

    @classmethod
    def start(cls, checks: int, alternatives: int, until: int = NEVER) -> Self:
        """Return that of no block. until: the last block that is not to be looked at."""
        shape = (checks, alternatives)
        nothing = np.full(shape, -np.inf)
        return cls(until, np.zeros(shape), nothing, nothing, np.full(checks, -np.inf), np.full(shape, NEVER))

    @classmethod
    def of(cls, block: int, log_e: FloatArray, alike: FloatArray) -> Self:
        """Return that of one block. log_e: (checks, alternatives). alike: (checks,), that of their null."""
        tempered = log_e / alike[:, None]
        return cls(block, tempered, tempered, tempered, mixed(log_e), np.full(log_e.shape, block))

    def then(self, later: Self) -> Self:
        """Return that of both stretches.

        Raises ValueError when the later one is not later: no block may count twice.
        """
        if later.until <= self.until:
            raise ValueError(f"expected blocks after {self.until}, got {later.until}: they are counted already")
        carried = later.product + self.best
        earlier = carried > later.best
        return type(self)(
            later.until,
            self.product + later.product,
            np.logaddexp(later.product + self.sums, later.sums),
            np.where(earlier, carried, later.best),
            np.logaddexp(self.once, later.once),
            np.where(earlier, self.onset, later.onset),
        )

    def looked(self, block: int, log_e: FloatArray, alike: FloatArray) -> Self:
        """Return it after one more block."""
        return self.then(type(self).of(block, log_e, alike))

    @property
    def evidence(self) -> FloatArray:
        """The logarithm of what an alarm is given by: float64 (checks,)."""
        both: FloatArray = np.logaddexp(mixed(self.sums), self.once) - np.log(2)
        return both

    @property
    def began(self) -> IntArray:
        """The block at which each check's change most likely began, int64 (checks,); -1 where there was no block."""
        return np.take_along_axis(self.onset, self.best.argmax(axis=-1)[:, None], axis=-1)[:, 0]

    def restarted(self, checks: BoolArray) -> Self:
        """Return it with some checks as if nothing had been seen yet, as after an alarm."""
        fresh, where = self.start(*self.sums.shape), checks[:, None]
        return evolve(
            self,
            product=np.where(where, fresh.product, self.product),
            sums=np.where(where, fresh.sums, self.sums),
            best=np.where(where, fresh.best, self.best),
            once=np.where(checks, fresh.once, self.once),
            onset=np.where(where, fresh.onset, self.onset),
        )

    def only(self, checks: BoolArray | slice) -> Self:
        """Return that of some of the checks."""
        product, sums, best, once = (each[checks] for each in self._floats)
        return type(self)(self.until, product, sums, best, once, self.onset[checks])

    def encode(self) -> bytes:
        """Write it down, to the bit."""
        floats = tuple(each.astype("<f8").tobytes() for each in self._floats)
        checks, alternatives = self.sums.shape
        onset = self.onset.astype("<i8").tobytes()
        return msgspec.msgpack.encode(_Written(self.until, (checks, alternatives), floats, onset))

    @classmethod
    def decode(cls, written: bytes) -> Self:
        """Read what `encode` wrote.

        Raises ValueError for anything else.
        """
        try:
            read = msgspec.msgpack.decode(written, type=_Written)
            product, sums, best, once = (np.frombuffer(each, "<f8").astype(np.float64) for each in read.floats)
            shaped = [each.reshape(read.shape) for each in (product, sums, best)]
            onset = np.frombuffer(read.onset, "<i8").astype(np.int64).reshape(read.shape)
        except (msgspec.DecodeError, ValueError) as error:
            raise ValueError(f"expected the evidence of a sequential check as it was written, got {error}") from error
        return cls(read.until, shaped[0], shaped[1], shaped[2], once.reshape(read.shape[0]), onset)

    @property
    def _floats(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        return self.product, self.sums, self.best, self.once


def mixed(logs: FloatArray) -> FloatArray:
    """Return the logarithm of the mean over the alternatives, the last axis."""
    means: FloatArray = np.logaddexp.reduce(logs, axis=-1) - np.log(logs.shape[-1])
    return means


class _Written(msgspec.Struct, frozen=True, array_like=True):
    until: int
    shape: tuple[int, int]
    floats: tuple[bytes, ...]
    onset: bytes
