"""What a client tells of predictions, as the rows of a call: their labels, business metrics of them, or both."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from charkha.client.errors import WrongCall

# Business metric → a value for each prediction; None where it is not known.
Columns = Mapping[str, Iterable[float | None]]


def told_rows(ids: Iterable[str], labels: Iterable[Any] | None, metrics: Columns | None) -> list[dict[str, Any]]:
    """Return a row for each id. Where metrics are told, a label or a value that is None or NaN is left out.

    Raises WrongCall.
    """
    each = _listed(ids, "ids")
    truths = [None] * len(each) if labels is None else _column(labels, "labels", "label", len(each))
    if metrics is None:
        if labels is None:
            raise WrongCall("expected labels, metrics or both, got neither", "labels")
        return [{"id": id_, "label": label} for id_, label in zip(each, truths, strict=True)]
    if not isinstance(metrics, Mapping):
        said = f'expected names with a list for each, such as {{"margin": [12.5, 3.0]}}, got {metrics!r:.80}'
        raise WrongCall(said, "metrics")
    columns = {
        name: _column(values, f"metrics.{name}", f"value of {name!r}", len(each)) for name, values in metrics.items()
    }
    return [_row(id_, truths[place], columns, place) for place, id_ in enumerate(each)]


def _row(id_: str, label: Any, columns: Mapping[str, Sequence[Any]], place: int) -> dict[str, Any]:
    told = {name: values[place] for name, values in columns.items() if not _is_unknown(values[place])}
    truth = {} if _is_unknown(label) else {"label": label}
    return {"id": id_, **truth, **({"metrics": told} if told else {})}


def _is_unknown(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _column(values: Iterable[Any], field: str, noun: str, count: int) -> list[Any]:
    found = _listed(values, field)
    if len(found) != count:
        raise WrongCall(f"expected one {noun} for each of {count} ids, got {len(found)} {field}", field)
    return found


def _listed(values: Iterable[Any], field: str) -> list[Any]:
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise WrongCall(f"expected a list, of one for each prediction, got {values!r:.80}", field)
    return list(values)
