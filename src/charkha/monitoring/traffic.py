"""What a model served, what became true of it and how it was served: the one object that diagnosis reads.

The live path reads it from the home (`monitoring.recorded`), a drill bends it (`operations.drills`), and everything
after it, profiles first, cannot tell which of the two it has.
"""

from collections.abc import Mapping

import polars as pl
from attrs import field, frozen

from charkha.monitoring.changes import Change
from charkha.monitoring.performance import Span
from charkha.serving.prediction_frames import FEATURES_LOGGED, REQUEST_PREFIX

AGE_PREFIX = "age."

PREDICTIONS = pl.Schema(
    {
        "id": pl.String(),
        "_at_us": pl.Int64(),
        "version": pl.String(),
        "role": pl.String(),
        "replica": pl.String(),
        "bundle": pl.String(),
        "score": pl.Float64(),
        "decision": pl.Boolean(),
        "fallback": pl.String(),
        "latency_us": pl.Int64(),
        FEATURES_LOGGED: pl.Boolean(),
    }
)
LABELS = pl.Schema({"id": pl.String(), "label": pl.Float64(), "_label_known_us": pl.Int64()})
ARRIVALS = pl.Schema(
    {
        "source": pl.String(),
        "_hour_us": pl.Int64(),
        "rows": pl.Int64(),
        "late_s": pl.Float64(),
        "duplicates": pl.Int64(),
    }
)
VITALS = pl.Schema(
    {
        "_minute_us": pl.Int64(),
        "replica": pl.String(),
        "requests": pl.Int64(),
        "errors": pl.Int64(),
        "sheds": pl.Int64(),
        "timeouts": pl.Int64(),
        "latency_ms_p50": pl.Float64(),
        "latency_ms_p95": pl.Float64(),
        "clock_ahead_us": pl.Int64(),
    }
)
RECOMPUTED = pl.Schema({"id": pl.String(), "version": pl.String()})
FEATURE_TYPES = (pl.Float64(), pl.String())


class BadTraffic(ValueError):
    """A frame of traffic that is not of its schema; `frame` and `column` say where."""

    def __init__(self, frame: str, column: str, expected: str, found: str) -> None:
        self.frame, self.column, self.expected, self.found = frame, column, expected, found
        super().__init__(
            f"{frame}, column {column!r}: expected {expected}, got {found}. Make it with `with_columns`, or leave the "
            "frame empty where its evidence is missing: monitoring.traffic.empty_traffic has all columns"
        )


@frozen(eq=False)
class Traffic:
    """What one model served over a span, what became true of it, and how it was served.

    predictions: one row per version that scored, with the columns of PREDICTIONS (`replica` and `bundle`, the digest of
        the artifact that answered, null where they were not logged), `request.<field>` for each field of a request,
        every feature by full name (Float64 or String; null where `features_logged` is False) and `age.<view>`, Float64
        seconds: how old the newest was that the state held of its key; null where it held nothing, and of views of a
        source without times.
    labels: one row per label record; of one id, later ones correct earlier ones.
    arrivals: rows of a source by the hour in which they became known; late_s: the mean of known minus event time;
        duplicates: rows that were there already, or came twice.
    vitals: what replicas told of themselves, minute by minute.
    recomputed: id, version and every feature by full name as recomputed from the sources, of a sample of predictions.
    changes: in the order of their times.
    total: how many predictions there were, where `predictions` are a sample of them, as `monitoring.drawn` takes one,
        and labels are theirs; None where they are all.

    A frame may be empty: its evidence is missing; its columns are there. Raises BadTraffic.
    """

    model: str
    span: Span
    predictions: pl.DataFrame = field(repr=False)
    labels: pl.DataFrame = field(repr=False)
    arrivals: pl.DataFrame = field(repr=False)
    vitals: pl.DataFrame = field(repr=False)
    recomputed: pl.DataFrame = field(repr=False)
    changes: tuple[Change, ...] = ()
    total: int | None = None

    def __attrs_post_init__(self) -> None:
        _check("predictions", self.predictions, PREDICTIONS)
        _check("labels", self.labels, LABELS)
        _check("arrivals", self.arrivals, ARRIVALS)
        _check("vitals", self.vitals, VITALS)
        _check("recomputed", self.recomputed, RECOMPUTED)
        _check_features("predictions", self.predictions, self.features)
        for view in self.views:
            _expect("predictions", self.predictions.schema, AGE_PREFIX + view, pl.Float64())
        for name in self.features:
            _expect("recomputed", self.recomputed.schema, name, self.predictions.schema[name])

    @property
    def weight(self) -> float:
        """How many predictions each that is here stands for; 1 where they are all."""
        return self.total / self.predictions.height if self.total and self.predictions.height else 1.0

    @property
    def features(self) -> tuple[str, ...]:
        """The full names of the features, in the order of the columns."""
        return tuple(name for name in self.predictions.columns if _is_feature(name))

    @property
    def request_fields(self) -> tuple[str, ...]:
        """The names of the request's fields, without their prefix."""
        return _after(REQUEST_PREFIX, self.predictions)

    @property
    def views(self) -> tuple[str, ...]:
        """The names of the views whose ages there are."""
        return _after(AGE_PREFIX, self.predictions)


def empty_traffic(
    model: str, span: Span, *, features: Mapping[str, pl.DataType], request: Mapping[str, pl.DataType], views: list[str]
) -> Traffic:
    """Return traffic of a model that served nothing: every frame with its columns and no row.

    features: full name → Float64 or String. request: field → type.
    """
    own = {REQUEST_PREFIX + name: kind for name, kind in request.items()}
    ages = {AGE_PREFIX + view: pl.Float64() for view in views}
    return Traffic(
        model=model,
        span=span,
        predictions=pl.DataFrame(schema={**PREDICTIONS, **own, **features, **ages}),
        labels=pl.DataFrame(schema=LABELS),
        arrivals=pl.DataFrame(schema=ARRIVALS),
        vitals=pl.DataFrame(schema=VITALS),
        recomputed=pl.DataFrame(schema={**RECOMPUTED, **features}),
    )


def _is_feature(name: str) -> bool:
    return name not in PREDICTIONS and not name.startswith((REQUEST_PREFIX, AGE_PREFIX))


def _after(prefix: str, frame: pl.DataFrame) -> tuple[str, ...]:
    return tuple(name.removeprefix(prefix) for name in frame.columns if name.startswith(prefix))


def _check(frame: str, found: pl.DataFrame, expected: pl.Schema) -> None:
    for name, kind in expected.items():
        _expect(frame, found.schema, name, kind)


def _expect(frame: str, found: pl.Schema, name: str, kind: pl.DataType) -> None:
    if name not in found:
        raise BadTraffic(frame, name, str(kind), "no such column")
    if found[name] != kind:
        raise BadTraffic(frame, name, str(kind), str(found[name]))


def _check_features(frame: str, found: pl.DataFrame, names: tuple[str, ...]) -> None:
    for name in names:
        if "." not in name:
            raise BadTraffic(frame, name, "the full name of a feature, `view.feature`", "a column of no meaning here")
        if found.schema[name] not in FEATURE_TYPES:
            raise BadTraffic(frame, name, "Float64 or String, as every feature is", str(found.schema[name]))
