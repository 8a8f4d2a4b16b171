"""The cost of what runs all the time: events in, predictions out, their log, what is made of it, the operator."""

import time
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice, pairwise
from typing import Any

import msgspec
import polars as pl
from attrs import evolve
from measuring import Cost, Work, again, cost
from workbench import FROM_US, HISTORY_DAYS, Workbench

from charkha.bundles.store import BundleStore
from charkha.clock import SimulatedClock
from charkha.features.feed import Feed
from charkha.features.materialise import plain_values
from charkha.monitoring.collect import collect
from charkha.operations.operator import Operator
from charkha.operations.replay import Stage, replay
from charkha.serving.labels import LabelLog, decode_labels, label_stream
from charkha.serving.prediction_frames import decode_predictions
from charkha.serving.prediction_log import PredictionBatch, PredictionLog, prediction_stream
from charkha.serving.service import Service
from charkha.spec.durations import DAY_US
from charkha.spec.policies import Retrain
from charkha.storage.home import Home
from charkha.storage.log import Log
from charkha.storage.segment_log import SegmentLog
from charkha.training.pipeline import Candidate, Order
from charkha.training.tracking import NoTracker

REPEATS = 3
SINGLE_CALLS = 500
LARGE_CALLS, LARGE = 3, 1000
BATCH_CALLS, BATCH = 32, 64
TICKS = 10
LIVE = "materialised-0"

Event = tuple[int, str, tuple[Any, ...]]


def live_costs(bench: Workbench) -> Iterator[Cost]:
    """Yield the cost of each joint from a pushed row to the operator's look, on the state of one growing home."""
    yield _materialise(bench)
    clock = SimulatedClock(FROM_US)
    with bench.home(LIVE) as home:
        yield from _events(bench, home, clock)
        bench.deploy(home, clock)
        service = Service(bench.project, home, clock, "benchmark")
        service.refresh()
        yield from _predict(bench, service)
        yield from _prediction_log(bench, home)
        yield from _label_log(bench, home)
        yield _profile(bench, home, clock, service)
        service.close()
    yield from _replay(bench)


def _materialise(bench: Workbench) -> Cost:
    project = bench.project
    rows = sum(rows.filter(pl.col("_known_us") <= FROM_US).height for rows in bench.rows.values())

    def works() -> Iterator[Work]:
        for number in range(REPEATS):
            with bench.home(f"materialised-{number}") as home:
                feed = Feed(project.sources, project.views, home.log, home.online, SimulatedClock(FROM_US))
                yield partial(feed.materialise, project.root, FROM_US)

    return cost("materialise the online state", "source row", rows, works())


def _events(bench: Workbench, home: Home, clock: SimulatedClock) -> Iterator[Cost]:
    project = bench.project
    feed = Feed(project.sources, project.views, home.log, home.online, clock)
    events = _history_events(bench)
    singles = (islice(events, SINGLE_CALLS) for _ in range(REPEATS))
    works = (partial(_push_each, feed, clock, list(chunk)) for chunk in singles)
    yield cost("events in, 1 a call", "event", SINGLE_CALLS, works)
    largest = max(bench.history.events, key=lambda name: bench.history.events[name].height)
    following = [event for event in events if event[1] == largest]
    blocks = (following[place * LARGE : (place + 1) * LARGE] for place in range(REPEATS * LARGE_CALLS))
    batches = (list(islice(blocks, LARGE_CALLS)) for _ in range(REPEATS))
    works = (partial(_push_blocks, feed, clock, batch) for batch in batches)
    yield cost(f"events in, {LARGE} a call", "event", LARGE * LARGE_CALLS, works)


def _history_events(bench: Workbench) -> Iterator[Event]:
    """Yield the events of the two weeks in the order in which they became known."""
    events: list[Event] = []
    for name, rows in bench.history.events.items():
        values = plain_values(rows.select(list(bench.project.sources[name].fields))).rows()
        events += zip(rows["_known_us"], [name] * len(values), values, strict=True)
    yield from sorted(events, key=lambda event: event[0])


def _push_each(feed: Feed, clock: SimulatedClock, events: Sequence[Event]) -> None:
    for known_us, source, row in events:
        clock.advance_to(known_us)
        feed.push(source, [row])


def _push_blocks(feed: Feed, clock: SimulatedClock, blocks: Sequence[Sequence[Event]]) -> None:
    for block in blocks:
        clock.advance_to(block[-1][0])
        feed.push(block[0][1], [row for _, _, row in block])


def _predict(bench: Workbench, service: Service) -> Iterator[Cost]:
    for calls, size in ((SINGLE_CALLS, 1), (BATCH_CALLS, BATCH)):
        requests = _requests(bench, calls, size)
        works = again(partial(_ask, bench, service, requests), REPEATS)
        yield cost(f"predict, {size} a call", "prediction", calls * size, works)


def _requests(bench: Workbench, calls: int, size: int) -> list[pl.DataFrame]:
    requests = bench.history.requests.select(bench.model.request)
    return [requests[low:high] for low, high in pairwise(range(0, (calls + 1) * size, size))]


def _ask(bench: Workbench, service: Service, requests: Sequence[pl.DataFrame]) -> list[str]:
    return [each for request in requests for each in service.predict(bench.model.name, request).ids]


def _prediction_log(bench: Workbench, home: Home) -> Iterator[Cost]:
    """Log anew what `_predict` logged with one prediction a call, in a log of its own."""
    stream, apart = prediction_stream(bench.model.name), SegmentLog(bench.folder / "predictions")
    payloads = [record.payload for record in islice(home.log.read(stream), SINGLE_CALLS)]
    batches = [msgspec.msgpack.decode(payload, type=PredictionBatch) for payload in payloads]
    writer = PredictionLog(apart, bench.model.name, "benchmark")
    yield cost(
        "prediction log: write, 1 a call", "prediction", len(batches), again(partial(_append, writer, batches), REPEATS)
    )
    work = partial(_decode_predictions, apart, stream, BundleStore(home.bundles))
    yield cost("prediction log: read back", "prediction", work(), again(work, REPEATS))


def _append(writer: PredictionLog, batches: Sequence[PredictionBatch]) -> None:
    for batch in batches:
        writer.append([batch])


def _decode_predictions(log: Log, stream: str, bundles: BundleStore) -> int:
    return decode_predictions(log.read(stream), bundles).height


def _label_log(bench: Workbench, home: Home) -> Iterator[Cost]:
    name, apart = bench.model.name, SegmentLog(bench.folder / "labels")
    ids = decode_predictions(home.log.read(prediction_stream(name)), BundleStore(home.bundles))["id"][:SINGLE_CALLS]
    work = partial(_append_labels, LabelLog(apart, name, "benchmark"), ids.to_list())
    yield cost("label log: write, 1 a call", "label", len(ids), again(work, REPEATS))
    read = partial(_decode_labels, apart, label_stream(name))
    yield cost("label log: read back", "label", read(), again(read, REPEATS))


def _append_labels(writer: LabelLog, ids: Sequence[str]) -> None:
    for each in ids:
        writer.append([each], [1.0], FROM_US)


def _decode_labels(log: Log, stream: str) -> int:
    return decode_labels(log.read(stream)).height


def _profile(bench: Workbench, home: Home, clock: SimulatedClock, service: Service) -> Cost:
    bundles, requests = BundleStore(home.bundles), _requests(bench, BATCH_CALLS, BATCH)

    def works() -> Iterator[Work]:
        for _ in range(REPEATS):
            collect(home, bench.model, bundles)
            clock.advance_to(clock.now() + DAY_US)
            ids = _ask(bench, service, requests)
            service.label(bench.model.name, ids, [0.0] * len(ids))
            yield partial(collect, home, bench.model, bundles)

    return cost("profile: collect a day, with its labels", "prediction", BATCH_CALLS * BATCH, works())


def _replay(bench: Workbench) -> Iterator[Cost]:
    """Replay two weeks in which nothing is trained; then let the operator look at them again."""
    model = evolve(bench.model, retrain=Retrain(on_fall=False))
    project, clock = evolve(bench.at("replay"), models={model.name: model}), SimulatedClock(FROM_US)
    with bench.home("replay") as home:
        bench.deploy(home, clock)
        operator = Operator(project, home, clock, _refuse_to_train, NoTracker())
        yield _replay_cost(bench, Stage(project, home, model, clock, operator))
        _quiet_tick(operator, model.name)
        work = partial(_quiet_tick, operator, model.name)
        yield cost("operator: a tick with nothing to do", "tick", 1, again(work, TICKS))


def _replay_cost(bench: Workbench, stage: Stage) -> Cost:
    """Measure from the first midnight on, so that reading history and building the state do not count."""
    began: list[tuple[int, int]] = []

    def on_progress(done_us: int, total_us: int, what: str) -> None:
        if done_us > 0 and not began:
            began.append((time.process_time_ns(), time.perf_counter_ns()))

    replay(stage, bench.history.until_us, on_progress)
    (cpu_ns, wall_ns), *_ = began
    spent = (time.process_time_ns() - cpu_ns, time.perf_counter_ns() - wall_ns)
    rows = bench.history.requests.filter(pl.col("_at_us") >= FROM_US + DAY_US).height
    cpu_us, wall_us = (each / 1000 / rows for each in spent)
    return Cost(f"replay: all of the above, {HISTORY_DAYS - 1} days", "prediction", rows, 1, cpu_us, wall_us)


def _refuse_to_train(order: Order) -> Candidate:
    raise RuntimeError(f"expected an operator with nothing to do, but it wants to train {order.run_key}")


def _quiet_tick(operator: Operator, name: str) -> None:
    decisions = operator.tick(name)
    if decisions:
        raise RuntimeError(f"expected an operator with nothing to do, but it decided {decisions[0].action}")
