"""Versions swapped while a server is loaded: no request may fail for it, nor many wait."""

import json
import threading
from statistics import median

from claims import Measured
from live_server import Client, in_threads, wait_until
from load import Answers
from serving_bench import Bench, Served
from suite import Found

from charkha.clock import SystemClock
from charkha.operations.deploy import promote
from charkha.storage.home import open_project

# Often enough to see when a version answers, seldom enough to be no load.
WATCHING_SECONDS = 0.02
MODEL = "fraud"


def swaps(bench: Bench) -> Found:
    """Promote one version and the other in turn under load, each time until it answers."""
    capacity = bench.fraud_loaded
    with bench.served(bench.fraud, capacity.workers) as served:
        steady = [bench.loaded(served) for _ in range(bench.lengths.rounds)]
        swapping: list[Answers] = []

        def load(stopped: threading.Event) -> None:
            while not stopped.is_set():
                swapping.append(bench.loaded(served))

        with in_threads([load]) as stopped:
            done = _swap(bench, served, stopped)
    failed = sum(each.failed for each in swapping)
    asked = sum(each.answers + each.broken for each in swapping)
    without = f"{sum(each.failed for each in steady):,} of {sum(each.answers for each in steady):,} without swaps"
    broken = f"{sum(each.broken for each in swapping):,} of them broken off, the others refused"
    note = f"of {asked:,}, {broken}; {done:,} swaps, {capacity.workers} workers; {without}"
    yield "hot_swaps_failed_requests", Measured(failed, note)
    usual, worst = median(each.p99_us for each in steady), max(each.p99_us for each in swapping)
    note = f"the worst p99 of {len(swapping)} loads {worst / 1000:.1f} ms, the steady one {usual / 1000:.1f} ms"
    yield "hot_swaps_p99_over_steady", Measured(worst / usual, note)


def _swap(bench: Bench, served: Served, stopped: threading.Event) -> int:
    client, body = Client(served.target.port), json.loads(served.target.bodies.read_text().splitlines()[0])

    def answers(version: str) -> bool:
        stopped.wait(WATCHING_SECONDS)
        return bool(client.post(served.target.path, body)[1].get("version") == version)

    try:
        with open_project(served.project) as home:
            for number in range(bench.lengths.swaps):
                version = f"v{2 - number % 2}"
                promote(home, SystemClock(), MODEL, version, actor="benchmark", reason="to swap", force=True)
                wait_until(lambda version=version: answers(version), f"{version} to answer")  # type: ignore[misc]
                if number % 50 == 49:
                    bench.tell(f"    {number + 1} swaps")
    finally:
        client.close()
    return bench.lengths.swaps
