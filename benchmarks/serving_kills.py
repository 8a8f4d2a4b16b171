"""`kill -9` of one worker under load: what was acknowledged is in the log once, and the other workers go on."""

import json
import os
import random
import signal
import threading
import time
from http.client import HTTPException

from claims import Measured
from live_server import Client, in_threads, wait_until
from load import Target
from process_tree import children, command
from serving_bench import Bench
from suite import Found

from charkha.bundles.store import BundleStore
from charkha.serving.prediction_frames import decode_predictions
from charkha.serving.prediction_log import prediction_stream
from charkha.spec.project import Project
from charkha.storage.home import open_project
from charkha.training.pipeline import SEED

MODEL = "fraud"
CLIENTS = 8
WORKERS = 2
MOST_ROWS = 3
OVERLOADED = 429
# A connection stays with one worker: with new ones now and then, clients of all workers are there at any kill.
CALLS_A_CONNECTION = 20
LONGEST_SECONDS = 0.25
# From when a worker says that it serves, until calls reach it.
LISTENING_SECONDS = 0.2


class Acknowledged:
    """Clients that ask again and again, and write down what was acknowledged. Nothing is ever sent twice."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._rows = [json.loads(line) for line in target.bodies.read_text().splitlines()]
        self.ids: list[str] = []
        self.times: list[tuple[float, float]] = []

    def ask(self, stopped: threading.Event) -> None:
        """Ask until told to stop, on another connection when one breaks. Raises RuntimeError for an error answered."""
        dice = random.Random()
        while not stopped.is_set():
            client = Client(self._target.port)
            try:
                for _ in range(CALLS_A_CONNECTION):
                    self._call(client, dice.sample(self._rows, dice.randint(1, MOST_ROWS)))
            except (OSError, HTTPException):
                stopped.wait(0.005)  # its worker is gone
            finally:
                client.close()

    def between(self, since: float, until: float) -> bool:
        """Say whether something was both asked and answered in a stretch of time."""
        return any(asked > since and answered < until for asked, answered in self.times)

    def _call(self, client: Client, rows: list[object]) -> None:
        asked = time.monotonic()
        status, answer = client.post(self._target.path, {"rows": rows})
        if status == OVERLOADED:  # one worker may be too few for all clients
            time.sleep(0.01)
            return
        if status != 200:
            raise RuntimeError(f"expected the server to answer, got {status}: {answer}")
        self.times.append((asked, time.monotonic()))
        self.ids += [row["id"] for row in answer["predictions"]]


def kills(bench: Bench) -> Found:
    """Kill one of two workers, again and again."""
    stood_still, count = 0, bench.lengths.kills
    with bench.served(bench.fraud, WORKERS) as served:
        load, dice = Acknowledged(served.target), random.Random(SEED)
        with in_threads([load.ask] * CLIENTS):
            for number in range(count):
                time.sleep(dice.uniform(0, LONGEST_SECONDS))
                load.times.clear()
                window = _kill_one(bench, served.server.process.pid, dice)
                stood_still += not load.between(*window)
                if number % 20 == 19:
                    bench.tell(f"    {number + 1} kills, {len(load.ids):,} acknowledged")
        found = _logged_ids(served.project)
    note = f"of {count} kills; {len(load.ids):,} acknowledged"
    yield "worker_kills_after_which_the_rest_stood_still", Measured(stood_still, note)
    yield "worker_kills_acknowledged_lost", Measured(len(set(load.ids) - set(found)), note)
    yield "worker_kills_logged_twice", Measured(len(found) - len(set(found)), f"of {len(found):,} in the log")


def _kill_one(bench: Bench, server: int, dice: random.Random) -> tuple[float, float]:
    """Kill a worker, wait for its successor, and return when it died and when that one could answer first."""
    before = workers(server)
    died = time.monotonic()
    os.kill(dice.choice(before), signal.SIGKILL)

    def newcomers() -> list[int]:
        return [each for each in workers(server) if each not in before]

    wait_until(lambda: len(newcomers()) == 1, "another worker in the place of the one that was killed")
    said = f'"process":{newcomers()[0]}'
    wait_until(lambda: said in bench.log.read_text(), "the new worker to serve")
    serves = time.monotonic()
    time.sleep(LISTENING_SECONDS)
    return died, serves


def workers(server: int) -> list[int]:
    """Return the process ids of a server's workers; its other child keeps watch over what they share."""
    return [pid for pid in children(server) if "spawn_main" in command(pid)]


def _logged_ids(project: Project) -> list[str]:
    with open_project(project) as home:
        records = home.log.read(prediction_stream(MODEL))
        ids: list[str] = decode_predictions(records, BundleStore(home.bundles))["id"].to_list()
        return ids
