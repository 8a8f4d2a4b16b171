"""Whether the registered artifact answered: by the digest that was logged, and by scores that it gives again."""

from collections.abc import Iterator
from typing import Self

import numpy as np
import polars as pl
from attrs import frozen

from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.checks.saying import percent
from charkha.monitoring.diagnosis.signal import Signal
from charkha.serving.prediction_frames import FEATURES_LOGGED

# A score and its replay are of one program; what runs it may add up in another order.
TOLERANCE = 1e-6
# So many rows are replayed at most, spread over versions, replicas and hours.
MOST_REPLAYED = 20_000
_HOUR = pl.col("_at_us") // 3_600_000_000
_PART = ("version", "replica")


@frozen(eq=False)
class _Culprit:
    """A version or a replica: its rows since the first wrong one, those that are wrong, and when it was right last."""

    subject: str
    version: str
    rows: pl.DataFrame
    wrong: pl.DataFrame
    agreed_us: int

    @classmethod
    def of(cls, subject: str, version: str, own: pl.DataFrame) -> Self:
        """Return a culprit by all its rows, some of which are wrong."""
        wrong = own.filter("wrong")
        first = int(wrong["_at_us"].to_numpy().min())
        agreed = own.filter(pl.col("_at_us") < first)["_at_us"].to_numpy()
        return cls(
            subject, version, own.filter(pl.col("_at_us") >= first), wrong, int(agreed.max() if len(agreed) else first)
        )

    @property
    def share(self) -> float:
        """The share of its rows that is wrong since then."""
        return self.wrong.height / self.rows.height


def artifact_signals(case: Case) -> list[Signal]:
    """Return "digest" and "replay", of the version, or of the replica where only some of those with it differ.

    Both are identities: the first row that does not keep them is enough.
    """
    known = pl.col("version").is_in(list(case.registered))
    within = pl.col("_at_us").is_between(case.watched.since_us, case.watched.until_us, closed="left")
    served = case.traffic.predictions.filter(known & within & (pl.col("role") != "fallback"))
    return [*_digests(case, served), *_replays(case, served)]


def _digests(case: Case, served: pl.DataFrame) -> Iterator[Signal]:
    told = served.drop_nulls("bundle").select("_at_us", *_PART, "bundle")
    registered = pl.col("version").replace_strict(dict(case.registered), default=None, return_dtype=pl.String)
    compared = told.with_columns(wrong=pl.col("bundle") != registered)
    for culprit in _culprits(compared):
        digests = ", ".join(digest[:12] for digest in culprit.wrong["bundle"].unique().sort())
        words = (
            f"{culprit.subject} answered by the artifact {digests}, where {case.registered[culprit.version][:12]} is "
            f"registered as {culprit.version}: {percent(culprit.share)} of {culprit.rows.height:,} answers since then"
        )
        yield _signal("digest", culprit, words)


def _replays(case: Case, served: pl.DataFrame) -> Iterator[Signal]:
    if case.rescore is None:
        return
    scored = served.filter(pl.col(FEATURES_LOGGED) & pl.col("score").is_not_null())
    sample = spread(scored, MOST_REPLAYED)
    if sample.is_empty():
        return
    again, _ = case.rescore(sample)
    logged = sample["score"].to_numpy()
    wrong = ~np.isclose(logged, again, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
    compared = sample.select("_at_us", *_PART, "score").with_columns(wrong=pl.Series(wrong), again=pl.Series(again))
    for culprit in _culprits(compared):
        apart = np.abs(culprit.wrong["score"].to_numpy() - culprit.wrong["again"].to_numpy())
        words = (
            f"{culprit.subject} gave other scores than the registered {culprit.version} gives for the same features: "
            f"{percent(culprit.share)} of {culprit.rows.height:,} that were replayed since then, by "
            f"{np.median(apart):.3g} in the middle"
        )
        yield _signal("replay", culprit, words)


def spread(rows: pl.DataFrame, most: int) -> pl.DataFrame:
    """Return at most so many rows, as evenly as can be over versions, replicas and hours; drawn by their id."""
    if rows.height <= most:
        return rows.sort("_at_us")
    turn = pl.col("id").hash(0).rank("ordinal").over(*_PART, _HOUR)
    return rows.with_columns(_turn=turn).sort("_turn", "_at_us").head(most).drop("_turn").sort("_at_us")


def _culprits(compared: pl.DataFrame) -> Iterator[_Culprit]:
    """Yield who is at fault: a version if every replica that had it was wrong since the first wrong row, else replicas.

    compared: `_at_us`, version, replica, wrong.
    """
    for (version,), rows in sorted(compared.partition_by("version", as_dict=True).items()):
        if not rows["wrong"].any():
            continue
        since = rows.filter(pl.col("_at_us") >= rows.filter("wrong")["_at_us"].min())
        by_replica = since.group_by("replica").agg(pl.col("wrong").any())
        is_of_all = by_replica.height > 1 or rows["replica"].n_unique() == 1
        if is_of_all and by_replica["wrong"].all():
            yield _Culprit.of(str(version), str(version), rows)
            continue
        for replica in by_replica.filter("wrong")["replica"].sort():
            yield _Culprit.of(str(replica), str(version), rows.filter(pl.col("replica").eq_missing(replica)))


def _signal(check: str, culprit: _Culprit, words: str) -> Signal:
    first = int(culprit.wrong["_at_us"].to_numpy().min())
    return Signal(
        check=check,
        subject=culprit.subject,
        alarmed_us=first,
        began_us=first,
        earliest_us=culprit.agreed_us,
        latest_us=first,
        evidence=np.inf,
        usual=0.0,
        now=culprit.share,
        unit="share of answers",
        rows=culprit.rows.height,
        words=words,
    )
