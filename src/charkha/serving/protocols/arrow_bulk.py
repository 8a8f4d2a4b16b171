"""Bulk calls: very many rows as an Arrow stream, answered by one. All work but reading the body is in a thread."""

from functools import partial
from importlib.util import find_spec

from charkha.serving.body import Limits, read_body, refuse_query
from charkha.serving.calls import Call, Headers, Reply
from charkha.serving.deadline import Deadline
from charkha.serving.desk import Desk
from charkha.serving.once import REPEATED
from charkha.serving.parts_once import PartsOnce
from charkha.serving.patience import Patience
from charkha.serving.refusals import Refused
from charkha.serving.under_way import UnderWay

KIND = "application/vnd.apache.arrow.stream"
BULK = Limits(rows=100_000, body_bytes=64 << 20, body_seconds=60.0)
# Of all bodies of bulk calls that come, wait or are worked on.
MOST_BYTES = 8 * BULK.body_bytes
_KINDS = frozenset({KIND})
_HEADERS: Headers = (("content-type", KIND),)


class ArrowMissing(Refused):
    """The server has not got the library that reads Arrow."""

    def __init__(self) -> None:
        said = (
            "expected JSON, for this server cannot read Arrow. Install it where it serves: pip install charkha[arrow]"
        )
        super().__init__(415, "arrow_missing", said)


class ArrowBulk:
    """Answers bulk calls. limits: of one call."""

    def __init__(self, desk: Desk, limits: Limits = BULK) -> None:
        self._desk, self._limits = desk, limits
        self._patience = Patience(limits.body_seconds, UnderWay(MOST_BYTES))
        self._can_read = find_spec("pyarrow") is not None

    async def predict(self, name: str, call: Call) -> Reply:
        """Answer a call of a model: the columns of `arrow_tables.SCHEMA`, in the order of the rows."""
        if not self._can_read:
            raise ArrowMissing
        refuse_query(call)
        deadline = Deadline.of(call)
        self._desk.admit_bulk(name)  # before its body is sent in vain
        body = await read_body(call, self._limits, self._patience, _KINDS)
        with self._patience.under_way.held(len(body)):
            answered = partial(self._answered, name, body, deadline)
            return await self._desk.reply_bulk(name, call.headers, body, deadline, answered=answered, kind="arrow\0")

    def _answered(self, name: str, body: bytes, deadline: Deadline, once: PartsOnce | None) -> Reply:
        from charkha.serving.protocols.arrow_tables import read_rows, write_answers

        fields = self._desk.service.project.models[name].request_fields
        deadline.passed(self._desk.service, name)
        answers = self._desk.answer_bulk(name, read_rows(body, fields, self._limits.rows), deadline, once)
        repeated = (REPEATED,) if once is not None and once.is_repeated else ()
        return Reply(200, write_answers(answers), (*_HEADERS, *repeated))
