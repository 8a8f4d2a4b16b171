"""Evidence that a share (of nulls, of errors, of one category) is not what it was.

Hits among the rows of a block are beta-binomial under the null: the share itself varies from hour to hour, and how
much is estimated from the history. The evidence of a block is its likelihood ratio for log odds that moved by each
of some steps, to either side: betting by a mixture (Waudby-Smith and Ramdas 2024, "Estimating means of bounded random
variables by betting"), the bets those of a likelihood.

A history does not tell the share exactly. The ratio's null therefore stands at the edge of what the history cannot
tell apart; as the ratio grows with the share, its mean is at most 1 for every share on the healthy side of the edge.
"""

from collections.abc import Callable
from typing import Self

import numpy as np
from attrs import evolve, frozen
from scipy.special import expit, gammaln, logit

from charkha.monitoring.sequential.arrays import BoolArray, FloatArray
from charkha.monitoring.sequential.null import MARGIN, PerCheck, enough, excess

# In log odds: from what one may care to know (2 % → 2.5 %) to a flood (2 % → 53 %), and to all rows of
# blocks in which hits came in bursts before: there ten of ten rows tell as much as one, and three bursts are needed.
STEPS = np.array([0.25, 0.5, 1.0, 2.0, 4.0, 8.0])
# No hour is exactly like another; and below 1e-6 the logarithms of gamma functions would lose the digits that matter.
LEAST_CORRELATION, MOST_CORRELATION = 1e-6, 0.9
# A history of blocks of about one row each cannot tell how alike the rows of a block are. Where its standard error is
# beyond this, it is only believed where it says less than independent rows do: or a block that is larger than any
# before would seem a wonder.
MOST_ERROR = 0.1
# Shares beyond these odds are told apart no more.
MOST_LOG_ODDS = 25.0


@frozen(eq=False)
class Shares(PerCheck):
    """What shares are healthy. All (checks,), float64 but for `doubtful`.

    log_odds: of the share. concentration: a + b of the beta distribution of the share over blocks. error: the standard
    error of the log odds, were blocks independent. doubtful: where the history cannot tell the concentration. width,
    alike: see `Null`.
    """

    log_odds: FloatArray
    concentration: FloatArray
    error: FloatArray
    doubtful: BoolArray
    width: FloatArray
    alike: FloatArray

    @classmethod
    def of(cls, hits: FloatArray, rows: FloatArray, usual: FloatArray | None = None) -> Self:
        """Learn from a history of blocks (blocks, checks): how many rows each had, and how many of them hits.

        usual: the share to be expected of each block, where it depends on the hour of the week; NaN: not known.
        Raises ValueError for a history that is too short, or has more hits than rows.
        """
        if not np.all((hits >= 0) & (hits <= rows)):
            raise ValueError("expected hits between 0 and the rows of their block")
        all_hits, all_rows = hits.sum(axis=0), rows.sum(axis=0)
        blocks = (rows > 0).sum(axis=0).astype(np.float64)
        enough(blocks)
        share = (all_hits + 0.5) / (all_rows + 1)  # the prior of Jeffreys: none so far is not never
        expected = share if usual is None else np.where(np.isfinite(usual), usual, share)
        expected = np.clip(expected, share / 1000, 1 - (1 - share) / 1000)
        variance = np.where(rows > 0, rows * expected * (1 - expected), np.inf)
        over = excess(((hits - rows * expected) ** 2 / variance).sum(axis=0), blocks)
        correlation = over * blocks / np.maximum((all_rows - blocks), 1.0)
        correlation = np.clip(correlation, LEAST_CORRELATION, MOST_CORRELATION)
        total = (rows * share * (1 - share) * (1 + (rows - 1) * correlation)).sum(axis=0, where=rows > 0)
        error = np.sqrt(total) / (all_rows + 1) / (share * (1 - share))
        doubtful = np.sqrt(2 * blocks) / np.maximum(all_rows - blocks, 1.0) > MOST_ERROR
        ones = np.ones_like(share)
        return cls(logit(share), 1 / correlation - 1, error, doubtful, ones, ones)

    def log_e(self, *observed: FloatArray) -> FloatArray:
        """Return log e-values (…, checks, 2 × steps), a rise first, of hits, rows and, if learnt so, usual shares."""
        hits, rows, *usual = observed
        at = np.where(np.isfinite(usual[0]), _odds(usual[0]), self.log_odds) if usual else self.log_odds
        margin = MARGIN * self.error * np.sqrt(self.width * self.alike)
        log_e = self._both(hits, rows, at, margin)
        if self.doubtful.any():
            apart = evolve(self, concentration=np.where(self.doubtful, 1 / LEAST_CORRELATION - 1, self.concentration))
            log_e = np.minimum(log_e, apart._both(hits, rows, at, margin))
        return log_e / self.width[:, None]

    def surprise(self, *observed: FloatArray) -> FloatArray:
        """Return log e-values less those of as many hits as are expected; none at all where there never were any."""
        hits, rows, *usual = observed
        share = hits.sum(axis=0) / np.maximum(rows.sum(axis=0), 1.0)
        if usual:
            expected = rows * np.where(np.isfinite(usual[0]), usual[0], share)
            return self.log_e(*observed) - self.log_e(expected, rows, *usual)
        return self.log_e(*observed) - _of_counts(lambda count: self.log_e(count * share, count), rows)

    def _both(self, hits: FloatArray, rows: FloatArray, at: FloatArray, margin: FloatArray) -> FloatArray:
        """Return the log likelihood ratios of a rise, then of a fall, from the edges of what is healthy."""
        rise, fall = self._rise(hits, rows, at + margin), self._rise(rows - hits, rows, -at + margin)
        return np.concatenate([rise, fall], axis=-1)

    def _rise(self, hits: FloatArray, rows: FloatArray, log_odds: FloatArray) -> FloatArray:
        """Return the log likelihood ratios of log odds that are higher by each step."""
        a, b = _beta(self.concentration, log_odds)
        more_a, less_b = _beta(self.concentration[:, None], log_odds[..., None] + STEPS)
        both = gammaln(a) + gammaln(b)
        if log_odds.ndim == 1:
            ratios = _of_counts(lambda count: _more(count, a, more_a), hits)
            ratios += _of_counts(lambda count: _more(count, b, less_b), rows - hits)
        else:
            ratios = _more(hits, a, more_a) + _more(rows - hits, b, less_b)
        ratios += both[..., None]
        ratios -= gammaln(more_a)
        ratios -= gammaln(less_b)
        return ratios


class RisingShares(Shares):
    """The same where only a rise matters: half the work, and no evidence is spent on the other side."""

    def _both(self, hits: FloatArray, rows: FloatArray, at: FloatArray, margin: FloatArray) -> FloatArray:
        return self._rise(hits, rows, at + margin)


def _more(counts: FloatArray, start: FloatArray, ahead: FloatArray) -> FloatArray:
    """Return ln Γ(count + ahead) - ln Γ(count + start), (…, checks, steps)."""
    more: FloatArray = gammaln(counts[..., None] + ahead)
    more -= gammaln(counts + start)[..., None]
    return more


def _of_counts(told: Callable[[FloatArray], FloatArray], counts: FloatArray) -> FloatArray:
    """Return what is told of counts (blocks, checks), by a table where there are fewer whole numbers than blocks."""
    most = counts.max(initial=0.0)
    if counts.ndim != 2 or most >= len(counts) or not np.array_equal(counts, np.floor(counts)):
        return told(counts)
    table = told(np.broadcast_to(np.arange(most + 1)[:, None], (int(most) + 1, counts.shape[1])))
    return table[counts.astype(np.int64), np.arange(counts.shape[1])]


def _beta(concentration: FloatArray, log_odds: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return a and b of beta distributions with these means."""
    bounded = np.clip(log_odds, -MOST_LOG_ODDS, MOST_LOG_ODDS)
    return concentration * expit(bounded), concentration * expit(-bounded)


def _odds(share: FloatArray) -> FloatArray:
    bounded: FloatArray = np.clip(logit(share), -MOST_LOG_ODDS, MOST_LOG_ODDS)
    return bounded
