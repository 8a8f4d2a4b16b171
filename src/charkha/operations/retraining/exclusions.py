"""What a training leaves out: the time of incidents whose cause is that data, labels, features or servers were wrong.

Rows that were asked for within it are, and where labels were at fault those too whose label became known then. Where a
source was at fault, features that look back over it are wrong for as long again as they look back.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from charkha.bundles.manifest import WindowLeftOut
from charkha.monitoring.diagnosis.documents import from_document
from charkha.monitoring.diagnosis.incidents import hit
from charkha.operations.wording import moment
from charkha.spec.durations import parse_duration
from charkha.spec.model import Model
from charkha.spec.views import FeatureView
from charkha.storage.ledger import Incident
from charkha.training.split import Span, split_spans


def windows_of(incidents: Sequence[Incident], model: Model, as_of_us: int) -> tuple[WindowLeftOut, ...]:
    """Return the times of incidents, in the order given; what is open lasts until `as_of_us` (µs)."""
    return tuple(_window(each, model, as_of_us) for each in incidents)


def _window(incident: Incident, model: Model, as_of_us: int) -> WindowLeftOut:
    bad = hit(incident)
    until_us = as_of_us if incident.status == "open" else bad.until_us + _look_back_us(incident, model)
    by_label = incident.cause == "label"
    return WindowLeftOut(incident.id, incident.cause, bad.since_us, until_us, by_label)


def _look_back_us(incident: Incident, model: Model) -> int:
    """Return for how long after it an incident of a source goes on in features: as long as they look back over it."""
    if incident.cause != "source":
        return 0
    sources = from_document(incident.diagnosis).culprit.sources
    hit_views = [view for view in model.views if not sources or view.source.name in sources]
    return max((_longest_us(view) for view in hit_views), default=0)


def _longest_us(view: FeatureView) -> int:
    lengths = [window.size_us for window in view.all_windows()]
    lengths += [parse_duration(view.max_age)] if view.max_age and view.latest else []
    return max(lengths, default=0)


def in_words(windows: Iterable[WindowLeftOut]) -> str:
    """Return which windows are left out, such as "late-3, source, 2013-04-01 00:00 UTC to …"."""
    return "; ".join(
        f"{each.incident}, {each.cause}, {moment(each.since_us)} to {moment(each.until_us)}" for each in windows
    )


def nothing_left(windows: Sequence[WindowLeftOut], model: Model, as_of_us: int) -> str | None:
    """Return the name of a part of the split that is left out from its beginning to its end; None where none is."""
    window_us = parse_duration(model.retrain.window) if model.retrain.window else None
    spans = split_spans(model.split, model.label.delay_us, as_of_us, window_us)
    parts = {"test": spans.test, "validation": spans.validation, "train": spans.train}
    return next((name for name, span in parts.items() if _covers(windows, span)), None)


def _covers(windows: Sequence[WindowLeftOut], span: Span) -> bool:
    at_us = span.since_us
    for window in sorted(windows, key=lambda each: each.since_us):
        if window.since_us <= at_us < window.until_us:
            at_us = window.until_us
    return at_us >= span.until_us


def as_plain(windows: Sequence[WindowLeftOut]) -> list[dict[str, object]]:
    """Return windows for the evidence of a decision."""
    return [msgspec.to_builtins(each) for each in windows]


def from_evidence(evidence: Mapping[str, object]) -> tuple[WindowLeftOut, ...]:
    """Return the windows that a decision to train says are left out."""
    return msgspec.convert(evidence.get("left_out", []), tuple[WindowLeftOut, ...])
