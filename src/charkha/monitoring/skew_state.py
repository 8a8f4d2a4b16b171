"""What the online state holds now against what files and log make, as the cause of a difference."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from charkha.clock import to_iso
from charkha.engines.local import LocalEngine
from charkha.features.applied import applied_state, read_features
from charkha.features.events import RowLayout
from charkha.features.keys import key_bytes, key_text
from charkha.features.materialise import plain_values
from charkha.features.plan import FeaturePlan, feature_names
from charkha.features.progress import Taken, row_contents, row_places, rows_prefix
from charkha.features.sought import SoughtRows
from charkha.features.state import ViewState, view_digest
from charkha.monitoring.skew import compare, exact_features
from charkha.monitoring.skew_cases import Difference
from charkha.monitoring.skew_files import SourceFiles
from charkha.monitoring.skew_magnitude import Answers
from charkha.monitoring.skew_words import Cause, said
from charkha.spec.fields import polars_schema
from charkha.spec.sources import Source
from charkha.spec.views import FeatureView
from charkha.storage.online import OnlineStore

# A larger source's rows are not compared with those the state remembers: it would take too long.
MOST_REMEMBERED = 500_000
# The state of a key with more rows is not made anew, row by row.
MOST_APPLIED = 200_000
# Sums of the state now and of its rows: the state may have been merged in any order, over its whole life.
ALIKE = 1e-6


def holds_nothing(found: Difference, store: OnlineStore) -> bool:
    """Say whether the state has nothing of the key, though the key has rows."""
    with store.read() as state:
        there = any(each is not None for each in state.get_many(_places(found.view, found.key)))
    return not there and not found.counted.is_empty()


def has_other_keys(view: FeatureView, store: OnlineStore) -> bool:
    """Say whether the state has any key of a view."""
    return next(iter(store.scan(view_digest(view))), None) is not None


def _places(view: FeatureView, key: Mapping[str, Any]) -> list[bytes]:
    state, end = ViewState.of(view), key_bytes(key_text([key[column] for column in view.entity.keys]))
    rings = [state.ring_place(number) + end for number in range(len(state.rings))]
    return rings + ([state.latest_place + end] if view.latest else [])


def stranger_in(sought: SoughtRows, source: Source, store: OnlineStore) -> Cause | None:
    """Blame a row that the state remembers and that neither log nor files have, or have with other content."""
    if not source.key or sought.whole is None or sought.whole.height > MOST_REMEMBERED:
        return None
    rows = sought.whole.drop_nulls("_known_us")
    layout, culprit = RowLayout.of(source), f"source {source.name}"
    plain = plain_values(rows.select(list(source.fields))).rows()
    # What was pushed stays as it was logged: only files are changed under one's hands.
    of_files = zip(row_places(layout, plain), row_contents(layout, plain), rows["_pushed"], strict=True)
    told = {place: None if pushed else content for place, content, pushed in of_files}
    prefix = rows_prefix(source.name)
    for number, (place, content) in enumerate(store.scan(prefix)):
        if number == 2 * MOST_REMEMBERED:
            return None
        row = place.removeprefix(prefix).decode(errors="replace")
        if place not in told:
            reason = f"row {row!r} was applied to the online state and is in neither log nor files any more"
            return Cause("vanished_event", culprit, reason)
        if told[place] not in (None, content):
            reason = f"row {row!r} reads otherwise now than when it was applied to the online state"
            return Cause("correction", culprit, reason)
    return None


def of_files_gone(files: SourceFiles, source: Source) -> Cause | None:
    """Blame a file from which the state was built and that is gone."""
    if not files.gone:
        return None
    reason = f"{files.gone[0]}, from which the online state was built, is gone or was set aside"
    return Cause("vanished_event", f"source {source.name}", reason)


def of_files_changed(files: SourceFiles, source: Source) -> Cause | None:
    """Blame a file that is not what it was when the state was built from it."""
    if not files.changed:
        return None
    reason = f"{files.changed[0]} is not what it was when the online state was built from it"
    return Cause("correction", f"source {source.name}", reason)


def of_other_values(
    found: Difference, source: Source, files: SourceFiles, taken: Taken | None, store: OnlineStore
) -> dict[str, Cause]:
    """Compare what the state holds of a key now with what is made of the rows it has taken; blame it per feature."""
    rows = found.rows if taken is None or source.static else found.without(files.untaken, taken.until_us)
    if rows.height > MOST_APPLIED:
        return {}
    now_us = max(found.at_us, *rows["_known_us"].to_list(), 0)
    with store.read() as state:
        held = read_features(found.view, state, found.key, now_us)
    made = read_features(found.view, applied_state(found.view, source, rows), found.key, now_us)
    wrong = _unlike(found, now_us, (held, made), rows)
    if not wrong:
        return {}
    return {name: _other_value(found.view, name if name in wrong else wrong[0], held, made) for name in found.differ}


def _other_value(view: FeatureView, name: str, held: Mapping[str, Any], made: Mapping[str, Any]) -> Cause:
    reason = (
        f"the online state is not what files and log make: {name} is {said(held[name])} in it and {said(made[name])} "
        "by them. charkha features materialise --anew builds it"
    )
    return Cause("stale_state", f"view {view.name}", reason)


def _unlike(found: Difference, now_us: int, values: Sequence[Mapping[str, Any]], rows: pl.DataFrame) -> list[str]:
    """Return the features that are not alike, by the magnitude of what was added; where that overflows, any are.

    values: the features of the view now, twice. rows: of this key, of which one of the two is made.
    """
    view, fields = found.view, {column: found.view.source.fields[column] for column in found.view.entity.keys}
    plan = FeaturePlan((view,), fields, "", {}, tuple(feature_names(view)))
    asked = pl.DataFrame({column: [found.key[column]] for column in fields}, polars_schema(fields)).with_columns(
        _at_us=pl.lit(now_us, pl.Int64), _seen_us=pl.lit(None, pl.Int64)
    )
    answers = Answers(asked, *(pl.DataFrame([each]) for each in values))
    apart = compare(plan, answers, {view.source.name: rows}, LocalEngine(1)).apart
    exact = exact_features(plan)
    return [name for name in apart if apart[name][0] > (0.0 if name in exact else ALIKE)]


def of_building(found: Difference, source: Source, taken: Taken | None) -> Cause | None:
    """Say that the state was built anew after the prediction: what it had been made of is not told any more."""
    if taken is None or taken.built_us <= found.at_us:
        return None
    why = f", because {taken.why}" if taken.why else ""
    reason = (
        f"the online state of {source.name} was built anew at {to_iso(taken.built_us)}, after the prediction{why}: "
        "what it had been made of before cannot be told any more"
    )
    return Cause("rebuilt_state", f"source {source.name}", reason)
