"""The log of predictions in its compact form: Parquet, by model and day, for as long as predictions are kept.

A stretch of the log becomes a file per day, `predictions/model=NAME/day=2013-04-01/part-PARTITION-START-END.parquet`,
and a record in `_stretches/` that says which; only with the record does it count. Names say what they hold, so that a
stretch that is written again after a crash takes its own place.
"""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
import polars as pl

from charkha.monitoring.parts import days
from charkha.spec.fields import TIME
from charkha.storage.flush import flush
from charkha.storage.log import Sealed

_RECORDS = "_stretches"
_DAY = re.compile(r"day=(\d{4}-\d\d-\d\d)")
# Names in the files, for who reads them without Charkha → names in our tables, where times are µs.
_TIMES = {"time": "_at_us", "seen": "_seen_us"}


class Stretch(msgspec.Struct, frozen=True):
    """What a stretch of the log became. rows: day → how many rows its file holds; without days that are pruned."""

    partition: str
    start: int
    end: int
    rows: dict[str, int]

    @property
    def name(self) -> str:
        """The name of its files, without a suffix."""
        return f"part-{self.partition}-{self.start:015d}-{self.end:015d}"


class Archive:
    """The compact predictions of one model. folder: of all models, `predictions` in the home."""

    def __init__(self, folder: Path, model: str) -> None:
        self._folder = folder / f"model={model}"

    def stretches(self) -> list[Stretch]:
        """Return what there is, by partition and in the order of the log."""
        records = (self._folder / _RECORDS).glob("*.json")
        found = (msgspec.json.decode(path.read_bytes(), type=Stretch) for path in records)
        return sorted(found, key=lambda stretch: (stretch.partition, stretch.start))

    def files(self) -> dict[Path, str]:
        """Return the files of rows, each with its day."""
        found = {path: _DAY.fullmatch(path.parent.name) for path in self._folder.glob("day=*/*.parquet")}
        return {path: match[1] for path, match in found.items() if match}

    def write(self, sealed: Sealed, rows: pl.DataFrame) -> Stretch:
        """Write the rows of a stretch; when this returns, the disk has them, and they count."""
        by_day = rows.with_columns(_day=days(pl.col("_at_us"))).partition_by("_day", as_dict=True, include_key=False)
        frames = {str(day): frame for (day,), frame in by_day.items()}
        stretch = Stretch(*sealed, {day: frame.height for day, frame in frames.items()})
        for day, frame in frames.items():
            path = self._file(stretch, day)
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_suffix(".unfinished")
            _for_everybody(frame).write_parquet(unfinished, compression="zstd")
            flush(unfinished)
            unfinished.replace(path)
            flush(path.parent, self._folder)
        self._record(stretch)
        return stretch

    def read(self, stretch: Stretch, since_day: str = "", until_day: str = "9") -> pl.DataFrame | None:
        """Return the rows of a stretch, as `decode_predictions` does, on days in [since, until]; None without any."""
        wanted = sorted(day for day in stretch.rows if since_day <= day <= until_day)
        frames = [
            _as_decoded(pl.read_parquet(self._file(stretch, day), glob=False, hive_partitioning=False))
            for day in wanted
        ]
        return pl.concat(frames, how="diagonal_relaxed") if frames else None

    def prune(self, before_day: str) -> int:
        """Remove the days before one; return how many rows they had. What a crash has left goes with them."""
        pruned = 0
        for stretch in self.stretches():
            kept = {day: rows for day, rows in stretch.rows.items() if day >= before_day}
            if len(kept) < len(stretch.rows):
                # Without a file there is nothing to read, so first nobody may look for it.
                self._record(Stretch(stretch.partition, stretch.start, stretch.end, kept))
                pruned += sum(stretch.rows.values()) - sum(kept.values())
        self._clear_up(self.stretches())
        return pruned

    def _clear_up(self, stretches: Iterable[Stretch]) -> None:
        counted = {self._file(stretch, day) for stretch in stretches for day in stretch.rows}
        for path in [*self._folder.glob("day=*/*.parquet"), *self._folder.glob("*/*.unfinished")]:
            if path not in counted:
                path.unlink()
        for folder in self._folder.glob("day=*"):
            if not any(folder.iterdir()):
                folder.rmdir()

    def _record(self, stretch: Stretch) -> None:
        folder = self._folder / _RECORDS
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = folder / f"{stretch.name}.unfinished"
        unfinished.write_bytes(msgspec.json.encode(stretch))
        flush(unfinished)
        os.replace(unfinished, folder / f"{stretch.name}.json")
        flush(folder)

    def _file(self, stretch: Stretch, day: str) -> Path:
        return self._folder / f"day={day}" / f"{stretch.name}.parquet"


def _for_everybody(rows: pl.DataFrame) -> pl.DataFrame:
    times = [pl.col(ours).cast(TIME).dt.replace_time_zone("UTC").alias(theirs) for theirs, ours in _TIMES.items()]
    first = ["id", *_TIMES, "version", "role", "score", "decision", "rules"]
    named = rows.with_columns(times).drop(*_TIMES.values())
    return named.select(*first, pl.exclude(first))


def _as_decoded(rows: pl.DataFrame) -> pl.DataFrame:
    names: Mapping[str, pl.Expr] = {ours: pl.col(theirs).cast(pl.Int64) for theirs, ours in _TIMES.items()}
    return rows.with_columns(**names).drop(*_TIMES)
