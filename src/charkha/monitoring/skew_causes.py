"""Why features were served otherwise than they are recomputed, and who is to blame, where the evidence can tell.

Of the features of a view in one prediction the questions are asked in this order, and the first that is answered with
yes is the cause:

    1. is their source declared otherwise now than when the version was trained?
    2. does the code that serves, given the very rows, give what was served?
    3. does the state hold nothing of the key, though it took the key's rows?
    4. does leaving out some files or rows, or letting in some rows that came just after, give what was served? Then
       those are to blame: late, pushed meanwhile, lost on the way to the state, or not applied in time. Of several such
       cases the one counts that explains most features, and none that would change a feature that agrees
    5. was the state built from files that are gone or changed? Does it hold rows that are nowhere else, rows with other
       content, or other values than files and log make?
    6. is the view declared otherwise now?
    7. was the state built anew after the prediction?

What is left is unknown.
"""

from collections.abc import Callable, Mapping, Sequence

import polars as pl
from attrs import frozen

from charkha.bundles.manifest import Manifest
from charkha.features.applied import applied_state, read_features
from charkha.features.events import RowLayout
from charkha.features.materialise import plain_values
from charkha.features.progress import Taken, row_places
from charkha.features.seen import LONGEST_COMMIT_US
from charkha.features.sought import PIECE
from charkha.monitoring.skew_cases import Case, Difference, best_cases, cases_by_row, cases_too_early, tried
from charkha.monitoring.skew_declared import of_library, of_source, of_view
from charkha.monitoring.skew_files import SourceFiles, cases_by_file, cases_never_taken, cases_untaken
from charkha.monitoring.skew_state import (
    MOST_APPLIED,
    has_other_keys,
    holds_nothing,
    of_building,
    of_files_changed,
    of_files_gone,
    of_other_values,
)
from charkha.monitoring.skew_words import Cause, row_in_words, said
from charkha.spec.model import Model
from charkha.spec.sources import Source
from charkha.storage.online import OnlineStore


@frozen(eq=False)
class Evidence:
    """What causes of a view's differences are looked for in.

    source: as the rows were read. files, taken: its batches now, and what the state has of them. stranger: looks for a
    row that only the state has.
    """

    manifest: Manifest
    model: Model
    source: Source
    files: SourceFiles
    taken: Taken | None
    store: OnlineStore
    stranger: Callable[[], Cause | None]


Causes = Mapping[str, Cause]


def causes_of_view(found: Difference, evidence: Evidence) -> Causes:
    """Return why each of a view's features differs that does."""
    causes: dict[str, Cause] = {}
    redeclared = of_source(found.view.source, evidence.source)
    if redeclared:
        return dict.fromkeys(found.differ, redeclared)
    for look in (_by_the_code, _by_nothing, _by_rows, _too_early, _by_the_state, _by_the_past):
        waiting = found.differ - causes.keys()
        if waiting:
            told = look(found, evidence)
            causes |= {name: told[name] for name in waiting if name in told}
    return causes


def _by_the_code(found: Difference, evidence: Evidence) -> Causes:
    """Make the state of the key anew, row by row, and read it as serving does."""
    rows, source = found.relevant, evidence.source
    if rows.height > MOST_APPLIED:
        return {}
    state = applied_state(found.view, source, rows)
    values = read_features(found.view, state, found.key, found.at_us)
    return {
        name: Cause(
            "code",
            name,
            f"given the very rows of {source.name}, the code that serves gives {said(values[name])} and the code that "
            f"recomputes gives {said(found.recomputed[name])}: one of the two was changed alone",
        )
        for name in found.differ
        if found.gives(name, values[name])
    }


def _by_nothing(found: Difference, evidence: Evidence) -> Causes:
    """Look whether the state has anything of the key, whose rows it took."""
    source, store = evidence.source, evidence.store
    if not holds_nothing(found, store) or not _any_remembered(source, found.counted, store):
        return {}
    if not source.key and has_other_keys(found.view, store):
        return {}  # it is this key's rows that the state has not taken
    reason = f"the online state has nothing of this key, which has {found.counted.height} rows"
    return dict.fromkeys(found.differ, Cause("missing_state", f"view {found.view.name}", reason))


def _by_rows(found: Difference, evidence: Evidence) -> Causes:
    """Leave out what the state had not, as far as that is known; unless that explains all, any files, then any rows."""
    files, told = evidence.files, list[tuple[Case, frozenset[str]]]()
    stages: list[Callable[[], list[Case]]] = [
        lambda: cases_untaken(found, files, evidence.taken),
        lambda: cases_never_taken(found, evidence.source, evidence.store),
        lambda: cases_by_file(found, files),
        lambda: cases_by_row(found),
    ]
    for cases in stages:
        if not any(names == found.differ for _, names in told):
            told += tried(found, cases())
    best = {name: best_cases(told, name) for name in found.differ}
    late = f"source {evidence.source.name}"
    return {
        name: Cause("late_row", late, f"it was served without {cases[0].why}")
        if cases[0].why
        else _of_missing(found, evidence, cases)
        for name, cases in best.items()
        if cases
    }


def _too_early(found: Difference, evidence: Evidence) -> Causes:
    told = tried(found, cases_too_early(found))
    best = {name: best_cases(told, name) for name in found.differ}
    after = "became known just after the prediction was timed, and it was served with it"
    culprit = f"source {evidence.source.name}"
    return {
        name: Cause("concurrent_push", culprit, f"{row_in_words(cases[0].gone, evidence.source)} {after}")
        for name, cases in best.items()
        if cases
    }


def _of_missing(found: Difference, evidence: Evidence, cases: Sequence[Case]) -> Cause:
    """Blame the rows of the first of several cases, or of the first whose rows the state never took."""
    source, store = evidence.source, evidence.store
    culprit = f"source {source.name}"
    unknown = next((case for case in cases if not _any_remembered(source, case.gone, store)), None)
    rows = (cases[0] if unknown is None else unknown).gone
    without = f"it was served without {row_in_words(rows, source)}"
    without += " (or another such row)" if unknown is None and len(cases) > 1 else ""
    oldest_us, pushed = int(rows["_known_us"].to_list()[0]), bool(rows["_pushed"].all())
    if not pushed:
        files = evidence.files.said(rows[PIECE].unique(maintain_order=True).to_list())
        late = f"{without}, which came with {files} after the online state was built, or late"
        return Cause("late_row", culprit, late)
    if not rows["_first"].any():
        return Cause("correction", culprit, f"{without}, which corrects a row that was there before")
    if unknown is not None:
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
    places = row_places(layout, plain_values(rows.select(list(source.fields))).rows())
    with store.read() as state:
        return not source.key or any(each is not None for each in state.get_many(places))


def _by_the_state(found: Difference, evidence: Evidence) -> Causes:
    """Compare what the state was built from, what rows it took, and what it holds now, with what there is."""
    files, source = evidence.files, evidence.source
    strange = of_files_gone(files, source) or evidence.stranger() or of_files_changed(files, source)
    if strange:
        return dict.fromkeys(found.differ, strange)
    return of_other_values(found, evidence.source, evidence.files, evidence.taken, evidence.store)


def _by_the_past(found: Difference, evidence: Evidence) -> Causes:
    """Say what has changed since, if anything has; what is left is unknown."""
    since = of_view(found.view, evidence.model) or of_building(found, evidence.source, evidence.taken)
    if since:
        return dict.fromkeys(found.differ, since)
    reason = (
        "no rows late, lost or too early explain it, the code that serves gives what is recomputed, and the state is "
        "that of files and log: it was served by other code, or with rows that are nowhere any more"
    )
    library = of_library(evidence.manifest)
    reason += f"; {library.reason}" if library else ""
    return {name: Cause("unknown", name, reason) for name in found.differ}
