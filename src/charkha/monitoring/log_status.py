"""How much of what was predicted is kept, and in which form."""

from itertools import groupby

from attrs import frozen

from charkha.clock import to_iso
from charkha.monitoring.logged import archive_of
from charkha.monitoring.prune import first_kept_day
from charkha.serving.prediction_log import predicted_at, prediction_stream
from charkha.spec.model import Model
from charkha.spec.retention import keep_days
from charkha.storage.home import Home


@frozen
class CompactDay:
    """A day (UTC) in Parquet."""

    day: str
    rows: int
    bytes: int


@frozen
class LogStatus:
    """What is kept of one model's predictions.

    days: those that are compact, the oldest first. segments: sealed ones that are still in the log. log_bytes: of the
    log, what is not sealed as well. log_since: when the first prediction of it was made. prunable_rows: what retention
    would remove now, of days before `kept_from`.
    """

    model: str
    days: tuple[CompactDay, ...]
    segments: int
    log_bytes: int
    log_since: str | None
    keep_days: int
    kept_from: str
    prunable_rows: int


def log_status(home: Home, model: Model, now_us: int) -> LogStatus:
    """Return what is kept of a model's predictions. Changes nothing."""
    stream, archive = prediction_stream(model.name), archive_of(home, model.name)
    counted: dict[str, int] = {}
    for stretch in archive.stretches():
        for day, rows in stretch.rows.items():
            counted[day] = counted.get(day, 0) + rows
    files = sorted((day, path.stat().st_size) for path, day in archive.files().items())
    sizes = {day: sum(size for _, size in group) for day, group in groupby(files, key=lambda file: file[0])}
    sealed, ends, kept_from = home.log.sealed(stream), home.log.end(stream), first_kept_day(model, now_us)
    begins = {stretch.partition: stretch.end for stretch in archive.stretches()}
    first = next(home.log.read(stream), None)
    return LogStatus(
        model=model.name,
        days=tuple(CompactDay(day, counted[day], sizes.get(day, 0)) for day in sorted(counted)),
        segments=len(sealed),
        log_bytes=sum(end - begins.get(partition, 0) for partition, end in ends.items()),
        log_since=None if first is None else to_iso(predicted_at(first.payload)),
        keep_days=keep_days(model),
        kept_from=kept_from,
        prunable_rows=sum(rows for day, rows in counted.items() if day < kept_from),
    )
