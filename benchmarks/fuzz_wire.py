"""The raw socket: bad requests, many at a time, and what a server makes of them, looked at from outside."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress

from attrs import Factory, define, frozen
from fuzz_requests import Request, sent

AT_A_TIME = 32
# How long an answer is waited for that may never come, for the request may have no end; and at most, by the patient: a
# bulk body has 60 to 75 s to come.
SHORT_SECONDS, LONG_SECONDS = 0.3, 80.0
# How long more of an answer is waited for.
MORE_SECONDS = 0.05
MOST_PATIENT, PATIENT_SHARE = 40, 50
# A good request is answered within this, whatever goes on beside it.
GOOD_SECONDS, GOOD_EVERY = 5.0, 0.25
GOOD = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
# What a server may truly say with a status of its own fault.
_EXCUSES: Sequence[tuple[int, bytes, str]] = (
    (504, b"X-Request-Timeout-Ms", "the deadline of the call"),
    (503, b"no version serves", "no champion"),
    (503, b'"ready":false', "not ready"),
)


@frozen
class Finding:
    """Something that must not be. number: of the request; the seed and it make the request again."""

    number: int
    what: str
    sent: bytes
    said: bytes

    def __str__(self) -> str:
        return f"request {self.number}: {self.what}; sent {self.sent[:300]!r}, got {self.said[:300]!r}"


@define
class Tally:
    """What came of the requests. statuses: how often each; excused: why a status of the server's fault is none."""

    sent: int = 0
    statuses: Counter[int] = Factory(Counter)
    excused: Counter[str] = Factory(Counter)
    findings: list[Finding] = Factory(list)

    def judge(self, number: int, wire: bytes, said: bytes) -> None:
        """Take in what was answered."""
        self.sent += 1
        for status in map(int, _STATUS.findall(said)):
            self.statuses[status] += 1
            if status < 500:
                continue
            why = next((why for code, words, why in _EXCUSES if code == status and words in said), None)
            if why is None:
                self.findings.append(Finding(number, f"status {status}", wire, said))
            else:
                self.excused[why] += 1

    def count(self, what: str) -> int:
        """Return how many findings are of a kind, by how they begin."""
        return sum(finding.what.startswith(what) for finding in self.findings)


@define
class Fuzz:
    """One run against a port. begin: the number of the first request. patient: some wait for an end of their own."""

    port: int
    examples: Sequence[Request]
    seed: int
    begin: int = 0
    patient: bool = True
    tally: Tally = Factory(Tally)
    _number: int = 0
    _waiting: int = 0

    def run(self, seconds: float, tell: Callable[[str], None] = lambda text: None) -> Tally:
        """Send for so long, and return what came of it."""
        self._number = self.begin
        asyncio.run(self._all(time.monotonic() + seconds, tell))
        return self.tally

    async def _all(self, until: float, tell: Callable[[str], None]) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_A_TIME):
                group.create_task(self._one_after_the_other(until, group))
            group.create_task(self._good(until))
            group.create_task(self._told(until, tell))

    async def _one_after_the_other(self, until: float, group: asyncio.TaskGroup) -> None:
        while time.monotonic() < until:
            number, self._number = self._number, self._number + 1
            if self.patient and number % PATIENT_SHARE == 0 and self._waiting < MOST_PATIENT:
                self._waiting += 1
                group.create_task(self._patiently(number))
            else:
                await self._one(number, SHORT_SECONDS)

    async def _patiently(self, number: int) -> None:
        """Wait until the server ends it: a call that is not answered, and not ended, hangs."""
        if not await self._one(number, LONG_SECONDS):
            what = f"hangs: neither answered nor ended in {LONG_SECONDS:g} s"
            self.tally.findings.append(Finding(number, what, self._wire(number), b""))
        self._waiting -= 1

    async def _one(self, number: int, seconds: float) -> bool:
        """Send a request; say whether it was answered or its connection ended."""
        said = bytearray()
        ended = await exchange(self.port, sent(self.examples, self.seed, number).parts, seconds, said)
        self.tally.judge(number, self._wire(number), bytes(said))
        return ended or bool(said)

    async def _good(self, until: float) -> None:
        """Ask what is always answered, on connections of their own."""
        while time.monotonic() < until:
            said = bytearray()
            await exchange(self.port, ((GOOD, 0.0),), GOOD_SECONDS, said)
            if not said.startswith(b"HTTP/1.1 200"):
                what = f"hangs: a good request was not answered in {GOOD_SECONDS:g} s"
                self.tally.findings.append(Finding(self._number, what, GOOD, bytes(said)))
            await asyncio.sleep(GOOD_EVERY)

    async def _told(self, until: float, tell: Callable[[str], None]) -> None:
        while (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(30.0, left))
            tell(f"    {self.tally.sent:,} requests, {len(self.tally.findings)} findings")

    def _wire(self, number: int) -> bytes:
        return b"".join(part for part, _ in sent(self.examples, self.seed, number).parts)


async def exchange(port: int, parts: Sequence[tuple[bytes, float]], seconds: float, said: bytearray) -> bool:
    """Send bytes on a connection of their own, and gather what is said; return whether the other side ended it.

    seconds: how long to wait for the next of it.
    """
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), GOOD_SECONDS)
    except OSError:
        return False
    sending = asyncio.create_task(_send(writer, parts))
    until = time.monotonic() + seconds + GOOD_SECONDS
    try:
        while time.monotonic() < until:
            wait = MORE_SECONDS if said else seconds
            try:
                part = await asyncio.wait_for(reader.read(1 << 16), wait)
            except TimeoutError:
                if sending.done():
                    return False
                continue
            if not part:
                return True
            said += part
        return False
    except OSError:
        return True
    finally:
        sending.cancel()
        writer.transport.abort()
        with suppress(asyncio.CancelledError, OSError):
            await sending


async def _send(writer: asyncio.StreamWriter, parts: Sequence[tuple[bytes, float]]) -> None:
    with suppress(OSError):
        for part, pause in parts:
            writer.write(part)
            await writer.drain()
            if pause:
                await asyncio.sleep(pause)
