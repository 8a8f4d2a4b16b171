"""A release in a process of its own, which is killed in the middle; apart from its test, so that it loads fast."""

import multiprocessing
import time
from collections.abc import Callable
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path

import charkha as ck
from charkha.clock import Clock, SystemClock
from charkha.features.data_decisions import Word
from charkha.features.feed import Feed
from charkha.features.quarantine import release_batch
from charkha.storage.home import Home, open_home

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["__main__", "killed_release", "charkha.storage.migrations.upgrade"])
ORDERS = ck.Source(
    "orders",
    {"order": int, "shop": str, "at": datetime, "amount": float},
    time="at",
    key="order",
    contract=ck.Contract(fields={"amount": ck.Expect(low=0)}),
)
VIEW = ck.FeatureView("shop", ck.Entity("shop"), ORDERS, windows=[ck.sum("amount", over="1h"), ck.count(over="1h")])


def feed_of(home: Home, clock: Clock) -> Feed:
    return Feed({"orders": ORDERS}, [VIEW], home.log, home.online, clock)


def run_and_kill(work: Callable[..., None], *arguments: object, after_seconds: float) -> None:
    """Run `work(connection, *arguments)` and kill it so long after it has said that it begins."""
    receiving, sending = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=work, args=(sending, *arguments))
    process.start()
    sending.close()
    receiving.recv()
    time.sleep(after_seconds)
    process.kill()
    process.join()
    process.close()
    receiving.close()


def release_and_say(begun: Connection, folder: Path, name: str) -> None:
    """Say that it begins, and release a batch."""
    with open_home(folder) as home:
        feed, clock = feed_of(home, SystemClock()), SystemClock()
        begun.send(True)
        release_batch(home, feed, ORDERS, name, Word("asha", "it is right", clock.now()))
