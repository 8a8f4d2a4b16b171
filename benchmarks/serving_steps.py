"""The steps of the serving benchmark that say how fast it is: beside the floor, beside peers, and by itself."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from claims import Measured
from live_server import serving
from load import Answers, closed_loop
from peers import PEERS, Peer, floor, python_of, running
from process_tree import rss_bytes
from processes import Failed, child, environment
from serving_bench import CONNECTIONS, WARM_SECONDS, Bench, Loaded, runtime_of
from serving_kills import kills
from serving_overload import memory, overload
from serving_swaps import swaps
from serving_work import deploy_with_shadow
from suite import Compared, Found, PeerMissing, Step

FEW_CONNECTIONS = 4
SCORING = Path(__file__).with_name("scoring.py")
SCORING_SECONDS = 1800.0
_IMPORT = "import time; began = time.perf_counter(); import charkha; print(time.perf_counter() - began)"


def fields(bench: Bench) -> Found:
    """Raw fields, logged."""
    yield from _speed("fields", bench.fields_loaded, f"by {runtime_of(bench.fields)}")


def fraud(bench: Bench) -> Found:
    """The fraud path, logged, at 64 connections and at 4."""
    loaded = bench.fraud_loaded
    yield from _speed("fraud", loaded, f"by {runtime_of(bench.fraud)}")
    with bench.served(bench.fraud, loaded.workers) as served:
        few = bench.rounds(lambda: bench.loaded(served, FEW_CONNECTIONS))
    yield "fraud_4_connections_p99_ms", Measured(few.p99_us / 1000, str(few))


def _speed(name: str, loaded: Loaded, how: str) -> Iterator[tuple[str, Measured]]:
    answers, note = loaded.answers, f"{loaded}, {how}"
    yield f"{name}_qps_64", Measured(answers.qps, note, met=False if answers.broken else None)
    yield f"{name}_p95_ms", Measured(answers.p95_us / 1000, f"p50 {answers.p50_us / 1000:.2f} ms")
    surplus = "those that wrk no longer waited for"
    yield f"{name}_answers_not_in_the_log", Measured(max(0, -loaded.logged), f"{loaded.logged:,} more: {surplus}")


def shadow(bench: Bench) -> Found:
    """The fraud path with another version in its shadow."""
    loaded = bench.best(bench.fraud, lambda home: deploy_with_shadow(home, "fraud"))
    yield "fraud_with_shadow_qps", Measured(loaded.answers.qps, str(loaded))


def bare_stack(bench: Bench) -> Found:
    """The floor: the same work without features, rules, log and metrics."""
    ours = bench.fields_loaded
    found = [_peer(bench, floor(workers)) for workers in bench.workers]
    best, beside = max(found, key=lambda each: each[0].qps)
    yield from _beside(ours.answers, best, beside)
    note = f"{ours.answers.qps:,.0f} beside {best}"
    yield "fields_qps_over_bare_stack", Measured(ours.answers.qps / best.qps, note)


def peers(bench: Bench) -> Found:
    """Servers of others, one after the other; one that cannot be had does not keep the others from being measured."""
    ours, found, missing = bench.fields_loaded.answers, dict[str, tuple[Answers, str]](), dict[str, str]()
    for peer in PEERS:
        bench.tell(f"    {peer.name} …")
        try:
            found[peer.name] = _peer(bench, peer)
        except PeerMissing as error:
            bench.tell(f"    {error}")
            missing[peer.name] = str(error)
            continue
        yield from _beside(ours, *found[peer.name])
    without = f"; without {', '.join(missing)}" if missing else ""
    if found:
        best, beside = max(found.values(), key=lambda each: each[0].qps)
        yield "fields_qps_over_best_peer", Measured(ours.qps / best.qps, f"{beside}: {best}{without}")
    if "BentoML" in found:
        best, beside = found["BentoML"]
        yield "fields_qps_over_bentoml", Measured(ours.qps / best.qps, f"{beside}: {best}")
    if missing:
        raise PeerMissing("; ".join(missing.values()))


def _beside(ours: Answers, theirs: Answers, beside: str) -> Iterator[Compared]:
    yield Compared("32 fields, 300 trees, 64 connections", "QPS", ours.qps, beside, theirs.qps)
    yield Compared("32 fields, 300 trees, 64 connections", "p95 ms", ours.p95_us / 1e3, beside, theirs.p95_us / 1e3)


def _peer(bench: Bench, peer: Peer) -> tuple[Answers, str]:
    """Return the middle of some loads of a peer, and its name. Raises PeerMissing."""
    python = python_of(peer, bench.cache, bench.log)
    with bench.room() as room, running(peer, python, bench.fields, room / "peer") as server:
        closed_loop(server.target, CONNECTIONS, WARM_SECONDS, room)
        answers = bench.rounds(lambda: closed_loop(server.target, CONNECTIONS, bench.lengths.seconds, room))
        memory_mib = rss_bytes(server.pid) / 2**20
    bench.tell(f"    {server.named}: {answers}, {memory_mib:,.0f} MiB")
    return answers, server.named


def start(bench: Bench) -> Found:
    """What a newcomer waits for."""
    imports = [_import_seconds() for _ in range(bench.lengths.starts)]
    yield "import_charkha_seconds", Measured(median(imports), _spread(imports))
    ready = []
    for _ in range(bench.lengths.starts):
        with bench.copied(bench.fraud) as project:
            began = time.perf_counter()
            with serving(project, bench.log):
                ready.append(time.perf_counter() - began)
    yield "serve_ready_seconds", Measured(median(ready), f"{_spread(ready)}; the fraud path, its state as it was left")


def _import_seconds() -> float:
    command = [sys.executable, "-c", _IMPORT]
    return float(subprocess.run(command, capture_output=True, text=True, check=True, env=environment()).stdout)


def _spread(seconds: list[float]) -> str:
    return f"median of {len(seconds)}, {min(seconds):.2f} to {max(seconds):.2f} s"


def scoring(bench: Bench) -> Found:
    """Bulk scoring beside LightGBM's own, by the benchmark of that."""
    if not SCORING.exists():
        raise PeerMissing("not measured: there is no benchmarks/scoring.py")
    command, name = (
        [sys.executable, str(SCORING), "--rows", str(10 * bench.sizes.rows)],
        "bulk_scoring_cpu_over_lightgbm",
    )
    with child(command, bench.log, stdout=subprocess.PIPE) as process:
        said, _ = process.communicate(timeout=SCORING_SECONDS)
    if process.returncode:
        raise Failed(command, process.returncode, bench.log)
    (claim,) = (claim for claim in json.loads(said.splitlines()[-1])["claims"] if claim["name"] == name)
    yield name, Measured(claim["value"], claim["note"], met=claim["holds"])


STEPS = (
    Step("fields", "32 raw fields, 300 trees, logged", fields),
    Step("floor", "the bare stack at the same work", bare_stack),
    Step("peers", "other servers at the same work", peers),
    Step("fraud", "30 stored and windowed features, 10 rules, 300 trees, logged", fraud),
    Step("shadow", "the same with a shadow", shadow),
    Step("overload", "more than can be answered", overload),
    Step("start", "until it answers", start),
    Step("scoring", "bulk scoring", scoring),
    Step("swaps", "hot swaps under load", swaps),
    Step("kills", "kill -9 of workers under load", kills),
    Step("memory", "memory at capacity", memory),
)
