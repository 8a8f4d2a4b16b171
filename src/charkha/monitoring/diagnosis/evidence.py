"""All that a diagnosis argues with: the case, what checks have found, and distributions before and since."""

from collections.abc import Iterable, Sequence
from functools import cached_property

import polars as pl
from attrs import frozen

from charkha.bundles.profile import NumericShape
from charkha.features.lineage import origins
from charkha.monitoring.diagnosis.before import Before
from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.checks.features import FeatureView
from charkha.monitoring.diagnosis.distributions import Distributions
from charkha.monitoring.diagnosis.signal import Signal
from charkha.monitoring.diagnosis.stores import Stillness, stillness
from charkha.monitoring.performance import Span
from charkha.spec.durations import DAY_US, HOUR_US

WEEK_US = 7 * DAY_US
# So many rows of a source show that it is fed.
FED = 3
# By which factor rows come later before they are called late.
LATER = 2.0


@frozen(eq=False, slots=False)
class Evidence:
    """What is known of a case."""

    case: Case
    signals: Sequence[Signal]
    view: FeatureView

    def of(self, *checks: str) -> list[Signal]:
        """Return the signals of some checks, the strongest first."""
        found = [signal for signal in self.signals if signal.check in checks]
        return sorted(found, key=lambda signal: -signal.evidence)

    @cached_property
    def origins(self) -> dict[str, tuple[tuple[str, str], ...]]:
        """What fields each feature is made of; see `features.lineage.origins`."""
        return origins(self.case.plan)

    def view_of(self, feature: str) -> str | None:
        """Return the name of the view that a feature is of; None for features of the request."""
        owner = feature.partition(".")[0]
        return owner if any(view.name == owner for view in self.case.plan.views) else None

    def is_text(self, feature: str) -> bool:
        """Say whether a feature is a category, not a number."""
        return not isinstance(self.view.shape.parts[feature], NumericShape)

    def is_yes_or_no(self, name: str) -> bool:
        """Say whether a field of a source, such as "loans.defaulted", is true or false, and has no unit."""
        source, _, field = name.partition(".")
        sources = (view.source for view in self.case.plan.views if view.source.name == source)
        return any(each.fields.get(field) is bool for each in sources)

    def numbers_of(self, view: str) -> list[str]:
        """Return the full names of the numbers of a view."""
        return [name for name in self.view.shape.parts if self.view_of(name) == view and not self.is_text(name)]

    def source_of(self, view: str) -> str:
        """Return the name of a view's source."""
        return next(each.source.name for each in self.case.plan.views if each.name == view)

    def weeks_before(self, began_us: int) -> list[Span]:
        """Return the time since an onset as it was one, two, three and four weeks before, where it was healthy."""
        since, healthy = self.since(began_us), self.case.healthy
        weeks = (Span(since.since_us - k * WEEK_US, since.until_us - k * WEEK_US) for k in range(1, 5))
        return [week for week in weeks if week.since_us >= healthy.since_us and week.until_us <= began_us]

    def arrived(self, source: str, began_us: int) -> tuple[int, float]:
        """Return how many rows of a source came since an onset, and in as long a time of the weeks before."""
        rows, at = self.case.traffic.arrivals.filter(pl.col("source") == source), pl.col("_hour_us")

        def came(span: Span) -> int:
            return int(rows.filter(at.is_between(span.since_us, span.until_us, closed="left"))["rows"].sum())

        weeks = self.weeks_before(began_us)
        return came(self.since(began_us)), sum(map(came, weeks)) / len(weeks) if weeks else 0.0

    def comes_late(self, source: str, began_us: int) -> bool:
        """Say whether rows of a source become known hours after their time since an onset, as they did not before."""
        healthy, since = (self._lateness(source, span) for span in (self.case.healthy, self.since(began_us)))
        return since - healthy >= HOUR_US / 1e6 and since >= LATER * healthy

    def _lateness(self, source: str, span: Span) -> float:
        """Return how long after their time rows become known, on average (s)."""
        inside = pl.col("_hour_us").is_between(span.since_us, span.until_us, closed="left")
        rows = self.case.traffic.arrivals.filter(pl.col("source") == source, inside).drop_nulls("late_s")
        count = float(rows["rows"].sum())
        return float((rows["late_s"] * rows["rows"]).sum()) / count if count else 0.0

    def asked(self, span: Span) -> pl.DataFrame:
        """Return the questions of a span, shadows left out."""
        inside = pl.col("_at_us").is_between(span.since_us, span.until_us, closed="left")
        return self.case.traffic.predictions.filter(inside, pl.col("role") != "shadow")

    def since(self, began_us: int) -> Span:
        """Return the time from an onset to the end of what is watched."""
        return Span(began_us, self.case.watched.until_us)

    def is_fed(self, source: str, began_us: int) -> bool:
        """Say whether rows of a source came since an onset, and not much fewer than in the weeks before."""
        came, usual = self.arrived(source, began_us)
        return came >= FED and came >= usual / 2

    def stillness(self, view: str) -> Stillness | None:
        """Return what questions see of the store of a view; None where ages are not logged."""
        if view not in self._stillness:
            (found,) = (each for each in self.case.plan.views if each.name == view)
            self._stillness[view] = stillness(self.case, found)
        return self._stillness[view]

    @cached_property
    def _stillness(self) -> dict[str, Stillness | None]:
        return {}

    @cached_property
    def values(self) -> Distributions:
        """How the values of features lie."""
        return Distributions(self.case, self.view)

    @cached_property
    def before(self) -> Before:
        """What the healthy history tells of features."""
        return Before(self.case, self.view)


def earliest(signals: Iterable[Signal]) -> tuple[int, int, int]:
    """Return since when all of this is so: the likeliest onset of the strongest signal, and the interval of it (µs)."""
    strongest = max(signals, key=lambda signal: signal.evidence)
    return strongest.began_us, strongest.earliest_us, strongest.latest_us
