"""More load than can be answered, and load for long: what is answered all the same, how soon, and at what memory."""

import threading
import time
from statistics import median

from claims import Measured
from live_server import in_threads
from open_loop import Offered, open_loop
from process_tree import rss_bytes
from serving_bench import Bench, Served
from suite import Found

MANY_CONNECTIONS = 512
TIMES = (2, 5)
FLAT = 1.05
SAMPLES = 200


def overload(bench: Bench) -> Found:
    """The fraud path at 512 connections in closed loop, then at twice and five times its capacity in open loop."""
    capacity = bench.fraud_loaded
    with bench.served(bench.fraud, capacity.workers) as served:
        many = bench.rounds(lambda: bench.loaded(served, MANY_CONNECTIONS))
        bench.tell(f"    {MANY_CONNECTIONS} connections: {many}")
        note = f"{many}; capacity {capacity.answers.qps:,.0f}; wrk asks again at once, whatever Retry-After says"
        yield "goodput_512_connections_over_capacity", Measured(many.qps / capacity.answers.qps, note)
        bound = f"at most: by the share of {many.refused / many.answers:.0%} refused"
        yield "goodput_512_connections_p99_ms", Measured(many.accepted_p99_us / 1000, bound)
        strange = many.broken
        for times in TIMES:
            offered, cores = _offered(bench, served, times * capacity.answers.qps)
            strange += offered.other + offered.broken + offered.lost
            note = f"{offered.goodput:,.0f} QPS accepted; {offered}; the server had {cores:.2f}"
            yield f"goodput_{times}x_over_capacity", Measured(offered.goodput / capacity.answers.qps, note)
            p50 = f"p50 {offered.accepted_p50_ms:.1f} ms"
            yield f"goodput_{times}x_p99_ms", Measured(offered.accepted_p99_ms, p50)
    yield (
        "overload_answers_neither_200_nor_429",
        Measured(strange, "broken connections, and answers that never came"),
    )


def _offered(bench: Bench, served: Served, rate: float) -> tuple[Offered, float]:
    """Return the middle of some rounds by what was accepted, and on how many cores the server was busy in them."""
    cpu, rounds = served.cpu_seconds(), []
    began = time.perf_counter()
    for _ in range(bench.lengths.rounds):
        rounds.append(open_loop(served.target, rate, bench.lengths.seconds, bench.log))
        bench.tell(f"    {rate:,.0f} a second: {rounds[-1].goodput:,.0f} accepted; {rounds[-1]}")
    cores = (served.cpu_seconds() - cpu) / (time.perf_counter() - began)
    return sorted(rounds, key=lambda each: each.accepted)[len(rounds) // 2], cores


def memory(bench: Bench) -> Found:
    """The memory of the server after its first tenth at capacity, and in its last."""
    seconds = bench.lengths.memory_minutes * 60
    found: list[int] = []
    with bench.served(bench.fraud, bench.fraud_loaded.workers) as served:

        def watch(stopped: threading.Event) -> None:
            while not stopped.wait(seconds / SAMPLES):
                found.append(rss_bytes(served.server.process.pid))

        with in_threads([watch]):
            answers = bench.loaded(served, seconds=seconds)
    tenth = max(1, len(found) // 10)
    begin, end = median(found[tenth : 2 * tenth + 1]), median(found[-tenth:])
    sizes = f"{begin / 2**20:,.0f} to {end / 2**20:,.0f} MiB, at most {max(found) / 2**20:,.0f}"
    note = f"{sizes}, over {seconds / 60:g} minutes (--long: 30); {answers}"
    yield "memory_end_over_begin", Measured(end / begin, note, met=end / begin <= FLAT)
