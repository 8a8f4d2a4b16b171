"""Drift: how far the features and scores of a version have moved from those it was trained on.

Three things are measured: how the values are spread (population stability index over the bins of the reference, nulls
left out), how many are null, and how many are categories that the reference did not have, which the model cannot read
and takes for null. None of them says that the model is worse: `performance` does.
"""

from collections.abc import Iterator

from attrs import frozen

from charkha.bundles.profile import Profile, ProfileMismatch, ProfileShape
from charkha.monitoring.findings import Finding, Kind
from charkha.monitoring.psi import psi, psi_interval
from charkha.monitoring.shares import share_rise
from charkha.spec.policies import Monitors

__all__ = ["Watched", "drift_findings", "psi"]


@frozen
class Watched:
    """Whose drift is measured, when (µs since 1970 UTC), and from when it is worth attention."""

    model: str
    version: str
    time_us: int
    monitors: Monitors


@frozen
class _Counts:
    """The rows of one feature, or of the score, in the bins of its shape; the last bin is null."""

    name: str
    reference: tuple[int, ...]
    current: tuple[int, ...]


def drift_findings(watched: Watched, shape: ProfileShape, reference: Profile, current: Profile) -> list[Finding]:
    """Return a finding for the score and each feature, and one more for each feature's nulls and unseen categories.

    shape, reference: of the version's bundle. current: the profile of a window, of the same shape. A distribution is
    left out when all its values are null on either side. Raises ProfileMismatch when a profile has another shape.
    """
    for profile in (reference, current):
        if profile.shape != shape.fingerprint:
            raise ProfileMismatch(f"expected a profile of shape {shape.fingerprint}, got one of {profile.shape}")
    if not reference.rows or not current.rows:
        return []
    texts = {part.name for part in shape.text}
    tenths = shape.score.by_tenths
    found = list(_spread(watched, _Counts("score", tenths(reference.scores), tenths(current.scores))))
    for name in (*(part.name for part in shape.numeric), *(part.name for part in shape.text)):
        counts = _Counts(name, *(shape.by_tenths(name, of.features[name]) for of in (reference, current)))
        found += _spread(watched, counts)
        found += _nulls(watched, counts)
        found += _unseen(watched, counts) if name in texts else ()
    return found


def _spread(watched: Watched, counts: _Counts) -> Iterator[Finding]:
    reference, current = counts.reference[:-1], counts.current[:-1]
    if not sum(reference) or not sum(current):
        return
    index, limit = psi_interval(reference, current), watched.monitors.psi
    drifted = index.low > limit
    yield Finding(
        time_us=watched.time_us,
        model=watched.model,
        version=watched.version,
        kind="drift",
        subject=counts.name,
        value=index.value,
        low=index.low,
        high=index.high,
        threshold=limit,
        significant=drifted,
        message=(
            f"{counts.name} {'has' if drifted else 'has not'} drifted: PSI {index.value:.2f} (95 % {index.low:.2f} to "
            f"{index.high:.2f}) over {sum(current):,} values, limit {limit:g}"
        ),
    )


def _nulls(watched: Watched, counts: _Counts) -> Iterator[Finding]:
    sizes = (counts.current[-1], sum(counts.current), counts.reference[-1], sum(counts.reference))
    if sizes[1] and sizes[3]:  # features may be logged of a share of the rows, and so of none
        yield _risen(watched, "nulls", counts.name, "is null", sizes)


def _unseen(watched: Watched, counts: _Counts) -> Iterator[Finding]:
    sizes = (counts.current[-2], sum(counts.current[:-1]), counts.reference[-2], sum(counts.reference[:-1]))
    if sizes[1] and sizes[3]:
        yield _risen(watched, "unseen", counts.name, "is a category that is rare or new", sizes)


def _risen(watched: Watched, kind: Kind, name: str, what: str, sizes: tuple[int, int, int, int]) -> Finding:
    """Return the finding of a share's rise. sizes: hits and rows now, hits and rows of the reference."""
    rise, limit = share_rise(*sizes), watched.monitors.null_rise
    return Finding(
        time_us=watched.time_us,
        model=watched.model,
        version=watched.version,
        kind=kind,
        subject=name,
        value=rise.value,
        low=rise.low,
        high=rise.high,
        threshold=limit,
        significant=rise.low > limit,
        message=(
            f"{name} {what} in {rise.now:.1%} of {sizes[1]:,} rows, against {rise.reference:.1%} in training: "
            f"{rise.value:+.1%} (95 % {rise.low:+.1%} to {rise.high:+.1%}), limit {limit:+.1%}"
        ),
    )
