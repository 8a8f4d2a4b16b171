"""Retention: predictions of days that are kept no longer go, and the labels of what has gone, and the vitals.

A label goes when it has been known for as long, unless its prediction is kept. Its id says when that was.
"""

from collections.abc import Iterator

import polars as pl
from attrs import frozen

from charkha.monitoring.collect import collected_until, labels_table, predictions_table
from charkha.monitoring.logged import archive_of, nobody_reads
from charkha.monitoring.parts import day_of, parse_part
from charkha.monitoring.stretches import records_of, seal_begun_before
from charkha.serving.labels import decode_labels, label_stream, labels_known_at
from charkha.serving.prediction_ids import time_of_ids
from charkha.serving.vitals_log import vitals_at, vitals_stream
from charkha.spec.durations import DAY_US
from charkha.spec.model import Model
from charkha.spec.retention import keep_days
from charkha.storage.home import Home
from charkha.storage.locks import locked
from charkha.storage.log import Sealed

# Labels and vitals have no compact form: the log keeps them, in stretches of so long, and drops these whole.
LABELS_TOGETHER_US = 7 * DAY_US


@frozen
class Pruned:
    """What was removed: rows of predictions, and labels, of days before `before`.

    waits: nothing was, for the predictions are being read.
    """

    rows: int
    labels: int
    before: str
    waits: bool


def prune(home: Home, model: Model, now_us: int) -> Pruned:
    """Remove the compact predictions of days beyond retention, what was collected of them, and labels.

    Profiles, which are counts, stay. Waits while another process compacts or collects.
    """
    before, before_us = first_kept_day(model, now_us), _first_kept_us(model, now_us)
    with (
        locked(home.folder / ".compacting"),
        locked(home.folder / ".collecting"),
        nobody_reads(home) as free,
    ):
        if not free:
            return Pruned(0, 0, before, waits=True)
        table = predictions_table(model.name)
        for name in home.tables.parts(table):
            if parse_part(name).day < before:
                home.tables.delete(table, name)
        rows = archive_of(home, model.name).prune(before)
        _prune_vitals(home, model.name, before_us, now_us)
        return Pruned(rows, _prune_labels(home, model.name, before_us, now_us), before, waits=False)


def first_kept_day(model: Model, now_us: int) -> str:
    """Return the first day (UTC) whose predictions are kept."""
    return day_of(_first_kept_us(model, now_us))


def _first_kept_us(model: Model, now_us: int) -> int:
    return max(0, now_us - keep_days(model) * DAY_US) // DAY_US * DAY_US


def _prune_labels(home: Home, model: str, before_us: int, now_us: int) -> int:
    """Remove labels whose predictions are gone from their table and from the log; return how many the table had."""
    table, stream, removed = labels_table(model), label_stream(model), 0
    for name in home.tables.parts(table):
        if parse_part(name).day >= day_of(before_us):
            continue
        labels = home.tables.read(table, name)
        if _are_beyond(labels, before_us, now_us):
            home.tables.delete(table, name)
            removed += labels.height
    seal_begun_before(home.log, stream, now_us - LABELS_TOGETHER_US, labels_known_at)
    for sealed in _labels_beyond(home, model, before_us, now_us):
        home.log.drop(stream, sealed)
    return removed


def _prune_vitals(home: Home, model: str, before_us: int, now_us: int) -> None:
    """Remove the stretches of vitals of days beyond retention: of a partition all up to the first that stays."""
    stream, stays = vitals_stream(model), set[str]()
    seal_begun_before(home.log, stream, now_us - LABELS_TOGETHER_US, vitals_at)
    for sealed in home.log.sealed(stream):
        times = (vitals_at(record.payload) for record in records_of(home.log, stream, sealed))
        if sealed.partition not in stays and all(time_us < before_us for time_us in times):
            home.log.drop(stream, sealed)
        else:
            stays.add(sealed.partition)


def _labels_beyond(home: Home, model: str, before_us: int, now_us: int) -> Iterator[Sealed]:
    """Yield the stretches of labels that go: of a partition all up to the first with a label that stays."""
    stream = label_stream(model)
    collected, stays = collected_until(home, stream), set[str]()
    for sealed in home.log.sealed(stream):
        if sealed.partition in stays:
            continue
        batches = (decode_labels([record]) for record in records_of(home.log, stream, sealed))
        is_collected = sealed.end <= collected.get(sealed.partition, 0)
        if is_collected and all(_are_beyond(labels, before_us, now_us) for labels in batches):
            yield sealed
        else:
            stays.add(sealed.partition)


def _are_beyond(labels: pl.DataFrame, before_us: int, now_us: int) -> bool:
    """Say whether all labels have been known for long enough, and their predictions are not kept.

    An id of the future is none of ours: nobody holds labels for ever by making such up.
    """
    is_kept = time_of_ids(pl.col("id")).is_between(before_us, now_us)
    return labels.filter((pl.col("_label_known_us") >= before_us) | is_kept).is_empty()
