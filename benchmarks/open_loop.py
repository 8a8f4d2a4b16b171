"""Open-loop load: questions leave at a constant rate, however slowly they are answered.

It shares the machine with the server, so its loop is compiled (by Numba, which calls the C library's own functions):
some 3 µs of processor a question, where asyncio takes 30. A question leaves on a connection that waits for no answer;
where none is free it is not asked, and counted. Times run from when a question was due, so a late one is no quick one.

Run as a script it takes an order as JSON and prints, as its last line, what it found: its processor time is its own.
"""

import json
import math
import resource
import select
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from attrs import asdict, frozen
from load import Target
from open_loop_kernel import ACCEPTED, COUNTS, offered
from processes import Failed, child

# A worker holds 8,192, so none of these waits to be accepted; each may have one question under way.
CONNECTIONS = 900
GRACE_SECONDS = 2.0
_FILES = 100


@frozen
class Offered:
    """What questions at a constant rate came to.

    asked: questions that left, `unasked` those that found no connection free. accepted: answers of status 200; shed: of
    429; other: of any other; lost: never answered. broken: connections that the server closed. cpu_seconds: what making
    the load took.
    """

    seconds: float
    asked: int
    accepted: int
    shed: int
    other: int
    unasked: int
    broken: int
    lost: int
    accepted_p50_ms: float
    accepted_p99_ms: float
    cpu_seconds: float

    @property
    def goodput(self) -> float:
        """Accepted answers a second."""
        return self.accepted / self.seconds

    def __str__(self) -> str:
        left = "".join(
            f", {count:,} {what}"
            for count, what in (
                (self.other, "answered otherwise"),
                (self.unasked, "not asked for want of a free connection"),
                (self.lost, "never answered"),
                (self.broken, "connections closed"),
            )
            if count
        )
        cost = f"making the load took {self.cpu_seconds / self.seconds:.2f} of a core"
        return f"{self.asked / self.seconds:,.0f} asked a second, {self.shed:,} got 429{left}; {cost}"


def open_loop(target: Target, rate: float, seconds: float, log: Path, connections: int = CONNECTIONS) -> Offered:
    """Offer questions to a server, `rate` a second. Raises Failed, subprocess.TimeoutExpired."""
    order = {**asdict(target), "bodies": str(target.bodies), "rate": rate, "seconds": seconds}
    command = [sys.executable, __file__, json.dumps({**order, "connections": connections})]
    with child(command, log, stdout=subprocess.PIPE) as process:
        said, _ = process.communicate(timeout=seconds + 120)
    if process.returncode:
        raise Failed(command[:2], process.returncode, log)
    return Offered(**json.loads(said.splitlines()[-1]))


def offer(target: Target, rate: float, seconds: float, connections: int) -> Offered:
    """Do it in this process."""
    requests = [_request(target.path, line) for line in target.bodies.read_bytes().splitlines()]
    bytes_, ends = np.frombuffer(b"".join(requests), np.uint8), np.cumsum([0, *map(len, requests)])
    _compile(bytes_, ends)  # before there are connections: a server closes those that ask nothing for long
    sockets = _connected(target.port, connections)
    epoll = select.epoll()
    fds = np.array([each.fileno() for each in sockets], np.int32)
    place = np.zeros(int(fds.max()) + 1, np.int64)
    for which, fd in enumerate(fds.tolist()):
        place[fd] = which
        epoll.register(fd, select.EPOLLIN | select.EPOLLET)
    took, counts = np.zeros(int(rate * seconds) + 1, np.int64), np.zeros(COUNTS, np.int64)
    gap_ns = max(1, round(1e9 / rate))
    arguments = (epoll.fileno(), place, fds, bytes_, ends)
    cpu = _cpu_seconds()
    offered(*arguments, gap_ns, round(seconds * 1e9), round(GRACE_SECONDS * 1e9), took, counts)
    cpu = _cpu_seconds() - cpu
    for each in sockets:
        each.close()
    epoll.close()
    times = took[: counts[ACCEPTED]] / 1e6
    middle, slow = np.quantile(times, [0.5, 0.99]).tolist() if len(times) else (math.inf, math.inf)
    asked, accepted, shed, other, unasked, broken, lost = map(int, counts)
    return Offered(seconds, asked, accepted, shed, other, unasked, broken, lost, middle, slow, cpu)


def _compile(bytes_: Any, ends: Any) -> None:
    """Have the loop compiled, which takes seconds, by asking nobody for no time."""
    nobody = (0, np.zeros(1, np.int64), np.zeros(0, np.int32), bytes_, ends)
    offered(*nobody, 1, 0, 0, np.zeros(1, np.int64), np.zeros(COUNTS, np.int64))


def _request(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def _connected(port: int, count: int) -> list[socket.socket]:
    """Return so many connections, or as many as this process may have files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count + _FILES:
        soft = count + _FILES if hard == resource.RLIM_INFINITY else min(hard, count + _FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(min(count, soft - _FILES))]


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Carry out the order."""
    order: dict[str, Any] = json.loads(sys.argv[1])
    target = Target(order["port"], order["path"], Path(order["bodies"]))
    print(json.dumps(asdict(offer(target, order["rate"], order["seconds"], order["connections"]))))


if __name__ == "__main__":
    main()
