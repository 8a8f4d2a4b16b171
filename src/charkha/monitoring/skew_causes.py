"""Why a feature was served otherwise than it is recomputed, and who is to blame, where the evidence can tell.

The questions are asked in this order, and the first that is answered with yes is the cause:

    1. is its source or its view declared otherwise now than when the version was trained?
    2. does the code that serves, given the very rows of the log, give what was served?
    3. does the state hold nothing of the key, though it took the key's rows?
    4. does leaving out some rows, or letting in some that came just after, give what was served? Then those rows are
       to blame: late, pushed meanwhile, lost on the way to the state, or not applied in time
    5. does the state hold rows that the log has not, rows with other content, or other values than the log makes?
    6. is the view declared otherwise now?

What is left is blamed on the code that served.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
import polars as pl
from attrs import frozen

from charkha.bundles.manifest import Manifest
from charkha.clock import to_iso
from charkha.features.applied import applied_state, read_features
from charkha.features.events import RowLayout
from charkha.features.expressions import expression_to_json
from charkha.features.keys import key_text
from charkha.features.materialise import plain_values
from charkha.features.plan import FeaturePlan, plan_features, view_to_plain
from charkha.features.progress import row_content, row_place, rows_prefix
from charkha.features.seen import LONGEST_COMMIT_US
from charkha.features.state import ViewState, key_bytes, view_digest
from charkha.monitoring.skew_cases import Difference, missing_rows, rows_too_early
from charkha.spec.model import Model
from charkha.spec.sources import Source
from charkha.spec.views import FeatureView
from charkha.storage.online import OnlineStore

Kind = Literal[
    "definition_change",
    "library_change",
    "code",
    "late_row",
    "concurrent_push",
    "lost_event",
    "vanished_event",
    "correction",
    "stale_state",
    "missing_state",
]
# A larger source's rows are not compared with those the state remembers: it would take too long.
MOST_REMEMBERED = 500_000
# The state of a key with more rows is not made anew, row by row.
MOST_APPLIED = 200_000
# How a source is told from what it was.
_SOURCE_WORDS = ("time", "known", "key", "static", "lag")


class Cause(msgspec.Struct, frozen=True):
    """Why, and who: `culprit` is the source, view, feature or library to blame; `reason` says it in words."""

    kind: Kind
    culprit: str
    reason: str


@frozen(eq=False)
class Evidence:
    """What causes are looked for in: the version's plan and manifest, the definition now, all rows, the online state.

    sources: name → the source as the rows were read. rows: source → its rows, as of `read_rows`; None where
    they are too many to be in memory.
    """

    plan: FeaturePlan
    manifest: Manifest
    model: Model
    sources: Mapping[str, Source]
    rows: Mapping[str, pl.DataFrame | None]
    store: OnlineStore


def cause_of_view(found: Difference, evidence: Evidence) -> Cause:
    """Return why a view's feature differs."""
    source = evidence.sources[found.view.source.name]
    return (
        _redeclared(found, source)
        or _by_the_code(found, source)
        or _by_nothing(found, source, evidence.store)
        or _by_rows(found, source, evidence.store)
        or _by_the_state(found, source, evidence)
        or _changed_view(found.view, evidence.model)
        or _what_is_left(found, evidence.manifest)
    )


def cause_of_expression(feature: str, evidence: Evidence) -> Cause:
    """Return why a request feature differs although everything that it reads agrees."""
    plan = plan_features(evidence.model)
    then, now = evidence.plan.expressions.get(feature), plan.expressions.get(feature)
    same = evidence.plan.defaults.get(feature) == plan.defaults.get(feature)
    if then is not None and (now is None or not same or expression_to_json(now) != expression_to_json(then)):
        what = "is no longer declared" if now is None else "is declared otherwise now"
        reason = f"{feature} {what} than when {evidence.manifest.version} was trained"
        return Cause("definition_change", feature, reason if now is not None else reason.partition(" than")[0])
    library = _other_polars(evidence.manifest)
    if library:
        return library
    reason = "all that it reads agrees: the code that serves evaluates it otherwise than the code that recomputes it"
    return Cause("code", feature, reason)


def _redeclared(found: Difference, source: Source) -> Cause | None:
    then = found.view.source
    changed = [word for word in _SOURCE_WORDS if getattr(then, word) != getattr(source, word)]
    if not changed:
        return None
    said = ", ".join(f"{word} was {getattr(then, word)!r} and is {getattr(source, word)!r}" for word in changed)
    return Cause("definition_change", f"source {source.name}", f"the source is declared otherwise now: {said}")


def _by_the_code(found: Difference, source: Source) -> Cause | None:
    """Make the state of the key anew, row by row, and read it as serving does."""
    rows = found.relevant
    if rows.height > MOST_APPLIED:
        return None
    state = applied_state(found.view, source, found.key, rows)
    value = read_features(found.view, state, found.key, found.at_us)[found.feature]
    if not found.gives(value):
        return None
    reason = (
        f"given the very rows of {source.name}, the code that serves gives {value!r} and the code that recomputes "
        f"gives {found.recomputed!r}: one of the two was changed alone"
    )
    return Cause("code", found.feature, reason)


def _by_nothing(found: Difference, source: Source, store: OnlineStore) -> Cause | None:
    """Look whether the state has anything of the key, whose rows it took."""
    with store.read() as state:
        there = any(each is not None for each in state.get_many(_places(found.view, found.key)))
    if there or found.counted.is_empty() or not _any_remembered(source, found.counted, store):
        return None
    if not source.key and next(iter(store.scan(view_digest(found.view))), None) is not None:
        return None  # other keys are there: it is this key's rows that the state has not taken
    reason = f"the online state has nothing of this key, which has {found.counted.height} rows"
    return Cause("missing_state", f"view {found.view.name}", reason)


def _by_rows(found: Difference, source: Source, store: OnlineStore) -> Cause | None:
    cases = missing_rows(found)
    if cases:
        unknown = next((rows for rows in cases if not _any_remembered(source, rows, store)), None)
        without = f"it was served without {_named(cases[0] if unknown is None else unknown, source)}"
        without += " (or another such row)" if unknown is None and len(cases) > 1 else ""
        return _of_missing(found, source, cases[0] if unknown is None else unknown, without, store)
    early = rows_too_early(found)
    if early is None:
        return None
    reason = f"{_named(early, source)} became known just after the prediction was timed, and it was served with it"
    return Cause("concurrent_push", f"source {source.name}", reason)


def _of_missing(found: Difference, source: Source, rows: pl.DataFrame, without: str, store: OnlineStore) -> Cause:
    culprit = f"source {source.name}"
    oldest_us, pushed = int(rows["_known_us"].to_list()[0]), bool(rows["_pushed"].all())
    if not pushed:
        reason = f"{without}, which came with the files after the online state was built, or late"
        return Cause("late_row", culprit, reason)
    if not rows["_first"].any():
        reason = f"{without}, which corrects a row that was there before"
        return Cause("correction", culprit, reason)
    if not _any_remembered(source, rows, store):
        return Cause("lost_event", culprit, f"{without}, which is in the log and was never applied to the online state")
    waited_us = found.at_us - oldest_us
    if found.seen_us is not None and oldest_us > found.seen_us:
        reason = f"{without}, though it was logged {waited_us / 1e6:.0f} s before: the online state was behind the log"
        return Cause("stale_state", f"view {found.view.name}", reason)
    newest_us = int(found.counted["_known_us"].to_list()[-1])
    if found.seen_us is None and int(rows["_known_us"].to_list()[-1]) == newest_us and waited_us < LONGEST_COMMIT_US:
        reason = f"{without}, which was pushed {waited_us / 1e6:.3f} s before and was still being committed"
        return Cause("concurrent_push", culprit, reason)
    return Cause("lost_event", culprit, f"{without}, which is in the log and did not reach the state in time")


def _any_remembered(source: Source, rows: pl.DataFrame, store: OnlineStore) -> bool:
    """Say whether the state ever took any of these rows; of a source without a key it does not know, and says yes."""
    layout = RowLayout.of(source)
    places = [row_place(layout, row) for row in plain_values(rows.select(list(source.fields))).iter_rows()]
    with store.read() as state:
        return not source.key or any(each is not None for each in state.get_many(places))


def _by_the_state(found: Difference, source: Source, evidence: Evidence) -> Cause | None:
    """Compare what the state holds now with what the log makes of the key."""
    strangers = _strangers(source, evidence)
    if strangers:
        return strangers
    if found.rows.height > MOST_APPLIED:
        return None
    with evidence.store.read() as state:
        now_us = max(found.at_us, *found.rows["_known_us"].to_list(), 0)
        held = read_features(found.view, state, found.key, now_us)
    made = read_features(found.view, applied_state(found.view, source, found.key, found.rows), found.key, now_us)
    wrong = [name for name in held if not _alike(held[name], made[name])]
    if not wrong:
        return None
    name = found.feature if found.feature in wrong else wrong[0]
    reason = (
        f"the online state is not what the log makes: {name} is {held[name]!r} in it and {made[name]!r} by the log. "
        "Have it built anew: charkha features materialise --anew"
    )
    return Cause("stale_state", f"view {found.view.name}", reason)


def _alike(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return abs(left - right) <= 1e-6 * max(abs(left), abs(right))
    return bool(left == right)


def _places(view: FeatureView, key: Mapping[str, Any]) -> list[bytes]:
    state, end = ViewState.of(view), key_bytes(key_text([key[column] for column in view.entity.keys]))
    rings = [state.ring_place(number) + end for number in range(len(state.rings))]
    return rings + ([state.latest_place + end] if view.latest else [])


def _strangers(source: Source, evidence: Evidence) -> Cause | None:
    """Blame a row that the state remembers and that neither log nor files have, or have with other content."""
    whole = evidence.rows[source.name]
    if not source.key or whole is None or whole.height > MOST_REMEMBERED:
        return None
    rows = whole.drop_nulls("_known_us")
    layout, culprit = RowLayout.of(source), f"source {source.name}"
    plain = plain_values(rows.select(list(source.fields))).iter_rows()
    # What was pushed stays as it was logged: only files are changed under one's hands.
    told = {
        row_place(layout, row): None if pushed else row_content(row)
        for row, pushed in zip(plain, rows["_pushed"], strict=True)
    }
    prefix = rows_prefix(source.name)
    for number, (place, content) in enumerate(evidence.store.scan(prefix)):
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


def _changed_view(view: FeatureView, model: Model) -> Cause | None:
    now = next((each for each in model.views if each.name == view.name), None)
    if now is not None and view_to_plain(now) == view_to_plain(view):
        return None
    what = "is no longer declared" if now is None else "is declared otherwise now than when the version was trained"
    return Cause("definition_change", f"view {view.name}", f"the view {what}")


def _other_polars(manifest: Manifest) -> Cause | None:
    then = manifest.lineage.versions.get("polars")
    if then is None or then == pl.__version__:
        return None
    reason = f"{manifest.version} was trained with Polars {then}, and this is Polars {pl.__version__}"
    return Cause("library_change", "polars", reason)


def _what_is_left(found: Difference, manifest: Manifest) -> Cause:
    reason = "no rows late, lost or too early explain it, and the state is that of the log: other code served it"
    library = _other_polars(manifest)
    return Cause("code", found.feature, f"{reason}; {library.reason}" if library else reason)


def _named(rows: pl.DataFrame, source: Source) -> str:
    """Return rows in words: the first by its key and when it became known, and how many more there are."""
    row: Sequence[Any] = rows.select(list(source.key) or list(source.fields)[:1]).row(0)
    key = ", ".join(str(part) for part in row)
    more = f" and {rows.height - 1} more" if rows.height > 1 else ""
    return f"row {key} of {source.name}, known at {to_iso(int(rows['_known_us'].to_list()[0]))}{more}"
