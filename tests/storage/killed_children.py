"""Real processes that work on the storage until they are killed, and what starts them in milliseconds.

What they run stands here, away from the tests, so that a child has nothing to load: the server it is forked from has.
"""

import multiprocessing
import random
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path

import polars as pl

from charkha.storage.ledger import ApiKey, Assignment, Draft, Ledger
from charkha.storage.lmdb_online import LmdbOnline
from charkha.storage.quarantine import Quarantine, Report
from charkha.storage.segment_log import SegmentLog

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["__main__", "killed_children", "charkha.storage.migrations.upgrade"])


def run_and_kill(work: Callable[..., None], *arguments: object, after_seconds: float) -> int:
    """Run `work(connection, *arguments)`, kill it so long after its first acknowledgement, return its last one."""
    receiving, sending = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=work, args=(sending, *arguments))
    process.start()
    sending.close()
    acknowledged = receiving.recv()
    time.sleep(after_seconds)
    process.kill()
    process.join()
    process.close()
    return last_of(receiving, acknowledged)


def last_of(receiving: Connection, acknowledged: int) -> int:
    """Return the last acknowledgement that a dead process has sent."""
    with receiving:
        while True:
            try:
                acknowledged = receiving.recv()
            except EOFError:
                return acknowledged


def append_forever(acknowledge: Connection, folder: Path, name: bytes, number: int) -> None:
    """Append batches of three numbered records of random size, and say after each how many were acknowledged."""
    writer = SegmentLog(folder, segment_bytes=4 << 20).writer("events", "shared")
    sizes = random.Random(number)
    while True:
        writer.append([b"%s %d " % (name, number + i) + b"x" * sizes.choice((10, 1000, 300_000)) for i in range(3)])
        number += 3
        acknowledge.send(number)


def hold_a_transaction(acknowledge: Connection, folder: Path, way: str) -> None:
    with getattr(LmdbOnline(folder), way)() as held:
        if way == "write":
            for number in range(1000):
                held.put(b"%d" % number, b"uncommitted")
        acknowledge.send(len(held.get(b"1") or b""))
        time.sleep(60)


def fill(folder: Path) -> None:
    """Write 10 MB in one transaction."""
    with LmdbOnline(folder).write() as writer:
        for number in range(10_000):
            writer.put(b"%d" % number, b"x" * 1000)


def count_up(folder: Path) -> None:
    store = LmdbOnline(folder)
    for _ in range(300):
        with store.write() as writer:
            writer.put(b"n", b"%d" % (int(writer.get(b"n") or b"0") + 1))


def open_and_decide(go: Event, url: str, name: str) -> None:
    go.wait()
    ledger = Ledger(url)
    for number in range(25):
        draft = Draft(f"{name} {number}", number, "late", "operator", "promote", "because", {})
        ledger.decide(draft, deploy=[Assignment("v1", "champion")])


def decide_forever(acknowledge: Connection, url: str, number: int) -> None:
    ledger = Ledger(url)
    while True:
        draft = Draft(f"key {number}", number, "late", "operator", "promote", "because", {"x": "y" * 1000})
        ledger.decide(draft, deploy=[Assignment("v1", "champion")], expect_generation=number)
        number += 1
        acknowledge.send(number)


def make_and_revoke_forever(acknowledge: Connection, url: str, number: int) -> None:
    """Make keys, revoke each, and say after each of the two how often something was done."""
    ledger = Ledger(url)
    while True:
        id_ = f"{number // 2:012x}"
        draft = Draft(f"keys/{id_}/{number % 2}", number, "key shop", "test", "create", "because", {})
        if number % 2:
            ledger.revoke_api_key(id_, draft)
        else:
            ledger.create_api_key(ApiKey(id_, "shop", ("predict",), "ab" * 32, number), draft)
        number += 1
        acknowledge.send(number)


def keep_forever(acknowledge: Connection, folder: Path) -> None:
    """Set batches aside, and say after each how many there are."""
    store, number = Quarantine(folder), 0
    while True:
        number += 1
        rows = pl.DataFrame({"n": range(20_000)})
        report = Report(id=f"trips-{number}-x", source="trips", time_us=number, rows=20_000, violations=[])
        store.keep(report, rows)
        acknowledge.send(number)
