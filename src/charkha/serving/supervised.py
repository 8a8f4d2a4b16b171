"""What a server and its workers say to each other: how it is, and that a worker serves; in its metrics folder."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
from attrs import frozen
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class Supervised(msgspec.Struct, frozen=True):
    """How a server is.

    pid: its process id, which takes the signals. workers, wanted: how many live, and should. restarts: how often one
    was started in the place of one that died. changed: the files of the definition that are otherwise on the disk.
    refused: why the newest of them was not taken over, where it was asked for. astray: workers that answer by another
    definition than the rest.
    """

    pid: int
    workers: int
    wanted: int
    restarts: int = 0
    changed: tuple[str, ...] = ()
    refused: str | None = None
    astray: int = 0

    def notices(self) -> list[str]:
        """Return what whoever operates the server should know, in words."""
        found = []
        if self.workers < self.wanted:
            found.append(f"{self.workers} of {self.wanted} workers live; the server's log says why")
        if self.astray:
            found.append(f"{self.astray} of {self.wanted} workers answer by another definition than the rest")
        if self.refused:
            found.append(f"the reload was refused, and the definition before goes on: {self.refused}")
        elif self.changed:
            found.append(f"{', '.join(self.changed)} changed on the disk; {how_to_take_over(self.pid)}")
        return found


def how_to_take_over(pid: int) -> str:
    """Return what to do about a definition that changed under the server of a process id."""
    return f"what served before goes on: take the new definition over with kill -HUP {pid}"


class Started(msgspec.Struct, frozen=True):
    """A worker can answer. unanswered: model → why its deployed champion cannot, with this definition. answered: the
    models whose champion does.
    """

    unanswered: dict[str, str] = {}
    answered: tuple[str, ...] = ()


@frozen
class Place:
    """Where it is said: a folder that the server and its workers share."""

    folder: Path

    def tell(self, now: Supervised) -> None:
        """Say how the server is; the former word stays where there is no room for another."""
        with suppress(OSError):
            self._write("server.json", now)

    def ask(self) -> Supervised | None:
        """Return how the server is, as it last said; None for one that did not."""
        try:
            return msgspec.json.decode((self.folder / "server.json").read_bytes(), type=Supervised)
        except (OSError, msgspec.DecodeError):
            return None

    def tell_started(self, started: Started) -> None:
        """Say that this process can answer. Raises OSError."""
        self._write(f"started-{os.getpid()}.json", started)

    def started(self, pid: int) -> Started | None:
        """Return what a worker said when it could answer; None as long as it did not."""
        try:
            return msgspec.json.decode((self.folder / f"started-{pid}.json").read_bytes(), type=Started)
        except (OSError, msgspec.DecodeError):
            return None

    def ask_to_be_replaced(self) -> None:
        """Ask the server to put another process in the place of this one. Raises OSError."""
        (self.folder / f"leaves-{os.getpid()}").touch()

    def takes_leave(self, pid: int) -> bool:
        """Return whether a worker asked to be replaced since this was last called."""
        asked = self.folder / f"leaves-{pid}"
        there = asked.exists()
        asked.unlink(missing_ok=True)
        return there

    def forget(self, pid: int) -> None:
        """Forget a worker that is gone: another process may get its id."""
        for name in (f"started-{pid}.json", f"leaves-{pid}"):
            (self.folder / name).unlink(missing_ok=True)

    def _write(self, name: str, said: msgspec.Struct) -> None:
        scratch = self.folder / f"{name}.{os.getpid()}"
        scratch.write_bytes(msgspec.json.encode(said))
        scratch.replace(self.folder / name)


class OfServer(Collector):
    """What Prometheus reads of a server as a whole."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def collect(self) -> Iterator[Metric]:
        """Yield how many workers live, how often one was started again, and whether the definition changed."""
        if now := self._place.ask():
            yield GaugeMetricFamily("charkha_workers", "Workers that live.", value=now.workers)
            said = "Workers started in the place of those that died."
            yield CounterMetricFamily("charkha_worker_restarts", said, value=now.restarts)
            said = "1 while the definition on the disk is another than the one that serves."
            yield GaugeMetricFamily("charkha_definition_changed", said, value=float(bool(now.changed)))
