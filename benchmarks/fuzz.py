"""Bad input by chance, on a real server with two workers: on the raw socket, over gRPC, and by its OpenAPI document.

`make fuzz` takes half an hour: ten minutes for each (`--seconds`). A request of the socket or of gRPC is made from the
seed, which is printed, and its number: `--seed` makes the same again, `--begin` from a number on.

The last line is JSON: {"claims": [{"name", "value", "target", "holds"}, …]}, `holds` null for what --only left out.
Exit status: 0 when all was run, whatever it found; 1 when a step failed; 130 for Ctrl-C.
"""

import random
import socket
import statistics
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import Factory, define
from claims import Measured, at_least, at_most, exactly
from fuzz_grpc import fuzz_grpc
from fuzz_openapi import conformance
from fuzz_requests import examples_of
from fuzz_wire import Fuzz
from fuzz_work import make_rides
from live_server import Client, Server, serving
from process_tree import own_bytes
from running import Progress
from serving_kills import workers
from suite import Found, Step, Suite, carry_out, parser_of

from charkha.spec.project import Project

WORKERS = 2
SECONDS, QUICK_SECONDS = 600.0, 20.0
MEMORY_EVERY = 1.0
# Caches and the allocator have settled after this share of a run; the rest is compared, its first part and its last.
SETTLED, PART = 0.4, 0.2


@define
class Bench:
    """A server to fuzz. memory: of each worker (bytes), again and again."""

    folder: Path
    seed: int
    begin: int
    seconds: float
    tell: Callable[[str], None]
    project: Project | None = None
    memory: dict[int, list[int]] = Factory(dict)

    @contextmanager
    def served(self, *options: str) -> Iterator[Server]:
        """A server with workers, whose memory is looked at until the block is left; what they are is then told."""
        log = self.folder / "server.log"
        self.project = self.project or make_rides(self.folder / "rides", log, self.seed)
        self.memory.clear()
        with serving(self.project, log, WORKERS, *options) as server:
            before, stopped = workers(server.process.pid), threading.Event()
            watch = threading.Thread(target=self._watch, args=(before, stopped))
            watch.start()
            try:
                yield server
            finally:
                stopped.set()
                watch.join()

    def _watch(self, pids: list[int], stopped: threading.Event) -> None:
        while not stopped.wait(MEMORY_EVERY):
            for pid in pids:
                self.memory.setdefault(pid, []).append(own_bytes(pid))

    def deaths(self, server: Server) -> int:
        """Return how many of the workers that were looked at are there no more."""
        return len(self.memory.keys() - workers(server.process.pid))

    def growth_percent(self) -> float:
        """Return how much more memory the worker that grew most has at the end than when it had settled."""
        return max((_growth(values) for values in self.memory.values()), default=0.0)


def _growth(values: list[int]) -> float:
    low, part = int(len(values) * SETTLED), max(1, int(len(values) * PART))
    settled, last = statistics.median(values[low : low + part]), statistics.median(values[-part:])
    return 100.0 * (last / settled - 1) if settled else 0.0


def _told(bench: Bench, step: str, server: Server, found: list[str]) -> Found:
    for each in found[:20]:
        bench.tell(f"    {each}")
    yield f"{step}_worker_deaths", Measured(bench.deaths(server))
    megabytes = ", ".join(f"{values[-1] / 1e6:.0f} MB" for values in bench.memory.values())
    yield f"{step}_memory_growth_percent", Measured(bench.growth_percent(), f"of workers that end with {megabytes}")


def wire(bench: Bench) -> Found:
    """Bad requests on the raw socket."""
    with bench.served() as server:
        fuzz = Fuzz(server.port, examples_of(document_of(server)), bench.seed, bench.begin)
        tally = fuzz.run(bench.seconds, bench.tell)
        statuses = ", ".join(f"{status} {count:,} times" for status, count in sorted(tally.statuses.items()))
        yield "fuzz_wire_requests", Measured(tally.sent, f"answered {statuses}")
        excused = ", ".join(f"{why} {count} times" for why, count in tally.excused.items()) or "nothing"
        yield "fuzz_wire_5xx", Measured(tally.count("status"), f"seed {bench.seed}; excused: {excused}")
        yield "fuzz_wire_hangs", Measured(tally.count("hangs"))
        yield from _told(bench, "fuzz_wire", server, [str(finding) for finding in tally.findings])


def grpc(bench: Bench) -> Found:
    """Bad messages over gRPC."""
    with bench.served("--grpc-port", str(port := free_port())) as server:
        tally = fuzz_grpc(f"127.0.0.1:{port}", document_of(server), bench.seed, bench.seconds)
        codes = ", ".join(f"{code} {count:,} times" for code, count in tally.codes.most_common())
        yield "fuzz_grpc_calls", Measured(tally.sent, f"answered {codes}")
        yield "fuzz_grpc_faults", Measured(len(tally.findings), f"seed {bench.seed}")
        yield from _told(bench, "fuzz_grpc", server, tally.findings)


def openapi(bench: Bench) -> Found:
    """What the OpenAPI document says, by Schemathesis."""
    with bench.served() as server:
        found = conformance(server.port, bench.seed, bench.seconds, bench.folder)
        yield "fuzz_openapi_cases", Measured(found.cases, f"seed {bench.seed}")
        yield "fuzz_openapi_failures", Measured(len(found.failures))
        yield from _told(bench, "fuzz_openapi", server, list(found.failures))


def document_of(server: Server) -> dict[str, object]:
    """Return the OpenAPI document of a server."""
    client = Client(server.port)
    try:
        document: dict[str, object] = client.get("/openapi.json")
        return document
    finally:
        client.close()


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


STEPS = (
    Step("wire", "bad requests on the raw socket", wire),
    Step("grpc", "bad messages over gRPC", grpc),
    Step("openapi", "what the OpenAPI document says, by Schemathesis", openapi),
)
FIGURES = (
    at_least("wire", "fuzz_wire_requests", 1),
    exactly("wire", "fuzz_wire_5xx", 0),
    exactly("wire", "fuzz_wire_hangs", 0),
    exactly("wire", "fuzz_wire_worker_deaths", 0),
    at_most("wire", "fuzz_wire_memory_growth_percent", 10),
    at_least("grpc", "fuzz_grpc_calls", 1),
    exactly("grpc", "fuzz_grpc_faults", 0),
    exactly("grpc", "fuzz_grpc_worker_deaths", 0),
    at_most("grpc", "fuzz_grpc_memory_growth_percent", 10),
    at_least("openapi", "fuzz_openapi_cases", 1),
    exactly("openapi", "fuzz_openapi_failures", 0),
    exactly("openapi", "fuzz_openapi_worker_deaths", 0),
    at_most("openapi", "fuzz_openapi_memory_growth_percent", 10),
)
SUITE = Suite("A server under bad input.", STEPS, FIGURES, f"{QUICK_SECONDS:g} seconds for each")


def main() -> int:
    """Run the fuzzers and return the exit status."""
    parser = parser_of(SUITE, __doc__)
    parser.add_argument("--seconds", type=float, help=f"for each; {SECONDS:g} unless given")
    parser.add_argument("--seed", type=int, default=None, help="that of another run, to send the same again")
    parser.add_argument("--begin", type=int, default=0, help="the number of the first request on the socket")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(2**31) if options.seed is None else options.seed
    seconds = options.seconds or (QUICK_SECONDS if options.quick else SECONDS)

    def bench(folder: Path, progress: Progress) -> Bench:
        return Bench(folder, seed, options.begin, seconds, progress.tell)

    return carry_out(SUITE, options, f"seed {seed}, {seconds:g} s for each, {WORKERS} workers", bench)


if __name__ == "__main__":
    sys.exit(main())
