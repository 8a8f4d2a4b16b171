"""The steps of the feature benchmark: each makes its data, has it worked on in processes, and says what that showed."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from math import ceil
from pathlib import Path
from signal import SIGKILL, SIGXCPU
from typing import Any

from attrs import define
from claims import Measured
from features_child import Outcome, in_child, middle
from features_data import LARGE, Sizes
from features_feast import feast_python, feast_version, with_feast
from processes import Failed
from suite import Compared, Found, Step

BATCH = 1000
SAMPLE = 300
CALLS = 2000
ROUNDS = 3
# Feast's join at full size is ended after so many times our processor time, and what its imports take.
FEAST_PATIENCE = 6.0
IMPORT_SECONDS = 10.0


@define(slots=False, eq=False)
class Bench:
    """A temporary folder to work in.

    cache: where Feast's environment is kept. calls: of one key a round. rounds: of what a noisy neighbour could make
    look dear. tell: says what goes on.
    """

    folder: Path
    cache: Path
    sizes: Sizes
    calls: int = CALLS
    rounds: int = ROUNDS
    tell: Callable[[str], None] = print

    @property
    def log(self) -> Path:
        """What the processes of this run say."""
        return self.folder / "log"

    @cached_property
    def feast(self) -> Path:
        """The Python that has Feast. Raises PeerMissing."""
        return feast_python(self.cache / "feast-venv", self.log)

    def child(self, function: str, **arguments: Any) -> Outcome:
        """Have a function called in a process of its own."""
        said = [str(value) for name, value in arguments.items() if name in ("how", "shape")]
        self.tell(f"    {' '.join([function.partition(':')[2], *said])} …")
        return in_child(function, self.log, **arguments)

    def in_turn(self, *works: Callable[[], Outcome]) -> list[Outcome]:
        """Do works in turn, round after round; return the medians of each."""
        rounds = [[work() for work in works] for _ in range(self.rounds)]
        return [middle(of_work) for of_work in zip(*rounds, strict=True)]

    def data(self, name: str, folder: Path, **arguments: int) -> str:
        """Make data in a folder, and return it."""
        self.child(f"features_data:make_{name}", folder=str(folder), **arguments)
        return str(folder)

    @contextmanager
    def room(self, name: str) -> Iterator[Path]:
        """A folder that is gone at the end: data of this size are not kept longer than they are needed."""
        folder = self.folder / name
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder)


def join(bench: Bench) -> Found:
    """The join at full size, beside NumPy's and Polars'; with a key and by known time, beside loops."""
    sizes = bench.sizes
    with bench.room("join") as room:
        data = bench.data("history", room / "data", entities=sizes.entities, asked=sizes.asked, history=sizes.history)
        ways = ("charkha", "numpy", "polars", "charkha, keyed")
        ours, floor, polars, keyed = bench.in_turn(*(partial(_join, bench, how, data, room) for how in ways))
        cpu, numpy_cpu, polars_cpu, keyed_cpu = (each.values["cpu_seconds"] for each in (ours, floor, polars, keyed))
        keyed_ratio = keyed_cpu / numpy_cpu
        yield Compared("join", "CPU s", cpu, "NumPy floor", numpy_cpu)
        yield Compared("join", "CPU s", cpu, "Polars as-of join", polars_cpu)
        memory = ours.peak_rss_bytes / 2**30
        yield Compared("join, most memory", "GiB", memory, "NumPy floor", floor.peak_rss_bytes / 2**30)
        note = (
            f"{cpu:.1f} s beside {numpy_cpu:.1f} s; known by event time and without a key: with both {keyed_ratio:.1f}"
        )
        yield "join_cpu_over_numpy_floor", Measured(cpu / numpy_cpu, note)
        yield "join_peak_rss_gib", Measured(memory, f"NumPy floor {floor.peak_rss_bytes / 2**30:.2f} GiB")
        oracle = str(room / "polars.parquet")
        unlike, rows = _unlike(bench, str(room / "charkha.parquet"), oracle)
        floor_unlike, _ = _unlike(bench, str(room / "numpy.parquet"), oracle)
        slips = _slips(bench, data, oracle, known=False)
        note = f"of {rows:,.0f}; NumPy floor {floor_unlike:.0f}; the oracle unlike loops {slips:.0f} of {SAMPLE}"
        yield "join_rows_unlike_the_oracle", Measured(unlike, note, met=unlike == floor_unlike == slips == 0)
        yield Compared("join, keyed and by known time", "CPU s", keyed_cpu, "NumPy floor", numpy_cpu)
        note = f"a key, and known by a column: {keyed_cpu:.1f} s; the floor, {numpy_cpu:.1f} s, does neither"
        yield "join_keyed_cpu_over_numpy_floor", Measured(keyed_ratio, note)
        yield "join_keyed_peak_rss_gib", Measured(keyed.peak_rss_bytes / 2**30, f"unkeyed {memory:.2f}")
        slips = _slips(bench, data, str(room / "charkha, keyed.parquet"), known=True)
        yield "join_keyed_rows_unlike_loops", Measured(slips, f"of {SAMPLE}")


def _join(bench: Bench, how: str, data: str, room: Path, again: int = 0) -> Outcome:
    return bench.child("features_work:join", how=how, folder=data, out=str(room / f"{how}.parquet"), again=again)


def _unlike(bench: Bench, found: str, expected: str, by: Sequence[str] = ()) -> tuple[float, float]:
    values = bench.child("features_checks:unlike_rows", found=found, expected=expected, by=list(by)).values
    return values["unlike"], values["rows"]


def _slips(bench: Bench, data: str, found: str, *, known: bool) -> float:
    arguments = {"folder": data, "found": found, "sample": SAMPLE, "known": known}
    return bench.child("features_checks:join_slips", **arguments).values["slips"]


def feast_join(bench: Bench) -> Found:
    """The join at the size that Feast's duckdb store comes to the end of."""
    sizes, python = bench.sizes, bench.feast
    with bench.room("feast-join") as room:
        small = {"asked": sizes.beside_asked, "history": sizes.beside_history}
        data = bench.data("history", room / "data", entities=sizes.entities, **small)
        out = str(room / "feast.parquet")
        repository = str(room / "repository")
        with_feast(python, "apply", bench.log, folder=repository, data=data)
        again = bench.rounds
        theirs = with_feast(python, "join", bench.log, folder=repository, data=data, out=out, again=again)
        ours = _join(bench, "charkha", data, room, again)
        floor = _join(bench, "numpy", data, room, again)
        cpu, feast_cpu, numpy_cpu = (each.values["call_cpu_seconds"] for each in (ours, theirs, floor))
        beside = f"Feast {feast_version(python)}, duckdb"
        yield Compared("join, a tenth of the rows", "CPU s", cpu, beside, feast_cpu)
        whole = [each.process_cpu_seconds - each.values["again_cpu_seconds"] for each in (ours, theirs)]
        yield Compared("join, a tenth of the rows, with imports", "CPU s", whole[0], beside, whole[1])
        memory = [each.peak_rss_bytes / 2**30 for each in (ours, theirs)]
        yield Compared("join, a tenth of the rows, most memory", "GiB", memory[0], beside, memory[1])
        spent = f"{feast_cpu:.2f} s beside {cpu:.2f} s (NumPy floor {numpy_cpu:.2f} s)"
        note = f"{beside}: {spent}, from files to file; a call when all is imported"
        yield "feast_duckdb_cpu_over_join_100k_asked_1m_rows", Measured(feast_cpu / cpu, note)
        note = f"{beside}: {whole[1]:.1f} s beside {whole[0]:.1f} s, of whole processes that join once"
        yield "feast_duckdb_cpu_over_join_with_imports", Measured(whole[1] / whole[0], note)
        unlike, rows = _unlike(bench, str(room / "charkha.parquet"), out, ["entity_id", "event_timestamp"])
        yield "join_rows_unlike_feast_100k_asked_1m_rows", Measured(unlike, f"of {rows:,.0f}")
    with bench.room("feast-join") as room:
        yield from _feast_at_full_size(bench, room)


def _feast_at_full_size(bench: Bench, room: Path) -> Found:
    """The join at full size, where Feast is ended when it has taken more than enough processor time to lose."""
    sizes, python = bench.sizes, bench.feast
    data = bench.data("history", room / "data", entities=sizes.entities, asked=sizes.asked, history=sizes.history)
    cpu = _join(bench, "charkha", data, room).values["cpu_seconds"]
    repository = str(room / "repository")
    with_feast(python, "apply", bench.log, folder=repository, data=data)
    most = ceil(FEAST_PATIENCE * cpu + IMPORT_SECONDS)
    bench.tell(f"    Feast, for at most {most} s of processor time …")
    out = str(room / "feast.parquet")
    try:
        theirs = with_feast(python, "join", bench.log, folder=repository, data=data, out=out, again=0, most=most)
    except Failed as failure:
        if failure.status not in (-SIGXCPU, -SIGKILL):
            raise
        ratio, note = FEAST_PATIENCE, f"at least: ended after {most} s of processor time, with imports, unfinished"
    else:
        ratio = theirs.values["cpu_seconds"] / cpu
        note = f"{theirs.values['cpu_seconds']:.1f} s"
    yield "feast_duckdb_cpu_over_join", Measured(ratio, f"{note}; ours {cpu:.1f} s")


def windows(bench: Bench) -> Found:
    """Six aggregations over four windows: of all events beside Polars' rolling, and of a tenth of them."""
    sizes, few = bench.sizes, {"asked": max(20, bench.sizes.asked // 10), "events": max(20, bench.sizes.events // 10)}
    whole = {"asked": sizes.asked, "events": sizes.events}
    spent = {}
    for name, rows in {"both": few, "events": {**few, "asked": sizes.asked}}.items():
        with bench.room("windows") as room:
            (ours,) = bench.in_turn(_windows(bench, room, rows, "charkha"))
            spent[name] = ours.values["cpu_seconds"]
    with bench.room("windows") as room:
        ours, theirs = bench.in_turn(*(_windows(bench, room, whole, how) for how in ("charkha", "polars")))
        folder, found = str(room / "data"), str(room / "charkha.parquet")
        slips = bench.child("features_checks:window_slips", folder=folder, found=found, sample=SAMPLE).values
    cpu, polars_cpu = (each.values["cpu_seconds"] for each in (ours, theirs))
    memory = [each.peak_rss_bytes / 2**30 for each in (ours, theirs)]
    yield Compared("windows", "CPU s", cpu, "Polars rolling", polars_cpu)
    yield Compared("windows, most memory", "GiB", memory[0], "Polars rolling", memory[1])
    yield Compared("windows", "CPU s", cpu, "a tenth of the events", spent["events"])
    yield Compared("windows", "CPU s", cpu, "a tenth of the events and questions", spent["both"])
    note = f"{sizes.asked:,} questions: {spent['events']:.1f} s, {cpu:.1f} s"
    yield "windows_cpu_10m_events_over_1m", Measured(cpu / spent["events"], note)
    note = f"ten times the questions too: {spent['both']:.1f} s, {cpu:.1f} s"
    yield "windows_cpu_10m_events_over_1m_and_questions", Measured(cpu / spent["both"], note)
    note = f"{cpu:.1f} s beside {polars_cpu:.1f} s"
    yield "windows_cpu_over_polars_rolling", Measured(cpu / polars_cpu, note)
    yield "windows_unlike_the_obvious_version", Measured(slips["slips"], f"24 windows of {slips['sample']:.0f} rows")


def _windows(bench: Bench, room: Path, rows: dict[str, int], how: str) -> Callable[[], Outcome]:
    """Return the work of computing the windows in one way, over data that are made in a room if they are not there."""
    folder = room / "data"
    if not folder.exists():
        bench.data("events", folder, entities=bench.sizes.entities, **rows)
    return partial(bench.child, "features_work:windows", how=how, folder=str(folder), out=str(room / f"{how}.parquet"))


def memory(bench: Bench) -> Found:
    """Windows and latest values of a source that is larger than what is kept in memory, and of one four times that."""
    sizes, found = bench.sizes, []
    for rows in (sizes.large, 4 * sizes.large):
        with bench.room("memory") as room:
            few = {"entities": 10 * sizes.entities, "asked": sizes.asked}
            data = bench.data("large", room / "data", **few, rows=rows)
            share = sizes.large / LARGE
            found.append(bench.child("features_work:large", folder=data, out=str(room / "large.parquet"), share=share))
    gib = [each.peak_rss_bytes / 2**30 for each in found]
    spent = [each.values["cpu_seconds"] for each in found]
    yield Compared("backfill, most memory", "GiB", gib[1], "a quarter of the rows", gib[0])
    yield Compared("backfill", "CPU s", spent[1], "a quarter of the rows", spent[0])
    note = f"{sizes.large:,} and {4 * sizes.large:,} rows; windows, latest values, corrections"
    costs = f"{gib[0]:.2f} and {gib[1]:.2f} GiB, {spent[0]:.0f} and {spent[1]:.0f} s of processor time"
    yield "memory_peak_rss_over_a_quarter_of_the_rows", Measured(gib[1] / gib[0], note)
    yield "memory_peak_rss_gib", Measured(max(gib), costs)


def reads(bench: Bench) -> Found:
    """Online reads of thirty latest values, beside bare LMDB; and of twenty-four windows."""
    entities = bench.sizes.online
    with bench.room("reads") as room:
        data = bench.data("online", room / "data", entities=entities)
        ours = _reads(bench, room, data, "latest").values
        floor = _work(bench, "floor_reads", room / "floor", root=data, entities=entities, calls=bench.calls).values
        events = max(20, bench.sizes.materialised)
        history = bench.data("events", room / "events", entities=max(1, entities // 10), asked=20, events=events)
        with_windows = _reads(bench, room, history, "windows", max(1, entities // 10)).values
    yield Compared("read 1 key, 30 features", "CPU µs", ours["one_us"], "LMDB floor", floor["one_us"])
    yield Compared("read 100 keys, 30 features", "CPU µs", ours["hundred_us"], "LMDB floor", floor["hundred_us"])
    yield "read_1_key_cpu_us", Measured(ours["one_us"], f"LMDB floor {floor['one_us']:.1f}")
    yield "read_100_keys_cpu_ms", Measured(ours["hundred_us"] / 1000, f"LMDB floor {floor['hundred_us'] / 1000:.3f}")
    note = f"24 windows and a latest value; 1 key {with_windows['one_us']:.0f} µs"
    yield "read_100_keys_with_windows_cpu_ms", Measured(with_windows["hundred_us"] / 1000, note)


def feast_reads(bench: Bench) -> Found:
    """The same reads, and Feast's from Redis."""
    entities, python = bench.sizes.online, bench.feast
    with bench.room("feast-reads") as room:
        data = bench.data("online", room / "data", entities=entities)
        arguments = {"folder": str(room / "repository"), "data": data, "entities": entities, "calls": bench.calls // 4}
        theirs = with_feast(python, "reads", bench.log, **arguments).values
        ours = _reads(bench, room, data, "latest").values
        first_us = _work(bench, "first_read", room / "latest", shape="latest").values["cpu_seconds"] * 1e6
    beside = f"Feast {feast_version(python)}, Redis"
    for name, size in (("one_us", "1_key"), ("hundred_us", "100_keys")):
        yield Compared(f"read {size.replace('_', ' ')}, 30 features", "CPU µs", ours[name], beside, theirs[name])
        note = f"{beside}: {theirs[name]:,.0f} µs beside {ours[name]:,.1f} µs; Redis itself not counted"
        yield f"feast_redis_cpu_over_read_{size}", Measured(theirs[name] / ours[name], note)
    note = f"{beside}: {theirs['first_us'] / 1e6:.2f} s beside {first_us / 1e6:.2f} s, of processes that read one key"
    yield "feast_redis_cpu_over_first_read_with_imports", Measured(theirs["first_us"] / first_us, note)


def _reads(bench: Bench, room: Path, data: str, shape: str, entities: int | None = None) -> Outcome:
    count = bench.sizes.online if entities is None else entities
    return _work(bench, "reads", room / shape, root=data, shape=shape, entities=count, calls=bench.calls)


def _work(bench: Bench, name: str, folder: Path, **arguments: Any) -> Outcome:
    folder.mkdir(exist_ok=True)
    return bench.child(f"features_work:{name}", folder=str(folder), **arguments)


def push(bench: Bench) -> Found:
    """Events of one source pushed in batches, as time goes by, into the state of three views that a history filled."""
    shapes = (
        ("wide", "events_applied_per_cpu_second", "30 latest values"),
        ("wide and windows", "events_with_windows_applied_per_cpu_second", "30 latest values and 24 windows"),
    )
    with bench.room("push") as room:
        history = {"entities": bench.sizes.online, "events": bench.sizes.materialised}
        data = bench.data("wide_events", room / "data", **history, pushed=bench.sizes.pushed)
        for shape, figure, what in shapes:
            _work(bench, "materialise", room / "filled", root=data, shape=shape)
            (found,) = bench.in_turn(partial(_push, bench, room, data, shape))
            note = f"three views, {what}, of {bench.sizes.online:,} entities; an event a second; logged too"
            yield figure, Measured(found.values["events_per_second"], note)
            shutil.rmtree(room / "filled")


def _push(bench: Bench, room: Path, data: str, shape: str) -> Outcome:
    shutil.rmtree(room / "pushed", ignore_errors=True)
    shutil.copytree(room / "filled", room / "pushed")
    return _work(bench, "pushes", room / "pushed", root=data, shape=shape, batch=BATCH)


def materialise(bench: Bench) -> Found:
    """The online state of three views built from the history of one source."""
    with bench.room("materialise") as room:
        rows = {"entities": bench.sizes.online, "events": bench.sizes.materialised}
        data = bench.data("wide_events", room / "data", **rows)
        state, keyed, with_windows = bench.in_turn(
            partial(_materialise, bench, room / "state", data, "wide"),
            partial(_materialise, bench, room / "keyed", data, "wide", keyed=True),
            partial(_materialise, bench, room / "windows", data, "wide and windows"),
        )
    found, windowed, memory = state.values, with_windows.values, keyed.peak_rss_bytes / 2**30
    note = f"three views, every row remembered; with 24 windows {windowed['rows_per_second']:,.0f}"
    yield "materialised_rows_per_cpu_second", Measured(found["rows_per_second"], note)
    note = f"with 24 windows {windowed['entities_per_second']:,.0f}"
    yield "materialised_entities_per_cpu_second", Measured(found["entities_per_second"], note)
    note = f"known by a column; by event time {found['rows_per_second']:,.0f}"
    yield "materialised_keyed_rows_per_cpu_second", Measured(keyed.values["rows_per_second"], note)
    note = f"by event time {state.peak_rss_bytes / 2**30:.2f}"
    yield "materialised_keyed_peak_rss_gib", Measured(memory, note)
    note = f"pages used; by event time {found['bytes_per_row']:.0f}"
    yield "materialised_keyed_bytes_per_row", Measured(keyed.values["bytes_per_row"], note)


def _materialise(bench: Bench, folder: Path, data: str, shape: str, *, keyed: bool = False) -> Outcome:
    shutil.rmtree(folder, ignore_errors=True)
    return _work(bench, "materialise", folder, root=data, shape=shape, keyed=keyed)


def hot(bench: Bench) -> Found:
    """One key with ten million events, beside one with a hundred."""
    with bench.room("hot") as room:
        data = bench.data("hot_key", room / "data", hot=bench.sizes.hot)
        found = _work(bench, "hot_key", room / "state", root=data, calls=bench.calls // 4).values
    yield Compared("read a hot key, 24 windows", "CPU µs", found["hot_us"], "a cold key", found["cold_us"])
    note = f"{found['hot_us']:.0f} µs beside {found['cold_us']:.0f} µs"
    yield "hot_key_read_cpu_over_cold", Measured(found["hot_us"] / found["cold_us"], note)
    met = found["hot_bytes"] <= 1.1 * found["tenth_bytes"]
    note = f"{found['tenth_bytes']:,.0f} with a tenth of the events, {found['cold_bytes']:,.0f} with a hundred"
    yield "hot_key_state_bytes", Measured(found["hot_bytes"], note, met=met)


def size(bench: Bench) -> Found:
    """What the online state takes on the disk."""
    entities = bench.sizes.online
    with bench.room("size") as room:
        data = bench.data("online", room / "data", entities=entities)
        arguments = {"root": data, "entities": entities}
        plain = _work(bench, "size", room / "plain", **arguments, keyed=False).values["bytes_per_entity"]
        keyed = _work(bench, "size", room / "keyed", **arguments, keyed=True).values["bytes_per_entity"]
    yield "bytes_per_entity_of_30_float32", Measured(plain, "pages used")
    yield "bytes_per_entity_keyed", Measured(keyed, "pages used; a key, so every row is remembered; known by a column")


STEPS = (
    Step("join", "the point-in-time join", join),
    Step("feast-join", "the same beside Feast", feast_join),
    Step("windows", "windowed features of the past", windows),
    Step("memory", "a source larger than memory", memory),
    Step("reads", "online reads", reads),
    Step("feast-reads", "the same beside Feast", feast_reads),
    Step("push", "events applied to the online state", push),
    Step("materialise", "the online state built from history", materialise),
    Step("hot", "a key with very many events", hot),
    Step("size", "bytes an entity", size),
)
