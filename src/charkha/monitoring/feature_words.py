"""A feature in words: what it is, over which rows, and where its window's edges lie."""

from charkha.spec.durations import format_duration
from charkha.spec.views import AggregateKind, FeatureView, Window

_SAYS: dict[AggregateKind, str] = {
    "count": "how many rows there are",
    "sum": "the sum of {column}",
    "mean": "the mean of {column}",
    "min": "the smallest {column}",
    "max": "the largest {column}",
    "last": "the {column} that became known last",
    "variance": "the sample variance of {column}",
}
_NOTHING: dict[AggregateKind, str] = {
    "count": "0 when there is none, null for a null key",
    "variance": "null when fewer than two rows have a value",
}
_OTHERWISE = "null when no row has a value"


def window_in_words(view: FeatureView, window: Window) -> list[str]:
    """Return what a windowed feature is, in sentences of a line each."""
    size, hop = format_duration(window.size_us), format_duration(window.hop_us)
    says = _SAYS[window.kind].format(column=window.column)
    return [
        f"{says}, of the rows of {view.source.name} of one {_entity(view)} that became known in the last {size}",
        f"asked for at t, it covers known times from (floor(t / {hop}) - {window.hops}) * {hop} to t, both included: "
        f"its head is exact, its tail moves in hops of {hop}",
        f"{_NOTHING.get(window.kind, _OTHERWISE)}; corrections leave it as it is",
    ]


def latest_in_words(view: FeatureView, column: str) -> list[str]:
    """Return what a latest value is, in sentences of a line each."""
    age = f"null when that is older than {view.max_age}" if view.max_age else "however old that is"
    return [
        f"{column} in the newest row of {view.source.name} of one {_entity(view)}, by event time among those known",
        f"{age}; a correction is taken when it becomes known",
    ]


def request_in_words(expression: str, reads: tuple[str, ...]) -> list[str]:
    """Return what a request feature is, in sentences of a line each."""
    of = f"from {', '.join(reads)}" if reads else "from nothing"
    return [f"computed when a prediction is asked for, {of}", expression]


def _entity(view: FeatureView) -> str:
    keys = ", ".join(view.entity.keys)
    return view.entity.name if keys == view.entity.name else f"{view.entity.name} ({keys})"
