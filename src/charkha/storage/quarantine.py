"""Batches of pushed rows that are set aside: a folder each, with the rows as Parquet and a report as JSON.

quarantine/
  trips-5f0c3a91d2e4/
    report.json      what the batch is and which rules it breaks
    rows.parquet     its rows, until it is released or discarded
    ending.json      what was decided of it, once something was
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import polars as pl

from charkha.storage.flush import flush
from charkha.storage.locks import locked
from charkha.storage.names import checked_name

_LOCK = ".lock"
_UNFINISHED = ".unfinished"
_REPORT, _ROWS, _ENDING = "report.json", "rows.parquet", "ending.json"


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A batch: its source, when it came (µs), how many rows it has, and the rules that they break, as plain values."""

    id: str
    source: str
    time_us: int
    rows: int
    violations: Sequence[Mapping[str, Any]]


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided of a batch. before: what its taker noted of each row before it began, in the rows' order."""

    state: Literal["releasing", "released", "discarded"]
    time_us: int
    actor: str
    reason: str
    before: Sequence[str | None] = ()
    result: Mapping[str, int] = {}


class Held(msgspec.Struct, frozen=True):
    """A batch in quarantine, or one that was; `ending` is None as long as nothing was decided of it."""

    report: Report
    ending: Ending | None

    @property
    def state(self) -> str:
        """`held`, `releasing`, `released` or `discarded`."""
        return self.ending.state if self.ending else "held"

    @property
    def is_over(self) -> bool:
        """Whether its rows are no longer here."""
        return self.state in ("released", "discarded")


class UnknownBatch(LookupError):
    """A batch that is not in quarantine."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        self.name = name
        super().__init__(name)
        self._known = ", ".join(known[:12]) or "none"

    def __str__(self) -> str:
        return f"expected a batch in quarantine ({self._known}), got {self.name!r}. List them: charkha data quarantine"


class QuarantineFull(Exception):
    """A batch that is not kept, because too much is kept already."""

    def __init__(self, limit: str) -> None:
        super().__init__(f"the quarantine holds {limit} already. Release or discard some: charkha data quarantine")


class Quarantine:
    """The batches that were set aside, on a local file system; any number of processes may use it at once.

    sync: have the disk confirm each batch before it takes its name.
    most_batches, most_bytes: what is kept at most; of those that were released or discarded, as many reports.
    """

    def __init__(
        self, folder: Path, *, sync: bool = False, most_batches: int = 1000, most_bytes: int = 1 << 30
    ) -> None:
        self._folder, self._sync = folder, sync
        self._most_batches, self._most_bytes = most_batches, most_bytes

    def keep(self, report: Report, rows: pl.DataFrame) -> Report:
        """Keep a batch, whole or not at all; return its report, or that of the batch of this id that is kept already.

        A batch that was discarded may come again. Raises QuarantineFull.
        """
        place = self._place(report.id)
        self._folder.mkdir(parents=True, exist_ok=True)
        with locked(self._folder / _LOCK):
            known = self._read(place)
            if known is not None and known.state != "discarded":
                return known.report
            self._make_room()
            unfinished = self._folder / _UNFINISHED
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            rows.write_parquet(unfinished / _ROWS)
            (unfinished / _REPORT).write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
            if self._sync:
                flush(unfinished / _ROWS, unfinished / _REPORT, unfinished)
            shutil.rmtree(place, ignore_errors=True)
            unfinished.rename(place)
            if self._sync:
                flush(self._folder)
        return report

    def find(self, name: str) -> Held | None:
        """Return a batch, or None when there is none of that id. Raises BadName."""
        return self._read(self._place(name))

    def get(self, name: str) -> Held:
        """Return a batch. Raises UnknownBatch."""
        found = self.find(name)
        if found is None:
            raise UnknownBatch(name, [held.report.id for held in self.all() if not held.is_over])
        return found

    def all(self) -> list[Held]:
        """Return every batch, in the order in which they came."""
        places = [place for place in self._folder.glob("*") if not place.name.startswith(".")]
        found = [held for place in places if (held := self._read(place)) is not None]
        return sorted(found, key=lambda held: (held.report.time_us, held.report.id))

    def rows(self, name: str) -> pl.DataFrame:
        """Return the rows of a batch that is held. Raises UnknownBatch."""
        try:
            return pl.read_parquet(self._place(name) / _ROWS, glob=False, hive_partitioning=False)
        except FileNotFoundError:
            raise UnknownBatch(name, [held.report.id for held in self.all() if not held.is_over]) from None

    def end(self, name: str, ending: Ending) -> None:
        """Write down what becomes of a batch; its rows go once that is over."""
        place = self._place(name)
        unfinished = place / _UNFINISHED
        unfinished.write_bytes(msgspec.json.encode(ending))
        if self._sync:
            flush(unfinished)
        unfinished.replace(place / _ENDING)
        if self._sync:
            flush(place)
        if ending.state != "releasing":
            (place / _ROWS).unlink(missing_ok=True)

    def lock(self, name: str) -> Any:
        """Hold a batch, so that one person at a time decides of it: a context manager. Raises UnknownBatch."""
        self.get(name)
        return locked(self._place(name))

    def _place(self, name: str) -> Path:
        return self._folder / checked_name("batch in quarantine", name)

    def _read(self, place: Path) -> Held | None:
        try:
            report = msgspec.json.decode((place / _REPORT).read_bytes(), type=Report)
        except FileNotFoundError:
            return None
        try:
            return Held(report, msgspec.json.decode((place / _ENDING).read_bytes(), type=Ending))
        except FileNotFoundError:
            return Held(report, None)

    def _make_room(self) -> None:
        """Forget the oldest of what is over; raise QuarantineFull when what is held fills it."""
        every = self.all()
        held, over = [one for one in every if not one.is_over], [one for one in every if one.is_over]
        for old in over[: max(0, len(over) + 1 - self._most_batches)]:
            shutil.rmtree(self._place(old.report.id), ignore_errors=True)
        if len(held) >= self._most_batches:
            raise QuarantineFull(f"{len(held):,} batches")
        size = sum(file.stat().st_size for file in self._folder.glob(f"*/{_ROWS}"))
        if size >= self._most_bytes:
            raise QuarantineFull(f"{size / (1 << 20):,.0f} MiB of rows")
