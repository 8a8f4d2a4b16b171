"""`Idempotency-Key`: a call that comes again within ten minutes gets the very same answer, and is logged once.

Whichever worker it comes to, and whatever died meanwhile. Three things see to it:

    lock        of the key, over all processes: who comes while the first is being answered waits for it
    remembered  the answer, and where in the log its record will be, written just before the record is
    log         says whether it was: an answer whose record is not there was never given, and is made anew

A call that is refused is not remembered: its key may come again with another body. All protocols come through here:
what is remembered is a reply as its protocol says it.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
from attrs import frozen

from charkha.clock import Clock
from charkha.serving.calls import JSON, Reply, RequestHeaders, count_of
from charkha.serving.deadline import Deadline
from charkha.serving.prediction_log import LogPlace
from charkha.serving.refusals import Refused
from charkha.serving.responses import Prediction
from charkha.serving.service import Service
from charkha.storage.key_locks import KeyLocks
from charkha.storage.recent import RecentValues

KEY_HEADER = "idempotency-key"
WINDOW_SECONDS = 600.0
LONGEST_KEY = 255
_KIND_BYTES = 4
# By either of these a call shows whose it is.
_CREDENTIALS = ("authorization", "x-api-key")
REPEATED = ("idempotent-replayed", "true")
# How often it is looked whether another worker has answered, and for how long where the client does not say.
_LOOK_SECONDS, _MOST_SECONDS = 0.004, 30.0


def make_room(folder: Path, clock: Clock) -> None:
    """Make the files that workers are to share in a folder: none of them may find room for it later."""
    remembered = RecentValues(folder, WINDOW_SECONDS)
    try:
        remembered.get(b"", clock.now())
    finally:
        remembered.close()


class KeyReused(Refused):
    """A key that came with another body, or elsewhere: on another route, or in another form."""

    def __init__(self, *, elsewhere: bool = False) -> None:
        what = "route and kind of body" if elsewhere else "body"
        said = (
            f"expected the {what} that this Idempotency-Key came with before, got another one. Make a key for each call"
        )
        super().__init__(422, "key_reused", said, KEY_HEADER)


class Remembered(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The answer to a key. asked: `digest_of` the call. place, first_id: where its record begins, if it was logged."""

    model: str
    asked: bytes
    place: LogPlace
    first_id: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = tuple(JSON)


@frozen
class Claim:
    """A call with a key, while it is answered. key: a digest of 16 bytes. asked: `digest_of` the call."""

    key: bytes
    asked: bytes

    def part(self, number: int) -> "Claim":
        """Return the claim of a part of a call that is logged as several records; the first stands for the call."""
        if not number:
            return self
        of_part = b"".join((self.key, self.asked, number.to_bytes(4)))
        return Claim(blake2b(of_part, digest_size=16).digest(), self.asked)


# How a protocol says the answers of a call.
Form = Callable[[list[Prediction]], Reply]


@frozen
class Claimed:
    """The claim of a call, and the form of its answer."""

    claim: Claim
    form: Form


Answer = Callable[[Claim], Coroutine[Any, Any, Reply]]
_encode, _decoder = msgspec.msgpack.encode, msgspec.msgpack.Decoder(Remembered)


class Once:
    """Answers the calls with keys of one worker, on its event loop. folder: which all workers share."""

    def __init__(self, service: Service, clock: Clock, folder: Path) -> None:
        self._service, self._clock = service, clock
        self._recent = RecentValues(folder, WINDOW_SECONDS)
        self._locks = KeyLocks(folder / "keys.lock")
        self._here: dict[bytes, asyncio.Task[Reply]] = {}
        with suppress(OSError):  # opened now, since a disk that is full later has no room for that
            self._recent.get(b"\0", clock.now())

    async def reply(
        self, model: str, headers: RequestHeaders, asked: bytes, deadline: Deadline, answer: Answer
    ) -> Reply:
        """Return what `answer` replies, of which there is one at a time for a key; it looks first what is `known`.

        headers: of the call, or its metadata. asked: `digest_of` it. Raises DeadlinePassed, Refused (400) for what is
        no key, and whatever `answer` raises.
        """
        claim = Claim(_scoped(model, headers), asked)
        patience = Deadline.within(_MOST_SECONDS)
        while True:
            first = self._here.get(claim.key)
            if first is None and self._locks.try_lock(claim.key):
                return await self._first(claim, answer)
            left_seconds = min(deadline.left_seconds, patience.left_seconds)
            if left_seconds <= 0:
                raise deadline.late()
            if first is None:
                await asyncio.sleep(_LOOK_SECONDS)
            else:
                await asyncio.wait([first], timeout=left_seconds)

    def known(self, model: str, claim: Claim) -> Reply | None:
        """Return what a claim was answered before; None where it was not, or that is not in the log.

        Raises KeyReused, and LogFull as `keep`.
        """
        found: bytes | None = None

        def look() -> None:
            nonlocal found
            found = self._recent.get(claim.key, self._clock.now())

        self._service.remember(model, 1, look, self._probe)
        if found is None:
            return None
        known = _decoder.decode(found)
        if not self._service.is_logged(known.model, known.place, known.first_id):
            return None
        if known.asked != claim.asked:
            raise KeyReused(elsewhere=known.asked[:_KIND_BYTES] != claim.asked[:_KIND_BYTES])
        return Reply(200, known.body, (*known.headers, REPEATED))

    def keep(self, model: str, first_id: str, rows: int, answered: Sequence[tuple[Claim, Reply]]) -> None:
        """Remember the answers of so many rows, which are about to be logged as one record. first_id: of the record.

        Raises LogFull where they cannot be remembered, and the policy of the model's log is to refuse then.
        """
        self._service.remember(model, rows, partial(self._put, model, first_id, answered), self._probe)

    def close(self) -> None:
        """Close the files."""
        self._recent.close()
        self._locks.close()

    def _put(self, model: str, first_id: str, answered: Sequence[tuple[Claim, Reply]]) -> None:
        place = self._service.log_place(model)
        values = {
            claim.key: _encode(Remembered(model, claim.asked, place, first_id, reply.body, tuple(reply.headers)))
            for claim, reply in answered
        }
        self._recent.put(values, self._clock.now())

    def _probe(self) -> None:
        self._recent.put({}, self._clock.now())

    async def _first(self, claim: Claim, answer: Answer) -> Reply:
        """Answer while the lock is held: to the end, also where the client goes away meanwhile."""
        task = asyncio.get_running_loop().create_task(answer(claim))
        self._here[claim.key] = task
        task.add_done_callback(partial(self._leave, claim.key))
        return await asyncio.shield(task)

    def _leave(self, key: bytes, task: "asyncio.Task[Reply]") -> None:
        if not task.cancelled():
            task.exception()  # is raised where the call is awaited, if it still is
        del self._here[key]
        self._locks.unlock(key)


def digest_of(kind: str, body: bytes) -> bytes:
    """Return the digest of what a call asks, which begins with that of its kind.

    kind: what else than its body says how that is read and answered.
    """
    return blake2b(kind.encode(), digest_size=_KIND_BYTES).digest() + blake2b(body, digest_size=16).digest()


def _scoped(model: str, headers: RequestHeaders) -> bytes:
    """Return the digest of a key: of one model, and of whoever shows these credentials."""
    if (count := count_of(headers, KEY_HEADER)) > 1:
        raise Refused(400, "invalid_header", f"expected one Idempotency-Key, got {count}", KEY_HEADER)
    given = headers.get(KEY_HEADER)
    if not (given and len(given) <= LONGEST_KEY and given.isascii() and given.isprintable()):
        # The server gives no value that is not ASCII.
        got = "one with others" if given is None else repr(given[:80])
        said = f"expected 1 to {LONGEST_KEY} printable ASCII characters, got {got}"
        raise Refused(400, "invalid_header", said, KEY_HEADER)
    shown = [str(headers.get(name, "")) for name in _CREDENTIALS]
    return blake2b("\0".join((model, *shown, given)).encode(), digest_size=16).digest()
