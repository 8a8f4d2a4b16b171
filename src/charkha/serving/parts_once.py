"""`Idempotency-Key` of a bulk call, which is logged as several records: each part of it is remembered as a call is.

So one that was cut off in the middle goes on behind the parts that are in the log, and has the same answer in the end.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
from attrs import define

from charkha.serving.calls import Reply
from charkha.serving.once import Claim, Once
from charkha.serving.prediction_log import Cause, Role
from charkha.serving.scoring import Answers


class _Part(msgspec.Struct, frozen=True, array_like=True):
    """The answers of a part. scores: as bytes of float64, since NaN and the last bit are theirs too."""

    ids: list[str]
    scores: bytes
    decisions: list[bool | None]
    versions: list[str]
    roles: list[Role]
    rules: list[tuple[str, ...]]
    causes: list[Cause | None]
    time_us: int


_decoder = msgspec.msgpack.Decoder(_Part)


@define(eq=False)
class PartsOnce:
    """The parts of one call of a model. is_repeated: whether any of them was new, once all are answered."""

    once: Once
    model: str
    claim: Claim
    is_repeated: bool = True

    def known(self) -> list[Answers]:
        """Return the answers of the parts, from the first on, that are in the log. Raises as `Once.known`."""
        found: list[Answers] = []
        while (reply := self.once.known(self.model, self.claim.part(len(found)))) is not None:
            found.append(_read(reply.body))
        return found

    def keep(self, number: int, answered: Sequence[Answers]) -> None:
        """Remember the answers of a part that is about to be logged. Raises as `Once.keep`."""
        self.is_repeated = False
        (answers,) = answered
        reply = Reply(200, _written(answers), ())
        self.once.keep(self.model, answers.ids[0], len(answers.ids), [(self.claim.part(number), reply)])


def _written(answers: Answers) -> bytes:
    part = _Part(
        answers.ids,
        answers.scores.astype(np.float64).tobytes(),
        answers.decisions,
        answers.versions,
        answers.roles,
        list(answers.rules),
        list(answers.causes),
        answers.time_us,
    )
    return msgspec.msgpack.encode(part)


def _read(body: bytes) -> Answers:
    part = _decoder.decode(body)
    scores = np.frombuffer(part.scores, np.float64)
    return Answers(part.ids, scores, part.decisions, part.versions, part.roles, part.rules, part.causes, part.time_us)
