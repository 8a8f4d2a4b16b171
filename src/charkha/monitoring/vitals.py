"""How the workers did that served a model, as a table: one row per minute and replica."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import polars as pl

from charkha.monitoring.performance import Span
from charkha.serving.latency_bins import quantile_ms
from charkha.serving.observer import STAGES
from charkha.serving.vitals_log import UnreadableVitals, VitalsRecord, decode_vitals, vitals_stream
from charkha.storage.home import Home
from charkha.storage.locks import locked
from charkha.storage.log import Record

# Of the whole, and of its parts.
LATENCIES = ("latency", *STAGES)
_BINS = pl.List(pl.Struct({"bin": pl.Int64(), "count": pl.Int64()}))
_COUNTS = ("requests", "errors", "refusals", "sheds", "timeouts", "batches", "predictions", "fallbacks")
VITALS_SCHEMA = pl.Schema(
    {
        "_minute_us": pl.Int64(),
        "replica": pl.String(),
        **dict.fromkeys(_COUNTS, pl.Int64()),
        **{f"{name}_ms_{share}": pl.Float64() for name in LATENCIES for share in ("p50", "p95")},
        **{f"{name}_bins": _BINS for name in LATENCIES},
        "fallback_causes": pl.List(pl.Struct({"cause": pl.String(), "count": pl.Int64()})),
        "clock_ahead_us": pl.Int64(),
        "clock_behind_us": pl.Int64(),
    }
)
_SHED, _TIMEOUT = 429, 504


def read_vitals(home: Home, model: str, span: Span) -> pl.DataFrame:
    """Return the vitals of the minutes that begin within a span, of each replica, by minute and replica.

    Columns: those of VITALS_SCHEMA. requests: calls for predictions that were let in: those with a key, where keys are
    asked for. Of them sheds had the status 429, timeouts 504, errors any other 5xx, refusals any other 4xx. batches,
    predictions: what was answered, also where no call came by HTTP or gRPC. fallbacks: predictions, `fallback_causes`
    why. <part>_ms_p50, _p95: of the batches of the minute; <part>_bins: their counts, which add up over any rows
    (`latency_bins`). clock_ahead_us, clock_behind_us: the farthest of the minute; see `VitalsRecord`.
    A minute that a replica has no row of, it did not live through. Raises UnreadableVitals, naming partition and
    offset, and LogCorrupt.
    """
    found = defaultdict[tuple[int, str], list[VitalsRecord]](list)
    with locked(home.folder / ".reading", shared=True):  # for retention removes what nobody reads
        for record in _within(home.log.read(vitals_stream(model)), span):
            found[record.minute_us, record.replica].append(record)
    rows = [_row(*key, records) for key, records in sorted(found.items())]
    return pl.DataFrame(rows, schema=VITALS_SCHEMA)


def _within(records: Iterable[Record], span: Span) -> Iterator[VitalsRecord]:
    for record in records:
        try:
            vitals = decode_vitals(record.payload)
        except UnreadableVitals as error:
            where = f"partition '{record.partition}', offset {record.start}"
            way_out = "Read the log with the version of Charkha that wrote it, or a newer one"
            raise UnreadableVitals(f"{where}: expected vitals, got {error}. {way_out}") from error
        if span.since_us <= vitals.minute_us < span.until_us:
            yield vitals


def _row(minute_us: int, replica: str, records: Sequence[VitalsRecord]) -> dict[str, Any]:
    """Return one minute of a replica, which has several records of it where it was replaced meanwhile."""
    statuses, causes = _sum(each.statuses for each in records), _sum(each.fallbacks for each in records)
    ahead = [each.clock_ahead_us for each in records if each.clock_ahead_us is not None]
    row: dict[str, Any] = {
        "_minute_us": minute_us,
        "replica": replica,
        "requests": statuses.total(),
        "errors": sum(count for status, count in statuses.items() if status >= 500 and status != _TIMEOUT),
        "refusals": sum(count for status, count in statuses.items() if 400 <= status < 500 and status != _SHED),
        "sheds": statuses[_SHED],
        "timeouts": statuses[_TIMEOUT],
        "batches": sum(each.batches for each in records),
        "predictions": sum(each.rows for each in records),
        "fallbacks": causes.total(),
        "fallback_causes": [{"cause": cause, "count": count} for cause, count in sorted(causes.items())],
        "clock_ahead_us": max(ahead, key=abs, default=None),
        "clock_behind_us": max(each.clock_behind_us for each in records),
    }
    for number, name in enumerate(LATENCIES):
        bins = _sum(each.stages[number] for each in records)
        row |= {f"{name}_ms_p50": quantile_ms(bins, 0.5), f"{name}_ms_p95": quantile_ms(bins, 0.95)}
        row[f"{name}_bins"] = [{"bin": number, "count": count} for number, count in sorted(bins.items())]
    return row


def _sum(counts: Iterable[dict[Any, int]]) -> Counter[Any]:
    found: Counter[Any] = Counter()
    for each in counts:
        found.update(each)
    return found
