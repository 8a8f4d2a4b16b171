"""What was served against what is recomputed of the same questions: equal, or one of the two paths is wrong."""

from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl
from attrs import evolve

from charkha.features.plan import FeaturePlan
from charkha.features.seen import BoolArray
from charkha.features.segments import IntArray
from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.checks.saying import percent, signal_of
from charkha.monitoring.diagnosis.checks.shifts import Watch
from charkha.monitoring.diagnosis.checks.skew_patterns import Difference, pattern
from charkha.monitoring.diagnosis.signal import Signal
from charkha.monitoring.skew import exact_features, row_differences, tolerance
from charkha.serving.prediction_frames import FEATURES_LOGGED

_MADE = "_made:"


def skew_signals(case: Case) -> list[Signal]:
    """Return "skew" of the features that differ in the sample, but for those that follow from others that do.

    A feature that agreed in the whole healthy history has to agree: its first row that differs is enough. One that
    did not, as where rows may be lost on the way, is held to the share of rows that it had.
    """
    traffic = case.traffic
    made = traffic.recomputed.select("id", "version", *(pl.col(name).alias(_MADE + name) for name in traffic.features))
    both = traffic.predictions.filter(FEATURES_LOGGED).join(made, on=["id", "version"], how="inner").sort("_at_us")
    if both.is_empty():
        return []
    exact = exact_features(case.plan)
    apart = {
        name: row_differences(both[name], both[_MADE + name], exact=name in exact) > tolerance(exact=name in exact)
        for name in traffic.features
    }
    return list(_signals(case, both, _of_their_own(case.plan, apart)))


def _of_their_own(plan: FeaturePlan, apart: Mapping[str, BoolArray]) -> dict[str, BoolArray]:
    """Return which rows differ by themselves: of a request feature, those in which all that it reads agrees."""
    found = dict(apart)
    for name, expression in plan.expressions.items():
        for read in set(expression.meta.root_names()) & apart.keys() if name in apart else ():
            found[name] = found[name] & ~apart[read]
    return found


def _signals(case: Case, both: pl.DataFrame, apart: Mapping[str, BoolArray]) -> Iterator[Signal]:
    at_us = both["_at_us"].to_numpy()
    healthy = (at_us >= case.healthy.since_us) & (at_us < case.healthy.until_us)
    watched = (at_us >= case.watched.since_us) & (at_us < case.watched.until_us)
    if not healthy.any():
        return
    held = [name for name, differ in apart.items() if not differ[healthy].any() and differ[watched].any()]
    for name in held:
        yield _broken(case, both, name, watched, apart[name])
    yield from _more_often(case, both, {name: differ for name, differ in apart.items() if differ[healthy].any()})


def _broken(case: Case, both: pl.DataFrame, name: str, watched: BoolArray, differ: BoolArray) -> Signal:
    """Return the signal of a feature that always agreed, and does so no more."""
    at_us, different = both["_at_us"].to_numpy(), np.flatnonzero(differ & watched)
    first = int(at_us[different[0]])
    agreed = at_us[(at_us < first) & ~differ]
    since = watched & (at_us >= first)
    share = len(different) / int(since.sum())
    name_of, words = _words(case, both, name, different, (share, 0.0))
    return Signal(
        check="skew",
        subject=name,
        alarmed_us=first,
        began_us=first,
        earliest_us=int(max(agreed.max(initial=case.healthy.since_us), case.watched.since_us)),
        latest_us=first,
        evidence=np.inf,
        usual=0.0,
        now=share,
        unit="share of rows",
        rows=int(since.sum()),
        words=words,
        pattern=name_of,
    )


def _more_often(case: Case, both: pl.DataFrame, apart: Mapping[str, BoolArray]) -> Iterator[Signal]:
    if not apart:
        return
    watch, names = Watch.of(case, "rise"), list(apart)
    told = both.select("_at_us").with_columns(pl.Series(str(n), apart[name]) for n, name in enumerate(names))
    figures = [pl.len(), *(pl.col(str(number)).sum() for number in range(len(names)))]
    rows, *hits = watch.grid.of_blocks(told, "_at_us", pl.lit(""), [""], figures, empty=0.0)
    found = watch.shares(names, np.hstack(hits), np.repeat(rows, len(names), axis=1))
    at_us = both["_at_us"].to_numpy()
    for shift in found:
        different = np.flatnonzero(apart[shift.name] & (at_us >= shift.began_us) & (at_us < case.watched.until_us))
        name_of, words = _words(case, both, shift.name, different, (shift.now, shift.usual))
        count = rows[shift.since :].sum()
        signal = signal_of("skew", shift.name, shift, unit="share of rows", rows=count, words=words)
        yield evolve(signal, pattern=name_of)


def _words(
    case: Case, both: pl.DataFrame, name: str, different: IntArray, share: tuple[float, float]
) -> tuple[str, str]:
    """Return the name of what the difference is like, and the sentence."""
    name_of, why = pattern(Difference.of(case, both[different], name, _MADE))
    return name_of, (
        f"{name} was not served as it is recomputed in {percent(share[0])} of the sampled rows since then, usually in "
        f"{percent(share[1])}" + (f": {why}" if why else "")
    )
