"""The pieces of work that the feature benchmark measures, each for a process of its own; all return plain numbers."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import features_adapter as charkha
import features_floors as floors
import numpy as np
import polars as pl
from features_adapter import Shape
from features_child import cpu_seconds
from features_data import VIEWS, feature_columns

Batches = Sequence[Sequence[int]]
JOINS: dict[str, Callable[[str, str], None]] = {
    "charkha": charkha.join,
    "charkha, keyed": partial(charkha.join, keyed=True),
    "numpy": floors.packed_join,
    "polars": floors.polars_join,
}
WINDOWS: dict[str, Callable[[str, str], None]] = {"charkha": charkha.windows, "polars": floors.polars_rolling}
ROUNDS = 5


class Wrong(Exception):
    """Something was measured that did not do its work."""


def join(how: str, folder: str, out: str, again: int = 0) -> dict[str, float]:
    """Join in one of the ways, Parquet to Parquet.

    again: how often to do so once more in the same process, when all is imported; a call then costs `call_cpu_seconds`.
    """
    first, *more = (cpu_seconds(lambda: JOINS[how](folder, out)) for _ in range(1 + again))
    calls = {"call_cpu_seconds": median(more), "again_cpu_seconds": sum(more)} if more else {}
    return {**_settled(how, out, first), **calls}


def windows(how: str, folder: str, out: str) -> dict[str, float]:
    """Compute windows in one of the ways, Parquet to Parquet."""
    return _settled(how, out, cpu_seconds(lambda: WINDOWS[how](folder, out)))


def large(folder: str, out: str, share: float) -> dict[str, float]:
    """Compute features of a source that is larger than memory, Parquet to Parquet."""
    return {"cpu_seconds": cpu_seconds(lambda: charkha.large(folder, out, share))}


def _settled(how: str, out: str, cpu: float) -> dict[str, float]:
    if how.startswith("charkha"):
        charkha.settle(out)
    return {"cpu_seconds": cpu}


def reads(folder: str, root: str, shape: Shape, entities: int, calls: int) -> dict[str, float]:
    """Build a state from files, then read 1 and 100 entities a call; µs of processor time a call."""
    with charkha.online(folder, shape) as state:
        state.materialise(root)
    with charkha.online(folder, shape) as state:
        if shape == "latest":
            _check_values(state, root, entities)
        return _read_costs(state.read, entities, calls)


def first_read(folder: str, shape: Shape) -> dict[str, float]:
    """Read one entity of a state that is there; the processor time of a process that does only that."""
    with charkha.online(folder, shape) as state:
        state.read([0])
    return {"cpu_seconds": time.process_time()}


def floor_reads(folder: str, root: str, entities: int, calls: int) -> dict[str, float]:
    """Read the same from LMDB with nothing around it."""
    environment, read = floors.lmdb_reads(folder, root)
    with environment:
        return _read_costs(read, entities, calls)


def _check_values(state: charkha.Online, root: str, entities: int) -> None:
    asked = _batches(entities, 100, 1)[0]
    found = state.values(asked)
    for view in range(VIEWS):
        frame = pl.read_parquet(Path(root) / f"view{view}.parquet")
        for name in feature_columns(view):
            if found[name] != frame[name].cast(pl.Float64).gather(list(asked)).to_list():
                raise Wrong(f"expected the values of the file in {name!r}, got others from the online state")


def _read_costs(read: Callable[[Sequence[int]], object], entities: int, calls: int) -> dict[str, float]:
    one, hundred = _cpu_us(read, _batches(entities, 1, calls), _batches(entities, 100, max(1, calls // 50)))
    return {"one_us": one, "hundred_us": hundred}


def _batches(entities: int, size: int, calls: int) -> Batches:
    batches: Batches = np.random.default_rng(3).integers(0, entities, (calls, size)).tolist()
    return batches


def _cpu_us(read: Callable[[Sequence[int]], object], *kinds: Batches) -> list[float]:
    """Return what a call of each kind costs: the median of five rounds in turn, after one to get warm."""
    costs: list[list[float]] = [[] for _ in kinds]
    for _ in range(ROUNDS + 1):
        for found, batches in zip(costs, kinds, strict=True):
            began = time.process_time_ns()
            for batch in batches:
                read(batch)
            found.append((time.process_time_ns() - began) / 1000 / len(batches))
    return [median(found[1:]) for found in costs]


def pushes(folder: str, root: str, shape: Shape, batch: int) -> dict[str, float]:
    """Push events in batches into a state that is there; how many of them a second of processor time takes in."""
    rows = charkha.wide_rows(f"{root}/pushed.parquet")
    batches = [rows[low : low + batch] for low in range(0, len(rows), batch)]
    with charkha.online(folder, shape) as state:
        spent = cpu_seconds(partial(_push_all, state, batches))
    return {"events_per_second": len(rows) / spent}


def _push_all(state: charkha.Online, batches: Sequence[Sequence[tuple[object, ...]]]) -> None:
    for batch in batches:
        state.push(batch)


def materialise(folder: str, root: str, shape: Shape, keyed: bool = False) -> dict[str, float]:
    """Build a state from the wide events; rows read, and states of entities written, a second of processor time.

    keyed: whether a row becomes known at a time of its own. It has a key in any case.
    """
    path = Path(root) / "wide.parquet"
    rows = pl.scan_parquet(path).select(pl.len()).collect().item()
    entities = pl.read_parquet(path, columns=["entity_id"])["entity_id"].n_unique()
    with charkha.online(folder, shape, keyed=keyed) as state:
        spent = cpu_seconds(lambda: state.materialise(root))
    used = charkha.used_bytes(folder)
    return {
        "rows_per_second": rows / spent,
        "entities_per_second": entities * VIEWS / spent,
        "bytes_per_row": used / rows,
    }


def hot_key(folder: str, root: str, calls: int) -> dict[str, float]:
    """Read a key with very many events, one with a tenth of them and one with a hundred, one a call."""
    with charkha.online(folder, "windows") as state:
        state.materialise(root)
        hot, tenth, cold = _cpu_us(state.read, *([[key]] * calls for key in range(3)))
        sizes = [state.state_bytes(key) for key in range(3)]
    return {
        "hot_us": hot,
        "tenth_us": tenth,
        "cold_us": cold,
        "hot_bytes": float(sizes[0]),
        "tenth_bytes": float(sizes[1]),
        "cold_bytes": float(sizes[2]),
    }


def size(folder: str, root: str, entities: int, keyed: bool) -> dict[str, float]:
    """Build the state of thirty latest values an entity; the bytes of the pages it uses, an entity."""
    with charkha.online(folder, "latest", keyed=keyed) as state:
        state.materialise(root)
    return {"bytes_per_entity": charkha.used_bytes(folder) / entities}
