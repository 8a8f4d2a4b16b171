"""From the log of predictions and labels to tables and profiles, a little further each time.

Three tables grow: `predictions/<model>` (as served, with their features), `labels/<model>` and `profiles/<model>`
(counts per ten minutes, version, role and replica). How far the log was read is a checkpoint in the ledger, set once
the parts are written: what a process has written that died in between is deleted by the next collection, and written
again.
"""

from collections.abc import Callable, Iterator, Mapping

import polars as pl
from attrs import evolve, frozen

from charkha.bundles.store import BundleStore
from charkha.monitoring.logged import Step, logged_steps, steps_of
from charkha.monitoring.parts import Part, current, days, parse_part
from charkha.monitoring.tiles import SCHEMA, added, tiles_of
from charkha.serving.labels import decode_labels, label_stream
from charkha.serving.prediction_log import prediction_stream
from charkha.spec.model import Model
from charkha.storage.home import Home
from charkha.storage.locks import locked
from charkha.storage.log import Position

# A part that has this many rows is not added to any more: adding rewrites it.
FULL_PART_ROWS = 50_000


@frozen
class Collected:
    """How many rows a collection added: predictions (one per version that scored a request) and labels.

    A row of labels may tell a business metric alone.
    """

    predictions: int
    labels: int


def predictions_table(model: str) -> str:
    """Return the name of the table of a model's predictions, as served."""
    return f"predictions/{model}"


def labels_table(model: str) -> str:
    """Return the name of the table of a model's labels."""
    return f"labels/{model}"


def profiles_table(model: str) -> str:
    """Return the name of the table of a model's profiles per ten minutes, version, role and replica."""
    return f"profiles/{model}"


def collect(home: Home, model: Model, bundles: BundleStore) -> Collected:
    """Bring the tables up to the end of the log, as it is now. Waits while another process collects.

    Raises UnreadablePredictions, UnreadableLabels, UnknownBundle, LogCorrupt and UnknownPosition; what was collected
    before stays.
    """
    name = model.name
    predictions = _Harvest(
        prediction_stream(name),
        lambda after: logged_steps(home, name, bundles, after),
        "_at_us",
        {predictions_table(name): _append, profiles_table(name): lambda old, rows: _profile(name, bundles, old, rows)},
    )
    labels = _Harvest(
        label_stream(name),
        lambda after: _label_steps(home, name, after),
        "_label_known_us",
        {labels_table(name): _append},
    )
    with locked(home.folder / ".collecting"):
        return Collected(_collect(home, predictions), _collect(home, labels))


def collected_until(home: Home, stream: str) -> dict[str, int]:
    """Return how far a stream, of predictions or of labels, was collected: partition → offset."""
    return dict(home.ledger.checkpoint(_checkpoint(stream)) or {})


def _checkpoint(stream: str) -> str:
    return f"collected/{stream}"


@frozen
class _Harvest:
    """What becomes of one stream. steps: what follows a position in it. tables: name → what a part becomes, given what
    it was and the rows that are new.

    time: the column whose day a row's part is named for. The first table says which parts there are.
    """

    stream: str
    steps: Callable[[Position], Iterator[Step]]
    time: str
    tables: Mapping[str, Callable[[pl.DataFrame | None, pl.DataFrame], pl.DataFrame]]


def _collect(home: Home, harvest: _Harvest) -> int:
    """Bring one stream's tables up to its end; return how many rows were added to the first."""
    checkpoint = _checkpoint(harvest.stream)
    position: dict[str, int] = dict(home.ledger.checkpoint(checkpoint) or {})
    _clear_up(home, harvest, position)
    if all(position.get(partition, 0) == end for partition, end in home.log.end(harvest.stream).items()):
        return 0
    added = 0
    for step in harvest.steps(position):
        replaced = _write(home, harvest, Part("", step.partition, step.start, step.end), step.rows)
        position[step.partition] = step.end
        home.ledger.set_checkpoint(checkpoint, position)
        for table in harvest.tables:
            for part in replaced:
                home.tables.delete(table, part.name)
        added += step.rows.height
    return added


def _label_steps(home: Home, model: str, after: Position) -> Iterator[Step]:
    for records in steps_of(home.log.read(label_stream(model), after)):
        yield Step(records[0].partition, records[0].start, records[-1].end, decode_labels(records))


def _clear_up(home: Home, harvest: _Harvest, position: Mapping[str, int]) -> None:
    """Delete what a killed collection left: parts without a checkpoint, then parts that others took the place of."""
    for table in harvest.tables:
        parts = {parse_part(name) for name in home.tables.parts(table)}
        settled = {part for part in parts if part.end <= position.get(part.partition, 0)}
        for part in parts - set(current(settled)):
            home.tables.delete(table, part.name)


def _write(home: Home, harvest: _Harvest, step: Part, rows: pl.DataFrame) -> list[Part]:
    """Write the rows of a step's records, by day; return the parts that were added to, and are now replaced."""
    table = next(iter(harvest.tables))
    replaced: list[Part] = []
    dated = rows.with_columns(_day=days(pl.col(harvest.time)))
    for (day,), of_day in dated.partition_by("_day", as_dict=True, include_key=False).items():
        base = _base(home, table, evolve(step, day=str(day)))
        part = Part(str(day), step.partition, base.start if base else step.start, step.end)
        for name, extend in harvest.tables.items():
            old = home.tables.read(name, base.name) if base else None
            home.tables.write(name, part.name, extend(old, of_day))
        replaced += [base] if base else []
    return replaced


def _base(home: Home, table: str, new: Part) -> Part | None:
    """Return the part that new rows are added to: the day's last, unless it is full."""
    of_day = (parse_part(name) for name in home.tables.parts(table) if name.startswith(new.day))
    last = max((part for part in of_day if part.partition == new.partition), default=None)
    return last if last and home.tables.read(table, last.name).height < FULL_PART_ROWS else None


def _append(old: pl.DataFrame | None, rows: pl.DataFrame) -> pl.DataFrame:
    return rows if old is None else pl.concat([old, rows], how="diagonal_relaxed")


def _profile(model: str, bundles: BundleStore, old: pl.DataFrame | None, rows: pl.DataFrame) -> pl.DataFrame:
    """Return the tiles of a part: those it had, and those of the rows that are new, added up."""
    scored = rows.filter(pl.col("role") != "fallback").partition_by("version", as_dict=True)
    new = [tiles_of(bundles.manifest(model, version).shape, version, group) for (version,), group in scored.items()]
    return added([*([] if old is None or old.schema != SCHEMA else [old]), *new])
