"""What a fault hits: a field of a source or of the request, a feature, a view, a segment, a replica."""

import re
from collections.abc import Callable, Iterator

import polars as pl
from attrs import frozen

from charkha.features.lineage import derived_from, downstream, names_of_view
from charkha.features.plan import FeaturePlan
from charkha.features.seen import BoolArray
from charkha.monitoring.traffic import Traffic
from charkha.serving.prediction_frames import REQUEST_PREFIX

Subjects = Callable[[Traffic, FeaturePlan], list[str]]

_SUBJECT = re.compile(r"(?P<name>[^\[\]=]+)(?:\[(?P<segment>[^\[\]]+=[^\[\]]*)\])?")
# A field of the request with more values than this makes no segments.
MOST_SEGMENTS = 60
# One with more than this has no categories: it tells things apart.
MOST_CATEGORIES = 300


@frozen
class Target:
    """A subject, taken apart: "flights.arr_delay[carrier=UA]" is that field in the segment "carrier=UA"."""

    name: str
    segment: str | None = None

    @classmethod
    def of(cls, subject: str) -> "Target":
        """Return the target of a subject."""
        match = _SUBJECT.fullmatch(subject)
        if match is None or "=" in match["name"]:
            return cls(subject, subject if "=" in subject else None)
        return cls(match["name"], match["segment"])

    @property
    def request_field(self) -> str | None:
        """The field of the request that is hit, if it is one."""
        return self.name.removeprefix(REQUEST_PREFIX) if self.name.startswith(REQUEST_PREFIX) else None

    def names(self, plan: FeaturePlan) -> tuple[str, ...]:
        """Return all names under which it may be called: itself, its source, views and features."""
        return tuple(dict.fromkeys(self._names(plan)))

    def _names(self, plan: FeaturePlan) -> Iterator[str]:
        yield self.name
        if self.segment is not None:
            yield self.segment
        if self.request_field is not None:
            yield self.request_field
            yield from downstream(plan, [self.request_field])
            return
        owner, _, column = self.name.partition(".")
        found = derived_from(plan, owner, column)
        names = [each.feature for each in found] or names_of_view(plan, self.name) or [self.name]
        views = [view for view in plan.views if view.name in {owner, *(each.view.name for each in found)}]
        of_source = [view for view in plan.views if view.source.name == self.name]
        for view in (*views, *of_source):
            yield view.source.name
            yield view.name
        for view in of_source:
            yield from names_of_view(plan, view.name)
        yield from names
        yield from downstream(plan, names)


def in_segment(rows: pl.DataFrame, segment: str | None) -> BoolArray:
    """Return which rows are in a segment such as "carrier=UA"; all where there is none."""
    if segment is None:
        return rows.select(pl.repeat(value=True, n=pl.len()).alias("all"))["all"].to_numpy()
    column, _, value = segment.partition("=")
    return (rows[REQUEST_PREFIX + column].cast(pl.String) == value).fill_null(value=False).to_numpy()


def nothing(traffic: Traffic, plan: FeaturePlan) -> list[str]:
    """No subject: all of the traffic is hit."""
    return []


def source_fields(traffic: Traffic, plan: FeaturePlan) -> list[str]:
    """Fields of sources of which a view makes a feature that scales with them, and numbers of the request."""
    return [*_source_fields(plan, scaling=True), *_request_fields(traffic, plan, (float,))]


def any_fields(traffic: Traffic, plan: FeaturePlan) -> list[str]:
    """Fields of sources that a view reads, and fields of the request that a feature reads."""
    return [*_source_fields(plan, scaling=False), *_request_fields(traffic, plan, (float, str))]


def categories(traffic: Traffic, plan: FeaturePlan) -> list[str]:
    """Texts and whole numbers of the request that a feature or a view's key reads, and that have few values."""
    names = [*_request_fields(traffic, plan, (str,)), *_request_fields(traffic, plan, (int,))]
    return [name for name in names if traffic.predictions[name].n_unique() <= MOST_CATEGORIES]


def views(traffic: Traffic, plan: FeaturePlan) -> list[str]:
    """Views whose rows have times."""
    return [view.name for view in plan.views if not view.source.static and names_of_view(plan, view.name)]


def sources(traffic: Traffic, plan: FeaturePlan) -> list[str]:
    """Sources of views, whose rows have times."""
    return list(dict.fromkeys(view.source.name for view in plan.views if not view.source.static))


def numeric_features(traffic: Traffic, plan: FeaturePlan) -> list[str]:
    """Features that are numbers and have more than two values."""
    numbers = [name for name in traffic.features if traffic.predictions.schema[name] == pl.Float64()]
    sample = traffic.predictions.select(numbers).head(5_000)
    return [name for name in numbers if sample[name].n_unique() > 3]


def segments(traffic: Traffic, plan: FeaturePlan) -> list[str]:
    """Segments of the request's fields with few values, that hold from a twentieth to a half of the rows."""
    found = []
    for name in traffic.request_fields:
        values = traffic.predictions[REQUEST_PREFIX + name]
        if values.dtype.is_float() or values.dtype.is_temporal() or values.n_unique() > MOST_SEGMENTS:
            continue
        counts = values.drop_nulls().value_counts(sort=True)
        shares = counts.filter(pl.col("count").is_between(0.05 * values.len(), 0.5 * values.len()))
        found += [f"{name}={value}" for value in shares[values.name].cast(pl.String)]
    return found


def replicas(traffic: Traffic, plan: FeaturePlan) -> list[str]:
    """Replicas that are known by name."""
    return sorted(traffic.predictions["replica"].drop_nulls().unique())


def _source_fields(plan: FeaturePlan, *, scaling: bool) -> list[str]:
    found = [
        f"{view.source.name}.{column}"
        for view in plan.views
        for column in view.source.fields
        if any(each.power or not scaling for each in derived_from(plan, view.source.name, column))
        and (not scaling or view.source.fields[column] in (int, float))
    ]
    return list(dict.fromkeys(found))


def _request_fields(traffic: Traffic, plan: FeaturePlan, kinds: tuple[type, ...]) -> list[str]:
    keys = {key for view in plan.views for key in view.entity.keys}
    read = [
        name for name in traffic.request_fields if name in plan.request and (name in keys or downstream(plan, [name]))
    ]
    names = [REQUEST_PREFIX + name for name in read if plan.request[name] in kinds]
    return [name for name in names if traffic.predictions[name].n_unique() > 1]
