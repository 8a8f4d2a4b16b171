"""A feature in words: what it is, over which rows, and where its window's edges lie."""

from charkha.spec.aggregates import ALL_US, AggregateKind, Measure, Ratio, Window
from charkha.spec.durations import format_duration
from charkha.spec.views import FeatureView

_SAYS: dict[AggregateKind, str] = {
    "count": "how many rows there are",
    "sum": "the sum of {column}",
    "mean": "the mean of {column}",
    "min": "the smallest {column}",
    "max": "the largest {column}",
    "first": "the {column} that became known first",
    "last": "the {column} that became known last",
    "last_k": "the {k} values of {column} that became known last, the newest first",
    "variance": "the sample variance of {column}",
    "std": "the sample standard deviation of {column}",
    "distinct": "about how many different values of {column} there are",
    "quantile": "about the quantiles {q} of {column}",
    "top_k": "the {k} most frequent values of {column}",
    "time_since_last": "how many seconds ago the newest row became known",
    "decayed_sum": "the sum of {column}, each value half as much every {half_life}",
}
# Of an aggregate that gives several values, what one of them is.
_ONE_OF: dict[AggregateKind, str] = {
    "quantile": "about the quantile {q} of {column}",
    "last_k": "the {place} newest value of {column}",
    "top_k": "the {place} most frequent value of {column}",
}
_NOTHING: dict[AggregateKind, str] = {
    "count": "0 when there is none, null for a null key",
    "distinct": "0 when no row has a value, null for a null key",
    "variance": "null when fewer than two rows have a value",
    "std": "null when fewer than two rows have a value",
    "time_since_last": "null when there is none",
}
_OTHERWISE = "null when no row has a value"


def window_in_words(view: FeatureView, window: Window, name: str | None = None) -> list[str]:
    """Return what a windowed feature is, in sentences of a line each. name: of several that the window has."""
    measure = window.measure
    one = window.names.index(name) if name is not None and len(window.names) > 1 else None
    rows = (
        f"{measure_in_words(measure, one)}, of the rows of {view.source.name} of one {_entity(view)} that became known"
    )
    nothing = f"{_NOTHING.get(measure.kind, _OTHERWISE)}; corrections leave it as it is"
    if window.size_us == ALL_US:
        return [f"{rows} at any time before", nothing]
    return [f"{rows} in the last {format_duration(window.size_us)}", f"asked for at t, it {_edges(window)}", nothing]


def _edges(window: Window) -> str:
    hop = format_duration(window.hop_us)
    return (
        f"covers known times from (floor(t / {hop}) - {window.hops}) * {hop} to t, both included: its head is exact, "
        f"its tail moves in hops of {hop}"
    )


def measure_in_words(measure: Measure, one: int | None = None) -> str:
    """Return what is summed up, of which rows, as part of a sentence. one: which of several values it gives."""
    says = _SAYS[measure.kind] if one is None else _ONE_OF.get(measure.kind, _SAYS[measure.kind])
    quantiles = ", ".join(f"{q:g}" for q in (measure.q if one is None else measure.q[one : one + 1]))
    place = "" if one is None else _place(one + 1)
    says = says.format(column=measure.column, k=measure.k, q=quantiles, half_life=measure.half_life, place=place)
    return says if measure.where is None else f"{says}, where {measure.where}"


def ratio_in_words(view: FeatureView, ratio: Ratio) -> list[str]:
    """Return what a ratio is, in sentences of a line each."""
    sides = ((side.measure, side.over[0]) for side in (ratio.numerator, ratio.denominator))
    above, below = (f"{measure_in_words(measure)} over {over}" for measure, over in sides)
    return [
        f"{above}, divided by {below}, of the rows of {view.source.name} of one {_entity(view)}",
        *(
            f"asked for at t, the {side} {_edges(window)}"
            for side, window in zip(("numerator", "denominator"), ratio.windows(), strict=True)
            if window.size_us != ALL_US
        ),
        "null when either is, or when the denominator is 0; corrections leave it as it is",
    ]


def latest_in_words(view: FeatureView, column: str) -> list[str]:
    """Return what a latest value is, in sentences of a line each."""
    if view.source.static:
        return [
            f"{column} in the row of {view.source.name} of one {_entity(view)}, known since always",
            "it never ages",
        ]
    age = f"null when that is older than {view.max_age}" if view.max_age else "however old that is"
    return [
        f"{column} in the newest row of {view.source.name} of one {_entity(view)}, by event time among those known",
        f"{age}; a correction is taken when it becomes known",
    ]


def request_in_words(expression: str, reads: tuple[str, ...], default: object = None) -> list[str]:
    """Return what a request feature is, in sentences of a line each. default: None where none is declared."""
    of = f"from {', '.join(reads)}" if reads else "from nothing"
    instead = [] if default is None else [f"{default!r} where it cannot be evaluated"]
    return [f"computed when a prediction is asked for, {of}", expression, *instead]


def _place(number: int) -> str:
    """Return a place among the first thirty-two: 1st, 2nd, …."""
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number not in (11, 12, 13) else "th"
    return f"{number}{ending}"


def _entity(view: FeatureView) -> str:
    keys = ", ".join(view.entity.keys)
    return view.entity.name if keys == view.entity.name else f"{view.entity.name} ({keys})"
